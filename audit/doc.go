// Package audit writes and reads audit logs: one record for every invocation
// of a governed operation, with the keys and the key order of the
// specification's section "Audit Log Format", one JSON object a line.
//
// It promises that
//
//   - an index is returned only after the record is on the disk (fdatasync)
//     and part of the log's Merkle tree; any number of goroutines may append,
//     and concurrent appends share one sync;
//   - an operation that fails or panics leaves a record as well, with the
//     result "failure" and its duration;
//   - an operation whose record the log cannot take fails, unless the
//     configuration says otherwise in so many words;
//   - values at configured JSON pointers never reach the disk: they are
//     replaced by their digest and size before the record is queued;
//   - a value that is too large for a line is replaced by its digest and size,
//     never cut and never silently dropped.
//
// It never rewrites or deletes a record, never accepts a record it could not
// read back, never fills in a missing key, and never opens a network
// connection. What the log cannot show is that a caller told the truth: a
// record is a signed-for claim of the process that wrote it.
//
// Processes in other languages append through [Follow] (JSON lines on a pipe)
// or [Serve] (the same on a 0600 Unix socket from [Listen]); package
// sdk/python/govern_audit.py is such a client.
package audit
