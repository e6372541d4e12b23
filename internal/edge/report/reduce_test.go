package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/evidence"
	"pgregory.net/rapid"
)

func tests(results ...gov.Result) gov.Evidence {
	ev := gov.Evidence{Kind: "tests", Tool: "t", Report: gov.DigestOf(nil), Results: results}
	for _, r := range results {
		switch r.Status {
		case "passed":
			ev.Passed++
		case "failed":
			ev.Failed++
		default:
			ev.Skipped++
		}
	}
	return ev
}

func TestReduce(t *testing.T) {
	var rs []gov.Result
	for i := range 5000 {
		rs = append(rs, gov.Result{ID: fmt.Sprintf("example.org/m/p%d/TestSomething%d", i%50, i), Status: "passed"})
	}
	rs[10].Status, rs[4000].Status, rs[4999].Status = "failed", "skipped", "skipped"
	ev := tests(rs...)
	if got := Reduce(ev, nil, 1<<20); cmp.Diff(ev, got) != "" {
		t.Error("what fits is changed")
	}
	got := Reduce(ev, []string{"example.org/m/p49", "example.org/m/p7/TestSomething4007"}, 20_000)
	b, err := json.Marshal(got)
	if err != nil || len(b) > 20_000 || len(b) < 19_000 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if got.Passed != 4997 || got.Failed != 1 || got.Skipped != 2 || len(got.Unread) > 0 {
		t.Errorf("counts or unread changed: %d %d %d %v", got.Passed, got.Failed, got.Skipped, got.Unread)
	}
	if LeftOut(got) != 5000-len(got.Results) || LeftOut(ev) != 0 {
		t.Errorf("%d left out of %d", LeftOut(got), len(got.Results))
	}
	for _, want := range []string{rs[10].ID, rs[4999].ID, "example.org/m/p7/TestSomething4007", "example.org/m/p49/TestSomething49"} {
		if !slices.ContainsFunc(got.Results, func(r gov.Result) bool { return r.ID == want }) {
			t.Errorf("%s is not kept", want)
		}
	}
	if !slices.IsSortedFunc(got.Results, func(a, b gov.Result) int {
		return slices.Index(rs, a) - slices.Index(rs, b)
	}) {
		t.Error("the order changed")
	}
	for i := range rs {
		rs[i].Status = "failed"
	}
	all := tests(rs...)
	if got := Reduce(all, nil, 20_000); got.Failed != 5000 || len(got.Results) == 0 || len(got.Unread) != 1 {
		t.Errorf("failed results left out without a word: %d, %v", len(got.Results), got.Unread)
	}
	all.Unread = []string{strings.Repeat("x", 3000), "b", "c"}
	if got := Reduce(all, nil, 1000); len(got.Unread) < 2 || size(got) > 1000 {
		t.Errorf("%d bytes, unread %v", size(got), got.Unread)
	}
}

// A skipped test too long to be named hides behind the passed ones of its folder.
func TestReduceSaysWhichSkippedIsLost(t *testing.T) {
	ev := tests(gov.Result{ID: "tests/test_a.py::test_x", Status: "passed"}, gov.Result{ID: "tests/test_a.py::test_" + strings.Repeat("y", 900), Status: "skipped"})
	got := Reduce(ev, []string{"tests/"}, 700)
	if len(got.Unread) != 1 || judge(got, []string{"tests/"}).State == gov.Satisfied || judge(ev, []string{"tests/"}).State == gov.Satisfied {
		t.Errorf("unread %v, kept %v", got.Unread, lines(Report{Evidence: got}))
	}
	if got := Reduce(ev, nil, 700); len(got.Unread) != 0 || judge(got, nil).State != gov.Satisfied {
		t.Errorf("nobody wants the skipped one: %v", got.Unread)
	}
}

// judge asks the rule itself whether the change may go ahead on this evidence.
func judge(ev gov.Evidence, wanted []string) gov.Requirement {
	now := time.Date(2025, 1, 8, 10, 0, 0, 0, time.UTC)
	key := gov.Key{Fingerprint: "SHA256:ci"}
	tree := gov.DigestOf([]byte("tree"))
	return evidence.Judge(evidence.Facts{
		Now: now, Change: "CHANGE-1", Tree: tree, Authors: []string{"ada"},
		People: []gov.Person{{Handle: "ci", Kind: gov.Service, Roles: []string{"ci"}, Keys: []gov.Key{key}}},
		Checks: []evidence.Want{{ID: "validate/tests", Kind: ev.Kind, TestsRun: wanted}},
		Statements: []gov.Recorded{{
			Digest: gov.DigestOf([]byte("s")), Signer: "ci", SignerKind: gov.Service, Key: key.Fingerprint, Time: now,
			Decision: gov.DecideEvidence, Stage: "validate", Change: "CHANGE-1", Revision: gov.Revision{Tree: tree}, Evidence: &ev,
		}},
	}).Requirements[0]
}

// Whatever is left out: what the rule refuses in the whole, it refuses in the
// part. The one exception is a name that fits several tests, all of them passed
// or kept; the bound on size and the counts hold always.
func TestReduceNeverMakesItPass(t *testing.T) {
	satisfied, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var rs []gov.Result
		seen := map[string]bool{}
		for range rapid.IntRange(1, 25).Draw(t, "results") {
			dir := rapid.SampledFrom([]string{"tests", "tests/unit", "lib/tests"}).Draw(t, "dir")
			mod := rapid.SampledFrom([]string{"test_a", "test_b"}).Draw(t, "module")
			name := rapid.SampledFrom([]string{"test_x", "test_y", "TestC", "test_p[1]", "test_p[a/b]"}).Draw(t, "name")
			dots := strings.ReplaceAll(dir, "/", ".")
			r := []gov.Result{
				{ID: dir + "/" + mod + ".py::" + name},
				{ID: dots + "." + mod + "::" + name},
				{ID: dots + "." + mod + ".TestK::" + name, File: dir + "/" + mod + ".py"},
				{ID: "example.org/m/" + dir + "/TestK/" + name},
				{ID: mod + "::" + name, File: "./" + dir + "/" + mod + ".py"},
			}[rapid.IntRange(0, 4).Draw(t, "way")]
			r.Status = rapid.SampledFrom([]string{"passed", "passed", "passed", "passed", "skipped", "failed"}).Draw(t, "status")
			if !seen[r.File+"|"+r.ID] {
				seen[r.File+"|"+r.ID] = true
				rs = append(rs, r)
			}
		}
		wanted := rapid.SliceOfN(rapid.SampledFrom([]string{
			"tests", "tests/", "./...", "lib/tests/test_a.py", "tests/test_a.py::test_x", "test_a.py::test_x", "tests.test_b", "TestK", "test_a.TestK",
			"tests/unit/test_a.py::TestK::test_p", "test_p[1]", "test_p[a/b]", "example.org/m/tests", "example.org/m/tests.TestK", "m/tests/unit/TestK/TestC", "test_y",
		}), 0, 3).Draw(t, "wanted")
		ev := tests(rs...)
		limit := rapid.IntRange(500, 1500).Draw(t, "max")
		got := Reduce(ev, wanted, limit)
		if got.Passed != ev.Passed || got.Failed != ev.Failed || got.Skipped != ev.Skipped || got.Report != ev.Report {
			t.Fatalf("counts changed: %+v", got)
		}
		if n := size(got); n > limit {
			t.Fatalf("%d bytes, allowed %d", n, limit)
		}
		whole, part := judge(ev, wanted), judge(got, wanted)
		if whole.State == gov.Satisfied {
			satisfied++
		} else {
			refused++
		}
		if part.State == gov.Satisfied && whole.State != gov.Satisfied && !strings.Contains(whole.Why, "could be") {
			t.Fatalf("the whole: %s (%s); the part passes\nwanted %q\nwhole %v\nkept %v", whole.State, whole.Why, wanted, rs, got.Results)
		}
	})
	if satisfied < 5 || refused < 5 {
		t.Errorf("%d satisfied, %d refused: the generator is lopsided", satisfied, refused)
	}
}
