package git

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

// server makes a bare repository with hooks that run this test binary, and a
// clone of it as origin.
func server(t *testing.T) (bare *Repo, clone *repo) {
	t.Helper()
	r := newRepo(t)
	dir := filepath.Join(t.TempDir(), "it's a server.git")
	r.git("clone", "-q", "--bare", r.dir, dir)
	r.git("remote", "add", "origin", dir)
	r.git("fetch", "-q", "origin")
	bare = must(Open(t.Context(), dir))(t)
	must(bare.InstallHooks(t.Context(), self(t)))(t)
	return bare, r
}

func self(t *testing.T) []string {
	t.Helper()
	return []string{must(os.Executable())(t)}
}

func TestPushIsJudgedInQuarantine(t *testing.T) {
	bare, r := server(t)
	c := r.open()
	name := r.branch(1)
	approved := must(c.Revision(t.Context(), "main", name, "CHANGE-1"))(t)
	r.merge(name)
	said, err := c.Push(t.Context(), "origin", "main")
	if err != nil {
		t.Fatal(err, said)
	}
	landing := "landing CHANGE-1 " + string(approved.Revision.Change)
	want := []string{"pre-receive quarantine=true", landing, "post-receive quarantine=false", landing}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	r.write("forbidden", "x")
	bad := r.commit("bad")
	said, err = c.Push(t.Context(), "origin", "main")
	wantCode(t, err, "push_rejected")
	if gov.KindOf(err) != gov.KindRefused || !strings.Contains(strings.Join(said, "\n"), "landing  sha256:") {
		t.Errorf("%v, said %q", err, said)
	}
	if _, err := bare.Resolve(t.Context(), bad); gov.CodeOf(err) != "commit_not_found" {
		t.Errorf("the refused commit stayed: %v", err)
	}
	_, err = c.Push(t.Context(), "origin", ":main")
	wantCode(t, err, "push_rejected")
	r.git("reset", "-q", "--hard", "HEAD~2")
	r.commit("elsewhere")
	_, err = c.Push(t.Context(), "origin", "main")
	wantCode(t, err, "push_not_fast_forward")
	said, err = c.Push(t.Context(), "origin", "+main")
	wantCode(t, err, "push_rejected")
	if !strings.Contains(strings.Join(said, "\n"), "not_fast_forward") {
		t.Errorf("said %q", said)
	}
}

func TestHookFailsClosed(t *testing.T) {
	bare, r := server(t)
	must(bare.InstallHooks(t.Context(), []string{filepath.Join(t.TempDir(), "gone")}))(t)
	r.commit("next")
	said, err := r.open().Push(t.Context(), "origin", "main")
	wantCode(t, err, "push_rejected")
	if !strings.Contains(strings.Join(said, "\n"), "the push is refused") {
		t.Errorf("said %q", said)
	}
	for _, script := range []string{"exit 7", "kill -9 $$", "cat >/dev/null; exit 1"} {
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		must(bare.InstallHooks(t.Context(), []string{program}))(t)
		_, err := r.open().Push(t.Context(), "origin", "main")
		wantCode(t, err, "push_rejected")
	}
}

func TestHookInstallKeepsAndRepeats(t *testing.T) {
	bare, r := server(t)
	dir := filepath.Join(bare.GitDir, "hooks")
	again := must(bare.InstallHooks(t.Context(), self(t)))(t)
	want := Installed{Dir: dir, Hooks: []string{filepath.Join(dir, "pre-receive"), filepath.Join(dir, "post-receive")}}
	if diff := cmp.Diff(want, again); diff != "" {
		t.Error(diff)
	}
	log := filepath.Join(t.TempDir(), "log")
	foreign := "#!/bin/sh\ncat >>'" + log + "'\n! grep -q no '" + log + "'\n"
	pre := filepath.Join(dir, "pre-receive")
	if err := os.WriteFile(pre, []byte(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	kept := must(bare.InstallHooks(t.Context(), self(t)))(t)
	if diff := cmp.Diff([]string{filepath.Join(pre+".d", keptHook)}, kept.Kept); diff != "" || !kept.Changed {
		t.Error(diff)
	}
	old, next := r.head(), r.commit("next")
	if said, err := r.open().Push(t.Context(), "origin", "main"); err != nil {
		t.Fatal(err, said)
	}
	if got, _ := os.ReadFile(log); string(got) != old+" "+next+" refs/heads/main\n" {
		t.Errorf("the kept hook read %q", got)
	}
	if err := os.WriteFile(log, []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.commit("after")
	said, err := r.open().Push(t.Context(), "origin", "main")
	wantCode(t, err, "push_rejected")
	if len(said) != 0 {
		t.Errorf("govern was asked although the kept hook said no: %q", said)
	}
	if err := os.Remove(pre); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pre, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = bare.InstallHooks(t.Context(), self(t))
	wantCode(t, err, "hook_exists")
}

func TestHooksPath(t *testing.T) {
	bare, r := server(t)
	r.git("-C", bare.GitDir, "config", "core.hooksPath", "my hooks")
	got := must(bare.InstallHooks(t.Context(), self(t)))(t)
	if want := filepath.Join(bare.GitDir, "my hooks"); got.Dir != want {
		t.Errorf("installed in %q, want %q", got.Dir, want)
	}
	r.commit("next")
	said, err := r.open().Push(t.Context(), "origin", "main")
	if err != nil || len(said) != 4 {
		t.Errorf("said %q, %v", said, err)
	}
	r.git("-C", bare.GitDir, "config", "--unset", "core.hooksPath")
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("[core]\n\thooksPath = /shared/hooks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	_, err = bare.InstallHooks(t.Context(), self(t))
	wantCode(t, err, "hooks_path_shared")
	for _, bad := range [][]string{nil, {"govern"}, {"/bin/x\ny"}, {"/bin/x", "\x00"}} {
		_, err := bare.InstallHooks(t.Context(), bad)
		wantCode(t, err, "hook_command_invalid")
	}
}

func TestHookCannotWriteInQuarantine(t *testing.T) {
	r := newRepo(t)
	q := filepath.Join(r.dir, ".git/objects/tmp_objdir-incoming-x")
	if err := os.Mkdir(q, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_QUARANTINE_PATH", q)
	o := r.open()
	if !o.InQuarantine() {
		t.Fatal("not seen as quarantine")
	}
	_, err := o.AddFiles(t.Context(), "main", map[string][]byte{"x": nil}, "x", bob)
	wantCode(t, err, "git_quarantine")
	wantCode(t, o.UpdateRef(t.Context(), "refs/heads/main", r.head(), r.head(), "x"), "git_quarantine")
}

func TestParseHookInput(t *testing.T) {
	a, b, long := strings.Repeat("a", 40), strings.Repeat("0", 40), strings.Repeat("b", 64)
	cases := map[string]string{
		"":                              "",
		a + " " + b + " refs/heads/é\n": "",
		long + " " + long + " refs/x\n": "",
		a + " " + b + " refs/heads/x":   "hook_input_invalid",
		a + " " + b + "\n":              "hook_input_invalid",
		"\n":                            "hook_input_invalid",
		a + " " + long + " refs/x\n":    "hook_input_invalid",
		a + " " + b + " refs/x\n" + long + " " + long + " refs/y\n":     "hook_input_invalid",
		strings.ToUpper(a) + " " + b + " refs/x\n":                      "hook_input_invalid",
		a + " " + b + " refs/heads/\xff\n":                              "ref_not_utf8",
		a + " " + b + " HEAD\n":                                         "hook_input_invalid",
		a + " " + b + " refs/heads/a..b\n":                              "hook_input_invalid",
		a + " " + b + " refs/heads/" + strings.Repeat("x", 9000) + "\n": "hook_input_invalid",
	}
	for in, code := range cases {
		updates, err := ParseHookInput(strings.NewReader(in))
		if gov.CodeOf(err) != code || (err == nil) && len(updates) != strings.Count(in, "\n") {
			t.Errorf("%.120q: %v, %v", in, updates, err)
		}
	}
}

func FuzzParseHookInput(f *testing.F) {
	f.Add([]byte(strings.Repeat("a", 40) + " " + strings.Repeat("0", 40) + " refs/heads/main\n"))
	f.Add([]byte("x y z\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		updates, err := ParseHookInput(bytes.NewReader(in))
		if err != nil {
			return
		}
		var out bytes.Buffer
		for _, u := range updates {
			out.WriteString(u.Old + " " + u.New + " " + u.Ref + "\n")
		}
		if !bytes.Equal(in, out.Bytes()) {
			t.Errorf("%q reads as %q", in, out.Bytes())
		}
	})
}

// git itself is the oracle for names of refs.
func TestCheckRefAgreesWithGit(t *testing.T) {
	r := newRepo(t)
	for _, ref := range []string{
		"refs/heads/main", "refs/heads/a/b", "refs/heads/é", "refs/heads/a.b", "refs/heads/-x", "refs/x", "refs/heads/@",
		"refs/heads/.a", "refs/heads/a.lock", "refs/heads/a.lock/b", "refs/heads/a..b", "refs/heads/a b", "refs/heads/a~", "refs/heads/a^",
		"refs/heads/a:", "refs/heads/a?", "refs/heads/a*", "refs/heads/a[", "refs/heads/a\\", "refs/heads/a@{b", "refs/heads/a.", "refs/heads//a",
		"refs/heads/", "refs/heads/a\x7f", "refs/heads/a\x01",
	} {
		_, err := r.try("check-ref-format", ref)
		if ours := CheckRef(ref); (ours == nil) != (err == nil) {
			t.Errorf("%q: git says %v, we say %v", ref, err, ours)
		}
	}
}
