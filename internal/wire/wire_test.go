package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/face/api"
	"github.com/governhq/govern/internal/gov"
)

// TestContractIsFresh: contracts/openapi.yaml is what the handler describes.
// GOVERN_UPDATE=1 writes it.
func TestContractIsFresh(t *testing.T) {
	t.Parallel()
	want, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "contracts", "openapi.yaml")
	if os.Getenv("GOVERN_UPDATE") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(have), string(want)); d != "" {
		t.Errorf("contracts/openapi.yaml is stale; GOVERN_UPDATE=1 go test ./internal/wire writes it:\n%s", d)
	}
}

var who = gov.Principal{Handle: "bo", Kind: gov.Human, Via: "local"}

func get(t *testing.T, rt http.RoundTripper, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return res, "error: " + err.Error()
	}
	return res, string(b)
}

func TestLocalStreams(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	l := Local{Principal: who, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "one")
		<-next
		io.WriteString(w, "two")
	})}
	req := httptest.NewRequest(http.MethodGet, "http://x/", nil)
	res, err := l.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 3)
	if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "one" {
		t.Fatalf("%q %v", buf, err)
	}
	close(next) // the first part came while the handler was still at work
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "two" {
		t.Fatalf("%q %v", rest, err)
	}
}

func TestLocalSurvivesPanics(t *testing.T) {
	t.Parallel()
	l := Local{Principal: who, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			io.WriteString(w, "half")
		}
		panic("planted")
	})}
	if res, body := get(t, l, "http://x/early"); res.StatusCode != http.StatusInternalServerError || strings.Contains(body, "planted") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if _, body := get(t, l, "http://x/late"); !strings.HasPrefix(body, "error: ") {
		t.Errorf("an answer that broke off reads as whole: %q", body)
	}
}

func TestLocalEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	l := Local{Principal: who, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	})}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	req := httptest.NewRequest(http.MethodGet, "http://x/", nil).WithContext(ctx)
	if _, err := l.RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-ended
}

func TestLocalPrincipalIsNoHeader(t *testing.T) {
	t.Parallel()
	h, _ := api.New(api.Config{Version: "1"})
	r := httptest.NewRequest(http.MethodGet, "/v1/status", nil)
	for _, name := range []string{"X-Principal", "X-Govern-Principal", "X-Remote-User", "Authorization"} {
		r.Header.Set(name, "bo")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "unauthenticated") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	tokens := Tokens{t.TempDir()}
	now := time.Now()
	ci, secret, err := tokens.Add(gov.Principal{Handle: "ci", Kind: gov.Service}, now, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	_, old, err := tokens.Add(gov.Principal{Handle: "old", Kind: gov.Service}, now, now.Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(tokens.Dir, "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(tokens.Dir, "tokens.json")); err != nil || st.Mode().Perm() != 0o600 || bytes.Contains(b, []byte(secret)) {
		t.Errorf("mode %v, secret kept: %t", st.Mode(), bytes.Contains(b, []byte(secret)))
	}
	h := withToken(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, _ := api.New(api.Config{Version: "1"})
		a.ServeHTTP(w, r)
	}), tokens)
	ask := func(auth string) int {
		// A call that is let in asks for something malformed: it needs no log.
		r := httptest.NewRequest(http.MethodGet, "/v1/changes/nonsense", nil)
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for auth, want := range map[string]int{
		"": 403, "Bearer ": 403, "Bearer x": 403, secret: 403, "Basic " + secret: 403, "Bearer " + secret[:len(secret)-1]: 403,
		"Bearer " + ci.SHA256: 403, "Bearer " + ci.ID: 403, "Bearer " + old: 403, "Bearer " + secret: 422,
	} {
		if got := ask(auth); got != want {
			t.Errorf("%.20q: %d, want %d", auth, got, want)
		}
	}
	if p, ok := tokens.Principal(secret, now); !ok || p != (gov.Principal{Handle: "ci", Kind: gov.Service, Via: "token"}) {
		t.Errorf("%+v %t", p, ok)
	}
	if err := tokens.Revoke(ci.ID); err != nil {
		t.Fatal(err)
	}
	if got := ask("Bearer " + secret); got != 403 {
		t.Errorf("revoked: %d", got)
	}
	if err := os.WriteFile(tokens.path(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask("Bearer " + secret); got != 403 {
		t.Errorf("unreadable: %d", got)
	}
}

func TestOnlyLoopbackIsListenedOn(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "[::1]:0": true, "localhost:0": true, "0.0.0.0:0": false, ":0": false, "[::]:0": false, "example.com:80": false, "nonsense": false,
	} {
		l, err := loopback(addr)
		if err == nil {
			l.Close()
		}
		if ok != (err == nil) && !(ok && gov.CodeOf(err) == "listen_failed") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// TestSocketAndProcessAnswerAlike asks the same things both ways.
func TestSocketAndProcessAnswerAlike(t *testing.T) {
	t.Parallel()
	h, _ := api.New(api.Config{Version: "1"})
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: as(h, who)}
	go srv.Serve(l)
	defer srv.Close()
	for _, p := range []string{"/healthz", "/v1/changes/nonsense", "/v1/statements/x", "/nowhere", "/v1/targets//x"} {
		a, ab := get(t, Local{Handler: h, Principal: who}, "http://govern"+p)
		b, bb := get(t, Socket(path), "http://govern"+p)
		if a.StatusCode != b.StatusCode || ab != bb || a.Header.Get("Content-Type") != b.Header.Get("Content-Type") {
			t.Errorf("%s: %d %q %q, %d %q %q", p, a.StatusCode, a.Header.Get("Content-Type"), ab, b.StatusCode, b.Header.Get("Content-Type"), bb)
		}
	}
}
