package change

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Rule and Version name this rule in recorded decisions. Version rises whenever
// the same Facts may give another Verdict.
const (
	Rule    = "change"
	Version = 1
)

// Names of the stages that this package adds or treats apart.
const (
	StageMetadata = "metadata" // the file is there and valid; always first
	StageMerge    = "merge"    // what follows when all others are done; locks wait here
	StageRevert   = "revert"   // the only stage of an exact inverse
)

// ModeObserve is the policy mode in which verdicts are computed but do not bind.
const ModeObserve = "observe"

// Facts is the whole input of Judge: flat and serialisable.
type Facts struct {
	Now      time.Time    `json:"now"`
	Change   gov.ChangeID `json:"change"`
	Revision gov.Revision `json:"revision"`
	Risk     gov.Risk     `json:"risk"`
	RiskWhy  []string     `json:"risk_why,omitempty"`
	Policy   gov.Digest   `json:"policy"` // "": there is no policy, nothing is allowed
	Mode     string       `json:"mode"`   // enforce or observe
	Stages   []StageFact  `json:"stages"` // in the order of the workflow
	Revert   *RevertFact  `json:"revert,omitempty"`

	MetadataErrors []string         `json:"metadata_errors,omitempty"` // one sentence each
	Unproposed     string           `json:"unproposed,omitempty"`      // the author in whose name nobody has signed a proposal of this content
	Problems       []Problem        `json:"problems,omitempty"`        // of the policy's plan: each refuses
	Locks          []Lock           `json:"locks,omitempty"`
	Overrides      []Override       `json:"overrides,omitempty"` // in force, as approval found
	OverdueReviews []string         `json:"overdue_reviews,omitempty"`
	NotCounted     []gov.NotCounted `json:"not_counted,omitempty"`
	Notes          []string         `json:"notes,omitempty"`
}

// StageFact is one stage of the workflow with the requirements of whichever
// rules judge it.
type StageFact struct {
	Name          string            `json:"name"`           // review, validate, canary, …
	Text          string            `json:"text,omitempty"` // one sentence; "" takes the name
	NotApplicable string            `json:"not_applicable,omitempty"`
	Requirements  []gov.Requirement `json:"requirements,omitempty"`
}

// RevertFact says that the range takes back a merged change.
type RevertFact struct {
	Of     gov.ChangeID `json:"of"`
	Exact  bool         `json:"exact"`  // every path goes back to the blob and mode it had
	Merged bool         `json:"merged"` // Of is merged and not yet reverted
}

// Problem is something that refuses the change before anybody was asked.
type Problem struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// Lock is another change's rollout that holds paths of this one.
type Lock struct {
	Target string       `json:"target"`
	Holder gov.ChangeID `json:"holder"`
	Paths  []string     `json:"paths,omitempty"`
}

// Override is a requirement that break-glass lifts.
type Override struct {
	Requirement string       `json:"requirement"`
	Statements  []gov.Digest `json:"statements"`
	By          []string     `json:"by"`
	Due         time.Time    `json:"due"`
}

// Replay runs Judge on recorded facts.
func Replay(facts json.RawMessage) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(facts))
	dec.DisallowUnknownFields()
	var f Facts
	if err := dec.Decode(&f); err != nil {
		return nil, &gov.Error{Kind: gov.KindIntegrity, Code: "facts_unreadable", Op: "replay change", Message: "the recorded facts are not those of this rule", Err: err}
	}
	return json.Marshal(Judge(f))
}
