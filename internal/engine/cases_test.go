package engine_test

import (
	"testing"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

// TestJudgeCase: each row states what the specification's workflow demands, and
// what happens when one part of it is taken away.
func TestJudgeCase(t *testing.T) {
	t.Parallel()
	h := newHouse(t, targetPolicy, app)
	law, err := h.e.Law(h.ctx)
	if err != nil {
		t.Fatal(err)
	}
	change := func(risk gov.Risk, author string) policy.CaseChange {
		return policy.CaseChange{Risk: risk, Author: author, Paths: []string{"app/main.txt"}}
	}
	standard := []string{"tests", "contracts", "coverage"}
	owner := policy.CaseApproval{By: "bo", Role: "owner"}
	for _, tc := range []struct {
		c      policy.Case
		answer gov.Answer
		open   []string
	}{
		{policy.Case{Name: "low, all given", Change: change("low", "ana"), Approvals: []policy.CaseApproval{owner}, Evidence: standard}, gov.Allowed, nil},
		{policy.Case{Name: "low, no approval", Change: change("low", "ana"), Evidence: standard}, gov.Pending, []string{"review/owner"}},
		{policy.Case{Name: "low, no evidence", Change: change("low", "ana"), Approvals: []policy.CaseApproval{owner}}, gov.Pending, []string{"validate/tests", "validate/coverage"}},
		{policy.Case{Name: "the author approves", Change: change("low", "bo"), Approvals: []policy.CaseApproval{owner}, Evidence: standard}, gov.Refused, []string{"review/owner"}},
		{policy.Case{Name: "the author's agent", Change: policy.CaseChange{Risk: "low", Author: "ana", Agent: &policy.Agent{Name: "bot", Sponsor: "bo"}, Paths: []string{"app/main.txt"}}, Approvals: []policy.CaseApproval{owner}, Evidence: standard}, gov.Refused, []string{"review/owner"}}, // bo is the only owner
		{policy.Case{Name: "somebody who owns nothing", Change: change("low", "ana"), Approvals: []policy.CaseApproval{{By: "cy", Role: "owner"}}, Evidence: standard}, gov.Pending, []string{"review/owner"}},
		{policy.Case{Name: "a rejection", Change: change("low", "ana"), Approvals: []policy.CaseApproval{owner, {By: "bo", Role: "owner", Decision: gov.DecideReject}}, Evidence: standard}, gov.Refused, nil},
		{policy.Case{Name: "high, owner alone", Change: change("high", "ana"), Approvals: []policy.CaseApproval{owner}, Evidence: append([]string{"security_scan"}, standard...)}, gov.Pending, []string{"review/security_lead"}},
		{policy.Case{Name: "one person, two roles", Change: change("high", "ana"), Approvals: []policy.CaseApproval{owner, {By: "bo", Role: "security_lead"}}, Evidence: append([]string{"security_scan"}, standard...)}, gov.Pending, []string{"review/security_lead"}},
		{policy.Case{Name: "high, no scan", Change: change("high", "ana"), Approvals: []policy.CaseApproval{owner, {By: "cy", Role: "security_lead"}}, Evidence: standard}, gov.Pending, []string{"validate/security_scan"}},
		{policy.Case{Name: "made-up people hold what they wear", Change: change("high", "ana"), Approvals: []policy.CaseApproval{owner, {By: "zoe", Role: "security_lead"}}, Evidence: standard}, gov.Pending, []string{"validate/security_scan"}},
		{policy.Case{Name: "critical demands the architect too", Change: change("critical", "ana"), Approvals: []policy.CaseApproval{owner, {By: "cy", Role: "security_lead"}}, Evidence: append([]string{"security_scan", "architecture_review"}, standard...)}, gov.Pending, []string{"review/architecture_lead"}},
	} {
		t.Run(tc.c.Name, func(t *testing.T) {
			tc.c.Want = policy.Want{Answer: tc.answer, Missing: tc.open}
			v, bad := engine.JudgeCase(law, tc.c)
			if len(bad) > 0 {
				t.Errorf("%v\n%s", bad, words(v))
			}
			// What was given is not open: a row that wants it must fail.
			tc.c.Want = policy.Want{Missing: []string{"review/nobody"}}
			if _, bad := engine.JudgeCase(law, tc.c); len(bad) != 1 || bad[0].What != "missing" {
				t.Errorf("a wrong wish passes: %v", bad)
			}
		})
	}
	// Under another risk than the one wanted, and another answer.
	c := policy.Case{Name: "wrong", Change: change("low", "ana"), Want: policy.Want{Risk: gov.RiskHigh, Answer: gov.Allowed, Requires: []string{"canary"}}}
	if _, bad := engine.JudgeCase(law, c); len(bad) != 3 {
		t.Errorf("%v", bad)
	}
}

// TestSimulate compares what two policies demand of past merges.
func TestSimulate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, map[string]string{"a.txt": "one\n", "b.txt": "one\n"})
	h.commit("plain a", map[string]string{"a.txt": "two\n"})
	h.commit("a change", map[string]string{"b.txt": "two\n", "changes/CHANGE-1/change_metadata.json": metadata("CHANGE-1", "ana", "high")})
	h.commit("plain b", map[string]string{"b.txt": "three\n"})
	next, err := policy.Parse([]byte(testPolicy + "raise:\n  - {risk: high, when: \"paths.exists(p, p == 'a.txt')\", because: it matters}\n"))
	if err != nil {
		t.Fatal(err)
	}
	run := func(req engine.SimulateRequest) []engine.Simulated {
		t.Helper()
		out, err := engine.Simulate(h.ctx, h.repo, req)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := run(engine.SimulateRequest{Policy: next, Last: 50})
	if len(all) != 3 { // the baseline has no parent
		t.Fatalf("%d merges", len(all))
	}
	if all[1].Change != "CHANGE-1" || all[1].Old.Risk != gov.RiskHigh || all[1].Differs() {
		t.Errorf("with metadata: %+v", all[1])
	}
	if s := all[2]; !s.Differs() || s.Old.Risk != gov.RiskLow || s.New.Risk != gov.RiskHigh || len(s.New.Roles) <= len(s.Old.Roles) {
		t.Errorf("raised: %+v", s)
	}
	if all[0].Differs() {
		t.Errorf("not raised: %+v", all[0])
	}
	same, err := policy.Parse([]byte(testPolicy))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range run(engine.SimulateRequest{Policy: same, Last: 50}) {
		if s.Differs() {
			t.Errorf("the same policy differs: %+v", s)
		}
	}
	if n := len(run(engine.SimulateRequest{Policy: next, Last: 2})); n != 2 {
		t.Errorf("--last 2 gives %d", n)
	}
	if n := len(run(engine.SimulateRequest{Policy: next, Last: 50, Since: "main~1"})); n != 1 {
		t.Errorf("--since main~1 gives %d", n)
	}
}
