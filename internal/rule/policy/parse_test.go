package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/governhq/govern/internal/gov"
)

func TestParseRefuses(t *testing.T) {
	const v = "version: 1\n"
	prodTarget := "targets:\n  prod:\n    environment: production\n    paths: [\"*\"]\n    artifact: a\n    deploy: [up]\n    undeploy: [down]\n    health: /h\n    identify: /i\n"
	for _, c := range []struct{ name, text, code, says string }{
		{"nothing", "", "policy_empty", "1:1"},
		{"only a comment", "# hi\n", "policy_empty", "1:1"},
		{"no version", "mode: enforce\n", "policy_value", "version: 1"},
		{"another version", "version: 2\n", "policy_value", ":1:10:"},
		{"an unknown key", v + "mod: enforce\n", "policy_unknown_key", `:2:1: unknown key "mod" in the file; did you mean "mode"?`},
		{"an unknown key below", v + "coverage:\n  minimun: 0.5\n", "policy_unknown_key", `:3:3: unknown key "minimun" in coverage; did you mean "minimum"?`},
		{"an unknown key in a list", v + "raise:\n  - {when: \"true\", rsk: high, because: x}\n", "policy_unknown_key", `:3:20: unknown key "rsk" in raise[0]; did you mean "risk"?`},
		{"line is no key", v + "owners: {rules: [{path: \"*\", owners: [a], line: 3}]}\n", "policy_unknown_key", `"line"`},
		{"a repeated key", v + "mode: enforce\nmode: observe\n", "policy_duplicate_key", ":3:1"},
		{"a repeated key in a flow", v + "coverage: {minimum: 1, minimum: 0}\n", "policy_duplicate_key", ":2:24"},
		{"a repeated key in JSON", v + "canary: {strategy: {a: {b: 1, \"b\": 2}}}\n", "policy_duplicate_key", ":2:31"},
		{"a string for a number", v + "coverage: {minimum: \"0.8\"}\n", "policy_type", ":2:21: coverage.minimum is a string; it must be a number"},
		{"a number for a string", v + "people: 7\n", "policy_type", ":2:9"},
		{"yes for true", v + "solo: yes\n", "policy_type", "true or false"},
		{"True for true", v + "solo: True\n", "policy_type", "true or false"},
		{"a hex number", "version: 0x1\n", "policy_type", "whole number"},
		{"an octal number", "version: 01\n", "policy_type", "whole number"},
		{"a float for a whole number", "version: 1.0\n", "policy_type", "whole number"},
		{"infinity", v + "coverage: {minimum: .inf}\n", "policy_type", "number"},
		{"not a number", v + "coverage: {minimum: .nan}\n", "policy_type", "number"},
		{"a list for a mapping", v + "owners: [a]\n", "policy_type", "mapping"},
		{"a mapping for a list", v + "branches: {a: b}\n", "policy_type", "list"},
		{"a scalar for a list", v + "branches: main\n", "policy_type", "list"},
		{"an empty value", v + "raise:\n", "policy_type", "no value"},
		{"null", v + "raise: ~\n", "policy_type", "no value"},
		{"null in a list", v + "branches: [~]\n", "policy_type", "no value"},
		{"null in JSON", v + "canary: {strategy: {a: [null]}}\n", "policy_type", ""},
		{"a list as the file", "- a\n", "policy_type", "mapping"},
		{"a number as key", v + "1: 2\n", "policy_type", "key"},
		{"a duration without unit", v + "reviews: {override_due: 72}\n", "policy_type", ""},
		{"a duration that is none", v + "reviews: {override_due: soon}\n", "policy_type", "60m"},
		{"a negative duration", v + "reviews: {override_due: -1h}\n", "policy_type", "60m"},
		{"a duration of nothing", v + "reviews: {override_due: 0s}\n", "policy_value", "reviews.override_due"},
		{"an anchor", v + "branches: &a [x]\n", "policy_indirection", ":2:11"},
		{"an alias", v + "branches: *a\n", "policy_indirection", ""},
		{"billion laughs", v + "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "policy_indirection", ":2:4"},
		{"a merge key", v + "coverage:\n  <<: {minimum: 0}\n", "policy_indirection", ""},
		{"a tag", v + "people: !!str 7\n", "policy_indirection", ""},
		{"a directive", "%YAML 1.2\n---\nversion: 1\n", "policy_indirection", ""},
		{"two documents", v + "---\nmode: observe\n", "policy_syntax", ""},
		{"a tab", v + "coverage:\n\tminimum: 1\n", "policy_encoding_or_syntax", ""},
		{"an open list", v + "branches: [a\n", "policy_syntax", ""},
		{"not UTF-8", v + "people: \xff\n", "policy_encoding", ":2:9"},
		{"a zero byte", v + "people: \x00\n", "policy_encoding", "U+0000"},
		{"an escaped zero byte", v + "people: \"a\\0b\"\n", "policy_encoding", ":2:9"},
		{"a byte order mark", "\ufeff" + v, "policy_encoding", "byte order mark"},
		{"too large", v + strings.Repeat("#", MaxBytes), "policy_too_large", ""},
		{"too many words", v + "branches: [" + strings.Repeat("a,", 30_000) + "]\n", "policy_too_large", ""},
		{"deep lists", v + "branches: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "policy_too_deep", ""},
		{"deep mappings", v + strings.Repeat("{a: ", 40) + strings.Repeat("}", 40), "policy_too_deep", ""},
		{"deep dashes", strings.Repeat("- ", 40) + "a", "policy_too_deep", ""},

		{"an unknown mode", v + "mode: enforced\n", "policy_value", `did you mean "enforce"?`},
		{"an empty branch", v + "branches: [\"\"]\n", "policy_value", ""},
		{"a branch that is no pattern", v + "branches: [\"[\"]\n", "policy_value", ""},
		{"an absolute people path", v + "people: /etc/x\n", "policy_value", ":2:9"},
		{"a people path outside", v + "people: ../x\n", "policy_value", ""},
		{"no owners at all", v + "owners: {codeowners: \"\"}\n", "policy_value", ":2:9: owners: nobody owns anything"},
		{"owners twice", v + "owners: {codeowners: A, rules: [{path: \"*\", owners: [a]}]}\n", "policy_value", ""},
		{"an owner pattern with a class", v + "owners: {rules: [{path: \"[ab]\", owners: [a]}]}\n", "policy_value", "character classes"},
		{"coverage in per cent", v + "coverage: {minimum: 80}\n", "policy_value", "0.8"},
		{"presence that is no word", v + "presence: [hihg]\n", "policy_value", `"high"`},
		{"presence twice", v + "presence: [critical, critical]\n", "policy_value", "twice"},
		{"presence for high only", v + "presence: [high]\n", "policy_weaker", ""},
		{"evidence by nobody", v + "evidence: {tests: []}\n", "policy_value", "nobody"},
		{"evidence by an owner", v + "evidence: {tests: [owner]}\n", "policy_value", "owner"},
		{"an unknown check", v + "workflows: {low: [{stage: review, roles: [owner]}, {stage: validate, checks: [test]}, {stage: merge}]}\n", "policy_value", `did you mean "tests"?`},
		{"an unknown stage", v + "workflows: {low: [{stage: reviews, roles: [owner]}, {stage: merge}]}\n", "policy_value", `did you mean "review"?`},
		{"no review", v + "workflows: {low: [{stage: merge}]}\n", "policy_value", "begins with review"},
		{"no merge", v + "workflows: {low: [{stage: review, roles: [owner]}]}\n", "policy_value", "ends with merge"},
		{"a review by nobody", v + "workflows: {low: [{stage: review}, {stage: merge}]}\n", "policy_value", "names no role"},
		{"an empty row", v + "workflows: {low: []}\n", "policy_value", "no stages"},
		{"stages out of order", v + "workflows: {low: [{stage: review, roles: [owner]}, {stage: merge}, {stage: validate, checks: [tests]}]}\n", "policy_value", "stands after"},
		{"a key of another stage", v + "workflows: {low: [{stage: review, roles: [owner], percent: 5}, {stage: merge}]}\n", "policy_value", "percent is not a key of the stage review"},
		{"a canary without monitor", v + "workflows: {critical: [{stage: review, roles: [owner]}, {stage: canary, percent: 1}, {stage: merge}]}\n", "policy_value", "go together"},
		{"a weaker critical row", v + "workflows: {critical: [{stage: review, roles: [owner]}, {stage: merge}]}\n", "policy_weaker", "workflows.critical"},
		{"a medium row weaker than low", v + "workflows: {low: [{stage: review, roles: [owner, security_lead]}, {stage: validate, checks: [tests]}, {stage: merge}]}\n", "policy_weaker", "workflows.medium"},
		{"rollout from another share", v + "workflows: {high: [{stage: review, roles: [owner, security_lead]}, {stage: validate, checks: [tests, contracts, coverage, security_scan]}, {stage: canary, percent: 5}, {stage: monitor, for: 60m}, {stage: rollout, steps: [6, 100]}, {stage: merge}]}\n", "policy_value", "6 %"},
		{"a staging target that is none", v + "workflows: {low: [{stage: review, roles: [owner]}, {stage: staging, target: x}, {stage: merge}]}\n", "policy_value", "staging target"},

		{"CEL that does not parse", v + "raise: [{when: \"1 +\", risk: high, because: x}]\n", "policy_expression", ":2:16"},
		{"CEL with an unknown name", v + "raise: [{when: \"change.rsk == 'low'\", risk: high, because: x}]\n", "policy_expression", "change"},
		{"CEL that gives a number", v + "raise: [{when: \"1 + 1\", risk: high, because: x}]\n", "policy_expression", "bool"},
		{"CEL that gives anything", v + "raise: [{when: \"dyn(true)\", risk: high, because: x}]\n", "policy_expression", "bool"},
		{"CEL with wrong types", v + "require: [{when: \"paths == 1\", roles: [a], because: x}]\n", "policy_expression", "require[0].when"},
		{"CEL that is too long", v + "raise: [{when: \"" + strings.Repeat("true && ", 600) + "true\", risk: high, because: x}]\n", "policy_expression", "4096"},
		{"CEL that is too deep", v + "raise: [{when: \"" + strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500) + "\", risk: high, because: x}]\n", "policy_expression", ""},
		{"a rule without reason", v + "raise: [{when: \"true\", risk: high}]\n", "policy_value", "because"},
		{"a rule without condition", v + "raise: [{risk: high, because: x}]\n", "policy_value", "when"},
		{"a rule to an unknown risk", v + "raise: [{when: \"true\", risk: hgh, because: x}]\n", "policy_value", `"high"`},
		{"a require rule for nothing", v + "require: [{when: \"true\", because: x}]\n", "policy_value", "demands nothing"},
		{"not applicable without reason", v + "not_applicable: [{what: [tests]}]\n", "policy_value", "because"},
		{"review not applicable", v + "not_applicable: [{what: [review], because: x}]\n", "policy_value", "always applicable"},
		{"merge not applicable", v + "not_applicable: [{what: [merge], because: x}]\n", "policy_value", "always applicable"},
		{"only monitor not applicable", v + "not_applicable: [{what: [monitor], because: x}]\n", "policy_value", "canary"},
		{"only final not applicable", v + "not_applicable: [{what: [final], because: x}]\n", "policy_value", "canary"},
		{"strategy with the stage's percent", v + "canary: {strategy: {traffic_percentage: 5}}\n", "policy_value", ":2:41"},
		{"strategy that is a list", v + "canary: {strategy: [1]}\n", "policy_type", "mapping"},

		{"a target without environment", v + "targets: {prod: {paths: [a]}}\n", "policy_value", "environment"},
		{"production without traffic", v + prodTarget, "policy_value", "traffic is missing"},
		{"production without signals", v + prodTarget + "    traffic: {driver: proxy, listen: \":80\", stable: \"http://a\", candidate: \"http://b\"}\n", "policy_value", "error_rate is missing"},
		{"a driver that there is not", v + prodTarget + "    traffic: {driver: proxi}\n", "policy_value", `"proxy"`},
		{"one instance twice", v + prodTarget + "    traffic: {driver: proxy, listen: \":80\", stable: \"http://a\", candidate: \"http://a\"}\n", "policy_value", "same instance"},
		{"a password in a URL", v + prodTarget + "    traffic: {driver: proxy, listen: \":80\", stable: \"http://u:p@a\", candidate: \"http://b\"}\n", "policy_value", "password"},
		{"a signal that nobody sees", v + prodTarget + "    traffic: {driver: proxy, listen: \":80\", stable: \"http://a\", candidate: \"http://b\"}\n    signals: {drift: proxy}\n", "policy_value", "does not see"},
		{"none without reason", v + prodTarget + "    traffic: {driver: proxy, listen: \":80\", stable: \"http://a\", candidate: \"http://b\"}\n    signals: {drift: none}\n", "policy_value", "needs because"},
		{"an unknown signal", v + prodTarget + "    traffic: {driver: proxy, listen: \":80\", stable: \"http://a\", candidate: \"http://b\"}\n    signals: {error_rte: proxy}\n", "policy_value", `"error_rate"`},
		{"a mistyped placeholder", strings.Replace(v+prodTarget, "[up]", "[up, \"{digset}\"]", 1), "policy_value", "{digest}"},
		{"a target name with a blank", v + "targets: {\"a b\": {environment: staging}}\n", "policy_value", "small letters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			code := gov.CodeOf(err)
			if c.code == "policy_encoding_or_syntax" && (code == "policy_encoding" || code == "policy_syntax") {
				code = c.code
			}
			if gov.KindOf(err) != gov.KindInvalid || code != c.code || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), Path+":") {
				t.Errorf("got %v; want code %s saying %q", err, c.code, c.says)
			}
			if err != nil && len(err.Error()) > 700 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestParseMerges(t *testing.T) {
	p, err := Parse([]byte(`---
version: 1 # comment
branches: [refs/heads/main]
owners:
  rules:
    - {path: "*", owners: ["@alice", bob@example.org, "@org/team"]}
evidence:
  license_scan: [ci]
  tests: {by: [ci], finding: [qa]}
workflows:
  critical:
    - {stage: review, roles: [owner, security_lead, architecture_lead]}
    - {stage: validate, checks: [tests, contracts, coverage, security_scan, architecture_review, license_scan]}
    - {stage: canary, percent: 1}
    - {stage: monitor, for: 24h}
    - {stage: rollout, steps: [1, 100]}
    - {stage: final, roles: [owner, security_lead], within: 12h}
    - {stage: merge}
raise:
  - when: >-
      paths.exists(p, p.glob("infra/**"))
    risk: high
    because: |
      infrastructure
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Branches, p.Owners, p.Evidence["tests"], p.Evidence["license_scan"], p.Evidence["build"]); got !=
		"[main] { [{* [alice bob@example.org org/team] 0}]} {[ci] [qa]} {[ci] []} {[ci] []}" {
		t.Error(got)
	}
	if len(p.Workflows.High) != 7 || p.Workflows.Critical[5].Within.String() != "12h" || p.Raise[0].Because != "infrastructure\n" {
		t.Errorf("%+v", p)
	}
	roundTrip(t, p)
	if minimal, err := Parse([]byte("version: 1\n")); err != nil || minimal.Digest() != Default().Digest() {
		t.Errorf("a file that says nothing is not the default: %v", err)
	}
	if same, err := Parse([]byte("mode: enforce\nversion: 1\ncoverage: {minimum: 0.80}\n")); err != nil || same.Digest() != Default().Digest() {
		t.Errorf("spelling moves the digest: %v", err)
	}
}

// TestParseHostile: files as large as are read at all, and as many words, are
// refused, and soon. The YAML parser is quadratic in the keys of a mapping, so
// the number of words is bounded.
func TestParseHostile(t *testing.T) {
	for name, unit := range map[string]string{
		"keys": "k%d: 1\n", "dashes": "- %d\n", "flow": "[%d,", "questions": "? %d\n", "quotes": "'%d",
		"literals": "a%d: |\n  x\n", "docs": "---\n%d\n", "colons": "%d:", "maps": "{a%d: ", "spaces": "%d        ",
	} {
		for _, size := range []int{40_000, MaxBytes - 64} {
			var b strings.Builder
			b.WriteString("version: 1\n")
			for i := 0; b.Len() < size; i++ {
				fmt.Fprintf(&b, unit, i)
			}
			start := time.Now()
			if _, err := Parse([]byte(b.String())); gov.KindOf(err) != gov.KindInvalid {
				t.Errorf("%s: %v", name, err)
			}
			t.Logf("%s, %d bytes: %v", name, b.Len(), time.Since(start))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\n"))
	f.Add(Print(Default()))
	p := facts().Policy
	p.Raise = []RaiseRule{{When: `change.risk == "low" && paths.exists(p, p.glob("a/**"))`, Risk: "high", Because: "x: y # z"}}
	f.Add(Print(p))
	f.Add([]byte("version: 1\nowners:\n  rules:\n  - path: '*'\n    owners: [\"@a\", b@c.d]\n"))
	f.Add([]byte("version: 1\ncanary:\n  strategy: {a: [1, 2.5e3, \"x\", {b: true}]}\n"))
	f.Add([]byte("a: &a [*a]\n<<: *a\n? [x]\n: |2-\n  y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			if gov.KindOf(err) != gov.KindInvalid || !strings.HasPrefix(gov.CodeOf(err), "policy_") || !strings.HasPrefix(err.Error(), Path+":") {
				t.Fatalf("%v", err)
			}
			return
		}
		roundTrip(t, p)
		if err := p.Validate(); err != nil {
			t.Fatalf("Parse accepts what Validate refuses: %v", err)
		}
	})
}

// TestAlwaysGovernable: whatever the file exempts or not, a change to nothing
// but policy, people and owners needs no canary; anything beside it does.
func TestAlwaysGovernable(t *testing.T) {
	for _, file := range []string{
		"version: 1\n",
		"version: 1\nnot_applicable: []\n",
		"version: 1\nnot_applicable:\n  - {what: [tests], because: none here}\n",
		string(Print(Default())),
	} {
		p, err := Parse([]byte(file))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(Print(p))
		if err != nil {
			t.Fatal(err)
		}
		if p.Digest() != again.Digest() {
			t.Errorf("%s\nread, printed and read again is another policy", file)
		}
		p.People = ".govern/allowed_signers"
		for _, c := range []struct {
			paths  []string
			canary bool
		}{
			{[]string{"governance.yaml"}, false},
			{[]string{".govern/allowed_signers", "changes/CHANGE-7/change_metadata.json"}, false},
			{[]string{"CODEOWNERS", "changes/CHANGE-7/statements/a.json"}, false},
			{[]string{"governance.yaml", "changes/CHANGE-8/change_metadata.json"}, true},
			{[]string{"governance.yaml", "changes/CHANGE-7/run.sh"}, true},
			{[]string{"governance.yaml", "sub/CODEOWNERS"}, true},
			{[]string{"governance.yaml", "src/a"}, true},
		} {
			a := Plan(facts(func(f *Facts) { f.Policy, f.Declared, f.Paths = p, "low", c.paths }))
			if a.Risk != "high" {
				t.Errorf("%v is %s", c.paths, a.Risk)
			}
			if got := slices.Contains(a.IDs(), "canary"); got != c.canary {
				t.Errorf("%v: canary %t, want %t\n%s", c.paths, got, c.canary, file)
			}
		}
	}
}
