// Package document fills the governance document of a change from what the log
// knows about it.
//
// It promises the sections of the specification's template in its order; that a
// box is ticked only by evidence which is named beside it, so that an item
// nobody showed stays open and says so; that every approval stands with the
// fingerprint of its key and its place in the log; and that text of people
// cannot forge the document's own structure. It never decides whether something
// is satisfied, and never leaves a section out: what does not apply says why.
//
// Requirements: the specification, sections "Governance Document Template",
// "Security Checklist", "Privacy Checklist", "Audit Checklist".
package document
