package canary

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
)

func TestHighRiskRollout(t *testing.T) {
	r := newRig(t)
	r.do(start(2, highPlan()))
	r.mustEvents(t, EvStarted, EvEntered, EvIntended)
	if got := r.orders[0]; got.Type != DoDeploy || got.Key != "target/prod/canary.deploy/1" || got.Target != "prod" {
		t.Fatalf("first effect %+v", got)
	}
	if Locks(r.s) {
		t.Fatal("locked before the canary got traffic")
	}
	var did []string
	for r.s.Run.Phase == Acting {
		e := r.orders[0]
		r.orders = r.orders[1:]
		did = append(did, e.Type)
		if e.Type != DoSetWeight && r.world.weight != 0 {
			t.Fatalf("traffic before %s", e.Type)
		}
		c := r.perform(e)
		r.do(Command{Type: CmdConfirm, Confirm: &c})
	}
	if diff := cmp.Diff([]string{DoDeploy, DoCheckHealth, DoIdentify, DoSetWeight}, did); diff != "" {
		t.Fatal(diff)
	}
	r.phase(Watching, 5)
	if !Locks(r.s) {
		t.Fatal("not locked in canary")
	}
	r.watch(59)
	r.phase(Watching, 5)
	r.watch(1)
	r.mustEvents(t, EvObserved, EvLatched, EvEntered, EvIntended)
	r.settle()
	r.phase(Final, 100)
	if !r.world.running["prod"][art("v1").Digest] || r.s.Stable.Artifact != art("v1") {
		t.Fatal("the old stable is gone before the merge")
	}
	o := r.s.Outcome()
	r.refused(Command{Type: CmdApproved, Change: "CHANGE-2", Outcome: &gov.Outcome{Target: "prod", Attempt: 1, Verdict: gov.DigestOf(nil)}}, "other_outcome")
	r.refused(Command{Type: CmdApproved, Change: "CHANGE-2", Outcome: &gov.Outcome{Target: "prod", Attempt: 2, Verdict: o.Verdict}}, "other_outcome")
	r.do(Command{Type: CmdApproved, Change: "CHANGE-2", Outcome: o})
	r.now = r.now.Add(48 * time.Hour)
	r.watch(1, func(w *Window) { w.Baseline = Counts{} })
	r.phase(Final, 100)
	r.do(Command{Type: CmdMerged, Change: "CHANGE-2"})
	r.mustEvents(t, EvMerged, EvStable, EvIntended)
	if Locks(r.s) {
		t.Fatal("locked after the merge")
	}
	r.settle()
	r.idle("CHANGE-2")
	if r.world.running["prod"][art("v1").Digest] {
		t.Fatal("the old stable still runs")
	}
	r.refold()
}

func TestCriticalRollout(t *testing.T) {
	r := newRig(t)
	r.do(start(2, criticalPlan()))
	r.settle()
	r.phase(Waiting, 0)
	if !r.world.running["staging"][art("CHANGE-2").Digest] || r.world.running["prod"][art("CHANGE-2").Digest] {
		t.Fatalf("deployed to %v", r.world.running)
	}
	r.refused(Command{Type: CmdReport, Report: &Report{Step: "smoke", Passed: true, Evidence: gov.DigestOf(nil)}}, "report_not_awaited")
	r.refused(Command{Type: CmdReport, Report: &Report{Step: "integration", Passed: true}}, "canary_command_invalid")
	r.do(Command{Type: CmdReport, Report: &Report{Step: "integration", Passed: true, Evidence: gov.DigestOf(nil)}})
	r.settle()
	r.phase(Watching, 1)
	for _, step := range []struct{ minutes, next int }{{24 * 60, 5}, {60, 25}, {60, 100}} {
		before := r.world.weight
		r.watch(step.minutes - 1)
		r.phase(Watching, before)
		r.watch(1)
		r.settle()
		r.phase(Watching, step.next)
	}
	r.watch(60, func(w *Window) { w.Baseline = Counts{} })
	r.phase(Final, 100)
	r.do(Command{Type: CmdMerged, Change: "CHANGE-2"})
	r.settle()
	r.idle("CHANGE-2")
	r.refold()
}

func TestIntegrationFails(t *testing.T) {
	r := newRig(t)
	r.do(start(2, criticalPlan()))
	r.settle()
	r.do(Command{Type: CmdReport, Report: &Report{Step: "integration", Evidence: gov.DigestOf(nil), Reason: "2 of 14 failed"}})
	r.settle()
	r.idle("v1")
	if r.world.running["staging"][art("CHANGE-2").Digest] {
		t.Error("the candidate still runs in staging")
	}
}

func TestStepsOfTheWorkflows(t *testing.T) {
	high, _ := ForRisk(gov.RiskHigh)
	critical, _ := ForRisk(gov.RiskCritical)
	wide := critical
	wide.TrafficPercentage = 10
	off := high
	off.Enabled = false
	for name, c := range map[string]struct {
		got  []Step
		want string
	}{
		"medium":   {Steps(gov.RiskMedium, high, "s", 60), ""},
		"high":     {Steps(gov.RiskHigh, high, "s", 60), "canary:5/3600 full:100/0"},
		"critical": {Steps(gov.RiskCritical, critical, "s", 60), "staging:0/0 integration:0/0 canary:1/86400 ramp-5:5/60 ramp-25:25/60 full:100/60"},
		"wide":     {Steps(gov.RiskCritical, wide, "", 60), "canary:10/86400 ramp-25:25/60 full:100/60"},
		"off":      {Steps(gov.RiskHigh, off, "", 60), "full:100/0"},
		"unknown":  {Steps("silly", critical, "", 60), "canary:1/86400 ramp-5:5/60 ramp-25:25/60 full:100/60"},
	} {
		var got []string
		for _, s := range c.got {
			got = append(got, fmt.Sprintf("%s:%d/%v", s.Name, s.Weight, s.Seconds))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, ok := ForRisk(gov.RiskLow); ok {
		t.Error("a canary at low risk")
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Plan){
		"no steps":            func(p *Plan) { p.Steps = nil },
		"not to 100":          func(p *Plan) { p.Steps = p.Steps[:1] },
		"falling weights":     func(p *Plan) { p.Steps = append(p.Steps, p.Steps[0]) },
		"more than allowed":   func(p *Plan) { p.Steps[0].Weight = 6 },
		"shorter than wanted": func(p *Plan) { p.Steps[0].Seconds = 3599 },
		"canary left out":     func(p *Plan) { p.Steps = p.Steps[1:] },
		"over 100":            func(p *Plan) { p.Steps[1].Weight = 101 },
		"same name":           func(p *Plan) { p.Steps[1].Name = "canary" },
		"reserved name":       func(p *Plan) { p.Steps[1].Name = "rollback" },
		"name with slash":     func(p *Plan) { p.Steps[1].Name = "a/b" },
		"unknown kind":        func(p *Plan) { p.Steps[1].Kind = "pray" },
		"late deploy step":    func(p *Plan) { p.Steps = slices.Insert(p.Steps, 1, Step{Name: "s", Kind: StepDeploy, Place: "x"}) },
		"deploy without place": func(p *Plan) {
			p.Steps = slices.Insert(p.Steps, 0, Step{Name: "s", Kind: StepDeploy})
		},
		"negative deadline": func(p *Plan) { p.FinalSeconds = -1 },
	} {
		p := highPlan()
		edit(p)
		if err := p.Validate(); gov.CodeOf(err) != "canary_plan_invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

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

func TestHeldRolloutIsPromotedByAPersonOnly(t *testing.T) {
	r := newRig(t)
	r.do(start(2, highPlan()))
	r.settle()
	r.refused(Command{Type: CmdPromote, Statement: signed(r, gov.DecidePromote)}, "rollout_not_held")
	r.watch(60, errorsOf(1))
	r.mustEvents(t, EvObserved, EvExtended)
	r.watch(59, errorsOf(1))
	r.phase(Watching, 5)
	r.watch(1, errorsOf(1))
	r.mustEvents(t, EvObserved, EvLatched, EvHeld)
	r.phase(Held, 5)
	if r.pages != 1 {
		t.Errorf("%d pages", r.pages)
	}
	r.watch(500, errorsOf(1))
	r.phase(Held, 5)
	r.refused(Command{Type: CmdPromote}, "canary_command_invalid")
	for code, spoil := range map[string]func(*gov.Recorded){
		"other_decision": func(s *gov.Recorded) { s.Decision = gov.DecideApprove },
		"other_target":   func(s *gov.Recorded) { s.Target = "test" },
		"not_human":      func(s *gov.Recorded) { s.SignerKind = gov.Service },
		"no_rationale":   func(s *gov.Recorded) { s.Explained = false },
		"other_revision": func(s *gov.Recorded) { s.Revision = rev("x") },
		"other_outcome":  func(s *gov.Recorded) { s.Outcome = nil },
	} {
		st := signed(r, gov.DecidePromote)
		spoil(st)
		r.refused(Command{Type: CmdPromote, Statement: st}, code)
	}
	old := signed(r, gov.DecidePromote)
	old.Outcome.Attempt = 7
	r.refused(Command{Type: CmdPromote, Statement: old}, "other_outcome")
	r.watch(1, state(Stale))
	r.refused(Command{Type: CmdPromote, Statement: signed(r, gov.DecidePromote)}, "rollout_frozen")
	r.watch(1, errorsOf(1))
	hold := r.s.Run.Verdict
	r.do(Command{Type: CmdPromote, Statement: signed(r, gov.DecidePromote)})
	r.settle()
	r.phase(Final, 100)
	if l := r.s.Run.Latched; l.Statement == "" || l.Signer != "olga" || l.Verdict.Verdict != Promote || r.s.Run.Verdict == hold || l.Digest() != r.s.Run.Verdict {
		t.Errorf("latched %+v", l)
	}
	r.refold()
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

func TestEarlyMergeSettlesAtFull(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.do(Command{Type: CmdMerged, Change: "CHANGE-2"})
	r.phase(Watching, 5)
	r.watch(50)
	r.settle()
	r.idle("CHANGE-2")
}

func TestQueueIsFirstComeFirstServed(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.do(start(3, highPlan()))
	r.mustEvents(t, EvQueued)
	r.do(start(4, highPlan()))
	r.do(start(5, highPlan()))
	r.refused(start(2, highPlan()), "rollout_running")
	r.refused(start(3, highPlan()), "rollout_running")
	r.do(Command{Type: CmdRejected, Change: "CHANGE-4"})
	r.do(Command{Type: CmdAbort, Change: "CHANGE-5"})
	if len(r.s.Queue) != 1 {
		t.Fatalf("queue %+v", r.s.Queue)
	}
	r.do(start(6, highPlan()))
	r.do(Command{Type: CmdAbort})
	r.settle()
	if r.s.Run == nil || r.s.Run.Change != "CHANGE-3" || r.s.Run.Attempt != 2 {
		t.Fatalf("running %+v", r.s.Run)
	}
	if len(r.s.Queue) != 1 || r.s.Queue[0].Change != "CHANGE-6" {
		t.Fatalf("queue %+v", r.s.Queue)
	}
	r.refold()
}

func TestAQueuedChangeThatMayNotStartMakesRoom(t *testing.T) {
	r := newRig(t)
	atState["watching"](r)
	r.do(start(3, highPlan()))
	r.do(start(4, highPlan()))
	r.do(Command{Type: CmdAbort})
	var ask gov.Effect
	for len(r.orders) > 0 {
		e := r.orders[0]
		r.orders = r.orders[1:]
		if e.Type == DoWake {
			ask = e
			continue
		}
		c := r.perform(e)
		r.do(Command{Type: CmdConfirm, Confirm: &c})
	}
	if work(ask).Change != "CHANGE-3" {
		t.Fatalf("asked for %+v", work(ask))
	}
	// somebody faster does not overtake
	r.do(start(9, highPlan()))
	if r.s.Run != nil {
		t.Fatal("overtaken")
	}
	r.orders = nil
	c := start(3, highPlan())
	c.TakesBack = []string{"CHANGE-2"}
	r.do(c)
	r.mustEvents(t, EvRefused)
	if len(r.orders) != 1 || work(r.orders[0]).Change != "CHANGE-4" {
		t.Fatalf("ordered %+v", r.orders)
	}
	r.settle()
	if r.s.Run.Change != "CHANGE-4" {
		t.Fatalf("running %s", r.s.Run.Change)
	}
}

func TestStartRefusesByName(t *testing.T) {
	r := newRig(t)
	same := start(2, highPlan())
	same.Artifact = art("v1")
	r.refused(same, "candidate_is_stable")
	back := start(2, highPlan())
	back.TakesBack = []string{"CHANGE-1", "CHANGE-7"}
	if err := r.try(back); gov.CodeOf(err) != "takes_back_stable" || !strings.Contains(err.Error(), "CHANGE-1, CHANGE-7") {
		t.Errorf("got %v", err)
	}
	r.refused(Command{Type: CmdStart, Change: "CHANGE-2", Artifact: art("x")}, "canary_command_invalid")
	noDigest := start(2, highPlan())
	noDigest.Artifact.Digest = "latest"
	r.refused(noDigest, "digest_invalid")
	retry := start(2, highPlan())
	retry.Type = CmdRetry
	r.refused(retry, "nothing_to_retry")
	r.refused(Command{Type: "fly"}, "canary_command_unknown")
	for _, typ := range []CommandType{CmdPause, CmdResume, CmdAbort, CmdLost, CmdApproved} {
		r.refused(Command{Type: typ}, "no_rollout")
	}
	bare := &rig{t: t, s: State{Target: "prod"}, now: t0}
	bare.refused(start(2, highPlan()), "no_stable")
	r.do(start(2, highPlan()))
	r.refused(Command{Type: CmdAdopt, Artifact: art("x")}, "rollout_running")
}

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
	for r.s.Run != nil && r.s.Run.Phase != Reverting {
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

func TestPlanWithoutMonitoringLatchesAVerdictAllTheSame(t *testing.T) {
	r := newRig(t)
	s := Default()
	s.Enabled = false
	r.do(start(2, &Plan{Steps: Steps(gov.RiskHigh, s, "", 0), Judge: Config{Strategy: s}}))
	r.settle()
	r.phase(Final, 100)
	if r.s.Outcome() == nil {
		t.Error("nothing for a final approval to name")
	}
}

func TestApplyMarksWhatItCannotRead(t *testing.T) {
	good := gov.NewEvent("target/prod", EvStable, StableSet{Deployed: Deployed{Artifact: art("v1"), At: t0}})
	s := Apply(State{Target: "prod"}, good)
	newer := good
	newer.V = 2
	broken := good
	broken.Data = json.RawMessage(`{"artifact":7}`)
	for name, e := range map[string]gov.Event{
		"newer version": newer, "broken data": broken,
		"attempt not running": gov.NewEvent("target/prod", EvPaused, Attempted{Attempt: 3}),
		"step out of range":   gov.NewEvent("target/prod", EvEntered, Entered{Attempt: 3, Step: 9}),
	} {
		bad := Apply(s, e)
		if bad.Corrupt == "" {
			t.Errorf("%s was folded", name)
		}
		if _, _, err := Decide(bad, Command{Type: CmdAbort}, t0); gov.KindOf(err) != gov.KindIntegrity {
			t.Errorf("%s: decided with %v", name, err)
		}
	}
	elsewhere := good
	elsewhere.Stream = "target/other"
	unknown := good
	unknown.Type = "target.painted"
	for _, e := range []gov.Event{elsewhere, unknown} {
		if diff := cmp.Diff(s, Apply(s, e)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCanonicalJSON(t *testing.T) {
	// the strings of RFC 8785, section 3.2.2, and the sorting of 3.2.3
	in := map[string]any{
		"\u20ac": "\u20ac$\u000f\nA'B\"\\\"/", "\r": 1, "\ufb33": 2, "1": 3, "\U0001f600": 4, "\u0080": 5, "\u00f6": 6,
		"n": []any{333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001, true, nil},
	}
	want := `{"\r":1,"1":3,"n":[333333333.3333333,1e+30,4.5,0.002,1e-27,true,null],"` + "\u0080" + `":5,"` + "\u00f6" + `":6,"` +
		"\u20ac" + `":"` + "\u20ac" + `$\u000f\nA'B\"\\\"/","` + "\U0001f600" + `":4,"` + "\ufb33" + `":2}`
	if got := string(canonical(in)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReplayRefusesWhatWasTamperedWith(t *testing.T) {
	facts, answer, err := Record(State{Target: "prod"}, Command{Type: CmdAdopt, Artifact: art("v1")}, t0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Replay(facts)
	if err != nil || string(got) != string(answer) {
		t.Fatalf("got %s, %v", got, err)
	}
	other, err := Replay(json.RawMessage(strings.Replace(string(facts), "studio", "studia", 1)))
	if err != nil || string(other) == string(answer) {
		t.Errorf("another artifact, the same answer: %v", err)
	}
	for _, bad := range []string{``, `{}x`, `{"state":{"traget":"x"}}`, `{"now":1}`} {
		if _, err := Replay(json.RawMessage(bad)); gov.KindOf(err) != gov.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
