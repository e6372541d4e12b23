package canary

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Apply folds one event of the target's stream into its state and leaves the
// old state as it was. Events of other streams and of unknown types change
// nothing. A known event that cannot be read, is of a newer version, or speaks
// of an attempt that is not running marks the state as corrupt, and then
// Decide decides nothing more.
func Apply(s State, e gov.Event) State {
	if e.Stream != s.stream() || s.Corrupt != "" {
		return s
	}
	fold, ok := folds[e.Type]
	if !ok {
		return s
	}
	next := s.clone()
	err := fmt.Errorf("version %d is not known", e.V)
	if e.V == 1 {
		err = fold(&next, e.Data)
	}
	if err != nil {
		s.Corrupt = e.Type + ": " + err.Error()
		return s
	}
	return next
}

// clone copies what folds write to in place.
func (s State) clone() State {
	s.Blocked = maps.Clone(s.Blocked)
	s.Queue = slices.Clone(s.Queue)
	s.Ended = slices.Clone(s.Ended)
	if s.Run != nil {
		r := *s.Run
		r.Placed = slices.Clone(r.Placed)
		s.Run = &r
	}
	return s
}

// on makes a fold of a typed function.
func on[T any](f func(*State, T) error) func(*State, json.RawMessage) error {
	return func(s *State, raw json.RawMessage) error {
		var d T
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		return f(s, d)
	}
}

// onRun makes a fold of a function on the running attempt.
func onRun[T any](attempt func(T) int, f func(*State, *Run, T)) func(*State, json.RawMessage) error {
	return on(func(s *State, d T) error {
		if s.Run == nil || s.Run.Attempt != attempt(d) {
			return fmt.Errorf("attempt %d is not running", attempt(d))
		}
		f(s, s.Run, d)
		return nil
	})
}

func attempted(f func(*State, *Run, Attempted)) func(*State, json.RawMessage) error {
	return onRun(func(d Attempted) int { return d.Attempt }, f)
}

var folds = map[string]func(*State, json.RawMessage) error{
	EvStable:    on(foldStable),
	EvQueued:    on(func(s *State, d Request) error { s.Queue = append(s.Queue, d); return nil }),
	EvRefused:   on(func(s *State, d Refused) error { s.dequeue(d.Change); return nil }),
	EvStarted:   on(foldStarted),
	EvEntered:   on(foldEntered),
	EvIntended:  onRun(func(d Intended) int { return d.Attempt }, foldIntended),
	EvConfirmed: onRun(func(d Confirmed) int { return d.Attempt }, foldConfirmed),
	EvFailed: onRun(func(d ActionFailed) int { return d.Attempt }, func(_ *State, r *Run, d ActionFailed) {
		r.Intent, r.Retry = nil, &Retry{d.RetryAt, d.Try + 1}
	}),
	EvReported: onRun(func(d Reported) int { return d.Attempt }, func(_ *State, r *Run, d Reported) {
		if d.Passed {
			r.Phase = Done
		}
	}),
	EvObserved: onRun(func(d Observed) int { return d.Attempt }, func(_ *State, r *Run, d Observed) {
		r.Watch, r.Heard = d.Watch, d.At
	}),
	EvFrozen: onRun(func(d Frozen) int { return d.Attempt }, func(_ *State, r *Run, d Frozen) {
		r.Frozen, r.FrozenAt, r.Paged = d.Why, d.At, false
	}),
	EvThawed:    attempted(func(_ *State, r *Run, d Attempted) { r.thaw() }),
	EvPaged:     attempted(func(_ *State, r *Run, d Attempted) { r.Paged = true }),
	EvPaused:    attempted(func(_ *State, r *Run, d Attempted) { r.Paused = true }),
	EvResumed:   attempted(func(_ *State, r *Run, d Attempted) { r.Paused = false; r.Heard = d.At }),
	EvExtended:  attempted(func(_ *State, r *Run, d Attempted) { r.Watch.Extended = true }),
	EvHeld:      attempted(func(_ *State, r *Run, d Attempted) { r.Phase = Held }),
	EvApproved:  attempted(func(_ *State, r *Run, d Attempted) { r.Approved = true }),
	EvMerged:    attempted(func(_ *State, r *Run, d Attempted) { r.Merged = true }),
	EvFinished:  attempted(func(s *State, r *Run, d Attempted) { s.end("finished", "") }),
	EvBack:      onRun(func(d EndedBack) int { return d.Attempt }, func(s *State, _ *Run, d EndedBack) { s.end("rolled_back", d.Cause) }),
	EvAborted:   onRun(func(d EndedBack) int { return d.Attempt }, func(s *State, _ *Run, d EndedBack) { s.end("aborted", d.Cause) }),
	EvLatched:   onRun(func(d Latch) int { return d.Latched.Attempt }, foldLatched),
	EvReverting: onRun(func(d Reverted) int { return d.Attempt }, foldReverting),
	EvPromoted: onRun(func(d Promoted) int { return d.Attempt }, func(_ *State, r *Run, d Promoted) {
		r.Phase, r.Deadline = Final, d.Deadline
	}),
	EvBlocked: on(func(s *State, d Blocked) error {
		if s.Blocked == nil {
			s.Blocked = map[gov.Digest]Block{}
		}
		s.Blocked[d.Digest] = d.Block
		return nil
	}),
	EvUnblocked: on(func(s *State, d Unblocked) error { delete(s.Blocked, d.Digest); return nil }),
}

func foldStable(s *State, d StableSet) error {
	s.Previous = s.Stable
	if d.Cause == "restored" {
		s.Previous = nil // what was restored from is nowhere to go back to
	}
	stable := d.Deployed
	s.Stable = &stable
	if d.Todo != nil && s.Run != nil {
		s.Run.Phase, s.Run.Todo, s.Run.Weight = Settling, d.Todo, 0
		s.Run.Intent, s.Run.Retry = nil, nil
		s.Run.Paused = false
		s.Run.thaw()
	}
	return nil
}

func foldStarted(s *State, d Started) error {
	if s.Run != nil {
		return fmt.Errorf("attempt %d is still running", s.Run.Attempt)
	}
	s.dequeue(d.Change)
	s.Attempts = d.Attempt
	s.Run = &Run{
		Kind: d.Kind, Attempt: d.Attempt, Change: d.Change, Revision: d.Revision, Artifact: d.Artifact,
		Plan: d.Plan, Phase: Done, Step: -1,
	}
	return nil
}

func foldEntered(s *State, d Entered) error {
	r := s.Run
	if r == nil || r.Attempt != d.Attempt || d.Step < 0 || d.Step >= len(r.Plan.Steps) {
		return fmt.Errorf("attempt %d has no step %d running", d.Attempt, d.Step)
	}
	r.Step, r.Todo, r.Phase = d.Step, d.Todo, Acting
	r.Intent, r.Retry = nil, nil
	r.Watch = Watch{Seq: r.Watch.Seq, Model: r.Watch.Model} // fresh evidence for each step
	r.Heard = d.At
	r.thaw()
	if len(d.Todo) == 0 {
		r.Phase = Waiting
	}
	return nil
}

func foldIntended(_ *State, r *Run, d Intended) {
	r.Intent, r.Retry = &Intent{d.Key, d.Try, d.At}, nil
	switch d.Action.Do {
	case DoSetWeight:
		r.Weight = d.Action.Weight
		r.Began = r.Began || d.Action.Weight > 0
	case DoDeploy:
		if !slices.Contains(r.Placed, d.Action.Place) {
			r.Placed = append(r.Placed, d.Action.Place) // it may be there from now on
		}
	}
}

func foldConfirmed(_ *State, r *Run, d Confirmed) {
	r.Intent, r.Retry = nil, nil
	if d.Action.Do == DoSetWeight {
		r.Live = d.Action.Weight
	}
	if len(r.Todo) > 0 {
		r.Todo = r.Todo[1:]
	}
	if len(r.Todo) > 0 || r.Phase != Acting {
		return
	}
	r.Heard = d.At
	if s := r.step(); s.Kind == StepTraffic && s.Seconds > 0 {
		r.Phase = Watching
	} else {
		r.Phase = Done
	}
}

func foldLatched(_ *State, r *Run, d Latch) {
	l := d.Latched
	r.Latched, r.Verdict = &l, d.Digest
	if l.Verdict.Verdict == Promote {
		r.Phase = Done
	}
}

func foldReverting(_ *State, r *Run, d Reverted) {
	e := d.Ending
	r.Phase, r.Ending, r.Todo, r.Weight = Reverting, &e, d.Todo, 0
	r.Intent, r.Retry, r.Paused = nil, nil, false
	r.thaw()
}

func (r *Run) thaw() { r.Frozen, r.Paged, r.FrozenAt = "", false, time.Time{} }

func (s *State) dequeue(c gov.ChangeID) {
	s.Queue = slices.DeleteFunc(s.Queue, func(q Request) bool { return q.Change == c })
}

// end closes the run and remembers how, for the newest maxEnded changes.
func (s *State) end(how string, cause Cause) {
	r := s.Run
	s.Run = nil
	if r.Kind == Restore {
		return
	}
	s.Ended = slices.DeleteFunc(s.Ended, func(e Ended) bool { return e.Change == r.Change })
	s.Ended = append(s.Ended, Ended{r.Change, r.Attempt, r.Artifact.Digest, how, cause})
	if n := len(s.Ended); n > maxEnded {
		s.Ended = slices.Clone(s.Ended[n-maxEnded:])
	}
}
