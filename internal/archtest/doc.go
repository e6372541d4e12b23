// Package archtest keeps the rooms of the house apart.
//
// It promises that a direct import which ARCHITECTURE.md does not allow, a
// package without a seat, a package that does not say what it promises, or a
// pure rule that reaches for the world fails the test. It never runs the go
// command (a test that does is cached and lies): it reads the sources.
package archtest
