package cli

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

// place is where a change stands: its branch as this repository knows it, and
// the law it is judged by.
type place struct {
	id     gov.ChangeID
	branch engine.Branch
	law    engine.Law
}

// where finds the branch that holds a change; name chooses one, "" looks.
func (a *app) where(ctx context.Context, w Workbench, id gov.ChangeID, name string) (place, error) {
	p := place{id: id}
	var err error
	if p.law, err = engine.ReadLaw(ctx, w); err != nil {
		return p, err
	}
	if name == "" {
		p.branch, err = engine.Find(ctx, w, p.law.Policy.Changes.Dir, id)
		return p, err
	}
	branches, err := w.Branches(ctx)
	if err != nil {
		return p, err
	}
	for _, b := range branches {
		if b.Name != name {
			continue
		}
		if p.branch.Ref == "" {
			p.branch = b
			continue
		}
		// Of a local branch and the remote's, the one that contains the other: a
		// branch that is merely behind is no reason to make a person pull.
		if in, err := w.Contains(ctx, b.Commit, p.branch.Commit); err != nil {
			return p, err
		} else if in && b.Commit != p.branch.Commit {
			p.branch = b
		}
	}
	if p.branch.Ref == "" {
		return p, gov.Errorf(gov.KindNotFound, "branch_not_found", "there is no branch %q here", name).WithHint("git fetch; git branch --all")
	}
	return p, nil
}

// deliver puts signed envelopes where they count: statement files on the
// change's branch, pushed where there is a remote, and taken into the log. A
// branch that only the remote has gets its file without a local branch being
// left behind; a change without a branch (it is merged, or there is no work
// bench) gets the envelope over the API alone.
//
// branch names the branch to write to; "" finds it.
func (a *app) deliver(ctx context.Context, w Workbench, s Session, id gov.ChangeID, branch string, envelopes ...[]byte) (client.Change, error) {
	if w == nil {
		return a.hand(ctx, s, envelopes)
	}
	p, err := a.where(ctx, w, id, branch)
	if gov.CodeOf(err) == "change_branch_missing" {
		return a.hand(ctx, s, envelopes)
	}
	if err != nil {
		return client.Change{}, err
	}
	commit, err := a.commitStatements(ctx, w, p, envelopes)
	if err != nil {
		return client.Change{}, err
	}
	c, err := s.Client().Sync(ctx, client.SyncRequest{Change: id, Head: commit})
	if gov.CodeOf(err) == "commit_not_found" {
		return a.hand(ctx, s, envelopes) // a server whose repository the branch has not reached
	}
	return c, err
}

// hand gives envelopes to the log without a branch.
func (a *app) hand(ctx context.Context, s Session, envelopes [][]byte) (client.Change, error) {
	var out client.Change
	for _, e := range envelopes {
		ans, err := s.Client().TakeStatement(ctx, e)
		if err != nil {
			return out, err
		}
		if ans.Change != nil {
			out = *ans.Change
		}
	}
	return out, nil
}

// commitStatements writes the files onto the branch, in one commit, and pushes
// it.
func (a *app) commitStatements(ctx context.Context, w Workbench, p place, envelopes [][]byte) (string, error) {
	files := map[string][]byte{}
	var digest gov.Digest
	for _, e := range envelopes {
		digest = gov.DigestOf(e)
		files[path.Join(p.law.Policy.Changes.Dir, string(p.id), "statements", digest.Hex()+".json")] = e
	}
	message := string(p.id) + ": statement " + digest.Short()
	if len(files) > 1 {
		message = fmt.Sprintf("%s: %d statements", p.id, len(files))
	}
	remote, err := w.HasRemote(ctx, remoteName)
	if err != nil {
		return "", err
	}
	local := p.branch.Name
	if !strings.HasPrefix(p.branch.Ref, "refs/heads/") {
		local = "govern/" + strings.ToLower(string(p.id)) + "-" + digest.Short()
		if err := w.UpdateRef(ctx, "refs/heads/"+local, p.branch.Commit, "", "govern: statement"); err != nil {
			return "", err
		}
		defer a.forget(ctx, w, local)
	}
	commit, err := w.AddFiles(ctx, local, files, message)
	if err != nil || !remote {
		return commit, err
	}
	said, err := w.Push(ctx, remoteName, "refs/heads/"+local+":refs/heads/"+p.branch.Name)
	for _, line := range said {
		a.talk("remote: %s", printable(line))
	}
	if gov.CodeOf(err) == "push_not_fast_forward" {
		err = gov.Errorf(gov.KindConflict, "push_not_fast_forward", "%s has commits on %s that are not here; the statement is committed and not pushed: %w", p.branch.Name, remoteName, err).
			WithHint("git pull --rebase %s %s, then git push", remoteName, p.branch.Name)
	}
	return commit, err
}

// forget removes the branch that carried a file to the remote.
func (a *app) forget(ctx context.Context, w Workbench, local string) {
	ctx = context.WithoutCancel(ctx)
	ref := "refs/heads/" + local
	tip, err := w.Resolve(ctx, ref)
	if err == nil {
		err = w.UpdateRef(ctx, ref, strings.Repeat("0", len(tip)), tip, "govern: statement delivered")
	}
	if err != nil {
		a.talk("govern: the branch %s is left over: git branch -D %s", local, local)
	}
}
