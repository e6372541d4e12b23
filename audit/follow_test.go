package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func numbered(i int) string {
	return strings.Replace(specLine, `"metadata":{}`, fmt.Sprintf(`"metadata":{"n":%d}`, i), 1)
}

func TestFollowAnswersEveryLineInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openTest(t, Config{Dir: dir, Redact: []string{"/section_spec/name"}})
	var in strings.Builder
	var want []string
	refused := func(line, code string) {
		in.WriteString(line + "\n")
		want = append(want, code)
	}
	index := 0
	for i := range 3000 {
		switch i {
		case 10:
			refused("", "json_syntax")
		case 20:
			refused(`{"operation":"x"}`, "audit_record_invalid")
		case 30:
			refused(strings.Repeat("x", maxRequest+1), "audit_line_too_long")
		case 40:
			refused(strings.Replace(specLine, "Intro", "\xff", 1), "json_invalid_utf8")
		}
		in.WriteString(numbered(i) + "\n")
		want = append(want, fmt.Sprint(index))
		index++
	}
	in.WriteString(numbered(3000)) // the last line needs no newline
	want = append(want, fmt.Sprint(index))
	var out bytes.Buffer
	if err := Follow(t.Context(), strings.NewReader(in.String()), &out, l); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var a struct {
			Index *uint64
			Error *struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		if a.Error != nil {
			if a.Error.Message == "" || a.Index != nil {
				t.Errorf("answer %s", line)
			}
			got = append(got, a.Error.Code)
			continue
		}
		got = append(got, fmt.Sprint(*a.Index))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, line := range lines(t, dir) { // the log has them in the order of the lines, redacted
		if !strings.HasSuffix(line, fmt.Sprintf(`"metadata":{"n":%d}}`, i)) || strings.Contains(line, "Intro") {
			t.Fatalf("record %d is %s", i, line)
		}
	}
}

// gate is a log that answers nothing until want lines wait.
type gate struct {
	memory
	mu      sync.Mutex
	waiting int
	want    int
	open    chan struct{}
}

func (g *gate) AppendLine(ctx context.Context, line []byte) (uint64, error) {
	g.mu.Lock()
	index, _ := g.memory.AppendLine(ctx, line)
	if g.waiting++; g.waiting == g.want {
		close(g.open)
	}
	g.mu.Unlock()
	select {
	case <-g.open:
		return index, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func TestFollowKeepsManyLinesInFlight(t *testing.T) {
	l, _ := memoryLog(t, Config{})
	l.out = &gate{want: 500, open: make(chan struct{})}
	in := strings.Repeat(specLine+"\n", 500)
	var out bytes.Buffer
	if err := Follow(t.Context(), strings.NewReader(in), &out, l); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "index"); n != 500 {
		t.Errorf("%d answers", n)
	}
}

func TestFollowReportsTheLogsError(t *testing.T) {
	l, _ := memoryLog(t, Config{})
	l.out = full{}
	var out bytes.Buffer
	if err := Follow(t.Context(), strings.NewReader(specLine+"\n"), &out, l); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("{\"error\":{\"code\":\"audit_failed\",\"message\":\"disk full\"}}\n", out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFollowStops(t *testing.T) {
	l, m := memoryLog(t, Config{})
	t.Run("when its context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		defer w.Close()
		answers, out := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- Follow(ctx, r, out, l) }()
		go func() { _, _ = io.WriteString(w, specLine+"\n") }()
		if line, err := bufio.NewReader(answers).ReadString('\n'); err != nil || line != "{\"index\":0}\n" {
			t.Fatalf("%q, %v", line, err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || len(m.kept) != 1 {
			t.Errorf("%v, %d records", err, len(m.kept))
		}
	})
	t.Run("when nobody reads the answers", func(t *testing.T) {
		answers, out := io.Pipe()
		_ = answers.Close()
		if err := Follow(t.Context(), strings.NewReader(specLine+"\n"), out, l); !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	t.Run("when reading fails", func(t *testing.T) {
		r, w := io.Pipe()
		_ = w.CloseWithError(errFull)
		if err := Follow(t.Context(), r, io.Discard, l); !errors.Is(err, errFull) {
			t.Error(err)
		}
	})
}

// shortDir is a directory whose name leaves room for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestListen(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	old := syscall.Umask(0) // the socket must be private without any help
	ln, err := Listen(path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(path); ErrorCode(err) != "audit_socket_taken" {
		t.Errorf("a live socket was replaced: %v", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as kill -9 leaves it
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if ln, err = Listen(path); err != nil {
		t.Fatalf("a dead socket was not replaced: %v", err)
	}
	_ = ln.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); ErrorCode(err) != "audit_socket_taken" {
		t.Errorf("a file was replaced: %v", err)
	}
	if _, err := Listen("/" + strings.Repeat("x", 107)); ErrorCode(err) != "audit_socket_path" {
		t.Errorf("a path too long: %v", err)
	}
}

func TestServeManyConnections(t *testing.T) {
	const clients, each = 40, 50
	l := openTest(t, Config{})
	ln, err := Listen(filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, l) }()
	seen := make(chan uint64, clients*each)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			conn, err := net.Dial("unix", ln.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			answers := json.NewDecoder(conn)
			for i := range each {
				fmt.Fprintln(conn, numbered(i))
				var a struct{ Index *uint64 }
				if err := answers.Decode(&a); err != nil || a.Index == nil {
					t.Errorf("answer: %v", err)
					return
				}
				seen <- *a.Index
			}
		})
	}
	wg.Wait()
	close(seen)
	distinct := map[uint64]bool{}
	for i := range seen {
		distinct[i] = true
	}
	if len(distinct) != clients*each {
		t.Errorf("%d distinct indexes", len(distinct))
	}
	idle, err := net.Dial("unix", ln.Addr().String()) // an idle client does not hold Serve up
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve did not end")
	}
}
