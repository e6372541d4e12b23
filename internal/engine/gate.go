package engine

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

// GateRequest asks whether a push may land.
type GateRequest struct {
	CommandID string
	Actor     gov.Principal
	Repo      Repo
	Ref       string // full name of the governed ref; "" takes the default branch
	Old, New  string // commits; zeros as git gives them
	// Record writes merge.allowed or merge.refused: what the hook does. Without
	// it the question is only answered (statements on the branch are still taken
	// in, so that their log time is known).
	Record bool
}

// GateChange is the answer for one change of a push.
type GateChange struct {
	ID      gov.ChangeID `json:"id,omitempty"`
	Revert  bool         `json:"revert,omitempty"` // the range takes ID back
	Verdict gov.Verdict  `json:"verdict"`
}

// GateAnswer is the answer for the whole push: allowed only if all of it is.
type GateAnswer struct {
	Allowed  bool         `json:"allowed"`
	Observe  bool         `json:"observe,omitempty"` // the policy only observes: let it pass, but say so
	Governed bool         `json:"governed"`
	Changes  []GateChange `json:"changes,omitempty"`
	Problems []Problem    `json:"problems,omitempty"` // of the push itself
	Receipt  Receipt      `json:"receipt"`
}

// Problem is a reason that is no change's own.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Passes tells whether the push goes through.
func (a GateAnswer) Passes() bool { return !a.Governed || a.Allowed || a.Observe }

// Gate judges what a push would land. The law is that of the old tip.
func (e *Engine) Gate(ctx context.Context, req GateRequest) (GateAnswer, error) {
	repo := e.repo(req.Repo)
	if repo == nil {
		return GateAnswer{}, repositoryMissing()
	}
	name, _, err := repo.DefaultBranch(ctx)
	if err != nil {
		return GateAnswer{}, err
	}
	if req.Ref == "" {
		req.Ref = "refs/heads/" + name
	}
	branch, isBranch := strings.CutPrefix(req.Ref, "refs/heads/")
	// Which refs are governed is the default branch's to say; what a governed
	// ref's own tip says is the law for what lands on it.
	here, err := e.lawFor(ctx, repo, name, "")
	if err != nil {
		return GateAnswer{}, err
	}
	if !isBranch || !here.policy.Governs(branch, name) {
		return GateAnswer{Allowed: true}, nil
	}
	l, err := e.lawFor(ctx, repo, name, req.Old)
	if err != nil {
		return GateAnswer{}, err
	}
	out := GateAnswer{Governed: true, Observe: string(l.policy.Mode) == change.ModeObserve}
	landings, err := repo.Landings(ctx, req.Old, req.New)
	if err != nil {
		if gov.KindOf(err) != gov.KindRefused && gov.KindOf(err) != gov.KindInvalid {
			return out, err
		}
		ge := asError(err)
		out.Problems = append(out.Problems, Problem{Code: ge.Code, Message: ge.Message, Hint: ge.Hint})
		return out, nil
	}
	if len(landings) == 0 { // the ref stays where it is
		out.Allowed = true
		return out, nil
	}
	return e.gate(ctx, req, repo, l, branch, landings, out)
}

// lawFor is the law at the old tip; a new branch is judged by the default
// branch's.
func (e *Engine) lawFor(ctx context.Context, repo Repo, name, old string) (law, error) {
	if strings.Trim(old, "0") == "" {
		_, target, err := e.target(ctx, repo, "")
		if err != nil {
			return law{}, gov.Errorf(gov.KindRefused, "policy_missing", "branch %s does not exist yet, so there is no policy to judge by", name).
				WithHint("push a baseline with governance.yaml first, then: govern hook install")
		}
		old = target
	}
	return readLaw(ctx, repo, old)
}

// prepared is one landing with everything git says about it.
type prepared struct {
	c      *content
	revert *change.RevertFact
}

func (e *Engine) gate(ctx context.Context, req GateRequest, repo Repo, l law, branch string, landings []Landing, out GateAnswer) (GateAnswer, error) {
	var ready []prepared
	for _, land := range landings {
		p, problem, err := e.prepare(ctx, repo, l, branch, land)
		if err != nil {
			return out, err
		}
		if problem != nil {
			out.Problems = append(out.Problems, *problem)
			continue
		}
		ready = append(ready, p)
	}
	for _, p := range ready {
		if p.revert != nil {
			continue
		}
		if err := e.takeIn(ctx, req.Actor, p.c); err != nil {
			return out, err
		}
	}
	problems, err := e.notGenuine(ctx, repo, ready)
	if err != nil {
		return out, err
	}
	out.Problems = append(out.Problems, problems...)
	base := out
	receipt, rec, err := e.do(ctx, request{ID: req.CommandID, Actor: req.Actor, Name: "gate"}, func(ctx context.Context, t *tx) error {
		out = base
		out.Changes = nil
		var judged []*judgement
		for _, p := range ready {
			j, err := e.gateOne(ctx, t, p)
			if err != nil {
				return err
			}
			judged = append(judged, j)
			out.Changes = append(out.Changes, GateChange{ID: p.c.id, Revert: p.revert != nil, Verdict: j.verdict})
		}
		out.decide()
		if req.Record {
			for i, p := range ready {
				if err := e.recordGate(ctx, t, req, p, judged[i], out); err != nil {
					return err
				}
			}
		}
		if len(t.events) == 0 {
			return nil
		}
		for _, j := range judged {
			if err := j.keep(t); err != nil {
				return err
			}
		}
		return nil
	})
	out.Receipt = receipt
	if err == nil && receipt.Duplicate {
		out, err = e.firstGate(base, rec)
		out.Receipt = receipt
	}
	return out, err
}

// decide sets Allowed: something is pushed, and nothing of it is refused.
func (a *GateAnswer) decide() {
	a.Allowed = len(a.Problems) == 0 && len(a.Changes) > 0
	for _, c := range a.Changes {
		a.Allowed = a.Allowed && c.Verdict.Answer == gov.Allowed
	}
}

// firstGate is the answer that a record of the gate gave.
func (e *Engine) firstGate(base GateAnswer, rec gov.Record) (GateAnswer, error) {
	verdicts, err := e.verdicts(rec)
	for _, v := range verdicts {
		revert := slices.ContainsFunc(v.Stages, func(r gov.Requirement) bool { return r.ID == change.StageRevert })
		base.Changes = append(base.Changes, GateChange{ID: v.Change, Revert: revert, Verdict: v})
	}
	base.decide()
	return base, err
}

func (e *Engine) gateOne(ctx context.Context, t *tx, p prepared) (*judgement, error) {
	revert := p.revert
	if revert != nil {
		// What was found before the decision may not be so any more.
		st, err := t.change(ctx, p.c.id)
		if err != nil {
			return nil, err
		}
		revert = &change.RevertFact{Of: revert.Of, Exact: revert.Exact, Merged: st.Status == change.Merge}
	}
	p.c.landing = true
	j, _, err := e.sync(ctx, t, p.c, revert)
	return j, err
}

func repositoryMissing() error {
	return gov.Errorf(gov.KindInvalid, "repository_missing", "this log stands beside no repository").WithHint("run the command inside the repository")
}

// recordGate writes the permission or the refusal. A change of a push that is
// refused for something else gets no permission: it would not land like this.
func (e *Engine) recordGate(ctx context.Context, t *tx, req GateRequest, p prepared, j *judgement, whole GateAnswer) error {
	if j.verdict.Answer == gov.Allowed && !whole.Passes() || p.c.metadataErr != nil || p.c.unproposed != "" {
		return nil // content that nobody proposed is no revision of the change: the verdict says no
	}
	st, err := t.change(ctx, p.c.id)
	if err != nil || st.Status == change.Absent {
		return err
	}
	known := j.known()
	known.RevertDue = p.c.law.policy.Reviews.RevertDue.Std()
	evs, err := change.Decide(st, change.Gate{Ref: req.Ref, Revert: p.revert != nil}, known, t.now)
	if gov.CodeOf(err) == "change_closed" {
		return nil // the verdict says so already
	}
	if err != nil {
		return err
	}
	return t.emit(ctx, evs...)
}

// prepare reads one landing. What belongs to no change may still be the exact
// inverse of one.
func (e *Engine) prepare(ctx context.Context, repo Repo, l law, branch string, land Landing) (prepared, *Problem, error) {
	if land.Change != "" {
		c, err := e.landedBy(ctx, repo, l, land.Change, branch, land.Base, land.Head)
		if err != nil {
			return prepared{}, nil, err
		}
		return prepared{c: c}, nil, nil
	}
	for _, commit := range land.Reverts {
		p, ok, err := e.inverse(ctx, repo, l, branch, land, commit)
		if err != nil || ok {
			return p, nil, err
		}
	}
	return prepared{}, &Problem{
		Code:    "change_missing",
		Message: "commits up to " + short(land.Head) + " belong to no change: there is no " + path.Join(l.policy.Changes.Dir, "CHANGE-n", change.MetadataFile) + " with them",
		Hint:    "govern submit -m WHY",
	}, nil
}

// inverse recognises a range that says it reverts the merge of a change.
func (e *Engine) inverse(ctx context.Context, repo Repo, l law, branch string, land Landing, commit string) (prepared, bool, error) {
	subjects, err := e.merged(ctx)
	if err != nil {
		return prepared{}, false, err
	}
	// The change whose merge is named comes first: git need not be asked about
	// all the others.
	slices.SortStableFunc(subjects, func(a, b change.State) int {
		return boolInt(b.Merged.Commit == commit) - boolInt(a.Merged.Commit == commit)
	})
	for _, st := range subjects {
		in, err := within(ctx, repo, st, commit)
		if err != nil || !in {
			if err != nil {
				return prepared{}, false, err
			}
			continue
		}
		exact, err := repo.TakesBack(ctx, land.Base, land.Head, st.Merged.Revision.Base, st.Merged.Commit)
		if err != nil {
			return prepared{}, false, err
		}
		c := &content{law: l, branch: branch, target: land.Base, head: land.Head, id: st.ID}
		if c.revision, c.paths, err = repo.Between(ctx, land.Base, land.Head, st.ID); err != nil {
			return prepared{}, false, err
		}
		if err := c.readMetadata(ctx, repo, st.Merged.Commit); err != nil {
			return prepared{}, false, err
		}
		if c.emails, c.agents, err = repo.Contributors(ctx, land.Base, land.Head); err != nil {
			return prepared{}, false, err
		}
		dir := path.Join(l.policy.Changes.Dir, string(st.ID), "statements")
		return prepared{c: c, revert: &change.RevertFact{Of: st.ID, Exact: exact, Merged: st.Status == change.Merge}}, true, c.readStatements(ctx, repo, dir)
	}
	return prepared{}, false, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// within tells whether commit is part of what a merged change landed.
func within(ctx context.Context, repo Repo, st change.State, commit string) (bool, error) {
	if st.Merged.Commit == commit {
		return true, nil
	}
	full, err := repo.Resolve(ctx, commit)
	if gov.KindOf(err) == gov.KindNotFound || gov.KindOf(err) == gov.KindInvalid {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	in, err := repo.Contains(ctx, st.Merged.Commit, full)
	if err != nil || !in {
		return false, err
	}
	before, err := repo.Contains(ctx, st.Merged.Revision.Base, full)
	return !before, err
}

// merged lists the states of merged changes, newest first.
func (e *Engine) merged(ctx context.Context) ([]change.State, error) {
	states, err := e.changes(ctx, string(change.Merge))
	slices.Reverse(states)
	return states, err
}

func (e *Engine) changes(ctx context.Context, status string) ([]change.State, error) {
	subjects, err := e.view.Subjects(ctx, changeQuery(status))
	if err != nil {
		return nil, err
	}
	out := make([]change.State, 0, len(subjects))
	for _, s := range subjects {
		raw, _, err := e.view.State(ctx, gov.StreamChange(gov.ChangeID(s.ID)))
		if err != nil {
			return nil, err
		}
		var st change.State
		if err := json.Unmarshal(raw, &st); err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// landed reads a change as a range that is, or is about to be, on its branch.
func (e *Engine) landed(ctx context.Context, repo Repo, id gov.ChangeID, branch, lawAt, base, head string) (*content, error) {
	l, err := readLaw(ctx, repo, lawAt)
	if err != nil {
		return nil, err
	}
	return e.landedBy(ctx, repo, l, id, branch, base, head)
}

func (e *Engine) landedBy(ctx context.Context, repo Repo, l law, id gov.ChangeID, branch, base, head string) (*content, error) {
	c := &content{law: l, branch: branch, target: base, head: head, id: id}
	var err error
	if c.revision, c.paths, err = repo.Between(ctx, base, head, id); err != nil {
		return nil, err
	}
	return c, c.fill(ctx, repo)
}

// MergedRequest tells that a governed ref has moved.
type MergedRequest struct {
	CommandID string
	Actor     gov.Principal
	Repo      Repo
	Ref       string
	Old, New  string
}

// Merged records what now stands on a governed branch, permitted or not: the
// log does not deny facts.
func (e *Engine) Merged(ctx context.Context, req MergedRequest) (Receipt, error) {
	repo := e.repo(req.Repo)
	if repo == nil {
		return Receipt{}, repositoryMissing()
	}
	name, _, err := repo.DefaultBranch(ctx)
	if err != nil {
		return Receipt{}, err
	}
	branch, isBranch := strings.CutPrefix(req.Ref, "refs/heads/")
	before, err := e.lawFor(ctx, repo, name, req.Old)
	if err != nil {
		return Receipt{}, err
	}
	here := before
	if branch != name { // which refs are governed is the default branch's to say
		if here, err = e.lawFor(ctx, repo, name, ""); err != nil {
			return Receipt{}, err
		}
	}
	if !isBranch || !here.policy.Governs(branch, name) {
		return Receipt{}, nil // nothing is merged by a push to a branch of one's own
	}
	landings, err := repo.Landings(ctx, req.Old, req.New)
	if err != nil {
		return Receipt{}, err
	}
	// A law that cannot be read is no reason to deny that it stands there.
	after, lawErr := readLaw(ctx, repo, req.New)
	if lawErr != nil {
		e.logger.WarnContext(ctx, "the merged policy or registry cannot be read", "commit", req.New, "err", lawErr)
	}
	var ready []prepared
	for _, land := range landings {
		p, problem, err := e.prepare(ctx, repo, before, branch, land)
		if err != nil {
			return Receipt{}, err
		}
		if problem == nil {
			ready = append(ready, p)
		}
	}
	receipt, _, err := e.do(ctx, request{ID: req.CommandID, Actor: req.Actor, Name: "merged"}, func(ctx context.Context, t *tx) error {
		for _, p := range ready {
			if err := e.confirm(ctx, t, req, p); err != nil {
				return err
			}
		}
		if lawErr != nil || branch != name {
			return nil
		}
		return t.adopt(ctx, after)
	})
	return receipt, err
}

func (e *Engine) confirm(ctx context.Context, t *tx, req MergedRequest, p prepared) error {
	st, err := t.change(ctx, p.c.id)
	if err != nil {
		return err
	}
	if st.Status == change.Absent {
		// Merged past the gate without ever being proposed: it is taken in first.
		p.c.landed = true
		if _, st, err = e.sync(ctx, t, p.c, nil); err != nil || st.Status == change.Absent {
			return err
		}
	}
	known := change.Known{BypassDue: p.c.law.policy.Reviews.OverrideDue.Std()}
	var cmd change.Command = change.ConfirmMerge{Revision: p.c.revision, Commit: p.c.head, Ref: req.Ref}
	if p.revert != nil {
		cmd = change.ConfirmRevert{Revision: p.c.revision, Commit: p.c.head}
	}
	evs, err := change.Decide(st, cmd, known, t.now)
	if gov.CodeOf(err) == "change_closed" {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.emit(ctx, evs...); err != nil {
		return err
	}
	return e.settleRollouts(ctx, t, p, st)
}
