package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/policy"
)

// watcher supervises one target.
type watcher struct {
	s       *Supervisor
	name    string
	t       policy.Target
	kick    chan struct{}
	traffic Traffic
	seq     int64         // last window given to the judge
	slots   [2]gov.Digest // what answered there last

	key    string // of the weight in force
	weight int
	levels int
	life   string // of this watcher: the levels of one before it are later decisions' past
}

func (w *watcher) run(ctx context.Context) {
	timer := time.NewTicker(w.s.world.Every)
	defer timer.Stop()
	for {
		if err := w.step(ctx); err != nil && ctx.Err() == nil {
			w.s.log.WarnContext(ctx, "target not supervised", "target", w.name, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.kick:
		}
	}
}

// step brings the world to what the log says, once.
func (w *watcher) step(ctx context.Context) error {
	st, err := w.s.e.Target(ctx, w.name)
	if err != nil {
		return err
	}
	if w.traffic == nil {
		if st.Run != nil {
			w.seq = st.Run.Watch.Seq
		}
		limits := []int{500, 1000}
		if st.Run != nil {
			limits = limitsOf(st.Run.Plan)
		}
		if w.traffic, err = w.s.world.Traffic(ctx, w.name, w.t, limits, w.seq); err != nil {
			return err
		}
	}
	if st.Stable == nil && st.Run == nil {
		return w.adopt(ctx)
	}
	if st.Run != nil {
		if err := w.tick(ctx, st); err != nil {
			return err
		}
		if err := w.windows(ctx); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

// limitsOf are the latencies that a plan judges, in milliseconds.
func limitsOf(p canary.Plan) []int {
	seen := map[int]bool{500: true, 1000: true}
	s := p.Judge.Strategy
	seen[int(s.RollbackThresholds.LatencyP95MS)] = true
	if c, ok := s.PromotionCriteria[canary.Latency]; ok {
		seen[int(c.Bound)] = true
	}
	return sortedInts(seen)
}

// adopt takes what answers in the stable slot for stable.
func (w *watcher) adopt(ctx context.Context) error {
	in := w.instance(0, gov.Artifact{}, "")
	d, err := w.s.world.Deployer.Identify(ctx, w.t, in)
	if err != nil {
		w.s.log.DebugContext(ctx, "nothing to adopt yet", "target", w.name, "err", err)
		return nil
	}
	_, err = w.s.e.Command(ctx, supervisorActor, "", w.name, canary.Command{Type: canary.CmdAdopt, Artifact: gov.Artifact{Name: w.t.Artifact, Digest: d}})
	return err
}

func (w *watcher) tick(ctx context.Context, st canary.State) error {
	if at, ok := canary.NextWake(st); !ok || at.After(w.s.e.cfg.Clock.Now()) {
		return nil
	}
	return w.command(ctx, canary.Command{Type: canary.CmdTick})
}

// windows gives the judge what the traffic driver has counted since.
func (w *watcher) windows(ctx context.Context) error {
	ws, err := w.traffic.Windows(w.seq)
	if err != nil {
		return err
	}
	for _, win := range ws {
		sig := w.s.pushed(w.name)
		win.Satisfaction, win.Drift = sig.Satisfaction, sig.Drift
		if sig.CriticalAlerts != nil {
			win.CriticalAlerts = *sig.CriticalAlerts
		}
		if err := w.command(ctx, canary.Command{Type: canary.CmdWindow, Window: &win}); err != nil {
			return err
		}
		w.seq = win.Seq
	}
	return nil
}

// settle brings pending effects about until nothing changes any more.
func (w *watcher) settle(ctx context.Context) error {
	for range 64 {
		st, err := w.s.e.Target(ctx, w.name)
		if err != nil {
			return err
		}
		moved := false
		for _, eff := range canary.Pending(st) {
			did, err := w.act(ctx, st, eff)
			if err != nil {
				return err
			}
			moved = moved || did
		}
		if !moved {
			return nil
		}
	}
	return nil
}

// act brings one effect about and gives its outcome back; it tells whether the
// target's state may have moved.
func (w *watcher) act(ctx context.Context, st canary.State, eff gov.Effect) (moved bool, err error) {
	var work canary.Work
	if err := json.Unmarshal(eff.Data, &work); err != nil {
		return false, err
	}
	switch eff.Type {
	case canary.DoWake:
		return w.wake(ctx, eff, work)
	case canary.DoPage:
		w.page(ctx, work.Reason)
		return false, nil
	}
	ordered := st.Run != nil && st.Run.Intent != nil && st.Run.Intent.Key == eff.Key
	c := w.bring(ctx, eff, work)
	if !ordered {
		if !c.OK {
			return false, errors.New(c.Reason)
		}
		return false, nil // a level repeated: nothing waits for its outcome
	}
	err = w.command(ctx, canary.Command{Type: canary.CmdConfirm, Confirm: &c})
	return err == nil, err
}

// command gives a command to the target and calls whom it wants called.
func (w *watcher) command(ctx context.Context, c canary.Command) error {
	_, effects, err := w.s.e.command(ctx, request{Actor: supervisorActor}, w.name, c)
	if err != nil {
		return err
	}
	for _, eff := range effects {
		if eff.Type != canary.DoPage {
			continue
		}
		var work canary.Work
		if err := json.Unmarshal(eff.Data, &work); err != nil {
			return err
		}
		w.page(ctx, work.Reason)
	}
	return nil
}

func (w *watcher) page(ctx context.Context, reason string) {
	w.s.log.ErrorContext(ctx, "a person is needed", "target", w.name, "reason", reason)
	if w.s.world.Page != nil {
		w.s.world.Page(ctx, w.name, reason)
	}
}

// wake starts the change whose turn in the queue it is.
func (w *watcher) wake(ctx context.Context, eff gov.Effect, work canary.Work) (bool, error) {
	if work.Change == "" {
		return false, nil // a tick, which step looks at by itself
	}
	_, err := w.s.e.StartRollout(ctx, StartRequest{Actor: supervisorActor, Change: work.Change, Target: w.name})
	if k := gov.KindOf(err); k == gov.KindPending || k == gov.KindConflict || k == gov.KindRefused {
		_, err = w.s.e.Command(ctx, supervisorActor, "", w.name, canary.Command{Type: canary.CmdAbort, Change: work.Change, By: "govern", Reason: gov.CodeOf(err)})
	}
	return err == nil, err
}

// bring does what an effect says and reads it back.
func (w *watcher) bring(ctx context.Context, eff gov.Effect, work canary.Work) canary.Confirm {
	c := canary.Confirm{Key: eff.Key}
	err := w.effect(ctx, eff, work, &c)
	if err != nil {
		c.Reason = asError(err).Message
		return c
	}
	c.OK = true
	return c
}

func (w *watcher) effect(ctx context.Context, eff gov.Effect, work canary.Work, c *canary.Confirm) error {
	if eff.Type == canary.DoSetWeight {
		return w.setWeight(ctx, eff.Key, work, c)
	}
	t, place := w.t, w
	if eff.Target != w.name {
		other, err := w.s.targets(ctx)
		if err != nil {
			return err
		}
		var ok bool
		if t, ok = other[eff.Target]; !ok {
			return gov.Errorf(gov.KindNotFound, "target_unknown", "the policy has no target %s", eff.Target)
		}
		place = &watcher{s: w.s, name: eff.Target, t: t}
	}
	slot := place.slotFor(ctx, work.Candidate.Digest, work.Stable.Digest, eff.Type)
	in := place.instance(slot, work.Candidate, "")
	if st, err := w.s.e.stateOf(ctx, work.Change); err == nil {
		in.Commit = st.Revision.Commit
	}
	d := w.s.world.Deployer
	switch eff.Type {
	case canary.DoDeploy:
		if have, err := d.Identify(ctx, t, in); err == nil && have == work.Candidate.Digest {
			return nil // it runs already: observed before acting again
		}
		return d.Deploy(ctx, t, in)
	case canary.DoUndeploy:
		if slot < 0 {
			return nil
		}
		return d.Undeploy(ctx, t, in)
	case canary.DoCheckHealth:
		return d.Healthy(ctx, t, in)
	case canary.DoIdentify:
		var err error
		c.Digest, err = d.Identify(ctx, t, in)
		return err
	}
	return gov.Errorf(gov.KindInternal, "effect_unknown", "there is no effect %q", eff.Type)
}

// setWeight routes by digest: whichever slot runs the stable artifact gets the
// rest of the traffic.
func (w *watcher) setWeight(ctx context.Context, key string, work canary.Work, c *canary.Confirm) error {
	stable := w.slotOf(ctx, work.Stable.Digest)
	candidate := -1
	if work.Weight > 0 {
		if candidate = w.slotOf(ctx, work.Candidate.Digest); candidate < 0 {
			return gov.Errorf(gov.KindUnavailable, "candidate_missing", "no slot of %s answers as %s", w.name, work.Candidate.Digest.Short())
		}
	}
	if stable < 0 {
		if work.Weight == 100 {
			stable = candidate
		} else if stable = 0; candidate == 0 {
			stable = 1
		}
	}
	if work.Weight == 0 {
		// Taking traffic away needs nobody's answer.
		if err := w.traffic.Kill(ctx); err != nil {
			return err
		}
	}
	base := ""
	if candidate >= 0 {
		base = w.base(candidate)
	}
	if err := w.traffic.Route(w.base(stable), base); err != nil {
		return err
	}
	if work.Weight > 0 {
		if err := w.set(ctx, work.Weight, key); err != nil {
			return err
		}
	}
	have, err := w.traffic.Observe(ctx)
	c.Weight = &have
	return err
}

// set sets a weight. What is already in force is renewed under the key that set
// it; anything else is a new decision with a key of its own. The effect's key
// alone would not do: a set that failed but took effect, or that the level has
// replaced while it waited for its next try, would be refused as stale for ever.
func (w *watcher) set(ctx context.Context, weight int, key string) error {
	if w.weight == weight && w.key != "" && w.traffic.Set(ctx, weight, w.key) == nil {
		return nil
	}
	w.levels++
	key = fmt.Sprintf("%s/%s.%d", key, w.life, w.levels)
	w.key, w.weight = "", 0
	if err := w.traffic.Set(ctx, weight, key); err != nil {
		return err
	}
	w.key, w.weight = key, weight
	return nil
}

// slotOf finds the slot that answers with a digest, -1 when none does. The
// answer of last time is asked first.
func (w *watcher) slotOf(ctx context.Context, d gov.Digest) int {
	if d == "" {
		return -1
	}
	for _, known := range []bool{true, false} {
		for i := range w.slots {
			if (w.slots[i] == d) != known {
				continue
			}
			got, err := w.s.world.Deployer.Identify(ctx, w.t, w.instance(i, gov.Artifact{Digest: d}, ""))
			if err != nil {
				got = ""
			}
			if w.slots[i] = got; got == d {
				return i
			}
		}
	}
	return -1
}

// slotFor chooses where a candidate goes: where it runs already, else the slot
// that does not run what is stable. An artifact that runs nowhere has no slot
// to be undeployed from (-1).
func (w *watcher) slotFor(ctx context.Context, candidate, stable gov.Digest, do string) int {
	if i := w.slotOf(ctx, candidate); i >= 0 {
		return i
	}
	if do == canary.DoUndeploy {
		return -1
	}
	if w.t.Traffic.Candidate == "" {
		return 0 // staging has one place
	}
	if w.slotOf(ctx, stable) == 1 {
		return 0
	}
	return 1
}

var slotNames = [2]string{"stable", "candidate"}

func (w *watcher) base(slot int) string {
	if slot == 1 {
		return w.t.Traffic.Candidate
	}
	return w.t.Traffic.Stable
}

func (w *watcher) instance(slot int, a gov.Artifact, commit string) Instance {
	if slot < 0 {
		slot = 0
	}
	return Instance{Target: w.name, Slot: slotNames[slot], Base: strings.TrimSuffix(w.base(slot), "/"), Artifact: a, Commit: commit}
}
