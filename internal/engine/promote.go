package engine

import (
	"context"
	"slices"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/approval"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

// targetCommands are what signed statements may do to a target.
var targetCommands = map[gov.Decision]canary.CommandType{
	gov.DecidePromote: canary.CmdPromote,
	gov.DecideUnblock: canary.CmdUnblock,
	gov.DecideAbort:   canary.CmdAbort,
}

// takeTargetStatement takes in a signed statement about a target: the promotion
// of what is held, an unblock, an abort. What moves forward needs a person who
// may approve the change there; what goes back only needs a person.
func (e *Engine) takeTargetStatement(ctx context.Context, actor gov.Principal, rec gov.Recorded, envelope []byte) error {
	typ, ok := targetCommands[rec.Decision]
	if !ok {
		return gov.Errorf(gov.KindInvalid, "statement_not_for_target", "a statement to %s is not about a target", rec.Decision)
	}
	if rec.SignerKind != gov.Human || !rec.Explained {
		return gov.Errorf(gov.KindDenied, "statement_not_human", "only a human may %s, with a reason, and %s is %s", rec.Decision, rec.Signer, rec.SignerKind)
	}
	var c *content
	if typ != canary.CmdAbort {
		id, err := e.aboutChange(ctx, rec)
		if err != nil {
			return err
		}
		if c, _, err = e.open(ctx, id); err != nil {
			return err
		}
	}
	if _, err := e.statements.put(envelope); err != nil {
		return err
	}
	_, _, err := e.do(ctx, request{ID: "statement/" + rec.Digest.Hex(), Actor: actor, Name: "rollout." + string(typ), TakingBack: typ == canary.CmdAbort},
		func(ctx context.Context, t *tx) error {
			rec.Time = t.now
			if c != nil {
				if err := e.eligible(ctx, t, c, rec); err != nil {
					return err
				}
			}
			_, err := t.command(ctx, rec.Target, canary.Command{Type: typ, Change: abortOf(typ, rec), Statement: &rec, By: rec.Signer, Reason: string(typ)})
			return err
		})
	return err
}

// abortOf names the change that an abort is about, if it says so.
func abortOf(typ canary.CommandType, rec gov.Recorded) gov.ChangeID {
	if typ == canary.CmdAbort {
		return rec.Change
	}
	return ""
}

// aboutChange finds the change that a statement about a target is about: the
// one it names, or the one that an artifact to unblock came from.
func (e *Engine) aboutChange(ctx context.Context, rec gov.Recorded) (gov.ChangeID, error) {
	st, err := e.Target(ctx, rec.Target)
	if err != nil {
		return "", err
	}
	if rec.Decision == gov.DecidePromote {
		if st.Run == nil {
			return "", gov.Errorf(gov.KindConflict, "no_rollout", "nothing is rolling out on %s", rec.Target).WithHint("govern rollout status")
		}
		return st.Run.Change, nil
	}
	for _, a := range rec.Artifacts {
		if b, ok := st.Blocked[a.Digest]; ok {
			return b.Change, nil
		}
	}
	return "", gov.Errorf(gov.KindConflict, "digest_not_blocked", "no artifact the statement names is blocked on %s", rec.Target).WithHint("govern rollout status")
}

// eligible refuses a statement that moves a target forward unless its signer
// could approve this change at its last stage of people: an owner of the touched
// paths or a role of that stage, no author nor one with an author, the presence
// that is demanded there, the revision it is about, and the latched verdict.
// Package approval is asked, so that the answer is recorded and can be replayed.
func (e *Engine) eligible(ctx context.Context, t *tx, c *content, rec gov.Recorded) error {
	target, err := t.target(ctx, rec.Target)
	if err != nil {
		return err
	}
	outcome, err := boundTo(target, rec)
	if err != nil {
		return err
	}
	st, err := t.change(ctx, c.id)
	if err != nil {
		return err
	}
	plan := policy.Plan(c.planFacts())
	f := approval.Facts{
		Now: t.now, Change: c.id, Risk: plan.Risk, Revision: c.revision.Change, Authors: withAuthors(c.authorsOf(st, st.Proposer), st.Authors),
		People: withoutAddresses(c.law.registry.People), Wants: forwardWants(plan, string(rec.Decision), outcome), Solo: plan.Solo,
	}
	// The rule knows approvals. This one is signed for another purpose, and is
	// shown to it as an approval of a stage that no approval can name.
	s := rec
	s.Decision, s.Stage, s.Change = gov.DecideApprove, string(rec.Decision), c.id
	if rec.Decision == gov.DecideUnblock && s.Revision.Change == "" {
		s.Revision = c.revision // it is about an artifact, which the outcome names
	}
	var answer approval.Answer
	for _, role := range rolesOf(f.Wants, rec.Role) {
		s.Role = role
		f.Statements = []gov.Recorded{s}
		answer = approval.Judge(f)
		if len(answer.Counted) > 0 {
			return t.record(approval.Rule, approval.Version, plan.Policy, f, answer)
		}
	}
	code, why := "role_not_held", rec.Signer+" has none of the roles that may do this"
	if len(answer.NotCounted) > 0 {
		code, why = answer.NotCounted[0].Code, answer.NotCounted[0].Why
	}
	return gov.Errorf(gov.KindDenied, code, "the statement to %s does not count: %s", rec.Decision, why).WithHint("govern rollout status %s", rec.Target)
}

// boundTo gives the outcome that a statement has to name and refuses one that
// names another: it was signed for an attempt and a verdict, not for whatever
// comes later.
func boundTo(st canary.State, rec gov.Recorded) (*gov.Outcome, error) {
	want := st.Outcome()
	if rec.Decision == gov.DecideUnblock {
		for _, a := range rec.Artifacts {
			b, ok := st.Blocked[a.Digest]
			if !ok {
				continue
			}
			o := gov.Outcome{Target: st.Target, Attempt: b.Attempt, Verdict: b.Verdict}
			if want = &o; rec.Outcome == nil || *rec.Outcome != o {
				break // of several artifacts, the first that is not named by its own block
			}
		}
	}
	if want == nil || rec.Outcome == nil || *rec.Outcome != *want {
		return nil, gov.Errorf(gov.KindRefused, "other_outcome", "the statement does not name the attempt and the verdict that are in question on %s", st.Target).
			WithHint("govern rollout status %s", st.Target)
	}
	return want, nil
}

// forwardWants are the roles of the last stage at which people speak.
func forwardWants(plan policy.Answer, stage string, outcome *gov.Outcome) []approval.Want {
	i := slices.IndexFunc(plan.Stages, func(s policy.StageWant) bool { return s.Stage == policy.StageFinal && s.NotApplicable == "" })
	if i < 0 {
		i = slices.IndexFunc(plan.Stages, func(s policy.StageWant) bool { return s.Stage == policy.StageReview })
	}
	if i < 0 {
		return nil
	}
	var out []approval.Want
	for _, r := range plan.Stages[i].Roles {
		w := approval.Want{Stage: stage, Role: r.Role, Presence: r.Presence, Final: true, Outcome: outcome}
		if r.Role == approval.RoleOwner {
			out = append(out, ownerWants(plan, w, "")...)
			continue
		}
		w.ID = stage + "/" + r.Role
		out = append(out, w)
	}
	return out
}

// rolesOf is the role worn, or, where a statement names none, each that is asked.
func rolesOf(wants []approval.Want, worn string) []string {
	if worn != "" {
		return []string{worn}
	}
	var out []string
	for _, w := range wants {
		if !slices.Contains(out, w.Role) {
			out = append(out, w.Role)
		}
	}
	return out
}

// withAuthors joins those who had a hand in what was last read and those the
// log knows.
func withAuthors(a, b []string) []string {
	out := slices.Clone(a)
	for _, h := range b {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// closedProblem says why a landing of a change that is closed is refused. The
// very commit that was merged with permission may be asked about again.
func closedProblem(c *content, st change.State) (change.Problem, bool) {
	if st.Status == change.Open || st.Status == change.Absent {
		return change.Problem{}, false
	}
	if m := st.Merged; st.Status == change.Merge && !m.Bypassed && m.Commit == c.head && m.Revision.Change == c.revision.Change && m.Revision.Tree == c.revision.Tree {
		return change.Problem{}, false
	}
	return change.Problem{
		Code: "change_closed", Text: string(c.id) + " is " + string(st.Status) + " and cannot be merged; a further change takes a number of its own",
		Hint: "govern submit --renumber -m WHY",
	}, true
}
