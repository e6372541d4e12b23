package policy

import (
	"encoding/json"

	"github.com/governhq/govern/internal/gov"
)

// Facts is everything Plan looks at. It is flat and goes through JSON
// unchanged, so that the log can keep it and Replay can decide again.
type Facts struct {
	Policy        Policy       `json:"policy"` // of the target branch, as Parse gave it
	Change        gov.ChangeID `json:"change,omitempty"`
	Declared      gov.Risk     `json:"declared"`       // risk_level of the metadata
	Type          string       `json:"type,omitempty"` // feature, bugfix, refactor, security or empty
	Author        string       `json:"author"`         // of the metadata
	Owner         string       `json:"owner,omitempty"`
	Agent         *Agent       `json:"agent,omitempty"` // set when an agent had a hand in it
	Paths         []string     `json:"paths"`           // touched, from git, not from the metadata
	Touches       Touches      `json:"touches"`         // derived by the engine; policy and registry are derived here again
	Targets       []string     `json:"targets,omitempty"`
	Branch        string       `json:"branch,omitempty"` // where it wants to go, without refs/heads/; empty counts as governed
	DefaultBranch string       `json:"default_branch,omitempty"`
	Codeowners    []OwnerRule  `json:"codeowners,omitempty"` // of the target branch, from ParseOwners; unused when the policy has rules
	People        []Member     `json:"people"`               // of the registry of the target branch, from Members
}

// Touches says what a change touches. It is derived from the paths, never
// declared away.
type Touches struct {
	Contract         bool `json:"contract"`
	ContractBreaking bool `json:"contract_breaking"` // refuted, or unknown
	Model            bool `json:"model"`
	Policy           bool `json:"policy"`
	Registry         bool `json:"registry"`
}

// Agent is the agent that had a hand in a change, and the human who answers for
// it.
type Agent struct {
	Name    string `json:"name"`
	Session string `json:"session,omitempty"`
	Sponsor string `json:"sponsor,omitempty"`
}

// Member is a registry entry without its keys: what is needed to know who an
// owner is.
type Member struct {
	Handle string            `json:"handle"`
	Kind   gov.PrincipalKind `json:"kind"`
	Roles  []string          `json:"roles,omitempty"`
	Emails []string          `json:"emails,omitempty"`
}

// Answer is what a change needs. Requirement ids of package approval are made
// of Stages: "review/owner", "validate/tests", "canary".
type Answer struct {
	Policy   gov.Digest   `json:"policy"`
	Governed bool         `json:"governed"` // the branch is one the policy governs
	Enforced bool         `json:"enforced"` // false in mode observe
	Solo     bool         `json:"solo"`     // the author may be the owner who approves, at this risk
	Declared gov.Risk     `json:"declared"`
	Risk     gov.Risk     `json:"risk"` // the highest of declared, floors, agents and raise rules
	RiskWhy  []RiskReason `json:"risk_why,omitempty"`
	Touches  Touches      `json:"touches"`
	Stages   []StageWant  `json:"stages"` // in order
	Owners   []OwnerGroup `json:"owners,omitempty"`
	Targets  []TargetWant `json:"targets,omitempty"`  // staging and production targets of this change, by name
	Problems []Problem    `json:"problems,omitempty"` // each a requirement that has failed
	Changes  string       `json:"changes"`            // directory of change metadata
	Reviews  Reviews      `json:"reviews"`
	Notes    []string     `json:"notes,omitempty"`
}

// RiskReason is one reason why the risk is at least Risk. Source is "floor",
// "agents" or "raise[i]".
type RiskReason struct {
	Risk    gov.Risk `json:"risk"`
	Source  string   `json:"source"`
	Because string   `json:"because"`
}

// StageWant is a stage with all that it demands. NotApplicable is the policy's
// reason, or empty; with it nothing else of the stage is demanded.
type StageWant struct {
	Stage             StageKind       `json:"stage"`
	NotApplicable     string          `json:"not_applicable,omitempty"`
	Roles             []RoleWant      `json:"roles,omitempty"`              // review, final
	Checks            []CheckWant     `json:"checks,omitempty"`             // validate, integration
	Targets           []string        `json:"targets,omitempty"`            // staging, integration, canary, monitor, rollout, final
	Percent           int             `json:"percent,omitempty"`            // canary
	For               Duration        `json:"for,omitempty"`                // monitor
	Steps             []int           `json:"steps,omitempty"`              // rollout
	Bake              Duration        `json:"bake,omitempty"`               // rollout
	Within            Duration        `json:"within,omitempty"`             // final
	BaselineUnhealthy Duration        `json:"baseline_unhealthy,omitempty"` // canary
	Strategy          json.RawMessage `json:"strategy,omitempty"`           // canary: the specification's object, complete, without its wrapper
}

// RoleWant is an approval by one person who wears Role. The role "owner" stands
// for one approval by an owner of every group in Answer.Owners. Distinct roles
// of a stage need distinct people.
type RoleWant struct {
	Role       string   `json:"role"`
	Presence   bool     `json:"presence"`             // the signature must prove user presence
	Assessment bool     `json:"assessment,omitempty"` // the statement must carry a risk assessment
	AuthorMay  bool     `json:"author_may,omitempty"` // solo: an author counts
	Why        []string `json:"why,omitempty"`        // rules that added it
}

// CheckWant is evidence of kind Check, attested by somebody with a role of By,
// and, where Finding is not empty, a signed finding by a person with one of
// those roles. Minimum is the bar of coverage.
type CheckWant struct {
	Check         string   `json:"check"`
	By            []string `json:"by"`
	Finding       []string `json:"finding,omitempty"`
	Minimum       *float64 `json:"minimum,omitempty"`
	NotApplicable string   `json:"not_applicable,omitempty"`
	Why           []string `json:"why,omitempty"`
}

// OwnerGroup is a set of people and the touched paths that they own: one of
// them must approve. Entries are handles, sorted; Paths are sorted.
type OwnerGroup struct {
	Owners []string `json:"owners"`
	Paths  []string `json:"paths"`
}

// TargetWant is a target of this change.
type TargetWant struct {
	Name string `json:"name"`
	Target
}

// Problem is a requirement that has failed before anybody was asked. Code is
// stable ("policy_path_unowned", …).
type Problem struct {
	Code  string   `json:"code"`
	Text  string   `json:"text"`
	Hint  string   `json:"hint,omitempty"`
	Paths []string `json:"paths,omitempty"`
}
