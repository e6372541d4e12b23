package canary

import (
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Types of the events on a target's stream, all of version 1. The struct named
// behind each is its data.
const (
	EvStable    = "target.stable"            // StableSet
	EvQueued    = "rollout.queued"           // Request
	EvRefused   = "rollout.refused"          // Refused: left the queue without starting
	EvStarted   = "rollout.started"          // Started
	EvEntered   = "step.entered"             // Entered
	EvIntended  = "step.intended"            // Intended: before the effect
	EvConfirmed = "step.confirmed"           // Confirmed: read back
	EvFailed    = "step.failed"              // ActionFailed
	EvReported  = "report.received"          // Reported
	EvObserved  = "window.observed"          // Observed
	EvFrozen    = "rollout.frozen"           // Frozen
	EvThawed    = "rollout.thawed"           // Attempted
	EvPaged     = "rollout.paged"            // Attempted
	EvPaused    = "rollout.paused"           // Attempted
	EvResumed   = "rollout.resumed"          // Attempted
	EvLatched   = "verdict.latched"          // Latch
	EvExtended  = "rollout.extended"         // Attempted
	EvHeld      = "rollout.held"             // Attempted
	EvPromoted  = "rollout.promoted"         // Promoted: all traffic, waits for the final approval
	EvApproved  = "rollout.approved"         // Attempted
	EvMerged    = "rollout.merged"           // Attempted
	EvReverting = "rollout.rollback_started" // Reverted
	EvBack      = "rollout.rolled_back"      // EndedBack
	EvAborted   = "rollout.aborted"          // EndedBack
	EvFinished  = "rollout.finished"         // Attempted: the new stable stands alone
	EvBlocked   = "digest.blocked"           // Blocked
	EvUnblocked = "digest.unblocked"         // Unblocked
)

// StableSet is the data of target.stable.
type StableSet struct {
	Deployed
	Cause string   `json:"cause"`          // adopted, merged, restored
	Todo  []Action `json:"todo,omitempty"` // of the running rollout: what settles it
}

// Refused is the data of rollout.refused.
type Refused struct {
	Change gov.ChangeID `json:"change"`
	Code   string       `json:"code"`
	Reason string       `json:"reason"`
}

// Started is the data of rollout.started.
type Started struct {
	Kind     RunKind      `json:"kind"`
	Attempt  int          `json:"attempt"`
	Change   gov.ChangeID `json:"change,omitempty"`
	Revision gov.Revision `json:"revision,omitzero"`
	Artifact gov.Artifact `json:"artifact"`
	Plan     Plan         `json:"plan"`
	Reason   string       `json:"reason,omitempty"`
	By       string       `json:"by,omitempty"`
	At       time.Time    `json:"at"`
}

// Entered is the data of step.entered.
type Entered struct {
	Attempt int       `json:"attempt"`
	Step    int       `json:"step"`
	Name    string    `json:"name"`
	Todo    []Action  `json:"todo,omitempty"`
	At      time.Time `json:"at"`
}

// Intended is the data of step.intended.
type Intended struct {
	Attempt int       `json:"attempt"`
	Key     string    `json:"key"`
	Action  Action    `json:"action"`
	Try     int       `json:"try"`
	At      time.Time `json:"at"`
}

// Confirmed is the data of step.confirmed.
type Confirmed struct {
	Attempt int        `json:"attempt"`
	Key     string     `json:"key"`
	Action  Action     `json:"action"`
	Digest  gov.Digest `json:"digest,omitempty"`
	GivenUp string     `json:"given_up,omitempty"` // it failed for good and may be left so
	At      time.Time  `json:"at"`
}

// ActionFailed is the data of step.failed.
type ActionFailed struct {
	Attempt int       `json:"attempt"`
	Key     string    `json:"key"`
	Try     int       `json:"try"`
	Reason  string    `json:"reason"`
	RetryAt time.Time `json:"retry_at,omitzero"`
	At      time.Time `json:"at"`
}

// Reported is the data of report.received.
type Reported struct {
	Attempt int `json:"attempt"`
	Report
}

// Observed is the data of window.observed: the judge's memory after it.
type Observed struct {
	Attempt int       `json:"attempt"`
	Watch   Watch     `json:"watch"`
	At      time.Time `json:"at"`
}

// Frozen is the data of rollout.frozen.
type Frozen struct {
	Attempt int       `json:"attempt"`
	Why     string    `json:"why"` // empty, stale, error, ambiguous, baseline, silent
	At      time.Time `json:"at"`
}

// Attempted is the data of events that say no more than who, why and when.
type Attempted struct {
	Attempt int       `json:"attempt"`
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
}

// Latch is the data of verdict.latched.
type Latch struct {
	Latched Latched    `json:"latched"`
	Digest  gov.Digest `json:"digest"`
}

// Promoted is the data of rollout.promoted.
type Promoted struct {
	Attempt  int         `json:"attempt"`
	Outcome  gov.Outcome `json:"outcome"`
	Deadline time.Time   `json:"deadline"`
	At       time.Time   `json:"at"`
}

// Reverted is the data of rollout.rollback_started.
type Reverted struct {
	Attempt int      `json:"attempt"`
	Ending  Ending   `json:"ending"`
	By      string   `json:"by,omitempty"`
	Todo    []Action `json:"todo"`
}

// EndedBack is the data of rollout.rolled_back and rollout.aborted.
type EndedBack struct {
	Attempt int       `json:"attempt"`
	Cause   Cause     `json:"cause"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Blocked is the data of digest.blocked.
type Blocked struct {
	Digest gov.Digest `json:"digest"`
	Block
}

// Unblocked is the data of digest.unblocked.
type Unblocked struct {
	Digest    gov.Digest `json:"digest"`
	Statement gov.Digest `json:"statement"`
	Signer    string     `json:"signer"`
	At        time.Time  `json:"at"`
}
