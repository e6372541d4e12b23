// Package canary decides how a candidate takes over a target: how much traffic
// it gets, for how long it is watched, whether it is promoted, rolled back or
// held, and what has to be done in the world for each of these.
//
// It promises:
//
//   - the weight of the candidate is never planned above the step that its
//     plan has reached, and never raised once a rollback is latched;
//   - a verdict is an event before anything acts on it;
//   - only fresh measurements advance the clock of a step and only a whole
//     watch in which every criterion held promotes: missing data holds;
//   - rollback and abort are answered in every state of a rollout;
//   - a digest that was rolled back by verdict does not start again on that
//     target until a signed unblock;
//   - one rollout a target at a time, the others wait in the order they came.
//
// It never reads a clock, touches traffic, signs or verifies anything, looks
// at who may do what (approval and policy do that before a command comes
// here), and never guesses a measurement that is not there.
//
// The judge ([Config.Fold], [Judge]) and the state machine ([Decide], [Apply],
// [Pending]) are pure: the same arguments give the same answer on every
// machine. [Replay] decides a recorded decision again.
//
// Requirements: specification "Governance & Audit", sections Canary Deployment
// Strategy and Approval Workflows (high risk 4 to 6, critical 4 to 8).
package canary

// Rule and Version name this rule in recorded decisions. Version rises when
// the same input may give another answer.
const (
	Rule    = "canary"
	Version = 1
)
