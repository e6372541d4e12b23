// Package deploy runs what a target's policy says: deploy, undeploy, health and
// identify, as argument lists without a shell or as HTTP GETs.
//
// It promises that placeholders are replaced inside single arguments only (no
// value ever becomes a second argument or shell text), that every run ends
// within its timeout with its whole process group, and that a failure says
// which command failed and shows the end of its output. It never decides when
// to run anything, never retries by itself, and never takes an answer it does
// not understand for an identity.
//
// Placeholders: {artifact} {digest} {commit} {target} {slot} {address}.
package deploy
