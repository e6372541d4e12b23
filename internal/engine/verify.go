package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/gowebpki/jcs"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/approval"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/evidence"
	"github.com/governhq/govern/internal/rule/policy"
)

// replayers runs a rule again on recorded facts.
var replayers = map[string]struct {
	version int
	replay  func(facts json.RawMessage) (json.RawMessage, error)
}{
	policy.Rule:   {policy.Version, policy.Replay},
	approval.Rule: {approval.Version, approval.Replay},
	evidence.Rule: {evidence.Version, evidence.Replay},
	change.Rule:   {change.Version, change.Replay},
	canary.Rule:   {canary.Version, canary.Replay},
}

// Replayed reports what VerifyDecisions found.
type Replayed struct {
	Records   int                `json:"records"`
	Decisions int                `json:"decisions"`
	Rules     map[string]int     `json:"rules"`
	Newer     []ReplayDifference `json:"newer,omitempty"`    // decided differently by newer rules: no tampering
	Failures  []ReplayDifference `json:"failures,omitempty"` // another answer by the same version, or unreadable
	Erased    int                `json:"erased,omitempty"`   // decisions whose facts stood in an erased blob
}

// ReplayDifference is one decision that does not come out as recorded.
type ReplayDifference struct {
	Index   uint64 `json:"index"`
	Rule    string `json:"rule"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// OK tells whether every decision that could be replayed came out as recorded.
func (r Replayed) OK() bool { return len(r.Failures) == 0 }

// VerifyDecisions runs every recorded decision again. It walks the log, not a
// view.
func (e *Engine) VerifyDecisions(ctx context.Context) (Replayed, error) {
	out := Replayed{Rules: map[string]int{}}
	r := e.Reader()
	for entry, err := range (source{r}).Records(ctx, 0, r.Size()) {
		if err != nil {
			return out, err
		}
		out.Records++
		for _, d := range entry.Record.Decided {
			out.Decisions++
			out.Rules[d.Rule]++
			e.replay(&out, entry.Index, d)
		}
	}
	return out, nil
}

func (e *Engine) replay(out *Replayed, index uint64, d gov.Decided) {
	fail := func(code, format string, args ...any) {
		out.Failures = append(out.Failures, ReplayDifference{Index: index, Rule: d.Rule, Code: code, Message: fmt.Sprintf(format, args...)})
	}
	facts, answer, err := e.inputs(d)
	if gov.CodeOf(err) == "blob_erased" {
		out.Erased++
		return
	}
	if err != nil {
		fail("facts_unreadable", "%v", err)
		return
	}
	rule, ok := replayers[d.Rule]
	if !ok {
		fail("rule_unknown", "no rule is called %q", d.Rule)
		return
	}
	got, err := rule.replay(facts)
	if err == nil {
		got, err = jcs.Transform(got)
	}
	if err == nil {
		answer, err = jcs.Transform(answer)
	}
	if err == nil && bytes.Equal(got, answer) {
		return
	}
	message := "the rule gives another answer than the one recorded"
	if err != nil {
		message = "the rule cannot decide on the recorded facts: " + err.Error()
	}
	if d.V < rule.version {
		out.Newer = append(out.Newer, ReplayDifference{Index: index, Rule: d.Rule, Code: "decided_differently", Message: fmt.Sprintf("version %d decides differently than version %d did", rule.version, d.V)})
		return
	}
	fail("decision_differs", "%s", message)
}

// verdicts are the verdicts over changes that a record holds, in order.
func (e *Engine) verdicts(rec gov.Record) ([]gov.Verdict, error) {
	var out []gov.Verdict
	for _, d := range rec.Decided {
		if d.Rule != change.Rule {
			continue
		}
		_, answer, err := e.inputs(d)
		if err != nil {
			return nil, err
		}
		var v gov.Verdict
		if err := json.Unmarshal(answer, &v); err != nil {
			return nil, gov.Errorf(gov.KindIntegrity, "answer_unreadable", "the recorded verdict cannot be read: %w", err).WithHint("govern verify decisions")
		}
		out = append(out, v)
	}
	return out, nil
}

func (e *Engine) inputs(d gov.Decided) (facts, answer json.RawMessage, err error) {
	if d.Blob == "" {
		return d.Facts, d.Answer, nil
	}
	b, err := e.blobs.get(d.Blob)
	if err != nil {
		return nil, nil, err
	}
	var v struct{ Facts, Answer json.RawMessage }
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, nil, err
	}
	return v.Facts, v.Answer, nil
}
