package client

import (
	"encoding/json"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Types of the vocabulary, as they travel.
type (
	ChangeID    = gov.ChangeID
	Digest      = gov.Digest
	Risk        = gov.Risk
	Revision    = gov.Revision
	Verdict     = gov.Verdict
	Requirement = gov.Requirement
	Recorded    = gov.Recorded
	Error       = gov.Error
)

// Receipt is the answer to an accepted command.
type Receipt struct {
	Index     uint64    `json:"index"`
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Duplicate bool      `json:"duplicate,omitempty"` // a retry: this is the first answer
	Recorded  bool      `json:"recorded"`            // false: nothing had to be recorded
	Behind    bool      `json:"behind,omitempty"`    // accepted, but the views are behind
}

// Status sums up a log.
type Status struct {
	Origin   string        `json:"origin"`
	Size     uint64        `json:"size"`
	Root     string        `json:"root"`
	Genesis  Digest        `json:"genesis"`
	Local    bool          `json:"local,omitempty"` // a clone's own view: the gate elsewhere decides
	Branch   string        `json:"branch,omitempty"`
	Policy   Digest        `json:"policy,omitempty"`
	Mode     string        `json:"mode,omitempty"`
	Solo     bool          `json:"solo,omitempty"`
	Open     int           `json:"open"`
	Merged   int           `json:"merged"`
	Rollouts int           `json:"rollouts"`
	Overdue  []string      `json:"overdue,omitempty"`
	Clock    string        `json:"clock,omitempty"`
	Problem  string        `json:"problem,omitempty"`
	Targets  []TargetState `json:"targets,omitempty"`
}

// TargetState is a target in one line.
type TargetState struct {
	Name   string   `json:"name"`
	Stable Digest   `json:"stable,omitempty"`
	Change ChangeID `json:"change,omitempty"`
	Weight int      `json:"weight"`
	State  string   `json:"state"`
}

// ChangeSummary is a change in one line.
type ChangeSummary struct {
	ID       ChangeID  `json:"id"`
	Status   string    `json:"status"` // open, merged, reverted, withdrawn
	Author   string    `json:"author"`
	Owner    string    `json:"owner"`
	Risk     Risk      `json:"risk"` // as declared
	Stage    string    `json:"stage,omitempty"`
	Revision Revision  `json:"revision"`
	Branch   string    `json:"branch,omitempty"`
	Changed  time.Time `json:"changed"`
}

// ChangeList is a list of changes by number.
type ChangeList struct {
	Changes []ChangeSummary `json:"changes"`
}

// Change is everything about one change: State is the rule's folded state,
// Verdict is absent for changes that are closed, Screen is the blocked screen
// for the viewer who asked.
type Change struct {
	ID      ChangeID        `json:"id"`
	Status  string          `json:"status"`
	State   json.RawMessage `json:"state"`
	Verdict *Verdict        `json:"verdict,omitempty"`
	Screen  []string        `json:"screen,omitempty"`
	Receipt *Receipt        `json:"receipt,omitempty"`
	Local   bool            `json:"local,omitempty"`
	Outcome *Outcome        `json:"outcome,omitempty"` // what a final approval has to name now
}

// Outcome binds a final approval to a latched verdict.
type Outcome = gov.Outcome

// SyncRequest takes a change in as it stands at a commit.
type SyncRequest struct {
	CommandID string            `json:"command_id,omitempty"`
	Change    ChangeID          `json:"change"`
	Head      string            `json:"head"`             // commit or ref
	Branch    string            `json:"branch,omitempty"` // it aims at; "" the default branch
	Git       map[string]string `json:"git,omitempty"`    // quarantine variables of a hook; local callers only
}

// GateRequest asks whether a push may land.
type GateRequest struct {
	CommandID string            `json:"command_id,omitempty"`
	Ref       string            `json:"ref,omitempty"` // full name; "" the default branch
	Old       string            `json:"old"`
	New       string            `json:"new"`
	Record    bool              `json:"record,omitempty"` // what the hook does
	Git       map[string]string `json:"git,omitempty"`
}

// GateChange is the answer for one change of a push.
type GateChange struct {
	ID      ChangeID `json:"id,omitempty"`
	Revert  bool     `json:"revert,omitempty"`
	Verdict Verdict  `json:"verdict"`
	Screen  []string `json:"screen"`
}

// GateProblem is a reason that is no change's own.
type GateProblem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// GateAnswer is the answer for a whole push.
type GateAnswer struct {
	Allowed  bool          `json:"allowed"`
	Observe  bool          `json:"observe,omitempty"`
	Governed bool          `json:"governed"`
	Passes   bool          `json:"passes"` // what a hook goes by
	Changes  []GateChange  `json:"changes,omitempty"`
	Problems []GateProblem `json:"problems,omitempty"`
	Receipt  *Receipt      `json:"receipt,omitempty"`
}

// MergedRequest tells that a governed ref has moved.
type MergedRequest struct {
	CommandID string `json:"command_id,omitempty"`
	Ref       string `json:"ref"`
	Old       string `json:"old"`
	New       string `json:"new"`
}

// StatementAnswer is the answer to a statement taken in.
type StatementAnswer struct {
	Statement Recorded `json:"statement"`
	Change    *Change  `json:"change,omitempty"`
}

// Task is one thing that waits for a person.
type Task struct {
	Change      ChangeID  `json:"change,omitempty"`
	Target      string    `json:"target,omitempty"`
	Requirement string    `json:"requirement"`
	Text        string    `json:"text"`
	Command     string    `json:"command"`
	Since       time.Time `json:"since"`
}

// Inbox is what waits for a person, oldest first.
type Inbox struct {
	Handle string `json:"handle,omitempty"`
	Tasks  []Task `json:"tasks"`
}

// Event is one event of a stream with its place in the log.
type Event struct {
	Stream  string          `json:"stream"`
	Version uint64          `json:"version"`
	Index   uint64          `json:"index"`
	Type    string          `json:"type"`
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor"`
	Data    json.RawMessage `json:"data"`
}

// EventList is a stream's history.
type EventList struct {
	Events []Event `json:"events"`
}

// Target is a target's folded state (rule canary) with a sentence for people.
type Target struct {
	Name    string          `json:"name"`
	State   json.RawMessage `json:"state"`
	Weight  int             `json:"weight"` // live share of the candidate, per cent
	Summary string          `json:"summary"`
	Outcome *Outcome        `json:"outcome,omitempty"`
}

// TargetList is a list of targets by name.
type TargetList struct {
	Targets []Target `json:"targets"`
}

// RolloutRequest starts a rollout.
type RolloutRequest struct {
	CommandID string   `json:"command_id,omitempty"`
	Change    ChangeID `json:"change"`
	Target    string   `json:"target,omitempty"`
	Retry     bool     `json:"retry,omitempty"`
}

// RolloutCommand pauses, resumes, aborts or rolls back.
type RolloutCommand struct {
	CommandID string   `json:"command_id,omitempty"`
	Change    ChangeID `json:"change,omitempty"`
	Reason    string   `json:"reason,omitempty"`
}

// Signals are measurements pushed from outside; what is absent was not pushed.
type Signals struct {
	Satisfaction   *float64 `json:"satisfaction,omitempty"`
	Drift          *float64 `json:"drift,omitempty"`
	CriticalAlerts *int64   `json:"critical_alerts,omitempty"`
}

// Check is the result of checking the log.
type Check struct {
	OK       bool           `json:"ok"`
	Checked  map[string]any `json:"checked"`
	Failures []CheckFailure `json:"failures,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
}

// CheckFailure is one broken promise.
type CheckFailure struct {
	Code    string `json:"code"`
	Index   uint64 `json:"index"`
	Message string `json:"message"`
}

// Document is a governance document in Markdown.
type Document struct {
	Change   ChangeID `json:"change"`
	Markdown string   `json:"markdown"`
}
