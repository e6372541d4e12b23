package engine_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
	"github.com/governhq/govern/internal/rule/change"
)

// clock is a clock that tests turn.
type clock struct {
	wall   time.Time
	uptime time.Duration
	boot   string
}

func (c *clock) Now() time.Time          { return c.wall }
func (c *clock) Uptime() time.Duration   { return c.uptime }
func (c *clock) Boot() string            { return "boot" + c.boot }
func (c *clock) advance(d time.Duration) { c.wall, c.uptime = c.wall.Add(d), c.uptime+d }

// house is a real git repository with policy, people and a log.
type house struct {
	t     testing.TB
	ctx   context.Context
	dir   string
	repo  gitRepo
	e     *engine.Engine
	clock *clock
	keys  map[string]sign.Signer
	cfg   engine.Config
	env   []string // who commits
	steps int
	// tampered: the test has broken something on purpose.
	tampered bool
}

// TestMain keeps the tests away from the user's git.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "govern-home-")
	if err != nil {
		panic(err)
	}
	for k, v := range map[string]string{"HOME": home, "GIT_CONFIG_GLOBAL": filepath.Join(home, "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"} {
		os.Setenv(k, v)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

type person struct {
	handle, kind, roles, extra string
}

var crew = []person{
	{"ana", "human", "", ""},
	{"bo", "human", "owner", ""},
	{"cy", "human", "security_lead", ""},
	{"di", "human", "architecture_lead", ""},
	{"ed", "human", "", ""},
	{"fay", "human", "security_lead", ""},
	{"bot", "agent", "", "sponsor=ana"},
	{"ci", "service", "ci", ""},
}

const testPolicy = `version: 1
presence: []
owners:
  rules:
    - {path: "*", owners: [bo]}
`

func newHouse(t testing.TB, policy string, files map[string]string) *house {
	t.Helper()
	h := &house{t: t, ctx: context.WithoutCancel(t.Context()), dir: t.TempDir(), keys: map[string]sign.Signer{}, clock: &clock{wall: time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC), uptime: time.Hour}}
	h.git("init", "-q", "-b", "main", "work")
	h.dir = filepath.Join(h.dir, "work")
	h.as("bo")
	all := map[string]string{"governance.yaml": policy, ".govern/allowed_signers": h.people()}
	maps.Copy(all, files)
	h.commit("baseline", all)
	var err error
	if h.repo, err = openRepo(h.ctx, h.dir); err != nil {
		t.Fatal(err)
	}
	h.cfg = engine.Config{Dir: filepath.Join(h.dir, ".git", "govern"), Repo: h.repo, Clock: h.clock, SecondPlace: filepath.Join(t.TempDir(), "second")}
	_, err = engine.Init(h.ctx, h.repo, engine.InitRequest{
		Dir: h.cfg.Dir, SecondPlace: h.cfg.SecondPlace, Origin: "test/house", Branch: "main", Commit: h.git("rev-parse", "main"),
		Actor: gov.Principal{Handle: "bo", Kind: gov.Human, Via: "local"}, Clock: h.clock,
		Found: func(st gov.Statement) ([]byte, error) { return sign.Seal(h.ctx, st, h.keys["bo"]) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.open()
	return h
}

func (h *house) open() {
	h.t.Helper()
	e, err := engine.Open(h.ctx, h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.e = e
	h.t.Cleanup(func() {
		if h.e == e && !h.t.Failed() && !h.tampered {
			h.checkNow()
		}
		e.Close()
	})
}

func (h *house) people() string {
	var b strings.Builder
	for _, p := range crew {
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			h.t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(priv)
		if err != nil {
			h.t.Fatal(err)
		}
		h.keys[p.handle] = sign.FromKey(s)
		fmt.Fprintf(&b, "%s,%s@example.com %s handle=%s kind=%s", p.handle, p.handle, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey()))), p.handle, p.kind)
		if p.roles != "" {
			fmt.Fprintf(&b, " roles=%s", p.roles)
		}
		if p.extra != "" {
			fmt.Fprintf(&b, " %s", p.extra)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (h *house) git(args ...string) string {
	h.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = h.dir, append(os.Environ(), h.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (h *house) as(handle string) {
	h.env = nil
	for _, who := range []string{"GIT_AUTHOR", "GIT_COMMITTER"} {
		h.env = append(h.env, who+"_NAME="+handle, who+"_EMAIL="+handle+"@example.com")
	}
}

func (h *house) commit(message string, files map[string]string) string {
	h.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(h.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			h.t.Fatal(err)
		}
		h.git("add", "--", name)
	}
	h.git("commit", "-q", "--allow-empty", "-m", message)
	return h.git("rev-parse", "HEAD")
}

func metadata(id, author, risk string) string {
	return fmt.Sprintf(`{
  "change_id": %q, "author": %q, "owner": "bo", "timestamp": "2026-11-01T09:00:00Z",
  "rationale": "because", "impact": "small", "tests_run": ["pkg/TestA"], "artifacts": [],
  "approvals": [], "rollback_plan": "git revert", "risk_level": %q
}
`, id, author, risk)
}

// propose makes a branch with a change by ana and takes it in.
func (h *house) propose(id, risk string, files map[string]string) engine.ChangeAnswer {
	h.t.Helper()
	h.as("ana")
	h.git("checkout", "-q", "-B", strings.ToLower(id), "main")
	all := map[string]string{"changes/" + id + "/change_metadata.json": metadata(id, "ana", risk)}
	maps.Copy(all, files)
	h.commit("change "+id, all)
	h.proposal("ana", id)
	return h.sync(id)
}

// proposal adds to the newest commit a signed proposal of what it holds, in place
// of the last one that the log has.
func (h *house) proposal(who, id string) gov.Revision {
	h.t.Helper()
	rev, _, err := h.repo.Revision(h.ctx, h.git("rev-parse", "main"), h.git("rev-parse", "HEAD"), gov.ChangeID(id))
	if err != nil {
		h.t.Fatal(err)
	}
	st := gov.Statement{Decision: gov.DecidePropose, Stage: "propose", Change: gov.ChangeID(id), Revision: rev, Risk: gov.RiskLow}
	if known, err := h.e.Change(h.ctx, gov.ChangeID(id)); err == nil {
		for _, s := range known.Statements {
			if s.Decision == gov.DecidePropose {
				st.Subject = s.Digest
			}
		}
	}
	path, env := h.seal(who, st)
	h.commit("proposed by "+who, map[string]string{path: string(env)})
	h.git("reset", "-q", "--soft", "HEAD~1")
	h.git("commit", "-q", "--amend", "--no-edit") // the change is one commit
	return rev
}

func (h *house) sync(id string) engine.ChangeAnswer {
	h.t.Helper()
	a, err := h.e.Sync(h.ctx, engine.SyncRequest{Actor: gov.Principal{Handle: "ana", Kind: gov.Human, Via: "local"}, ID: gov.ChangeID(id), Head: strings.ToLower(id)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.check()
	return a
}

// sign takes a statement in, filled from the change's present verdict.
func (h *house) sign(who string, st gov.Statement) (engine.ChangeAnswer, error) {
	h.t.Helper()
	if st.Rationale == "" {
		st.Rationale = "looked at it"
	}
	st.Issued = h.clock.Now()
	env, err := sign.Seal(h.ctx, st, h.keys[who])
	if err != nil {
		h.t.Fatal(err)
	}
	a, _, err := h.e.TakeStatement(h.ctx, gov.Principal{Handle: who, Kind: gov.Human, Via: "local"}, env)
	h.check()
	return a, err
}

func (h *house) approve(who string, v gov.Verdict, stage, role string) engine.ChangeAnswer {
	h.t.Helper()
	st := gov.Statement{Decision: gov.DecideApprove, Stage: stage, Change: v.Change, Role: role, Revision: v.Revision, Risk: v.Risk}
	if stage == "final" {
		targets, err := h.e.Targets(h.ctx)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, t := range targets {
			if o := t.Outcome(); o != nil && t.Run.Change == v.Change {
				st.Outcome = o
			}
		}
	}
	a, err := h.sign(who, st)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *house) evidence(v gov.Verdict, ev gov.Evidence) engine.ChangeAnswer {
	h.t.Helper()
	ev.Tool, ev.Report = "test", gov.DigestOf([]byte(ev.Kind))
	a, err := h.sign("ci", gov.Statement{Decision: gov.DecideEvidence, Stage: "validate", Change: v.Change, Revision: v.Revision, Evidence: &ev})
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// validate gives all evidence that the default workflows ask for.
func (h *house) validate(v gov.Verdict) engine.ChangeAnswer {
	h.t.Helper()
	cover := 0.9
	h.evidence(v, gov.Evidence{Kind: "tests", Passed: 1, Results: []gov.Result{{ID: "pkg/TestA", Status: "passed"}}})
	h.evidence(v, gov.Evidence{Kind: "contracts", Passed: 1})
	return h.evidence(v, gov.Evidence{Kind: "coverage", Coverage: &cover})
}

// check is run after every step: the log keeps its promises, every decision
// comes out again, and the views equal a rebuild.
//
// In the quick mode that is every eighth step, and the end.
func (h *house) check() {
	h.t.Helper()
	if h.steps++; h.steps%8 == 0 || os.Getenv("GOVERN_TEST_FULL") == "1" {
		h.checkNow()
	}
}

func (h *house) checkNow() {
	h.t.Helper()
	rep, err := h.e.VerifyDecisions(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	if !rep.OK() || len(rep.Newer) > 0 {
		h.t.Fatalf("decisions do not replay: %+v", rep)
	}
	log, err := h.e.VerifyLog(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	if len(log.Failures) > 0 {
		h.t.Fatalf("the log does not keep its promises: %+v", log.Failures)
	}
	have, err := h.e.View().Dump(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	if want := engine.RebuiltDump(h.t, h.e); have != want {
		h.t.Fatalf("the views are %s, rebuilt ones are %s", have.Short(), want.Short())
	}
}

// push asks the gate as the hook does, and moves the branch when it passes.
func (h *house) push(head string) engine.GateAnswer {
	h.t.Helper()
	old := h.git("rev-parse", "main")
	head = h.git("rev-parse", head)
	g, err := h.e.Gate(h.ctx, engine.GateRequest{Ref: "refs/heads/main", Old: old, New: head, Record: true})
	if err != nil {
		h.t.Fatal(err)
	}
	h.check()
	if g.Passes() {
		h.bypass(old, head)
	}
	return g
}

// bypass moves the branch without asking, and tells what happened.
func (h *house) bypass(old, head string) {
	h.t.Helper()
	h.git("update-ref", "refs/heads/main", head)
	if _, err := h.e.Merged(h.ctx, engine.MergedRequest{Ref: "refs/heads/main", Old: old, New: head}); err != nil {
		h.t.Fatal(err)
	}
	h.check()
}

// ready proposes a low-risk change and gives it all it needs.
func (h *house) ready(id string, files map[string]string) engine.ChangeAnswer {
	h.t.Helper()
	a := h.propose(id, "low", files)
	h.approve("bo", a.Verdict, "review", "owner")
	a = h.validate(a.Verdict)
	if a.Verdict.Answer != gov.Allowed {
		h.t.Fatal(words(a.Verdict))
	}
	return a
}

func (h *house) status(id gov.ChangeID) change.State {
	h.t.Helper()
	st, err := h.e.Change(h.ctx, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return st
}

// explain says why a push was answered as it was.
func explain(g engine.GateAnswer) string {
	s := fmt.Sprintf("allowed %t, governed %t, observe %t, problems %+v\n", g.Allowed, g.Governed, g.Observe, g.Problems)
	for _, c := range g.Changes {
		s += string(c.ID) + ": " + words(c.Verdict)
	}
	return s
}

// requirement finds one in a verdict.
func requirement(v gov.Verdict, id string) gov.Requirement {
	for r := range v.Leaves {
		if r.ID == id {
			return r
		}
	}
	return gov.Requirement{}
}

func notCounted(v gov.Verdict, signer, code string) bool {
	return slices.ContainsFunc(v.NotCounted, func(n gov.NotCounted) bool { return n.Signer == signer && n.Code == code })
}

func words(v gov.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %q risk %s\n", v.Answer, v.Stage, v.Risk)
	for r := range v.Leaves {
		fmt.Fprintf(&b, "  %-14s %-24s %v %s [%s] %s\n", r.State, r.ID, r.By, r.Why, r.Command, r.Text)
	}
	for _, n := range v.NotCounted {
		fmt.Fprintf(&b, "  not counted: %s %s %s: %s\n", n.Signer, n.Decision, n.Code, n.Why)
	}
	return b.String()
}

// seal signs a statement for a file of the change's branch.
func (h *house) seal(who string, st gov.Statement) (path string, envelope []byte) {
	h.t.Helper()
	st.Rationale, st.Issued = "a reason", h.clock.Now()
	env, err := sign.Seal(h.ctx, st, h.keys[who])
	if err != nil {
		h.t.Fatal(err)
	}
	return "changes/" + string(st.Change) + "/statements/" + gov.DigestOf(env).Hex() + ".json", env
}
