package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

// spec is the specification's section Approval Workflows, restated by hand:
// who reviews, what CI validates, the canary's share and watch, the steps.
var spec = map[gov.Risk]struct {
	stages  string
	review  []string
	checks  []string
	percent int
	monitor time.Duration
	steps   []int
	bake    time.Duration
	final   []string
}{
	"low": {
		stages: "review validate merge", review: []string{"owner"},
		checks: []string{"tests", "contracts", "coverage"},
	},
	"medium": {
		stages: "review validate merge", review: []string{"owner"},
		checks: []string{"tests", "contracts", "coverage"},
	},
	"high": {
		stages: "review validate canary monitor rollout final merge", review: []string{"owner", "security_lead"},
		checks: []string{"tests", "contracts", "coverage", "security_scan"}, percent: 5, monitor: 60 * time.Minute,
		steps: []int{5, 100}, final: []string{"owner", "security_lead"},
	},
	"critical": {
		stages: "review validate staging integration canary monitor rollout final merge",
		review: []string{"owner", "security_lead", "architecture_lead"},
		checks: []string{"tests", "contracts", "coverage", "security_scan", "architecture_review"}, percent: 1, monitor: 24 * time.Hour,
		steps: []int{1, 5, 25, 100}, bake: 60 * time.Minute, final: []string{"owner", "security_lead", "architecture_lead"},
	},
}

func TestDefaultEqualsSpec(t *testing.T) {
	p := Default()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	for risk, want := range spec {
		var kinds []string
		got := want
		got.review, got.checks, got.final, got.percent, got.monitor, got.steps, got.bake = nil, nil, nil, 0, 0, nil, 0
		for _, s := range p.Workflows.Row(risk) {
			kinds = append(kinds, string(s.Stage))
			switch s.Stage {
			case "review":
				got.review = s.Roles
			case "validate":
				got.checks = s.Checks
			case "canary":
				got.percent = s.Percent
			case "monitor":
				got.monitor = s.For.Std()
			case "rollout":
				got.steps, got.bake = s.Steps, s.Bake.Std()
			case "final":
				got.final = s.Roles
			}
		}
		got.stages = strings.Join(kinds, " ")
		if d := cmp.Diff(want, got, cmp.AllowUnexported(want)); d != "" {
			t.Errorf("%s (-spec +default):\n%s", risk, d)
		}
	}
	if len(spec) != len(gov.Risks) {
		t.Fatal("the table does not have every risk")
	}
	// Canary configuration and rollback triggers of the specification.
	wantStrategy := `{"promotion_criteria":{"error_rate":"<0.005","latency_p95_ms":"<500","satisfaction_score":">0.95"},"rollback_thresholds":{"error_rate":0.01,"latency_p95_ms":1000,"throughput_degradation":0.1}}`
	if got := string(canonical(p.Canary.Strategy)); got != wantStrategy {
		t.Errorf("strategy %s", got)
	}
	if p.Coverage.Minimum != 0.8 || p.Rollback.FinalWithin.Std() != 24*time.Hour || p.Rollback.BaselineUnhealthy.Std() != 15*time.Minute || p.Mode != "enforce" || p.Solo {
		t.Error("coverage, rollback, mode or solo differ from the design")
	}
	if d := cmp.Diff([]string{"high", "critical", "models", "agents"}, p.Presence); d != "" {
		t.Error(d)
	}
	// The whole strategy as a high change gets it is the specification's object.
	a := Plan(facts(func(f *Facts) { f.Declared = gov.RiskHigh }))
	i := 2
	wantWhole := `{"enabled":true,"monitoring_duration_minutes":60,` + wantStrategy[1:len(wantStrategy)-1] + `,"traffic_percentage":5}`
	if got := string(a.Stages[i].Strategy); got != wantWhole {
		t.Errorf("strategy of the stage:\n%s\nwant\n%s", got, wantWhole)
	}
}

func TestTwoDefaultsShareNothing(t *testing.T) {
	a := Default()
	a.Workflows.Low[1].Checks[0] = "x"
	a.Workflows.High[0].Roles[0] = "x"
	a.Evidence["tests"].By[0] = "x"
	b := Default()
	if b.Workflows.Low[1].Checks[0] != "tests" || a.Workflows.Medium[1].Checks[0] != "tests" || a.Workflows.High[5].Roles[0] != "owner" || b.Evidence["tests"].By[0] != "ci" {
		t.Error("rows share a slice")
	}
}

// people is a small registry: olga and omar own things, sec and arch lead.
func people() []Member {
	return []Member{
		{Handle: "ann", Kind: gov.Human, Emails: []string{"ann@example.org"}},
		{Handle: "olga", Kind: gov.Human, Emails: []string{"olga@example.org"}},
		{Handle: "omar", Kind: gov.Human, Roles: []string{"studio/drums"}},
		{Handle: "sec", Kind: gov.Human, Roles: []string{"security_lead"}},
		{Handle: "arch", Kind: gov.Human, Roles: []string{"architecture_lead"}},
		{Handle: "bot", Kind: gov.Agent},
		{Handle: "ci", Kind: gov.Service, Roles: []string{"ci"}},
	}
}

func targets() map[string]Target {
	return map[string]Target{
		"stage": {
			Environment: Staging, Paths: []string{"src/"}, Artifact: "studio", Deploy: []string{"up"}, Undeploy: []string{"down"},
			Health: Probe{URL: "http://127.0.0.1:9/h"}, Identify: Probe{Argv: []string{"id"}},
		},
		"prod": {
			Environment: Production, Paths: []string{"src/"}, Artifact: "studio", Deploy: []string{"up", "{digest}"}, Undeploy: []string{"down"},
			Health: Probe{URL: "/healthz"}, Identify: Probe{URL: "/identify"}, Baseline: BaselineStable,
			Traffic: Traffic{Driver: "proxy", Listen: "127.0.0.1:8080", Stable: "http://127.0.0.1:8081", Candidate: "http://127.0.0.1:8082"},
			Signals: map[string]Signal{
				"error_rate": {Source: "proxy"}, "latency_p95_ms": {Source: "proxy"}, "throughput": {Source: "proxy"},
				"satisfaction_score": {Source: "metrics", URL: "/metrics", Query: "satisfaction"},
				"drift":              {Source: "none", Because: "no model"}, "critical_alerts": {Source: "push"},
			},
		},
	}
}

// facts is a low change of src/main.go by ann, changed by with.
func facts(with ...func(*Facts)) Facts {
	p := Default()
	p.Targets = targets()
	f := Facts{
		Policy: p, Change: "CHANGE-7", Declared: gov.RiskLow, Type: "feature", Author: "ann", Owner: "olga",
		Paths:  []string{"src/main.go", "changes/CHANGE-7/change_metadata.json"},
		Branch: "main", DefaultBranch: "main",
		Codeowners: []OwnerRule{{Path: "*", Owners: []string{"olga"}}, {Path: "/drums/", Owners: []string{"studio/drums"}}},
		People:     people(),
	}
	for _, w := range with {
		w(&f)
	}
	return f
}
