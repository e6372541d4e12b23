package git

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// checkout is a work tree in which a branch is checked out.
type checkout struct {
	path   string // absolute
	gitDir string // absolute
}

// checkouts gives the work trees that have ref checked out, and refuses while
// one of them is rebasing it.
func (r *Repo) checkouts(ctx context.Context, ref string) ([]checkout, error) {
	if err := r.notRebasing(ref); err != nil {
		return nil, err
	}
	out, err := r.run(ctx, call{args: []string{"worktree", "list", "--porcelain", "-z"}, env: []string{"GIT_DIR=" + r.CommonDir}, tree: true})
	if err != nil {
		return nil, err
	}
	list, err := parseWorktrees(out)
	if err != nil {
		return nil, err
	}
	var found []checkout
	for i, w := range list {
		if w.branch != ref || w.bare || w.prunable {
			continue
		}
		path := w.path
		if i == 0 && r.GitDir == r.CommonDir && r.WorkTree != "" {
			path = r.WorkTree // git names the main work tree wrongly with core.worktree
		}
		dir, err := execGit(ctx, call{dir: path}, []string{"rev-parse", "--absolute-git-dir"}, baseEnv(false))
		if err != nil {
			return nil, gov.Errorf(gov.KindConflict, "worktree_unreadable", "the branch is checked out in %q, which cannot be read: %w", path, err).
				WithHint("git worktree prune")
		}
		found = append(found, checkout{path: path, gitDir: strings.TrimSuffix(string(dir), "\n")})
	}
	return found, nil
}

// worktree is one record of "git worktree list --porcelain -z".
type worktree struct {
	path, branch   string
	bare, prunable bool
}

// parseWorktrees reads records of NUL-terminated "key SP value" fields, each
// record ended by an empty field.
func parseWorktrees(out []byte) ([]worktree, error) {
	fields, err := splitNUL(out)
	if err != nil {
		return nil, err
	}
	var list []worktree
	fresh := true
	for _, f := range fields {
		key, value, _ := strings.Cut(f, " ")
		switch {
		case f == "":
			fresh = true
			continue
		case key == "worktree":
			if !fresh {
				return nil, malformed("list of work trees")
			}
			list = append(list, worktree{path: value})
		case fresh:
			return nil, malformed("list of work trees")
		case key == "branch":
			list[len(list)-1].branch = value
		case key == "bare":
			list[len(list)-1].bare = true
		case key == "prunable":
			list[len(list)-1].prunable = true
		}
		fresh = false
	}
	return list, nil
}

// notRebasing refuses while any work tree rebases the branch: the end of the
// rebase would throw a commit made now away.
func (r *Repo) notRebasing(ref string) error {
	dirs := []string{r.CommonDir}
	linked, _ := filepath.Glob(filepath.Join(escapeGlob(r.CommonDir), "worktrees", "*"))
	for _, dir := range append(dirs, linked...) {
		for _, name := range []string{"rebase-merge", "rebase-apply"} {
			head, err := os.ReadFile(filepath.Join(dir, name, "head-name"))
			if err == nil && strings.TrimSpace(string(head)) == ref {
				return gov.Errorf(gov.KindConflict, "branch_busy", "%s is being rebased", ref).WithHint("git rebase --continue")
			}
		}
	}
	return nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// checkClean refuses when a file to be written has changes in the index or in
// the work tree, or something else stands in its place.
func (r *Repo) checkClean(ctx context.Context, w checkout, tip string, paths []string, files map[string][]byte) error {
	for _, p := range paths {
		committed, err := r.at(ctx, w, "ls-tree", "-z", "--full-tree", tip, "--", p)
		if err != nil {
			return err
		}
		staged, err := r.at(ctx, w, "ls-files", "--stage", "-z", "--", p)
		if err != nil {
			return err
		}
		if !sameEntry(committed, staged) {
			return dirty(p)
		}
		if err := r.checkFile(ctx, w, p, committed, files[p]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) at(ctx context.Context, w checkout, args ...string) ([]byte, error) {
	return r.run(ctx, call{args: args, env: []string{"GIT_DIR=" + w.gitDir}})
}

// sameEntry compares "mode SP type SP id TAB path" with "mode SP id SP stage
// TAB path".
func sameEntry(committed, staged []byte) bool {
	if len(committed) == 0 || len(staged) == 0 {
		return len(committed) == len(staged)
	}
	c, s := bytes.Fields(committed), bytes.Fields(staged)
	return len(c) >= 4 && len(s) >= 4 && bytes.Equal(c[0], s[0]) && bytes.Equal(c[2], s[1]) &&
		string(s[2]) == "0" && bytes.Count(staged, []byte{0}) == 1
}

// checkFile compares a file of the work tree with what is committed. A file
// that already has the new content is fine.
func (r *Repo) checkFile(ctx context.Context, w checkout, path string, committed, data []byte) error {
	if err := plainParents(w.path, path); err != nil {
		return err
	}
	full := filepath.Join(w.path, filepath.FromSlash(path))
	info, err := os.Lstat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(committed) == 0:
		return nil
	case err != nil || !info.Mode().IsRegular():
		return dirty(path)
	}
	have, err := os.ReadFile(full)
	if err != nil {
		return dirty(path)
	}
	if bytes.Equal(have, data) {
		return nil
	}
	entries, err := parseEntries(committed)
	if err != nil || len(entries) != 1 {
		return dirty(path)
	}
	was, err := r.Blob(ctx, entries[0].id)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, was) {
		return dirty(path)
	}
	return nil
}

// plainParents refuses folders on the way that are symbolic links or no
// folders, so that nothing outside the work tree is ever written.
func plainParents(root, path string) error {
	parts := strings.Split(path, "/")
	for i := 1; i < len(parts); i++ {
		at := filepath.Join(root, filepath.Join(parts[:i]...))
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !info.IsDir() {
			return gov.Errorf(gov.KindConflict, "path_occupied", "%q in the work tree is not a folder", strings.Join(parts[:i], "/"))
		}
	}
	return nil
}

func dirty(path string) error {
	return gov.Errorf(gov.KindConflict, "files_dirty", "%q has changes in the work tree or index that would be lost", path).
		WithHint("git status")
}

// bring writes committed files into index and work tree of a checkout. Git must
// see the work tree when it writes an index: it looks there for files that were
// edited in the same moment, which would seem unchanged afterwards.
func (r *Repo) bring(ctx context.Context, w checkout, commit string, paths []string, files map[string][]byte) error {
	err := writeFiles(w.path, paths, files)
	if err == nil {
		var lines []byte
		if lines, err = r.indexLines(ctx, paths, files); err == nil {
			_, err = r.run(ctx, call{
				args: []string{"update-index", "-z", "--index-info"}, stdin: bytes.NewReader(lines),
				env: []string{"GIT_DIR=" + w.gitDir, "GIT_WORK_TREE=" + w.path}, dir: w.path, tree: true,
			})
		}
	}
	if err != nil {
		return gov.Errorf(gov.KindUnavailable, "worktree_not_updated", "commit %.12s is made, but the work tree at %q could not follow: %w", commit, w.path, err).
			WithHint("git -C %s checkout HEAD -- %s", w.path, ChangesDir)
	}
	return nil
}

func writeFiles(dir string, paths []string, files map[string][]byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, p := range paths {
		if err := plainParents(dir, p); err != nil {
			return err
		}
		name := filepath.FromSlash(p)
		if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		if err := root.WriteFile(name, files[p], 0o666); err != nil {
			return err
		}
	}
	return nil
}
