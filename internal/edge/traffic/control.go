package traffic

import (
	"slices"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// keys remembers the last decisions that were replaced, so that a retry which
// was long under way cannot bring an old weight back.
type keys struct{ list []string }

// maxKeys is far more than a rollout has steps.
const maxKeys = 256

func (k *keys) add(key string) {
	if key == "" || k.has(key) {
		return
	}
	if len(k.list) == maxKeys {
		k.list = slices.Delete(k.list, 0, 1)
	}
	k.list = append(k.list, key)
}

func (k *keys) has(key string) bool { return slices.Contains(k.list, key) }

// locked runs fn with ctl held and everything due already happened.
func (m *meter) locked(fn func(now int64) error) error {
	m.ctl.Lock()
	defer m.ctl.Unlock()
	now := int64(m.now().Sub(m.base))
	m.advance(now)
	return fn(now)
}

func (m *meter) observe() (s State) {
	_ = m.locked(func(int64) error {
		s = m.state
		s.Weight = m.routes.Load().weight
		if m.until != never {
			s.Lease = m.base.Add(time.Duration(m.until))
		}
		return nil
	})
	return s
}

// set expects a weight and key that CheckSet let through.
func (m *meter) set(weight int, key string) error {
	return m.locked(func(now int64) error {
		r := m.routes.Load()
		if weight > 0 {
			if err := m.mayRaise(r, weight, key); err != nil {
				return err
			}
			m.until = now + m.lease
		}
		if m.state.Key != key {
			m.spent.add(m.state.Key)
		}
		m.state.Key, m.state.Reason, m.asked = key, ReasonSet, weight
		if weight == 0 {
			// The way down is open to every key, the way up again to a new one only.
			m.spent.add(key)
		}
		if weight != r.weight {
			m.switchTo(now, r.with(weight))
		}
		m.due.Store(min(m.ring.start+m.length, m.until))
		return nil
	})
}

// mayRaise refuses what must not put weight on the candidate.
func (m *meter) mayRaise(r *routes, weight int, key string) error {
	refuse := func(code, format string, args ...any) error {
		return gov.Errorf(gov.KindConflict, code, format, args...).
			WithOp("set weight").WithHint("observe the target, then decide with a new attempt's key")
	}
	switch {
	case m.spent.has(key):
		return refuse("key_stale", "the decision %q was replaced or killed and cannot be carried out again", key)
	case m.state.Key == key && m.asked != weight:
		return refuse("key_reused", "the decision %q set the weight to %d and cannot also set it to %d", key, m.asked, weight)
	case r.candidate == nil:
		return refuse("no_candidate", "there is no candidate that could take %d %% of the traffic", weight)
	}
	return nil
}

func (m *meter) kill() {
	_ = m.locked(func(now int64) error {
		m.spent.add(m.state.Key)
		m.state = State{Reason: ReasonKilled}
		if r := m.routes.Load(); r.weight != 0 {
			m.switchTo(now, r.with(0))
		}
		return nil
	})
}

func (m *meter) setUpstreams(cfg Config, want Upstreams) error {
	if want.Stable == "" {
		return badUpstream("", "the stable upstream must be given")
	}
	return m.locked(func(now int64) error {
		old := m.routes.Load()
		next := &routes{stable: old.stable, candidate: old.candidate, weight: old.weight, threshold: old.threshold}
		have := old.names()
		if have == want {
			return nil
		}
		if have.Stable != want.Stable {
			u, err := newUpstream(cfg, want.Stable)
			if err != nil {
				return err
			}
			next.stable = u
		}
		if have.Candidate != want.Candidate {
			u, err := newCandidate(cfg, want.Candidate)
			if err != nil {
				return err
			}
			next.candidate, next.weight, next.threshold = u, 0, 0
			m.spent.add(m.state.Key)
			if old.candidate != nil {
				m.state = State{Reason: ReasonUpstream}
			}
		}
		m.switchTo(now, next)
		for _, u := range []*upstream{old.stable, old.candidate} {
			if u != nil && u != next.stable && u != next.candidate {
				u.transport.CloseIdleConnections()
			}
		}
		return nil
	})
}

// newCandidate is newUpstream, or nil for no name.
func newCandidate(cfg Config, name string) (*upstream, error) {
	if name == "" {
		return nil, nil
	}
	return newUpstream(cfg, name)
}
