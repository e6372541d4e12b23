package git

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Author is who a commit names, as author and as committer.
type Author struct {
	Name, Email string
	When        time.Time // zero: now, by git's clock
	SignOff     bool      // add a Signed-off-by line
}

func (a Author) env() []string {
	env := []string{
		"GIT_AUTHOR_NAME=" + a.Name, "GIT_AUTHOR_EMAIL=" + a.Email,
		"GIT_COMMITTER_NAME=" + a.Name, "GIT_COMMITTER_EMAIL=" + a.Email,
	}
	if !a.When.IsZero() {
		when := fmt.Sprintf("@%d %s", a.When.Unix(), a.When.Format("-0700"))
		env = append(env, "GIT_AUTHOR_DATE="+when, "GIT_COMMITTER_DATE="+when)
	}
	return env
}

// Identity gives the user's name and address as git is configured.
// Error: author_invalid.
func (r *Repo) Identity(ctx context.Context) (Author, error) {
	env := append(baseEnv(true), "GIT_DIR="+r.GitDir)
	for _, name := range []string{"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	out, err := execGit(ctx, call{}, []string{"-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"}, env)
	if exitCode(err) > 0 {
		return Author{}, checkAuthor(Author{})
	}
	if err != nil {
		return Author{}, err
	}
	ident := string(out)
	name, _, _ := strings.Cut(ident, " <")
	a := Author{Name: name, Email: email(ident)}
	return a, checkAuthor(a)
}

// AddFiles commits files onto a branch and gives the commit. It adds or
// replaces regular files (mode 100644) and changes nothing else. Where the
// branch is checked out, index and work tree of just these files are brought
// along; otherwise no work tree and no index is touched.
//
// When every file is there already with this content, it gives the tip and
// makes no commit. Errors: branch_invalid, branch_not_found, path_unsafe,
// path_not_utf8, path_occupied (a file where a folder is needed), author_invalid,
// files_dirty (a checked-out file has changes), branch_busy (a rebase of the
// branch is under way), ref_moved (somebody was faster: do it again),
// git_quarantine (called inside a receive hook).
func (r *Repo) AddFiles(ctx context.Context, branch string, files map[string][]byte, message string, author Author) (string, error) {
	tip, err := r.branchTip(ctx, branch)
	if err != nil {
		return "", err
	}
	if err := checkAuthor(author); err != nil {
		return "", err
	}
	paths := slices.Sorted(maps.Keys(files))
	for _, p := range paths {
		if err := checkWritable(p); err != nil {
			return "", err
		}
	}
	tree, err := r.graft(ctx, tip, paths, files)
	if err != nil {
		return "", err
	}
	if old, err := r.TreeOf(ctx, tip); err != nil || old == tree {
		return tip, err
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
	commit, err := r.commitTree(ctx, tree, []string{tip}, message, author)
	if err != nil {
		return "", err
	}
	if err := r.UpdateRef(ctx, "refs/heads/"+branch, commit, tip, "govern: add files"); err != nil {
		return "", err
	}
	for _, w := range trees {
		if err := r.bring(ctx, w, commit, paths, files); err != nil {
			return commit, err
		}
	}
	return commit, nil
}

// checkWritable refuses paths that must not be written: CheckPath, and git's
// own folder under names that other file systems fold into it.
func checkWritable(path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	if strings.Contains(path, "\\") || len(path) > 4096 {
		return gov.Errorf(gov.KindInvalid, "path_unsafe", "the path %q is too long or holds a backslash", path)
	}
	return nil
}

func (r *Repo) branchTip(ctx context.Context, branch string) (string, error) {
	if r.quarantined {
		return "", gov.Errorf(gov.KindConflict, "git_quarantine", "a receive hook cannot write to the repository before the push is accepted")
	}
	ref := "refs/heads/" + branch
	if err := CheckRef(ref); err != nil || strings.HasPrefix(branch, "-") {
		return "", gov.Errorf(gov.KindInvalid, "branch_invalid", "%q is not a branch name", printable(branch))
	}
	if !r.exists(ctx, ref) {
		return "", gov.Errorf(gov.KindNotFound, "branch_not_found", "there is no branch %q", branch).WithHint("git branch --list")
	}
	return r.Resolve(ctx, ref)
}

// graft writes the tree of a commit with files put into it, through an index of
// its own.
func (r *Repo) graft(ctx context.Context, commit string, paths []string, files map[string][]byte) (string, error) {
	dir, done, err := tempDir()
	if err != nil {
		return "", err
	}
	defer done()
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	if _, err := r.run(ctx, call{args: []string{"read-tree", commit}, env: env}); err != nil {
		return "", err
	}
	lines, err := r.indexLines(ctx, paths, files)
	if err != nil {
		return "", err
	}
	if _, err := r.run(ctx, call{args: []string{"update-index", "-z", "--index-info"}, env: env, stdin: bytes.NewReader(lines)}); err != nil {
		if exitCode(err) > 0 {
			return "", gov.Errorf(gov.KindConflict, "path_occupied", "one of the paths is occupied by a file or folder of another kind: %w", err)
		}
		return "", err
	}
	out, err := r.run(ctx, call{args: []string{"write-tree"}, env: env})
	if err != nil {
		return "", err
	}
	tree := strings.TrimSpace(string(out))
	return tree, r.checkGrafted(ctx, commit, tree, paths)
}

func tempDir() (dir string, done func(), err error) {
	dir, err = os.MkdirTemp("", "govern-index-")
	if err != nil {
		return "", nil, gov.Errorf(gov.KindUnavailable, "temp_dir_unavailable", "a temporary directory could not be made: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// checkGrafted makes sure that nothing but the paths differs: update-index
// replaces a folder by a file of its name silently.
func (r *Repo) checkGrafted(ctx context.Context, commit, tree string, paths []string) error {
	deltas, err := r.diff(ctx, commit, tree)
	if err != nil {
		return err
	}
	for _, d := range deltas {
		if _, ok := slices.BinarySearch(paths, d.path); !ok || d.oldMode != absentMode && d.oldMode != regularMode {
			return gov.Errorf(gov.KindConflict, "path_occupied", "%q is in the way of a file to be added", shownPath(d.path))
		}
	}
	return nil
}

// indexLines stores the blobs and gives update-index lines for them.
func (r *Repo) indexLines(ctx context.Context, paths []string, files map[string][]byte) ([]byte, error) {
	var lines bytes.Buffer
	for _, p := range paths {
		out, err := r.run(ctx, call{args: []string{"hash-object", "-w", "--no-filters", "--stdin"}, stdin: bytes.NewReader(files[p])})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&lines, "%s %s\t%s\x00", regularMode, bytes.TrimSpace(out), p)
	}
	return lines.Bytes(), nil
}

// CommitTree makes a commit object without moving any ref.
func (r *Repo) CommitTree(ctx context.Context, tree string, parents []string, message string, author Author) (string, error) {
	if err := checkAuthor(author); err != nil {
		return "", err
	}
	for _, id := range append([]string{tree}, parents...) {
		if !isObjectID(id) {
			return "", gov.Errorf(gov.KindInvalid, "object_id_invalid", "%q is not a full object id", printable(id))
		}
	}
	return r.commitTree(ctx, tree, parents, message, author)
}

func (r *Repo) commitTree(ctx context.Context, tree string, parents []string, message string, author Author) (string, error) {
	text, err := commitMessage(message, author)
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", "--no-gpg-sign"}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	out, err := r.run(ctx, call{args: append(args, "-F", "-", tree), env: author.env(), stdin: strings.NewReader(text)})
	return strings.TrimSpace(string(out)), err
}

// commitMessage checks a message and adds the sign-off.
func commitMessage(message string, author Author) (string, error) {
	text := strings.TrimSpace(strings.ReplaceAll(message, "\r\n", "\n"))
	if text == "" || !isClean(strings.NewReplacer("\n", "", "\t", "").Replace(text)) {
		return "", gov.Errorf(gov.KindInvalid, "message_invalid", "a commit needs a message of UTF-8 text without control characters")
	}
	if author.SignOff {
		text += "\n\nSigned-off-by: " + author.Name + " <" + author.Email + ">"
	}
	return text + "\n", nil
}

// UpdateRef moves a ref from old to new in one step. An old of "" means that
// the ref must not exist. Error: ref_moved when it has another value.
func (r *Repo) UpdateRef(ctx context.Context, ref, new, old, reason string) error {
	if err := CheckRef(ref); err != nil {
		return err
	}
	if r.quarantined {
		return gov.Errorf(gov.KindConflict, "git_quarantine", "a receive hook cannot write to the repository before the push is accepted")
	}
	if old == "" {
		old = r.zeroID()
	}
	if !isObjectID(new) || !isObjectID(old) {
		return gov.Errorf(gov.KindInvalid, "object_id_invalid", "a ref moves from one full object id to another")
	}
	_, err := r.git(ctx, "update-ref", "-m", printable(reason), "--no-deref", ref, new, old)
	if exitCode(err) > 0 {
		return gov.Errorf(gov.KindConflict, "ref_moved", "%s was changed by somebody else at the same time: %w", ref, err).
			WithHint("run the command again")
	}
	return err
}

// Commit commits what is staged in the work tree onto the current branch and
// gives the commit. Hooks of the user (pre-commit, commit-msg) do not run.
// Errors: no_work_tree, head_detached, nothing_staged, merge_in_progress,
// index_unmerged, author_invalid, message_invalid, ref_moved.
func (r *Repo) Commit(ctx context.Context, message string, author Author) (string, error) {
	if r.WorkTree == "" {
		return "", gov.Errorf(gov.KindInvalid, "no_work_tree", "this repository has no work tree to commit from")
	}
	if err := checkAuthor(author); err != nil {
		return "", err
	}
	head, err := r.symbolic(ctx, "HEAD")
	if err != nil {
		return "", err
	}
	if head == "" {
		return "", gov.Errorf(gov.KindConflict, "head_detached", "HEAD is not on a branch").WithHint("git switch -c BRANCH")
	}
	if err := r.idle(); err != nil {
		return "", err
	}
	out, err := r.run(ctx, call{args: []string{"write-tree"}, env: []string{"GIT_WORK_TREE=" + r.WorkTree}, dir: r.WorkTree, tree: true})
	if exitCode(err) > 0 {
		return "", gov.Errorf(gov.KindConflict, "index_unmerged", "the index has conflicts: %w", err).WithHint("git status")
	}
	if err != nil {
		return "", err
	}
	tree := strings.TrimSpace(string(out))
	var parents []string
	old := ""
	if r.exists(ctx, head) {
		if old, err = r.Resolve(ctx, head); err != nil {
			return "", err
		}
		if now, err := r.TreeOf(ctx, old); err != nil {
			return "", err
		} else if now == tree {
			return "", gov.Errorf(gov.KindInvalid, "nothing_staged", "nothing is staged, so there is nothing to commit").WithHint("git add FILE")
		}
		parents = []string{old}
	}
	commit, err := r.commitTree(ctx, tree, parents, message, author)
	if err != nil {
		return "", err
	}
	return commit, r.UpdateRef(ctx, head, commit, old, "govern: commit")
}

// idle refuses while git is in the middle of a merge, pick or revert, whose
// second parent or author a plain commit would lose.
func (r *Repo) idle() error {
	for _, name := range []string{"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply"} {
		if _, err := os.Lstat(filepath.Join(r.GitDir, name)); err == nil {
			return gov.Errorf(gov.KindConflict, "merge_in_progress", "git is in the middle of a merge, rebase, pick or revert").WithHint("git status")
		}
	}
	return nil
}

// Stage puts files of the work tree into the index, as "git add" does, with the
// user's filters. Errors: no_work_tree, path_unsafe, path_not_utf8, git_failed.
func (r *Repo) Stage(ctx context.Context, paths ...string) error {
	if r.WorkTree == "" {
		return gov.Errorf(gov.KindInvalid, "no_work_tree", "this repository has no work tree to stage from")
	}
	var in strings.Builder
	for _, p := range paths {
		if err := CheckPath(p); err != nil {
			return err
		}
		in.WriteString(p + "\x00")
	}
	_, err := r.run(ctx, call{
		args: []string{"update-index", "--add", "--remove", "-z", "--stdin"}, stdin: strings.NewReader(in.String()),
		env: []string{"GIT_WORK_TREE=" + r.WorkTree}, dir: r.WorkTree, tree: true,
	})
	return err
}
