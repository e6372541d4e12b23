package ledger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// tortureChild appends from many goroutines until it is killed, and prints what
// was acknowledged, a line each: the number and the index.
func tortureChild(dir string) error {
	mode := Mode(os.Getenv("LEDGER_TORTURE_MODE"))
	start, err := strconv.Atoi(os.Getenv("LEDGER_TORTURE_START"))
	if err != nil {
		return err
	}
	l, err := Open(context.Background(), tortureOptions(dir, mode))
	if err != nil {
		return err
	}
	out := make(chan [2]int, 1024)
	for w := range 24 {
		go func() {
			for i := start + w; ; i += 24 {
				index, err := add(l, i)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out <- [2]int{i, int(index)}
			}
		}()
	}
	for a := range out {
		// One write a line: a killed process leaves no half ones behind the last.
		fmt.Fprintf(os.Stdout, "%d %d\n", a[0], a[1])
	}
	return nil
}

func tortureOptions(dir string, mode Mode) Options {
	return Options{
		Dir: filepath.Join(dir, "log"), Mode: mode, Origin: testOrigin, Key: testKey(1), SecondPlace: filepath.Join(dir, "second"),
		LockWait: time.Second, CheckpointEvery: 3 * time.Millisecond, SegmentBytes: 1 << 18,
	}
}

// TestKill kills a writing process at random moments. Every acknowledged record
// must be there, at its index, and every promise must hold.
func TestKill(t *testing.T) {
	const kills = 5 // of one log
	logs, seed := 1, uint64(time.Now().UnixNano())
	if full {
		logs = 30
	}
	t.Logf("seed %d", seed)
	for k := range 2 * logs {
		mode := []Mode{Governance, Audit}[k%2]
		t.Run(fmt.Sprintf("%s/%d", mode, k/2), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, uint64(k)))
			dir := t.TempDir()
			acked := map[int]int{}
			for k := range kills {
				out := tortureOnce(t, dir, mode, k*10_000_000, time.Duration(50+r.IntN(400))*time.Millisecond)
				for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
					var i, index int
					if n, _ := fmt.Sscanf(s.Text(), "%d %d", &i, &index); n == 2 {
						acked[index] = i
					}
				}
				tortureVerify(t, dir, mode, acked)
			}
			if len(acked) < kills {
				t.Fatalf("only %d records were acknowledged", len(acked))
			}
			t.Logf("%d kills, %d acknowledged records", kills, len(acked))
		})
	}
}

// tortureOnce runs a child for a while, kills it and returns what it printed in
// whole lines.
func tortureOnce(t *testing.T, dir string, mode Mode, start int, d time.Duration) []byte {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEDGER_TORTURE_DIR="+dir, "LEDGER_TORTURE_MODE="+string(mode),
		fmt.Sprint("LEDGER_TORTURE_START=", start), "GORACE=atexit_sleep_ms=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out []byte
	var wg sync.WaitGroup
	first := make(chan struct{})
	wg.Go(func() {
		b := make([]byte, 1)
		if _, err := pipe.Read(b); err == nil {
			close(first)
		}
		rest, _ := io.ReadAll(pipe)
		out = append(b, rest...)
	})
	select {
	case <-first: // it writes; the moment counts from here
	case <-time.After(20 * time.Second):
		cmd.Process.Kill()
		t.Fatalf("the child never wrote: %s", stderr.String())
	}
	<-time.After(d)
	cmd.Process.Kill()
	wg.Wait()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v: %s", err, stderr.String())
	}
	end := bytes.LastIndexByte(out, '\n') + 1
	return out[:end]
}

func tortureVerify(t *testing.T, dir string, mode Mode, acked map[int]int) {
	t.Helper()
	o := tortureOptions(dir, mode)
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("open after a kill: %v", err)
	}
	defer l.Close()
	found := 0
	for line, err := range l.Lines(context.Background(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		i, ok := acked[int(line.Index)]
		if ok && numberOf(mode, line.Bytes) != i {
			t.Fatalf("record %d was acknowledged as %d, is %s", line.Index, i, line.Bytes)
		}
		if ok {
			found++
		}
	}
	if found != len(acked) {
		t.Fatalf("%d records were acknowledged, %d are there", len(acked), found)
	}
	mustClose(t, l)
	mustCheck(t, o)
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	o := tortureOptions(dir, Governance)
	o.Purpose = "govern serve"
	l := mustOpen(t, o)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEDGER_TORTURE_DIR="+dir, "LEDGER_TORTURE_MODE=governance", "LEDGER_TORTURE_START=0", "GORACE=atexit_sleep_ms=0")
	done := make(chan struct{})
	var out []byte
	go func() { out, _ = cmd.CombinedOutput(); close(done) }()
	o.LockWait = -1
	_, err := Open(context.Background(), o)
	wantCode(t, err, "log_locked")
	want := fmt.Sprintf("pid %d (govern serve)", os.Getpid())
	if gov.KindOf(err) != gov.KindConflict || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v does not name %s", err, want)
	}
	<-done
	if !strings.Contains(string(out), want) || !strings.Contains(string(out), "log_locked") {
		t.Fatalf("the child said %s", out)
	}
	mustClose(t, l)
	// Free again, and a waiting writer gets in.
	l = mustOpen(t, o)
	o.LockWait = 10 * time.Second
	got := make(chan error, 1)
	go func() {
		l2, err := Open(context.Background(), o)
		if err == nil {
			err = l2.Close()
		}
		got <- err
	}()
	mustClose(t, l)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}
