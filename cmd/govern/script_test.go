package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"govern": func() {
			version = "0.0.0-test"
			main()
		},
	})
}

// crew is everybody who has a key. eve stands in no registry; old's key has
// expired.
var crew = []struct{ handle, fields string }{
	{"ana", "kind=human"},
	{"bo", "kind=human"},
	{"cy", "kind=human roles=security_lead"},
	{"ci", "kind=service roles=ci"},
	{"bot", "kind=agent sponsor=ana"},
	{"old", "kind=human"},
	{"eve", ""},
}

// TestScripts drives the whole program with real git, real keys (ssh-keygen), a
// bare repository with hooks, and clones. Commands of the scripts beside those
// of testscript:
//
//	house [POLICY]       makes central.git with policy and people, its log and hooks, and clones ana, bo, cy
//	as HANDLE            goes on as somebody, in the clone of that name where there is one
//	code N CMD …         runs a command that must end with exit code N
//	edit FILE OLD NEW    replaces a text in a file
//	statement ID FILE    puts a file among the statements of a change, named by its digest
//	namespace IN OUT NS  signs the statement IN again, as HANDLE, in another SSH namespace
//	fill FILE N          makes a file of N bytes of JSON
//	bytes FILE HEX       makes a file of bytes
func TestScripts(t *testing.T) {
	for _, tool := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed: apt-get install git openssh-client", tool)
		}
	}
	keys := makeKeys(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Setup:               func(e *testscript.Env) error { return setup(e, keys) },
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"git": git, "house": house, "as": as, "code": code, "edit": edit, "statement": statement, "namespace": namespace, "fill": fill, "bytes": rawBytes,
		},
	})
}

// makeKeys makes a key for everybody, with stock ssh-keygen.
func makeKeys(t *testing.T) string {
	dir := t.TempDir()
	for _, p := range crew {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", p.handle, "-f", filepath.Join(dir, p.handle)).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	return dir
}

func setup(e *testscript.Env, keys string) error {
	home := filepath.Join(e.WorkDir, "home")
	var registry strings.Builder
	for _, p := range crew {
		dir := filepath.Join(home, p.handle)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		private, err := os.ReadFile(filepath.Join(keys, p.handle))
		if err != nil {
			return err
		}
		public, err := os.ReadFile(filepath.Join(keys, p.handle+".pub"))
		if err != nil {
			return err
		}
		key := filepath.Join(dir, "key")
		config := fmt.Sprintf("[user]\n\tname = %s\n\temail = %s@example.com\n\tsigningkey = %s\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n[merge]\n\trenames = true\n", p.handle, p.handle, key)
		for name, b := range map[string][]byte{"key": private, "key.pub": public, "gitconfig": []byte(config)} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				return err
			}
		}
		if p.fields == "" {
			continue
		}
		validity := ""
		if p.handle == "old" {
			validity = "valid-before=\"20200101Z\","
		}
		fmt.Fprintf(&registry, "%s,%s@example.com %snamespaces=\"govern-statement\" %s handle=%s %s\n",
			p.handle, p.handle, validity, strings.Join(strings.Fields(string(public))[:2], " "), p.handle, p.fields)
	}
	for _, name := range []string{"GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE", "SSH_AUTH_SOCK", "GOVERN_SERVER", "GOVERN_DIR", "GOVERN_KEY"} {
		e.Setenv(name, "")
	}
	e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	e.Setenv("GORACE", "atexit_sleep_ms=0")
	e.Setenv("NO_COLOR", "1")
	setPerson(e.Setenv, home, "bo")
	return os.WriteFile(filepath.Join(e.WorkDir, "people"), []byte(registry.String()), 0o644)
}

func setPerson(set func(key, value string), home, who string) {
	dir := filepath.Join(home, who)
	set("HOME", dir)
	set("XDG_STATE_HOME", filepath.Join(dir, "state"))
	set("GIT_CONFIG_GLOBAL", filepath.Join(dir, "gitconfig"))
	set("WHO", who)
}

func as(ts *testscript.TestScript, _ bool, args []string) {
	setPerson(ts.Setenv, filepath.Join(ts.Getenv("WORK"), "home"), args[0])
	clone := filepath.Join(ts.Getenv("WORK"), args[0])
	if info, err := os.Stat(clone); err == nil && info.IsDir() {
		ts.Check(ts.Chdir(clone))
	}
}

const defaultPolicy = `version: 1
presence: []
owners:
  rules:
    - {path: "*", owners: [bo]}
    - {path: "docs/**", owners: [bo, cy]}
not_applicable:
  - {what: [tests, contracts, coverage], because: the script runs no tests}
`

func house(ts *testscript.TestScript, _ bool, args []string) {
	work := ts.Getenv("WORK")
	policy := []byte(defaultPolicy)
	if len(args) > 0 {
		policy = []byte(ts.ReadFile(args[0]))
	}
	people, err := os.ReadFile(filepath.Join(work, "people"))
	ts.Check(err)
	run := func(dir string, words ...string) {
		ts.Check(ts.Chdir(dir))
		if err := ts.Exec(words[0], words[1:]...); err != nil {
			ts.Fatalf("%v: %v", words, err)
		}
	}
	central, seed := filepath.Join(work, "central.git"), filepath.Join(work, "bo")
	run(work, "git", "init", "-q", "--bare", "-b", "main", "central.git")
	run(work, "git", "clone", "-q", "central.git", "bo")
	files := map[string]string{
		"governance.yaml": string(policy), ".govern/allowed_signers": string(people),
		"a.txt": "one\n", "b.txt": "one\n", "c.txt": "one\n", "docs/x.md": "x\n",
	}
	for name, text := range files {
		ts.Check(os.MkdirAll(filepath.Dir(filepath.Join(seed, name)), 0o755))
		ts.Check(os.WriteFile(filepath.Join(seed, name), []byte(text), 0o644))
	}
	run(seed, "git", "switch", "-q", "-C", "main")
	run(seed, "git", "add", "-A")
	run(seed, "git", "commit", "-q", "-m", "baseline")
	run(seed, "git", "push", "-q", "origin", "main")
	run(central, "govern", "init")
	run(central, "govern", "hook", "install")
	for _, who := range []string{"ana", "cy"} {
		run(work, "git", "clone", "-q", "central.git", who)
	}
	ts.Check(ts.Chdir(work))
}

func git(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("git", args...)
	if (err == nil) == neg {
		ts.Fatalf("git %s: failed: %t", strings.Join(args, " "), err != nil)
	}
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func edit(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	unquote := func(s string) string { return strings.ReplaceAll(s, `\n`, "\n") }
	if !strings.Contains(string(b), unquote(args[1])) {
		ts.Fatalf("%s holds no %q:\n%s", args[0], args[1], b)
	}
	ts.Check(os.WriteFile(file, []byte(strings.Replace(string(b), unquote(args[1]), unquote(args[2]), 1)), 0o644))
}

func statement(ts *testscript.TestScript, _ bool, args []string) {
	b := []byte(ts.ReadFile(args[1]))
	dir := ts.MkAbs(filepath.Join("changes", args[0], "statements"))
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, gov.DigestOf(b).Hex()+".json"), b, 0o644))
}

func namespace(ts *testscript.TestScript, _ bool, args []string) {
	env := []byte(ts.ReadFile(args[0]))
	message, _, err := sign.ExportForSSHKeygen(env)
	ts.Check(err)
	file := filepath.Join(ts.Getenv("WORK"), "message")
	ts.Check(os.WriteFile(file, message, 0o644))
	key := filepath.Join(ts.Getenv("HOME"), "key")
	out, err := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", args[2], file).CombinedOutput()
	if err != nil {
		ts.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	armored, err := os.ReadFile(file + ".sig")
	ts.Check(err)
	ts.Check(os.Remove(file + ".sig"))
	block, _ := pem.Decode(armored)
	if block == nil {
		ts.Fatalf("no signature in\n%s", armored)
	}
	var e map[string]any
	ts.Check(json.Unmarshal(env, &e))
	e["signatures"].([]any)[0].(map[string]any)["sig"] = base64.StdEncoding.EncodeToString(block.Bytes)
	b, err := json.Marshal(e) // sorted keys: the canonical form of such an object
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), append(b, '\n'), 0o644))
}

func fill(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(`{"rationale":"`+strings.Repeat("x", n-16)+`"}`), 0o644))
}

func rawBytes(ts *testscript.TestScript, _ bool, args []string) {
	var b []byte
	_, err := fmt.Sscanf(args[1], "%x", &b)
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}
