package engine_test

import (
	"slices"
	"testing"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
)

// branch makes a branch that says it is a change by author, committed by somebody
// whom the registry does not know. Nobody has signed it.
func (h *house) branch(name, id, author string, files map[string]string) {
	h.t.Helper()
	h.as("mallory")
	h.git("checkout", "-q", "-B", name, "main")
	all := map[string]string{"changes/" + id + "/change_metadata.json": metadata(id, author, "low")}
	for k, v := range files {
		all[k] = v
	}
	h.commit("a change by "+author, all)
}

// take syncs CHANGE-1 as a hook does for a branch.
func (h *house) take(branch string) (engine.ChangeAnswer, error) {
	h.t.Helper()
	a, err := h.e.Sync(h.ctx, engine.SyncRequest{ID: "CHANGE-1", Head: branch})
	h.check()
	return a, err
}

// TestOnlyTheAuthorProposes: bo owns everything and may approve what others
// wrote. He must not be able to say that somebody else wrote it.
func TestOnlyTheAuthorProposes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, author, signer string
		counts               bool
	}{
		{"nobody signs", "ana", "", false},
		{"the approver signs", "ana", "bo", false},
		{"somebody else signs", "ana", "ed", false},
		{"the author signs", "ana", "ana", true},
		{"the author's agent signs", "ana", "bot", true},
		{"an agent of somebody else signs", "ed", "bot", false},
		{"the agent's sponsor signs", "bot", "ana", true},
		{"not the agent's sponsor", "bot", "ed", false},
		{"an author whom nobody knows", "mallory", "ana", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, testPolicy, one)
			h.branch("change-1", "CHANGE-1", tc.author, map[string]string{"a.txt": "two\n"})
			rev, _, err := h.repo.Revision(h.ctx, h.git("rev-parse", "main"), h.git("rev-parse", "HEAD"), "CHANGE-1")
			if err != nil {
				t.Fatal(err)
			}
			if tc.signer != "" {
				h.proposal(tc.signer, "CHANGE-1")
			}
			cover := 0.9
			files := map[string]string{}
			for who, st := range map[string]gov.Statement{
				"bo": {Decision: gov.DecideApprove, Stage: "review", Role: "owner", Risk: gov.RiskLow},
				"ci": {Decision: gov.DecideEvidence, Stage: "validate", Evidence: &gov.Evidence{Kind: "tests", Tool: "t", Report: digest("t"), Passed: 1, Results: []gov.Result{{ID: "pkg/TestA", Status: "passed"}}}},
				"":   {Decision: gov.DecideEvidence, Stage: "validate", Evidence: &gov.Evidence{Kind: "coverage", Tool: "t", Report: digest("c"), Coverage: &cover}},
			} {
				if who == "" {
					who = "ci"
				}
				st.Change, st.Revision = "CHANGE-1", rev
				path, env := h.seal(who, st)
				files[path] = string(env)
			}
			h.commit("all that is asked for", files)
			size := h.e.Reader().Size()
			a, err := h.take("change-1")
			if err != nil {
				t.Fatal(err)
			}
			q := requirement(a.Verdict, change.RequirementProposal)
			if !tc.counts {
				if h.e.Reader().Size() != size {
					t.Error("something was recorded")
				}
				if q.State != gov.Missing || q.Why != "nobody has signed a proposal of this content as "+tc.author || !slices.Equal(q.Who, []string{tc.author}) || q.Command != "govern submit -m WHY" {
					t.Errorf("it does not say what is missing: %+v", q)
				}
			} else if q.ID != "" || h.status("CHANGE-1").Status != change.Open || h.status("CHANGE-1").Proposer != tc.signer {
				t.Errorf("not proposed: %s", words(a.Verdict))
			}
			// With an agent's hand in it, the change needs more than this approval.
			g := h.push("change-1")
			if lands := tc.author == "ana" && tc.signer == "ana"; g.Passes() && !tc.counts || lands && !g.Allowed {
				t.Errorf("the gate: %s", explain(g))
			}
		})
	}
}

// TestUnsignedPushChangesNothing: somebody pushes other content under a number
// that is taken.
func TestUnsignedPushChangesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	size := h.e.Reader().Size()

	h.branch("evil", "CHANGE-1", "ana", map[string]string{"a.txt": "evil\n"})
	a, err := h.take("evil")
	if err != nil || requirement(a.Verdict, change.RequirementProposal).State != gov.Missing || a.Verdict.Answer == gov.Allowed {
		t.Fatalf("%v %s", err, words(a.Verdict))
	}
	h.branch("broken", "CHANGE-1", "ana", map[string]string{"changes/CHANGE-1/change_metadata.json": "{"})
	if a, err = h.take("broken"); err != nil || a.Verdict.Answer != gov.Refused {
		t.Fatalf("%v %s", err, words(a.Verdict))
	}
	h.branch("named", "CHANGE-1", "ed", map[string]string{"a.txt": "evil\n"})
	if _, err = h.take("named"); gov.CodeOf(err) != "change_exists" {
		t.Fatalf("another author took the number: %v", err)
	}
	// A proposal of the real content, copied, is none of this content.
	h.branch("copied", "CHANGE-1", "ana", map[string]string{"a.txt": "evil\n"})
	h.git("checkout", "-q", "change-1", "--", "changes/CHANGE-1/statements")
	h.git("commit", "-q", "-m", "with its statements")
	if a, err = h.take("copied"); err != nil || requirement(a.Verdict, change.RequirementProposal).State != gov.Missing {
		t.Fatalf("%v %s", err, words(a.Verdict))
	}
	for _, b := range []string{"evil", "broken", "copied"} {
		if g := h.push(b); g.Passes() {
			t.Errorf("%s landed: %s", b, explain(g))
		}
	}
	if n := h.e.Reader().Size(); n != size {
		t.Errorf("%d records of what nobody proposed", n-size)
	}
	if g := h.push("change-1"); !g.Allowed {
		t.Fatalf("what was approved fell: %s", explain(g))
	}
}

func TestUnsignedPushDisturbsNoRollout(t *testing.T) {
	t.Parallel()
	h, w, _ := newRollout(t)
	w.turn()
	size := h.e.Reader().Size()
	h.branch("evil", "CHANGE-1", "ana", map[string]string{"app/main.txt": "evil\n"})
	if _, err := h.take("evil"); err != nil {
		t.Fatal(err)
	}
	h.branch("broken", "CHANGE-1", "ana", map[string]string{"changes/CHANGE-1/change_metadata.json": "{"})
	if _, err := h.take("broken"); err != nil {
		t.Fatal(err)
	}
	h.push("evil")
	if n := h.e.Reader().Size(); n != size {
		t.Errorf("%d records", n-size)
	}
	if st := w.turn(); st.Run == nil || st.Run.Change != "CHANGE-1" || st.Run.Phase == canary.Reverting || w.weight == 0 {
		t.Fatalf("the rollout was taken back: %s", engine.Summary(st))
	}
	// Signed by its author it is a revision, and that does.
	h.git("checkout", "-q", "evil")
	h.proposal("ana", "CHANGE-1")
	if _, err := h.take("evil"); err != nil {
		t.Fatal(err)
	}
	if st := w.turn(); w.weight != 0 {
		t.Fatalf("a revision leaves the rollout running: %s", engine.Summary(st))
	}
}

// TestOneNumberTwice: two branches of one author that took the same number are
// two changes; a revision says what it replaces.
func TestOneNumberTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	first := h.status("CHANGE-1")
	propose := func(content string, replaces gov.Digest) gov.Digest {
		rev, _, err := h.repo.Revision(h.ctx, h.git("rev-parse", "main"), h.git("rev-parse", "HEAD"), "CHANGE-1")
		if err != nil {
			t.Fatal(err)
		}
		path, env := h.seal("ana", gov.Statement{Decision: gov.DecidePropose, Stage: "propose", Change: "CHANGE-1", Revision: rev, Risk: gov.RiskLow, Subject: replaces})
		h.commit("proposed "+content, map[string]string{path: string(env)})
		return gov.DigestOf(env)
	}
	for name, replaces := range map[string]gov.Digest{"first": "", "of nothing": digest("nothing")} {
		h.branch("other", "CHANGE-1", "ana", map[string]string{"b.txt": "two\n"})
		propose(name, replaces)
		size := h.e.Reader().Size()
		if _, err := h.take("other"); gov.CodeOf(err) != "change_exists" {
			t.Fatalf("%s: two changes became one: %v", name, err)
		}
		if h.e.Reader().Size() != size || h.status("CHANGE-1").Revision != first.Revision {
			t.Fatalf("%s: something was recorded", name)
		}
	}
	// Two proposals later, squashed onto a branch of another name: it descends.
	h.branch("squashed", "CHANGE-1", "ana", map[string]string{"a.txt": "three\n"})
	second := propose("second", first.Statements[0].Digest)
	h.commit("more", map[string]string{"a.txt": "four\n"})
	propose("third", second)
	a, err := h.take("squashed")
	if err != nil || h.status("CHANGE-1").Revised != 1 || requirement(a.Verdict, change.RequirementProposal).ID != "" {
		t.Fatalf("%v %s", err, words(a.Verdict))
	}
	// What was proposed before may come back without a new proposal.
	if a, err = h.take("change-1"); err != nil || a.Verdict.Answer != gov.Allowed {
		t.Fatalf("%v %s", err, words(a.Verdict))
	}
}
