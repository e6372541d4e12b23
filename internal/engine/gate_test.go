package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

var one = map[string]string{"a.txt": "one\n", "b.txt": "one\n", "c.txt": "one\n"}

const zeros = "0000000000000000000000000000000000000000"

func TestPushesThatAreRefusedWhole(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	main, head := h.git("rev-parse", "main"), h.git("rev-parse", "change-1")
	h.git("checkout", "-q", "-B", "loose", "main")
	loose := h.commit("a commit of no change", map[string]string{"b.txt": "two\n"})
	h.git("checkout", "-q", "-B", "mixed", "main")
	h.commit("loose first", map[string]string{"c.txt": "two\n"})
	h.git("merge", "-q", "--no-ff", "-m", "merge change 1", "change-1")
	mixed := h.git("rev-parse", "HEAD")
	for _, tc := range []struct {
		name, ref, old, new, code string
	}{
		{"ref deleted", "refs/heads/main", main, zeros, "ref_deleted"},
		{"forced back", "refs/heads/main", head, main, "not_fast_forward"},
		{"created", "refs/heads/main", zeros, head, "ref_created"},
		{"ungoverned commits", "refs/heads/main", main, loose, "change_missing"},
		{"ungoverned commits beside a change", "refs/heads/main", main, mixed, "change_missing"},
	} {
		g, err := h.e.Gate(h.ctx, engine.GateRequest{Ref: tc.ref, Old: tc.old, New: tc.new, Record: true})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if g.Passes() || len(g.Problems) == 0 || g.Problems[0].Code != tc.code || g.Problems[0].Message == "" {
			t.Errorf("%s: %s", tc.name, explain(g))
		}
		h.check()
	}
	if st := h.status("CHANGE-1"); st.Allowed != nil {
		t.Errorf("a push that is refused gave a permission: %+v", st.Allowed)
	}
	for _, tc := range []struct{ ref, old, new string }{
		{"refs/heads/feature", zeros, loose}, {"refs/heads/feature", loose, zeros}, {"refs/tags/v1", zeros, loose},
	} {
		g, err := h.e.Gate(h.ctx, engine.GateRequest{Ref: tc.ref, Old: tc.old, New: tc.new, Record: true})
		if err != nil || !g.Passes() || g.Governed {
			t.Errorf("%s is nobody's business: %v %s", tc.ref, err, explain(g))
		}
	}
	if g := h.push("main"); !g.Passes() {
		t.Errorf("a ref that stays: %s", explain(g))
	}
}

func TestSeveralChangesInOnePush(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	for i, id := range []string{"CHANGE-1", "CHANGE-2", "CHANGE-3"} {
		h.ready(id, map[string]string{string(rune('a'+i)) + ".txt": "two\n"})
	}
	h.git("checkout", "-q", "-B", "train", "main")
	for _, b := range []string{"change-1", "change-2", "change-3"} {
		h.git("merge", "-q", "--no-ff", "-m", "merge "+b, b)
	}
	g := h.push("train")
	// Evidence is about trees: only the first landing has the tree that was tested.
	if g.Passes() || len(g.Changes) != 3 || g.Changes[0].Verdict.Answer != gov.Allowed {
		t.Fatal(explain(g))
	}
	for _, c := range g.Changes[1:] {
		if c.Verdict.Stage != "validate" || !requirement(c.Verdict, "review/owner").State.Done() {
			t.Errorf("approvals stay and evidence is needed anew: %s", words(c.Verdict))
		}
	}
	if st := h.status("CHANGE-1"); st.Allowed != nil {
		t.Error("the first change got a permission in a push that was refused")
	}
	// With evidence for the trees as they will land, all of it goes.
	for _, c := range g.Changes[1:] {
		h.validateAt(c.Verdict)
	}
	if g = h.push("train"); !g.Allowed {
		t.Fatal(explain(g))
	}
	for _, id := range []gov.ChangeID{"CHANGE-1", "CHANGE-2", "CHANGE-3"} {
		st := h.status(id)
		if st.Status != change.Merge || st.Merged.Bypassed || len(st.Reviews) > 0 {
			t.Errorf("%s: %+v", id, st.Merged)
		}
	}
}

// validateAt gives evidence for the revision of a verdict.
func (h *house) validateAt(v gov.Verdict) {
	h.t.Helper()
	h.validate(v)
}

func TestPolicyChangesAreJudgedByTheOldLaw(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	mine := strings.Replace(testPolicy, "owners: [bo]", "owners: [ed]", 1) + `workflows:
  low: [{stage: review, roles: [owner]}, {stage: merge}]
  medium: [{stage: review, roles: [owner]}, {stage: merge}]
  high: [{stage: review, roles: [owner]}, {stage: merge}]
  critical: [{stage: review, roles: [owner]}, {stage: merge}]
`
	a := h.propose("CHANGE-1", "low", map[string]string{"governance.yaml": mine, "a.txt": "two\n"})
	if a.Verdict.Risk.Rank() < gov.RiskHigh.Rank() {
		t.Fatalf("a policy change is at least high: %s", words(a.Verdict))
	}
	if a = h.approve("ana", a.Verdict, "review", "owner"); requirement(a.Verdict, "review/owner").State.Done() || !notCounted(a.Verdict, "ana", "role_not_held") {
		t.Errorf("the author made herself owner: %s", words(a.Verdict))
	}
	if requirement(a.Verdict, "review/security_lead").State != gov.Missing || requirement(a.Verdict, "validate/security_scan").ID == "" {
		t.Errorf("the old workflow stands: %s", words(a.Verdict))
	}
	// Under the law that it brings along, ed's word would be enough.
	h.approve("ed", a.Verdict, "review", "owner")
	if g := h.push("change-1"); g.Passes() || requirement(g.Changes[0].Verdict, "review/owner").State.Done() {
		t.Error(explain(g))
	}
	// A registry that makes the author a security lead does not make her one here.
	people := strings.Replace(h.git("show", "main:.govern/allowed_signers"), "handle=ana kind=human", "handle=ana kind=human roles=owner,security_lead", 1)
	a = h.propose("CHANGE-2", "low", map[string]string{".govern/allowed_signers": people + "\n"})
	if a.Verdict.Risk.Rank() < gov.RiskHigh.Rank() {
		t.Fatalf("a registry change is at least high: %s", words(a.Verdict))
	}
	if a = h.approve("ana", a.Verdict, "review", "security_lead"); requirement(a.Verdict, "review/security_lead").State.Done() {
		t.Error(words(a.Verdict))
	}
}

func TestObserveModePassesAndSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy+"mode: observe\n", one)
	h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"})
	g := h.push("change-1")
	if g.Allowed || !g.Observe || !g.Passes() {
		t.Fatal(explain(g))
	}
	if !strings.Contains(strings.Join(g.Changes[0].Verdict.Notes, "\n"), "only observes") {
		t.Errorf("the verdict does not say so: %v", g.Changes[0].Verdict.Notes)
	}
	st := h.status("CHANGE-1")
	if st.Status != change.Merge || st.Merged.Bypassed || st.Allowed == nil || !st.Allowed.Observe {
		t.Errorf("%+v %+v", st.Merged, st.Allowed)
	}
}

func TestMergedWithoutPermissionIsABypass(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		propose bool
	}{{"proposed", true}, {"never seen before", false}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, testPolicy, one)
			old := h.git("rev-parse", "main")
			if tc.propose {
				h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"})
			} else {
				h.as("ana")
				h.git("checkout", "-q", "-B", "change-1", "main")
				h.commit("sneaked in", map[string]string{"a.txt": "two\n", "changes/CHANGE-1/change_metadata.json": metadata("CHANGE-1", "ana", "low")})
			}
			h.bypass(old, h.git("rev-parse", "change-1"))
			st := h.status("CHANGE-1")
			if st.Status != change.Merge || !st.Merged.Bypassed || len(st.Reviews) != 1 || st.Reviews[0].Reason != change.ReviewBypass {
				t.Fatalf("%+v %+v", st.Merged, st.Reviews)
			}
			if want := h.clock.Now().Add(72 * time.Hour); !st.Reviews[0].Due.Equal(want) {
				t.Errorf("the review is due %s, not %s", st.Reviews[0].Due, want)
			}
			// Told twice, nothing more happens.
			size := h.e.Reader().Size()
			if _, err := h.e.Merged(h.ctx, engine.MergedRequest{Ref: "refs/heads/main", Old: old, New: h.git("rev-parse", "change-1")}); err != nil {
				t.Fatal(err)
			}
			if h.e.Reader().Size() != size {
				t.Error("the same merge was recorded twice")
			}
			// Once overdue, it blocks break-glass elsewhere.
			h.clock.advance(73 * time.Hour)
			a := h.propose("CHANGE-2", "low", map[string]string{"b.txt": "two\n"})
			a = h.override("bo", a.Verdict, "validate/tests")
			if !notCounted(a.Verdict, "bo", "review_overdue") {
				t.Errorf("an overdue review did not block break-glass: %s", words(a.Verdict))
			}
			// A review by somebody else closes it, and break-glass counts again.
			if _, err := h.sign("bo", gov.Statement{Decision: gov.DecideReview, Change: "CHANGE-1", Role: "owner", Subject: st.Reviews[0].Subject}); err != nil {
				t.Fatal(err)
			}
			if st := h.status("CHANGE-1"); len(st.Reviews) != 0 {
				t.Fatalf("the review is still open: %+v", st.Reviews)
			}
			if a = h.sync("CHANGE-2"); requirement(a.Verdict, "validate/tests").State != gov.Overridden {
				t.Error(words(a.Verdict))
			}
		})
	}
}

func (h *house) override(who string, v gov.Verdict, ids ...string) engine.ChangeAnswer {
	h.t.Helper()
	role := "owner"
	if who != "bo" {
		role = "security_lead"
	}
	a, err := h.sign(who, gov.Statement{
		Decision: gov.DecideOverride, Change: v.Change, Role: role, Revision: v.Revision, Risk: v.Risk, Requirements: ids, Expires: h.clock.Now().Add(24 * time.Hour),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func TestPushesToOtherBranchesMergeNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"})
	for _, ref := range []string{"refs/heads/change-1", "refs/tags/x", "refs/heads/release"} {
		if _, err := h.e.Merged(h.ctx, engine.MergedRequest{Ref: ref, Old: h.git("rev-parse", "main"), New: h.git("rev-parse", "change-1")}); err != nil {
			t.Fatal(err)
		}
	}
	if st := h.status("CHANGE-1"); st.Status != change.Open {
		t.Fatalf("a push to a branch of one's own merged: %+v", st.Merged)
	}
}

func TestReverts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	if g := h.push("change-1"); !g.Allowed {
		t.Fatal(explain(g))
	}
	landed := h.git("rev-parse", "main")

	h.git("checkout", "-q", "-B", "inexact", "main")
	h.git("revert", "--no-edit", landed)
	h.commit("and a little more", map[string]string{"b.txt": "sneaked in\n"})
	h.git("reset", "-q", "--soft", "main")
	h.git("commit", "-q", "-m", "Revert\n\nThis reverts commit "+landed+".")
	if g := h.push("inexact"); g.Passes() {
		t.Fatalf("an inexact inverse passed: %s", explain(g))
	}

	h.as("ana")
	h.git("checkout", "-q", "-B", "back", "main")
	h.git("revert", "--no-edit", landed)
	g := h.push("back")
	if g.Passes() || len(g.Changes) != 1 || !g.Changes[0].Revert || g.Changes[0].Verdict.Stage != change.StageRevert || g.Changes[0].Verdict.Risk != gov.RiskCritical {
		t.Fatalf("an unsigned inverse: %s", explain(g))
	}
	v := g.Changes[0].Verdict
	// Who reverts cannot sign for it, nor can a review of the change itself.
	h.mustSign("ana", gov.Statement{Decision: gov.DecideApprove, Stage: change.StageRevert, Change: "CHANGE-1", Role: "owner", Revision: v.Revision})
	h.mustSign("cy", gov.Statement{Decision: gov.DecideApprove, Stage: change.StageRevert, Change: "CHANGE-1", Role: "owner", Revision: v.Revision})
	if g = h.push("back"); g.Passes() {
		t.Fatalf("signed by nobody who may: %s", explain(g))
	}
	h.mustSign("bo", gov.Statement{Decision: gov.DecideApprove, Stage: change.StageRevert, Change: "CHANGE-1", Role: "owner", Revision: v.Revision})
	if g = h.push("back"); !g.Allowed {
		t.Fatal(explain(g))
	}
	st := h.status("CHANGE-1")
	if st.Status != change.Revert || st.Reverted.Bypassed || len(st.Reviews) != 1 || st.Reviews[0].Reason != change.ReviewRevert {
		t.Fatalf("%+v %+v", st.Reverted, st.Reviews)
	}
	// The reverted change cannot land again under its old number, approvals and all.
	h.git("checkout", "-q", "-B", "again", "main")
	h.git("revert", "--no-edit", h.git("rev-parse", "main"))
	if g = h.push("again"); g.Passes() {
		t.Fatalf("a reverted change came back: %s", explain(g))
	}
}

func (h *house) mustSign(who string, st gov.Statement) engine.ChangeAnswer {
	h.t.Helper()
	a, err := h.sign(who, st)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func TestClosedChangesDoNotLand(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	if _, err := h.e.Withdraw(h.ctx, gov.Principal{Handle: "cy", Kind: gov.Human}, "CHANGE-1"); gov.CodeOf(err) != "not_yours" {
		t.Fatalf("a stranger withdrew: %v", err)
	}
	if _, err := h.e.Withdraw(h.ctx, gov.Principal{Handle: "ana", Kind: gov.Human}, "CHANGE-1"); err != nil {
		t.Fatal(err)
	}
	g := h.push("change-1")
	if g.Passes() || !strings.Contains(explain(g), "withdrawn") {
		t.Fatalf("a withdrawn change landed: %s", explain(g))
	}
}

func TestDeletedRejectDoesNotHelp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	a := h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	path, env := h.seal("bo", gov.Statement{Decision: gov.DecideReject, Stage: "review", Change: "CHANGE-1", Role: "owner", Revision: a.Verdict.Revision})
	h.git("checkout", "-q", "change-1")
	h.commit("a reject on the branch", map[string]string{path: string(env)})
	if a = h.sync("CHANGE-1"); a.Verdict.Answer != gov.Refused {
		t.Fatal(words(a.Verdict))
	}
	h.git("reset", "-q", "--hard", "HEAD~1")
	if a = h.sync("CHANGE-1"); a.Verdict.Answer != gov.Refused {
		t.Fatalf("the reject is gone from the branch, and that was enough: %s", words(a.Verdict))
	}
	if g := h.push("change-1"); g.Passes() {
		t.Fatal(explain(g))
	}
	h.mustSign("bo", gov.Statement{Decision: gov.DecideRevoke, Change: "CHANGE-1", Subject: gov.DigestOf(env)})
	h.approve("bo", a.Verdict, "review", "owner")
	if g := h.push("change-1"); !g.Allowed {
		t.Fatal(explain(g))
	}
}

func TestRebaseAndSquashCarryApprovals(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	before := h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	h.ready("CHANGE-2", map[string]string{"b.txt": "two\n"})
	if g := h.push("change-2"); !g.Allowed {
		t.Fatal(explain(g))
	}
	h.git("checkout", "-q", "change-1")
	h.as("ed") // somebody else rebases: that gives him no hand in the content
	h.git("rebase", "-q", "main")
	a := h.sync("CHANGE-1")
	if a.Verdict.Stage != "validate" || !requirement(a.Verdict, "review/owner").State.Done() || a.Verdict.Revision.Tree == before.Verdict.Revision.Tree {
		t.Fatalf("approvals stay, evidence is about another tree: %s", words(a.Verdict))
	}
	if !notCounted(a.Verdict, "ci", "other_tree") {
		t.Errorf("it does not say why the evidence does not count: %s", words(a.Verdict))
	}
	evs, err := h.e.History(h.ctx, gov.StreamChange("CHANGE-1"))
	if err != nil {
		t.Fatal(err)
	}
	carried := false
	for _, ev := range evs {
		carried = carried || ev.Type == change.EventCarried
	}
	if !carried {
		t.Error("the carry-over is not an event")
	}
	h.validate(a.Verdict)
	if g := h.push("change-1"); !g.Allowed {
		t.Fatal(explain(g))
	}
}

func TestTouchedFileThatMovedVoidsApprovals(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, map[string]string{"a.txt": "1\n2\n3\n4\n5\n6\n7\n8\n9\n"})
	h.ready("CHANGE-1", map[string]string{"a.txt": "1\n2\n3\n4\n5\n6\n7\n8\nnine\n"})
	h.ready("CHANGE-2", map[string]string{"a.txt": "one\n2\n3\n4\n5\n6\n7\n8\n9\n"})
	if g := h.push("change-2"); !g.Allowed {
		t.Fatal(explain(g))
	}
	h.git("checkout", "-q", "change-1")
	h.git("rebase", "-q", "main")
	h.proposal("ana", "CHANGE-1")
	a := h.sync("CHANGE-1")
	if a.Verdict.Stage != "review" || !notCounted(a.Verdict, "bo", "other_revision") {
		t.Fatal(words(a.Verdict))
	}
}

func TestBreakGlassAtHighTakesTwo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	a := h.propose("CHANGE-1", "high", map[string]string{"a.txt": "two\n"})
	a = h.override("bo", a.Verdict, "validate/tests")
	if requirement(a.Verdict, "validate/tests").State == gov.Overridden || !notCounted(a.Verdict, "bo", "too_few_people") {
		t.Fatal(words(a.Verdict))
	}
	a = h.override("cy", a.Verdict, "validate/coverage")
	if requirement(a.Verdict, "validate/tests").State == gov.Overridden || requirement(a.Verdict, "validate/coverage").State == gov.Overridden {
		t.Fatalf("two people, but not for the same requirement: %s", words(a.Verdict))
	}
	if a = h.override("cy", a.Verdict, "validate/tests"); requirement(a.Verdict, "validate/tests").State != gov.Overridden {
		t.Fatal(words(a.Verdict))
	}
	h.clock.advance(25 * time.Hour)
	if a = h.sync("CHANGE-1"); requirement(a.Verdict, "validate/tests").State == gov.Overridden {
		t.Fatalf("it has expired: %s", words(a.Verdict))
	}
}
