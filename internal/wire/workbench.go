package wire

import (
	"context"
	"strings"

	"github.com/governhq/govern/internal/edge/git"
	"github.com/governhq/govern/internal/face/cli"
)

var _ cli.Workbench = Repo{}

// IsBare tells whether there is no work tree by design.
func (r Repo) IsBare() bool { return r.Bare }

// WorkTreeDir is the root of the work tree, "" in a bare repository.
func (r Repo) WorkTreeDir() string { return r.WorkTree }

// Identity is the committer as git is configured.
func (r Repo) Identity(ctx context.Context) (name, email string, err error) {
	a, err := r.Repo.Identity(ctx)
	return a.Name, a.Email, err
}

// SigningKey is git's user.signingkey.
func (r Repo) SigningKey(ctx context.Context) (string, error) {
	return r.Config(ctx, "user.signingkey")
}

// AddFiles commits files onto a branch in the name of the configured committer.
func (r Repo) AddFiles(ctx context.Context, branch string, files map[string][]byte, message string) (string, error) {
	author, err := r.Repo.Identity(ctx)
	if err != nil {
		return "", err
	}
	return r.Repo.AddFiles(ctx, branch, files, message, author)
}

// Fetch fetches what the remote is configured for.
func (r Repo) Fetch(ctx context.Context, remote string) error { return r.Repo.Fetch(ctx, remote) }

// InstallHooks writes the receive hooks.
func (r Repo) InstallHooks(ctx context.Context, command []string) (hooks, kept []string, err error) {
	in, err := r.Repo.InstallHooks(ctx, command)
	return in.Hooks, in.Kept, err
}

// Clean tells whether nothing in the work tree waits to be committed.
func (r Repo) Clean(ctx context.Context) (bool, error) {
	out, err := r.Status(ctx)
	return strings.TrimSpace(out) == "", err
}

// QuarantineEnv gives the variables of the receive hook this process runs in.
func QuarantineEnv() map[string]string { return git.QuarantineEnv() }
