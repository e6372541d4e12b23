package engine_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

// model is the oracle: who said what about which content, and when, in plain
// words of the specification. A low-risk change may be merged when an owner who
// is no author has approved this very content and not taken it back, nobody
// who owns it rejects it, and the service reports passed tests and coverage of
// at least 80 % for this very tree. No contract is touched here.
type model struct {
	content   string          // of a.txt now
	approvals map[string]bool // content → bo's approval stands
	rejects   map[string]bool // content → bo's reject stands
	passed    map[string]map[string]bool
}

func (m *model) may() bool {
	p := m.passed[m.content]
	return m.approvals[m.content] && !m.rejects[m.content] && p["tests"] && p["coverage"]
}

// TestMayItMerge walks the engine at random and asks the oracle after each step.
func TestMayItMerge(t *testing.T) {
	t.Parallel()
	walks, steps := 2, 14
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		walks, steps = 60, 40
	}
	for n := range walks {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, testPolicy, one)
			m := &model{content: "v1", approvals: map[string]bool{}, rejects: map[string]bool{}, passed: map[string]map[string]bool{}}
			a := h.propose("CHANGE-1", "low", map[string]string{"a.txt": "v1"})
			seed := int(time.Now().UnixNano()%1_000_000) + n
			t.Logf("seed %d", seed)
			walk := rapid.Custom(func(rt *rapid.T) []int {
				return rapid.SliceOfN(rapid.IntRange(0, 11), steps, steps).Draw(rt, "steps")
			}).Example(seed)
			for i, step := range walk {
				a = h.walk(m, a, step)
				if got := a.Verdict.Answer == gov.Allowed; got != m.may() {
					t.Fatalf("after step %d of %v: the engine says %t, the specification %t\n%s", i, walk, got, m.may(), words(a.Verdict))
				}
			}
			if g := h.push("change-1"); g.Passes() != m.may() {
				t.Fatalf("the gate says %s; the specification %t", explain(g), m.may())
			}
		})
	}
}

func (h *house) walk(m *model, a engine.ChangeAnswer, step int) engine.ChangeAnswer {
	h.t.Helper()
	v, cover := a.Verdict, 0.8
	if m.passed[m.content] == nil {
		m.passed[m.content] = map[string]bool{}
	}
	p := m.passed[m.content]
	switch step {
	case 0: // other content, or content seen before: what was said about it counts again
		m.content = map[string]string{"v1": "v2", "v2": "v3", "v3": "v1"}[m.content]
		return h.propose("CHANGE-1", "low", map[string]string{"a.txt": m.content})
	case 1, 2:
		m.approvals[m.content] = true
		return h.approve("bo", v, "review", "owner")
	case 3:
		h.approve("ana", v, "review", "owner")
		return h.approve("ci", v, "review", "owner")
	case 4:
		m.rejects[m.content] = true
		return h.mustSign("bo", gov.Statement{Decision: gov.DecideReject, Stage: "review", Change: "CHANGE-1", Role: "owner", Revision: v.Revision})
	case 5: // bo takes back all he said about this content
		for _, s := range h.status("CHANGE-1").Statements {
			about := s.Revision.Change == v.Revision.Change && s.Signer == "bo"
			if about && slices.Contains([]gov.Decision{gov.DecideApprove, gov.DecideReject}, s.Decision) {
				h.mustSign("bo", gov.Statement{Decision: gov.DecideRevoke, Change: "CHANGE-1", Subject: s.Digest})
			}
		}
		m.approvals[m.content], m.rejects[m.content] = false, false
		return h.sync("CHANGE-1")
	case 6, 7:
		p["tests"] = true
		return h.evidence(v, gov.Evidence{Kind: "tests", Passed: 1, Results: []gov.Result{{ID: "pkg/TestA", Status: "passed"}}})
	case 8:
		low := 0.79 // and the newest report is the one that stands
		p["coverage"] = false
		return h.evidence(v, gov.Evidence{Kind: "coverage", Coverage: &low})
	case 9:
		p["coverage"] = true
		return h.evidence(v, gov.Evidence{Kind: "coverage", Coverage: &cover})
	case 10:
		h.clock.advance(7 * time.Minute)
		return h.sync("CHANGE-1")
	default:
		h.reopen()
		return h.sync("CHANGE-1")
	}
}
