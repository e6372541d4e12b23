package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
)

var app = map[string]string{"app/main.txt": "one\n", "app/other.txt": "one\n", "b.txt": "one\n"}

// canaryReady takes a high-risk change to its canary; build names the artifact.
func (h *house) canaryReady(id, build string, files map[string]string) gov.Verdict {
	h.t.Helper()
	a := h.propose(id, "high", files)
	h.approve("bo", a.Verdict, "review", "owner")
	h.approve("cy", a.Verdict, "review", "security_lead")
	return h.built(a.Verdict, build)
}

func (h *house) built(v gov.Verdict, build string) gov.Verdict {
	h.t.Helper()
	h.validate(v)
	h.evidence(v, gov.Evidence{Kind: "security_scan", Passed: 1})
	a := h.evidence(v, gov.Evidence{Kind: "build", Passed: 1, Artifact: &gov.Artifact{Name: "app", Digest: digest(build)}})
	if a.Verdict.Stage != "canary" && a.Verdict.Stage != "staging" {
		h.t.Fatal(words(a.Verdict))
	}
	return a.Verdict
}

func newRollout(t *testing.T) (*house, *world, gov.Verdict) {
	t.Helper()
	h := newHouse(t, targetPolicy, app)
	w := newWorld(h)
	w.turn() // adopts what runs there
	v := h.canaryReady("CHANGE-1", "new", map[string]string{"app/main.txt": "two\n"})
	return h, w, v
}

func ended(st canary.State, id gov.ChangeID) string {
	for _, e := range st.Ended {
		if e.Change == id {
			return e.How + "/" + string(e.Cause)
		}
	}
	return ""
}

func TestHighRiskPath(t *testing.T) {
	t.Parallel()
	h, w, v := newRollout(t)
	st := w.turn()
	if st.Run == nil || st.Run.Phase != canary.Watching || w.weight != 5 {
		t.Fatalf("no canary of 5 %%: %s", engine.Summary(st))
	}
	if g := h.push("change-1"); g.Passes() {
		t.Fatal(explain(g))
	}
	if st = w.measure(6, 1); st.Run.Phase != canary.Final || w.weight != 100 {
		t.Fatal(engine.Summary(st))
	}
	if g, err := h.e.Admit(h.ctx, digest("new"), "prod"); err != nil || g.Allowed || g.Problems[0].Code != "rollout_running" {
		t.Errorf("admitted before approval: %v %+v", err, g)
	}
	// A review is no final approval, nor is one of an earlier attempt or another verdict.
	h.approve("bo", v, "review", "owner")
	real := st.Outcome()
	for _, o := range []*gov.Outcome{nil, {Target: "prod", Attempt: real.Attempt + 1, Verdict: real.Verdict}, {Target: "prod", Attempt: real.Attempt, Verdict: digest("x")}, {Target: "else", Attempt: real.Attempt, Verdict: real.Verdict}} {
		a := h.mustSign("bo", gov.Statement{Decision: gov.DecideApprove, Stage: "final", Change: v.Change, Role: "owner", Revision: v.Revision, Outcome: o})
		if requirement(a.Verdict, "final/owner").State.Done() || !notCounted(a.Verdict, "bo", "other_outcome") {
			t.Errorf("outcome %+v: %s", o, words(a.Verdict))
		}
	}
	h.approve("bo", v, "final", "owner")
	if w.target().Run.Approved {
		t.Fatal("one of two final approvals was enough")
	}
	a := h.approve("cy", v, "final", "security_lead")
	if !w.target().Run.Approved {
		t.Fatalf("the target does not know of its final approval: %s", words(a.Verdict))
	}
	if g, err := h.e.Admit(h.ctx, digest("new"), "prod"); err != nil || !g.Allowed {
		t.Errorf("not admitted: %v %+v", err, g)
	}
	h.clock.advance(48 * time.Hour) // approved in time: nothing is taken back
	w.turn()
	if g := h.push("change-1"); !g.Allowed {
		t.Fatal(explain(g))
	}
	st = w.turn()
	if st.Run != nil || st.Stable.Artifact.Digest != digest("new") || st.Previous.Artifact.Digest != digest("old") || ended(st, "CHANGE-1") != "finished/" {
		t.Fatalf("%s %+v", engine.Summary(st), st.Ended)
	}
	if d := cmp.Diff(map[string]gov.Digest{"prod/candidate": digest("new")}, w.slots); d != "" {
		t.Errorf("the old version was not taken away: %s", d)
	}
	if d := cmp.Diff([]int{5, 100, 0}, w.sets); d != "" {
		t.Errorf("weights: %s", d)
	}
	if st := h.status("CHANGE-1"); st.Status != change.Merge || st.Merged.Bypassed {
		t.Errorf("%+v", st.Merged)
	}
}

func TestBadWindowsRollBackAndBlock(t *testing.T) {
	t.Parallel()
	h, w, v := newRollout(t)
	w.turn()
	st := w.measure(2, 200)
	if st.Run != nil || w.weight != 0 || ended(st, "CHANGE-1") != "rolled_back/verdict" || w.slots["prod/candidate"] != "" {
		t.Fatalf("%s %v %v", engine.Summary(st), st.Ended, w.slots)
	}
	block, ok := st.Blocked[digest("new")]
	if !ok {
		t.Fatal("the digest is not blocked")
	}
	if g, err := h.e.Admit(h.ctx, digest("new"), "prod"); err != nil || g.Allowed || g.Problems[0].Code != "digest_blocked" {
		t.Errorf("%v %+v", err, g)
	}
	if st = w.turn(); st.Run != nil {
		t.Fatal("it started again by itself")
	}
	retry := func() error {
		_, err := h.e.StartRollout(h.ctx, engine.StartRequest{Change: "CHANGE-1", Retry: true, Actor: gov.Principal{Handle: "ana"}})
		return err
	}
	if err := retry(); gov.CodeOf(err) != "digest_blocked" {
		t.Fatalf("a blocked digest may start: %v", err)
	}
	bound := &gov.Outcome{Target: "prod", Attempt: block.Attempt, Verdict: block.Verdict}
	unblock := func(who string, change func(*gov.Statement)) error {
		s := gov.Statement{Decision: gov.DecideUnblock, Target: "prod", Role: "owner", Artifacts: []gov.Artifact{{Name: "app", Digest: digest("new")}}, Outcome: bound}
		if change != nil {
			change(&s)
		}
		_, err := h.sign(who, s)
		return err
	}
	for _, tc := range []struct {
		name, who, code string
		change          func(*gov.Statement)
	}{
		{"author", "ana", "role_not_held", nil},
		{"stranger", "ed", "role_not_held", nil},
		{"service", "ci", "statement_not_human", nil},
		{"agent", "bot", "statement_not_human", nil},
		{"role not held", "bo", "role_not_held", func(s *gov.Statement) { s.Role = "security_lead" }},
		{"no outcome", "bo", "other_outcome", func(s *gov.Statement) { s.Outcome = nil }},
		{"another verdict", "bo", "other_outcome", func(s *gov.Statement) { s.Outcome = &gov.Outcome{Target: "prod", Attempt: 1, Verdict: digest("x")} }},
		{"another artifact", "bo", "digest_not_blocked", func(s *gov.Statement) { s.Artifacts[0].Digest = digest("old") }},
		{"other target", "bo", "digest_not_blocked", func(s *gov.Statement) { s.Target = "staging" }},
		{"expired", "bo", "statement_expired", func(s *gov.Statement) { s.Expires = h.clock.Now().Add(-time.Second) }},
	} {
		if err := unblock(tc.who, tc.change); gov.CodeOf(err) != tc.code {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.code)
		}
	}
	if _, still := w.target().Blocked[digest("new")]; !still {
		t.Fatal("somebody who may not has lifted the block")
	}
	if err := unblock("bo", nil); err != nil {
		t.Fatal(err)
	}
	if err := retry(); err != nil {
		t.Fatal(err)
	}
	if st = w.turn(); st.Run == nil || st.Run.Attempt != 2 || w.weight != 5 {
		t.Fatal(engine.Summary(st))
	}
	// The final approval of attempt 1 would not count for attempt 2.
	w.measure(6, 1)
	a := h.mustSign("bo", gov.Statement{Decision: gov.DecideApprove, Stage: "final", Change: v.Change, Role: "owner", Revision: v.Revision, Outcome: bound})
	if requirement(a.Verdict, "final/owner").State.Done() {
		t.Error(words(a.Verdict))
	}
}

func TestWhatTakesARolloutBack(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, ended string
		disturb     func(h *house, w *world, v gov.Verdict)
	}{
		{"new revision", "rolled_back/revision", func(h *house, _ *world, _ gov.Verdict) {
			h.propose("CHANGE-1", "high", map[string]string{"app/main.txt": "three\n"})
		}},
		{"new revision outside the target", "rolled_back/revision", func(h *house, _ *world, _ gov.Verdict) {
			h.propose("CHANGE-1", "high", map[string]string{"b.txt": "three\n"})
		}},
		{"reject", "rolled_back/rejected", func(h *house, _ *world, v gov.Verdict) {
			h.mustSign("cy", gov.Statement{Decision: gov.DecideReject, Stage: "review", Change: v.Change, Role: "security_lead", Revision: v.Revision})
		}},
		{"revoke", "rolled_back/rejected", func(h *house, _ *world, v gov.Verdict) {
			for _, s := range h.status("CHANGE-1").Statements {
				if s.Signer == "cy" {
					h.mustSign("cy", gov.Statement{Decision: gov.DecideRevoke, Change: v.Change, Subject: s.Digest})
				}
			}
		}},
		{"withdrawn", "aborted/abort", func(h *house, _ *world, _ gov.Verdict) {
			if _, err := h.e.Withdraw(h.ctx, gov.Principal{Handle: "ana"}, "CHANGE-1"); err != nil {
				h.t.Fatal(err)
			}
		}},
		{"signed abort under a clock that jumped", "aborted/abort", func(h *house, _ *world, v gov.Verdict) {
			h.clock.wall = h.clock.wall.Add(time.Hour)
			h.mustSign("ed", gov.Statement{Decision: gov.DecideAbort, Target: "prod", Change: v.Change, Revision: v.Revision})
		}},
		{"bad windows under a clock that jumped", "rolled_back/verdict", func(h *house, w *world, _ gov.Verdict) {
			h.clock.wall = h.clock.wall.Add(-time.Hour)
			w.measure(2, 300)
		}},
		{"no final approval in time", "rolled_back/timeout", func(h *house, w *world, _ gov.Verdict) {
			w.measure(6, 1)
			h.clock.advance(24*time.Hour - time.Second)
			w.measure(1, 1)
			if w.target().Run == nil || w.target().Run.Phase != canary.Final {
				h.t.Fatal("too early")
			}
			h.clock.advance(time.Second)
		}},
		{"no final approval in time, across a restart", "rolled_back/timeout", func(h *house, w *world, _ gov.Verdict) {
			w.measure(6, 1)
			h.clock.advance(24 * time.Hour)
			h.e.Close()
			h.open()
			w.restart()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h, w, v := newRollout(t)
			if st := w.turn(); w.weight != 5 {
				t.Fatal(engine.Summary(st))
			}
			tc.disturb(h, w, v)
			st := w.turn()
			if st.Run != nil || w.weight != 0 || ended(st, "CHANGE-1") != tc.ended || w.slots["prod/candidate"] != "" || w.slots["prod/stable"] != digest("old") {
				t.Fatalf("%s; ended %v; weight %d; slots %v", engine.Summary(st), st.Ended, w.weight, w.slots)
			}
			if _, blocked := st.Blocked[digest("new")]; blocked != (tc.ended == "rolled_back/verdict") {
				t.Errorf("blocked: %t", blocked)
			}
		})
	}
}

func TestQueueAndLocks(t *testing.T) {
	t.Parallel()
	h, w, v := newRollout(t)
	w.turn()
	h.canaryReady("CHANGE-2", "newer", map[string]string{"app/other.txt": "two\n"})
	st := w.turn()
	if len(st.Queue) != 1 || st.Queue[0].Change != "CHANGE-2" || st.Run.Change != "CHANGE-1" {
		t.Fatalf("%s; queue %+v", engine.Summary(st), st.Queue)
	}
	// A change with nothing but an approval to wait for is held by the lock.
	a := h.propose("CHANGE-3", "low", map[string]string{"app/third.txt": "new\n"})
	h.approve("bo", a.Verdict, "review", "owner")
	h.validate(a.Verdict)
	g := h.push("change-3")
	if g.Passes() || requirement(g.Changes[0].Verdict, "merge/lock/prod").State != gov.Waiting {
		t.Fatalf("the paths are not locked: %s", explain(g))
	}
	h.ready("CHANGE-4", map[string]string{"b.txt": "two\n"})
	if g := h.push("change-4"); !g.Allowed {
		t.Fatalf("a change elsewhere is held too: %s", explain(g))
	}
	w.measure(6, 1)
	h.approve("bo", v, "final", "owner")
	h.approve("cy", v, "final", "security_lead")
	h.git("checkout", "-q", "change-1")
	h.git("rebase", "-q", "main")
	v = h.sync("CHANGE-1").Verdict
	h.validate(v)
	h.evidence(v, gov.Evidence{Kind: "security_scan", Passed: 1})
	if g := h.push("change-1"); !g.Allowed {
		t.Fatal(explain(g))
	}
	st = w.turn()
	// CHANGE-2 was built without CHANGE-1, which is stable now: it would take it back.
	if st.Run != nil || len(st.Queue) != 0 || st.Stable.Artifact.Digest != digest("new") {
		t.Fatalf("%s; queue %+v", engine.Summary(st), st.Queue)
	}
	h.git("checkout", "-q", "change-3")
	h.git("rebase", "-q", "main")
	if v := h.sync("CHANGE-3").Verdict; requirement(v, "merge/lock/prod").ID != "" {
		t.Errorf("still locked: %s", words(v))
	}
	// Rebased and built again, it may.
	h.git("checkout", "-q", "change-2")
	h.git("rebase", "-q", "main")
	h.built(h.sync("CHANGE-2").Verdict, "newest")
	if st = w.turn(); st.Run == nil || st.Run.Change != "CHANGE-2" || w.weight != 5 {
		t.Fatalf("%s; ended %+v", engine.Summary(st), st.Ended)
	}
}

// TestSupervisorsThatDie runs the whole path with a new supervisor at every
// step, and with effects that fail before and after they took place.
func TestSupervisorsThatDie(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"crash", "fail before", "fail after"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h, w, v := newRollout(t)
			w.fresh = true
			if mode != "crash" {
				seen := map[string]int{}
				w.fail = func(what string, after bool) error {
					if after != (mode == "fail after") {
						return nil
					}
					if seen[what]++; seen[what]%3 == 1 && seen[what] < 6 {
						return errPlanted
					}
					return nil
				}
			}
			settle := func(want func(canary.State) bool) canary.State {
				for range 20 {
					st := w.turn()
					if want(st) {
						return st
					}
					h.clock.advance(31 * time.Second) // until the next try
				}
				evs, _ := h.e.History(h.ctx, gov.StreamTarget("prod"))
				for _, ev := range evs {
					t.Logf("%s %.200s", ev.Type, ev.Data)
				}
				t.Fatalf("it never got there: %s %v", engine.Summary(w.target()), w.target().Ended)
				return canary.State{}
			}
			settle(func(st canary.State) bool { return st.Run != nil && st.Run.Phase == canary.Watching })
			w.measure(6, 1)
			settle(func(st canary.State) bool { return st.Run.Phase == canary.Final })
			h.approve("bo", v, "final", "owner")
			h.approve("cy", v, "final", "security_lead")
			if g := h.push("change-1"); !g.Allowed {
				t.Fatal(explain(g))
			}
			settle(func(st canary.State) bool { return st.Run == nil })
			if d := cmp.Diff([]int{5, 100, 0}, w.sets); d != "" {
				t.Errorf("weights: %s", d)
			}
			if mode == "crash" && w.deploys != 1 {
				t.Errorf("deployed %d times", w.deploys)
			}
		})
	}
}

func TestHeldIsPromotedByWhoMay(t *testing.T) {
	t.Parallel()
	h, w, v := newRollout(t)
	w.turn()
	st := w.measure(12, 7) // between the promotion criterion 0.5 % and the threshold 1 %
	if st.Run == nil || st.Run.Phase != canary.Held || len(w.pages) == 0 {
		t.Fatalf("%s %v", engine.Summary(st), w.pages)
	}
	promote := func(who, role string, change func(*gov.Statement)) error {
		s := gov.Statement{Decision: gov.DecidePromote, Stage: "monitor", Change: v.Change, Target: "prod", Role: role, Revision: v.Revision, Risk: v.Risk, Outcome: w.target().Outcome()}
		if change != nil {
			change(&s)
		}
		_, err := h.sign(who, s)
		return err
	}
	for _, tc := range []struct {
		name, who, role, code string
		change                func(*gov.Statement)
	}{
		{"author", "ana", "owner", "role_not_held", nil},
		{"no role", "ed", "", "role_not_held", nil},
		{"a role that is not asked", "di", "architecture_lead", "role_not_wanted", nil},
		{"service", "ci", "owner", "statement_not_human", nil},
		{"agent", "bot", "owner", "statement_not_human", nil},
		{"other revision", "bo", "owner", "other_revision", func(s *gov.Statement) { s.Revision.Change = digest("x") }},
		{"other attempt", "bo", "owner", "other_outcome", func(s *gov.Statement) { s.Outcome.Attempt++ }},
		{"no outcome", "bo", "owner", "other_outcome", func(s *gov.Statement) { s.Outcome = nil }},
		{"lower risk", "bo", "owner", "lower_risk", func(s *gov.Statement) { s.Risk = gov.RiskLow }},
		{"other change", "bo", "owner", "other_revision", func(s *gov.Statement) { s.Change = "CHANGE-9" }},
	} {
		if err := promote(tc.who, tc.role, tc.change); gov.CodeOf(err) != tc.code {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.code)
		}
	}
	if st := w.turn(); st.Run.Phase != canary.Held || w.weight != 5 {
		t.Fatalf("somebody who may not has promoted: %s", engine.Summary(st))
	}
	if err := promote("bo", "owner", nil); err != nil {
		t.Fatal(err)
	}
	if st = w.turn(); w.weight != 100 || st.Run.Latched.Signer != "bo" {
		t.Fatal(engine.Summary(st))
	}
}

func TestPromotionDemandsPresenceWhereApprovalDoes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, targetPolicy, app)
	w := newWorld(h)
	w.turn()
	v := h.canaryReady("CHANGE-1", "new", map[string]string{"app/main.txt": "two\n"})
	w.turn()
	w.measure(12, 7)
	// The policy in force is the one on the branch: it demands a touch from now on.
	h.git("checkout", "-q", "-B", "main-next", "main")
	next := h.commit("presence", map[string]string{"governance.yaml": strings.Replace(targetPolicy, "presence: []", "presence: [high, critical]", 1)})
	h.git("update-ref", "refs/heads/main", next)
	_, err := h.sign("bo", gov.Statement{Decision: gov.DecidePromote, Change: v.Change, Target: "prod", Role: "owner", Revision: v.Revision, Outcome: w.target().Outcome()})
	if gov.CodeOf(err) != "no_presence" {
		t.Fatal(err)
	}
}

func TestCriticalGoesThroughStaging(t *testing.T) {
	t.Parallel()
	h := newHouse(t, targetPolicy, app)
	w := newWorld(h)
	w.turn()
	v := h.propose("CHANGE-1", "critical", map[string]string{"app/main.txt": "two\n"}).Verdict
	h.approve("bo", v, "review", "owner")
	h.approve("cy", v, "review", "security_lead")
	h.approve("di", v, "review", "architecture_lead")
	h.evidence(v, gov.Evidence{Kind: "architecture_review", Passed: 1})
	h.mustSign("di", gov.Statement{Decision: gov.DecideAttest, Stage: "architecture_review", Change: v.Change, Role: "architecture_lead", Revision: v.Revision})
	h.built(v, "new")
	st := w.turn()
	if st.Run == nil || st.Run.Phase != canary.Waiting || w.slots["staging/stable"] != digest("new") || w.weight != 0 {
		t.Fatalf("%s %v", engine.Summary(st), w.slots)
	}
	integrate := func(passed, failed int) {
		e := gov.Evidence{Kind: "integration", Passed: passed, Failed: failed, Tool: "it", Report: digest("r")}
		h.mustSign("ci", gov.Statement{Decision: gov.DecideEvidence, Stage: "integration", Change: v.Change, Revision: v.Revision, Evidence: &e})
	}
	integrate(7, 0)
	if st = w.turn(); w.weight != 1 {
		t.Fatal(engine.Summary(st))
	}
	for _, weight := range []int{5, 25, 100} {
		if w.measure(144, 1); w.weight != weight {
			t.Fatalf("weight %d, want %d: %s", w.weight, weight, engine.Summary(w.target()))
		}
	}
	w.measure(6, 1)
	for who, role := range map[string]string{"bo": "owner", "cy": "security_lead", "di": "architecture_lead"} {
		h.approve(who, v, "final", role)
	}
	if g := h.push("change-1"); !g.Allowed {
		t.Fatal(explain(g))
	}
	if st = w.turn(); st.Run != nil || st.Stable.Artifact.Digest != digest("new") {
		t.Fatal(engine.Summary(st))
	}
	if !slices.Equal(w.sets, []int{1, 5, 25, 100, 0}) {
		t.Error(w.sets)
	}
}

func TestMergedPastItsCanaryIsRemembered(t *testing.T) {
	t.Parallel()
	h, w, _ := newRollout(t)
	w.turn()
	h.bypass(h.git("rev-parse", "main"), h.git("rev-parse", "change-1"))
	st := w.turn()
	if st.Run == nil || !st.Run.Merged {
		t.Fatalf("the target does not know: %s", engine.Summary(st))
	}
	if st := h.status("CHANGE-1"); !st.Merged.Bypassed || len(st.Reviews) == 0 {
		t.Errorf("%+v", st)
	}
}

// quarantined hides one commit, as git does while a push is being received.
type quarantined struct {
	engine.Repo
	hidden string
	asked  int
}

func (q *quarantined) see(commit string) error {
	if q.hidden == "" || commit != q.hidden {
		return nil
	}
	q.asked++
	return gov.Errorf(gov.KindNotFound, "commit_not_found", "there is no commit %s", commit)
}

func (q *quarantined) Resolve(ctx context.Context, ref string) (string, error) {
	if err := q.see(ref); err != nil {
		return "", err
	}
	return q.Repo.Resolve(ctx, ref)
}

func (q *quarantined) Revision(ctx context.Context, target, head string, id gov.ChangeID) (gov.Revision, []gov.PathChange, error) {
	if err := q.see(head); err != nil {
		return gov.Revision{}, nil, err
	}
	return q.Repo.Revision(ctx, target, head, id)
}

func (q *quarantined) ReadFile(ctx context.Context, commit, path string) ([]byte, error) {
	if err := q.see(commit); err != nil {
		return nil, err
	}
	return q.Repo.ReadFile(ctx, commit, path)
}

// TestObjectsInQuarantine: a supervisor that looks while the pushed objects are
// hidden starts the rollout once they are not, although the log stands still.
func TestObjectsInQuarantine(t *testing.T) {
	t.Parallel()
	h, w, _ := newRollout(t)
	h.e.Close()
	q := &quarantined{Repo: h.repo, hidden: h.git("rev-parse", "change-1")}
	h.cfg.Repo = q
	h.open()
	w.restart()
	size := h.e.Reader().Size()
	if err := w.sup.StartDue(h.ctx); err != nil {
		t.Fatal(err)
	}
	if q.asked == 0 || h.e.Reader().Size() != size || w.target().Run != nil {
		t.Fatalf("the test hides nothing: asked %d times, %s", q.asked, engine.Summary(w.target()))
	}
	first := q.asked
	if err := w.sup.StartDue(h.ctx); err != nil || q.asked == first {
		t.Fatalf("not tried at the next tick: %v", err)
	}
	second := q.asked
	if err := w.sup.StartDue(h.ctx); err != nil || q.asked != second {
		t.Fatalf("no pause after two failures: %v", err)
	}
	q.hidden = ""
	h.clock.advance(time.Minute)
	if err := w.sup.StartDue(h.ctx); err != nil || w.target().Run == nil {
		t.Fatalf("not started after the objects came: %v, %s", err, engine.Summary(w.target()))
	}
}
