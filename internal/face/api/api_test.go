package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/edge/git"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/face/api"
	"github.com/governhq/govern/internal/gov"
)

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

// repo fits edge/git to what opening a log asks of a repository.
type repo struct {
	engine.Repo
	git *git.Repo
}

func (r repo) Resolve(ctx context.Context, ref string) (string, error) {
	return r.git.Resolve(ctx, ref)
}

func (r repo) ReadFile(ctx context.Context, commit, path string) ([]byte, error) {
	return r.git.ReadFile(ctx, commit, path)
}

func (r repo) DefaultBranch(ctx context.Context) (name, ref string, err error) {
	b, err := r.git.DefaultBranch(ctx)
	return b.Name, b.Ref, err
}

const policyFile = "version: 1\nowners:\n  rules:\n    - {path: \"*\", owners: [bo]}\n"

// serve opens a real log beside a real repository and serves it in somebody's
// name, nobody's when via is "".
func serve(t *testing.T, via string) (http.Handler, *engine.Engine) {
	t.Helper()
	ctx, dir := context.WithoutCancel(t.Context()), t.TempDir()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	people := fmt.Sprintf("bo,bo@example.com %s handle=bo kind=human roles=owner\n", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	for name, content := range map[string]string{"governance.yaml": policyFile, ".govern/allowed_signers": people} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=bo", "-c", "user.email=bo@example.com", "commit", "-q", "-m", "baseline"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	g, err := git.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	r := repo{git: g}
	tip, err := r.Resolve(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, ".git", "govern")
	if _, err := engine.Init(ctx, r, engine.InitRequest{Dir: data, Origin: "test/api", Branch: "main", Commit: tip, Actor: gov.Principal{Handle: "bo"}}); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(ctx, engine.Config{Dir: data, Repo: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	h, _ := api.New(api.Config{Engine: e, Version: "1"})
	if via == "" {
		return h, e
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), gov.Principal{Handle: "bo", Kind: gov.Human, Via: via})))
	}), e
}

func call(t *testing.T, h http.Handler, method, path, body string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), b
}

// refusal reads a problem and checks its shape.
func refusal(t *testing.T, res *http.Response, body []byte) client.Problem {
	t.Helper()
	var p client.Problem
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	if p.Kind == "" || p.Code == "" || p.Detail == "" || p.Status != res.StatusCode {
		t.Errorf("status %d, problem %+v", res.StatusCode, p)
	}
	return p
}

func TestRequestsAreReadStrictly(t *testing.T) {
	t.Parallel()
	h, e := serve(t, "local")
	size := e.Reader().Size()
	for _, tc := range []struct{ name, body string }{
		{"unknown key", `{"old":"a","new":"b","recrod":true}`},
		{"duplicate key", `{"old":"a","new":"b","new":"c"}`},
		{"key in another case", `{"Old":"a","new":"b"}`},
		{"wrong type", `{"old":1,"new":"b"}`},
		{"trailing text", `{"old":"a","new":"b"} {}`},
		{"no JSON", `old=a`},
		{"invalid UTF-8", "{\"old\":\"\xff\",\"new\":\"b\"}"},
		{"U+0000", `{"old":"\u0000","new":"b"}`},
		{"lone surrogate", `{"old":"\ud800","new":"b"}`},
		{"too deep", strings.Repeat(`[`, 100000)},
	} {
		res, body := call(t, h, http.MethodPost, "/v1/gate", tc.body)
		if p := refusal(t, res, body); p.Kind != gov.KindInvalid || res.StatusCode/100 != 4 {
			t.Errorf("%s: %d %s", tc.name, res.StatusCode, body)
		}
	}
	if e.Reader().Size() != size {
		t.Error("a request that was refused left a record")
	}
}

func TestNobodyMayCall(t *testing.T) {
	t.Parallel()
	h, _ := serve(t, "")
	_, doc := api.New(api.Config{Version: "1"})
	n := 0
	for path, item := range doc.Paths {
		for method, o := range map[string]any{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch} {
			if fmt.Sprint(o) == "<nil>" {
				continue
			}
			n++
			body := ""
			if method == "POST" {
				body = "{}"
			}
			path := strings.NewReplacer("{id}", "CHANGE-1", "{name}", "prod", "{command}", "abort", "{digest}", string(gov.DigestOf(nil)), "{origin}", "x").Replace(path)
			res, b := call(t, h, method, path, body)
			if p := refusal(t, res, b); p.Code != "unauthenticated" && p.Kind != gov.KindInvalid {
				t.Errorf("%s %s answered nobody: %d %s", method, path, res.StatusCode, b)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d operations were asked", n)
	}
	for _, path := range []string{"/healthz", "/log/checkpoint"} {
		if res, b := call(t, h, http.MethodGet, path, ""); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, res.StatusCode, b)
		}
	}
}

func TestProblemsSayWhatToDoAndNothingInternal(t *testing.T) {
	t.Parallel()
	h, e := serve(t, "local")
	for _, tc := range []struct {
		method, path, body, code string
		kind                     gov.Kind
		status                   int
	}{
		{"GET", "/v1/changes/CHANGE-9", "", "change_unknown", gov.KindNotFound, 404},
		{"GET", "/v1/changes/nonsense", "", "change_id_invalid", gov.KindInvalid, 422},
		{"GET", "/v1/targets/nowhere", "", "target_unknown", gov.KindNotFound, 404},
		{"POST", "/v1/targets/nowhere/abort", "{}", "target_unknown", gov.KindNotFound, 404},
		{"POST", "/v1/targets/nowhere/promote", "{}", "rollout_command_unknown", gov.KindNotFound, 404},
		{"GET", "/v1/statements/sha256:xyz", "", "digest_invalid", gov.KindInvalid, 422},
		{"GET", "/v1/statements/" + string(gov.DigestOf(nil)), "", "blob_erased", gov.KindNotFound, 404},
		{"POST", "/v1/gate", `{"old":"a","new":"b","git":{"GIT_QUARANTINE_PATH":"/etc"}}`, "quarantine_remote", gov.KindDenied, 403},
		{"GET", "/v1/changes/CHANGE-1/wait?for=whenever&timeout_ms=1", "", "wait_state_unknown", gov.KindInvalid, 422},
	} {
		res, body := call(t, h, tc.method, tc.path, tc.body)
		if p := refusal(t, res, body); p.Code != tc.code || p.Kind != tc.kind || res.StatusCode != tc.status {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, res.StatusCode, body)
		}
	}
	e.View().Close()
	res, body := call(t, h, "GET", "/v1/changes", "")
	if p := refusal(t, res, body); res.StatusCode != 500 || p.Hint == "" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestQuarantineIsForThisMachine: only callers known to be here may name paths.
func TestQuarantineIsForThisMachine(t *testing.T) {
	t.Parallel()
	_, e := serve(t, "local")
	for via, may := range map[string]bool{"local": true, "socket": true, "hook": true, "token": false, "": false, "oidc": false} {
		asked := false
		h, _ := api.New(api.Config{Engine: e, Quarantine: func(context.Context, map[string]string) (engine.Repo, error) {
			asked = true
			return nil, gov.Errorf(gov.KindDenied, "foreign", "not in this repository")
		}})
		r := httptest.NewRequest(http.MethodPost, "/v1/gate", strings.NewReader(`{"old":"a","new":"b","git":{"GIT_DIR":"/x"}}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), gov.Principal{Handle: "x", Via: via})))
		if asked != may || w.Code != http.StatusForbidden {
			t.Errorf("via %q: asked %t, status %d", via, asked, w.Code)
		}
	}
}
