package canary

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/governhq/govern/internal/gov"
)

var t0 = time.Date(2026, 1, 8, 10, 0, 0, 0, time.UTC)

func art(s string) gov.Artifact {
	return gov.Artifact{Name: "studio", Digest: gov.DigestOf([]byte(s))}
}
func rev(s string) gov.Revision { return gov.Revision{Change: gov.DigestOf([]byte("rev " + s))} }

type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// rig drives one target: a log of events, and a world that effects change.
type rig struct {
	t       tester
	s       State
	log     []gov.Event
	now     time.Time
	seq     int64
	orders  []gov.Effect // given out and not yet done
	pages   int
	wake    time.Time
	world   world
	lastEvs []string
}

// world is what really is.
type world struct {
	weight    int
	candidate gov.Digest
	running   map[string]map[gov.Digest]bool
}

func newRig(t tester) *rig {
	r := &rig{t: t, s: State{Target: "prod"}, now: t0, world: world{running: map[string]map[gov.Digest]bool{}}}
	r.do(Command{Type: CmdAdopt, Artifact: art("v1"), Change: "CHANGE-1", Revision: rev("1")})
	r.world.run("prod", art("v1").Digest)
	return r
}

func (w *world) run(place string, d gov.Digest) {
	if w.running[place] == nil {
		w.running[place] = map[gov.Digest]bool{}
	}
	w.running[place][d] = true
}

// try decides, checks that the recorded decision replays, and records.
func (r *rig) try(c Command) error {
	r.t.Helper()
	// checked for every command but the many windows that are like the last
	check := c.Type != CmdWindow || c.Window.Seq%16 == 1
	var before []byte
	if check {
		before = canonical(r.s)
		facts, answer, err := Record(r.s, c, r.now)
		if err != nil {
			r.t.Fatalf("record: %v", err)
		}
		again, err := Replay(facts)
		if err != nil || string(again) != string(answer) {
			r.t.Fatalf("%s does not replay: %v\n%s\n%s", c.Type, err, answer, again)
		}
	}
	events, effects, err := Decide(r.s, c, r.now)
	if check && string(canonical(r.s)) != string(before) {
		r.t.Fatalf("%s changed the state it was given", c.Type)
	}
	if err != nil {
		if len(events)+len(effects) > 0 {
			r.t.Fatalf("%s refused and acted: %v", c.Type, err)
		}
		if e, ok := errors.AsType[*gov.Error](err); !ok || e.Code == "" || e.Kind == "" || e.Message == "" {
			r.t.Fatalf("%s: not one of our errors: %#v", c.Type, err)
		}
		return err
	}
	r.lastEvs = nil
	for _, e := range events {
		if e.Stream != "target/prod" {
			r.t.Fatalf("event on stream %s", e.Stream)
		}
		b, _ := json.Marshal(e)
		var stored gov.Event
		if err := json.Unmarshal(b, &stored); err != nil {
			r.t.Fatalf("%v", err)
		}
		r.s = Apply(r.s, stored)
		r.log = append(r.log, stored)
		r.lastEvs = append(r.lastEvs, e.Type)
	}
	if r.s.Corrupt != "" {
		r.t.Fatalf("corrupt: %s", r.s.Corrupt)
	}
	r.take(effects)
	return nil
}

func (r *rig) take(effects []gov.Effect) {
	for _, e := range effects {
		switch e.Type {
		case DoPage:
			r.pages++
		case DoWake:
			if work(e).Reason == string(CmdTick) {
				r.wake = e.At
			} else {
				r.orders = append(r.orders, e)
			}
		default:
			r.orders = append(r.orders, e)
		}
	}
}

func work(e gov.Effect) Work {
	var w Work
	if err := json.Unmarshal(e.Data, &w); err != nil {
		panic(err)
	}
	return w
}

func (r *rig) do(c Command) {
	r.t.Helper()
	if err := r.try(c); err != nil {
		r.t.Fatalf("%s: %v", c.Type, err)
	}
}

// refused wants an error code.
func (r *rig) refused(c Command, code string) {
	r.t.Helper()
	if err := r.try(c); gov.CodeOf(err) != code {
		r.t.Fatalf("%s: got %v, want %s", c.Type, err, code)
	}
}

// perform brings an effect about in the world and gives the confirmation.
func (r *rig) perform(e gov.Effect) Confirm {
	w := work(e)
	c := Confirm{Key: e.Key, OK: true}
	switch e.Type {
	case DoDeploy:
		r.world.run(e.Target, w.Candidate.Digest)
	case DoCheckHealth:
		c.OK = r.world.running[e.Target][w.Candidate.Digest]
	case DoIdentify:
		c.Digest = w.Candidate.Digest
	case DoSetWeight:
		r.world.weight, r.world.candidate = w.Weight, w.Candidate.Digest
		c.Weight = ptr(w.Weight)
	case DoUndeploy:
		delete(r.world.running[e.Target], w.Candidate.Digest)
	}
	return c
}

// settle performs effects until none is left. Asked to start, it does with
// the plan it is given.
func (r *rig) settle() {
	r.t.Helper()
	for n := 0; len(r.orders) > 0; n++ {
		if n > 200 {
			r.t.Fatalf("effects never end: %+v", r.orders)
		}
		e := r.orders[0]
		r.orders = r.orders[1:]
		if e.Type == DoWake {
			w := work(e)
			r.do(Command{Type: CmdStart, Change: w.Change, Revision: r.s.Queue[0].Revision, Artifact: w.Candidate, Plan: highPlan()})
			continue
		}
		c := r.perform(e)
		r.do(Command{Type: CmdConfirm, Confirm: &c})
	}
}

func highPlan() *Plan {
	s := Default()
	return &Plan{Steps: Steps(gov.RiskHigh, s, "", 3600), Judge: Config{Strategy: s}}
}

func criticalPlan() *Plan {
	s, _ := ForRisk(gov.RiskCritical)
	return &Plan{Steps: Steps(gov.RiskCritical, s, "staging", 3600), Judge: Config{Strategy: s}}
}

func start(n int, p *Plan) Command {
	id := gov.NewChangeID(n)
	return Command{Type: CmdStart, Change: id, Revision: rev(string(id)), Artifact: art(string(id)), Plan: p}
}

// watch sends n windows at the live weight, a minute each.
func (r *rig) watch(n int, edits ...func(*Window)) {
	r.t.Helper()
	for range n {
		r.now = r.now.Add(time.Minute)
		r.seq++
		w := win(r.seq, edits...)
		if r.s.Run != nil && w.Weight == 5 {
			w.Weight = float64(r.s.Run.Live)
		}
		r.do(Command{Type: CmdWindow, Window: &w})
	}
}

// phase wants the running rollout there.
func (r *rig) phase(p Phase, weight int) {
	r.t.Helper()
	switch {
	case r.s.Run == nil:
		r.t.Fatalf("nothing is running, want %s", p)
	case r.s.Run.Phase != p || PlannedWeight(r.s) != weight || r.world.weight != weight:
		r.t.Fatalf("in %s at %d %% (really %d %%), want %s at %d %%", r.s.Run.Phase, PlannedWeight(r.s), r.world.weight, p, weight)
	}
}

// idle wants nothing running and all traffic on the artifact.
func (r *rig) idle(stable string) {
	r.t.Helper()
	if r.s.Run != nil || r.world.weight != 0 || PlannedWeight(r.s) != 0 || r.s.Stable.Artifact != art(stable) {
		r.t.Fatalf("not idle on %s: run %+v, weight %d, stable %+v", stable, r.s.Run, r.world.weight, r.s.Stable)
	}
	if !r.world.running["prod"][art(stable).Digest] {
		r.t.Fatalf("%s is stable and does not run: %v", stable, r.world.running)
	}
	if Locks(r.s) {
		r.t.Fatalf("locked while idle")
	}
}

func (r *rig) has(typ string) bool {
	for _, e := range r.log {
		if e.Type == typ {
			return true
		}
	}
	return false
}

// refold folds the whole log again and compares.
func (r *rig) refold() {
	r.t.Helper()
	s := State{Target: "prod"}
	for _, e := range r.log {
		s = Apply(s, e)
	}
	if diff := cmp.Diff(s, r.s, cmpopts.EquateEmpty()); diff != "" {
		r.t.Fatalf("the log folds to another state (-log +kept):\n%s", diff)
	}
}

func signed(r *rig, d gov.Decision) *gov.Recorded {
	st := &gov.Recorded{
		Digest: gov.DigestOf([]byte("statement")), Decision: d, Target: "prod", Explained: true,
		Signer: "olga", SignerKind: gov.Human, Artifacts: []gov.Artifact{art("CHANGE-2")},
	}
	if run := r.s.Run; run != nil {
		st.Change, st.Revision, st.Outcome = run.Change, run.Revision, r.s.Outcome()
	}
	return st
}

func (r *rig) mustEvents(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.lastEvs); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
}
