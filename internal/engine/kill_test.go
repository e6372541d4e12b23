package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

// TestKilledWhileRecording runs processes that record in a loop and kills them
// at random moments: every receipt that was printed is in the log.
func TestKilledWhileRecording(t *testing.T) {
	if dir := os.Getenv("GOVERN_KILL_DIR"); dir != "" {
		recordForEver(t, dir, os.Getenv("GOVERN_KILL_SECOND"))
		return
	}
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.e.Close()
	rounds := 4
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		rounds = 100
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	acked := map[string]uint64{}
	for range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileRecording$")
		cmd.Env = append(os.Environ(), "GOVERN_KILL_DIR="+h.cfg.Dir, "GOVERN_KILL_SECOND="+h.cfg.SecondPlace)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop, lines := 1+rng.IntN(40), 0
		for s := bufio.NewScanner(out); s.Scan(); {
			var id string
			var at uint64
			if n, _ := fmt.Sscanf(s.Text(), "ack %s %d", &id, &at); n != 2 {
				continue
			}
			acked[id] = at
			if lines++; lines == stop {
				cmd.Process.Kill() // what is still in the pipe was acknowledged too
			}
		}
		cmd.Wait()
		if lines < stop {
			t.Fatalf("the process ended by itself after %d of %d", lines, stop)
		}
	}
	h.open()
	for id, at := range acked {
		rec, err := h.e.Record(at)
		if err != nil || rec.ID != id {
			t.Errorf("record %d was acknowledged as %s and is %s, %v", at, id, rec.ID, err)
		}
	}
	t.Logf("%d receipts, %d records", len(acked), h.e.Reader().Size())
	h.checkNow()
}

func recordForEver(t *testing.T, dir, second string) {
	e, err := engine.Open(context.Background(), engine.Config{Dir: dir, SecondPlace: second})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("kill-%d-%d", os.Getpid(), i)
		r, err := e.Do(context.Background(), id, "test.kill", func(ctx ctx, x engine.Tx) error {
			if _, err := x.Load(ctx, "test/kill"); err != nil {
				return err
			}
			return x.Emit(ctx, gov.NewEvent("test/kill", "killed", map[string]int{"n": i}))
		})
		if gov.CodeOf(err) == "clock_jumped" {
			t.Fatal("the parent's clock is not the machine's")
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("ack %s %d\n", id, r.Index)
	}
}
