package engine_test

import (
	"context"
	"strings"

	"github.com/governhq/govern/internal/edge/git"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

// gitRepo fits edge/git to engine.Repo as package wire does, which would bring every
// face with it into these tests.
type gitRepo struct{ *git.Repo }

var _ engine.Repo = gitRepo{}

// openRepo opens the repository that contains dir.
func openRepo(ctx context.Context, dir string) (gitRepo, error) {
	r, err := git.Open(ctx, dir)
	return gitRepo{r}, err
}

// ListFiles lists paths.
func (r gitRepo) ListFiles(ctx context.Context, commit, prefix string) ([]string, error) {
	entries, err := r.Repo.ListFiles(ctx, commit, prefix)
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = e.Path
	}
	return paths, err
}

// Revision gives digests and touched paths.
func (r gitRepo) Revision(ctx context.Context, target, head string, id gov.ChangeID) (gov.Revision, []gov.PathChange, error) {
	c, err := r.Repo.Revision(ctx, target, head, id)
	return c.Revision, c.Paths, err
}

// Between gives digests and touched paths of a range as it is.
func (r gitRepo) Between(ctx context.Context, base, head string, id gov.ChangeID) (gov.Revision, []gov.PathChange, error) {
	c, err := r.Repo.Between(ctx, base, head, id)
	return c.Revision, c.Paths, err
}

// Contributors gives addresses and agents.
func (r gitRepo) Contributors(ctx context.Context, base, head string) (emails, agents []string, err error) {
	c, err := r.Committers(ctx, base, head)
	return c.Emails, c.Agents, err
}

// Landings splits a push into changes, and says what ungoverned commits revert.
func (r gitRepo) Landings(ctx context.Context, old, new string) ([]engine.Landing, error) {
	landings, err := r.Range(ctx, old, new)
	if err != nil {
		return nil, err
	}
	out := make([]engine.Landing, len(landings))
	for i, l := range landings {
		out[i] = engine.Landing{Change: l.Change, Base: l.Base, Head: l.Head, Paths: l.Paths}
		if l.Governed() {
			continue
		}
		if out[i].Reverts, err = r.FindReverted(ctx, l.Base, l.Head); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// TakesBack tells whether a range is the exact inverse of another.
func (r gitRepo) TakesBack(ctx context.Context, base, head, mergedBase, mergedHead string) (bool, error) {
	return r.InverseOf(ctx, base, head, mergedBase, mergedHead)
}

// DefaultBranch gives name and ref of the branch that changes aim at.
func (r gitRepo) DefaultBranch(ctx context.Context) (name, ref string, err error) {
	b, err := r.Repo.DefaultBranch(ctx)
	return b.Name, b.Ref, err
}

// Branches lists local and remote-tracking branches.
func (r gitRepo) Branches(ctx context.Context) ([]engine.Branch, error) {
	refs, err := r.Refs(ctx, "refs/heads", "refs/remotes")
	if err != nil {
		return nil, err
	}
	var out []engine.Branch
	for _, ref := range refs {
		name := strings.TrimPrefix(ref.Name, "refs/heads/")
		if rest, ok := strings.CutPrefix(ref.Name, "refs/remotes/"); ok {
			_, name, _ = strings.Cut(rest, "/")
		}
		if name == "HEAD" || name == "" {
			continue
		}
		out = append(out, engine.Branch{Name: name, Ref: ref.Name, Commit: ref.Commit})
	}
	return out, nil
}

// IsMerge tells whether a commit has more than one parent.
func (r gitRepo) IsMerge(ctx context.Context, commit string) (bool, error) {
	_, err := r.Resolve(ctx, commit+"^2")
	if gov.KindOf(err) == gov.KindNotFound {
		return false, nil
	}
	return err == nil, err
}
