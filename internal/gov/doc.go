// Package gov is the vocabulary of govern: identifiers, principals, risk,
// digests, revisions, statements, evidence, events, verdicts and errors.
//
// It promises that every word has one type and one textual form, used alike by
// the log, the rules, the API, the command line and the documents. It never
// does I/O, never reads a clock, never decides anything, and imports nothing
// but the standard library.
//
// Requirements: the specification "Governance & Audit", sections Change
// Metadata Requirements, Approval Workflows, Audit Log Format.
package gov
