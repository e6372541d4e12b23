package git

import (
	"context"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Change is the content of one change as git sees it.
type Change struct {
	ID       gov.ChangeID
	Revision gov.Revision // Commit is the head, Base the commit it is compared with
	Target   string       // commit of the target branch it was computed against
	Tree     string       // git tree that will stand on the target; Revision.Tree is its digest

	// Paths are the touched files, sorted, without statements and without
	// metadata that differs in approvals only. Every path is clean (CheckPath),
	// but for removed files: see doc.go.
	Paths []gov.PathChange
	// Statements are the added statement files of this change that the digests
	// leave out. What only has the name of one is among Paths.
	Statements []string
	// Moved are touched paths that the target changed since the merge base.
	// When it is not empty, the change digest after a rebase or merge will
	// differ, and statements given now will not count for it.
	Moved []string
	// Conflicts are the paths that cannot be merged; then Revision.Tree is ""
	// and the error is merge_conflict.
	Conflicts []string
}

// Revision computes both digests of the change on head as it aims at target:
// the change digest from their merge base to head, the tree digest of what a
// merge would put on the target.
//
// On merge_conflict the Change is returned beside the error with all but its
// tree. Other errors: commit_not_found, no_merge_base, merge_base_ambiguous,
// repository_shallow, path_not_utf8, path_unsafe, tree_malformed.
func (r *Repo) Revision(ctx context.Context, target, head string, id gov.ChangeID) (Change, error) {
	target, head, err := r.pair(ctx, target, head)
	if err != nil {
		return Change{}, err
	}
	base, err := r.mergeBase(ctx, target, head)
	if err != nil {
		return Change{}, err
	}
	c, own, err := r.between(ctx, base, head, id)
	if err != nil {
		return Change{}, err
	}
	c.Target = target
	if c.Moved, err = r.moved(ctx, base, target, id, own); err != nil {
		return Change{}, err
	}
	tree, conflicts, err := r.candidate(ctx, base, target, head)
	c.Conflicts = conflicts
	if err != nil {
		return c, err
	}
	return r.withTree(ctx, c, tree)
}

// Between computes both digests of the difference between two commits as they
// are, without looking for a merge base: what a push from base to head lands.
// The tree is that of head.
func (r *Repo) Between(ctx context.Context, base, head string, id gov.ChangeID) (Change, error) {
	base, head, err := r.pair(ctx, base, head)
	if err != nil {
		return Change{}, err
	}
	c, _, err := r.between(ctx, base, head, id)
	if err != nil {
		return Change{}, err
	}
	c.Target = base
	tree, err := r.TreeOf(ctx, head)
	if err != nil {
		return Change{}, err
	}
	return r.withTree(ctx, c, tree)
}

// CandidateTree gives the git tree that a merge of head into target would
// produce. Renames are not followed, so that it does not depend on heuristics
// or the version of git: a file renamed on one side and edited on the other is
// a conflict. It writes the tree's objects into the repository. Errors: as
// Revision.
func (r *Repo) CandidateTree(ctx context.Context, target, head string) (string, error) {
	target, head, err := r.pair(ctx, target, head)
	if err != nil {
		return "", err
	}
	base, err := r.mergeBase(ctx, target, head)
	if err != nil {
		return "", err
	}
	tree, _, err := r.candidate(ctx, base, target, head)
	return tree, err
}

// MergeBase gives the one best common ancestor of two commits.
// Errors: no_merge_base, merge_base_ambiguous, repository_shallow.
func (r *Repo) MergeBase(ctx context.Context, a, b string) (string, error) {
	a, b, err := r.pair(ctx, a, b)
	if err != nil {
		return "", err
	}
	return r.mergeBase(ctx, a, b)
}

func (r *Repo) pair(ctx context.Context, a, b string) (string, string, error) {
	idA, err := r.Resolve(ctx, a)
	if err != nil {
		return "", "", err
	}
	idB, err := r.Resolve(ctx, b)
	return idA, idB, err
}

func (r *Repo) mergeBase(ctx context.Context, target, head string) (string, error) {
	if err := r.deep(); err != nil {
		return "", err
	}
	out, err := r.git(ctx, "merge-base", "--all", target, head)
	if exitCode(err) == 1 {
		return "", gov.Errorf(gov.KindInvalid, "no_merge_base", "commits %.12s and %.12s have no common history", target, head).
			WithHint("git rebase --onto %.12s", target)
	}
	if err != nil {
		return "", err
	}
	bases := strings.Fields(string(out))
	if len(bases) != 1 {
		return "", gov.Errorf(gov.KindConflict, "merge_base_ambiguous", "commits %.12s and %.12s have %d best common ancestors", target, head, len(bases)).
			WithHint("git rebase %.12s", target)
	}
	return bases[0], nil
}

// deep refuses to answer questions about history in a shallow clone.
func (r *Repo) deep() error {
	if r.Shallow {
		return gov.Errorf(gov.KindUnavailable, "repository_shallow", "this clone has only a part of the history, so the base of a change cannot be found").
			WithHint("git fetch --unshallow")
	}
	return nil
}

// diff lists the differences of two trees or commits.
func (r *Repo) diff(ctx context.Context, from, to string) ([]delta, error) {
	out, err := r.git(ctx, "diff-tree", "-r", "-z", "--raw", "--full-index", "--no-renames",
		"--no-ext-diff", "--ignore-submodules=none", from, to)
	if err != nil {
		return nil, err
	}
	return parseDeltas(out)
}

func (r *Repo) between(ctx context.Context, base, head string, id gov.ChangeID) (Change, counted, error) {
	deltas, err := r.diff(ctx, base, head)
	if err != nil {
		return Change{}, counted{}, err
	}
	own, err := r.count(ctx, deltas, id)
	if err != nil {
		return Change{}, counted{}, err
	}
	paths, err := pathChanges(own.deltas)
	if err != nil {
		return Change{}, counted{}, err
	}
	return Change{
		ID:       id,
		Revision: gov.Revision{Change: own.digest(), Commit: head, Base: base},
		Paths:    paths, Statements: own.statements,
	}, own, nil
}

// pathChanges makes deltas fit for JSON, or refuses them.
func pathChanges(deltas []delta) ([]gov.PathChange, error) {
	paths := make([]gov.PathChange, len(deltas))
	for i, d := range deltas {
		if d.newMode != absentMode {
			if err := CheckPath(d.path); err != nil {
				return nil, err
			}
		}
		paths[i] = gov.PathChange{Path: shownPath(d.path), OldMode: d.oldMode, OldBlob: d.oldID, NewMode: d.newMode, NewBlob: d.newID}
	}
	return paths, nil
}

// moved gives the touched paths that also differ between base and target.
func (r *Repo) moved(ctx context.Context, base, target string, id gov.ChangeID, own counted) ([]string, error) {
	if base == target {
		return nil, nil
	}
	deltas, err := r.diff(ctx, base, target)
	if err != nil {
		return nil, err
	}
	theirs, err := r.count(ctx, deltas, id)
	if err != nil {
		return nil, err
	}
	touched := make(map[string]bool, len(own.deltas))
	for _, d := range own.deltas {
		touched[d.path] = true
	}
	var moved []string
	for _, d := range theirs.deltas {
		if touched[d.path] {
			moved = append(moved, shownPath(d.path))
		}
	}
	return moved, nil
}

// candidate merges head into target; conflicts are listed beside the error.
func (r *Repo) candidate(ctx context.Context, base, target, head string) (tree string, conflicts []string, err error) {
	if base == target {
		tree, err = r.TreeOf(ctx, head)
		return tree, nil, err
	}
	if base == head {
		tree, err = r.TreeOf(ctx, target)
		return tree, nil, err
	}
	out, err := r.git(ctx, "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", target, head)
	exit := exitCode(err)
	switch {
	case exit == 1:
		conflicts, err := conflictPaths(err)
		if err != nil {
			return "", nil, err
		}
		return "", conflicts, conflict(target, conflicts)
	case exit == 129:
		return "", nil, gov.Errorf(gov.KindUnavailable, "git_too_old", "this git has no merge-tree --write-tree: %w", err).
			WithHint("install git 2.38 or newer")
	case err != nil:
		return "", nil, err
	}
	tree = strings.TrimRight(string(out), "\x00\n")
	if !isObjectID(tree) {
		return "", nil, malformed("merge result")
	}
	conflicts, err = r.followed(ctx, base, target, head, tree)
	if err == nil && len(conflicts) > 0 {
		err = conflict(target, conflicts)
	}
	if err != nil {
		return "", conflicts, err
	}
	return tree, nil, nil
}

func conflict(target string, paths []string) error {
	return gov.Errorf(gov.KindConflict, "merge_conflict", "the change does not merge into its target: %s", some(paths)).
		WithHint("git rebase %.12s", target)
}

// followed gives the paths where the merge followed a rename (git before 2.50
// cannot be told not to): files that head did not touch, or that only head
// touched and that are not as head has them.
func (r *Repo) followed(ctx context.Context, base, target, head, tree string) ([]string, error) {
	var sides [3]map[string]delta // of base..head, base..target, target..tree
	for i, pair := range [][2]string{{base, head}, {base, target}, {target, tree}} {
		deltas, err := r.diff(ctx, pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		sides[i] = make(map[string]delta, len(deltas))
		for _, d := range deltas {
			sides[i][d.path] = d
		}
	}
	ours, theirs, merged := sides[0], sides[1], sides[2]
	var paths []string
	for path, d := range merged {
		own, touched := ours[path]
		_, both := theirs[path]
		if !touched || !both && (own.newMode != d.newMode || own.newID != d.newID) {
			paths = append(paths, shownPath(path))
		}
	}
	for path := range ours {
		if _, there := merged[path]; !there && theirs[path].path == "" {
			paths = append(paths, shownPath(path)) // touched by head alone, and lost
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// conflictPaths reads what merge-tree -z --name-only prints on a conflict: the
// tree id, then a name for each conflicted file.
func conflictPaths(err error) ([]string, error) {
	fields, err := splitNUL(stdoutOf(err))
	if err != nil || len(fields) == 0 || !isObjectID(fields[0]) {
		return nil, malformed("merge result")
	}
	paths := make([]string, 0, len(fields)-1)
	for _, f := range fields[1:] {
		paths = append(paths, shownPath(f))
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// some names up to three of the paths.
func some(paths []string) string {
	if len(paths) <= 3 {
		return strings.Join(paths, ", ")
	}
	return strings.Join(paths[:3], ", ") + ", …"
}

func (r *Repo) withTree(ctx context.Context, c Change, tree string) (Change, error) {
	digest, err := r.treeDigest(ctx, tree)
	if err != nil {
		return Change{}, err
	}
	c.Tree, c.Revision.Tree = tree, digest
	return c, nil
}
