package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/document"
	"github.com/governhq/govern/internal/rule/evidence"
	"github.com/governhq/govern/internal/rule/policy"
)

// Document fills the governance document of a change from the log.
func (e *Engine) Document(ctx context.Context, id gov.ChangeID) (string, error) {
	c, st, err := e.open(ctx, id)
	if err != nil {
		return "", err
	}
	j, err := e.look(ctx, c, st)
	if err != nil {
		return "", err
	}
	r := e.Reader()
	f := document.Facts{
		Change: id, Author: st.Author, Owner: st.Owner, Risk: j.plan.Risk, Declared: st.Declared, Type: st.Type, Status: string(st.Status),
		Revision: st.Revision, Policy: j.plan.Policy, Verdict: j.verdict, Items: items(st, j), Approvals: e.approvals(st, j),
		Log: document.Log{Origin: e.identity.Origin, Size: r.Size(), Root: r.Root().String()},
	}
	if c.metadataErr == nil {
		f.Rationale, f.Impact, f.Rollback.Plan = c.metadata.Rationale, c.metadata.Impact, c.metadata.RollbackPlan
	}
	if f.Canary, f.NoCanary, err = e.documentCanary(ctx, st, c, j); err != nil {
		return "", err
	}
	if err := e.documentRollback(ctx, &f.Rollback, st, j); err != nil {
		return "", err
	}
	return document.Render(f), nil
}

// items ticks the template's boxes by what the verdict shows.
func items(st change.State, j *judgement) []document.Item {
	out := slices.Clone(document.Items)
	scan := "no security scan is part of this workflow"
	scanned := false
	for r := range j.verdict.Leaves {
		if r.ID == string(policy.StageValidate)+"/"+evidence.KindSecurityScan {
			scanned, scan = r.State == gov.Satisfied, orWhy(r)
		}
	}
	reviewed := stageDone(j.verdict, string(policy.StageReview))
	for i := range out {
		switch out[i].Text {
		case "Security scan passed":
			out[i].Done, out[i].Evidence = scanned, scan
		case "Change metadata recorded":
			out[i].Done, out[i].Evidence = st.Metadata != "", "metadata "+st.Metadata.Short()
		case "Approval trail documented":
			out[i].Done, out[i].Evidence = reviewed, fmt.Sprintf("%d signed statements in the log", len(st.Statements))
		default:
			out[i].Evidence = "nothing in the log shows it"
		}
	}
	return out
}

// orWhy names what ticks a box: who showed it, and the statements.
func orWhy(r gov.Requirement) string {
	if r.State != gov.Satisfied || len(r.Evidence) == 0 {
		if r.Why != "" {
			return r.Why
		}
		return string(r.State)
	}
	digests := make([]string, len(r.Evidence))
	for i, d := range r.Evidence {
		digests[i] = d.Short()
	}
	return "shown by " + strings.Join(r.By, ", ") + ", statement " + strings.Join(digests, ", ")
}

// approvals lists the statements that count, with keys and rationale.
func (e *Engine) approvals(st change.State, j *judgement) []document.Approval {
	var out []document.Approval
	for _, n := range j.approvals.Counted {
		i := slices.IndexFunc(st.Statements, func(r gov.Recorded) bool { return r.Digest == n.Statement })
		if i < 0 {
			continue
		}
		s := st.Statements[i]
		out = append(out, document.Approval{
			Approver: n.Signer, Role: n.Role, Stage: n.Stage, Time: n.Time, Rationale: e.rationale(n.Statement),
			Key: s.Key, Presence: s.Presence, Statement: s.Digest, Index: s.Index,
		})
	}
	return out
}

func (e *Engine) documentCanary(ctx context.Context, st change.State, c *content, j *judgement) (*document.Canary, string, error) {
	i := slices.IndexFunc(j.plan.Stages, func(s policy.StageWant) bool { return s.Stage == policy.StageCanary })
	if i < 0 {
		return nil, "not applicable: standard workflow", nil
	}
	s := j.plan.Stages[i]
	if s.NotApplicable != "" {
		return nil, "not applicable: " + s.NotApplicable, nil
	}
	strategy, err := strategyOf(c, s, monitoring(j.plan))
	if err != nil {
		return nil, "the strategy cannot be read: " + asError(err).Message, nil
	}
	t := strategy.RollbackThresholds
	out := &document.Canary{
		Percent: strategy.TrafficPercentage, Minutes: strategy.MonitoringMinutes,
		Thresholds: []string{
			fmt.Sprintf("error rate > %g", t.ErrorRate), fmt.Sprintf("p95 latency > %g ms", t.LatencyP95MS),
			fmt.Sprintf("throughput degradation > %g", t.ThroughputDegradation), fmt.Sprintf("model drift > %g", t.DriftScore), "any critical alert",
		},
	}
	for _, k := range slices.Sorted(maps.Keys(strategy.PromotionCriteria)) {
		out.Criteria = append(out.Criteria, fmt.Sprintf("%s %s", k, strategy.PromotionCriteria[k]))
	}
	for _, s := range j.plan.Stages {
		if s.Stage == policy.StageRollout {
			out.Steps = s.Steps
		}
	}
	out.Outcome, err = e.outcomes(ctx, st.ID, s.Targets)
	return out, "", err
}

// outcomes tells what the log says of every attempt.
func (e *Engine) outcomes(ctx context.Context, id gov.ChangeID, targets []string) ([]string, error) {
	var out []string
	for _, target := range targets {
		evs, err := e.History(ctx, gov.StreamTarget(target))
		if err != nil {
			return nil, err
		}
		mine := map[int]bool{}
		for _, ev := range evs {
			var d struct {
				Change  gov.ChangeID   `json:"change"`
				Attempt int            `json:"attempt"`
				Reason  string         `json:"reason"`
				Latched canary.Latched `json:"latched"`
			}
			if err := json.Unmarshal(ev.Data, &d); err != nil {
				return nil, err
			}
			switch {
			case ev.Type == canary.EvStarted && d.Change == id:
				mine[d.Attempt] = true
			case ev.Type == canary.EvLatched && d.Latched.Change == id:
				out = append(out, fmt.Sprintf("%s, attempt %d, step %s: %s: %s", target, d.Latched.Attempt, d.Latched.Step, d.Latched.Verdict.Verdict, d.Latched.Verdict.Reason))
			case mine[d.Attempt] && (ev.Type == canary.EvBack || ev.Type == canary.EvAborted):
				out = append(out, fmt.Sprintf("%s, attempt %d: taken back at %s: %s", target, d.Attempt, ev.Time.Format("2006-01-02 15:04:05Z"), d.Reason))
			case mine[d.Attempt] && ev.Type == canary.EvFinished:
				out = append(out, fmt.Sprintf("%s, attempt %d: finished at %s", target, d.Attempt, ev.Time.Format("2006-01-02 15:04:05Z")))
			}
		}
	}
	return out, nil
}

func (e *Engine) documentRollback(ctx context.Context, r *document.Rollback, st change.State, j *judgement) error {
	if st.Merged != nil {
		r.Commit = st.Merged.Commit
		var err error
		if r.Merge, err = e.cfg.Repo.IsMerge(ctx, st.Merged.Commit); err != nil {
			return err
		}
	}
	for _, tw := range j.plan.Targets {
		if tw.Environment != policy.Production {
			continue
		}
		t, err := e.Target(ctx, tw.Name)
		if err != nil {
			return err
		}
		r.Target = tw.Name
		if t.Stable != nil && t.Stable.Change == st.ID && t.Previous != nil {
			r.Previous = t.Previous.Artifact.Digest
		} else if t.Stable != nil && t.Stable.Change != st.ID {
			r.Previous = t.Stable.Artifact.Digest
		}
		return nil
	}
	return nil
}
