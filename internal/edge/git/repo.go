package git

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Repo is one opened repository. It holds no child process and no lock; its
// fields do not change. Safe for concurrent use.
type Repo struct {
	GitDir    string // absolute; of this work tree
	CommonDir string // absolute; shared by all work trees
	WorkTree  string // absolute; "" in a bare repository or when opened inside the git directory
	Bare      bool
	Shallow   bool   // history is cut off: merge bases cannot be trusted
	Format    string // object format: "sha1" or "sha256"

	env         []string
	quarantined bool
}

// Open finds the repository that contains dir. An empty dir means the one that
// GIT_DIR names (as in a hook), else the current directory.
//
// Errors: git_missing, not_a_repository, repository_untrusted (owned by
// somebody else), repository_path_unsupported (newline in its path).
func Open(ctx context.Context, dir string) (*Repo, error) {
	env := append(baseEnv(false), "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0")
	if dir == "" {
		dir = "."
		if v := os.Getenv("GIT_DIR"); v != "" {
			env = append(env, "GIT_DIR="+v)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, gov.Errorf(gov.KindNotFound, "not_a_repository", "%q is not a directory", dir)
	}
	lines, err := revParse(ctx, env, dir,
		"--is-bare-repository", "--is-shallow-repository", "--show-object-format", "--is-inside-work-tree",
		"--path-format=absolute", "--absolute-git-dir", "--git-common-dir")
	if err != nil {
		return nil, openError(err, dir)
	}
	if len(lines) != 6 {
		return nil, gov.Errorf(gov.KindInvalid, "repository_path_unsupported", "the path of the repository %q holds a newline", dir).
			WithHint("move the repository to a path without newlines")
	}
	r := &Repo{Bare: lines[0] == "true", Shallow: lines[1] == "true", Format: lines[2], GitDir: lines[4], CommonDir: lines[5]}
	if lines[3] == "true" {
		top, err := revParse(ctx, env, dir, "--path-format=absolute", "--show-toplevel")
		if err != nil || len(top) != 1 {
			return nil, openError(err, dir)
		}
		r.WorkTree = top[0]
	}
	quarantine := quarantineEnv(r.CommonDir)
	r.quarantined = quarantine != nil
	r.env = append(closedEnv(baseEnv(false)), "GIT_DIR="+r.GitDir)
	r.env = append(r.env, quarantine...)
	return r, nil
}

// closedEnv adds what makes local answers independent of the user.
func closedEnv(env []string) []string {
	return append(env,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_ATTR_NOSYSTEM=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null/none",
		"GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
}

func revParse(ctx context.Context, env []string, dir string, args ...string) ([]string, error) {
	out, err := execGit(ctx, call{dir: dir}, append([]string{"rev-parse"}, args...), env)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), nil
}

func openError(err error, dir string) error {
	if exitCode(err) < 0 {
		if err == nil {
			err = gov.Errorf(gov.KindInvalid, "repository_path_unsupported", "the work tree of %q holds a newline in its path", dir)
		}
		return err
	}
	if strings.Contains(err.Error(), "dubious ownership") {
		return gov.Errorf(gov.KindDenied, "repository_untrusted", "the repository at %q belongs to another user, and git does not trust it", dir).
			WithHint("git config --global --add safe.directory %s", dir)
	}
	return gov.Errorf(gov.KindNotFound, "not_a_repository", "%q is not inside a git repository", dir).WithHint("git init")
}

// DataDir is where govern keeps its data: $GOVERN_DIR, else "govern" in the
// common directory. It is not created here.
func (r *Repo) DataDir() string {
	if dir := os.Getenv("GOVERN_DIR"); dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
		return dir
	}
	return filepath.Join(r.CommonDir, "govern")
}

// InQuarantine tells whether this process runs in a receive hook of this
// repository: pushed objects are readable, refs must not be written.
func (r *Repo) InQuarantine() bool { return r.quarantined }

// zeroID is the object id that means "absent".
func (r *Repo) zeroID() string {
	if r.Format == "sha256" {
		return strings.Repeat("0", 64)
	}
	return strings.Repeat("0", 40)
}

// Resolve gives the commit id of a revision expression (branch, tag, id,
// HEAD~2, …), peeling tags. Errors: ref_invalid, commit_not_found.
func (r *Repo) Resolve(ctx context.Context, ref string) (string, error) {
	return r.resolve(ctx, ref, "commit")
}

// TreeOf gives the tree id of a revision expression or tree id.
func (r *Repo) TreeOf(ctx context.Context, ref string) (string, error) {
	return r.resolve(ctx, ref, "tree")
}

func (r *Repo) resolve(ctx context.Context, ref, kind string) (string, error) {
	if err := checkRevision(ref); err != nil {
		return "", err
	}
	out, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{"+kind+"}")
	if err != nil {
		if exitCode(err) > 0 {
			return "", gov.Errorf(gov.KindNotFound, kind+"_not_found", "there is no %s %q in this repository", kind, printable(ref)).
				WithHint("git fetch")
		}
		return "", err
	}
	id := strings.TrimSpace(string(out))
	if !isObjectID(id) {
		return "", gov.Errorf(gov.KindInvalid, "ref_invalid", "%q does not name one %s", printable(ref), kind)
	}
	return id, nil
}

// checkRevision refuses what git could take for an option or split in two.
func checkRevision(ref string) error {
	if ref == "" || len(ref) > 1024 || ref[0] == '-' || ref[0] == '^' || !isClean(ref) || strings.Contains(ref, "..") {
		return gov.Errorf(gov.KindInvalid, "ref_invalid", "%q is not a name of one commit", printable(ref))
	}
	return nil
}

// isObjectID tells whether s is a full object id of either format.
func isObjectID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZeroID(s string) bool { return strings.Trim(s, "0") == "" }

// Branch is the default branch as seen from this repository.
type Branch struct {
	Name  string // "main"
	Local string // "refs/heads/main"; it need not exist
	Ref   string // what changes are compared with: the remote-tracking ref in a clone, else Local
}

// DefaultBranch finds the branch that changes aim at: what origin/HEAD points
// to; else origin/main or origin/master; in a bare repository what HEAD points
// to; else main or master when exactly one of them exists; else the current
// branch. Errors: default_branch_unknown.
func (r *Repo) DefaultBranch(ctx context.Context) (Branch, error) {
	const tracking = "refs/remotes/origin/"
	if full, err := r.symbolic(ctx, tracking+"HEAD"); err != nil {
		return Branch{}, err
	} else if name, ok := strings.CutPrefix(full, tracking); ok {
		return Branch{Name: name, Local: "refs/heads/" + name, Ref: full}, nil
	}
	var local []string
	for _, name := range []string{"main", "master"} {
		if !r.Bare && r.exists(ctx, tracking+name) {
			return Branch{Name: name, Local: "refs/heads/" + name, Ref: tracking + name}, nil
		}
		if r.exists(ctx, "refs/heads/"+name) {
			local = append(local, name)
		}
	}
	head, err := r.symbolic(ctx, "HEAD")
	if err != nil {
		return Branch{}, err
	}
	name, ok := strings.CutPrefix(head, "refs/heads/")
	if !r.Bare && len(local) == 1 {
		name, ok = local[0], true
	}
	if !ok {
		return Branch{}, gov.Errorf(gov.KindInvalid, "default_branch_unknown", "HEAD is detached and there is no origin/HEAD to tell the default branch").
			WithHint("git remote set-head origin --auto")
	}
	return Branch{Name: name, Local: "refs/heads/" + name, Ref: "refs/heads/" + name}, nil
}

// symbolic gives what a symbolic ref points to, "" when it is none.
func (r *Repo) symbolic(ctx context.Context, ref string) (string, error) {
	out, err := r.git(ctx, "symbolic-ref", "--quiet", ref)
	if code := exitCode(err); code == 1 || code == 128 {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

func (r *Repo) exists(ctx context.Context, ref string) bool {
	_, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	return err == nil
}
