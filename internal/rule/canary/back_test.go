package canary

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
)

// atState brings a rig to each state that a rollout can be in.
var atState = map[string]func(*rig){
	"acting":   func(r *rig) { r.do(start(2, highPlan())) },
	"retrying": func(r *rig) { r.do(start(2, highPlan())); r.fail("no disk") },
	"waiting":  func(r *rig) { r.do(start(2, criticalPlan())); r.settle() },
	"watching": func(r *rig) { r.do(start(2, highPlan())); r.settle(); r.watch(10) },
	"frozen":   func(r *rig) { r.do(start(2, highPlan())); r.settle(); r.watch(10, state(Stale)) },
	"paused": func(r *rig) {
		r.do(start(2, highPlan()))
		r.settle()
		r.do(Command{Type: CmdPause, By: "olga"})
	},
	"held":     func(r *rig) { r.do(start(2, highPlan())); r.settle(); r.watch(120, errorsOf(1)) },
	"shifting": func(r *rig) { r.do(start(2, highPlan())); r.settle(); r.watch(60) },
	"final":    func(r *rig) { r.do(start(2, highPlan())); r.settle(); r.watch(60); r.settle() },
	"approved": func(r *rig) {
		r.do(start(2, highPlan()))
		r.settle()
		r.watch(60)
		r.settle()
		r.do(Command{Type: CmdApproved, Change: "CHANGE-2", Outcome: r.s.Outcome()})
	},
}

// fail confirms the first order as failed.
func (r *rig) fail(reason string) {
	e := r.orders[0]
	r.orders = r.orders[1:]
	r.do(Command{Type: CmdConfirm, Confirm: &Confirm{Key: e.Key, Reason: reason}})
}

func TestEveryStateCanGoBack(t *testing.T) {
	for _, c := range []struct {
		name    string
		command Command
		ends    string
		cause   Cause
		how     string
	}{
		{"abort", Command{Type: CmdAbort, By: "olga", Reason: "enough"}, EvAborted, ByAbort, "aborted"},
		{"rollback", Command{Type: CmdRollback, By: "olga"}, EvBack, ByPerson, "rolled_back"},
		{"lost", Command{Type: CmdLost, Reason: "host is gone"}, EvBack, ByLost, "rolled_back"},
		{"rejected", Command{Type: CmdRejected, Change: "CHANGE-2"}, EvBack, ByReject, "rolled_back"},
		{"revision", Command{Type: CmdRevision, Change: "CHANGE-2", Revision: rev("new")}, EvBack, ByRevision, "rolled_back"},
	} {
		for name, reach := range atState {
			t.Run(c.name+" when "+name, func(t *testing.T) {
				r := newRig(t)
				reach(r)
				r.do(c.command)
				if r.s.Run.Phase != Reverting || PlannedWeight(r.s) != 0 || r.orders[len(r.orders)-1].Type != DoSetWeight {
					t.Fatalf("in %s, ordered %+v", r.s.Run.Phase, r.orders)
				}
				// asking again changes neither the cause nor the end
				for _, again := range []Command{{Type: CmdAbort}, {Type: CmdRollback}, {Type: CmdLost}} {
					r.do(again)
					if len(r.lastEvs) > 0 {
						t.Fatalf("%s decided %v on the way back", again.Type, r.lastEvs)
					}
				}
				r.orders = slices.DeleteFunc(r.orders, func(e gov.Effect) bool { return work(e).Weight > 0 })
				r.settle()
				r.idle("v1")
				if !r.has(c.ends) || len(r.s.Blocked) > 0 {
					t.Fatalf("ended without %s or blocked %v", c.ends, r.s.Blocked)
				}
				want := []Ended{{"CHANGE-2", 1, art("CHANGE-2").Digest, c.how, c.cause}}
				if diff := cmp.Diff(want, r.s.Ended); diff != "" {
					t.Fatal(diff)
				}
				r.refused(start(2, highPlan()), "retry_needed")
				again := start(2, highPlan())
				again.Type = CmdRetry
				r.do(again)
				r.settle()
				if r.s.Run.Attempt != 2 || r.s.Run.Watch.Observed != 0 || r.s.Run.Latched != nil {
					t.Fatalf("the retry is not fresh: %+v", r.s.Run)
				}
				r.refold()
			})
		}
	}
}

func TestSameRevisionAndOtherChangesDoNotGoBack(t *testing.T) {
	for name, reach := range atState {
		r := newRig(t)
		reach(r)
		before := r.s.Run.Phase
		for _, c := range []Command{
			{Type: CmdRevision, Change: "CHANGE-2", Revision: rev("CHANGE-2")},
			{Type: CmdRevision, Change: "CHANGE-3", Revision: rev("x")},
			{Type: CmdRejected, Change: "CHANGE-3"},
			{Type: CmdMerged, Change: "CHANGE-3"},
		} {
			r.do(c)
		}
		if r.s.Run == nil || r.s.Run.Phase != before {
			t.Errorf("%s: gone back", name)
		}
	}
}

// In every state with traffic on the candidate bad numbers roll it back.
func TestVerdictRollsBackAndBlocks(t *testing.T) {
	for name, reach := range atState {
		if slices.Contains([]string{"acting", "retrying", "waiting"}, name) {
			continue // no traffic yet
		}
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			reach(r)
			r.watch(1, alert)
			if got := r.lastEvs; !slices.Contains(got, EvBlocked) || slices.Index(got, EvLatched) > slices.Index(got, EvReverting) ||
				slices.Index(got, EvLatched) > slices.Index(got, EvIntended) || slices.Index(got, EvLatched) < 0 {
				t.Fatalf("events %v", got)
			}
			r.orders = slices.DeleteFunc(r.orders, func(e gov.Effect) bool { return work(e).Weight > 0 })
			r.settle()
			r.idle("v1")
			c := start(2, highPlan())
			r.refused(c, "digest_blocked")
			c.Type = CmdRetry
			r.refused(c, "digest_blocked")
			other := start(3, highPlan())
			other.Artifact = art("CHANGE-2")
			r.refused(other, "digest_blocked")
			for code, spoil := range map[string]func(*gov.Recorded){
				"other_decision":    func(s *gov.Recorded) { s.Decision = gov.DecideApprove },
				"other_target":      func(s *gov.Recorded) { s.Target = "test" },
				"not_human":         func(s *gov.Recorded) { s.SignerKind = gov.Agent },
				"no_rationale":      func(s *gov.Recorded) { s.Explained = false },
				"statement_expired": func(s *gov.Recorded) { s.Expires = r.now },
				"digest_not_blocked": func(s *gov.Recorded) {
					s.Artifacts = []gov.Artifact{art("v1")}
				},
			} {
				st := signed(r, gov.DecideUnblock)
				spoil(st)
				r.refused(Command{Type: CmdUnblock, Statement: st}, code)
			}
			r.do(Command{Type: CmdUnblock, Statement: signed(r, gov.DecideUnblock)})
			r.do(c)
			if r.s.Run.Attempt != 2 {
				t.Fatal("no second attempt")
			}
			r.refold()
		})
	}
}

func TestNoPromotionAgainstARollback(t *testing.T) {
	r := newRig(t)
	atState["held"](r)
	st := signed(r, gov.DecidePromote)
	r.watch(1, errorsOf(50))
	r.refused(Command{Type: CmdPromote, Statement: st}, "rolling_back")
	r.settle()
	r.idle("v1")
}

func TestFinalApprovalRunsOut(t *testing.T) {
	r := newRig(t)
	atState["final"](r)
	end := r.s.Run.Deadline
	if end != r.now.Add(24*time.Hour) {
		t.Fatalf("deadline %v, now %v", end, r.now)
	}
	r.now = end.Add(-time.Second)
	r.watch(0)
	r.do(Command{Type: CmdTick})
	r.phase(Final, 100)
	r.now = end
	r.do(Command{Type: CmdTick})
	r.settle()
	r.idle("v1")
	if r.s.Ended[0].Cause != ByTimeout || len(r.s.Blocked) > 0 {
		t.Errorf("ended %+v", r.s.Ended)
	}
}

func TestRollbackAfterTheMergeRestores(t *testing.T) {
	r := newRig(t)
	atState["final"](r)
	r.do(Command{Type: CmdMerged, Change: "CHANGE-2"})
	r.settle()
	r.idle("CHANGE-2")
	r.do(Command{Type: CmdRollback, By: "olga", Reason: "wrong chords"})
	if r.orders[0].Type != DoDeploy || work(r.orders[0]).Candidate != art("v1") {
		t.Fatalf("ordered %+v", r.orders)
	}
	r.settle()
	r.phase(Watching, 100)
	none := func(w *Window) { w.Baseline = Counts{} }
	r.watch(4, none)
	r.phase(Watching, 100)
	r.watch(1, none)
	r.settle()
	r.idle("v1")
	if r.world.running["prod"][art("CHANGE-2").Digest] {
		t.Error("what was rolled back still runs")
	}
	r.refused(Command{Type: CmdRollback}, "nothing_to_roll_back")
	r.refold()
}

func TestRestoreByPlan(t *testing.T) {
	r := newRig(t)
	atState["final"](r)
	r.do(Command{Type: CmdMerged, Change: "CHANGE-2"})
	r.settle()
	p := highPlan()
	p.RestoreSeconds = 60
	p.Judge.Strategy.RollbackThresholds.ErrorRate = 0.2
	r.do(Command{Type: CmdRollback, Plan: p})
	r.settle()
	r.watch(1, errorsOf(20), func(w *Window) { w.Baseline = Counts{} })
	r.settle()
	r.idle("v1")
}

func TestRollbackWhileSettlingRestores(t *testing.T) {
	r := newRig(t)
	atState["final"](r)
	r.do(Command{Type: CmdMerged, Change: "CHANGE-2"})
	r.refused(Command{Type: CmdAbort}, "already_stable")
	r.do(Command{Type: CmdRollback})
	r.settle()
	r.phase(Watching, 100)
	r.watch(5, func(w *Window) { w.Baseline = Counts{} })
	r.settle()
	r.idle("v1")
}

func TestBadRestoreAsksAPerson(t *testing.T) {
	r := newRig(t)
	atState["final"](r)
	r.do(Command{Type: CmdMerged, Change: "CHANGE-2"})
	r.settle()
	r.do(Command{Type: CmdRollback})
	r.settle()
	pages := r.pages
	r.watch(3, errorsOf(50))
	r.phase(Held, 100)
	if r.pages != pages+1 || len(r.s.Blocked) > 0 {
		t.Errorf("%d pages, blocked %v", r.pages-pages, r.s.Blocked)
	}
	r.do(Command{Type: CmdAbort})
	r.settle()
	r.idle("CHANGE-2")
}

func TestRollbackNeverGivesUp(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.watch(1, alert)
	for range 40 {
		if len(r.orders) != 1 || r.orders[0].Type != DoSetWeight || work(r.orders[0]).Weight != 0 {
			t.Fatalf("ordered %+v", r.orders)
		}
		r.fail("proxy is down")
		r.now = r.wake
		r.do(Command{Type: CmdTick})
	}
	if r.pages < 8 {
		t.Errorf("only %d pages", r.pages)
	}
	r.settle()
	r.idle("v1")
}

func TestUndeployThatFailsDoesNotHoldTheTarget(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.do(Command{Type: CmdAbort})
	e := r.orders[0]
	r.orders = r.orders[1:]
	c := r.perform(e)
	r.do(Command{Type: CmdConfirm, Confirm: &c})
	for range 5 {
		if r.orders[0].Type != DoUndeploy {
			t.Fatalf("ordered %+v", r.orders)
		}
		r.fail("busy")
		r.now = r.wake
		r.do(Command{Type: CmdTick})
	}
	r.idle("v1")
}

func TestLateConfirmationOfMoreTrafficIsUndone(t *testing.T) {
	r := newRig(t)
	r.do(start(2, highPlan()))
	var late gov.Effect
	for late.Type == "" {
		e := r.orders[0]
		r.orders = r.orders[1:]
		if e.Type == DoSetWeight {
			late = e
			continue
		}
		c := r.perform(e)
		r.do(Command{Type: CmdConfirm, Confirm: &c})
	}
	r.do(Command{Type: CmdAbort})
	r.settle()
	r.idle("v1")
	c := r.perform(late) // the actuator was slow
	if r.world.weight != 5 {
		t.Fatal("the world did not play along")
	}
	r.do(Command{Type: CmdConfirm, Confirm: &c})
	r.settle()
	r.idle("v1")
}
