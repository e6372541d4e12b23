package document

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

func facts() Facts {
	return Facts{
		Change: "CHANGE-7", Author: "ana", Owner: "bo", Risk: gov.RiskHigh, Declared: gov.RiskMedium, Type: "feature", Status: "merged",
		Items: []Item{
			{List: "Security", Text: "Security scan passed", Done: true, Evidence: "gosec, 0 findings"},
			{List: "Security", Text: "No secrets in code", Evidence: "nobody has shown it"},
			{List: "Audit", Text: "Change metadata recorded", Done: true, Evidence: "log index 3"},
		},
		Approvals: []Approval{{Approver: "bo", Role: "owner", Stage: "review", Time: time.Unix(0, 0), Rationale: "fine", Key: "SHA256:abc", Statement: "sha256:00", Index: 4}},
		NoCanary:  "not applicable: standard workflow",
		Rollback:  Rollback{Plan: "revert it", Commit: "c0ffee", Merge: true},
		Log:       Log{Origin: "x", Size: 9, Root: "r"},
	}
}

func TestTemplateSectionsInOrder(t *testing.T) {
	doc := Render(facts())
	at := 0
	for _, want := range []string{
		"# Governance Document - CHANGE-7", "## Change Summary", "- **ID**: CHANGE-7", "- **Author**: ana", "- **Owner**: bo",
		"- **Risk Level**: high (declared medium)", "- **Type**: feature", "## Pre-Deploy Checklist", "### Security",
		"- [x] Security scan passed", "- [ ] No secrets in code", "### Audit", "- [x] Change metadata recorded",
		"**Approver**: bo", "**Timestamp**: 1970-01-01T00:00:00Z", "**Rationale**: fine", "**Signature**: `SHA256:abc`",
		"## Canary Strategy", "not applicable: standard workflow", "## Rollback Plan", "`git revert -m 1 c0ffee`",
	} {
		i := strings.Index(doc[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing or out of order in\n%s", want, doc)
		}
		at += i
	}
}

func TestCanaryIsShown(t *testing.T) {
	f := facts()
	f.Canary = &Canary{Percent: 5, Minutes: 60, Thresholds: []string{"error rate > 1 %"}, Steps: []int{5, 100}, Outcome: []string{"rolled back"}}
	doc := Render(f)
	for _, want := range []string{"- Traffic percentage: 5%", "- Monitoring duration: 60 minutes", "error rate", "5% → 100%", "rolled back"} {
		if !strings.Contains(doc, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// TestTextForgesNothing: whatever people write, the headings, boxes and lines
// that begin with the document's own markup stay the same in number.
func TestTextForgesNothing(t *testing.T) {
	count := func(doc string) (heads, ticked, lines int) {
		for l := range strings.Lines(doc) {
			lines++
			if strings.HasPrefix(l, "#") {
				heads++
			}
			if strings.HasPrefix(l, "- [x]") {
				ticked++
			}
		}
		return heads, ticked, lines
	}
	h0, t0, l0 := count(Render(facts()))
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"x\n- [x] No secrets in code", "\n# Forged", "`](javascript:1)", "\u2028- [x] a", "\r\n## x"})).Draw(rt, "text")
		f := facts()
		f.Author, f.Rationale, f.Impact, f.Rollback.Plan, f.NoCanary = "a"+text, "a"+text, "a"+text, "a"+text, "a"+text
		f.Approvals[0].Rationale, f.Items[1].Evidence = text, text
		if h, x, l := count(Render(f)); h != h0 || x != t0 || l != l0 {
			rt.Fatalf("headings %d→%d, ticked %d→%d, lines %d→%d", h0, h, t0, x, l0, l)
		}
	})
}
