package git

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

func TestOpen(t *testing.T) {
	r := newRepo(t)
	top := must(filepath.EvalSymlinks(r.dir))(t)
	fromBelow := must(Open(t.Context(), filepath.Join(r.dir, "src")))(t)
	want := &Repo{GitDir: top + "/.git", CommonDir: top + "/.git", WorkTree: top, Format: "sha1"}
	if diff := cmp.Diff([]any{want.GitDir, want.CommonDir, want.WorkTree, want.Format, false, false},
		[]any{fromBelow.GitDir, fromBelow.CommonDir, fromBelow.WorkTree, fromBelow.Format, fromBelow.Bare, fromBelow.Shallow}); diff != "" {
		t.Error(diff)
	}
	_, err := Open(t.Context(), t.TempDir())
	wantCode(t, err, "not_a_repository")
	_, err = Open(t.Context(), filepath.Join(r.dir, "nowhere"))
	wantCode(t, err, "not_a_repository")
	odd := &repo{TB: t, dir: filepath.Join(t.TempDir(), "new\nline")}
	if err := os.Mkdir(odd.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	odd.git("init", "-q")
	_, err = Open(t.Context(), odd.dir)
	wantCode(t, err, "repository_path_unsupported")
	t.Setenv("GIT_DIR", filepath.Join(r.dir, ".git"))
	if fromEnv := must(Open(t.Context(), ""))(t); fromEnv.GitDir != top+"/.git" {
		t.Errorf("GIT_DIR gives %q", fromEnv.GitDir)
	}
}

func TestDataDir(t *testing.T) {
	r := newRepo(t)
	o := r.open()
	if got := o.DataDir(); got != filepath.Join(o.CommonDir, "govern") {
		t.Errorf("got %q", got)
	}
	t.Setenv("GOVERN_DIR", "/somewhere/else")
	if got := o.DataDir(); got != "/somewhere/else" {
		t.Errorf("got %q", got)
	}
}

func TestDefaultBranch(t *testing.T) {
	r := newRepo(t)
	check := func(o *Repo, name, ref string) {
		t.Helper()
		got := must(o.DefaultBranch(t.Context()))(t)
		if diff := cmp.Diff(Branch{Name: name, Local: "refs/heads/" + name, Ref: ref}, got); diff != "" {
			t.Error(diff)
		}
	}
	check(r.open(), "main", "refs/heads/main")
	r.git("switch", "-q", "-c", "feature")
	check(r.open(), "main", "refs/heads/main")
	bare := filepath.Join(t.TempDir(), "bare")
	r.git("clone", "-q", "--bare", r.dir, bare)
	check(must(Open(t.Context(), bare))(t), "feature", "refs/heads/feature")
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", r.dir, clone)
	check(must(Open(t.Context(), clone))(t), "feature", "refs/remotes/origin/feature")
	r.git("-C", clone, "remote", "set-head", "origin", "--delete")
	check(must(Open(t.Context(), clone))(t), "main", "refs/remotes/origin/main")
	r.git("branch", "-q", "-D", "main")
	r.git("checkout", "-q", "--detach")
	_, err := r.open().DefaultBranch(t.Context())
	wantCode(t, err, "default_branch_unknown")
}

func TestRemotes(t *testing.T) {
	r := newRepo(t)
	clone := &repo{TB: t, dir: filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", r.dir, clone.dir)
	o := clone.open()
	if yes := must(o.HasRemote(t.Context(), "origin"))(t); !yes {
		t.Error("origin is not seen")
	}
	if yes := must(o.HasRemote(t.Context(), "other"))(t); yes {
		t.Error("a remote is made up")
	}
	next := r.commit("next")
	if err := o.Fetch(t.Context(), "origin"); err != nil {
		t.Fatal(err)
	}
	if got := must(o.Resolve(t.Context(), "origin/main"))(t); got != next {
		t.Errorf("fetched %s", got)
	}
	if name := must(o.CurrentBranch(t.Context()))(t); name != "main" {
		t.Errorf("on %q", name)
	}
	wantCode(t, o.Fetch(t.Context(), filepath.Join(r.dir, "gone")), "remote_unreachable")
	_, err := o.Push(t.Context(), filepath.Join(r.dir, "gone"), "main")
	wantCode(t, err, "remote_unreachable")
	mark := filepath.Join(t.TempDir(), "mark")
	for _, remote := range []string{"", "--upload-pack=touch " + mark, "ext::touch " + mark, "a\nb"} {
		wantCode(t, o.Fetch(t.Context(), remote), "remote_invalid")
	}
	_, err = o.Push(t.Context(), "origin", "--delete")
	wantCode(t, err, "remote_invalid")
	if _, err := os.Stat(mark); err == nil {
		t.Error("a remote ran a command")
	}
}

func TestIdentity(t *testing.T) {
	o := newRepo(t).open()
	if diff := cmp.Diff(Author{Name: "Ann", Email: "ann@example.org"}, must(o.Identity(t.Context()))(t)); diff != "" {
		t.Error(diff)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	_, err := o.Identity(t.Context())
	wantCode(t, err, "author_invalid")
}

func TestCancelEndsTheChild(t *testing.T) {
	o := newRepo(t).open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := o.Resolve(ctx, "HEAD")
	wantCode(t, err, "cancelled")
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	never, w, err := os.Pipe() // a child that waits for input that never comes
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = never.Close(), w.Close() }()
	start := time.Now()
	_, err = o.run(ctx, call{args: []string{"cat-file", "--batch"}, stdin: never})
	wantCode(t, err, "cancelled")
	if took := time.Since(start); took > killDelay {
		t.Errorf("the child lived for %v", took)
	}
	if gov.KindOf(err) != gov.KindTimeout {
		t.Errorf("kind %s", gov.KindOf(err))
	}
}

func TestReaderThatGivesUpEndsTheChild(t *testing.T) {
	o := newRepo(t).open()
	stop := malformed("test")
	_, err := o.run(t.Context(), call{args: []string{"rev-list", "HEAD"}, read: func(*bufio.Reader) error { return stop }})
	wantCode(t, err, "git_output_malformed")
}

func TestGitMissing(t *testing.T) {
	o := newRepo(t).open()
	t.Setenv("PATH", t.TempDir())
	_, err := o.Resolve(t.Context(), "HEAD")
	wantCode(t, err, "git_missing")
}

func TestDamagedRepositoryIsNoAnswer(t *testing.T) {
	r, _ := proposed(t)
	id := r.git("rev-parse", "feature:"+MetadataPath("CHANGE-1"))
	if err := os.Remove(filepath.Join(r.dir, ".git/objects", id[:2], id[2:])); err != nil {
		t.Fatal(err)
	}
	_, err := r.open().Revision(t.Context(), "main", "feature", "CHANGE-1")
	wantCode(t, err, "object_missing")
	tree := r.git("rev-parse", "feature:src")
	if err := os.Remove(filepath.Join(r.dir, ".git/objects", tree[:2], tree[2:])); err != nil {
		t.Fatal(err)
	}
	if _, err = r.open().TreeDigest(t.Context(), "feature"); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("got %v", err)
	}
}
