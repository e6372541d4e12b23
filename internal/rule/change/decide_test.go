package change

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

func proposed() Proposed {
	return Proposed{
		Change: "CHANGE-7", Author: "alice", Owner: "owen", Proposer: "alice", Authors: []string{"alice"}, Declared: gov.RiskHigh,
		Metadata: gov.DigestOf([]byte("m")), Revision: rev,
	}
}

func moved(r gov.Revision) Revise {
	return Revise{Revised{Revision: r, Authors: []string{"alice"}, Owner: "owen", Declared: gov.RiskHigh, Metadata: gov.DigestOf([]byte("m")), By: "alice"}}
}

func statement(n byte, d gov.Decision, change ...func(*gov.Recorded)) Record {
	s := gov.Recorded{Digest: gov.DigestOf([]byte{n}), Decision: d, Change: "CHANGE-7", Signer: "owen", Time: noon, Revision: rev}
	for _, c := range change {
		c(&s)
	}
	return Record{s}
}

// judged is what Known holds about the change at revision r.
func judged(r gov.Revision, change ...func(*Facts)) Known {
	f := facts()
	f.Revision = r
	for _, c := range change {
		c(&f)
	}
	v := Judge(f)
	return Known{Verdict: &v, Overrides: f.Overrides, RevertDue: time.Hour, BypassDue: 2 * time.Hour}
}

func missingOwner(f *Facts) { f.Stages[0].Requirements[0].State = gov.Missing }

func broken(f *Facts) {
	f.Stages[1].Requirements[0].State = gov.Failed
	f.Overrides = []Override{{Requirement: "validate/tests", By: []string{"erin"}, Statements: []gov.Digest{gov.DigestOf([]byte{9})}, Due: noon.Add(time.Hour)}}
}

func inverse(f *Facts) {
	f.Revert = &RevertFact{Of: "CHANGE-7", Exact: true, Merged: true}
	f.Stages = []StageFact{{Name: StageRevert, Requirements: []gov.Requirement{req("revert/owner", "approval", gov.Satisfied)}}}
	f.Stages[0].Requirements[0].Evidence = []gov.Digest{gov.DigestOf([]byte{8})}
}

type step struct {
	do   Command
	know Known
}

// run decides and folds; it gives the state and the types of the last step's
// events, or the code of its error.
func run(t testing.TB, steps ...step) (State, string) {
	t.Helper()
	var s State
	last := ""
	for i, st := range steps {
		evs, err := Decide(s, st.do, st.know, noon)
		last = gov.CodeOf(err)
		if err != nil {
			continue
		}
		var types []string
		for _, e := range evs {
			if e.Stream != "change/CHANGE-7" || e.V != 1 {
				t.Fatalf("step %d: event on %s version %d", i, e.Stream, e.V)
			}
			types = append(types, e.Type)
			next, err := Apply(s, e)
			if err != nil {
				t.Fatal(err)
			}
			s = next
		}
		last = strings.Join(types, " ")
	}
	return s, last
}

func TestDecide(t *testing.T) {
	t.Parallel()
	ok, now := Known{}, judged(rev)
	p := step{Propose{proposed()}, ok}
	gate := step{Gate{Ref: "refs/heads/main"}, now}
	merge := step{ConfirmMerge{Revision: rev, Commit: "m1", Ref: "refs/heads/main"}, now}
	revertGate := step{Gate{Ref: "refs/heads/main", Revert: true}, judged(rev2, inverse)}
	carried := rev
	carried.Commit, carried.Base, carried.Tree = "c9", "b9", gov.DigestOf([]byte("tree 9"))
	override := step{Gate{Ref: "refs/heads/main"}, judged(rev, broken)}
	review := func(subject gov.Digest) Record {
		return statement(5, gov.DecideReview, func(s *gov.Recorded) { s.Subject = subject })
	}
	reviewed := func(subject gov.Digest) Known {
		return Known{Reviews: []Reviewed{{Subject: subject, Statement: gov.DigestOf([]byte{5}), By: "bob"}}}
	}
	bad := proposed()
	bad.Owner = ""
	for _, tc := range []struct {
		name   string
		steps  []step
		last   string // event types or error code
		status Status
	}{
		{"proposed", []step{p}, "change.proposed", Open},
		{"proposed twice", []step{p, p}, "change_exists", Open},
		{"proposed without owner", []step{{Propose{bad}, ok}}, "change_incomplete", Absent},
		{"nothing before the proposal", []step{{Withdraw{"alice"}, ok}}, "change_unknown", Absent},
		{"revised", []step{p, {moved(rev2), ok}}, "change.revised", Open},
		{"revised to the same", []step{p, {moved(rev), ok}}, "", Open},
		{"rebased", []step{p, {moved(carried), ok}}, "change.carried", Open},
		{"revised to nothing", []step{p, {moved(gov.Revision{}), ok}}, "digest_invalid", Open},
		{"revised after the merge", []step{p, gate, merge, {moved(rev2), ok}}, "change_closed", Merge},
		{"a statement", []step{p, {statement(1, gov.DecideApprove), ok}}, "statement.recorded", Open},
		{"a statement twice", []step{p, {statement(1, gov.DecideApprove), ok}, {statement(1, gov.DecideApprove), ok}}, "", Open},
		{"a statement about another change", []step{p, {statement(1, gov.DecideApprove, func(s *gov.Recorded) { s.Change = "CHANGE-8" }), ok}}, "statement_other_change", Open},
		{"an approval after the merge", []step{p, gate, merge, {statement(1, gov.DecideApprove), ok}}, "change_closed", Merge},
		{"an approval of the revert after the merge", []step{p, gate, merge, {statement(1, gov.DecideApprove, func(s *gov.Recorded) { s.Stage = StageRevert }), ok}}, "statement.recorded", Merge},
		{"an approval after the withdrawal", []step{p, {Withdraw{"alice"}, ok}, {statement(1, gov.DecideApprove), ok}}, "change_closed", Closed},
		{"a stage passed", []step{p, {Pass{"review"}, now}}, "stage.passed", Open},
		{"a stage passed twice", []step{p, {Pass{"review"}, now}, {Pass{"review"}, now}}, "", Open},
		{"a stage passed again after a new revision", []step{p, {Pass{"review"}, now}, {moved(rev2), ok}, {Pass{"review"}, judged(rev2)}}, "stage.passed", Open},
		{"a stage that is open", []step{p, {Pass{"review"}, judged(rev, missingOwner)}}, "stage_open", Open},
		{"a stage behind an open one", []step{p, {Pass{"validate"}, judged(rev, missingOwner)}}, "stage_open", Open},
		{"a stage there is not", []step{p, {Pass{"party"}, now}}, "stage_unknown", Open},
		{"a stage of an old revision", []step{p, {moved(rev2), ok}, {Pass{"review"}, now}}, "revision_moved", Open},
		{"a stage passed by break-glass", []step{p, {Pass{"validate"}, judged(rev, broken)}}, "stage.passed review.due", Open},
		{"gate says yes", []step{p, gate}, "merge.allowed", Open},
		{"gate says yes twice", []step{p, gate, gate}, "", Open},
		{"gate says no", []step{p, {Gate{Ref: "x"}, judged(rev, missingOwner)}}, "merge.refused", Open},
		{"gate says no twice", []step{p, {Gate{Ref: "x"}, judged(rev, missingOwner)}, {Gate{Ref: "x"}, judged(rev, missingOwner)}}, "", Open},
		{"gate without a verdict", []step{p, {Gate{Ref: "x"}, ok}}, "verdict_missing", Open},
		{"gate with an old verdict", []step{p, {moved(rev2), ok}, gate}, "revision_moved", Open},
		{"gate with the verdict of a revert", []step{p, {Gate{Ref: "x"}, judged(rev, inverse)}}, "revision_moved", Open},
		{"gate while observing", []step{p, {Gate{Ref: "x"}, func() Known { k := judged(rev, missingOwner); k.Observe = true; return k }()}}, "merge.allowed", Open},
		{"gate with break-glass", []step{p, override}, "merge.allowed review.due", Open},
		{"gate with break-glass twice", []step{p, override, override}, "", Open},
		{"merged", []step{p, gate, merge}, "change.merged", Merge},
		{"merged, seen twice", []step{p, gate, merge, merge}, "", Merge},
		{"merged without permission", []step{p, merge}, "change.merged review.due", Merge},
		{"merged after a rejection took the permission back", []step{p, gate, {statement(1, gov.DecideReject), ok}, merge}, "change.merged review.due", Merge},
		{"merged after a revocation took the permission back", []step{p, gate, {statement(1, gov.DecideRevoke), ok}, merge}, "change.merged review.due", Merge},
		{"merged with another tree", []step{p, gate, {moved(carried), ok}, {ConfirmMerge{Revision: carried, Commit: "m", Ref: "refs/heads/main"}, now}}, "change.merged review.due", Merge},
		{"merged with a tree that was never shown", []step{p, gate, {ConfirmMerge{Revision: carried, Commit: "m", Ref: "refs/heads/main"}, now}}, "change.merged review.due", Merge},
		{"merged on another branch", []step{p, gate, {ConfirmMerge{Revision: rev, Commit: "m", Ref: "refs/heads/x"}, now}}, "change.merged review.due", Merge},
		{"merged though withdrawn", []step{p, gate, {Withdraw{"alice"}, ok}, merge}, "change.merged review.due", Merge},
		{"withdrawn", []step{p, {Withdraw{"owen"}, ok}}, "change.withdrawn", Closed},
		{"withdrawn by a stranger", []step{p, {Withdraw{"bob"}, ok}}, "not_yours", Open},
		{"withdrawn after the merge", []step{p, gate, merge, {Withdraw{"alice"}, ok}}, "change_closed", Merge},
		{"revert allowed", []step{p, gate, merge, revertGate}, "merge.allowed review.due", Merge},
		{"revert of what is not merged", []step{p, gate, revertGate}, "change_closed", Open},
		{"revert with a usual verdict", []step{p, gate, merge, {Gate{Ref: "x", Revert: true}, now}}, "revision_moved", Merge},
		{"reverted", []step{p, gate, merge, revertGate, {ConfirmRevert{Revision: rev2, Commit: "r"}, now}}, "change.reverted", Revert},
		{"reverted without permission", []step{p, gate, merge, {ConfirmRevert{Revision: rev2, Commit: "r"}, now}}, "change.reverted review.due", Revert},
		{"reverted before the merge", []step{p, {ConfirmRevert{Revision: rev2, Commit: "r"}, now}}, "change_closed", Open},
		{"review closed", []step{p, override, {review(gov.DigestOf([]byte{9})), reviewed(gov.DigestOf([]byte{9}))}}, "statement.recorded review.closed", Open},
		{"review that does not count", []step{p, override, {review(gov.DigestOf([]byte{9})), ok}}, "statement.recorded", Open},
		{"review of what is not due", []step{p, {review(gov.DigestOf([]byte{9})), reviewed(gov.DigestOf([]byte{9}))}}, "statement.recorded", Open},
		{"review closed, break-glass again", []step{p, override, {review(gov.DigestOf([]byte{9})), reviewed(gov.DigestOf([]byte{9}))}, override}, "", Open},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, last := run(t, tc.steps...)
			if last != tc.last || s.Status != tc.status {
				t.Errorf("%q in status %q, want %q in %q", last, s.Status, tc.last, tc.status)
			}
		})
	}
}

func TestStateKeeps(t *testing.T) {
	t.Parallel()
	s, _ := run(t, step{Propose{proposed()}, Known{}}, step{statement(1, gov.DecideApprove), Known{}}, step{Pass{"review"}, judged(rev)}, step{Gate{Ref: "x"}, judged(rev)})
	carried := rev
	carried.Commit = "c9"
	for _, tc := range []struct {
		name             string
		do               Command
		stages, allowed  bool
		statements, revs int
	}{
		{"a rebase keeps everything", moved(carried), true, true, 1, 0},
		{"new content voids stages and permission, not the record", moved(rev2), false, false, 1, 1},
		{"a rejection takes stages and permission back", statement(2, gov.DecideReject), false, false, 2, 0},
		{"an approval takes nothing back", statement(2, gov.DecideApprove), true, true, 2, 0},
	} {
		evs, err := Decide(s, tc.do, Known{}, noon)
		if err != nil {
			t.Fatal(err)
		}
		before, _ := json.Marshal(s)
		got, err := Apply(s, evs[0])
		if err != nil {
			t.Fatal(err)
		}
		if (got.Stages != nil) != tc.stages || (got.Allowed != nil) != tc.allowed || len(got.Statements) != tc.statements || got.Revised != tc.revs {
			t.Errorf("%s: %+v", tc.name, got)
		}
		if after, _ := json.Marshal(s); string(before) != string(after) {
			t.Errorf("%s: Apply changed its argument", tc.name)
		}
	}
}

func TestApplyRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	e := gov.NewEvent("change/CHANGE-7", EventMerged, Merged{})
	e.V = 2
	if _, err := Apply(State{}, e); gov.CodeOf(err) != "event_version" {
		t.Error(err)
	}
	e.V, e.Data = 1, []byte(`{"revision":3}`)
	if _, err := Apply(State{}, e); gov.CodeOf(err) != "event_unreadable" {
		t.Error(err)
	}
	if s, err := Apply(State{}, gov.Event{Stream: "change/CHANGE-7", Type: "rollout.started", V: 9}); err != nil || s.ID != "" {
		t.Errorf("an event of another rule: %+v %v", s, err)
	}
}

// TestLife drives random commands and checks what must hold after every step.
func TestLife(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s State
		var log []gov.Event
		revs := []gov.Revision{rev, rev2}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			r := rapid.SampledFrom(revs).Draw(t, "revision")
			var c Command
			k := judged(r)
			switch rapid.IntRange(0, 8).Draw(t, "command") {
			case 0:
				c = Propose{proposed()}
			case 1:
				c = moved(r)
			case 2:
				c = statement(byte(rapid.IntRange(0, 30).Draw(t, "n")), rapid.SampledFrom(gov.Decisions).Draw(t, "decision"))
			case 3:
				c = Pass{"review"}
			case 4:
				c = Gate{Ref: "x"}
				if rapid.Bool().Draw(t, "open") {
					k = judged(r, missingOwner)
				}
			case 5:
				c = ConfirmMerge{Revision: r, Ref: "x"}
			case 6:
				c, k = Gate{Ref: "x", Revert: true}, judged(rev2, inverse)
			case 7:
				c = ConfirmRevert{Revision: rev2}
			case 8:
				c = Withdraw{"alice"}
			}
			evs, err := Decide(s, c, k, noon)
			if err != nil {
				if gov.CodeOf(err) == "" || gov.KindOf(err) == gov.KindInternal {
					t.Fatalf("%T: %v", c, err)
				}
				continue
			}
			for _, e := range evs {
				if s, err = Apply(s, e); err != nil {
					t.Fatal(err)
				}
				log = append(log, e)
			}
			holds(t, s, log)
		}
	})
}

// holds states the promises over the log itself: a merge that is not a bypass
// follows a permission for its revision, with neither a rejection, a revocation,
// a refusal nor another revision in between; each review falls due once; and
// the state is what folding the stored log gives.
func holds(t *rapid.T, s State, log []gov.Event) {
	var permitted gov.Digest
	due := map[gov.Digest]int{}
	for _, e := range log {
		switch e.Type {
		case EventAllowed:
			if a := decode[MergeAllowed](t, e); !a.Revert {
				permitted = a.Revision.Change
			}
		case EventRevised, EventRefused, EventWithdrawn:
			permitted = ""
		case EventRecorded:
			if d := decode[gov.Recorded](t, e).Decision; d == gov.DecideReject || d == gov.DecideRevoke {
				permitted = ""
			}
		case EventMerged:
			if m := decode[Merged](t, e); m.Bypassed == (permitted == m.Revision.Change) {
				t.Fatalf("bypassed is %v with permission for %q", m.Bypassed, permitted)
			}
		case EventReviewDue:
			d := decode[ReviewDue](t, e).Subject
			if due[d]++; due[d] > 1 {
				t.Fatal("a review fell due twice")
			}
		}
	}
	var again State
	for _, e := range log {
		b, _ := json.Marshal(again)
		again = State{}
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		var err error
		if again, err = Apply(again, e); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := json.Marshal(s)
	b, _ := json.Marshal(again)
	if string(a) != string(b) {
		t.Fatalf("folding through storage differs: %s", cmp.Diff(string(a), string(b)))
	}
	if !slices.IsSortedFunc(s.Reviews, func(a, b ReviewDue) int { return a.Due.Compare(b.Due) }) {
		t.Fatal("reviews are not in order")
	}
}

func decode[T any](t *rapid.T, e gov.Event) T {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	s := State{Reviews: []ReviewDue{{Subject: "a", Due: noon}, {Subject: "b", Due: noon.Add(time.Second)}}}
	if got := s.Overdue(noon); len(got) != 1 || got[0].Subject != "a" || !s.NextReview().Equal(noon) {
		t.Errorf("%v, next %s", got, s.NextReview())
	}
	if got := s.Overdue(noon.Add(-1)); got != nil || !(State{}).NextReview().IsZero() {
		t.Errorf("nothing is overdue: %v", got)
	}
}
