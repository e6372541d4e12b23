package canary

import (
	"fmt"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// level is the planned weight as an effect, whatever step or end led to it.
func level(s State) (gov.Effect, bool) {
	if s.Stable == nil {
		return gov.Effect{}, false
	}
	w := Work{Attempt: s.Attempts, Stable: s.Stable.Artifact}
	if r := s.Run; r != nil && r.Began && r.Phase != Settling {
		w.Change, w.Candidate, w.Weight = r.Change, r.Artifact, r.Weight
	}
	return gov.Effect{
		Key: fmt.Sprintf("%s/level.%s/%d", s.stream(), DoSetWeight, s.Attempts), Type: DoSetWeight, Target: s.Target, Data: canonical(w),
	}, true
}

// Pending lists what must be brought about or repeated when nobody knows what
// was done: after a crash, or when a supervisor takes over. The traffic level
// comes first, so that a rollback takes traffic away before anything else
// happens; then the action that was ordered and not confirmed, then the next
// wake-up. Each of them is safe to repeat.
func Pending(s State) []gov.Effect {
	if s.Corrupt != "" {
		return nil
	}
	var out []gov.Effect
	r := s.Run
	ordersWeight := r != nil && r.Intent != nil && len(r.Todo) > 0 && r.Todo[0].Do == DoSetWeight
	if e, ok := level(s); ok && !ordersWeight {
		out = append(out, e)
	}
	if r != nil && r.Intent != nil && len(r.Todo) > 0 {
		out = append(out, effect(s, r.Todo[0]))
	}
	if r == nil && len(s.Queue) > 0 {
		out = append(out, nextInQueue(s, s.Queue[0].At))
	}
	if at, ok := NextWake(s); ok {
		out = append(out, wakeAt(s, at))
	}
	return out
}

// NextWake is when time alone next makes something due.
func NextWake(s State) (at time.Time, ok bool) {
	r := s.Run
	if r == nil {
		return time.Time{}, false
	}
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	if r.Retry != nil && !r.Paused {
		sooner(r.Retry.At)
	}
	if r.Intent != nil {
		sooner(r.Intent.At.Add(unconfirmedSeconds * time.Second))
	}
	if r.Phase == Reverting || r.Phase == Settling {
		return at, ok
	}
	if r.Phase == Final && !r.Approved {
		sooner(r.Deadline)
	}
	if r.listening() && r.Frozen == "" {
		sooner(r.Heard.Add(seconds(r.Plan.SilentSeconds)))
	}
	if r.Frozen != "" {
		if !r.Paged {
			sooner(r.FrozenAt.Add(seconds(r.Plan.PageSeconds)))
		}
		cfg := r.Plan.config(r.Step)
		limit := cfg.MissingRollbackSeconds
		if r.Frozen == "baseline" {
			limit = cfg.UnhealthySeconds
		}
		if limit > 0 && !(r.Kind == Restore && r.Phase == Held) {
			sooner(r.FrozenAt.Add(seconds(limit)))
		}
	}
	return at, ok
}

func (d *decision) wake() {
	if at, ok := NextWake(d.s); ok {
		d.effects = append(d.effects, wakeAt(d.s, at))
	}
}

func wakeAt(s State, at time.Time) gov.Effect {
	return gov.Effect{
		Key: fmt.Sprintf("%s/wake/%d", s.stream(), s.Attempts), Type: DoWake, Target: s.Target, At: at,
		Data: canonical(Work{Attempt: s.Attempts, Reason: string(CmdTick)}),
	}
}

// nextInQueue asks for CmdStart of the change whose turn it is, with fresh
// facts: what is stable has changed since it was queued.
func nextInQueue(s State, at time.Time) gov.Effect {
	q := s.Queue[0]
	return gov.Effect{
		Key: fmt.Sprintf("%s/wake.start/%d", s.stream(), s.Attempts), Type: DoWake, Target: s.Target, At: at,
		Data: canonical(Work{Attempt: s.Attempts, Change: q.Change, Candidate: q.Artifact, Reason: string(CmdStart)}),
	}
}
