package canary

import (
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
