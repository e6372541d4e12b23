// Package cli is the studio command as a function, so that another binary can
// be studio too (govern's demo is): see [Main].
//
// It promises that stdout carries data and stderr talk, that a wrong command
// line is answered with the right one, that files appear whole or not at all,
// and that `serve` answers what it has accepted before it ends on SIGTERM or
// SIGINT. It never composes without an audit log unless --no-audit says so.
//
// Exit codes: 0 yes, 1 refused or failed, 2 wrong usage, 3 a replay that
// differs or a damaged log or bundle, 4 not found, 5 conflict, 8 unavailable.
package cli
