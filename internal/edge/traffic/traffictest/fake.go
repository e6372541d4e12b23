package traffictest

import (
	"context"
	"sync"

	"github.com/governhq/govern/internal/edge/traffic"
	"github.com/governhq/govern/internal/gov"
)

// Fake is a driver that keeps its weight in memory and has no lease. The zero
// value works. Failures come in both ways: refused before, and lost after the
// weight was changed.
type Fake struct {
	mu    sync.Mutex
	state traffic.State
	asked int
	spent map[string]bool

	before, after error // of the next call, see FailNext
	sets          []int // what Set changed, in order
}

var _ traffic.Driver = (*Fake)(nil)

// FailNext makes the next Set, Kill or Observe fail with err; persisted says
// whether it takes effect all the same.
func (f *Fake) FailNext(err error, persisted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = err, nil
	if persisted {
		f.before, f.after = nil, err
	}
}

// Sets lists the weights that were put in force, kills as 0.
func (f *Fake) Sets() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int(nil), f.sets...)
}

// do runs fn between the two failures.
func (f *Fake) do(fn func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, after := f.before, f.after
	f.before, f.after = nil, nil
	if before != nil {
		return before
	}
	if f.spent == nil {
		f.spent = map[string]bool{}
		f.state.Reason = traffic.ReasonStart
	}
	if err := fn(); err != nil {
		return err
	}
	return after
}

// Observe reads the weight back.
func (f *Fake) Observe(context.Context) (s traffic.State, err error) {
	err = f.do(func() error {
		s = f.state
		return nil
	})
	return s, err
}

// Set is traffic.Driver.Set.
func (f *Fake) Set(_ context.Context, weight int, key string) error {
	return f.do(func() error {
		if err := traffic.CheckSet(weight, key); err != nil {
			return err
		}
		if weight > 0 && f.spent[key] {
			return gov.Errorf(gov.KindConflict, "key_stale", "the decision %q was replaced or killed", key)
		}
		if weight > 0 && f.state.Key == key && f.asked != weight {
			return gov.Errorf(gov.KindConflict, "key_reused", "the decision %q set the weight to %d", key, f.asked)
		}
		if f.state.Key != key || weight == 0 {
			f.spent[f.state.Key] = true
			f.spent[key] = f.spent[key] || weight == 0
		}
		if f.state.Weight != weight {
			f.sets = append(f.sets, weight)
		}
		f.asked, f.state = weight, traffic.State{Weight: weight, Key: key, Reason: traffic.ReasonSet}
		return nil
	})
}

// Kill is traffic.Driver.Kill.
func (f *Fake) Kill(context.Context) error {
	return f.do(func() error {
		f.spent[f.state.Key] = true
		f.sets = append(f.sets, 0)
		f.state = traffic.State{Reason: traffic.ReasonKilled}
		return nil
	})
}
