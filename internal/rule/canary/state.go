package canary

import (
	"time"

	"github.com/governhq/govern/internal/gov"
)

// State is what is known of one target: the fold of its events. The zero value
// with Target set is a target that nothing was deployed to.
type State struct {
	Target   string               `json:"target"`
	Stable   *Deployed            `json:"stable,omitempty"`   // what all traffic gets when nothing rolls out
	Previous *Deployed            `json:"previous,omitempty"` // what was stable before: where a rollback after the merge goes
	Blocked  map[gov.Digest]Block `json:"blocked,omitempty"`  // artifact digests that failed here by verdict
	Queue    []Request            `json:"queue,omitempty"`    // waiting, first come first
	Attempts int                  `json:"attempts,omitempty"` // numbers attempts on this target from 1
	Ended    []Ended              `json:"ended,omitempty"`    // the last attempt of recent changes
	Run      *Run                 `json:"run,omitempty"`      // nil when nothing rolls out
	Corrupt  string               `json:"corrupt,omitempty"`  // an event that could not be read; nothing is decided then
}

// Deployed is an artifact that took or takes all traffic.
type Deployed struct {
	Change   gov.ChangeID `json:"change,omitempty"`
	Revision gov.Revision `json:"revision,omitzero"`
	Artifact gov.Artifact `json:"artifact"`
	Attempt  int          `json:"attempt,omitempty"`
	Verdict  gov.Digest   `json:"verdict,omitempty"`
	At       time.Time    `json:"at"`
}

// Block says why a digest may not start on this target.
type Block struct {
	Attempt int          `json:"attempt"`
	Change  gov.ChangeID `json:"change"`
	Verdict gov.Digest   `json:"verdict"`
	Reason  string       `json:"reason"`
}

// Request is a rollout that waits for its turn.
type Request struct {
	Change   gov.ChangeID `json:"change"`
	Revision gov.Revision `json:"revision"`
	Artifact gov.Artifact `json:"artifact"`
	Retry    bool         `json:"retry,omitempty"`
	At       time.Time    `json:"at"`
}

// Ended is how the last attempt of a change ended.
type Ended struct {
	Change  gov.ChangeID `json:"change"`
	Attempt int          `json:"attempt"`
	Digest  gov.Digest   `json:"digest"`
	How     string       `json:"how"` // rolled_back, aborted, finished
	Cause   Cause        `json:"cause,omitempty"`
}

const maxEnded = 16

// Phase is where a rollout is within its step.
type Phase string

// The phases.
const (
	Acting    Phase = "acting"    // Todo is worked off
	Waiting   Phase = "waiting"   // for a report
	Watching  Phase = "watching"  // the clock of the step runs
	Held      Phase = "held"      // a person decides
	Done      Phase = "done"      // the step is over; the next one starts unless paused
	Final     Phase = "final"     // 100 %, waits for final approval and merge
	Reverting Phase = "reverting" // on the way back to stable
	Settling  Phase = "settling"  // merged; the old stable is taken away
)

// RunKind tells a rollout from the way back after a merge.
type RunKind string

const (
	Rollout RunKind = "rollout"
	Restore RunKind = "restore" // back to the previously stable artifact
)

// Cause is why a rollout went back.
type Cause string

// The causes. Only a verdict blocks the digest.
const (
	ByVerdict  Cause = "verdict"
	ByAbort    Cause = "abort"
	ByPerson   Cause = "person"   // a rollback command
	ByLost     Cause = "lost"     // infrastructure lost
	ByFailure  Cause = "failure"  // an action failed for good
	ByReject   Cause = "rejected" // a reject or revoke
	ByRevision Cause = "revision" // the change has a new revision
	ByTimeout  Cause = "timeout"  // no final approval in time
	ByReport   Cause = "report"   // an awaited report says no
)

// Run is the rollout under way.
type Run struct {
	Kind     RunKind      `json:"kind"`
	Attempt  int          `json:"attempt"`
	Change   gov.ChangeID `json:"change,omitempty"`
	Revision gov.Revision `json:"revision,omitzero"`
	Artifact gov.Artifact `json:"artifact"` // the candidate
	Plan     Plan         `json:"plan"`

	Step   int      `json:"step"` // index into Plan.Steps
	Phase  Phase    `json:"phase"`
	Todo   []Action `json:"todo,omitempty"` // what the step still does, first first
	Intent *Intent  `json:"intent,omitempty"`
	Retry  *Retry   `json:"retry,omitempty"` // the first of Todo failed and waits

	Weight int       `json:"weight"`         // planned: the newest intent or less
	Live   int       `json:"live,omitempty"` // confirmed: read back from the world
	Began  bool      `json:"began,omitempty"`
	Placed []string  `json:"placed,omitempty"` // where the candidate was deployed to
	Watch  Watch     `json:"watch,omitzero"`
	Heard  time.Time `json:"heard,omitzero"` // of the last window, or of the step's start

	Paused   bool      `json:"paused,omitempty"`
	Frozen   string    `json:"frozen,omitempty"`
	FrozenAt time.Time `json:"frozen_at,omitzero"`
	Paged    bool      `json:"paged,omitempty"` // for the present freeze

	Latched  *Latched   `json:"latched,omitempty"`
	Verdict  gov.Digest `json:"verdict,omitempty"` // of Latched
	Deadline time.Time  `json:"deadline,omitzero"` // of the final approval
	Approved bool       `json:"approved,omitempty"`
	Merged   bool       `json:"merged,omitempty"`
	Ending   *Ending    `json:"ending,omitempty"`
}

// Action is one thing to bring about in the world.
type Action struct {
	Do     string `json:"do"`               // an effect's type: deploy, check_health, identify, set_weight, undeploy
	Step   string `json:"step"`             // the step's name in the effect's key
	Place  string `json:"place,omitempty"`  // "" is the target itself
	Weight int    `json:"weight,omitempty"` // set_weight

	// Candidate is what gets Weight, what is deployed, identified or taken
	// away; Stable is what gets the rest.
	Candidate gov.Artifact `json:"candidate,omitzero"`
	Stable    gov.Artifact `json:"stable,omitzero"`
}

// Intent is an action that was ordered and not confirmed.
type Intent struct {
	Key string    `json:"key"`
	Try int       `json:"try"`
	At  time.Time `json:"at"`
}

// Retry is when a failed action is tried again.
type Retry struct {
	At  time.Time `json:"at"`
	Try int       `json:"try"`
}

// Ending is why and since when a rollout goes back.
type Ending struct {
	Cause  Cause     `json:"cause"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Latched is a verdict bound to the attempt it was reached in. The digest of
// its canonical JSON is what a promotion or final approval names in its
// Outcome.
type Latched struct {
	Target    string       `json:"target"`
	Attempt   int          `json:"attempt"`
	Step      string       `json:"step"`
	Change    gov.ChangeID `json:"change,omitempty"`
	Candidate gov.Digest   `json:"candidate"`
	Verdict   Verdict      `json:"verdict"`
	Statement gov.Digest   `json:"statement,omitempty"` // of the person who promoted what was held
	Signer    string       `json:"signer,omitempty"`
	At        time.Time    `json:"at"`
}

// Digest is SHA-256 over the canonical JSON (RFC 8785) of l.
func (l Latched) Digest() gov.Digest { return gov.DigestOf(canonical(l)) }

// stream is the target's stream.
func (s State) stream() gov.Stream { return gov.StreamTarget(s.Target) }

// step is the present step.
func (r *Run) step() Step { return r.Plan.Steps[r.Step] }

// Outcome is what a final approval or a promotion of the present attempt has
// to name; nil while no verdict is latched.
func (s State) Outcome() *gov.Outcome {
	if s.Run == nil || s.Run.Verdict == "" {
		return nil
	}
	return &gov.Outcome{Target: s.Target, Attempt: s.Run.Attempt, Verdict: s.Run.Verdict}
}

// PlannedWeight is the share of traffic in per cent that the candidate may
// have now, never more.
func PlannedWeight(s State) int {
	if s.Run == nil {
		return 0
	}
	return s.Run.Weight
}

// Locks tells whether the paths of the target are locked for other merges:
// from the start of the canary until the merge or the end of the way back.
func Locks(s State) bool {
	return s.Run != nil && s.Run.Kind == Rollout && s.Run.Began && s.Run.Phase != Settling
}
