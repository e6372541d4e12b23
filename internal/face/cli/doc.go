// Package cli is the command line: it turns words into calls of package client,
// signs what needs a person's key, and says the answers in words.
//
// It promises that stdout is data and stderr is talk; that -o json gives the
// API's shapes; that every error has a code, a cause and the next command; that
// exit codes mean what the table in exit.go says; and that it never asks a
// question unless a terminal is there. It never decides, never holds a key
// longer than one signature, and never writes to a log but through the client.
package cli
