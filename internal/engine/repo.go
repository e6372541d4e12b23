package engine

import (
	"context"

	"github.com/governhq/govern/internal/gov"
)

// Repo is the governed repository as the engine reads it. Commits are full
// object ids unless an argument is called ref. Everything is read from git's
// object store, never from a work tree.
type Repo interface {
	// Resolve gives the commit of a revision expression; KindNotFound when
	// there is none.
	Resolve(ctx context.Context, ref string) (commit string, err error)
	// ReadFile reads a regular file at a commit; KindNotFound when absent.
	ReadFile(ctx context.Context, commit, path string) ([]byte, error)
	// ListFiles lists the paths below a folder of a commit.
	ListFiles(ctx context.Context, commit, prefix string) ([]string, error)
	// Revision gives both digests of a change between the merge base of target
	// and head, and head; Tree is of what a merge would put on the target.
	Revision(ctx context.Context, target, head string, id gov.ChangeID) (gov.Revision, []gov.PathChange, error)
	// Between gives both digests of the difference between two commits as they
	// are: what a push from base to head lands.
	Between(ctx context.Context, base, head string, id gov.ChangeID) (gov.Revision, []gov.PathChange, error)
	// Contributors gives the e-mail addresses of everybody who wrote or
	// committed between base and head, and the agents named in trailers.
	Contributors(ctx context.Context, base, head string) (emails, agents []string, err error)
	// Landings splits what a push lands on a governed ref into changes, oldest
	// first; ref_deleted, ref_created, not_fast_forward refuse it.
	Landings(ctx context.Context, old, new string) ([]Landing, error)
	// TakesBack tells whether base..head takes back exactly what
	// mergedBase..mergedHead brought.
	TakesBack(ctx context.Context, base, head, mergedBase, mergedHead string) (bool, error)
	// Contains tells whether ancestor is in the history of commit.
	Contains(ctx context.Context, commit, ancestor string) (bool, error)
	// IsMerge tells whether a commit has more than one parent.
	IsMerge(ctx context.Context, commit string) (bool, error)
	// DefaultBranch is the branch that changes aim at: its name, and the ref to
	// compare with in this repository.
	DefaultBranch(ctx context.Context) (name, ref string, err error)
	// Branches lists the branches of this repository and of its remotes: name
	// without prefix, full ref, tip.
	Branches(ctx context.Context) ([]Branch, error)
}

// Landing is what one change lands: the range (Base, Head] of the pushed ref.
// Change is "" for commits that belong to no change. Reverts lists commits that
// the messages of the range say they take back.
type Landing struct {
	Change  gov.ChangeID
	Base    string
	Head    string
	Paths   []gov.PathChange
	Reverts []string
}

// Branch is a branch and where it points.
type Branch struct {
	Name   string // "fix-bass"
	Ref    string // "refs/heads/fix-bass" or "refs/remotes/origin/fix-bass"
	Commit string
}
