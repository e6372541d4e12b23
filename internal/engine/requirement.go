package engine

import (
	"fmt"
	"slices"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/policy"
)

// requirement says how far a rollout has satisfied a stage of the workflow.
// Staging is asked of the production target's rollout too: its plan begins
// there.
func (r rolloutFacts) requirement(stage policy.StageKind, target string) gov.Requirement {
	out := gov.Requirement{ID: string(stage) + "/" + target, Kind: "rollout", Text: stageText(stage, target)}
	if r.mine {
		out.State, out.Why = r.running(stage)
		if r.state.Run.Phase == canary.Held && !out.State.Done() {
			out.State, out.Command = gov.Missing, fmt.Sprintf("govern rollout promote %s -m REASON", target)
		}
		return out
	}
	if i := slices.IndexFunc(r.state.Ended, func(e canary.Ended) bool { return e.Change == r.change }); i >= 0 {
		end := r.state.Ended[i]
		switch end.How {
		case "finished":
			out.State = gov.Satisfied
			return out
		case "rolled_back":
			out.State = gov.Failed
			out.Why = fmt.Sprintf("attempt %d was rolled back (%s)", end.Attempt, end.Cause)
		default:
			out.State = gov.Missing
			out.Why = fmt.Sprintf("attempt %d was %s", end.Attempt, end.How)
		}
		out.Command = fmt.Sprintf("govern rollout start %s --retry", r.change)
		return out
	}
	out.State = gov.Missing
	if slices.ContainsFunc(r.state.Queue, func(q canary.Request) bool { return q.Change == r.change }) {
		out.State, out.Why = gov.Waiting, "another rollout of "+target+" comes first"
		return out
	}
	out.Command = fmt.Sprintf("govern rollout start %s", r.change)
	return out
}

func stageText(stage policy.StageKind, target string) string {
	switch stage {
	case policy.StageCanary:
		return "a canary takes its share of " + target
	case policy.StageMonitor:
		return "the canary on " + target + " is watched and good"
	default:
		return "the candidate has all traffic of " + target
	}
}

// running says how far the rollout under way is.
func (r rolloutFacts) running(stage policy.StageKind) (gov.State, string) {
	run := r.state.Run
	switch run.Phase {
	case canary.Reverting:
		return gov.Failed, "it is being taken back: " + run.Ending.Reason
	case canary.Final, canary.Settling:
		return gov.Satisfied, ""
	}
	canaryStep := slices.IndexFunc(run.Plan.Steps, func(s canary.Step) bool { return s.Kind == canary.StepTraffic })
	stagingStep := slices.IndexFunc(run.Plan.Steps, func(s canary.Step) bool { return s.Kind == canary.StepDeploy })
	over := func(step int) bool { return run.Step > step || run.Step == step && run.Phase == canary.Done }
	switch stage {
	case policy.StageStaging:
		if over(stagingStep) {
			return gov.Satisfied, ""
		}
	case policy.StageCanary:
		if over(canaryStep) || run.Step == canaryStep && run.Live > 0 {
			return gov.Satisfied, ""
		}
	case policy.StageMonitor:
		if over(canaryStep) {
			return gov.Satisfied, ""
		}
	}
	return gov.Waiting, progress(run)
}

// progress is one short sentence on where a rollout stands.
func progress(run *canary.Run) string {
	step := run.Plan.Steps[run.Step]
	s := fmt.Sprintf("attempt %d, step %s (%d of %d)", run.Attempt, step.Name, run.Step+1, len(run.Plan.Steps))
	switch {
	case run.Paused:
		s += ", paused"
	case run.Frozen != "":
		s += ", frozen: " + run.Frozen
	case run.Phase == canary.Held:
		s += ", held for a person"
	case step.Kind == canary.StepTraffic:
		s += fmt.Sprintf(", %d %% of the traffic, %.1f of %.1f minutes observed", run.Live, run.Watch.Observed/60, step.Seconds/60)
	}
	return s
}
