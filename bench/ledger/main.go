// Command ledger measures the log against its floor and its peer, in one run.
//
//	go run ./ledger                       the table of appends
//	go run ./ledger -check 1000000        Check against sha256sum, and memory
//
// "raw" is the floor: the same queue, the same batching, one write and one
// fdatasync a batch, nothing else. "tessera" is Tessera's POSIX storage with its
// batch size set to the number of writers, which is what suits it best: an
// entry counts when its future has resolved, that is when it is durable. All
// write 390-byte records to the same file system.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	writers := flag.String("writers", "1,64,1024", "numbers of concurrent writers")
	seconds := flag.Float64("seconds", 2, "time for each measurement")
	rounds := flag.Int("rounds", 1, "rounds; the best of each is shown")
	only := flag.String("only", "raw,audit,governance,tessera", "what to measure")
	check := flag.Int("check", 0, "measure Check and memory with this many records instead")
	dir := flag.String("dir", ".", "directory on the file system to measure")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	tmp, err := os.MkdirTemp(*dir, "bench-ledger-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if *check > 0 {
		return measureCheck(ctx, tmp, *check)
	}
	fmt.Printf("%8s  %-12s %12s %8s %10s\n", "writers", "log", "records/s", "× raw", "× tessera")
	for _, w := range strings.Split(*writers, ",") {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of writers", w)
		}
		best := map[string]float64{}
		names := strings.Split(*only, ",")
		for round := range *rounds {
			for _, name := range names {
				sub := filepath.Join(tmp, fmt.Sprintf("%s-%d-%d", name, n, round))
				rate, err := measure(ctx, name, sub, n, time.Duration(*seconds*float64(time.Second)))
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				best[name] = max(best[name], rate)
				os.RemoveAll(sub)
			}
		}
		for _, name := range names {
			fmt.Printf("%8d  %-12s %12.0f %8s %10s\n", n, name, best[name], ratio(best[name], best["raw"]), ratio(best[name], best["tessera"]))
		}
	}
	return nil
}

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// target appends one record and returns when it is durable.
type target struct {
	add   func(ctx context.Context, writer, i int, record []byte) error
	close func() error
}

func measure(ctx context.Context, name, dir string, writers int, d time.Duration) (float64, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	t, err := openTarget(ctx, name, dir, writers)
	if err != nil {
		return 0, err
	}
	var count atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(d)
	for w := range writers {
		wg.Go(func() {
			record := newRecord(w)
			for i := 0; time.Now().Before(end); i++ {
				number(record, i)
				if err := t.add(ctx, w, i, record); err != nil {
					failed.Store(&err)
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	rate := float64(count.Load()) / time.Since(start).Seconds()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return rate, t.close()
}

// recordSize is what an audit record of the reference system takes.
const recordSize = 390

// newRecord is an audit line of 390 bytes; number changes its middle.
func newRecord(writer int) []byte {
	s := fmt.Sprintf(`{"timestamp":"2026-11-23T06:00:00.000000Z","invocation_id":"000000000000-%06d","operation":"compose_section",`+
		`"module":"bass","module_version":"1.4.2","status":"success","duration_ms":12.5,"output_digest":"sha256:`+strings.Repeat("c3d4", 16)+
		`","metadata":{"seed":12345,"note":"`, writer)
	return []byte(s + strings.Repeat("x", recordSize-len(s)-3) + `"}}`)
}

func number(record []byte, i int) {
	const at = len(`{"timestamp":"2026-11-23T06:00:00.000000Z","invocation_id":"`)
	for k := at + 11; k >= at; k-- {
		record[k] = byte('0' + i%10)
		i /= 10
	}
}
