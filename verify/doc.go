// Package verify checks what govern leaves behind: governance logs and audit
// logs, proofs of single records, signed statements. It is what somebody uses
// who trusts neither the server nor the people who run it.
//
// It promises that everything is read from files alone: no server, no lock, no
// view; that a log is checked whole (every line, the tree over all of them, the
// signed checkpoint, both places, every derived file, every text kept beside
// it); that each failure names the record it shows at; and that what nothing
// was given to check against is a failure called unchecked, never a success.
//
// It never writes, never opens a connection, never repairs, and never decides
// whether what a log says is wise: that the recorded decisions come out again is
// `govern verify decisions`.
//
// A key that lies beside the log it signed proves only that the log belongs to
// that key. Pin Options.Key and Options.Genesis from elsewhere to trust nobody.
//
// Formats: C2SP signed-note, tlog-checkpoint, tlog-proof; DSSE, in-toto Statement
// v1, SSHSIG. Requirements: the specification "Governance & Audit", section
// Audit Log Format, and the audit checklist (approval trail documented).
package verify
