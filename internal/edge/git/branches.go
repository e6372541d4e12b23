package git

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Ref is a ref and the commit it points at.
type Ref struct {
	Name   string // full name
	Commit string
}

// Refs lists the refs below the given prefixes ("refs/heads", …) that point at
// commits, sorted by name. Symbolic refs (origin/HEAD) are left out.
func (r *Repo) Refs(ctx context.Context, prefixes ...string) ([]Ref, error) {
	args := append([]string{"for-each-ref", "--format=%(objectname) %(objecttype) %(symref) %(refname)"}, prefixes...)
	out, err := r.git(ctx, args...)
	if err != nil {
		return nil, err
	}
	var refs []Ref
	for line := range strings.Lines(string(out)) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		kind, rest, _ := strings.Cut(rest, " ")
		symref, name, _ := strings.Cut(rest, " ")
		if kind == "commit" && symref == "" && name != "" {
			refs = append(refs, Ref{Name: name, Commit: id})
		}
	}
	return refs, nil
}

// WithQuarantine gives the repository as a receive hook in another process sees
// it: env holds that hook's GIT_QUARANTINE_PATH, GIT_OBJECT_DIRECTORY and
// GIT_ALTERNATE_OBJECT_DIRECTORIES. All paths have to lie in this repository's
// objects (quarantine_foreign); other variables are refused.
func (r *Repo) WithQuarantine(env map[string]string) (*Repo, error) {
	objects := filepath.Join(r.CommonDir, "objects")
	if real, err := filepath.EvalSymlinks(objects); err == nil {
		objects = real
	}
	q := *r
	q.env = slices.Clone(r.env)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		paths := []string{value}
		switch name {
		case "GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY":
		case "GIT_ALTERNATE_OBJECT_DIRECTORIES":
			paths = filepath.SplitList(value)
		default:
			return nil, gov.Errorf(gov.KindDenied, "quarantine_foreign", "%q is not a quarantine variable of git", printable(name))
		}
		for _, p := range paths {
			real, err := filepath.EvalSymlinks(p)
			if !filepath.IsAbs(p) || err != nil || real != objects && !strings.HasPrefix(real, objects+string(filepath.Separator)) {
				return nil, gov.Errorf(gov.KindDenied, "quarantine_foreign", "%s points outside of this repository's objects", name)
			}
		}
		q.env = append(q.env, name+"="+value)
	}
	q.quarantined = true
	return &q, nil
}

// QuarantineEnv gives the variables that WithQuarantine takes, from the
// environment of a receive hook; empty outside of one. Paths are absolute.
func QuarantineEnv() map[string]string {
	out := map[string]string{}
	if os.Getenv("GIT_QUARANTINE_PATH") == "" {
		return out
	}
	for _, name := range []string{"GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"} {
		v, ok := os.LookupEnv(name)
		if !ok {
			continue
		}
		paths := filepath.SplitList(v)
		for i, p := range paths {
			if abs, err := filepath.Abs(p); err == nil {
				paths[i] = abs
			}
		}
		out[name] = strings.Join(paths, string(filepath.ListSeparator))
	}
	return out
}

// Config gives the value of a configuration key as the user's git sees it, ""
// when it is not set.
func (r *Repo) Config(ctx context.Context, key string) (string, error) {
	out, err := execGit(ctx, call{dir: r.home()}, []string{"config", "--null", "--get", "--", key}, r.remoteEnv())
	if exitCode(err) == 1 {
		return "", nil
	}
	return strings.TrimSuffix(string(out), "\x00"), err
}

// Status lists what the work tree has that is not committed, "" when nothing.
func (r *Repo) Status(ctx context.Context) (string, error) {
	out, err := r.run(ctx, call{args: []string{"status", "--porcelain", "-z"}, tree: true, dir: r.WorkTree, env: []string{"GIT_WORK_TREE=" + r.WorkTree}})
	return string(out), err
}
