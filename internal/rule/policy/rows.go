package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

func rowPath(r gov.Risk, i int) string { return fmt.Sprintf("workflows.%s[%d]", r, i) }

// checkRows checks each row by itself: a review first, a merge last, every kind
// at most once and in order, a canary with its monitor, every field where it
// belongs.
func (p Policy) checkRows() *fault {
	for _, r := range gov.Risks {
		row := p.Workflows.Row(r)
		at := "workflows." + string(r)
		if len(row) == 0 {
			return faultf(at, "policy_value", "%s: has no stages", at)
		}
		last := -1
		for i, s := range row {
			if f := p.checkStage(rowPath(r, i), s); f != nil {
				return f
			}
			k := slices.Index(StageKinds, s.Stage)
			if k <= last {
				return faultf(rowPath(r, i), "policy_value", "%s: %s stands after %s; the order is %s, each once", rowPath(r, i), s.Stage, StageKinds[last], order())
			}
			last = k
		}
		if row[0].Stage != StageReview || row[len(row)-1].Stage != StageMerge {
			return faultf(at, "policy_value", "%s: a row begins with review and ends with merge", at)
		}
		if f := checkCanaryStages(at, row); f != nil {
			return f
		}
	}
	return nil
}

func order() string {
	words := make([]string, len(StageKinds))
	for i, k := range StageKinds {
		words[i] = string(k)
	}
	return strings.Join(words, ", ")
}

func checkCanaryStages(at string, row []Stage) *fault {
	canary, hasCanary := find(row, StageCanary)
	_, hasMonitor := find(row, StageMonitor)
	rollout, hasRollout := find(row, StageRollout)
	_, hasFinal := find(row, StageFinal)
	_, hasStaging := find(row, StageStaging)
	_, hasIntegration := find(row, StageIntegration)
	switch {
	case hasCanary != hasMonitor || hasCanary != hasRollout:
		return faultf(at, "policy_value", "%s: canary, monitor and rollout go together", at)
	case hasFinal && !hasCanary:
		return faultf(at, "policy_value", "%s: final approves the outcome of a canary, and there is none", at)
	case hasIntegration && !hasStaging:
		return faultf(at, "policy_value", "%s: integration tests run in staging, and there is none", at)
	case hasCanary && rollout.Steps[0] != canary.Percent:
		return faultf(at, "policy_value", "%s: the rollout begins at %d %%, the canary ends at %d %%", at, rollout.Steps[0], canary.Percent)
	}
	return nil
}

func find(row []Stage, kind StageKind) (Stage, bool) {
	i := slices.IndexFunc(row, func(s Stage) bool { return s.Stage == kind })
	if i < 0 {
		return Stage{}, false
	}
	return row[i], true
}

// stageKeys says which keys a kind takes.
var stageKeys = map[StageKind][]string{
	StageReview:   {"roles"},
	StageValidate: {"checks"},
	StageStaging:  {"target"},
	StageCanary:   {"percent"},
	StageMonitor:  {"for"},
	StageRollout:  {"steps", "bake"},
	StageFinal:    {"roles", "within"},
}

func (p Policy) checkStage(at string, s Stage) *fault {
	if f := oneOf(at+".stage", string(s.Stage), strings.Split(order(), ", ")); f != nil {
		return f
	}
	for _, k := range []struct {
		key string
		set bool
	}{
		{"roles", len(s.Roles) > 0},
		{"checks", len(s.Checks) > 0},
		{"target", s.Target != ""},
		{"percent", s.Percent != 0},
		{"for", s.For != 0},
		{"steps", len(s.Steps) > 0},
		{"bake", s.Bake != 0},
		{"within", s.Within != 0},
	} {
		if k.set && !slices.Contains(stageKeys[s.Stage], k.key) {
			return faultf(at+"."+k.key, "policy_value", "%s: %s is not a key of the stage %s", at, k.key, s.Stage)
		}
	}
	return p.checkStageValues(at, s)
}

func (p Policy) checkStageValues(at string, s Stage) *fault {
	switch s.Stage {
	case StageReview, StageFinal:
		if len(s.Roles) == 0 {
			return faultf(at, "policy_value", "%s: names no role; only people approve, so somebody must", at)
		}
		if s.Within < 0 {
			return faultf(at+".within", "policy_value", "%s.within: must be longer than nothing", at)
		}
		return checkList(at+".roles", s.Roles, func(at, r string) *fault { return checkRole(at, r, true) })
	case StageValidate:
		if len(s.Checks) == 0 {
			return faultf(at, "policy_value", "%s: names no check", at)
		}
		return checkList(at+".checks", s.Checks, p.checkKind)
	case StageStaging:
		if t, ok := p.Targets[s.Target]; s.Target != "" && (!ok || t.Environment != Staging) {
			return faultf(at+".target", "policy_value", "%s: %q is not a staging target of this policy", at, short(s.Target))
		}
	case StageCanary:
		if s.Percent < 1 || s.Percent > 99 {
			return faultf(at+".percent", "policy_value", "%s: a canary takes 1 to 99 %% of the traffic", at)
		}
	case StageMonitor:
		if s.For <= 0 {
			return faultf(at+".for", "policy_value", "%s: for is missing; a canary that nobody watches shows nothing", at)
		}
	case StageRollout:
		return checkSteps(at, s)
	}
	return nil
}

func checkSteps(at string, s Stage) *fault {
	if len(s.Steps) < 2 || s.Steps[len(s.Steps)-1] != 100 {
		return faultf(at+".steps", "policy_value", "%s: steps go from the canary's share to 100", at)
	}
	for i := 1; i < len(s.Steps); i++ {
		if s.Steps[i] <= s.Steps[i-1] {
			return faultf(at+".steps", "policy_value", "%s: steps must rise", at)
		}
	}
	if s.Bake < 0 {
		return faultf(at+".bake", "policy_value", "%s.bake: cannot be negative", at)
	}
	return nil
}

// checkOrder refuses a row that demands less than the row of a lower risk:
// otherwise raising a risk could make a change easier.
func (p Policy) checkOrder() *fault {
	for i := 1; i < len(gov.Risks); i++ {
		lower, higher := gov.Risks[i-1], gov.Risks[i]
		if why := p.weaker(p.Workflows.Row(lower), p.Workflows.Row(higher)); why != "" {
			at := "workflows." + string(higher)
			return faultf(at, "policy_weaker", "%s: %s; a higher risk never demands less than %s", at, why, lower)
		}
	}
	return nil
}

// weaker says in what respect row high demands less than row low, or "".
func (p Policy) weaker(low, high []Stage) string {
	for _, l := range low {
		h, ok := find(high, l.Stage)
		switch {
		case !ok:
			return fmt.Sprintf("has no stage %s", l.Stage)
		case !has(h.Roles, l.Roles):
			return fmt.Sprintf("%s asks fewer roles", l.Stage)
		case !has(h.Checks, l.Checks):
			return fmt.Sprintf("%s asks fewer checks", l.Stage)
		case h.Percent > l.Percent:
			return "the canary takes more traffic"
		case h.For < l.For:
			return "the canary is watched for less time"
		case len(h.Steps) < len(l.Steps):
			return "the rollout has fewer steps"
		case h.Bake < l.Bake:
			return "the steps bake for less time"
		case p.within(h) > p.within(l):
			return "the final approval has more time"
		}
	}
	return ""
}

// within resolves the time to a final approval.
func (p Policy) within(s Stage) Duration {
	if s.Stage == StageFinal && s.Within == 0 {
		return p.Rollback.FinalWithin
	}
	return s.Within
}
