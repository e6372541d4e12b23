// Package engine is the one way through the house: it loads what a decision
// needs, asks the pure rules, appends one record with all events and decisions
// to the log, brings the views up to date and carries out the effects.
//
// It promises that a command is either one durable record or nothing; that a
// retry with the same command id gets the first answer; that a decision whose
// streams moved meanwhile is decided again, never written; that every recorded
// decision holds its facts and answer, so that anybody can run the rule again;
// and that a refused or broken clock stops everything but taking back.
//
// It never decides by itself (rules do), never trusts a view for what the
// committer must judge, and never acts on the world before the intent is
// durable.
package engine
