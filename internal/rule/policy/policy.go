package policy

import (
	"encoding/json"

	"github.com/governhq/govern/internal/gov"
)

const (
	// Rule names this rule in gov.Decided.
	Rule = "policy"
	// Version is the version of this rule's decisions.
	Version = 1
	// Path is where the policy stands in a repository.
	Path = "governance.yaml"
	// MaxBytes is the longest policy, test or CODEOWNERS file that is read.
	MaxBytes = 1 << 20
)

// Mode tells whether verdicts bind.
type Mode string

const (
	Enforce Mode = "enforce" // a change that is not allowed is refused
	Observe Mode = "observe" // everything is judged and recorded, nothing is refused
)

// Policy is governance.yaml in normal form: every key present, keys left out
// taken from Default. The JSON keys are the YAML keys. A key that is written
// replaces the default of exactly that key; workflows and evidence are merged
// row by row, and behind the rows of not_applicable always stands the one for
// changes to nothing but policy, people and owners.
type Policy struct {
	Version       int                    `json:"version"`        // of this format: 1
	Mode          Mode                   `json:"mode"`           // enforce or observe
	Solo          bool                   `json:"solo"`           // owner = author for low and medium, said in every verdict
	Branches      []string               `json:"branches"`       // governed branches, path.Match patterns; none: the default branch
	People        string                 `json:"people"`         // path of the registry
	Owners        Ownership              `json:"owners"`         // who owns which path
	Changes       Changes                `json:"changes"`        // where changes are described
	Workflows     Workflows              `json:"workflows"`      // the stages of each risk
	Coverage      Coverage               `json:"coverage"`       // the check "coverage"
	Presence      []string               `json:"presence"`       // low…critical, models, agents: where a signature must prove user presence
	Evidence      map[string]EvidenceRow `json:"evidence"`       // kind of evidence → who may attest it
	Raise         []RaiseRule            `json:"raise"`          // can raise a risk, never lower it
	Require       []RequireRule          `json:"require"`        // further roles and checks
	Canary        Canary                 `json:"canary"`         // defaults of canaries
	Targets       map[string]Target      `json:"targets"`        // where changes are deployed
	Reviews       Reviews                `json:"reviews"`        // when break-glass falls due
	Rollback      Rollback               `json:"rollback"`       // when a rollout is taken back by time
	NotApplicable []Exemption            `json:"not_applicable"` // what need not be shown, and why
	Agents        Agents                 `json:"agents"`         // what a change an agent had a hand in demands
}

// Ownership says where owners come from: a CODEOWNERS file, or the rules written
// here; both at once are refused.
type Ownership struct {
	Codeowners string      `json:"codeowners"`
	Rules      []OwnerRule `json:"rules"`
}

// OwnerRule gives the owners of the paths that Path matches. The last rule that
// matches a path wins, as in CODEOWNERS; a rule without owners makes its paths
// unowned. See CompilePattern for the patterns. An owner is a handle ("alice" or
// "@alice"), an e-mail address of a registry entry, or "org/team", which is
// everybody with the role "org/team".
type OwnerRule struct {
	Path   string   `json:"path"`
	Owners []string `json:"owners,omitempty"`
	Line   int      `json:"line,omitempty" yaml:"-"` // in CODEOWNERS; not a key of governance.yaml
}

// Changes says where change metadata stands: Dir/<id>/change_metadata.json.
type Changes struct {
	Dir string `json:"dir"`
}

// Workflows holds one row of stages a risk.
type Workflows struct {
	Low      []Stage `json:"low"`
	Medium   []Stage `json:"medium"`
	High     []Stage `json:"high"`
	Critical []Stage `json:"critical"`
}

// Row gives the stages of a risk; an unknown risk gets those of critical.
func (w Workflows) Row(r gov.Risk) []Stage {
	switch r {
	case gov.RiskLow:
		return w.Low
	case gov.RiskMedium:
		return w.Medium
	case gov.RiskHigh:
		return w.High
	default:
		return w.Critical
	}
}

// StageKind is what a stage does.
type StageKind string

const (
	StageReview      StageKind = "review"      // people approve the revision
	StageValidate    StageKind = "validate"    // evidence about the tree
	StageStaging     StageKind = "staging"     // deployed to a staging target
	StageIntegration StageKind = "integration" // a counted report from staging
	StagePredeploy   StageKind = "predeploy"   // checklists
	StageCanary      StageKind = "canary"      // a share of the traffic
	StageMonitor     StageKind = "monitor"     // observed at that share
	StageRollout     StageKind = "rollout"     // larger shares, step by step
	StageFinal       StageKind = "final"       // people approve the outcome
	StageMerge       StageKind = "merge"
)

// StageKinds lists the kinds in the only order a row may have them.
var StageKinds = []StageKind{
	StageReview, StageValidate, StageStaging, StageIntegration, StagePredeploy,
	StageCanary, StageMonitor, StageRollout, StageFinal, StageMerge,
}

// Stage is one entry of a row. Which fields a kind takes: review Roles;
// validate Checks; staging Target (optional); canary Percent; monitor For;
// rollout Steps and Bake; final Roles and Within.
type Stage struct {
	Stage   StageKind `json:"stage"`
	Roles   []string  `json:"roles,omitempty"`
	Checks  []string  `json:"checks,omitempty"`
	Target  string    `json:"target,omitempty"`
	Percent int       `json:"percent,omitempty"` // of the traffic, 1 … 99
	For     Duration  `json:"for,omitempty"`     // observed time
	Steps   []int     `json:"steps,omitempty"`   // per cent, rising, the first the canary's, the last 100
	Bake    Duration  `json:"bake,omitempty"`    // observed time at each step after the first
	Within  Duration  `json:"within,omitempty"`  // wall time to a final approval; 0: rollback.final_within
}

// Coverage is the bar of the check "coverage": the least share of covered
// statements, in [0,1].
type Coverage struct {
	Minimum float64 `json:"minimum"`
}

// EvidenceRow says which roles may attest a kind of evidence, and which roles
// must add a signed finding of a person ("finding"), apart from any approval.
// In YAML a row without a finding is written as the list of its roles.
type EvidenceRow struct {
	By      []string `json:"by"`
	Finding []string `json:"finding,omitempty"`
}

// RaiseRule raises the risk to Risk where the CEL expression When holds.
type RaiseRule struct {
	When    string   `json:"when"`
	Risk    gov.Risk `json:"risk"`
	Because string   `json:"because"`
}

// RequireRule demands further approvals in the review and further checks where
// the CEL expression When holds.
type RequireRule struct {
	When    string   `json:"when"`
	Roles   []string `json:"roles,omitempty"`
	Checks  []string `json:"checks,omitempty"`
	Because string   `json:"because"`
}

// Exemption makes What not applicable where the CEL expression When holds
// (always, when it is left out). What names checks, or the stages staging (with
// integration), integration, predeploy, canary (with monitor, rollout) and
// final (only together with canary, for then there is no outcome to approve).
type Exemption struct {
	What    []string `json:"what"`
	When    string   `json:"when,omitempty"`
	Because string   `json:"because"`
}

// Canary holds what canaries take when a change says nothing: the object
// "canary_strategy" of the specification without enabled, traffic_percentage
// and monitoring_duration_minutes, which the stages say. Package canary reads
// it; here it is opaque, canonical JSON.
type Canary struct {
	Strategy json.RawMessage `json:"strategy"`
}

// Reviews says how soon after break-glass and after an exact revert somebody
// must have looked at it.
type Reviews struct {
	OverrideDue Duration `json:"override_due"`
	RevertDue   Duration `json:"revert_due"`
}

// Rollback says after how long a rollout is taken back for want of a final
// approval, and after how long for want of a healthy baseline.
type Rollback struct {
	FinalWithin       Duration `json:"final_within"`
	BaselineUnhealthy Duration `json:"baseline_unhealthy"`
}

// Agents says what a change that an agent had a hand in demands: at least this
// risk, and these roles in the review. Presence is under presence: agents.
type Agents struct {
	Risk  gov.Risk `json:"risk"`
	Roles []string `json:"roles"`
}
