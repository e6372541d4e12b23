package change

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

var (
	noon = time.Date(2025, 1, 8, 12, 0, 0, 0, time.UTC)
	rev  = gov.Revision{Change: gov.DigestOf([]byte("change")), Tree: gov.DigestOf([]byte("tree")), Commit: "c1"}
	rev2 = gov.Revision{Change: gov.DigestOf([]byte("change 2")), Tree: gov.DigestOf([]byte("tree 2")), Commit: "c2"}
)

func req(id, kind string, s gov.State) gov.Requirement {
	return gov.Requirement{ID: id, Kind: kind, State: s, Text: id + " is done"}
}

// facts is a high-risk change at which everything is done.
func facts() Facts {
	return Facts{
		Now: noon, Change: "CHANGE-7", Revision: rev, Risk: gov.RiskHigh, Policy: gov.DigestOf([]byte("policy")), Mode: "enforce",
		Stages: []StageFact{
			{Name: "review", Requirements: []gov.Requirement{req("review/owner", "approval", gov.Satisfied), req("review/security_lead", "approval", gov.Satisfied)}},
			{Name: "validate", Requirements: []gov.Requirement{req("validate/tests", "tests", gov.Satisfied), req("validate/coverage", "coverage", gov.Satisfied)}},
			{Name: "canary", Requirements: []gov.Requirement{req("canary/studio", "canary", gov.Satisfied)}},
			{Name: "merge"},
		},
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	set := func(stage, i int, s gov.State) func(*Facts) {
		return func(f *Facts) { f.Stages[stage].Requirements[i].State = s }
	}
	override := func(f *Facts) {
		f.Overrides = []Override{{Requirement: "validate/tests", By: []string{"erin"}, Statements: []gov.Digest{rev.Change}, Due: noon}}
	}
	revert := func(exact, merged bool, s gov.State) func(*Facts) {
		return func(f *Facts) {
			f.Risk, f.Revert = gov.RiskLow, &RevertFact{Of: "CHANGE-3", Exact: exact, Merged: merged}
			f.Stages = []StageFact{{Name: StageRevert, Requirements: []gov.Requirement{req("revert/owner", "approval", s)}}}
		}
	}
	both := func(fs ...func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			for _, g := range fs {
				g(f)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		facts  func(*Facts)
		answer gov.Answer
		stage  string
	}{
		{"all done", func(*Facts) {}, gov.Allowed, ""},
		{"somebody missing", set(0, 1, gov.Missing), gov.Pending, "review"},
		{"time missing", set(2, 0, gov.Waiting), gov.Pending, "canary"},
		{"failed", set(1, 0, gov.Failed), gov.Refused, "validate"},
		{"unknown", set(1, 1, gov.Unknown), gov.Refused, "validate"},
		{"a state nobody knows", set(1, 1, "skipped"), gov.Refused, "validate"},
		{"an empty state", set(1, 1, ""), gov.Refused, "validate"},
		{"failed later while the review is open", both(set(0, 0, gov.Missing), set(2, 0, gov.Failed)), gov.Refused, "review"},
		{"not applicable by policy", func(f *Facts) { f.Stages[2] = StageFact{Name: "canary", NotApplicable: "no target"} }, gov.Allowed, ""},
		{"one part not applicable", set(1, 0, gov.NotApplicable), gov.Allowed, ""},
		{"a stage that nothing shows, in its turn", func(f *Facts) { f.Stages[2].Requirements = nil }, gov.Refused, "canary"},
		{"a stage that nothing shows, later", both(set(0, 0, gov.Missing), func(f *Facts) { f.Stages[2].Requirements = nil }), gov.Pending, "review"},
		{"no workflow", func(f *Facts) { f.Stages = nil }, gov.Refused, "policy"},
		{"only a merge", func(f *Facts) { f.Stages = f.Stages[3:] }, gov.Refused, "policy"},
		{"no policy", func(f *Facts) { f.Policy = "" }, gov.Refused, "policy"},
		{"no tree", func(f *Facts) { f.Revision.Tree = "" }, gov.Refused, "policy"},
		{"no risk", func(f *Facts) { f.Risk = "" }, gov.Refused, "policy"},
		{"the plan has a problem", func(f *Facts) { f.Problems = []Problem{{Code: "policy_path_unowned", Text: "x"}} }, gov.Refused, "policy"},
		{"bad metadata", func(f *Facts) { f.MetadataErrors = []string{"1:1: x"} }, gov.Refused, "metadata"},
		{"nobody proposed it", func(f *Facts) { f.Unproposed = "ana" }, gov.Pending, "metadata"},
		{"no break-glass for a proposal", func(f *Facts) {
			f.Unproposed, f.Overrides = "ana", []Override{{Requirement: RequirementProposal, By: []string{"bo"}}, {Requirement: StageMetadata, By: []string{"bo"}}}
		}, gov.Pending, "metadata"},
		{"locked by another rollout", func(f *Facts) { f.Locks = []Lock{{Target: "studio", Holder: "CHANGE-5"}} }, gov.Pending, "merge"},
		{"a condition at the merge", func(f *Facts) { f.Stages[3].Requirements = []gov.Requirement{req("merge/x", "x", gov.Missing)} }, gov.Pending, "merge"},
		{"no merge stage in the row", func(f *Facts) { f.Stages = f.Stages[:3] }, gov.Allowed, ""},
		{"a stage behind the merge", func(f *Facts) {
			f.Stages = append(f.Stages, StageFact{Name: "late", Requirements: []gov.Requirement{req("late/x", "x", gov.Missing)}})
		}, gov.Pending, "late"},
		{"observing changes no answer", both(set(0, 1, gov.Missing), func(f *Facts) { f.Mode = ModeObserve }), gov.Pending, "review"},
		{"break-glass over a failed check", both(set(1, 0, gov.Failed), override), gov.Allowed, ""},
		{"break-glass over another check", both(set(1, 1, gov.Failed), override), gov.Refused, "validate"},
		{"break-glass while a review is overdue", both(set(1, 0, gov.Failed), override, func(f *Facts) { f.OverdueReviews = []string{"CHANGE-3"} }), gov.Refused, "validate"},
		{"break-glass of approval while a review is overdue", both(set(0, 1, gov.Overridden), func(f *Facts) { f.OverdueReviews = []string{"CHANGE-3"} }), gov.Pending, "review"},
		{"break-glass of approval", set(0, 1, gov.Overridden), gov.Allowed, ""},
		{"break-glass over a rejection", both(set(0, 1, gov.Failed), func(f *Facts) {
			f.Overrides = []Override{{Requirement: "review/security_lead"}, {Requirement: "review"}}
		}), gov.Refused, "review"},
		{"break-glass over a whole stage", both(set(2, 0, gov.Missing), func(f *Facts) { f.Overrides = []Override{{Requirement: "canary"}} }), gov.Allowed, ""},
		{"break-glass over metadata and locks", func(f *Facts) {
			f.MetadataErrors, f.Locks = []string{"x"}, []Lock{{Target: "studio", Holder: "CHANGE-5"}}
			f.Overrides = []Override{{Requirement: "metadata"}, {Requirement: "metadata/1"}, {Requirement: "merge"}, {Requirement: "merge/lock/studio"}, {Requirement: "policy"}}
		}, gov.Refused, "metadata"},
		{"break-glass over a lock", func(f *Facts) {
			f.Locks, f.Overrides = []Lock{{Target: "studio", Holder: "CHANGE-5"}}, []Override{{Requirement: "merge/lock/studio"}, {Requirement: "merge"}}
		}, gov.Pending, "merge"},
		{"exact inverse, signed", revert(true, true, gov.Satisfied), gov.Allowed, ""},
		{"exact inverse, unsigned", revert(true, true, gov.Missing), gov.Pending, "revert"},
		{"exact inverse, overridden", both(revert(true, true, gov.Missing), func(f *Facts) { f.Overrides = []Override{{Requirement: "revert"}} }), gov.Pending, "revert"},
		{"exact inverse while a review is overdue", both(revert(true, true, gov.Satisfied), func(f *Facts) { f.OverdueReviews = []string{"CHANGE-2"} }), gov.Allowed, ""},
		{"inverse with something added", revert(false, true, gov.Satisfied), gov.Refused, "policy"},
		{"inverse of what is not merged", revert(true, false, gov.Satisfied), gov.Refused, "policy"},
		{"inverse without a signature asked", both(revert(true, true, gov.Satisfied), func(f *Facts) { f.Stages[0].Requirements = nil }), gov.Refused, "policy"},
		{"inverse declared not applicable", both(revert(true, true, gov.Satisfied), func(f *Facts) { f.Stages[0].NotApplicable = "x" }), gov.Refused, "policy"},
		{"inverse with the usual stages", both(func(f *Facts) { f.Revert = &RevertFact{Of: "CHANGE-3", Exact: true, Merged: true} }), gov.Refused, "policy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := facts()
			tc.facts(&f)
			v := Judge(f)
			if v.Answer != tc.answer || v.Stage != tc.stage {
				t.Errorf("%s at %q, want %s at %q: %+v", v.Answer, v.Stage, tc.answer, tc.stage, v.Stages)
			}
			if f.Revert != nil && v.Risk != gov.RiskCritical {
				t.Errorf("a revert is judged %s", v.Risk)
			}
			if f.Mode == ModeObserve && !slices.ContainsFunc(v.Notes, func(n string) bool { return strings.Contains(n, "does not bind") }) {
				t.Errorf("observing is not said: %q", v.Notes)
			}
			b, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Replay(b)
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := json.Marshal(v); string(got) != string(want) {
				t.Errorf("replay differs: %s", got)
			}
		})
	}
	if _, err := Replay([]byte(`{"nonsense":1}`)); gov.KindOf(err) != gov.KindIntegrity {
		t.Error(err)
	}
}

// TestJudgeAgainstOracle: allowed exactly when every requirement before the
// merge is done and nothing holds it; refused exactly when, further, something
// failed or is unknown.
func TestJudgeAgainstOracle(t *testing.T) {
	t.Parallel()
	n := 10
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		n = 500
	}
	for range n {
		rapid.Check(t, judgeAgainstOracle)
	}
}

func judgeAgainstOracle(t *rapid.T) {
	good := []gov.State{gov.Satisfied, gov.NotApplicable, gov.Overridden}
	bad := []gov.State{gov.Failed, gov.Unknown, "skipped", ""}
	f := facts()
	f.Stages = nil
	allDone, broken := true, false
	for i := range rapid.IntRange(1, 4).Draw(t, "stages") {
		s := StageFact{Name: "s" + number(i)}
		for k := range rapid.IntRange(1, 3).Draw(t, "requirements") {
			st := rapid.SampledFrom(slices.Concat(good, good, good, bad, []gov.State{gov.Missing, gov.Waiting})).Draw(t, "state")
			allDone = allDone && slices.Contains(good, st)
			broken = broken || slices.Contains(bad, st)
			r := req(s.Name+"/"+number(k), "x", st)
			if rapid.Bool().Draw(t, "nested") {
				r = gov.Requirement{ID: r.ID, Kind: "x", State: gov.Satisfied, Children: []gov.Requirement{req(r.ID+"/a", "x", gov.Satisfied), req(r.ID+"/b", "x", st)}}
			}
			s.Requirements = append(s.Requirements, r)
		}
		f.Stages = append(f.Stages, s)
	}
	if rapid.IntRange(0, 4).Draw(t, "locked") == 0 {
		f.Locks, allDone = []Lock{{Target: "studio", Holder: "CHANGE-5"}}, false
	}
	want := gov.Pending
	switch {
	case broken:
		want = gov.Refused
	case allDone:
		want = gov.Allowed
	}
	if v := Judge(f); v.Answer != want {
		t.Fatalf("%s, want %s: %+v", v.Answer, want, v.Stages)
	}
}
