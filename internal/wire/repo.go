package wire

import (
	"context"
	"strings"

	"github.com/governhq/govern/internal/edge/git"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

// Repo is a git repository as the engine reads it.
type Repo struct{ *git.Repo }

var _ engine.Repo = Repo{}

// OpenRepo opens the repository that contains dir.
func OpenRepo(ctx context.Context, dir string) (Repo, error) {
	r, err := git.Open(ctx, dir)
	return Repo{r}, err
}

// ListFiles lists paths.
func (r Repo) ListFiles(ctx context.Context, commit, prefix string) ([]string, error) {
	entries, err := r.Repo.ListFiles(ctx, commit, prefix)
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = e.Path
	}
	return paths, err
}

// Revision gives digests and touched paths.
func (r Repo) Revision(ctx context.Context, target, head string, id gov.ChangeID) (gov.Revision, []gov.PathChange, error) {
	c, err := r.Repo.Revision(ctx, target, head, id)
	return c.Revision, c.Paths, err
}

// Between gives digests and touched paths of a range as it is.
func (r Repo) Between(ctx context.Context, base, head string, id gov.ChangeID) (gov.Revision, []gov.PathChange, error) {
	c, err := r.Repo.Between(ctx, base, head, id)
	return c.Revision, c.Paths, err
}

// Contributors gives addresses and agents.
func (r Repo) Contributors(ctx context.Context, base, head string) (emails, agents []string, err error) {
	c, err := r.Committers(ctx, base, head)
	return c.Emails, c.Agents, err
}

// Landings splits a push into changes, and says what ungoverned commits revert.
func (r Repo) Landings(ctx context.Context, old, new string) ([]engine.Landing, error) {
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
func (r Repo) TakesBack(ctx context.Context, base, head, mergedBase, mergedHead string) (bool, error) {
	return r.InverseOf(ctx, base, head, mergedBase, mergedHead)
}

// DefaultBranch gives name and ref of the branch that changes aim at.
func (r Repo) DefaultBranch(ctx context.Context) (name, ref string, err error) {
	b, err := r.Repo.DefaultBranch(ctx)
	return b.Name, b.Ref, err
}

// Branches lists local and remote-tracking branches.
func (r Repo) Branches(ctx context.Context) ([]engine.Branch, error) {
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
func (r Repo) IsMerge(ctx context.Context, commit string) (bool, error) {
	_, err := r.Resolve(ctx, commit+"^2")
	if gov.KindOf(err) == gov.KindNotFound {
		return false, nil
	}
	return err == nil, err
}
