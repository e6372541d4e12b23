package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

// rolloutFacts is what one target says about one change.
type rolloutFacts struct {
	production bool
	target     string
	change     gov.ChangeID
	state      canary.State
	mine       bool          // the rollout under way is of this change and revision
	outcome    *gov.Outcome  // what a final approval has to name
	locks      []change.Lock // another change's rollout holds paths of this one
}

// rollouts reads the targets of a change.
func (e *Engine) rollouts(ctx context.Context, t *tx, c *content, plan policy.Answer) (map[string]rolloutFacts, error) {
	out := map[string]rolloutFacts{}
	for _, tw := range plan.Targets {
		st, err := t.target(ctx, tw.Name)
		if err != nil {
			return nil, err
		}
		r := rolloutFacts{production: tw.Environment == policy.Production, target: tw.Name, change: c.id, state: st}
		if run := st.Run; run != nil && run.Change == c.id && run.Kind == canary.Rollout {
			r.mine = run.Revision.Change == c.revision.Change
			if r.mine && (run.Phase == canary.Final || run.Phase == canary.Settling) {
				r.outcome = st.Outcome()
			}
		}
		if d := st.Stable; r.outcome == nil && d != nil && d.Change == c.id && d.Verdict != "" {
			// The rollout is over and merged: what was approved is what stands there.
			r.outcome = &gov.Outcome{Target: tw.Name, Attempt: d.Attempt, Verdict: d.Verdict}
		}
		if canary.Locks(st) && st.Run.Change != c.id {
			r.locks = append(r.locks, change.Lock{Target: tw.Name, Holder: st.Run.Change, Paths: c.pathsOf(tw.Target)})
		}
		out[tw.Name] = r
	}
	return out, nil
}

func (c *content) pathsOf(t policy.Target) []string {
	var out []string
	for _, p := range c.touchedPaths() {
		for _, pattern := range t.Paths {
			if m, err := policy.CompilePattern(pattern); err == nil && m.Match(p) {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// target loads a target's folded state.
func (t *tx) target(ctx context.Context, name string) (canary.State, error) {
	st, err := loadAs[canary.State](ctx, t, gov.StreamTarget(name))
	st.Target = name
	return st, err
}

// command gives a command to a target and records decision and events.
func (t *tx) command(ctx context.Context, name string, c canary.Command) ([]gov.Effect, error) {
	st, err := t.target(ctx, name)
	if err != nil {
		return nil, err
	}
	evs, effects, err := canary.Decide(st, c, t.now)
	if err != nil || len(evs) == 0 {
		return effects, err
	}
	facts := canary.Facts{State: st, Command: c, Now: t.now}
	if err := t.record(canary.Rule, canary.Version, "", facts, canary.Answer{Events: evs, Effects: effects}); err != nil {
		return nil, err
	}
	return effects, t.emit(ctx, evs...)
}

// disturbRollouts tells the rollouts of a change what its new state means for
// them: a new revision, a withdrawn approval, an awaited report, the final
// approval.
//
// Every target is looked at, not only those that the change touches now: its
// new revision may have left the paths of the target where the old one rolls out.
func (e *Engine) disturbRollouts(ctx context.Context, t *tx, c *content, j *judgement) error {
	subjects, err := e.view.Subjects(ctx, targetQuery())
	if err != nil {
		return err
	}
	for _, s := range subjects {
		target, err := t.target(ctx, s.ID)
		if err != nil {
			return err
		}
		for _, cmd := range disturbances(c, target, j) {
			if _, err := t.command(ctx, s.ID, cmd); err != nil {
				return err
			}
		}
	}
	return nil
}

func disturbances(c *content, target canary.State, j *judgement) []canary.Command {
	run := target.Run
	if run != nil && (run.Change != c.id || run.Kind != canary.Rollout || run.Phase == canary.Reverting || run.Phase == canary.Settling) {
		run = nil
	}
	waits := slices.IndexFunc(target.Queue, func(q canary.Request) bool { return q.Change == c.id })
	if run == nil && waits < 0 {
		return nil
	}
	if run != nil && run.Revision.Change != c.revision.Change || waits >= 0 && target.Queue[waits].Revision.Change != c.revision.Change {
		return []canary.Command{{Type: canary.CmdRevision, Change: c.id, Revision: c.revision}}
	}
	if why, by := unreviewed(j); why != "" {
		return []canary.Command{{Type: canary.CmdRejected, Change: c.id, Reason: why, By: by}}
	}
	if run == nil {
		return nil
	}
	var out []canary.Command
	if run.Phase == canary.Waiting {
		if report, ok := integrationReport(j, run.Plan.Steps[run.Step].Name); ok {
			out = append(out, canary.Command{Type: canary.CmdReport, Change: c.id, Report: &report})
		}
	}
	if run.Phase == canary.Final && !run.Approved && stageDone(j.verdict, string(policy.StageFinal)) {
		out = append(out, canary.Command{Type: canary.CmdApproved, Change: c.id, Outcome: target.Outcome()})
	}
	return out
}

// unreviewed tells why a rollout has lost the approval it began with.
func unreviewed(j *judgement) (why, by string) {
	if j.approvals.Rejected {
		by = ""
		if len(j.approvals.RejectedBy) > 0 {
			by = j.approvals.RejectedBy[0]
		}
		return "rejected", by
	}
	if !stageDone(j.verdict, string(policy.StageReview)) {
		return "approval withdrawn", ""
	}
	return "", ""
}

func stageDone(v gov.Verdict, id string) bool {
	i := slices.IndexFunc(v.Stages, func(r gov.Requirement) bool { return r.ID == id })
	return i >= 0 && v.Stages[i].State.Done()
}

func integrationReport(j *judgement, step string) (canary.Report, bool) {
	for _, r := range j.checks.Requirements {
		if r.ID != string(policy.StageIntegration)+"/"+policy.CheckIntegration {
			continue
		}
		switch {
		case r.State == gov.Satisfied && len(r.Evidence) > 0:
			return canary.Report{Step: step, Passed: true, Evidence: r.Evidence[0]}, true
		case r.State == gov.Failed && len(r.Evidence) > 0:
			return canary.Report{Step: step, Evidence: r.Evidence[0], Reason: "integration failed"}, true
		}
	}
	return canary.Report{}, false
}

// settleRollouts tells the targets of a change that it is merged, and those of
// a reverted one to go back to what was stable before.
func (e *Engine) settleRollouts(ctx context.Context, t *tx, p prepared, st change.State) error {
	plan := policy.Plan(p.c.planFacts())
	for _, tw := range plan.Targets {
		target, err := t.target(ctx, tw.Name)
		if err != nil {
			return err
		}
		switch {
		case p.revert == nil && target.Run != nil && target.Run.Change == st.ID:
			// Before the final stage it came early, past the gate: the target remembers.
			_, err = t.command(ctx, tw.Name, canary.Command{Type: canary.CmdMerged, Change: st.ID})
		case p.revert != nil && (target.Run == nil || settling(target.Run, st.ID)) && target.Stable != nil && target.Stable.Change == st.ID && target.Previous != nil:
			_, err = t.command(ctx, tw.Name, canary.Command{Type: canary.CmdRollback, Change: st.ID, By: "merge", Reason: "reverted"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settling tells whether all that is left of a change's rollout is to take the
// old version away.
func settling(run *canary.Run, id gov.ChangeID) bool {
	return run.Kind == canary.Rollout && run.Change == id && run.Phase == canary.Settling
}

// StartRequest begins a rollout of a change whose earlier stages are done.
type StartRequest struct {
	CommandID string
	Actor     gov.Principal
	Change    gov.ChangeID
	Target    string // "" takes every production target of the change
	Retry     bool   // a new attempt after one that ended
}

// StartRollout begins or queues the rollout of a change.
func (e *Engine) StartRollout(ctx context.Context, req StartRequest) (ChangeAnswer, error) {
	c, st, err := e.open(ctx, req.Change)
	if err != nil {
		return ChangeAnswer{}, err
	}
	var out ChangeAnswer
	receipt, rec, err := e.do(ctx, request{ID: req.CommandID, Actor: req.Actor, Name: "rollout.start"}, func(ctx context.Context, t *tx) error {
		j, now, err := e.sync(ctx, t, c, nil)
		if err != nil {
			return err
		}
		if err := e.startTargets(ctx, t, c, j, req); err != nil {
			return err
		}
		out = ChangeAnswer{State: now, Verdict: j.verdict, Local: e.identity.Local}
		return j.keep(t)
	})
	if err == nil && receipt.Duplicate {
		out, err = e.firstAnswer(ctx, req.Change, rec)
	}
	if out.State.ID == "" {
		out.State = st
	}
	out.Receipt = receipt
	return out, err
}

func (e *Engine) startTargets(ctx context.Context, t *tx, c *content, j *judgement, req StartRequest) error {
	stage := policy.StageKind(j.verdict.Stage)
	if stage != policy.StageStaging && stage != policy.StageCanary {
		if j.verdict.Stage == "" || stage == policy.StageMerge {
			return gov.Errorf(gov.KindConflict, "rollout_not_needed", "%s needs no rollout: its workflow at risk %s has none left", c.id, j.plan.Risk).WithHint("govern status %s", c.id)
		}
		return gov.Errorf(gov.KindPending, "stage_open", "%s is at stage %s; a rollout begins after it", c.id, j.verdict.Stage).WithHint("govern change missing %s", c.id)
	}
	started := false
	for _, tw := range j.plan.Targets {
		if tw.Environment != policy.Production || (req.Target != "" && req.Target != tw.Name) {
			continue
		}
		if err := e.startTarget(ctx, t, c, j, tw, req.Retry); err != nil {
			return err
		}
		started = true
	}
	if !started {
		return gov.Errorf(gov.KindNotFound, "target_unknown", "%s has no production target %s", c.id, req.Target).WithHint("govern policy show")
	}
	return nil
}

func (e *Engine) startTarget(ctx context.Context, t *tx, c *content, j *judgement, tw policy.TargetWant, retry bool) error {
	plan, err := rolloutPlan(c, j.plan, tw)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(j.checks.Artifacts, func(a gov.Artifact) bool { return a.Name == tw.Artifact })
	if i < 0 {
		return gov.Errorf(gov.KindPending, "artifact_missing", "no counted build says which %s was built from this tree", tw.Artifact).
			WithHint("govern artifact add %s %s FILE", c.id, tw.Artifact)
	}
	st, err := t.target(ctx, tw.Name)
	if err != nil {
		return err
	}
	back, err := e.takesBack(ctx, t, st, c)
	if err != nil {
		return err
	}
	typ := canary.CmdStart
	if retry {
		typ = canary.CmdRetry
	}
	_, err = t.command(ctx, tw.Name, canary.Command{
		Type: typ, Change: c.id, Revision: c.revision, Artifact: j.checks.Artifacts[i], Plan: &plan, TakesBack: back,
	})
	return err
}

// takesBack names the change that is stable on the target now and would be gone
// with the candidate: it is neither in the candidate's base nor taken back.
func (e *Engine) takesBack(ctx context.Context, t *tx, st canary.State, c *content) ([]string, error) {
	if st.Stable == nil || st.Stable.Change == "" || st.Stable.Change == c.id {
		return nil, nil
	}
	stable, err := t.change(ctx, st.Stable.Change)
	if err != nil {
		return nil, err
	}
	if stable.Status == change.Revert || stable.Status == change.Closed {
		return nil, nil
	}
	if stable.Merged != nil {
		in, err := e.cfg.Repo.Contains(ctx, c.target, stable.Merged.Commit)
		if err != nil || in {
			return nil, err
		}
	}
	return []string{string(st.Stable.Change)}, nil
}

// rolloutPlan turns the stages of the policy and the change's own strategy into
// the steps of a rollout.
func rolloutPlan(c *content, plan policy.Answer, tw policy.TargetWant) (canary.Plan, error) {
	var out canary.Plan
	var first canary.Step
	for _, s := range plan.Stages {
		if s.NotApplicable != "" || !slices.Contains(s.Targets, tw.Name) && s.Stage != policy.StageStaging && s.Stage != policy.StageIntegration {
			continue
		}
		switch s.Stage {
		case policy.StageStaging:
			for _, place := range s.Targets {
				out.Steps = append(out.Steps, canary.Step{Name: "staging", Kind: canary.StepDeploy, Place: place})
			}
		case policy.StageIntegration:
			out.Steps = append(out.Steps, canary.Step{Name: "integration", Kind: canary.StepReport})
		case policy.StageCanary:
			strategy, err := strategyOf(c, s, monitoring(plan))
			if err != nil {
				return out, err
			}
			out.Judge = judgeConfig(strategy, s, tw, plan.Touches.Model)
			first = canary.Step{Name: "canary", Kind: canary.StepTraffic, Weight: strategy.TrafficPercentage, Seconds: strategy.MonitoringMinutes * 60}
			out.Steps = append(out.Steps, first)
		case policy.StageRollout:
			for _, w := range s.Steps {
				if w > first.Weight {
					out.Steps = append(out.Steps, canary.Step{Name: fmt.Sprintf("ramp-%d", w), Kind: canary.StepTraffic, Weight: w, Seconds: s.Bake.Std().Seconds()})
				}
			}
		case policy.StageFinal:
			out.FinalSeconds = s.Within.Std().Seconds()
		}
	}
	return out.WithDefaults(), out.Validate()
}

func monitoring(plan policy.Answer) time.Duration {
	for _, s := range plan.Stages {
		if s.Stage == policy.StageMonitor && s.NotApplicable == "" {
			return s.For.Std()
		}
	}
	return 0
}

// strategyOf joins the policy's strategy with the change's own, which may only
// tighten it.
func strategyOf(c *content, s policy.StageWant, monitor time.Duration) (canary.Strategy, error) {
	base, err := canary.ParseStrategy(s.Strategy)
	if err != nil {
		return base, err
	}
	base.Enabled, base.TrafficPercentage, base.MonitoringMinutes = true, s.Percent, monitor.Minutes()
	if c.metadataErr != nil || c.metadata.CanaryStrategy == nil {
		return base, nil
	}
	own, err := canary.ParseOwn(c.metadata.CanaryStrategy)
	if err != nil {
		return base, err
	}
	return canary.Tighten(base, own)
}

func judgeConfig(strategy canary.Strategy, s policy.StageWant, tw policy.TargetWant, model bool) canary.Config {
	cfg := canary.Config{
		Strategy: strategy, ModelChange: model, Absent: map[string]string{},
		UnhealthySeconds: s.BaselineUnhealthy.Std().Seconds(),
	}
	names := map[string]string{
		"error_rate": canary.ErrorRate, "latency_p95_ms": canary.Latency, "throughput": canary.Throughput,
		"satisfaction_score": canary.Satisfaction, "drift": canary.Drift,
	}
	for _, k := range slices.Sorted(maps.Keys(tw.Signals)) {
		// Alerts are counted, not measured: where there are none to ask, none count.
		if sig := tw.Signals[k]; sig.Source == "none" && names[k] != "" {
			cfg.Absent[names[k]] = sig.Because
		}
	}
	return cfg
}

// open reads a change that is still open, at the commit last seen.
func (e *Engine) open(ctx context.Context, id gov.ChangeID) (*content, change.State, error) {
	st, err := e.stateOf(ctx, id)
	if err != nil {
		return nil, st, err
	}
	repo := e.cfg.Repo
	if repo == nil {
		return nil, st, gov.Errorf(gov.KindInvalid, "repository_missing", "this log stands beside no repository")
	}
	branch, target, err := e.target(ctx, repo, st.Branch)
	if err != nil {
		return nil, st, err
	}
	c, err := e.contentOf(ctx, repo, st, branch, target)
	return c, st, err
}

func (e *Engine) stateOf(ctx context.Context, id gov.ChangeID) (change.State, error) {
	var st change.State
	raw, version, err := e.view.State(ctx, gov.StreamChange(id))
	if err != nil {
		return st, err
	}
	if version == 0 {
		return st, gov.Errorf(gov.KindNotFound, "change_unknown", "there is no change %s in this log", id).WithHint("govern change list")
	}
	return st, json.Unmarshal(raw, &st)
}

// Command gives a command of a person to a target: pause, resume, abort,
// rollback. What needs a signature comes as a statement instead.
func (e *Engine) Command(ctx context.Context, actor gov.Principal, id, target string, c canary.Command) (Receipt, error) {
	receipt, _, err := e.command(ctx, request{ID: id, Actor: actor}, target, c)
	return receipt, err
}

// command also gives the effects that follow. Those that Pending repeats may be
// dropped; a page may not.
func (e *Engine) command(ctx context.Context, req request, target string, c canary.Command) (Receipt, []gov.Effect, error) {
	req.Name = "rollout." + string(c.Type)
	req.TakingBack = c.Type == canary.CmdAbort || c.Type == canary.CmdRollback || c.Type == canary.CmdLost
	var effects []gov.Effect
	receipt, _, err := e.do(ctx, req, func(ctx context.Context, t *tx) (err error) {
		if c.Type == canary.CmdConfirm {
			// What is on its way back goes on under any clock; what is not, waits.
			st, err := t.target(ctx, target)
			if err != nil {
				return err
			}
			t.back = st.Run != nil && st.Run.Phase == canary.Reverting
		}
		effects, err = t.command(ctx, target, c)
		return err
	})
	return receipt, effects, err
}

// Target reads a target's state.
func (e *Engine) Target(ctx context.Context, name string) (canary.State, error) {
	raw, version, err := e.view.State(ctx, gov.StreamTarget(name))
	st := canary.State{Target: name}
	if err != nil || version == 0 {
		return st, err
	}
	return st, json.Unmarshal(raw, &st)
}
