package engine_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/view"
)

type ctx = context.Context

func bump(stream gov.Stream, seen *[]string) func(ctx, engine.Tx) error {
	return func(ctx ctx, x engine.Tx) error {
		state, err := x.Load(ctx, stream)
		if err != nil {
			return err
		}
		if seen != nil {
			*seen = append(*seen, string(state))
		}
		return x.Emit(ctx, gov.NewEvent(stream, "policy.adopted", engine.Adopted{Commit: string(rune('a' + len(state)%20))}))
	}
}

// TestMovedStreamIsDecidedAgain: another engine records between reading and
// appending.
func TestMovedStreamIsDecidedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	mine := h.e
	var seen []string
	interfered := false
	r, err := mine.Do(h.ctx, "", "test.bump", func(ctx ctx, x engine.Tx) error {
		err := bump(gov.StreamPolicy, &seen)(ctx, x)
		if !interfered {
			interfered = true
			other, err := engine.Open(ctx, h.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if _, err := other.Do(ctx, "", "test.other", bump(gov.StreamPolicy, nil)); err != nil {
				t.Fatal(err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] == seen[1] {
		t.Fatalf("decided %d times on %q", len(seen), seen)
	}
	if r.Index != 2 || r.Duplicate {
		t.Errorf("%+v", r)
	}
	h.check()
	// A stream that was only read counts too.
	interfered = false
	tries := 0
	if _, err := mine.Do(h.ctx, "", "test.read", func(ctx ctx, x engine.Tx) error {
		tries++
		if _, err := x.Load(ctx, gov.StreamPeople); err != nil {
			return err
		}
		if !interfered {
			interfered = true
			if _, err := mine.Do(ctx, "", "test.other", bump(gov.StreamPeople, nil)); err != nil {
				t.Fatal(err)
			}
		}
		return bump("test/x", nil)(ctx, x)
	}); err != nil || tries != 2 {
		t.Errorf("decided %d times: %v", tries, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	a := h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"})
	var wg sync.WaitGroup
	for _, who := range []string{"ana", "bo", "cy", "di", "ed", "fay"} {
		env := h.envelope(who, gov.Statement{Decision: gov.DecideApprove, Stage: "review", Change: "CHANGE-1", Role: "owner", Revision: a.Verdict.Revision})
		wg.Go(func() {
			if _, _, err := h.e.TakeStatement(h.ctx, gov.Principal{Handle: who}, env); err != nil {
				t.Errorf("%s: %v", who, err)
			}
		})
	}
	wg.Wait()
	st := h.status("CHANGE-1")
	if len(st.Statements) != 7 {
		t.Fatalf("%d statements", len(st.Statements))
	}
	for _, s := range st.Statements[1:] { // after the proposal
		rec, err := h.e.Record(s.Index)
		if err != nil {
			t.Fatal(err)
		}
		if rec.ID != "statement/"+s.Digest.Hex() {
			t.Errorf("%s says it is in record %d, which is %s", s.Signer, s.Index, rec.ID)
		}
	}
}

func TestRetryGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.as("ana")
	h.git("checkout", "-q", "-B", "change-1", "main")
	h.commit("x", map[string]string{"a.txt": "two\n", "changes/CHANGE-1/change_metadata.json": metadata("CHANGE-1", "ana", "low")})
	h.proposal("ana", "CHANGE-1")
	req := engine.SyncRequest{CommandID: "first", Actor: gov.Principal{Handle: "ana"}, ID: "CHANGE-1", Head: "change-1"}
	first, err := h.e.Sync(h.ctx, req)
	if err != nil || !first.Receipt.Recorded || first.Receipt.Duplicate {
		t.Fatal(err, first.Receipt)
	}
	// Nothing new, nothing recorded.
	req2 := req
	req2.CommandID = ""
	if a, err := h.e.Sync(h.ctx, req2); err != nil || a.Receipt.Recorded {
		t.Fatal(err, a.Receipt)
	}
	a := h.approve("bo", first.Verdict, "review", "owner")
	h.validate(a.Verdict)
	h.reopen()
	again, err := h.e.Sync(h.ctx, req)
	if err != nil || !again.Receipt.Duplicate || again.Receipt.Index != first.Receipt.Index {
		t.Fatal(err, again.Receipt)
	}
	if d := cmp.Diff(first.Verdict, again.Verdict); d != "" {
		t.Errorf("another answer: %s", d)
	}
	g := engine.GateRequest{CommandID: "gate", Ref: "refs/heads/main", Old: h.git("rev-parse", "main"), New: h.git("rev-parse", "change-1"), Record: true}
	yes, err := h.e.Gate(h.ctx, g)
	if err != nil || !yes.Allowed {
		t.Fatal(err, explain(yes))
	}
	h.mustSign("bo", gov.Statement{Decision: gov.DecideReject, Stage: "review", Change: "CHANGE-1", Role: "owner", Revision: first.Verdict.Revision})
	got, err := h.e.Gate(h.ctx, g)
	if err != nil || !got.Allowed || !got.Receipt.Duplicate {
		t.Errorf("the record says allowed, the answer %v %s", err, explain(got))
	}
	g.CommandID = "gate-2"
	if got, err = h.e.Gate(h.ctx, g); err != nil || got.Allowed {
		t.Errorf("a new question gets a new answer: %v %s", err, explain(got))
	}
	req.CommandID = "gate"
	if _, err := h.e.Sync(h.ctx, req); gov.CodeOf(err) != "command_id_used" {
		t.Errorf("the id of another command: %v", err)
	}
}

func TestLargeFactsGoIntoBlobs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	v := h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"}).Verdict
	results := []gov.Result{{ID: "pkg/TestA", Status: "passed"}}
	for range 520 {
		results = append(results, gov.Result{ID: "pkg/" + strings.Repeat("x", 30) + string(rune('a'+len(results)%26)) + string(rune('a'+len(results)/26%26)), Status: "passed"})
	}
	h.evidence(v, gov.Evidence{Kind: "tests", Passed: len(results), Results: results})
	rec, err := h.e.Record(h.e.Reader().Size() - 1)
	if err != nil {
		t.Fatal(err)
	}
	inline, blobs := 0, []gov.Digest{}
	for _, d := range rec.Decided {
		inline += len(d.Facts) + len(d.Answer)
		if d.Blob != "" {
			blobs = append(blobs, d.Blob)
		}
	}
	if len(blobs) == 0 || inline > 40<<10 {
		t.Fatalf("%d bytes inline, %d blobs", inline, len(blobs))
	}
	h.checkNow()
	path := filepath.Join(h.cfg.Dir, "blobs", blobs[0].Hex()+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h.tampered = true
	if err := os.WriteFile(path, bytes.Replace(b, []byte("passed"), []byte("failed"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if rep, err := h.e.VerifyDecisions(h.ctx); err != nil || rep.OK() {
		t.Errorf("an altered blob goes unseen: %+v, %v", rep, err)
	}
	os.Remove(path)
	if rep, err := h.e.VerifyDecisions(h.ctx); err != nil || !rep.OK() || rep.Erased != 1 {
		t.Errorf("an erased blob is not said so: %+v, %v", rep, err)
	}
}

func TestErasedStatements(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	s := h.status("CHANGE-1").Statements[0]
	if _, err := h.e.Statement(s.Digest); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.cfg.Dir, "statements", s.Digest.Hex()+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, ' '), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.e.Statement(s.Digest); gov.CodeOf(err) != "blob_altered" {
		t.Errorf("altered: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(h.cfg.Dir, "statements")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.e.Statement(s.Digest); gov.CodeOf(err) != "blob_erased" {
		t.Errorf("erased: %v", err)
	}
	h.checkNow()
	m, err := h.e.Metadata(h.ctx, "CHANGE-1")
	if err != nil || len(m.Approvals) != 1 || m.Approvals[0].Rationale != "(erased)" {
		t.Errorf("%v %+v", err, m.Approvals)
	}
	if g := h.push("change-1"); !g.Allowed {
		t.Errorf("the text is gone, the approval stands: %s", explain(g))
	}
}

// TestAcceptedButViewBehind: the record is durable; a view that cannot follow is
// said, and is no error.
func TestAcceptedButViewBehind(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	r, err := h.e.Do(h.ctx, "x", "test.x", func(ctx ctx, x engine.Tx) error {
		if err := bump("test/x", nil)(ctx, x); err != nil {
			return err
		}
		return h.e.View().Close()
	})
	if err != nil || !r.Behind || !r.Recorded {
		t.Fatalf("%+v, %v", r, err)
	}
	h.reopen()
	if _, version, err := h.e.View().State(h.ctx, "test/x"); version != 1 || err != nil {
		t.Errorf("version %d, %v", version, err)
	}
	h.checkNow()
}

func TestViewsAreRebuiltFromAnything(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	path := view.Path(h.cfg.Dir)
	for name, damage := range map[string]func(){
		"deleted": func() { view.Remove(path) },
		"noise":   func() { view.Remove(path); os.WriteFile(path, bytes.Repeat([]byte("noise "), 4000), 0o600) },
		"a directory": func() {
			view.Remove(path)
			os.Mkdir(path, 0o700)
		},
	} {
		h.e.Close()
		damage()
		h.open()
		h.checkNow()
		if a, err := h.e.Look(h.ctx, "CHANGE-1"); err != nil || a.Verdict.Answer != gov.Allowed {
			t.Errorf("%s: %v %s", name, err, words(a.Verdict))
		}
		if err := h.e.RebuildViews(h.ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		os.Remove(path)
	}
}

// TestManyStatementsOnABranch: more than a line of the log holds.
func TestManyStatementsOnABranch(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	v := h.propose("CHANGE-1", "low", map[string]string{"a.txt": "two\n"}).Verdict
	files := map[string]string{}
	for n := range 5 {
		results := []gov.Result{{ID: "pkg/TestA", Status: "passed"}}
		for i := range 300 {
			results = append(results, gov.Result{ID: "pkg/" + strings.Repeat("y", 40) + string(rune('a'+i%26)) + string(rune('a'+i/26)) + string(rune('a'+n)), Status: "passed"})
		}
		path, env := h.seal("ci", gov.Statement{
			Decision: gov.DecideEvidence, Stage: "validate", Change: "CHANGE-1", Revision: v.Revision,
			Evidence: &gov.Evidence{Kind: "tests", Tool: "t", Report: digest("r"), Passed: len(results), Results: results},
		})
		files[path] = string(env)
	}
	h.git("checkout", "-q", "change-1")
	h.commit("reports", files)
	a := h.sync("CHANGE-1")
	if n := len(h.status("CHANGE-1").Statements); n != 6 || !requirement(a.Verdict, "validate/tests").State.Done() {
		t.Errorf("%d statements taken in: %s", n, words(a.Verdict))
	}
	h.checkNow()
}
