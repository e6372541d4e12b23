package document

import (
	"fmt"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Facts is everything the document says.
type Facts struct {
	Change    gov.ChangeID
	Author    string
	Owner     string
	Risk      gov.Risk // as judged
	Declared  gov.Risk // as the metadata says
	Type      string
	Status    string // open, merged, reverted, withdrawn
	Rationale string
	Impact    string
	Revision  gov.Revision
	Policy    gov.Digest
	Verdict   gov.Verdict
	Items     []Item // of the three checklists, in order
	Approvals []Approval
	Canary    *Canary // nil: there is none
	NoCanary  string  // why there is none
	Rollback  Rollback
	Log       Log
}

// Item is one line of a checklist.
type Item struct {
	List     string // Security, Privacy, Audit
	Text     string
	Done     bool
	Evidence string // what ticks it; or why it is not ticked
}

// Approval is one counted statement.
type Approval struct {
	Approver  string
	Role      string
	Stage     string
	Time      time.Time
	Rationale string
	Key       string // fingerprint
	Presence  bool
	Statement gov.Digest
	Index     uint64
}

// Canary is the strategy, and what came of it.
type Canary struct {
	Percent    int
	Minutes    float64
	Thresholds []string // "error rate > 1 %"
	Criteria   []string
	Steps      []int
	Outcome    []string // one line each
}

// Rollback is how to take the change back.
type Rollback struct {
	Plan     string // of the metadata
	Commit   string // merged, or "" before the merge
	Merge    bool   // Commit is a merge commit
	Artifact gov.Digest
	Previous gov.Digest
	Target   string
}

// Log says where the proof is.
type Log struct {
	Origin string
	Size   uint64
	Root   string
}

// Items of the specification's template, per list.
var Items = []Item{
	{List: "Security", Text: "Security scan passed"},
	{List: "Security", Text: "No secrets in code"},
	{List: "Security", Text: "Dependencies updated"},
	{List: "Privacy", Text: "No PII in logs"},
	{List: "Privacy", Text: "Data retention followed"},
	{List: "Audit", Text: "Change metadata recorded"},
	{List: "Audit", Text: "Approval trail documented"},
}

// Render writes the document as Markdown.
func Render(f Facts) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Governance Document - %s\n", f.Change)
	summary(p, f)
	checklists(p, f)
	approvals(p, f)
	canary(p, f)
	rollback(p, f)
	p("## Proof\n")
	p("- **Change digest**: `%s`", f.Revision.Change)
	p("- **Policy digest**: `%s`", f.Policy)
	p("- **Log**: %s, %d records, root `%s`", inline(f.Log.Origin), f.Log.Size, f.Log.Root)
	p("- **Check it**: `govern verify log` and `govern verify decisions`")
	return b.String()
}

type printer func(format string, args ...any)

func summary(p printer, f Facts) {
	p("## Change Summary\n")
	p("- **ID**: %s", f.Change)
	p("- **Author**: %s", inline(f.Author))
	p("- **Owner**: %s", inline(f.Owner))
	level := string(f.Risk)
	if f.Declared != "" && f.Declared != f.Risk {
		level += " (declared " + string(f.Declared) + ")"
	}
	p("- **Risk Level**: %s", level)
	p("- **Type**: %s", orElse(f.Type, "not stated"))
	p("- **Status**: %s", inline(f.Status))
	p("- **Rationale**: %s", inline(f.Rationale))
	p("- **Impact**: %s\n", inline(f.Impact))
}

func checklists(p printer, f Facts) {
	p("## Pre-Deploy Checklist")
	list := ""
	for _, it := range f.Items {
		if it.List != list {
			list = it.List
			p("\n### %s\n", inline(list))
		}
		box := " "
		if it.Done {
			box = "x"
		}
		p("- [%s] %s (%s)", box, inline(it.Text), inline(it.Evidence))
	}
	p("")
}

func approvals(p printer, f Facts) {
	p("## Approvals\n")
	if len(f.Approvals) == 0 {
		p("No approval counts so far.\n")
	}
	for _, a := range f.Approvals {
		p("**Approver**: %s, as %s, stage %s  ", inline(a.Approver), inline(a.Role), inline(a.Stage))
		p("**Timestamp**: %s  ", a.Time.UTC().Format(time.RFC3339))
		p("**Rationale**: %s  ", inline(a.Rationale))
		touch := "plain key: proves the key, not a person's touch"
		if a.Presence {
			touch = "user presence proved"
		}
		p("**Signature**: `%s` (%s), statement `%s`, log index %d\n", a.Key, touch, a.Statement, a.Index)
	}
	for _, n := range f.Verdict.NotCounted {
		p("- Not counted: %s of %s: %s", n.Decision, inline(n.Signer), inline(n.Why))
	}
	if len(f.Verdict.NotCounted) > 0 {
		p("")
	}
}

func canary(p printer, f Facts) {
	p("## Canary Strategy\n")
	if f.Canary == nil {
		p("%s\n", inline(f.NoCanary))
		return
	}
	c := f.Canary
	p("- Traffic percentage: %d%%", c.Percent)
	p("- Monitoring duration: %s minutes", number(c.Minutes))
	p("- Rollback thresholds: %s", inline(strings.Join(c.Thresholds, ", ")))
	if len(c.Criteria) > 0 {
		p("- Promotion criteria: %s", inline(strings.Join(c.Criteria, ", ")))
	}
	if len(c.Steps) > 0 {
		steps := make([]string, len(c.Steps))
		for i, s := range c.Steps {
			steps[i] = fmt.Sprintf("%d%%", s)
		}
		p("- Steps: %s", strings.Join(steps, " → "))
	}
	for _, o := range c.Outcome {
		p("- Outcome: %s", inline(o))
	}
	p("")
}

func rollback(p printer, f Facts) {
	r := f.Rollback
	p("## Rollback Plan\n")
	switch {
	case r.Commit == "":
		p("1. Nothing to revert yet: the change is not merged")
	case r.Merge:
		p("1. Revert commit: `git revert -m 1 %s`", r.Commit)
	default:
		p("1. Revert commit: `git revert %s`", r.Commit)
	}
	switch {
	case r.Target == "":
		p("2. Re-deploy previous artifact: no target of the policy is touched")
	case r.Previous == "":
		p("2. Re-deploy previous artifact: `govern rollout abort %s -m WHY` while it rolls out", inline(r.Target))
	default:
		p("2. Re-deploy previous artifact: `%s` on %s, `govern change revert %s`", r.Previous, inline(r.Target), f.Change)
	}
	p("3. Verify system health: `govern status`")
	p("4. The author's own plan: %s\n", inline(orElse(r.Plan, "none")))
}

func orElse(s, otherwise string) string {
	if strings.TrimSpace(s) == "" {
		return otherwise
	}
	return s
}

func number(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".")
}

// inline makes text of people safe inside a line: one line, no markup, no
// control characters.
func inline(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		switch {
		case r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			b.WriteRune('\uFFFD')
		case strings.ContainsRune("\\`*_[]<>|#", r):
			b.WriteRune('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
