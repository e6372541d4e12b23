package git

import (
	"context"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Push pushes refspecs to a remote with the user's configuration, credentials
// and hooks, and gives what the remote said ("remote: …" lines, without that
// word), also when it refused.
//
// Errors: push_rejected (a hook or rule of the remote says no: the lines tell
// why), push_not_fast_forward (the remote has commits that this repository has
// not), remote_unreachable, remote_invalid.
func (r *Repo) Push(ctx context.Context, remote string, refspecs ...string) ([]string, error) {
	if err := checkRemote(remote, refspecs); err != nil {
		return nil, err
	}
	var said capped
	said.limit = stderrLimit
	args := append([]string{"push", "--porcelain", "--no-progress", "--", remote}, refspecs...)
	_, err := execGit(ctx, call{dir: r.home(), talk: &said}, args, r.remoteEnv())
	lines := remoteLines(said.String())
	if exitCode(err) == 1 {
		if rejected := rejection(stdoutOf(err)); rejected != nil {
			return lines, rejected
		}
	}
	return lines, unreachable(err, remote)
}

// Fetch fetches refspecs from a remote with the user's configuration; without
// refspecs, what the remote is configured for.
// Errors: remote_unreachable, remote_invalid.
func (r *Repo) Fetch(ctx context.Context, remote string, refspecs ...string) error {
	if err := checkRemote(remote, refspecs); err != nil {
		return err
	}
	args := append([]string{"fetch", "--quiet", "--no-auto-maintenance", "--no-recurse-submodules", "--", remote}, refspecs...)
	_, err := execGit(ctx, call{dir: r.home()}, args, r.remoteEnv())
	return unreachable(err, remote)
}

// HasRemote tells whether the repository has a remote of that name.
func (r *Repo) HasRemote(ctx context.Context, name string) (bool, error) {
	if err := checkRemote(name, nil); err != nil {
		return false, err
	}
	_, err := r.git(ctx, "config", "--get-all", "remote."+name+".url")
	if exitCode(err) == 1 {
		return false, nil
	}
	return err == nil, err
}

// CurrentBranch gives the name of the branch that is checked out here, "" when
// HEAD is detached.
func (r *Repo) CurrentBranch(ctx context.Context) (string, error) {
	ref, err := r.symbolic(ctx, "HEAD")
	return strings.TrimPrefix(ref, "refs/heads/"), err
}

// home is the directory that user commands run in.
func (r *Repo) home() string {
	if r.WorkTree != "" {
		return r.WorkTree
	}
	return r.GitDir
}

func (r *Repo) remoteEnv() []string { return append(baseEnv(true), "GIT_DIR="+r.GitDir) }

// checkRemote refuses what git could take for an option or for a transport
// that runs a command.
func checkRemote(remote string, refspecs []string) error {
	for _, s := range append([]string{remote}, refspecs...) {
		if s == "" || s[0] == '-' || !isClean(s) {
			return gov.Errorf(gov.KindInvalid, "remote_invalid", "%q is not a remote or refspec", printable(s)).WithHint("git remote -v")
		}
	}
	if strings.Contains(remote, "::") {
		return gov.Errorf(gov.KindInvalid, "remote_invalid", "%q names a remote helper, which is not allowed", remote).WithHint("git remote -v")
	}
	return nil
}

// remoteLines takes the lines of the other side from the talk of git.
func remoteLines(talk string) []string {
	var lines []string
	for line := range strings.SplitSeq(talk, "\n") {
		if text, ok := strings.CutPrefix(line, "remote:"); ok {
			text = strings.TrimPrefix(text, " ")
			lines = append(lines, printable(strings.TrimRight(text, " \r\t")))
		}
	}
	return lines
}

// rejection reads "git push --porcelain": lines of "flag TAB from:to TAB
// summary", where "!" flags a ref that was not moved.
func rejection(out []byte) *gov.Error {
	for line := range strings.SplitSeq(string(out), "\n") {
		f := strings.SplitN(line, "\t", 3)
		if len(f) != 3 || f[0] != "!" {
			continue
		}
		_, ref, _ := strings.Cut(f[1], ":")
		summary := printable(f[2])
		if strings.HasPrefix(summary, "[rejected]") {
			return gov.Errorf(gov.KindConflict, "push_not_fast_forward", "%s was not moved: %s", printable(ref), summary).
				WithHint("git pull --rebase && git push")
		}
		return gov.Errorf(gov.KindRefused, "push_rejected", "the remote refused %s: %s", printable(ref), summary)
	}
	return nil
}

// unreachable turns a failed user command into an error that says so.
func unreachable(err error, remote string) error {
	if exitCode(err) <= 0 {
		return err
	}
	return gov.Errorf(gov.KindUnavailable, "remote_unreachable", "git could not talk to %q: %w", remote, err).
		WithHint("git ls-remote %s", remote)
}
