package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/governhq/govern/audit"
)

// The test binary is studio when this is set, for tests of the process.
const asStudio = "STUDIO_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(asStudio) != "" {
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// run runs a command in-process.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &talk)
	return code, out.String(), talk.String()
}

// must runs a command that must succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, talk := run(t, args...)
	if code != 0 {
		t.Fatalf("studio %v: exit %d\n%s%s", args, code, out, talk)
	}
	return out
}

const introDigest = "sha256:0bbd86aa6a8cb7a0ef380c85358102f33aeb8eaa5b21e8b253906949c32805eb"

func TestComposeAndReplay(t *testing.T) {
	root := t.TempDir()
	log, midi := filepath.Join(root, "audit"), filepath.Join(root, "intro.mid")
	t.Setenv("XDG_STATE_HOME", filepath.Join(root, "state"))
	out := must(t, "compose", "--name", "Intro", "--bars", "32", "--seed", "12345", "-O", midi, "--audit", log)
	if !strings.Contains(out, introDigest) || !strings.Contains(out, "record 0 in "+log) {
		t.Error(out)
	}
	if b, err := os.ReadFile(midi); err != nil || !bytes.HasPrefix(b, []byte("MThd")) {
		t.Errorf("%v: %.20q", err, b)
	}
	if code, _, talk := run(t, "compose", "--name", "Intro", "--bars", "0", "--seed", "1", "--audit", log); code != 1 || !strings.Contains(talk, "/bars is below 1") {
		t.Errorf("exit %d: %s", code, talk)
	}
	out = must(t, "replay", log, "0")
	if !strings.Contains(out, "record 0: same") || strings.Count(out, introDigest) != 2 {
		t.Error(out)
	}
	out = must(t, "replay", filepath.Join(log, "audit.log"), "all", "-o", "json")
	var last struct {
		Same      bool
		ErrorCode string `json:"error_code"`
	}
	if err := json.Unmarshal([]byte(out[strings.Index(out, "\n"):]), &last); err != nil || !last.Same || last.ErrorCode != "input_contract" {
		t.Errorf("%v: %s", err, out)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
	}{
		"no such record": {[]string{"replay", log, "2"}, 4},
		"no such log":    {[]string{"replay", filepath.Join(root, "x"), "0"}, 4},
		"no index":       {[]string{"replay", log, "first"}, 2},
		"one argument":   {[]string{"replay", log}, 2},
	} {
		if code, out, talk := run(t, tt.args...); code != tt.code || out != "" || talk == "" {
			t.Errorf("%s: exit %d, %s%s", name, code, out, talk)
		}
	}
}

// A lie that was recorded from the beginning, and one that was written into the
// file later: the first is found by composing again, the second by the log.
func TestReplayOfALieExits3(t *testing.T) {
	root := t.TempDir()
	t.Setenv("XDG_STATE_HOME", filepath.Join(root, "state"))
	honest, lying := filepath.Join(root, "honest"), filepath.Join(root, "lying")
	must(t, "compose", "--name", "Intro", "--bars", "4", "--seed", "1", "--audit", honest)
	r, err := audit.OpenReader(honest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	e, err := r.Entry(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(audit.Config{Dir: lying, Origin: "test.example/lying"})
	if err != nil {
		t.Fatal(err)
	}
	e.Record.SectionSpec = bytes.Replace(e.Record.SectionSpec, []byte("Intro"), []byte("Outro"), 1)
	if _, err := log.Append(t.Context(), e.Record); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, index := range []string{"0", "all"} {
		if code, out, talk := run(t, "replay", lying, index); code != 3 || !strings.Contains(out, "DIFFERENT") {
			t.Errorf("%s: exit %d\n%s%s", index, code, out, talk)
		}
	}
	name := filepath.Join(honest, "audit.log")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(text, []byte(`"seed":1`), []byte(`"seed":2`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, talk := run(t, "replay", honest, "0"); code != 3 {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
}

func TestBundleWorkflow(t *testing.T) {
	root := t.TempDir()
	dir, file := filepath.Join(root, "b"), filepath.Join(root, "b.tar")
	must(t, "init", dir)
	if code, _, talk := run(t, "init", dir); code == 0 || !strings.Contains(talk, "already") {
		t.Errorf("a bundle was overwritten: %d %s", code, talk)
	}
	first := must(t, "bundle", dir, "-O", file)
	if again := must(t, "bundle", "-O", file, dir); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	config := filepath.Join(dir, "modules", "bass.json")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.Replace(text, []byte(`"spread": 12`), []byte(`"spread": 40`), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, talk := run(t, "bundle", dir, "-O", file); code != 3 || !strings.Contains(talk, "studio seal") {
		t.Errorf("an unsealed bundle was packed: %d %s", code, talk)
	}
	must(t, "seal", dir, "--manifest-version", "1.1.0")
	if second := must(t, "bundle", dir, "-O", file); second == first {
		t.Error("another content has the same digest")
	}
	failed := 0
	for seed := range 60 {
		code, _, talk := run(t, "compose", "--bundle", file, "--name", "x", "--bars", "4", "--seed", fmt.Sprint(seed), "--no-audit")
		if code != 0 {
			failed++
			if code != 1 || !strings.Contains(talk, "output_contract") {
				t.Errorf("seed %d: exit %d %s", seed, code, talk)
			}
		}
	}
	if failed == 0 || failed > 15 {
		t.Errorf("%d of 60 seeds fail", failed)
	}
	if code, _, talk := run(t, "seal", dir, "--manifest-version", "next"); code != 3 {
		t.Errorf("exit %d %s", code, talk)
	}
}

func TestWrongCommandLines(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for _, args := range [][]string{
		{},
		{"sing"},
		{"compose", "--colour", "red"},
		{"compose", "x"},
		{"serve", "--inject", "error_rate=2"},
		{"bundle", "x"},
		{"init"},
		{"seal", "a", "b"},
		{"compose", "--audit", "x", "--no-audit", "--name", "x", "--bars", "1"},
		{"compose", "--redact", "name", "--name", "x", "--bars", "1"},
	} {
		if code, out, talk := run(t, args...); code != 2 || out != "" || talk == "" {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, talk)
		}
	}
	for _, args := range [][]string{{"help"}, {"-h"}, {"serve", "-h"}} {
		if out := must(t, args...); !strings.Contains(out, "studio") {
			t.Errorf("%v: %s", args, out)
		}
	}
}

func TestStdoutIsTheMIDIFile(t *testing.T) {
	out := must(t, "compose", "--name", "x", "--bars", "1", "--seed", "1", "--no-audit", "-O", "-")
	if !strings.HasPrefix(out, "MThd") || strings.Contains(out, "sha256:") {
		t.Errorf("%.40q", out)
	}
}

// A real process: it says its port, answers, injects what it was told to, and
// ends cleanly on SIGTERM with every record in the log.
func TestServeProcess(t *testing.T) {
	root := t.TempDir()
	log, portFile := filepath.Join(root, "audit"), filepath.Join(root, "port")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "serve", "--listen", "127.0.0.1:0", "--port-file", portFile, "--audit", log, "--inject", "error_rate=0.3,latency_ms=1")
	cmd.Env = append(os.Environ(), asStudio+"=1", "XDG_STATE_HOME="+filepath.Join(root, "state"))
	talk, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 0, 1024)
	for !bytes.Contains(said, []byte("REHEARSAL")) {
		n, err := talk.Read(said[len(said):cap(said)])
		if err != nil {
			t.Fatalf("%s: %v", said, err)
		}
		said = said[:len(said)+n]
	}
	port, err := os.ReadFile(portFile)
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + strings.TrimSpace(string(port))
	const n = 40
	failed := 0
	for seed := range n {
		res, err := http.Post(url+"/v1/sections", "application/json", strings.NewReader(fmt.Sprintf(`{"name":"x","bars":2,"seed":%d}`, seed)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode == 500 {
			failed++
		}
	}
	if failed == 0 || failed == n {
		t.Errorf("%d of %d failed", failed, n)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(talk)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s%s", err, said, rest)
	}
	code, out, talked := run(t, "replay", log, "all")
	if code != 0 || strings.Count(out, ": same:") != n || strings.Count(out, "injected, as the record says") != failed {
		t.Errorf("exit %d, %d the same\n%s", code, strings.Count(out, ": same:"), talked)
	}
}

// SIGTERM lets a request that is being answered finish.
func TestServeDrains(t *testing.T) {
	root := t.TempDir()
	portFile := filepath.Join(root, "port")
	cmd := exec.Command(os.Args[0], "serve", "--port-file", portFile, "--no-audit")
	cmd.Env = append(os.Environ(), asStudio+"=1")
	talk, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Read(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	port, err := os.ReadFile(portFile)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"name":"x","bars":1,"seed":1}`
	fmt.Fprintf(conn, "POST /v1/sections HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil { // the handler waits for the body
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for { // until nobody new is let in
		late, err := net.Dial("tcp", conn.RemoteAddr().String())
		if err != nil {
			break
		}
		_ = late.Close()
	}
	fmt.Fprint(conn, body)
	if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Errorf("the open request got %q, %v", line, err)
	}
	_, _ = io.Copy(io.Discard, talk)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
