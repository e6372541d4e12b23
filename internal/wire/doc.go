// Package wire fits the rooms at the edge to the interfaces that the engine and
// the faces declare: git to engine.Repo, the proxy to engine.Traffic, deploy to
// engine.Deployer, keys to signers.
//
// It promises to translate and nothing else; it never decides, never keeps
// state of its own, and never hides an error.
package wire
