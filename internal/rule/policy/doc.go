// Package policy reads governance.yaml and answers what a change needs: its
// risk after floors and raise rules, the stages it goes through, the roles and
// checks of every stage, the owners of the touched paths and the targets.
//
// It promises
//
//   - strictness: an unknown or repeated key, a wrong type, an anchor, an alias
//     or a tag, more than 1 MiB, a CEL expression that is not a bool: an error
//     with line, column and, where one is near, the word that was meant;
//   - that the built-in policy equals the three workflows of the specification,
//     low and medium being two rows of the standard one;
//   - monotony: a rule under raise: or require: only ever adds; a row of a
//     higher risk never demands less than the row below it, which Validate
//     refuses, so raising a risk never makes a change easier;
//   - to fail closed: a CEL expression that cannot be evaluated raises the risk
//     to critical (raise), demands what it guards (require), or leaves the
//     requirement standing (not_applicable); a touched path without an owner, a
//     canary without a target, an invalid policy are Problems, and a plan with
//     a Problem can never be allowed;
//   - that Plan is a function of Facts alone: Replay gives the same bytes.
//
// It never reads a file, a clock, the network or a random source, never looks
// at a statement, and never decides whether a requirement is satisfied: that is
// the business of package approval. A repository without governance.yaml has no
// policy at all; the engine refuses there. Default is what init writes and what
// keys left out take.
//
// Requirements: the specification "Governance & Audit", sections Approval
// Workflows, Canary Deployment Strategy, Model Update Safeguards; DESIGN
// section 4, People, Policy, Stages, Target.
package policy
