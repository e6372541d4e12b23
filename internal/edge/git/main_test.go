package git

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/governhq/govern/internal/gov"
)

// TestMain gives every test a home of its own, and lets the test binary play
// the program of a hook.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[len(os.Args)-2] == "hook" {
		os.Exit(playHook(os.Args[len(os.Args)-1]))
	}
	home, err := os.MkdirTemp("", "govern-git-test-")
	if err != nil {
		panic(err)
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") || name == "GOVERN_DIR" {
			_ = os.Unsetenv(name)
		}
	}
	config := filepath.Join(home, "config")
	text := "[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n[protocol \"file\"]\n\tallow = always\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		panic(err)
	}
	for k, v := range map[string]string{"HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_GLOBAL": config, "GIT_CONFIG_NOSYSTEM": "1"} {
		_ = os.Setenv(k, v)
	}
	code := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(code)
}

// playHook judges a push: it prints each landing, and refuses everything that
// holds a file named "forbidden".
func playHook(name string) int {
	updates, err := ParseHookInput(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	r, err := Open(context.Background(), "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintf(os.Stderr, "%s quarantine=%v\n", name, r.InQuarantine())
	for _, u := range updates {
		landings, err := r.Range(context.Background(), u.Old, u.New)
		if err != nil {
			fmt.Fprintln(os.Stderr, gov.CodeOf(err))
			if gov.CodeOf(err) == "ref_created" {
				continue
			}
			return 1
		}
		for _, l := range landings {
			c, err := r.Between(context.Background(), l.Base, l.Head, l.Change)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			fmt.Fprintf(os.Stderr, "landing %s %s\n", l.Change, c.Revision.Change)
			for _, p := range l.Paths {
				if p.Path == "forbidden" {
					return 1
				}
			}
		}
	}
	return 0
}

// repo is a repository with a work tree, driven by the porcelain that users
// drive theirs with.
type repo struct {
	testing.TB
	dir string
}

func newRepo(t testing.TB, initArgs ...string) *repo {
	t.Helper()
	r := &repo{TB: t, dir: t.TempDir()}
	r.git(append([]string{"init", "-q"}, initArgs...)...)
	r.write("README", "hello\n")
	r.write("src/a.txt", lines("a", 20))
	r.write("src/b.txt", lines("b", 20))
	r.commit("base")
	return r
}

func lines(word string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s %d\n", word, i)
	}
	return b.String()
}

func (r *repo) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (r *repo) git(args ...string) string {
	r.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return out
}

func (r *repo) write(path, text string) {
	r.Helper()
	full := filepath.Join(r.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o666); err != nil {
		r.Fatal(err)
	}
}

func (r *repo) read(path string) string {
	r.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, path))
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

// commit commits everything in the work tree and gives the commit.
func (r *repo) commit(message string) string {
	r.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return r.head()
}

func (r *repo) head() string { r.Helper(); return r.git("rev-parse", "HEAD") }

func (r *repo) open() *Repo {
	r.Helper()
	opened, err := Open(context.Background(), r.dir)
	if err != nil {
		r.Fatal(err)
	}
	return opened
}

// edit replaces one line of a file of lines().
func (r *repo) edit(path, line, with string) {
	r.Helper()
	text := r.read(path)
	if !strings.Contains(text, line+"\n") {
		r.Fatalf("%s has no line %q", path, line)
	}
	r.write(path, strings.Replace(text, line+"\n", with+"\n", 1))
}

func metadata(id, extra string) string {
	return fmt.Sprintf("{\n  \"change_id\": %q,\n  \"rationale\": \"because\"%s\n}\n", id, extra)
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || gov.CodeOf(err) != code {
		t.Fatalf("got error %v, want code %s", err, code)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
