package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

// leaves lists every key of a type, "[]" for list entries and "*" for map rows.
func leaves(t reflect.Type, path string) []string {
	switch {
	case t == rawType || t == reflect.TypeFor[Duration]():
		return []string{path}
	case t.Kind() == reflect.Struct:
		var out []string
		names, index := fields(t)
		for _, n := range names {
			out = append(out, leaves(t.Field(index[n]).Type, join(path, n))...)
		}
		return out
	case t.Kind() == reflect.Map:
		return leaves(t.Elem(), path+".*")
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return leaves(t.Elem(), path+"[]")
	}
	return []string{path}
}

// flip changes one key and nothing else: base puts the facts where the key
// matters, and to gives it another value.
type flip struct {
	base func(*Facts)
	to   func(*Policy)
}

func at(r gov.Risk) func(*Facts) { return func(f *Facts) { f.Declared = r } }

func prod(change func(*Target)) flip {
	return flip{at("low"), func(p *Policy) {
		t := targets()["prod"]
		change(&t)
		p.Targets["prod"] = t
	}}
}

func signal(change func(*Signal)) flip {
	return flip{func(f *Facts) {
		s := maps.Clone(f.Policy.Targets["prod"].Signals)
		s["drift"] = Signal{Source: "none", Because: "no model"}
		f.Policy.Targets["prod"] = func(t Target) Target { t.Signals = s; return t }(f.Policy.Targets["prod"])
	}, func(p *Policy) {
		t := p.Targets["prod"]
		t.Signals = maps.Clone(t.Signals)
		s := t.Signals["satisfaction_score"]
		change(&s)
		t.Signals["satisfaction_score"] = s
		p.Targets["prod"] = t
	}}
}

func stage(r gov.Risk, kind StageKind, change func(*Stage)) flip {
	return flip{at(r), func(p *Policy) {
		row := p.Workflows.Row(r)
		i := slices.IndexFunc(row, func(s Stage) bool { return s.Stage == kind })
		change(&row[i])
	}}
}

func flips() map[string]flip {
	none := func(*Facts) {}
	rules := func(f *Facts) {
		f.Policy.Owners = Ownership{Rules: []OwnerRule{{Path: "*", Owners: []string{"olga"}}, {Path: "/doc/", Owners: []string{"sec"}}}}
	}
	raise := func(f *Facts) {
		f.Policy.Raise = []RaiseRule{{When: `change.type == "feature"`, Risk: "medium", Because: "b"}}
	}
	require := func(f *Facts) {
		f.Policy.Require = []RequireRule{{When: `change.type == "feature"`, Roles: []string{"sec"}, Checks: []string{"build"}, Because: "b"}}
	}
	exempted := func(f *Facts) {
		f.Policy.NotApplicable = []Exemption{{What: []string{"tests"}, When: `change.type == "feature"`, Because: "b"}}
	}
	return map[string]flip{
		"version":               {none, func(p *Policy) { p.Version = 2 }},
		"mode":                  {none, func(p *Policy) { p.Mode = Observe }},
		"solo":                  {none, func(p *Policy) { p.Solo = true }},
		"branches":              {none, func(p *Policy) { p.Branches = []string{"release/*"} }},
		"people":                {func(f *Facts) { f.Paths = []string{"src/people"} }, func(p *Policy) { p.People = "src/people" }},
		"owners.codeowners":     {func(f *Facts) { f.Paths = []string{"src/OWN"} }, func(p *Policy) { p.Owners.Codeowners = "src/OWN" }},
		"owners.rules[].path":   {rules, func(p *Policy) { p.Owners.Rules[1].Path = "/src/" }},
		"owners.rules[].owners": {rules, func(p *Policy) { p.Owners.Rules[0].Owners = []string{"olga", "sec"} }},
		"changes.dir":           {func(f *Facts) { f.Codeowners[0].Path = "/src/" }, func(p *Policy) { p.Changes.Dir = "docs/changes" }},

		"workflows.low[].roles":     {func(f *Facts) { f.Policy.Workflows.Medium[0].Roles = []string{"owner", "security_lead"} }, func(p *Policy) { p.Workflows.Low[0].Roles = []string{"security_lead"} }},
		"workflows.low[].checks":    stage("low", StageValidate, func(s *Stage) { s.Checks = []string{"tests"} }),
		"workflows.medium[].roles":  stage("medium", StageReview, func(s *Stage) { s.Roles = []string{"owner", "security_lead"} }),
		"workflows.medium[].checks": {func(f *Facts) { f.Declared = "medium"; f.Policy.Workflows.Low[1].Checks = []string{"tests"} }, func(p *Policy) { p.Workflows.Medium[1].Checks = []string{"tests", "coverage"} }},
		"workflows.high[].roles":    stage("high", StageFinal, func(s *Stage) { s.Roles = []string{"owner"} }),
		"workflows.high[].checks": {func(f *Facts) {
			f.Declared = "high"
			f.Policy.Workflows.Critical[1].Checks = append(f.Policy.Workflows.Critical[1].Checks, "build")
		}, func(p *Policy) { p.Workflows.High[1].Checks = append(p.Workflows.High[1].Checks, "build") }},
		"workflows.high[].percent": {at("high"), func(p *Policy) { p.Workflows.High[2].Percent, p.Workflows.High[4].Steps = 4, []int{4, 100} }},
		"workflows.high[].for":     stage("high", StageMonitor, func(s *Stage) { s.For /= 2 }),
		"workflows.high[].steps":   stage("high", StageRollout, func(s *Stage) { s.Steps = []int{5, 50, 100} }),
		"workflows.high[].bake":    stage("high", StageRollout, func(s *Stage) { s.Bake = 60e9 }),
		"workflows.high[].within":  stage("high", StageFinal, func(s *Stage) { s.Within = 24 * 3600e9; s.Within += 60e9 }),

		"workflows.critical[].roles":  stage("critical", StageReview, func(s *Stage) { s.Roles = append(s.Roles, "privacy_lead") }),
		"workflows.critical[].checks": stage("critical", StageValidate, func(s *Stage) { s.Checks = append(s.Checks, "build") }),
		"workflows.critical[].target": {func(f *Facts) { f.Declared = "critical"; f.Paths = []string{"docs/x"}; f.Targets = []string{"prod"} }, func(p *Policy) { p.Workflows.Critical[2].Target = "stage" }},
		"workflows.critical[].percent": {at("critical"), func(p *Policy) {
			p.Workflows.Critical[4].Percent, p.Workflows.Critical[6].Steps = 2, []int{2, 5, 25, 100}
		}},
		"workflows.critical[].for":    stage("critical", StageMonitor, func(s *Stage) { s.For *= 2 }),
		"workflows.critical[].steps":  stage("critical", StageRollout, func(s *Stage) { s.Steps = []int{1, 2, 25, 100} }),
		"workflows.critical[].bake":   stage("critical", StageRollout, func(s *Stage) { s.Bake *= 2 }),
		"workflows.critical[].within": stage("critical", StageFinal, func(s *Stage) { s.Within = 3600e9 }),
		"workflows.critical[].stage":  {at("critical"), func(p *Policy) { p.Workflows.Critical = slices.Delete(p.Workflows.Critical, 3, 4) }},
		"workflows.high[].stage":      {at("high"), func(p *Policy) { p.Workflows.High = slices.Delete(p.Workflows.High, 5, 6) }},
		"workflows.medium[].stage": {func(f *Facts) {
			f.Declared = "medium"
			f.Policy.Workflows.Low = slices.Delete(f.Policy.Workflows.Low, 1, 2)
		}, func(p *Policy) { p.Workflows.Medium = slices.Delete(p.Workflows.Medium, 1, 2) }},
		"workflows.low[].stage": {at("low"), func(p *Policy) { p.Workflows.Low = slices.Delete(p.Workflows.Low, 1, 2) }},

		"coverage.minimum":            {none, func(p *Policy) { p.Coverage.Minimum = 0.9 }},
		"presence":                    {at("high"), func(p *Policy) { p.Presence = nil }},
		"evidence.*.by":               {none, func(p *Policy) { p.Evidence["tests"] = EvidenceRow{By: []string{"tester"}} }},
		"evidence.*.finding":          {none, func(p *Policy) { p.Evidence["tests"] = EvidenceRow{By: []string{"ci"}, Finding: []string{"qa"}} }},
		"raise[].when":                {raise, func(p *Policy) { p.Raise[0].When = `change.type == "security"` }},
		"raise[].risk":                {raise, func(p *Policy) { p.Raise[0].Risk = "high" }},
		"raise[].because":             {raise, func(p *Policy) { p.Raise[0].Because = "c" }},
		"require[].when":              {require, func(p *Policy) { p.Require[0].When = "false" }},
		"require[].roles":             {require, func(p *Policy) { p.Require[0].Roles = []string{"arch"} }},
		"require[].checks":            {require, func(p *Policy) { p.Require[0].Checks = []string{"security_scan"} }},
		"require[].because":           {require, func(p *Policy) { p.Require[0].Because = "c" }},
		"canary.strategy":             {at("high"), func(p *Policy) { p.Canary.Strategy = json.RawMessage(`{"rollback_thresholds":{"error_rate":0.02}}`) }},
		"reviews.override_due":        {none, func(p *Policy) { p.Reviews.OverrideDue /= 2 }},
		"reviews.revert_due":          {none, func(p *Policy) { p.Reviews.RevertDue /= 2 }},
		"rollback.final_within":       {at("high"), func(p *Policy) { p.Rollback.FinalWithin /= 2 }},
		"rollback.baseline_unhealthy": {at("high"), func(p *Policy) { p.Rollback.BaselineUnhealthy /= 2 }},
		"not_applicable[].what":       {exempted, func(p *Policy) { p.NotApplicable[0].What = []string{"coverage"} }},
		"not_applicable[].when":       {exempted, func(p *Policy) { p.NotApplicable[0].When = "false" }},
		"not_applicable[].because":    {exempted, func(p *Policy) { p.NotApplicable[0].Because = "c" }},
		"agents.risk":                 {func(f *Facts) { f.Agent = &Agent{Name: "bot"} }, func(p *Policy) { p.Agents.Risk = "medium" }},
		"agents.roles":                {func(f *Facts) { f.Agent = &Agent{Name: "bot"} }, func(p *Policy) { p.Agents.Roles = []string{"security_lead"} }},

		"targets.*.environment": {at("critical"), func(p *Policy) {
			t := targets()["stage"]
			t.Environment, t.Traffic, t.Signals, t.Baseline = Production, targets()["prod"].Traffic, targets()["prod"].Signals, BaselineStable
			p.Targets["stage"] = t
		}},
		"targets.*.paths":             {at("high"), func(p *Policy) { t := p.Targets["prod"]; t.Paths = []string{"/lib/"}; p.Targets["prod"] = t }},
		"targets.*.artifact":          prod(func(t *Target) { t.Artifact = "other" }),
		"targets.*.traffic.driver":    prod(func(t *Target) { t.Traffic.Driver = "haproxy" }),
		"targets.*.traffic.listen":    prod(func(t *Target) { t.Traffic.Listen = "127.0.0.1:8090" }),
		"targets.*.traffic.stable":    prod(func(t *Target) { t.Traffic.Stable = "http://127.0.0.1:1" }),
		"targets.*.traffic.candidate": prod(func(t *Target) { t.Traffic.Candidate = "http://127.0.0.1:1" }),
		"targets.*.signals.*.source":  signal(func(s *Signal) { *s = Signal{Source: "push"} }),
		"targets.*.signals.*.url":     signal(func(s *Signal) { s.URL = "/m" }),
		"targets.*.signals.*.query":   signal(func(s *Signal) { s.Query = "q" }),
		"targets.*.signals.*.because": signal(func(s *Signal) { *s = Signal{Source: "none", Because: "never asked"} }),
		"targets.*.baseline": prod(func(t *Target) {
			t.Baseline, t.Signals["throughput"] = BaselineAbsolute, Signal{Source: "none", Because: "no baseline"}
		}),
		"targets.*.deploy":        prod(func(t *Target) { t.Deploy = []string{"up2"} }),
		"targets.*.undeploy":      prod(func(t *Target) { t.Undeploy = []string{"down2"} }),
		"targets.*.health.argv":   prod(func(t *Target) { t.Health = Probe{Argv: []string{"ok"}} }),
		"targets.*.health.url":    prod(func(t *Target) { t.Health.URL = "/h" }),
		"targets.*.identify.argv": prod(func(t *Target) { t.Identify = Probe{Argv: []string{"who"}} }),
		"targets.*.identify.url":  prod(func(t *Target) { t.Identify.URL = "/i" }),
	}
}

// notOfRow lists stage keys that no default row of a risk carries, so that
// nothing but the same code as for the rows above reads them.
var notOfRow = []string{
	"workflows.low[].target", "workflows.low[].percent", "workflows.low[].for", "workflows.low[].steps", "workflows.low[].bake", "workflows.low[].within",
	"workflows.medium[].target", "workflows.medium[].percent", "workflows.medium[].for", "workflows.medium[].steps", "workflows.medium[].bake", "workflows.medium[].within",
	"workflows.high[].target",
}

// refusing lists the keys that have but one value yet: the plan flips to one
// that cannot be allowed.
var refusing = []string{"version", "targets.*.traffic.driver"}

// TestEveryKeyFlipsThePlan: a key that changes no plan has no place in the file.
func TestEveryKeyFlipsThePlan(t *testing.T) {
	all := flips()
	keys := leaves(reflect.TypeFor[Policy](), "")
	if len(keys) < 60 {
		t.Fatalf("only %d keys found", len(keys))
	}
	for _, k := range keys {
		if _, ok := all[k]; !ok && !slices.Contains(notOfRow, k) {
			t.Errorf("the key %s has no flip: a key must change a verdict", k)
		}
	}
	for k, fl := range all {
		if !slices.Contains(keys, k) {
			t.Errorf("the flip %s has no key", k)
			continue
		}
		t.Run(k, func(t *testing.T) {
			f, g := facts(fl.base), facts(fl.base)
			fl.to(&g.Policy)
			before, after := Plan(f), Plan(g)
			if len(before.Problems) > 0 && before.Problems[0].Code == "policy_invalid" {
				t.Fatalf("the base is no policy: %+v", before.Problems)
			}
			if err := g.Policy.Validate(); (err != nil) != slices.Contains(refusing, k) {
				t.Errorf("after the flip the policy is judged %v", err)
			}
			before.Policy, after.Policy = "", ""
			if d := cmp.Diff(before, after); d == "" {
				t.Error("the plan is the same")
			}
			changed := differing(t, f.Policy, g.Policy)
			if len(changed) == 0 || !slices.ContainsFunc(changed, func(c string) bool { return strings.HasPrefix(k, c) || strings.HasPrefix(c, k) }) {
				t.Errorf("the flip changed %v", changed)
			}
			if g.Policy.Validate() == nil {
				roundTrip(t, g.Policy)
			}
		})
	}
}

// differing lists the top-level keys in which two policies differ.
func differing(t *testing.T, a, b Policy) []string {
	t.Helper()
	var out []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	names, index := fields(va.Type())
	for _, n := range names {
		if !cmp.Equal(va.Field(index[n]).Interface(), vb.Field(index[n]).Interface()) {
			out = append(out, n)
		}
	}
	if len(out) > 1 {
		t.Errorf("a flip changes one key, not %v", out)
	}
	return out
}

func roundTrip(t *testing.T, p Policy) {
	t.Helper()
	p.NotApplicable = slices.Clone(p.NotApplicable)
	p.keepGovernable() // as Parse does
	text := Print(p)
	got, err := Parse(text)
	if err != nil {
		t.Fatalf("Print gives what Parse refuses: %v\n%s", err, text)
	}
	p.normalise()
	if d := cmp.Diff(string(canonical(p)), string(canonical(got))); d != "" {
		t.Fatalf("Parse∘Print is not the identity:\n%s\n%s", d, text)
	}
	if p.Digest() != got.Digest() {
		t.Fatal("the digest moved")
	}
	if again := Print(got); string(again) != string(text) {
		t.Fatalf("Print∘Parse∘Print differs:\n%s", cmp.Diff(string(text), string(again)))
	}
}

func ExamplePrint() {
	text := string(Print(Default()))
	_, row, _ := strings.Cut(text, "  high:\n")
	row, _, _ = strings.Cut(row, "  critical:\n")
	fmt.Print(row)
	// Output:
	//     - {stage: review, roles: [owner, security_lead]}
	//     - {stage: validate, checks: [tests, contracts, coverage, security_scan]}
	//     - {stage: canary, percent: 5}
	//     - {stage: monitor, for: 60m}
	//     - {stage: rollout, steps: [5, 100]}
	//     - {stage: final, roles: [owner, security_lead]}
	//     - {stage: merge}
}
