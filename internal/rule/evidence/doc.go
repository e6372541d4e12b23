// Package evidence decides which signed reports of tools count for which check,
// and whether they say yes.
//
// It promises: a report counts only when it was signed by a principal whom the
// registry allows that kind, for the very tree that is to stand on the target;
// skipped is never passed; nothing run is never passed; a report with parts
// that could not be read never passes; each test that a change names must be
// found and have passed, and a name that fits several tests is an error with
// the candidates. Unsigned reports are shown as claims and never count.
//
// It never parses a report, opens a file or reads a clock: reports come in
// normal form (gov.Evidence).
//
// Decisions taken here that the specification leaves open:
//
//   - Reports are read in log order. For tests, the newest result of each test
//     stands, so that shards add up, a failed test that ran again and passed
//     is healed, and a later failure undoes an earlier pass. For every other
//     kind the newest report of each tool stands, and each tool's newest must
//     pass: switching tools hides nothing.
//   - A named file, folder, package or class means every test below it; one
//     skipped test below it is enough to fail, because skipped is not passed.
//   - A test name without its leading folders is accepted when exactly one
//     place in the reports fits.
//   - The evidence of an author does not count, and agents never give evidence.
//
// Requirements: the specification, sections "Change Metadata Requirements"
// (tests_run) and "Approval Workflows" (CI validates, security scan,
// architecture review, integration testing).
package evidence
