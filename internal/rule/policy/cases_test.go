package policy

import (
	"strings"
	"testing"

	"github.com/governhq/govern/internal/gov"
)

func TestCases(t *testing.T) {
	cases, err := ParseCases("policy_test.yaml", []byte(`
cases:
  - name: a contract that breaks is high
    change: {risk: low, type: feature, author: ann, paths: [src/a], touches: {contract_breaking: true}, agent: {name: bot, sponsor: ann}}
    approvals: [{by: olga, role: owner}, {by: sec, role: security_lead, stage: final, decision: reject, presence: true}]
    evidence: [tests]
    want: {answer: pending, risk: high, missing: [review/security_lead], requires: [review/security_lead, canary], not_applicable: [staging]}
  - name: wrong in everything
    change: {risk: low, paths: [nobody/x]}
    want: {risk: high, requires: [canary], not_applicable: [merge], problems: [policy_no_target]}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 2 || cases[0].Approvals[1].Decision != gov.DecideReject || !cases[0].Approvals[1].Presence || cases[0].Change.Agent.Sponsor != "ann" {
		t.Fatalf("%+v", cases)
	}
	f := facts()
	rules := []OwnerRule{{Path: "/src/", Owners: []string{"olga"}}}
	if got := cases[0].Judge(Plan(cases[0].Facts(f.Policy, rules, people()))); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	var what []string
	for _, m := range cases[1].Judge(Plan(cases[1].Facts(f.Policy, rules, people()))) {
		what = append(what, m.What+"="+m.Want)
	}
	if got := strings.Join(what, " "); got != "risk=high requires=canary not_applicable=merge problems=policy_no_target" {
		t.Error(got)
	}
	const c = "cases:\n  - name: n\n    change: {risk: low, paths: [a]}\n    want: {risk: low}\n"
	for _, bad := range []struct{ text, code, says string }{
		{"", "policy_empty", "t.yaml:1:1"},
		{"cases: []\n", "policy_empty", "no cases"},
		{strings.Replace(c, "risk: low, p", "rsk: low, p", 1), "policy_unknown_key", "t.yaml:3:14"},
		{strings.Replace(c, "want: {risk: low}", "want: {}", 1), "policy_value", "tests nothing"},
		{strings.Replace(c, "want: {risk: low}", "want: {risk: lwo}", 1), "policy_value", `"low"`},
		{strings.Replace(c, "want: {risk: low}", "want: {answer: allow}", 1), "policy_value", `"allowed"`},
		{strings.Replace(c, "paths: [a]", "paths: []", 1), "policy_value", "paths"},
		{strings.Replace(c, "name: n", "name: \"\"", 1), "policy_value", "name"},
		{c + strings.TrimPrefix(c, "cases:\n"), "policy_value", "another case"},
		{strings.Replace(c, "want:", "approvals: [{by: a}]\n    want:", 1), "policy_value", "by and role"},
		{strings.Replace(c, "want:", "approvals: [{by: a, role: b, decision: ok}]\n    want:", 1), "policy_value", "not a decision"},
		{strings.Replace(c, "want:", "approvals: [{by: a, role: b, stage: ok}]\n    want:", 1), "policy_value", "not a stage"},
	} {
		_, err := ParseCases("t.yaml", []byte(bad.text))
		if gov.CodeOf(err) != bad.code || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%q: %v", bad.text, err)
		}
	}
}

func FuzzCases(f *testing.F) {
	f.Add([]byte("cases:\n  - name: n\n    change: {risk: low, paths: [a]}\n    want: {risk: low}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cases, err := ParseCases("t.yaml", data)
		if err != nil {
			if gov.KindOf(err) != gov.KindInvalid {
				t.Fatal(err)
			}
			return
		}
		for _, c := range cases {
			c.Judge(Plan(c.Facts(Default(), nil, nil)))
		}
	})
}
