package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

func codes(a Answer) []string {
	var out []string
	for _, p := range a.Problems {
		out = append(out, p.Code)
	}
	return out
}

func TestPlanTable(t *testing.T) {
	const low = "review/owner validate/tests validate/contracts validate/coverage merge"
	const high = "review/owner review/security_lead validate/tests validate/contracts validate/coverage validate/security_scan canary monitor rollout final/owner final/security_lead merge"
	const critical = "review/owner review/security_lead review/architecture_lead validate/tests validate/contracts validate/coverage validate/security_scan validate/architecture_review staging integration/integration canary monitor rollout final/owner final/security_lead final/architecture_lead merge"
	const governance = "review/owner review/security_lead validate/tests validate/contracts validate/coverage validate/security_scan merge"
	set := func(f func(*Facts)) func(*Facts) { return f }
	for _, c := range []struct {
		name     string
		with     func(*Facts)
		risk     gov.Risk
		ids      string
		problems string
	}{
		{"low", set(func(*Facts) {}), "low", low, ""},
		{"medium is a row of its own", set(func(f *Facts) { f.Declared = "medium" }), "medium", low, ""},
		{"high", set(func(f *Facts) { f.Declared = "high" }), "high", high, ""},
		{"critical", set(func(f *Facts) { f.Declared = "critical" }), "critical", critical, ""},
		{"a model is at least high", set(func(f *Facts) { f.Touches.Model = true }), "high", high, ""},
		{"a breaking contract is at least high", set(func(f *Facts) { f.Touches.ContractBreaking = true }), "high", high, ""},
		{"a contract alone stays", set(func(f *Facts) { f.Touches.Contract = true }), "low", low, ""},
		{"floors do not lower", set(func(f *Facts) { f.Declared = "critical"; f.Touches.Model = true }), "critical", critical, ""},
		{"the policy file is found by its path", set(func(f *Facts) { f.Paths = []string{"governance.yaml"} }), "high", governance, ""},
		{"the registry is found by its path", set(func(f *Facts) { f.Paths = []string{".govern/allowed_signers"} }), "high", governance, ""},
		{"the owners are found by their path", set(func(f *Facts) { f.Paths = []string{"CODEOWNERS"} }), "high", governance, ""},
		{"policy and code together go through the canary", set(func(f *Facts) { f.Paths = []string{"governance.yaml", "src/a"} }), "high", high, ""},
		{"no target for a canary", set(func(f *Facts) { f.Declared = "high"; f.Paths = []string{"docs/a"} }), "high", high, "policy_no_target"},
		{"no targets for a critical change", set(func(f *Facts) { f.Declared = "critical"; f.Paths = []string{"docs/a"} }), "critical", critical, "policy_no_target policy_no_target"},
		{"a target named by the change counts", set(func(f *Facts) { f.Declared = "high"; f.Paths = []string{"docs/a"}; f.Targets = []string{"prod"} }), "high", high, ""},
		{"an unknown target", set(func(f *Facts) { f.Targets = []string{"prd"} }), "low", low, "policy_target_unknown"},
		{"an unknown risk", set(func(f *Facts) { f.Declared = "hgih" }), "critical", critical, "policy_risk"},
		{"no risk at all", set(func(f *Facts) { f.Declared = "" }), "critical", critical, "policy_risk"},
		{"nothing touched", set(func(f *Facts) { f.Paths = nil }), "low", low, "policy_nothing_touched"},
		{"no owner rule", set(func(f *Facts) { f.Codeowners = nil }), "low", low, "policy_path_unowned"},
		{"only unknown owners", set(func(f *Facts) { f.Codeowners[0].Owners = []string{"ghost"} }), "low", low, "policy_path_unowned"},
		{"an agent cannot own", set(func(f *Facts) { f.Codeowners[0].Owners = []string{"bot"} }), "low", low, "policy_path_unowned"},
		{"an owner rule that empties", set(func(f *Facts) {
			f.Codeowners = append(f.Codeowners, OwnerRule{Path: "/src/"})
		}), "low", low, "policy_path_unowned"},
		{"the declared owner owns nothing of it", set(func(f *Facts) { f.Owner = "omar" }), "low", low, "policy_owner_mismatch"},
		{"another change's metadata needs an owner", set(func(f *Facts) {
			f.Paths = []string{"changes/CHANGE-1/change_metadata.json"}
			f.Codeowners = f.Codeowners[1:]
		}), "low", low, "policy_path_unowned"},
		{"a file smuggled in beside the metadata needs an owner", set(func(f *Facts) {
			f.Paths = []string{"drums/a", "changes/CHANGE-7/evil.sh", "changes/CHANGE-7/statements/x/y.json"}
			f.Codeowners, f.Owner = f.Codeowners[1:], "omar"
		}), "low", low, "policy_path_unowned"},
		{"predeploy is not applicable by default", set(func(f *Facts) {
			f.Policy.Workflows.Critical = slices.Insert(f.Policy.Workflows.Critical, 4, Stage{Stage: StagePredeploy})
			f.Declared = "critical"
		}), "critical", critical, ""},
		{"predeploy without its exemption cannot pass", set(func(f *Facts) {
			f.Policy.Workflows.Critical = slices.Insert(f.Policy.Workflows.Critical, 4, Stage{Stage: StagePredeploy})
			f.Policy.NotApplicable = f.Policy.NotApplicable[1:]
			f.Declared = "critical"
		}), "critical", strings.Replace(critical, "canary", "predeploy canary", 1), "policy_checklists"},
		{"a policy that is none", set(func(f *Facts) { f.Policy = Policy{} }), "low", low, "policy_invalid"},
		{"a raise rule that fails is critical", set(func(f *Facts) {
			f.Policy.Raise = []RaiseRule{{When: `paths[99] == "x"`, Risk: "medium", Because: "b"}}
		}), "critical", critical, ""},
		{"the highest of several raise rules", set(func(f *Facts) {
			f.Policy.Raise = []RaiseRule{{When: "true", Risk: "medium", Because: "a"}, {When: "true", Risk: "high", Because: "b"}, {When: "true", Risk: "low", Because: "c"}}
		}), "high", high, ""},
		{"a change names one target and touches another", set(func(f *Facts) { f.Declared = "high"; f.Targets = []string{"stage"} }), "high", high, ""},
		{"a raise rule that costs too much is critical", set(func(f *Facts) {
			f.Policy.Raise = []RaiseRule{{When: `paths.all(a, paths.all(b, paths.all(c, a + b + c != "")))`, Risk: "medium", Because: "b"}}
			for i := range 400 {
				f.Paths = append(f.Paths, "src/"+strings.Repeat("x", i+1))
			}
		}), "critical", critical, ""},
		{"a require rule that fails demands", set(func(f *Facts) {
			f.Policy.Require = []RequireRule{{When: `1 / (size(paths) - 2) == 1`, Roles: []string{"privacy_lead"}, Because: "b"}}
		}), "low", strings.Replace(low, "validate/tests", "review/privacy_lead validate/tests", 1), ""},
		{"an exemption that fails exempts nothing", set(func(f *Facts) {
			f.Policy.NotApplicable = []Exemption{{What: []string{"tests"}, When: `paths[99] == "x"`, Because: "b"}}
		}), "low", low, ""},
		{"an exempted check", set(func(f *Facts) {
			f.Policy.NotApplicable = []Exemption{{What: []string{"contracts"}, Because: "b"}}
		}), "low", "review/owner validate/tests validate/coverage merge", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Plan(facts(c.with))
			if a.Risk != c.risk {
				t.Errorf("risk %s, want %s (%v)", a.Risk, c.risk, a.RiskWhy)
			}
			if d := cmp.Diff(c.ids, strings.Join(a.IDs(), " ")); d != "" {
				t.Errorf("ids (-want +got):\n%s", d)
			}
			if got := strings.Join(codes(a), " "); got != c.problems {
				t.Errorf("problems %q, want %q: %+v", got, c.problems, a.Problems)
			}
			for _, p := range a.Problems {
				if p.Text == "" {
					t.Error("a problem without text")
				}
			}
		})
	}
}

func TestPlanOwnersAndPresence(t *testing.T) {
	a := Plan(facts(func(f *Facts) {
		f.Paths = []string{"src/b", "drums/x", "src/a", "src/a"}
		f.Codeowners = append(f.Codeowners, OwnerRule{Path: "/src/a", Owners: []string{"OLGA@example.org", "nobody"}})
	}))
	want := []OwnerGroup{{Owners: []string{"omar"}, Paths: []string{"drums/x"}}, {Owners: []string{"olga"}, Paths: []string{"src/a", "src/b"}}}
	if d := cmp.Diff(want, a.Owners); d != "" {
		t.Error(d)
	}
	if !slices.ContainsFunc(a.Notes, func(n string) bool { return strings.Contains(n, `"nobody"`) }) {
		t.Errorf("the unknown owner is not named: %v", a.Notes)
	}
	for _, c := range []struct {
		name       string
		with       func(*Facts)
		presence   bool
		assessment bool
		author     bool
	}{
		{"low", func(*Facts) {}, false, false, false},
		{"high", func(f *Facts) { f.Declared = "high" }, true, false, false},
		{"agent", func(f *Facts) { f.Agent = &Agent{Name: "bot", Sponsor: "ann"} }, true, false, false},
		{"model", func(f *Facts) { f.Touches.Model = true; f.Policy.Presence = []string{"models"} }, true, true, false},
		{"model, presence for agents only", func(f *Facts) { f.Touches.Model = true; f.Policy.Presence = []string{"agents"} }, false, true, false},
		{"solo low", func(f *Facts) { f.Policy.Solo = true }, false, false, true},
		{"solo medium", func(f *Facts) { f.Policy.Solo = true; f.Declared = "medium" }, false, false, true},
		{"solo high", func(f *Facts) { f.Policy.Solo = true; f.Declared = "high" }, true, false, false},
		{"solo with a role that a rule adds", func(f *Facts) {
			f.Policy.Solo = true
			f.Policy.Require = []RequireRule{{When: "true", Roles: []string{"security_lead"}, Because: "b"}}
		}, false, false, true},
		{"solo low raised by a floor", func(f *Facts) { f.Policy.Solo = true; f.Touches.Policy = true }, true, false, false},
	} {
		a := Plan(facts(c.with))
		r := a.Stages[0].Roles[0]
		if r.Presence != c.presence || r.Assessment != c.assessment || r.AuthorMay != c.author || a.Solo != c.author {
			t.Errorf("%s: %+v, solo %v", c.name, r, a.Solo)
		}
		for _, s := range a.Stages {
			for _, r := range s.Roles {
				if r.Role != "owner" && r.AuthorMay {
					t.Errorf("%s: the author may be %s", c.name, r.Role)
				}
			}
		}
	}
}

// TestTargetsAreNeverLeftOff: naming targets adds to those that are touched.
func TestTargetsAreNeverLeftOff(t *testing.T) {
	a := Plan(facts(func(f *Facts) { f.Targets = []string{"stage"}; f.Policy.Targets["far"] = targets()["prod"] }))
	var got []string
	for _, w := range a.Targets {
		got = append(got, w.Name)
	}
	if strings.Join(got, " ") != "far prod stage" {
		t.Error(got)
	}
}

func TestGoverned(t *testing.T) {
	for _, c := range []struct {
		branches    string
		branch, def string
		want        bool
	}{
		{"", "main", "main", true},
		{"", "refs/heads/main", "main", true},
		{"", "topic", "main", false},
		{"", "topic", "", true},
		{"", "", "main", true},
		{"release/*", "release/1", "main", true},
		{"release/*", "release/1/2", "main", false},
		{"main release/*", "main", "main", true},
		{"release/*", "", "main", true},
	} {
		f := facts()
		f.Policy.Branches, f.Branch, f.DefaultBranch = strings.Fields(c.branches), c.branch, c.def
		if got := Plan(f).Governed; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestReplay(t *testing.T) {
	f := facts(func(f *Facts) {
		f.Declared, f.Paths = "critical", append(f.Paths, "src/\xff\xfe", "src/\ufffd\ufffd", "src/\x01 \u2028é")
		f.Agent = &Agent{Name: "bot", Sponsor: "ann"}
		f.Policy.Raise = []RaiseRule{{When: "touches.model", Risk: "high", Because: "b"}}
	})
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Replay(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(canonical(Plan(f))), string(got)); d != "" {
		t.Error(d)
	}
	again, err := Replay(canonical(f))
	if err != nil || string(again) != string(got) {
		t.Errorf("canonical facts give another answer: %v", err)
	}
	for _, bad := range []string{``, `{"polcy":{}}`, `{} {}`, `[]`, strings.Replace(string(b), `"author"`, `"auhtor"`, 1)} {
		if _, err := Replay([]byte(bad)); gov.CodeOf(err) != "policy_facts" || gov.KindOf(err) != gov.KindIntegrity {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}
