package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// covered tells whether everything a demands is demanded by b too: the order
// "b is at least as hard as a", restated from DESIGN without the planner.
func covered(a, b Answer) string {
	if a.Risk.Rank() > b.Risk.Rank() {
		return fmt.Sprintf("risk %s became %s", a.Risk, b.Risk)
	}
	if a.Enforced && !b.Enforced || a.Governed && !b.Governed || !a.Solo && b.Solo {
		return "mode, branch or solo was loosened"
	}
	for _, s := range a.Stages {
		if s.NotApplicable != "" {
			continue
		}
		i := slices.IndexFunc(b.Stages, func(x StageWant) bool { return x.Stage == s.Stage && x.NotApplicable == "" })
		if i < 0 {
			return fmt.Sprintf("stage %s went", s.Stage)
		}
		x := b.Stages[i]
		for _, r := range s.Roles {
			if !slices.ContainsFunc(x.Roles, func(y RoleWant) bool {
				return y.Role == r.Role && (y.Presence || !r.Presence) && (y.Assessment || !r.Assessment) && (!y.AuthorMay || r.AuthorMay)
			}) {
				return fmt.Sprintf("%s/%s was loosened", s.Stage, r.Role)
			}
		}
		for _, c := range s.Checks {
			if c.NotApplicable == "" && !slices.ContainsFunc(x.Checks, func(y CheckWant) bool { return y.Check == c.Check && y.NotApplicable == "" }) {
				return fmt.Sprintf("%s/%s went", s.Stage, c.Check)
			}
		}
		if x.Percent > s.Percent || x.For < s.For || len(x.Steps) < len(s.Steps) || x.Bake < s.Bake || x.Within > s.Within {
			return fmt.Sprintf("%s was loosened", s.Stage)
		}
	}
	return ""
}

var exprs = []string{
	"true", "false", `change.risk == "low"`, `change.type == "feature"`, "touches.contract", "agent.involved",
	`paths.exists(p, p.glob("src/**"))`, `size(paths) > 2`, `"prod" in targets`, "governance_only",
	`paths[7] == "x"`, `1 / (size(paths) - 1) == 1`, `change.author.matches("a.*")`,
}

// drawPolicy gives a valid policy: the default, tightened and extended.
func drawPolicy(t *rapid.T) Policy {
	p := Default()
	p.Targets = targets()
	p.Solo = rapid.Bool().Draw(t, "solo")
	if rapid.Bool().Draw(t, "observe") {
		p.Mode = Observe
	}
	p.Presence = rapid.SampledFrom([][]string{nil, {"critical"}, {"high", "critical", "models"}, {"low", "medium", "high", "critical"}, {"agents"}}).Draw(t, "presence")
	for range rapid.IntRange(0, 3).Draw(t, "raises") {
		p.Raise = append(p.Raise, drawRaise(t))
	}
	for range rapid.IntRange(0, 3).Draw(t, "requires") {
		p.Require = append(p.Require, drawRequire(t))
	}
	if rapid.Bool().Draw(t, "exempt") {
		p.NotApplicable = append(p.NotApplicable, Exemption{
			What: []string{rapid.SampledFrom([]string{"contracts", "canary", "staging", "integration"}).Draw(t, "what")},
			When: rapid.SampledFrom(exprs).Draw(t, "exempt when"), Because: drawText(t),
		})
	}
	p.Agents.Risk = rapid.SampledFrom(gov.Risks).Draw(t, "agents.risk")
	p.Branches = rapid.SampledFrom([][]string{nil, {"main"}, {"release/*"}}).Draw(t, "branches")
	p.normalise()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return p
}

func drawText(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"why", "yes", "1", "a: b", "- x", "# c", "it's \"q\"", "\\n", "{a}", "é\n\tb", "null", "60m", " pad ", "%x", "@a", "`", "x #y", "?", "*a", "&b", "!c", "|", ">"}),
		rapid.StringMatching(`[ -~é\n\t]{1,20}[a-z]`),
	).Draw(t, "text")
}

func drawRaise(t *rapid.T) RaiseRule {
	return RaiseRule{When: rapid.SampledFrom(exprs).Draw(t, "raise when"), Risk: rapid.SampledFrom(gov.Risks).Draw(t, "raise risk"), Because: drawText(t)}
}

func drawRequire(t *rapid.T) RequireRule {
	return RequireRule{
		When:    rapid.SampledFrom(exprs).Draw(t, "require when"),
		Roles:   []string{rapid.SampledFrom([]string{"owner", "security_lead", "privacy_lead"}).Draw(t, "require role")},
		Checks:  rapid.SampledFrom([][]string{nil, {"build"}, {"security_scan", "tests"}}).Draw(t, "require checks"),
		Because: drawText(t),
	}
}

func drawFacts(t *rapid.T) Facts {
	return facts(func(f *Facts) {
		f.Policy = drawPolicy(t)
		f.Declared = rapid.SampledFrom(gov.Risks).Draw(t, "declared")
		f.Type = rapid.SampledFrom([]string{"", "feature", "security"}).Draw(t, "type")
		f.Paths = rapid.SliceOfN(rapid.SampledFrom([]string{"src/a", "src/b", "src/c", "src/d", "docs/b", "docs/c", "lib/a", "lib/b", "governance.yaml", "drums/c", ".govern/allowed_signers", "changes/CHANGE-7/change_metadata.json"}), 1, 5).Draw(t, "paths")
		f.Touches = Touches{
			Contract: rapid.Bool().Draw(t, "contract"), ContractBreaking: rapid.IntRange(0, 7).Draw(t, "breaking") == 1,
			Model: rapid.IntRange(0, 7).Draw(t, "model") == 1,
		}
		if rapid.Bool().Draw(t, "agent") {
			f.Agent = &Agent{Name: "bot", Sponsor: "ann"}
		}
		f.Branch = rapid.SampledFrom([]string{"", "main", "topic"}).Draw(t, "branch")
	})
}

// TestMonotone: a rule more, a higher declared risk, a touch more, or an agent
// never makes a change easier, and no rule lowers what was declared.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFacts(t)
		a := Plan(f)
		if a.Risk.Rank() < f.Declared.Rank() {
			t.Fatalf("declared %s, planned %s", f.Declared, a.Risk)
		}
		if x := a.Touches; (x.Model || x.ContractBreaking || x.Policy || x.Registry) && a.Risk.Rank() < gov.RiskHigh.Rank() {
			t.Fatalf("%+v is only %s", x, a.Risk)
		}
		g := f
		g.Policy.Raise, g.Policy.Require = slices.Clone(f.Policy.Raise), slices.Clone(f.Policy.Require)
		switch rapid.SampledFrom([]string{"raise", "require", "risk", "model", "agent"}).Draw(t, "more") {
		case "raise":
			i := rapid.IntRange(0, len(g.Policy.Raise)).Draw(t, "where")
			g.Policy.Raise = slices.Insert(g.Policy.Raise, i, drawRaise(t))
		case "require":
			i := rapid.IntRange(0, len(g.Policy.Require)).Draw(t, "where")
			g.Policy.Require = slices.Insert(g.Policy.Require, i, drawRequire(t))
		case "risk":
			// Only without rules that look at the declared risk: those are the user's wish.
			looks := func(s string) bool { return strings.Contains(s, "change.risk") }
			if slices.ContainsFunc(g.Policy.Raise, func(r RaiseRule) bool { return looks(r.When) }) ||
				slices.ContainsFunc(g.Policy.Require, func(r RequireRule) bool { return looks(r.When) }) ||
				slices.ContainsFunc(g.Policy.NotApplicable, func(x Exemption) bool { return looks(x.When) }) {
				return
			}
			g.Declared = gov.Risks[min(g.Declared.Rank()+1, 3)]
		case "model":
			g.Touches.Model = true
		case "agent":
			for _, x := range append(slices.Clone(exprsOf(g.Policy)), "") {
				if strings.Contains(x, "agent.involved") {
					return // an exemption or rule may say so
				}
			}
			g.Agent = &Agent{Name: "bot", Sponsor: "ann"}
		}
		if why := covered(a, Plan(g)); why != "" {
			t.Fatalf("a change became easier: %s", why)
		}
	})
}

func exprsOf(p Policy) []string {
	var out []string
	for _, x := range p.NotApplicable {
		out = append(out, x.When)
	}
	return out
}

// TestRoundTripAndReplay: what is printed is read back, what is recorded decides
// alike.
func TestRoundTripAndReplay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := drawFacts(rt)
		roundTrip(t, f.Policy)
		b, err := json.Marshal(f)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := Replay(b)
		if err != nil {
			rt.Fatal(err)
		}
		if want := string(canonical(Plan(f))); string(got) != want {
			rt.Fatalf("replay:\n%s\n%s", got, want)
		}
	})
}
