// Package change holds what a change is: its metadata file, its life as a fold
// over events, the verdict over all its stages, and the one screen of words
// that says what blocks it.
//
// It promises: metadata is read strictly (an unknown, repeated, missing or
// mistyped key is an error with line and column) and printed in the
// specification's key order, and what was printed reads back the same; a
// verdict is "allowed" only when every stage before the merge is done, where
// skipped and unknown never are; the log's events about a change hold handles
// and digests, never names or free text; the screen never exceeds 12 lines of
// 80 columns, never shortens a command, and never passes a control character
// through to a terminal.
//
// It never decides whose statement counts or which report passes: approval,
// evidence, canary and checklist answer that, and their requirements come in as
// facts. It reads no clock, no file and no repository.
//
// Decisions taken here that the specification leaves open:
//
//   - A merge that was found without a recorded permission is recorded as what
//     it is, a bypass, and falls due for review: the log does not deny facts.
//   - Break-glass lifts a requirement of any check, but not the metadata, not a
//     lock, not a rejection, and nothing at all while a review is overdue.
//   - The exact inverse of a merged change is judged as critical with one stage,
//     "revert"; overdue reviews do not block it, for it is the way back.
//
// Requirements: the specification, sections "Change Metadata Requirements" and
// "Approval Workflows".
package change
