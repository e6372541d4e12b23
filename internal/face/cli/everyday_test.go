package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/face/cli"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
	"github.com/governhq/govern/internal/wire"
)

// village is a real repository with people, a policy, a log and CHANGE-1 by ana,
// used through Main alone.
type village struct {
	t    *testing.T
	home string
	dir  string
	keys map[string]string // handle → private key file
	deps cli.Deps
}

const villagePolicy = "version: 1\npresence: []\nowners:\n  rules:\n    - {path: \"*\", owners: [bo]}\n"

func newVillage(t *testing.T, policy string) *village {
	t.Helper()
	v := &village{t: t, home: t.TempDir(), keys: map[string]string{}}
	v.dir = filepath.Join(v.home, "work")
	for k, val := range map[string]string{
		"HOME": v.home, "XDG_STATE_HOME": "", "XDG_DATA_HOME": "", "GIT_CONFIG_GLOBAL": filepath.Join(v.home, "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1",
		"GOVERN_SERVER": "", "GOVERN_DIR": "", "GOVERN_KEY": "", "SSH_AUTH_SOCK": "",
		"GIT_AUTHOR_NAME": "ana", "GIT_AUTHOR_EMAIL": "ana@example.com", "GIT_COMMITTER_NAME": "ana", "GIT_COMMITTER_EMAIL": "ana@example.com",
	} {
		t.Setenv(k, val)
	}
	if err := os.Mkdir(v.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	v.git("init", "-q", "-b", "main")
	v.git("config", "user.name", "nobody")
	v.git("config", "user.email", "nobody@example.com")
	people := v.key("ana", "kind=human roles=owner") + v.key("bo", "kind=human roles=owner") + v.key("bot", "kind=agent sponsor=ana") + v.key("ci", "kind=service roles=ci")
	base := v.commit("baseline", map[string]string{"governance.yaml": policy, ".govern/allowed_signers": people, "a.txt": "one\n"})
	v.deps = wire.Deps("test")
	v.deps.Dir = v.dir
	v.deps.Stdin = strings.NewReader("")
	v.deps.Env = func(string) string { return "" }
	w := v.workbench()
	if _, err := v.deps.InitLog(t.Context(), w, "test/village", "main", base, func(st gov.Statement) ([]byte, error) { return v.seal("bo", st) }); err != nil {
		t.Fatal(err)
	}
	v.git("checkout", "-q", "-b", "change-1")
	v.commit("two", map[string]string{"a.txt": "two\n", "changes/CHANGE-1/change_metadata.json": `{
  "change_id": "CHANGE-1", "author": "ana", "owner": "bo", "timestamp": "2026-11-01T09:00:00Z",
  "rationale": "because", "impact": "small", "tests_run": ["pkg/TestA"], "artifacts": [],
  "approvals": [], "rollback_plan": "git revert", "risk_level": "low"
}
`})
	rev, _, err := v.workbench().Revision(t.Context(), base, v.git("rev-parse", "HEAD"), "CHANGE-1")
	if err != nil {
		t.Fatal(err)
	}
	proposal, err := v.seal("ana", gov.Statement{Decision: gov.DecidePropose, Stage: "propose", Change: "CHANGE-1", Revision: rev, Risk: gov.RiskLow, Rationale: "because", Issued: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	v.commit("proposed", map[string]string{"changes/CHANGE-1/statements/" + gov.DigestOf(proposal).Hex() + ".json": string(proposal)})
	t.Setenv("GIT_AUTHOR_EMAIL", "nobody@example.com")
	t.Setenv("GIT_COMMITTER_EMAIL", "nobody@example.com")
	v.withSession(func(s cli.Session) {
		if _, err := s.Client().Sync(t.Context(), client.SyncRequest{Change: "CHANGE-1", Head: "change-1"}); err != nil {
			t.Fatal(err)
		}
	})
	return v
}

func (v *village) workbench() cli.Workbench {
	v.t.Helper()
	w, err := v.deps.OpenRepo(v.t.Context(), v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	return w
}

func (v *village) withSession(f func(cli.Session)) {
	v.t.Helper()
	s, err := v.deps.OpenSession(v.t.Context(), v.workbench(), "test", "local")
	if err != nil {
		v.t.Fatal(err)
	}
	defer s.Close()
	f(s)
}

func (v *village) git(args ...string) string {
	v.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = v.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		v.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (v *village) file(name string) string { return filepath.Join(v.dir, filepath.FromSlash(name)) }

func (v *village) read(name string) string {
	v.t.Helper()
	b, err := os.ReadFile(v.file(name))
	if err != nil {
		v.t.Fatal(err)
	}
	return string(b)
}

func (v *village) commit(message string, files map[string]string) string {
	v.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.MkdirAll(filepath.Dir(v.file(name)), 0o755); err != nil {
			v.t.Fatal(err)
		}
		if err := os.WriteFile(v.file(name), []byte(files[name]), 0o644); err != nil {
			v.t.Fatal(err)
		}
		v.git("add", "--", name)
	}
	v.git("commit", "-q", "-m", message)
	return v.git("rev-parse", "HEAD")
}

// key makes a pair in files and gives its line of the people file.
func (v *village) key(handle, fields string) string {
	v.t.Helper()
	private, public, err := sign.Generate(handle, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	v.keys[handle] = filepath.Join(v.home, handle)
	for name, b := range map[string][]byte{v.keys[handle]: private, v.keys[handle] + ".pub": public} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			v.t.Fatal(err)
		}
	}
	typeAndKey := strings.Join(strings.Fields(string(public))[:2], " ")
	return fmt.Sprintf("%s,%s@example.com %s handle=%s %s\n", handle, handle, typeAndKey, handle, fields)
}

func (v *village) seal(handle string, st gov.Statement) ([]byte, error) {
	s, err := v.deps.Signer(context.Background(), v.keys[handle])
	if err != nil {
		return nil, err
	}
	return s.Seal(context.Background(), st)
}

func (v *village) fingerprint(handle string) string {
	v.t.Helper()
	s, err := v.deps.Signer(v.t.Context(), v.keys[handle])
	if err != nil {
		v.t.Fatal(err)
	}
	return s.Fingerprint()
}

type outcome struct {
	code        int
	out, errors string
}

func (v *village) govern(args ...string) outcome {
	v.t.Helper()
	var stdout, stderr bytes.Buffer
	d := v.deps
	d.Stdout, d.Stderr = &stdout, &stderr
	code := cli.Main(v.t.Context(), d, args)
	return outcome{code, stdout.String(), stderr.String()}
}

// wants runs a command and checks its exit code and words of what it says.
func (v *village) wants(code int, args []string, words ...string) outcome {
	v.t.Helper()
	o := v.govern(args...)
	if o.code != code {
		v.t.Fatalf("govern %v: exit %d, want %d\n%s%s", args, o.code, code, o.out, o.errors)
	}
	for _, w := range words {
		if !strings.Contains(o.out+o.errors, w) {
			v.t.Errorf("govern %v does not say %q:\n%s%s", args, w, o.out, o.errors)
		}
	}
	for line := range strings.Lines(o.out) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 && !strings.Contains(line, "govern ") {
			v.t.Errorf("govern %v: a line of %d columns: %s", args, n, line)
		}
	}
	return o
}

// approve takes a statement in over the API, as deliver would.
func (v *village) approve(handle string) {
	v.t.Helper()
	v.withSession(func(s cli.Session) {
		c, err := s.Client().Change(v.t.Context(), "CHANGE-1", "")
		if err != nil {
			v.t.Fatal(err)
		}
		env, err := v.seal(handle, gov.Statement{
			Decision: gov.DecideApprove, Stage: "review", Role: "owner", Change: "CHANGE-1", Revision: c.Verdict.Revision, Risk: c.Verdict.Risk,
			Rationale: "looked at it", Issued: time.Now().UTC().Truncate(time.Second),
		})
		if err != nil {
			v.t.Fatal(err)
		}
		if _, err := s.Client().TakeStatement(v.t.Context(), env); err != nil {
			v.t.Fatal(err)
		}
	})
}

func TestStatus(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.wants(0, []string{"status"}, "test/village", "mode enforce", "1 open, 0 merged", "CHANGE-1", "low", "review", "missing bo")
	o := v.wants(0, []string{"status", "-o", "json"})
	var got struct {
		Status  client.Status
		Changes []struct {
			client.ChangeSummary
			Verdict *client.Verdict
		}
	}
	if err := json.Unmarshal([]byte(o.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Status.Origin != "test/village" || len(got.Changes) != 1 || got.Changes[0].ID != "CHANGE-1" || got.Changes[0].Verdict.Answer != gov.Pending {
		t.Errorf("%+v", got)
	}
	v.approve("ana")
	v.approve("bo")
	v.wants(0, []string{"status", "change-1"}, "CHANGE-1 is pending at validate", "approve review as owner", "bo", "not counted: role_not_held")
	v.wants(4, []string{"status", "CHANGE-7"}, "CHANGE-7")
	v.wants(2, []string{"status", "seven"}, "change_id_invalid")
}

func TestStatusSaysObserveAndSoloLoudly(t *testing.T) {
	v := newVillage(t, "version: 1\nmode: observe\nsolo: true\npresence: []\nowners:\n  rules:\n    - {path: \"*\", owners: [bo]}\n")
	v.wants(0, []string{"status"}, "OBSERVE MODE", "nothing is refused", "solo mode")
	enforced := newVillage(t, villagePolicy)
	if o := enforced.wants(0, []string{"status"}); strings.Contains(o.out, "OBSERVE") || strings.Contains(o.out, "solo") {
		t.Error(o.out)
	}
}

func TestStatusSaysThatAPolicyCannotBeRead(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.git("checkout", "-q", "main")
	v.commit("break it", map[string]string{"governance.yaml": "version: 1\nmood: good\n"})
	o := v.govern("status")
	if !strings.Contains(o.out+o.errors, "mood") || o.code == 0 && !strings.Contains(o.out, "PROBLEM") {
		t.Errorf("exit %d\n%s%s", o.code, o.out, o.errors)
	}
}

func TestInbox(t *testing.T) {
	v := newVillage(t, villagePolicy)
	for name, c := range map[string]struct {
		args  []string
		code  int
		words []string
	}{
		"named":           {[]string{"inbox", "--as", "bo"}, 0, []string{"CHANGE-1", "review/owner", "govern approve CHANGE-1"}},
		"by key":          {[]string{"inbox", "--key", v.keys["bo"]}, 0, []string{"CHANGE-1", "govern approve"}},
		"nothing for ana": {[]string{"inbox", "--key", v.keys["ana"]}, 0, []string{"nothing waits for ana"}},
		"everybody":       {[]string{"inbox", "--all"}, 0, []string{"CHANGE-1"}},
		"nobody":          {[]string{"inbox"}, 2, []string{"viewer_unknown", "--as HANDLE"}},
		"both":            {[]string{"inbox", "--all", "--as", "bo"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v.t = t
			if name == "both" {
				if o := v.govern(c.args...); o.code == 0 {
					t.Error("--all and --as together are accepted")
				}
				return
			}
			v.wants(c.code, c.args, c.words...)
		})
	}
	v.t = t
	v.git("config", "user.email", "bo@example.com")
	t.Setenv("GIT_COMMITTER_EMAIL", "bo@example.com")
	t.Setenv("GIT_AUTHOR_EMAIL", "bo@example.com")
	v.wants(0, []string{"inbox"}, "CHANGE-1")
	o := v.wants(0, []string{"inbox", "-o", "json"})
	var box client.Inbox
	if err := json.Unmarshal([]byte(o.out), &box); err != nil || len(box.Tasks) == 0 || box.Handle != "bo" {
		t.Errorf("%v: %s", err, o.out)
	}
}

func TestWait(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.wants(0, []string{"wait", "CHANGE-1", "--for", "pending", "--timeout", "20s"}, "CHANGE-1 is pending")
	v.wants(0, []string{"wait", "CHANGE-1", "--for", "review", "--timeout", "20s"})
	v.wants(7, []string{"wait", "CHANGE-1", "--for", "merged", "--timeout", "300ms"}, "wait_timeout", "CHANGE-1 is pending at review")
	v.wants(2, []string{"wait", "CHANGE-1", "--for", "happiness", "--timeout", "20s"}, "wait_state_unknown")
	v.wants(2, []string{"wait", "CHANGE-1", "--for", "merged", "--timeout", "0s"}, "timeout_invalid")
	v.wants(4, []string{"wait", "CHANGE-9", "--for", "merged", "--timeout", "300ms"})
	v.wants(2, []string{"wait"})
}

func TestExplain(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.wants(0, []string{"explain", "is_author"}, "is_author", "a reason", "next:")
	v.wants(0, []string{"explain", "[merge_conflict]"}, "conflict, exit code 5", "git rebase")
	v.wants(4, []string{"explain", "merge"}, "code_unknown", "merge_conflict")
	v.wants(4, []string{"explain", "no such thing"}, "code_unknown")
	o := v.wants(0, []string{"explain", "-o", "json", "disk_full"})
	var c struct{ Code, Kind, Cause, Next string }
	if err := json.Unmarshal([]byte(o.out), &c); err != nil || c.Code != "disk_full" || c.Kind != "unavailable" || c.Cause == "" || c.Next == "" {
		t.Errorf("%v: %s", err, o.out)
	}
	v.approve("ana")
	o = v.wants(0, []string{"explain", "CHANGE-1"}, "CHANGE-1 is pending at review", "statements that do not count", "[role_not_held]", "bo")
	v.withSession(func(s cli.Session) {
		got, err := s.Client().Change(t.Context(), "CHANGE-1", "")
		if err != nil {
			t.Fatal(err)
		}
		for r := range got.Verdict.Leaves {
			for _, want := range []string{r.ID + ": ", r.Why, r.Text} {
				if !strings.Contains(o.out, want) {
					t.Errorf("%s: %q is not explained:\n%s", r.ID, want, o.out)
				}
			}
			if !r.State.Done() && !strings.Contains(o.out, r.Command) {
				t.Errorf("%s: the command %q is not there", r.ID, r.Command)
			}
		}
	})
}

func TestPeople(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.key("cy", "")
	const file = ".govern/allowed_signers"
	before := v.read(file)
	v.wants(0, []string{"people", "list", "--key", v.keys["bo"]}, "ana", "bot", "for ana", v.fingerprint("bo"), "* the key that signs here")
	if o := v.wants(0, []string{"people", "list", "--role", "owner"}, "bo"); strings.Contains(o.out, "bot") {
		t.Error(o.out)
	}
	v.wants(2, []string{"people", "add", "cy", "--key-file", v.keys["cy"]}, "key_file_private")
	v.wants(2, []string{"people", "add", "cy"}, "key_file_missing")
	v.wants(2, []string{"people", "add", "cy", "--key-file", v.keys["cy"] + ".pub", "--kind", "wizard"}, "kind_invalid")
	v.wants(2, []string{"people", "add", "cy", "--key-file", v.keys["bo"] + ".pub"}, "registry_key_twice")
	v.wants(4, []string{"people", "revoke", "zoe"}, "person_unknown")
	v.wants(4, []string{"people", "rotate", "zoe", "--key-file", v.keys["cy"] + ".pub"}, "person_unknown")
	if v.read(file) != before {
		t.Fatal("a refused command edited the file")
	}
	v.wants(0, []string{"people", "add", "cy", "--public-key", v.keys["cy"] + ".pub", "--roles", "security_lead", "--email", "cy@example.com"}, "cy (human)", "not in force", "govern submit")
	p, ok := v.registry(file).Person("cy")
	if !ok || p.Kind != gov.Human || !slices.Equal(p.Roles, []string{"security_lead"}) || !slices.Equal(p.Emails, []string{"cy@example.com"}) {
		t.Errorf("%+v", p)
	}
	if !strings.HasPrefix(v.read(file), before) {
		t.Error("other lines were touched")
	}
	v.wants(0, []string{"people", "list"}, "differs from what is in force", "security_lead")
	v.wants(0, []string{"people", "revoke", v.fingerprint("cy")}, "cy loses the key", "cy is nobody any more")
	if v.read(file) != before {
		t.Errorf("add and revoke do not cancel:\n%s", v.read(file))
	}
	v.wants(2, []string{"people", "revoke", "ana"}, "registry_sponsor") // bot still needs her
}

func (v *village) registry(file string) gov.Registry {
	v.t.Helper()
	reg, err := sign.ParseRegistry([]byte(v.read(file)))
	if err != nil {
		v.t.Fatal(err)
	}
	return reg
}

func TestRotateKeepsThePerson(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		keys int
	}{
		"taken out":  {nil, 1},
		"kept until": {[]string{"--keep-until", "2030-01-02"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVillage(t, villagePolicy)
			v.key("fresh", "")
			before, _ := v.registry(".govern/allowed_signers").Person("ana")
			v.wants(0, append([]string{"people", "rotate", "ana", "--key-file", v.keys["fresh"] + ".pub"}, c.args...), v.fingerprint("fresh"))
			after, ok := v.registry(".govern/allowed_signers").Person("ana")
			if !ok || len(after.Keys) != c.keys || after.Kind != before.Kind || !slices.Equal(after.Roles, before.Roles) || !slices.Equal(after.Emails, before.Emails) {
				t.Fatalf("%+v", after)
			}
			for _, k := range after.Keys {
				if old := k.Fingerprint == before.Keys[0].Fingerprint; old != !k.NotAfter.IsZero() || old && k.NotAfter.Format("2006-01-02") != "2030-01-02" {
					t.Errorf("%+v", k)
				}
			}
		})
	}
}

func TestPeopleNeverLeavesTheRepository(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.key("cy", "")
	outside := filepath.Join(v.home, "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(v.file(".govern")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, v.file(".govern")); err != nil {
		t.Fatal(err)
	}
	v.wants(8, []string{"people", "add", "cy", "--key-file", v.keys["cy"] + ".pub"}, "work_tree_unreadable")
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("written outside: %v", left)
	}
}

func TestKey(t *testing.T) {
	v := newVillage(t, villagePolicy)
	name := filepath.Join(v.home, "new")
	v.wants(0, []string{"key", "new", name}, "SHA256:", "people add")
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	v.wants(5, []string{"key", "new", name}, "key_file_exists")
	v.wants(0, []string{"key", "show", "--key", name}, "nobody in .govern/allowed_signers on main")
	v.wants(0, []string{"key", "show", "--key", v.keys["bo"]}, "bo, human: owner", "presence", "no: not enough")
	v.wants(2, []string{"key", "show"}, "signing_key_missing")
}

func TestToken(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.wants(0, []string{"token", "list"}, "there are no tokens")
	o := v.wants(0, []string{"token", "add", "ci"})
	if secret := strings.TrimSpace(o.out); !strings.HasPrefix(secret, "gvn_") || strings.Contains(o.errors, secret) {
		t.Errorf("stdout is %q, stderr %q", o.out, o.errors)
	}
	o = v.wants(0, []string{"token", "list"}, "ci", "service")
	id := strings.Fields(strings.Split(o.out, "\n")[1])[0]
	v.wants(2, []string{"token", "add", "Bad Handle"}, "handle_invalid")
	v.wants(2, []string{"token", "add", "ci", "--kind", "wizard"}, "kind_invalid")
	v.wants(0, []string{"token", "revoke", id})
	v.wants(4, []string{"token", "revoke", id}, "token_unknown")
}
