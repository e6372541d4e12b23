// Package demo runs one governed story on this machine: real repositories and
// hooks, real signatures, two real servers behind the built-in proxy, real
// load, a real log.
//
// It promises that every step is done by the govern binary itself, as people
// and services would run it; that a step which does not do what it claims ends
// the demo with exit code 1; and that it says which durations are compressed.
// It never reaches the network, never touches anything outside the temporary
// directory it names (but for Go's build cache), and never leaves a process
// behind.
package demo
