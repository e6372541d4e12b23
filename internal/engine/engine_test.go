package engine_test

import (
	"testing"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

func TestStandardChangeToMerge(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, map[string]string{"a.txt": "one\n"})
	a := h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"})
	if a.Verdict.Answer != gov.Pending || a.Verdict.Stage != "review" {
		t.Fatal(words(a.Verdict))
	}
	a = h.approve("bo", a.Verdict, "review", "owner")
	if a.Verdict.Stage != "validate" {
		t.Fatal(words(a.Verdict))
	}
	a = h.validate(a.Verdict)
	if a.Verdict.Answer != gov.Allowed {
		t.Fatal(words(a.Verdict))
	}
	t.Log(words(a.Verdict))
	old, head := h.git("rev-parse", "main"), h.git("rev-parse", "change-1")
	g, err := h.e.Gate(h.ctx, engine.GateRequest{Ref: "refs/heads/main", Old: old, New: head, Record: true})
	if err != nil {
		t.Fatal(err)
	}
	if !g.Allowed || !g.Passes() {
		t.Fatalf("%+v\n%s", g.Problems, words(g.Changes[0].Verdict))
	}
	h.check()
	h.git("update-ref", "refs/heads/main", head)
	if _, err := h.e.Merged(h.ctx, engine.MergedRequest{Ref: "refs/heads/main", Old: old, New: head}); err != nil {
		t.Fatal(err)
	}
	st, err := h.e.Change(h.ctx, "CHANGE-1")
	if err != nil {
		t.Fatal(err)
	}
	if st.Status != "merged" || st.Merged.Bypassed {
		t.Fatalf("%+v", st)
	}
	h.check()
}

func TestAuthorAndAgentApprovalsDoNotCount(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, map[string]string{"a.txt": "one\n"})
	a := h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"})
	for _, who := range []string{"ana", "bot", "ci", "cy"} {
		got := h.approve(who, a.Verdict, "review", "owner")
		if got.Verdict.Stage != "review" || len(got.Verdict.NotCounted) == 0 {
			t.Errorf("%s: %s", who, words(got.Verdict))
		}
	}
}
