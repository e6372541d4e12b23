package engine

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
	"github.com/governhq/govern/internal/view"
)

// Look judges a change as it stands, without recording anything.
func (e *Engine) Look(ctx context.Context, id gov.ChangeID) (ChangeAnswer, error) {
	c, st, err := e.open(ctx, id)
	if err != nil {
		return ChangeAnswer{}, err
	}
	j, err := e.look(ctx, c, st)
	if err != nil {
		return ChangeAnswer{}, err
	}
	return ChangeAnswer{State: st, Verdict: j.verdict, Local: e.identity.Local}, nil
}

// look judges without a record. The clock may stand where it stands: an answer
// is no decision.
func (e *Engine) look(ctx context.Context, c *content, st change.State) (*judgement, error) {
	if err := e.catch(ctx); err != nil {
		return nil, err
	}
	now, _ := e.keeper.now()
	t := &tx{e: e, now: now, expect: map[gov.Stream]uint64{}, states: map[gov.Stream][]byte{}}
	_, unread, err := e.verifyStatements(ctx, t, c)
	if err != nil {
		return nil, err
	}
	return e.judge(ctx, t, c, st, unread, nil)
}

// Change reads a change's state; Changes lists states by status, "" for all.
func (e *Engine) Change(ctx context.Context, id gov.ChangeID) (change.State, error) {
	return e.stateOf(ctx, id)
}

// Changes lists changes by status ("" all), by number.
func (e *Engine) Changes(ctx context.Context, status string) ([]change.State, error) {
	return e.changes(ctx, status)
}

// Targets lists the states of all targets the log knows, and those the policy
// names.
func (e *Engine) Targets(ctx context.Context) ([]canary.State, error) {
	subjects, err := e.view.Subjects(ctx, targetQuery())
	if err != nil {
		return nil, err
	}
	var out []canary.State
	for _, s := range subjects {
		st, err := e.Target(ctx, s.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// History gives the events of a stream in order.
func (e *Engine) History(ctx context.Context, s gov.Stream) ([]view.Event, error) {
	return e.view.Events(ctx, s)
}

// Law is the policy and the people in force on the default branch.
type Law struct {
	Branch   string
	Commit   string
	Policy   policy.Policy
	Digest   gov.Digest
	Registry gov.Registry
	Owners   []policy.OwnerRule
	Manifest gov.Manifest
}

// Law reads the policy and the people in force.
func (e *Engine) Law(ctx context.Context) (Law, error) {
	if e.cfg.Repo == nil {
		return Law{}, gov.Errorf(gov.KindInvalid, "repository_missing", "this log stands beside no repository")
	}
	return ReadLaw(ctx, e.cfg.Repo)
}

// ReadLaw reads the policy and the people of the default branch's tip.
func ReadLaw(ctx context.Context, repo Repo) (Law, error) {
	name, ref, err := repo.DefaultBranch(ctx)
	if err != nil {
		return Law{}, err
	}
	tip, err := repo.Resolve(ctx, ref)
	if err != nil {
		return Law{}, err
	}
	return ReadLawAt(ctx, repo, name, tip)
}

// ReadLawAt reads the policy and the people at a commit.
func ReadLawAt(ctx context.Context, repo Repo, branch, commit string) (Law, error) {
	l, err := readLaw(ctx, repo, commit)
	return Law{
		Branch: branch, Commit: commit, Policy: l.policy, Digest: l.digest, Registry: l.registry, Owners: l.codeowners, Manifest: l.manifest,
	}, err
}

// Status is the state of the whole log in one answer.
type Status struct {
	Origin   string        `json:"origin"`
	Size     uint64        `json:"size"`
	Root     string        `json:"root"`
	Genesis  gov.Digest    `json:"genesis"`
	Local    bool          `json:"local,omitempty"`
	Branch   string        `json:"branch,omitempty"`
	Policy   gov.Digest    `json:"policy,omitempty"`
	Mode     string        `json:"mode,omitempty"`
	Solo     bool          `json:"solo,omitempty"`
	Open     int           `json:"open"`
	Merged   int           `json:"merged"`
	Rollouts int           `json:"rollouts"`
	Overdue  []string      `json:"overdue,omitempty"`
	Clock    string        `json:"clock,omitempty"`   // why the clock stops appends, or ""
	Problem  string        `json:"problem,omitempty"` // why the policy cannot be read, or ""
	Targets  []TargetState `json:"targets,omitempty"`
}

// TargetState is a target in one line.
type TargetState struct {
	Name   string       `json:"name"`
	Stable gov.Digest   `json:"stable,omitempty"`
	Change gov.ChangeID `json:"change,omitempty"`
	Weight int          `json:"weight"`
	State  string       `json:"state"`
}

// Status sums up the log.
func (e *Engine) Status(ctx context.Context) (Status, error) {
	if err := e.catch(ctx); err != nil {
		return Status{}, err
	}
	r := e.Reader()
	s := Status{Origin: e.identity.Origin, Size: r.Size(), Root: r.Root().String(), Genesis: e.identity.Genesis, Local: e.identity.Local}
	now, err := e.keeper.now()
	if err != nil {
		s.Clock = asError(err).Message
	}
	if law, err := e.Law(ctx); err != nil {
		s.Problem = asError(err).Message
	} else {
		s.Branch, s.Policy, s.Mode, s.Solo = law.Branch, law.Digest, string(law.Policy.Mode), law.Policy.Solo
	}
	all, err := e.changes(ctx, "")
	if err != nil {
		return s, err
	}
	for _, c := range all {
		switch c.Status {
		case change.Open:
			s.Open++
		case change.Merge:
			s.Merged++
		}
		for _, d := range c.Overdue(now) {
			s.Overdue = append(s.Overdue, string(c.ID)+" "+d.Reason+" "+d.Subject.Short())
		}
	}
	targets, err := e.Targets(ctx)
	for _, t := range targets {
		ts := TargetState{Name: t.Target, State: "idle"}
		if t.Stable != nil {
			ts.Stable = t.Stable.Artifact.Digest
		}
		if t.Run != nil {
			s.Rollouts++
			ts.Change, ts.Weight, ts.State = t.Run.Change, t.Run.Live, string(t.Run.Phase)
		}
		s.Targets = append(s.Targets, ts)
	}
	return s, err
}

// Task is one thing that waits for a person.
type Task struct {
	Change      gov.ChangeID `json:"change,omitempty"`
	Target      string       `json:"target,omitempty"`
	Requirement string       `json:"requirement"`
	Text        string       `json:"text"`
	Command     string       `json:"command"`
	Since       time.Time    `json:"since"`
}

// Inbox lists what a person can give now, oldest first: approvals, findings,
// promotions of what is held, reviews that are due. An empty handle lists
// everybody's.
func (e *Engine) Inbox(ctx context.Context, handle string) ([]Task, error) {
	open, err := e.changes(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []Task
	for _, st := range open {
		tasks, err := e.tasks(ctx, st, handle)
		if err != nil {
			return nil, err
		}
		out = append(out, tasks...)
	}
	slices.SortStableFunc(out, func(a, b Task) int { return a.Since.Compare(b.Since) })
	return out, nil
}

func (e *Engine) tasks(ctx context.Context, st change.State, handle string) ([]Task, error) {
	var out []Task
	for _, d := range st.Reviews {
		out = append(out, Task{
			Change: st.ID, Requirement: "review of " + d.Reason, Since: d.At,
			Text:    "somebody must look at what was done in a hurry, by " + d.Due.Format("2006-01-02 15:04 MST"),
			Command: "govern review " + string(st.ID) + " --subject " + string(d.Subject) + " -m FINDING",
		})
	}
	if st.Status != change.Open {
		return out, nil
	}
	answer, err := e.Look(ctx, st.ID)
	if err != nil {
		// A branch that is gone, or cannot be merged, is nobody's task here.
		if k := gov.KindOf(err); k == gov.KindNotFound || k == gov.KindInvalid || k == gov.KindConflict || k == gov.KindRefused {
			return out, nil
		}
		return nil, err
	}
	for r := range answer.Verdict.Leaves {
		if r.State != gov.Missing || r.Command == "" || handle != "" && !slices.Contains(r.Who, handle) {
			continue
		}
		if stageOf(answer.Verdict, r.ID) != answer.Verdict.Stage && answer.Verdict.Stage != "" {
			continue
		}
		out = append(out, Task{Change: st.ID, Requirement: r.ID, Text: r.Text, Command: r.Command, Since: st.ChangedAt})
	}
	return out, nil
}

// stageOf finds the stage that holds a requirement.
func stageOf(v gov.Verdict, id string) string {
	for _, s := range v.Stages {
		if s.ID == id || slices.ContainsFunc(s.Children, func(r gov.Requirement) bool { return r.ID == id }) {
			return s.ID
		}
	}
	return ""
}

// Metadata gives the specification's file of a change with the approvals that
// count, and who gave them.
func (e *Engine) Metadata(ctx context.Context, id gov.ChangeID) (change.Metadata, error) {
	c, st, err := e.open(ctx, id)
	if err != nil {
		return change.Metadata{}, err
	}
	if c.metadataErr != nil {
		return change.Metadata{}, c.metadataErr
	}
	j, err := e.look(ctx, c, st)
	if err != nil {
		return change.Metadata{}, err
	}
	approvals := []change.Approval{}
	for _, n := range j.approvals.Counted {
		a := change.Approval{Approver: n.Signer, Timestamp: n.Time, Rationale: e.rationale(n.Statement)}
		if !slices.Contains(approvals, a) {
			approvals = append(approvals, a)
		}
	}
	return c.metadata.WithApprovals(approvals), nil
}

// rationale is the free text of a statement, or that it was erased.
func (e *Engine) rationale(d gov.Digest) string {
	env, err := e.statements.get(d)
	if err != nil {
		return "(erased)"
	}
	st, err := readStatement(env)
	if err != nil {
		return "(unreadable)"
	}
	return st.Rationale
}

// Find gives the change whose branch holds an id, looking at this repository's
// branches and those of its remotes: the ref and commit to read it at.
func Find(ctx context.Context, repo Repo, dir string, id gov.ChangeID) (Branch, error) {
	branches, err := repo.Branches(ctx)
	if err != nil {
		return Branch{}, err
	}
	name, ref, err := repo.DefaultBranch(ctx)
	if err != nil {
		return Branch{}, err
	}
	tip, err := repo.Resolve(ctx, ref)
	if err != nil {
		return Branch{}, err
	}
	file := dir + "/" + string(id) + "/" + change.MetadataFile
	var found []Branch
	for _, b := range branches {
		if b.Name == name || b.Commit == tip {
			continue // a clone's own copy of the target may hold merges that were not pushed
		}
		if in, err := repo.Contains(ctx, tip, b.Commit); err != nil || in {
			continue // merged already, or unrelated history
		}
		if _, err := repo.ReadFile(ctx, b.Commit, file); err == nil {
			found = append(found, b)
		}
	}
	return newest(ctx, repo, found, id)
}

// newest prefers, of several branches with the same change, the one that
// contains the others.
func newest(ctx context.Context, repo Repo, found []Branch, id gov.ChangeID) (Branch, error) {
	if len(found) == 0 {
		return Branch{}, gov.Errorf(gov.KindNotFound, "change_branch_missing", "no branch here holds %s", id).WithHint("git fetch, then govern change list")
	}
	for _, b := range found {
		all := true
		for _, o := range found {
			in, err := repo.Contains(ctx, b.Commit, o.Commit)
			if err != nil {
				return Branch{}, err
			}
			all = all && in
		}
		if all {
			return b, nil
		}
	}
	names := make([]string, len(found))
	for i, b := range found {
		names[i] = b.Name
	}
	return Branch{}, gov.Errorf(gov.KindConflict, "change_ambiguous", "%s stands on several branches: %s", id, strings.Join(names, ", ")).
		WithHint("name one: --branch %s", names[0])
}

func readStatement(envelope []byte) (gov.Statement, error) {
	var env struct {
		Payload []byte `json:"payload"`
	}
	if err := json.Unmarshal(envelope, &env); err != nil {
		return gov.Statement{}, err
	}
	var st struct {
		Predicate gov.Statement `json:"predicate"`
	}
	err := json.Unmarshal(env.Payload, &st)
	return st.Predicate, err
}
