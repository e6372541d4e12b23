package canary

import (
	"time"

	"github.com/governhq/govern/internal/gov"
)

// decision collects events and effects while each event is folded at once, so
// that every later part of a decision sees the state its earlier parts made.
type decision struct {
	s       State
	now     time.Time
	events  []gov.Event
	effects []gov.Effect
}

// Decide answers a command: events to record, in order, and effects to bring
// about once they are recorded. No events and no error means that there was
// nothing to decide (a window seen before, a late confirmation): effects, if
// any, only repeat what is already ordered.
//
// The caller appends the events under the expectation that the target's stream
// has not moved, folds them with Apply, and gives the outcome of each effect
// back as CmdConfirm (page and wake need none). now is UTC.
func Decide(s State, c Command, now time.Time) ([]gov.Event, []gov.Effect, error) {
	if s.Corrupt != "" {
		return nil, nil, gov.Errorf(gov.KindIntegrity, "canary_state_corrupt", "the events of target %s cannot be read: %s", s.Target, s.Corrupt).
			WithHint("govern verify log")
	}
	d := &decision{s: s, now: now.UTC().Round(0)}
	handle, ok := handlers[c.Type]
	if !ok {
		return nil, nil, gov.Errorf(gov.KindInvalid, "canary_command_unknown", "there is no rollout command %q", clip(string(c.Type)))
	}
	if err := handle(d, c); err != nil {
		return nil, nil, err
	}
	d.advance()
	if len(d.events) > 0 {
		d.wake()
	}
	return d.events, d.effects, nil
}

var handlers = map[CommandType]func(*decision, Command) error{
	CmdAdopt:    (*decision).adopt,
	CmdStart:    (*decision).start,
	CmdRetry:    (*decision).start,
	CmdConfirm:  (*decision).confirm,
	CmdWindow:   (*decision).window,
	CmdReport:   (*decision).report,
	CmdTick:     (*decision).tick,
	CmdPause:    (*decision).pause,
	CmdResume:   (*decision).resume,
	CmdAbort:    (*decision).abort,
	CmdPromote:  (*decision).promote,
	CmdRollback: (*decision).rollback,
	CmdUnblock:  (*decision).unblock,
	CmdRevision: (*decision).revision,
	CmdRejected: (*decision).rejected,
	CmdLost:     (*decision).lost,
	CmdApproved: (*decision).approved,
	CmdMerged:   (*decision).merged,
}

func (d *decision) emit(typ string, data any) {
	e := gov.NewEvent(d.s.stream(), typ, data)
	d.events = append(d.events, e)
	d.s = Apply(d.s, e)
	if d.s.Corrupt != "" {
		panic("canary: decided an event that does not fold: " + d.s.Corrupt)
	}
}

// say emits an event that carries only the attempt, a name and a reason.
func (d *decision) say(typ, by, reason string) {
	d.emit(typ, Attempted{d.s.Run.Attempt, by, reason, d.now})
}

// advance does what follows by itself until something outside has to happen.
func (d *decision) advance() {
	for d.s.Run != nil {
		r := d.s.Run
		switch {
		case r.Intent != nil || r.Retry != nil:
			return
		case len(r.Todo) > 0:
			if r.Paused {
				return
			}
			d.intend(1)
			return
		case r.Phase == Reverting:
			d.ended()
		case r.Phase == Settling:
			d.say(EvFinished, "", "")
		case r.Phase != Done || r.Paused:
			return
		case r.Step+1 < len(r.Plan.Steps):
			d.enter(r.Step + 1)
		case r.Kind == Restore:
			d.settle(*d.s.Previous, "restored")
		default:
			d.atFull()
			if d.s.Run.Phase == Final {
				return
			}
		}
	}
	if len(d.s.Queue) > 0 && len(d.events) > 0 {
		d.effects = append(d.effects, nextInQueue(d.s, d.now))
	}
}

func (d *decision) enter(step int) {
	r := d.s.Run
	d.emit(EvEntered, Entered{r.Attempt, step, r.Plan.Steps[step].Name, d.todo(r.Plan.Steps[step]), d.now})
}

// todo lists the actions of a step. The candidate is deployed, found healthy
// and identified by its digest before it may get any traffic.
func (d *decision) todo(s Step) []Action {
	r := d.s.Run
	arrive := func(place string) []Action {
		out := make([]Action, 0, 4)
		for _, do := range []string{DoDeploy, DoCheckHealth, DoIdentify} {
			out = append(out, Action{Do: do, Step: s.Name, Place: place, Candidate: r.Artifact, Stable: d.stable()})
		}
		return out
	}
	switch s.Kind {
	case StepDeploy:
		return arrive(s.Place)
	case StepTraffic:
		var out []Action
		if !r.Began {
			out = arrive("")
		}
		return append(out, Action{Do: DoSetWeight, Step: s.Name, Weight: s.Weight, Candidate: r.Artifact, Stable: d.stable()})
	}
	return nil
}

func (d *decision) stable() gov.Artifact {
	if d.s.Stable == nil {
		return gov.Artifact{}
	}
	return d.s.Stable.Artifact
}

// atFull is where all steps are done: all traffic is the candidate's, and the
// final approval is waited for while the old stable stays deployed.
func (d *decision) atFull() {
	r := d.s.Run
	if r.Latched == nil {
		v := Verdict{Verdict: Promote, Reason: "the plan asks for no monitoring", Evidence: Evidence{Code: CodeDisabled}}
		d.latch(v, nil)
		return // Done again; the next round goes on
	}
	if r.Merged {
		d.settle(d.deployed(), "merged")
		return
	}
	d.emit(EvPromoted, Promoted{r.Attempt, *d.s.Outcome(), d.now.Add(seconds(r.Plan.FinalSeconds)), d.now})
}

func (d *decision) deployed() Deployed {
	r := d.s.Run
	return Deployed{r.Change, r.Revision, r.Artifact, r.Attempt, r.Verdict, d.now}
}

// settle makes to the new stable and takes the old one away.
func (d *decision) settle(to Deployed, cause string) {
	old := d.stable()
	to.At = d.now
	d.emit(EvStable, StableSet{Deployed: to, Cause: cause, Todo: []Action{
		{Do: DoSetWeight, Step: "settle", Stable: to.Artifact},
		{Do: DoUndeploy, Step: "settle", Candidate: old, Stable: to.Artifact},
	}})
}

// latch records a verdict before anything acts on it.
func (d *decision) latch(v Verdict, by *gov.Recorded) {
	r := d.s.Run
	l := Latched{
		Target: d.s.Target, Attempt: r.Attempt, Step: r.step().Name, Change: r.Change,
		Candidate: r.Artifact.Digest, Verdict: v, At: d.now,
	}
	if by != nil {
		l.Statement, l.Signer = by.Digest, by.Signer
	}
	d.emit(EvLatched, Latch{l, l.Digest()})
}

// revert starts the way back to stable. It is idempotent: what is on its way
// back stays on it, for its first cause.
func (d *decision) revert(cause Cause, reason, by string) {
	r := d.s.Run
	if r == nil || r.Phase == Reverting || r.Phase == Settling {
		return
	}
	stable := d.stable()
	todo := []Action{{Do: DoSetWeight, Step: "rollback", Candidate: r.Artifact, Stable: stable}}
	for _, place := range r.Placed {
		todo = append(todo, Action{Do: DoUndeploy, Step: "rollback", Place: place, Candidate: r.Artifact, Stable: stable})
	}
	d.emit(EvReverting, Reverted{r.Attempt, Ending{cause, reason, d.now}, by, todo})
	d.page("rollback", reason)
}

// revertByVerdict latches a rollback, blocks the digest and goes back.
func (d *decision) revertByVerdict(v Verdict) {
	r := d.s.Run
	d.latch(v, nil)
	d.emit(EvBlocked, Blocked{r.Artifact.Digest, Block{r.Attempt, r.Change, d.s.Run.Verdict, v.Reason}})
	d.revert(ByVerdict, v.Reason, "")
}

func (d *decision) ended() {
	r := d.s.Run
	typ := EvBack
	if r.Ending.Cause == ByAbort {
		typ = EvAborted
	}
	d.emit(typ, EndedBack{r.Attempt, r.Ending.Cause, r.Ending.Reason, d.now})
}

func seconds(x float64) time.Duration { return time.Duration(float64(x * float64(time.Second))) }
