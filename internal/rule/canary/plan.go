package canary

import (
	"fmt"

	"github.com/governhq/govern/internal/gov"
)

// StepKind is what a step of a rollout does.
type StepKind string

// The kinds of steps.
const (
	StepDeploy  StepKind = "deploy"  // deploy, check health and identify on Place (staging)
	StepReport  StepKind = "report"  // wait for the report named like the step (integration)
	StepTraffic StepKind = "traffic" // give the candidate Weight and watch it for Seconds
)

// Step is one step of a rollout.
type Step struct {
	Name    string   `json:"name"` // lower-case letters, digits, "_" and "-"; unique in the plan
	Kind    StepKind `json:"kind"`
	Place   string   `json:"place,omitempty"`   // deploy: the target to deploy to
	Weight  int      `json:"weight,omitempty"`  // traffic: per cent, rising, the last is 100
	Seconds float64  `json:"seconds,omitempty"` // traffic: observed seconds to watch, 0 for none
}

// Plan is how a candidate gets from nothing to all traffic, as data. Zero
// numbers mean the default.
type Plan struct {
	Steps []Step `json:"steps"`
	Judge Config `json:"judge"`

	// FinalSeconds is how long a rollout at 100 % waits for the final approval
	// before it rolls back; default 24 h.
	FinalSeconds float64 `json:"final_seconds,omitempty"`

	// RestoreSeconds is how long a version restored after a merge must be seen
	// without exceeding a limit; default 300.
	RestoreSeconds float64 `json:"restore_seconds,omitempty"`

	// SilentSeconds is how long no window may come before the step freezes;
	// default 120.
	SilentSeconds float64 `json:"silent_seconds,omitempty"`

	// PageSeconds is how long a step may be frozen before somebody is called;
	// default 300. An unhealthy baseline calls at once.
	PageSeconds float64 `json:"page_seconds,omitempty"`
}

// WithDefaults fills in what is zero.
func (p Plan) WithDefaults() Plan {
	p.Judge = p.Judge.WithDefaults()
	for _, f := range []struct {
		x *float64
		d float64
	}{{&p.FinalSeconds, 24 * 3600}, {&p.RestoreSeconds, 300}, {&p.SilentSeconds, 120}, {&p.PageSeconds, 300}} {
		if *f.x == 0 {
			*f.x = f.d
		}
	}
	return p
}

// Steps are the steps of the specification's workflows for a risk: none at low
// and medium; at high the canary and then everything; at critical staging, the
// integration report, the canary and then 5, 25 and 100 %, each of them
// watched for bake seconds. staging names the target to deploy to first; where
// it is "" those two steps are left to the caller. The canary's weight and
// duration are the strategy's; ramp steps that do not lie above it are left
// out, and a disabled strategy leaves out the canary and the ramp.
func Steps(risk gov.Risk, s Strategy, staging string, bake float64) []Step {
	if risk == gov.RiskLow || risk == gov.RiskMedium {
		return nil
	}
	critical := risk != gov.RiskHigh
	var out []Step
	if critical && staging != "" {
		out = append(out, Step{Name: "staging", Kind: StepDeploy, Place: staging}, Step{Name: "integration", Kind: StepReport})
	}
	if !s.Enabled {
		return append(out, Step{Name: "full", Kind: StepTraffic, Weight: 100})
	}
	canary := Step{Name: "canary", Kind: StepTraffic, Weight: s.TrafficPercentage, Seconds: float64(s.MonitoringMinutes * 60)}
	if canary.Weight == 100 {
		return append(out, canary)
	}
	out = append(out, canary)
	if !critical {
		return append(out, Step{Name: "full", Kind: StepTraffic, Weight: 100})
	}
	for _, w := range []int{5, 25} {
		if w > s.TrafficPercentage {
			out = append(out, Step{Name: fmt.Sprintf("ramp-%d", w), Kind: StepTraffic, Weight: w, Seconds: bake})
		}
	}
	return append(out, Step{Name: "full", Kind: StepTraffic, Weight: 100, Seconds: bake})
}

// Validate refuses a plan that would give the candidate more traffic or less
// watching than its own strategy says, or that does not end at 100 %.
func (p Plan) Validate() error {
	if err := p.Judge.Validate(); err != nil {
		return err
	}
	for _, x := range []float64{p.FinalSeconds, p.RestoreSeconds, p.SilentSeconds, p.PageSeconds} {
		if outside(x, 0, maxMinutes*60) {
			return planError("a duration is negative, not finite or longer than a year")
		}
	}
	seen := map[string]bool{}
	weight := 0
	for i, s := range p.Steps {
		if !stepName(s.Name) || seen[s.Name] || reserved[s.Name] {
			return planError("step %d has the name %q, which is empty, reserved, taken or malformed", i+1, clip(s.Name))
		}
		seen[s.Name] = true
		if err := p.checkStep(s, weight); err != nil {
			return err
		}
		weight = max(weight, s.Weight)
	}
	if weight != 100 {
		return planError("the last step gives %d %% of the traffic, not 100 %%", weight)
	}
	return nil
}

// reserved are the step names that the state machine uses itself.
var reserved = map[string]bool{"rollback": true, "settle": true, "restore": true, "level": true, "wake": true, "page": true}

func (p Plan) checkStep(s Step, before int) error {
	switch s.Kind {
	case StepDeploy, StepReport:
		if s.Weight != 0 || s.Seconds != 0 || before != 0 {
			return planError("step %s does not shift traffic and must come before those that do", s.Name)
		}
		if (s.Place == "") == (s.Kind == StepDeploy) {
			return planError("step %s: a deploy step, and only that, names a place", s.Name)
		}
	case StepTraffic:
		if s.Place != "" || s.Weight <= before || s.Weight > 100 || outside(s.Seconds, 0, maxMinutes*60) {
			return planError("step %s gives %d %% for %s s; weights rise to 100, durations are not negative", s.Name, s.Weight, num(s.Seconds))
		}
		st := p.Judge.Strategy
		if before == 0 && st.Enabled && (s.Weight > st.TrafficPercentage || s.Seconds < float64(st.MonitoringMinutes*60)) {
			return planError("step %s gives %d %% for %s s where the strategy allows %d %% and demands %s s",
				s.Name, s.Weight, num(s.Seconds), st.TrafficPercentage, num(float64(st.MonitoringMinutes*60)))
		}
	default:
		return planError("step %s is of the unknown kind %q", s.Name, clip(string(s.Kind)))
	}
	return nil
}

func stepName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func planError(format string, args ...any) error {
	return gov.Errorf(gov.KindInvalid, "canary_plan_invalid", "the rollout plan does not work: "+format, args...)
}

// config is the judge's configuration for one step.
func (p Plan) config(step int) Config {
	c := p.Judge.WithDefaults()
	c.Strategy.MonitoringMinutes = p.Steps[step].Seconds / 60
	return c
}
