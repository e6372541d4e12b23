package canary

import "github.com/governhq/govern/internal/gov"

// CommandType names what is asked of a target.
type CommandType string

// The commands and the fields they take.
const (
	CmdAdopt    CommandType = "adopt"            // Artifact, Change, Revision: this is what runs there now
	CmdStart    CommandType = "start"            // Change, Revision, Artifact, Plan, TakesBack; also for the first of the queue
	CmdRetry    CommandType = "retry"            // as start, after an attempt that ended
	CmdConfirm  CommandType = "confirm"          // Confirm: the outcome of an effect
	CmdWindow   CommandType = "window"           // Window
	CmdReport   CommandType = "report"           // Report: an awaited report
	CmdTick     CommandType = "tick"             // nothing; time has passed
	CmdPause    CommandType = "pause"            // By, Reason
	CmdResume   CommandType = "resume"           // By
	CmdAbort    CommandType = "abort"            // By, Reason; Change for one in the queue
	CmdPromote  CommandType = "promote"          // Statement, for what is held
	CmdRollback CommandType = "rollback"         // By, Reason; after the merge it restores what was stable before, by Plan if given
	CmdUnblock  CommandType = "unblock"          // Statement naming the artifact
	CmdRevision CommandType = "revision_changed" // Change, Revision: the new one
	CmdRejected CommandType = "rejected"         // Change, Reason: a reject or revoke that counts
	CmdLost     CommandType = "lost"             // Reason: infrastructure is gone
	CmdApproved CommandType = "approved"         // Change, Outcome: final approval is complete
	CmdMerged   CommandType = "merged"           // Change
)

// Command is one command with its flat facts. Who may give it, and whether a
// statement is genuine, was checked before.
type Command struct {
	Type      CommandType   `json:"type"`
	Change    gov.ChangeID  `json:"change,omitempty"`
	Revision  gov.Revision  `json:"revision,omitzero"`
	Artifact  gov.Artifact  `json:"artifact,omitzero"`
	Plan      *Plan         `json:"plan,omitempty"`
	TakesBack []string      `json:"takes_back,omitempty"` // changes that are stable now and not in the candidate
	Confirm   *Confirm      `json:"confirm,omitempty"`
	Window    *Window       `json:"window,omitempty"`
	Report    *Report       `json:"report,omitempty"`
	Statement *gov.Recorded `json:"statement,omitempty"`
	Outcome   *gov.Outcome  `json:"outcome,omitempty"`
	By        string        `json:"by,omitempty"`     // handle
	Reason    string        `json:"reason,omitempty"` // code or short text, no personal data
}

// Confirm is the outcome of an effect, read back from the world.
type Confirm struct {
	Key    string     `json:"key"`              // of the effect
	OK     bool       `json:"ok"`               // it is so now
	Weight *int       `json:"weight,omitempty"` // set_weight: read back, required
	Digest gov.Digest `json:"digest,omitempty"` // identify: what answers, required
	Reason string     `json:"reason,omitempty"` // when it failed
}

// Report is an awaited report: integration for instance, a counted one.
type Report struct {
	Step     string     `json:"step"` // the name of the step that waits
	Passed   bool       `json:"passed"`
	Evidence gov.Digest `json:"evidence"` // the statement that carries it, required
	Reason   string     `json:"reason,omitempty"`
}

// Work is the data of every effect: what the actuator has to bring about.
// set_weight is a level: Candidate gets Weight per cent, Stable the rest; at 0
// the Candidate need not be there or be named.
type Work struct {
	Attempt   int          `json:"attempt"`
	Change    gov.ChangeID `json:"change,omitempty"`
	Candidate gov.Artifact `json:"candidate,omitzero"`
	Stable    gov.Artifact `json:"stable,omitzero"`
	Weight    int          `json:"weight"`
	Reason    string       `json:"reason,omitempty"` // page, wake
}
