// Package view projects the governance log into SQL tables and answers queries
// from them.
//
// It promises that every table is a function of the log: each transaction
// stores how far it has read and the tree hash there, so that a view that is
// behind replays, and a view that is ahead of the log, or stands on another
// history, is thrown away and rebuilt. Rebuilding gives the same rows
// (Dump compares). It never decides, never writes to the log, and no decision
// reads a view for what the committer must judge: expectations are checked
// against the log's own stream heads.
//
// SQL is written once for SQLite and PostgreSQL: $n parameters, text compared
// bytewise, booleans as integers, times as integer milliseconds since 1970 UTC,
// no JSON functions.
package view
