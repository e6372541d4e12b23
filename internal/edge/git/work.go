package git

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// FirstFiles makes the first commit of a branch that has none yet, with exactly
// these files. What else is staged stays staged. Errors: those of AddFiles, and
// ref_moved when the branch has commits.
func (r *Repo) FirstFiles(ctx context.Context, branch string, files map[string][]byte, message string) (string, error) {
	author, err := r.Identity(ctx)
	if err != nil {
		return "", err
	}
	ref := "refs/heads/" + branch
	if err := CheckRef(ref); err != nil {
		return "", err
	}
	paths, err := writable(files)
	if err != nil {
		return "", err
	}
	empty, err := r.run(ctx, call{args: []string{"hash-object", "-w", "-t", "tree", "--stdin"}, stdin: bytes.NewReader(nil)})
	if err != nil {
		return "", err
	}
	none := strings.TrimSpace(string(empty))
	tree, err := r.graft(ctx, none, paths, files)
	if err != nil {
		return "", err
	}
	trees, err := r.checkouts(ctx, ref)
	if err != nil {
		return "", err
	}
	for _, w := range trees {
		if err := r.checkClean(ctx, w, none, paths, files); err != nil {
			return "", err
		}
	}
	commit, err := r.commitTree(ctx, tree, nil, message, author)
	if err != nil {
		return "", err
	}
	if err := r.UpdateRef(ctx, ref, commit, "", "govern: first commit"); err != nil {
		return "", err
	}
	for _, w := range trees {
		if err := r.bring(ctx, w, commit, paths, files); err != nil {
			return commit, err
		}
	}
	return commit, nil
}

// JoinFiles adds files to a branch as AddFiles does and joins the history of
// another commit, from which nothing else is taken: what brings statements of
// others, that stand on the remote branch, home. Where the branch only lags
// behind and nothing is left to add, it moves forward instead.
func (r *Repo) JoinFiles(ctx context.Context, branch, other string, files map[string][]byte, message string) (string, error) {
	tip, err := r.branchTip(ctx, branch)
	if err != nil {
		return "", err
	}
	author, err := r.Identity(ctx)
	if err != nil {
		return "", err
	}
	paths, err := writable(files)
	if err != nil {
		return "", err
	}
	if other, err = r.Resolve(ctx, other); err != nil {
		return "", err
	}
	tree, err := r.graft(ctx, tip, paths, files)
	if err != nil {
		return "", err
	}
	trees, err := r.checkouts(ctx, "refs/heads/"+branch)
	if err != nil {
		return "", err
	}
	for _, w := range trees {
		if err := r.checkClean(ctx, w, tip, paths, files); err != nil {
			return "", err
		}
	}
	commit, err := r.joined(ctx, tip, other, tree, message, author)
	if err != nil || commit == tip {
		return commit, err
	}
	if err := r.UpdateRef(ctx, "refs/heads/"+branch, commit, tip, "govern: join statements"); err != nil {
		return "", err
	}
	for _, w := range trees {
		if err := r.bring(ctx, w, commit, paths, files); err != nil {
			return commit, err
		}
	}
	return commit, nil
}

// joined is the commit that holds tree after both tip and other.
func (r *Repo) joined(ctx context.Context, tip, other, tree, message string, author Author) (string, error) {
	have, err := r.Contains(ctx, tip, other)
	if err != nil {
		return "", err
	}
	parents := []string{tip, other}
	if have {
		parents = parents[:1]
		if now, err := r.TreeOf(ctx, tip); err != nil || now == tree {
			return tip, err
		}
	} else if behind, err := r.Contains(ctx, other, tip); err != nil {
		return "", err
	} else if behind {
		if theirs, err := r.TreeOf(ctx, other); err != nil || theirs == tree {
			return other, err
		}
		parents = []string{other}
	}
	return r.commitTree(ctx, tree, parents, message, author)
}

func writable(files map[string][]byte) ([]string, error) {
	paths := slices.Sorted(maps.Keys(files))
	for _, p := range paths {
		if err := checkWritable(p); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// RevertCommit makes a branch with one commit on top of tip that takes back
// exactly what mergedBase to mergedHead brought; records (metadata and
// statements of changes) stay. It needs no work tree and touches none. Error:
// revert_conflict when a file has moved since, so that no exact inverse exists.
func (r *Repo) RevertCommit(ctx context.Context, branch, tip, mergedBase, mergedHead, message string) (string, error) {
	author, err := r.Identity(ctx)
	if err != nil {
		return "", err
	}
	ref := "refs/heads/" + branch
	if err := CheckRef(ref); err != nil {
		return "", err
	}
	if tip, err = r.Resolve(ctx, tip); err != nil {
		return "", err
	}
	merged, err := r.diff(ctx, mergedBase, mergedHead)
	if err != nil {
		return "", err
	}
	since, err := r.diff(ctx, mergedHead, tip)
	if err != nil {
		return "", err
	}
	moved := map[string]bool{}
	for _, d := range since {
		moved[d.path] = true
	}
	known, err := r.readStatements(ctx, merged)
	if err != nil {
		return "", err
	}
	var lines bytes.Buffer
	for _, d := range merged {
		if known.addsRecord(d) {
			continue
		}
		if moved[d.path] {
			return "", gov.Errorf(gov.KindConflict, "revert_conflict", "%q was changed again since, so there is no exact inverse", shownPath(d.path)).
				WithHint("git revert, resolve, and govern submit: it is a change of its own")
		}
		fmt.Fprintf(&lines, "%s %s\t%s\x00", d.oldMode, d.oldID, d.path)
	}
	if lines.Len() == 0 {
		return "", gov.Errorf(gov.KindInvalid, "revert_empty", "there is nothing to take back")
	}
	tree, err := r.indexTree(ctx, tip, lines.Bytes())
	if err != nil {
		return "", err
	}
	commit, err := r.commitTree(ctx, tree, []string{tip}, message, author)
	if err != nil {
		return "", err
	}
	return commit, r.UpdateRef(ctx, ref, commit, "", "govern: revert")
}

// Patch gives the difference between two commits for people, without the
// statement files of a change that its digest leaves out.
func (r *Repo) Patch(ctx context.Context, base, head string, id gov.ChangeID) ([]byte, error) {
	base, head, err := r.pair(ctx, base, head)
	if err != nil {
		return nil, err
	}
	deltas, err := r.diff(ctx, base, head)
	if err != nil {
		return nil, err
	}
	known, err := r.readStatements(ctx, deltas)
	if err != nil {
		return nil, err
	}
	args := []string{"diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", base, head, "--"}
	n := 0
	for _, d := range deltas {
		if of, _, ok := statementID(d.path); !ok || of != id || !known.omits(d) {
			args = append(args, d.path)
			n++
		}
	}
	if n == 0 {
		return nil, nil
	}
	if n > 1000 { // argument lists end somewhere; statements are shown then
		args = args[:len(args)-n]
	}
	return r.git(ctx, args...)
}

// RemoveFolder commits the removal of a folder from the checked-out branch.
// Errors: nothing_else_staged when other changes are staged, files_dirty.
func (r *Repo) RemoveFolder(ctx context.Context, folder, message string) (string, error) {
	if err := CheckPath(folder); err != nil {
		return "", err
	}
	author, err := r.Identity(ctx)
	if err != nil {
		return "", err
	}
	if err := r.idle(); err != nil {
		return "", err
	}
	tree := call{env: []string{"GIT_WORK_TREE=" + r.WorkTree}, dir: r.WorkTree, tree: true}
	tree.args = []string{"diff-index", "--cached", "--quiet", "HEAD", "--"}
	if _, err := r.run(ctx, tree); exitCode(err) == 1 {
		return "", gov.Errorf(gov.KindConflict, "nothing_else_staged", "other changes are staged, and would be committed along").WithHint("git commit, then try again")
	} else if err != nil {
		return "", err
	}
	tree.args = []string{"rm", "-r", "-q", "--", folder}
	if _, err := r.run(ctx, tree); exitCode(err) > 0 {
		return "", dirty(folder)
	} else if err != nil {
		return "", err
	}
	return r.Commit(ctx, message, author)
}

// statementsOnly tells, for each commit with one parent, whether it does nothing
// but add statement files: who commits those has no hand in the content.
func (r *Repo) statementsOnly(ctx context.Context, base, head string) (map[string]bool, error) {
	out, err := r.git(ctx, "rev-list", "--parents", head, "^"+base, "--")
	if err != nil {
		return nil, err
	}
	var in strings.Builder
	var commits []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 {
			commits = append(commits, f[0])
			in.WriteString(f[0] + " " + f[1] + "\n")
		}
	}
	if len(commits) == 0 {
		return map[string]bool{}, nil
	}
	out, err = r.run(ctx, call{
		args: []string{
			"diff-tree", "--stdin", "-r", "-z", "--raw", "--full-index", "--no-renames", "--no-ext-diff", "--ignore-submodules=none", "--always",
		},
		stdin: strings.NewReader(in.String()),
	})
	if err != nil {
		return nil, err
	}
	lists := make([][]delta, len(commits))
	for i, c := range commits {
		var ok bool
		if out, ok = bytes.CutPrefix(out, []byte(c+"\x00")); !ok {
			return nil, malformed("list of differences")
		}
		end := endOfDeltas(out)
		if lists[i], err = parseDeltas(out[:end]); err != nil {
			return nil, err
		}
		out = out[end:]
	}
	known, err := r.readStatements(ctx, lists...)
	if err != nil {
		return nil, err
	}
	only := make(map[string]bool, len(commits))
	for i, c := range commits {
		only[c] = len(lists[i]) > 0 && !slices.ContainsFunc(lists[i], func(d delta) bool { return !known.addsStatement(d) })
	}
	return only, nil
}

// indexTree writes the tree of a commit with update-index lines applied.
func (r *Repo) indexTree(ctx context.Context, commit string, lines []byte) (string, error) {
	dir, done, err := tempDir()
	if err != nil {
		return "", err
	}
	defer done()
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	if _, err := r.run(ctx, call{args: []string{"read-tree", commit}, env: env}); err != nil {
		return "", err
	}
	if _, err := r.run(ctx, call{args: []string{"update-index", "-z", "--index-info"}, env: env, stdin: bytes.NewReader(lines)}); err != nil {
		return "", err
	}
	out, err := r.run(ctx, call{args: []string{"write-tree"}, env: env})
	return strings.TrimSpace(string(out)), err
}
