// Package approval decides which signed statements of people count for which
// role, and for the requirements that stay open, who can still give them.
//
// It promises: a statement counts only for the change, the content, the stage
// and, at final stages, the very outcome it was signed for; nobody who had a
// hand in a change counts for it, nor anybody who is one with such a person;
// one person stands for one role a stage, however many keys he has; a
// rejection stands until its signer takes it back, expiry or a removed key
// notwithstanding; and each statement for the change that does not count is
// listed with a stable code and a sentence.
//
// It never reads a clock, a file or a signature: statements were verified
// before they were recorded, and whatever is not in Facts does not exist. It
// never lets an agent or a service approve, and never counts a statement twice.
//
// Decisions taken here that the specification leaves open:
//
//   - A key removed from the registry stops counting at once, also for what it
//     signed before: a removed key may have been stolen earlier than noticed. A
//     key whose validity merely ended still counts for what it signed in time.
//   - A revocation works wherever it stands in the log, because it names the
//     digest of its subject and so was made after it. Taking back an approval
//     needs nothing but the same signer; taking back a rejection also needs a
//     key that is in the registry and was valid, and a human.
//   - A rejection by somebody who is himself an author blocks like any other.
//   - An approval given under a lower risk than the present one does not count.
//   - An override never lifts a rejection, always carries an expiry, and counts
//     only while no earlier review is overdue.
//   - The role "owner" is never taken from the registry: without owners for a
//     path, nobody can approve it.
//
// Requirements: the specification, sections "Approval Workflows" and "Model
// Update Safeguards".
package approval
