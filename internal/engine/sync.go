package engine

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
	"github.com/governhq/govern/internal/rule/approval"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

// SyncRequest takes a change in as it stands at a commit: its revision and the
// statements on its branch.
type SyncRequest struct {
	CommandID string
	Actor     gov.Principal
	Repo      Repo // nil: the engine's own; a hook passes one that sees quarantined objects
	ID        gov.ChangeID
	Head      string // ref or commit that holds the change
	Branch    string // where it wants to go; "" takes the default branch
}

// ChangeAnswer is what the engine says about a change.
type ChangeAnswer struct {
	State   change.State
	Verdict gov.Verdict
	Receipt Receipt
	Local   bool // this log is a clone's own view; the gate elsewhere decides
}

// Sync takes in revision and statements and records what follows: proposal,
// revision or carry-over, each new statement, each stage that is now done.
// Nothing new records nothing.
func (e *Engine) Sync(ctx context.Context, req SyncRequest) (ChangeAnswer, error) {
	repo := e.repo(req.Repo)
	if repo == nil {
		return ChangeAnswer{}, gov.Errorf(gov.KindInvalid, "repository_missing", "there is no repository to read %s from", req.ID).WithHint("run the command inside the repository")
	}
	branch, target, err := e.target(ctx, repo, req.Branch)
	if err != nil {
		return ChangeAnswer{}, err
	}
	head, err := repo.Resolve(ctx, req.Head)
	if err != nil {
		return ChangeAnswer{}, err
	}
	c, err := e.readContent(ctx, repo, req.ID, branch, target, head)
	if err != nil {
		return ChangeAnswer{}, err
	}
	return e.syncContent(ctx, request{ID: req.CommandID, Actor: req.Actor, Name: "change.sync"}, c)
}

func (e *Engine) repo(r Repo) Repo {
	if r != nil {
		return r
	}
	return e.cfg.Repo
}

// target resolves the branch that a change aims at.
func (e *Engine) target(ctx context.Context, repo Repo, branch string) (name, commit string, err error) {
	name, ref, err := repo.DefaultBranch(ctx)
	if err != nil {
		return "", "", err
	}
	if branch != "" && branch != name {
		name, ref = branch, "refs/heads/"+branch
	}
	commit, err = repo.Resolve(ctx, ref)
	return name, commit, err
}

func (e *Engine) syncContent(ctx context.Context, req request, c *content) (ChangeAnswer, error) {
	var out ChangeAnswer
	if err := e.takeIn(ctx, req.Actor, c); err != nil {
		return ChangeAnswer{}, err
	}
	receipt, rec, err := e.do(ctx, req, func(ctx context.Context, t *tx) error {
		j, st, err := e.sync(ctx, t, c, nil)
		if err != nil {
			return err
		}
		out = ChangeAnswer{State: st, Verdict: j.verdict, Local: e.identity.Local}
		if len(t.events) > 0 {
			return j.keep(t)
		}
		return nil
	})
	if err == nil && receipt.Duplicate {
		out, err = e.firstAnswer(ctx, c.id, rec)
	}
	out.Receipt = receipt
	return out, err
}

// maxTaken is how many bytes of statement files one record takes in: what it
// keeps of them has to fit a line.
const maxTaken = 48 << 10

// takeIn takes in, record by record, the statements of a branch that brings more
// of them than one record holds. The last ones are left to the caller's own.
func (e *Engine) takeIn(ctx context.Context, actor gov.Principal, c *content) error {
	var part []statementFile
	size := 0
	// Proposals first: what is said about content waits for its proposal.
	slices.SortStableFunc(c.statements, func(a, b statementFile) int {
		return boolInt(proposes(b.bytes)) - boolInt(proposes(a.bytes))
	})
	for _, f := range c.statements {
		if _, known, err := e.view.HasStatement(ctx, f.digest); err != nil {
			return err
		} else if known {
			continue
		}
		if size+len(f.bytes) > maxTaken && len(part) > 0 {
			some := *c
			some.statements, some.landing = part, false
			if _, _, err := e.do(ctx, request{Actor: actor, Name: "change.sync"}, func(ctx context.Context, t *tx) error {
				j, _, err := e.sync(ctx, t, &some, nil)
				if err != nil || len(t.events) == 0 {
					return err
				}
				return j.keep(t)
			}); err != nil {
				return err
			}
			part, size = nil, 0
		}
		part, size = append(part, f), size+len(f.bytes)
	}
	return nil
}

// firstAnswer is the answer about a change that a record gave: its verdict
// then, beside the change's state now.
func (e *Engine) firstAnswer(ctx context.Context, id gov.ChangeID, rec gov.Record) (ChangeAnswer, error) {
	st, err := e.stateOf(ctx, id)
	if err != nil {
		return ChangeAnswer{}, err
	}
	out := ChangeAnswer{State: st, Local: e.identity.Local}
	verdicts, err := e.verdicts(rec)
	for _, v := range verdicts {
		if v.Change == id {
			out.Verdict = v
		}
	}
	return out, err
}

// sync is the part of a decision that takes a change in. With revert set, the
// content is the inverse of a merged change: nothing is proposed or revised.
func (e *Engine) sync(ctx context.Context, t *tx, c *content, revert *change.RevertFact) (*judgement, change.State, error) {
	if err := t.adopt(ctx, c.law); err != nil {
		return nil, change.State{}, err
	}
	verified, unread, err := e.verifyStatements(ctx, t, c)
	if err != nil {
		return nil, change.State{}, err
	}
	st, err := t.change(ctx, c.id)
	if err != nil {
		return nil, st, err
	}
	c.unproposed = ""
	if c.metadataErr == nil && revert == nil {
		if err := t.revise(ctx, c, st, verified); err != nil {
			return nil, st, err
		}
	}
	if st, err = t.change(ctx, c.id); err != nil {
		return nil, st, err
	}
	if st.Status != change.Absent {
		taken := verified
		if revert == nil && st.Status == change.Open && !c.known(st) {
			taken = aboutOthers(verified, c.revision.Change)
		}
		if err := e.recordStatements(ctx, t, c, taken); err != nil {
			return nil, st, err
		}
		if st, err = t.change(ctx, c.id); err != nil {
			return nil, st, err
		}
	}
	j, err := e.judge(ctx, t, c, st, unread, revert)
	if err != nil {
		return nil, st, err
	}
	if revert == nil && st.Status == change.Open {
		if err := t.passStages(ctx, c.id, j); err != nil {
			return nil, st, err
		}
		if st, err = t.change(ctx, c.id); err != nil {
			return nil, st, err
		}
	}
	if revert != nil || !c.known(st) {
		return j, st, nil // what the log has not taken in disturbs nothing
	}
	return j, st, e.disturbRollouts(ctx, t, c, j)
}

// change loads a change's folded state.
func (t *tx) change(ctx context.Context, id gov.ChangeID) (change.State, error) {
	return loadAs[change.State](ctx, t, gov.StreamChange(id))
}

// revise proposes an absent change, and brings an open one to this revision. New
// content comes with a proposal signed in its author's name; without one nothing
// happens here, and content.unproposed says so to the verdict.
func (t *tx) revise(ctx context.Context, c *content, st change.State, verified []statement) error {
	if st.Status != change.Absent && st.Status != change.Open {
		return nil
	}
	if author := c.handle(c.metadata.Author); st.Status == change.Open && author != st.Author {
		return gov.Errorf(gov.KindConflict, "change_exists", "%s is a change by %s already, so this one by %s needs another number", c.id, st.Author, author).
			WithHint("govern submit --renumber -m WHY")
	}
	proposer := st.Proposer
	if !c.known(st) {
		var err error
		if proposer, err = c.proposer(st, verified); err != nil {
			return err
		}
		if proposer == "" {
			c.unproposed = c.handle(c.metadata.Author)
			if !c.landed {
				return nil
			}
		}
	}
	m := c.metadata
	if proposer == "" {
		proposer = c.handle(m.Author)
	}
	agent, sponsor := "", ""
	if m.Agent != nil {
		agent, sponsor = c.handle(m.Agent.Name), c.handle(m.Agent.Sponsor)
	}
	authors := c.authorsOf(st, proposer)
	var cmd change.Command
	switch st.Status {
	case change.Absent:
		cmd = change.Propose{Proposed: change.Proposed{
			Change: c.id, Author: c.handle(m.Author), Owner: c.handle(m.Owner), Proposer: proposer, Authors: authors,
			Agent: agent, Sponsor: sponsor, Type: m.Type, Targets: m.Targets, Declared: m.RiskLevel,
			Metadata: c.metadataSum, Revision: c.revision, Branch: c.branch,
		}}
	case change.Open:
		cmd = change.Revise{Revised: change.Revised{
			Revision: c.revision, Authors: authors, Owner: c.handle(m.Owner), Agent: agent, Sponsor: sponsor,
			Type: m.Type, Targets: m.Targets, Declared: m.RiskLevel, Metadata: c.metadataSum, By: proposer,
		}}
	}
	evs, err := change.Decide(st, cmd, change.Known{}, t.now)
	if err != nil {
		return err
	}
	return t.emit(ctx, evs...)
}

// statement is a statement file that is genuine: signed by a key of the
// registry, about this change.
type statement struct {
	rec   gov.Recorded
	bytes []byte
}

// verifyStatements sorts the statement files of a change into genuine ones and
// those that cannot count, with the reason. Those that the log has taken in
// already are left out: their file may even be gone.
func (e *Engine) verifyStatements(ctx context.Context, t *tx, c *content) ([]statement, []gov.NotCounted, error) {
	var genuine []statement
	var unread []gov.NotCounted
	for _, f := range c.statements {
		if _, known, err := e.view.HasStatement(ctx, f.digest); err != nil {
			return nil, nil, err
		} else if known {
			continue
		}
		rec, err := c.genuine(f, t.now)
		if err != nil {
			ge := asError(err)
			unread = append(unread, gov.NotCounted{Statement: f.digest, Signer: "unknown", Decision: rec.Decision, Code: ge.Code, Why: ge.Message})
			continue
		}
		genuine = append(genuine, statement{rec: rec, bytes: f.bytes})
	}
	return genuine, unread, nil
}

func (e *Engine) recordStatements(ctx context.Context, t *tx, c *content, verified []statement) error {
	for _, s := range verified {
		if err := e.recordStatement(ctx, t, c, s); err != nil {
			if gov.CodeOf(err) == "change_closed" {
				continue // a file that came too late is no reason to refuse a push
			}
			return err
		}
	}
	return nil
}

// recordStatement keeps the envelope and emits the fact. Free text is durable
// beside the log before the log names it.
func (e *Engine) recordStatement(ctx context.Context, t *tx, c *content, s statement) error {
	st, err := t.change(ctx, c.id)
	if err != nil {
		return err
	}
	rec := s.rec
	rec.Time = t.now
	known := change.Known{}
	if rec.Decision == gov.DecideReview {
		plan := policy.Plan(c.planFacts())
		f := approval.Facts{
			Now: t.now, Change: c.id, Risk: gov.RiskCritical, Revision: c.revision.Change, Authors: st.Authors,
			People: withoutAddresses(c.law.registry.People), Statements: append(slices.Clone(st.Statements), rec),
			Wants: approvalWants(plan, nil, nil), OverrideRoles: overrideRoles,
		}
		with := approval.Judge(f)
		if err := t.record(approval.Rule, approval.Version, plan.Policy, f, with); err != nil {
			return err
		}
		for _, r := range with.Reviews {
			known.Reviews = append(known.Reviews, change.Reviewed{Subject: r.Subject, Statement: r.Statement, By: r.By})
		}
	}
	evs, err := change.Decide(st, change.Record{Statement: rec}, known, t.now)
	if err != nil || len(evs) == 0 {
		return err
	}
	if _, err := e.statements.put(s.bytes); err != nil {
		return err
	}
	return t.emit(ctx, evs...)
}

// overrideRoles may sign break-glass and close its review.
var overrideRoles = []string{approval.RoleOwner, "security_lead"}

// passStages latches every stage that is done, in order, the merge apart.
func (t *tx) passStages(ctx context.Context, id gov.ChangeID, j *judgement) error {
	for _, stage := range j.verdict.Stages {
		if !stage.State.Done() || stage.ID == change.StageMerge {
			return nil
		}
		st, err := t.change(ctx, id)
		if err != nil {
			return err
		}
		evs, err := change.Decide(st, change.Pass{Stage: stage.ID}, j.known(), t.now)
		if err != nil {
			return err
		}
		if err := t.emit(ctx, evs...); err != nil {
			return err
		}
	}
	return nil
}

// known is what change.Decide gets to see of a judgement.
func (j *judgement) known() change.Known {
	return change.Known{Verdict: &j.verdict, Overrides: j.changeFacts.Overrides, Observe: j.changeFacts.Mode == change.ModeObserve}
}

// TakeStatement takes in a signed envelope that did not come with a branch. The
// change must be known; its content is read at the commit last seen.
func (e *Engine) TakeStatement(ctx context.Context, actor gov.Principal, envelope []byte) (ChangeAnswer, gov.Recorded, error) {
	repo := e.cfg.Repo
	if repo == nil {
		return ChangeAnswer{}, gov.Recorded{}, gov.Errorf(gov.KindInvalid, "repository_missing", "this log stands beside no repository")
	}
	branch, target, err := e.target(ctx, repo, "")
	if err != nil {
		return ChangeAnswer{}, gov.Recorded{}, err
	}
	l, err := readLaw(ctx, repo, target)
	if err != nil {
		return ChangeAnswer{}, gov.Recorded{}, err
	}
	// A clock that jumped stops what follows, unless it takes something back.
	now, _ := e.keeper.now()
	rec, _, err := sign.Verify(envelope, l.registry, now)
	if err != nil {
		return ChangeAnswer{}, gov.Recorded{}, err
	}
	if rec.Target != "" && (rec.Change == "" || aboutTarget(rec.Decision)) {
		return ChangeAnswer{}, rec, e.takeTargetStatement(ctx, actor, rec, envelope)
	}
	raw, version, err := e.view.State(ctx, gov.StreamChange(rec.Change))
	if err != nil {
		return ChangeAnswer{}, rec, err
	}
	if version == 0 {
		return ChangeAnswer{}, rec, gov.Errorf(gov.KindNotFound, "change_unknown", "%s was not proposed here", rec.Change).WithHint("govern change list")
	}
	var st change.State
	if err := json.Unmarshal(raw, &st); err != nil {
		return ChangeAnswer{}, rec, err
	}
	c, err := e.contentOf(ctx, repo, st, branch, target)
	if err != nil {
		return ChangeAnswer{}, rec, err
	}
	d := gov.DigestOf(envelope)
	if !slices.ContainsFunc(c.statements, func(f statementFile) bool { return f.digest == d }) {
		c.statements = append(c.statements, statementFile{digest: d, bytes: envelope})
	}
	answer, err := e.syncContent(ctx, request{ID: "statement/" + d.Hex(), Actor: actor, Name: "statement.take"}, c)
	return answer, rec, err
}

// contentOf reads a known change at the commit last seen. A merged change is
// read as it was merged, so that statements about it can still be judged.
func (e *Engine) contentOf(ctx context.Context, repo Repo, st change.State, branch, target string) (*content, error) {
	if st.Merged != nil {
		return e.landed(ctx, repo, st.ID, branch, target, st.Merged.Revision.Base, st.Merged.Commit)
	}
	c, err := e.readContent(ctx, repo, st.ID, branch, target, st.Revision.Commit)
	if err != nil || c.known(st) {
		return c, err
	}
	// The commit stands in a push of several changes: the range tells which part.
	c, err = e.landedBy(ctx, repo, c.law, st.ID, branch, st.Revision.Base, st.Revision.Commit)
	if err == nil {
		c.target = target
	}
	return c, err
}
