package change

import (
	"encoding/json"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// MetadataFile is the name of the file that describes a change, by default in
// changes/<id>/.
const MetadataFile = "change_metadata.json"

// Types lists the values of the optional key "type".
var Types = []string{"feature", "bugfix", "refactor", "security"}

// Metadata is change_metadata.json: exactly the specification's keys in its
// order, then this project's optional ones. Approvals are claims; nothing ever
// counts because it stands here.
type Metadata struct {
	ChangeID     gov.ChangeID
	Author       string
	Owner        string
	Timestamp    time.Time
	Rationale    string
	Impact       string
	TestsRun     []string
	Artifacts    []string // paths relative to the repository's root, clean
	Approvals    []Approval
	RollbackPlan string
	RiskLevel    gov.Risk

	Type           string          // one of Types, or "" when absent
	Targets        []string        // names of targets in governance.yaml; nil when absent
	CanaryStrategy json.RawMessage // the specification's object, compact; nil when absent
	Contracts      []string        // contract files the author says are affected; nil when absent
	Model          string          // model id the change updates; "" when absent
	Agent          *Agent          // nil when no agent says it had a hand in the change
}

// Approval is one entry of "approvals".
type Approval struct {
	Approver  string    `json:"approver"`
	Timestamp time.Time `json:"timestamp"`
	Rationale string    `json:"rationale"`
}

// Agent is the agent that had a hand in a change.
type Agent struct {
	Name    string `json:"name"`
	Session string `json:"session"`
	Sponsor string `json:"sponsor"` // the human who answers for it
}

// WithApprovals gives m with other approvals; `change show -o metadata` fills
// them from the statements that count.
func (m Metadata) WithApprovals(as []Approval) Metadata {
	m.Approvals = as
	return m
}
