package cli

import (
	"context"
	"path"
	"strings"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

const origin = "origin"

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
		if b.Name == name && (p.branch.Ref == "" || strings.HasPrefix(b.Ref, "refs/heads/")) {
			p.branch = b
		}
	}
	if p.branch.Ref == "" {
		return p, gov.Errorf(gov.KindNotFound, "branch_not_found", "there is no branch %q here", name).WithHint("git fetch; git branch --all")
	}
	return p, nil
}

// deliver puts a signed envelope where it counts: a statement file on the
// change's branch, pushed where there is a remote, and taken into the log. A
// branch that only the remote has gets its file without a local branch being
// left behind; a change without a branch (it is merged, or there is no work
// bench) gets the envelope over the API alone.
//
// branch names the branch to write to; "" finds it.
func (a *app) deliver(ctx context.Context, w Workbench, s Session, id gov.ChangeID, branch string, envelope []byte) (client.Change, error) {
	if w == nil {
		return a.hand(ctx, s, envelope)
	}
	p, err := a.where(ctx, w, id, branch)
	if gov.CodeOf(err) == "change_branch_missing" {
		return a.hand(ctx, s, envelope)
	}
	if err != nil {
		return client.Change{}, err
	}
	commit, err := a.commitStatement(ctx, w, p, envelope)
	if err != nil {
		return client.Change{}, err
	}
	c, err := s.Client().Sync(ctx, client.SyncRequest{Change: id, Head: commit})
	if gov.CodeOf(err) == "commit_not_found" {
		return a.hand(ctx, s, envelope) // a server whose repository the branch has not reached
	}
	return c, err
}

// hand gives an envelope to the log without a branch.
func (a *app) hand(ctx context.Context, s Session, envelope []byte) (client.Change, error) {
	ans, err := s.Client().TakeStatement(ctx, envelope)
	if err != nil || ans.Change == nil {
		return client.Change{}, err
	}
	return *ans.Change, nil
}

// commitStatement writes the file onto the branch and pushes it.
func (a *app) commitStatement(ctx context.Context, w Workbench, p place, envelope []byte) (string, error) {
	digest := gov.DigestOf(envelope)
	file := path.Join(p.law.Policy.Changes.Dir, string(p.id), "statements", digest.Hex()+".json")
	message := string(p.id) + ": statement " + digest.Short()
	remote, err := w.HasRemote(ctx, origin)
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
	commit, err := w.AddFiles(ctx, local, map[string][]byte{file: envelope}, message)
	if err != nil || !remote {
		return commit, err
	}
	said, err := w.Push(ctx, origin, "refs/heads/"+local+":refs/heads/"+p.branch.Name)
	for _, line := range said {
		a.talk("remote: %s", printable(line))
	}
	if gov.CodeOf(err) == "push_not_fast_forward" {
		err = gov.Errorf(gov.KindConflict, "push_not_fast_forward", "%s has commits on %s that are not here; the statement is committed and not pushed: %w", p.branch.Name, origin, err).
			WithHint("git pull --rebase %s %s, then git push", origin, p.branch.Name)
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
