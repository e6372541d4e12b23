package canary

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
)

func TestNoTrafficBeforeTheDigestAnswers(t *testing.T) {
	r := newRig(t)
	r.do(start(2, highPlan()))
	for range 2 {
		e := r.orders[0]
		r.orders = r.orders[1:]
		c := r.perform(e)
		r.do(Command{Type: CmdConfirm, Confirm: &c})
	}
	for try := range 3 {
		e := r.orders[0]
		r.orders = nil
		if e.Type != DoIdentify {
			t.Fatalf("ordered %+v", e)
		}
		r.do(Command{Type: CmdConfirm, Confirm: &Confirm{Key: e.Key, OK: true, Digest: art("v1").Digest}})
		if try < 2 {
			r.do(Command{Type: CmdTick})
			if len(r.orders) > 0 {
				t.Fatal("tried again at once")
			}
			r.now = r.wake
			r.do(Command{Type: CmdTick})
		}
	}
	r.settle()
	r.idle("v1")
	if r.s.Ended[0].Cause != ByFailure || len(r.s.Blocked) > 0 {
		t.Errorf("ended %+v, blocked %v", r.s.Ended, r.s.Blocked)
	}
}

func TestAWeightThatDoesNotReadBackIsNotConfirmed(t *testing.T) {
	for name, c := range map[string]Confirm{"none": {OK: true}, "other": {OK: true, Weight: ptr(50)}, "failed": {Weight: ptr(5)}} {
		r := newRig(t)
		r.do(start(2, highPlan()))
		for r.orders[0].Type != DoSetWeight {
			e := r.orders[0]
			r.orders = r.orders[1:]
			done := r.perform(e)
			r.do(Command{Type: CmdConfirm, Confirm: &done})
		}
		c.Key = r.orders[0].Key
		r.do(Command{Type: CmdConfirm, Confirm: &c})
		r.mustEvents(t, EvFailed)
		if r.s.Run.Live != 0 || r.s.Run.Phase != Acting {
			t.Errorf("%s: live %d in %s", name, r.s.Run.Live, r.s.Run.Phase)
		}
	}
}

func TestUnconfirmedEffectIsOrderedAgain(t *testing.T) {
	r := newRig(t)
	r.do(start(2, highPlan()))
	first := r.orders[0]
	r.orders = nil
	r.now = r.now.Add(59 * time.Second)
	r.do(Command{Type: CmdTick})
	if len(r.orders) > 0 {
		t.Fatal("too early")
	}
	r.now = r.now.Add(time.Second)
	r.do(Command{Type: CmdTick})
	if diff := cmp.Diff([]gov.Effect{first}, r.orders); diff != "" {
		t.Fatal(diff)
	}
}

func TestPauseStopsTheClockButNotTheJudge(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.do(Command{Type: CmdPause, By: "olga"})
	r.refused(Command{Type: CmdPause}, "rollout_paused")
	r.watch(200)
	r.phase(Watching, 5)
	if r.s.Run.Watch.Observed != 600 {
		t.Fatalf("observed %v s", r.s.Run.Watch.Observed)
	}
	r.do(Command{Type: CmdResume, By: "olga"})
	r.refused(Command{Type: CmdResume}, "rollout_not_paused")
	r.watch(50)
	r.settle()
	r.phase(Final, 100)
}

func TestPauseWhileActingDoesNotRaiseTraffic(t *testing.T) {
	r := newRig(t)
	r.do(start(2, highPlan()))
	r.do(Command{Type: CmdPause})
	r.settle()
	if r.world.weight != 0 || PlannedWeight(r.s) != 0 {
		t.Fatal("traffic while paused")
	}
	r.do(Command{Type: CmdResume})
	r.settle()
	r.phase(Watching, 5)
}

func TestSilenceFreezesAndPages(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.now = r.now.Add(119 * time.Second)
	r.do(Command{Type: CmdTick})
	if r.s.Run.Frozen != "" {
		t.Fatal("frozen too early")
	}
	r.now = r.wake
	r.do(Command{Type: CmdTick})
	if r.s.Run.Frozen != silent || r.pages != 0 {
		t.Fatalf("frozen %q, %d pages", r.s.Run.Frozen, r.pages)
	}
	r.now = r.wake
	r.do(Command{Type: CmdTick})
	r.do(Command{Type: CmdTick})
	if r.pages != 1 {
		t.Fatalf("%d pages", r.pages)
	}
	r.now = r.now.Add(100 * 24 * time.Hour)
	r.do(Command{Type: CmdTick})
	r.phase(Watching, 5)
	r.watch(1)
	if r.s.Run.Frozen != "" {
		t.Fatal("still frozen")
	}
	r.watch(49)
	r.settle()
	r.phase(Final, 100)
}

func TestSickBaselinePagesAndRollsBack(t *testing.T) {
	sick := baseErrors(95)
	for name, wait := range map[string]func(*rig){
		"by windows":        func(r *rig) { r.watch(14, sick) },
		"by the wall clock": func(r *rig) { r.now = r.now.Add(15 * time.Minute); r.do(Command{Type: CmdTick}) },
	} {
		r := newRig(t)
		atState["watching"](r)
		r.watch(1, sick)
		if r.s.Run.Frozen != "baseline" || r.pages != 1 {
			t.Fatalf("%s: frozen %q, %d pages", name, r.s.Run.Frozen, r.pages)
		}
		r.phase(Watching, 5)
		wait(r)
		r.settle()
		r.idle("v1")
		if len(r.s.Blocked) != 1 {
			t.Errorf("%s: not blocked", name)
		}
	}
}

func TestMissingDataRollsBackByPolicy(t *testing.T) {
	r := newRig(t)
	p := highPlan()
	p.Judge.MissingRollbackSeconds = 1800
	r.do(start(2, p))
	r.settle()
	r.watch(5)
	for n := 0; r.s.Run.Phase != Reverting; n++ {
		if n > 9 {
			t.Fatal("it waits for ever")
		}
		r.now = r.wake
		r.do(Command{Type: CmdTick})
	}
	if got := r.now.Sub(t0); got != 5*time.Minute+2*time.Minute+30*time.Minute {
		t.Errorf("after %v", got)
	}
	r.settle()
	r.idle("v1")
}

func TestWindowsOfAnotherWeightDoNotCount(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.watch(200, func(w *Window) { w.Weight = 4 })
	r.phase(Watching, 5)
	if r.s.Run.Frozen != string(Ambiguous) || len(r.orders) == 0 {
		t.Fatalf("frozen %q, ordered %v", r.s.Run.Frozen, r.orders)
	}
	for _, e := range r.orders {
		if e.Type != DoSetWeight || work(e).Weight != 5 {
			t.Fatalf("ordered %+v", e)
		}
	}
}

// Found by TestMachine: the level was set again in the same breath as the
// rollback that took it to 0.
func TestABadWindowOfAnotherWeightOnlyGoesBack(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.watch(1, alert, func(w *Window) { w.Weight = 6 })
	if len(r.orders) != 1 || work(r.orders[0]).Weight != 0 {
		t.Fatalf("ordered %+v", r.orders)
	}
}

func TestSeenWindowsAndWindowsWithoutRolloutDecideNothing(t *testing.T) {
	r := newRig(t)
	r.watch(3, alert)
	atState["watching"](r)
	w := win(r.seq, alert)
	r.do(Command{Type: CmdWindow, Window: &w})
	if len(r.lastEvs) > 0 {
		t.Errorf("decided %v", r.lastEvs)
	}
}
