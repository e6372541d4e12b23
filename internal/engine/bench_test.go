package engine_test

import (
	"fmt"
	"testing"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

// thousand puts 1,000 changes into the log: half of them merged, with the
// statements of a real one each.
func (h *house) thousand(n int) {
	h.t.Helper()
	st := h.status("CHANGE-1")
	proposed := change.Proposed{
		Author: "ana", Owner: "bo", Proposer: "ana", Authors: []string{"ana"}, Declared: gov.RiskLow, Revision: st.Revision, Metadata: digest("m"), Branch: "main", At: h.clock.Now(),
	}
	for i := 2; i <= n; i++ {
		id := gov.NewChangeID(i)
		stream := gov.StreamChange(id)
		if _, err := h.e.Do(h.ctx, "", "test.fill", func(ctx ctx, x engine.Tx) error {
			p := proposed
			p.Change, p.Revision.Change = id, digest(fmt.Sprint(i))
			evs := []gov.Event{gov.NewEvent(stream, change.EventProposed, p)}
			for _, s := range st.Statements {
				s.Digest, s.Change = digest(fmt.Sprint(i, s.Digest)), id
				evs = append(evs, gov.NewEvent(stream, change.EventRecorded, s))
			}
			if i%2 == 0 {
				evs = append(evs, gov.NewEvent(stream, change.EventMerged, change.Merged{Revision: p.Revision, Commit: st.Revision.Commit, Ref: "refs/heads/main", Bypassed: true, At: h.clock.Now()}),
					gov.NewEvent(stream, change.EventReviewDue, change.ReviewDue{Subject: p.Revision.Change, Reason: change.ReviewBypass, Due: h.clock.Now().Add(1 << 40), At: h.clock.Now()}))
			}
			return x.Emit(ctx, evs...)
		}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// BenchmarkGate1000 asks the gate with 1,000 changes in the log: the engine
// stays open (warm), or is opened for each question as a hook does (open).
func BenchmarkGate1000(b *testing.B) {
	h := newHouse(b, testPolicy, one)
	h.tampered = true // no replay of 1,000 changes at the end
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	h.thousand(1000)
	req := engine.GateRequest{Ref: "refs/heads/main", Old: h.git("rev-parse", "main"), New: h.git("rev-parse", "change-1"), Record: true}
	gate := func(b *testing.B, e *engine.Engine) {
		if g, err := e.Gate(h.ctx, req); err != nil || !g.Allowed {
			b.Fatal(err, explain(g))
		}
	}
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			gate(b, h.e)
		}
	})
	h.e.Close()
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			e, err := engine.Open(h.ctx, h.cfg)
			if err != nil {
				b.Fatal(err)
			}
			gate(b, e)
			e.Close()
		}
	})
}
