package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/governhq/govern/internal/proof/ledger"
)

// measureCheck writes an audit log of n records, says what memory that took,
// and checks it against sha256sum of the same file.
func measureCheck(ctx context.Context, dir string, n int) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	o := ledger.Options{Dir: filepath.Join(dir, "log"), Mode: ledger.Audit, Origin: "example.org/bench", Key: key, SecondPlace: filepath.Join(dir, "second")}
	const writers = 512
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rss0 := residentMiB()
	l, err := ledger.Open(ctx, o)
	if err != nil {
		return err
	}
	start := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			record := newRecord(w)
			for i := w; i < n && errs[w] == nil; i += writers {
				number(record, i)
				_, errs[w] = l.AppendLine(ctx, record)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	took := time.Since(start)
	rss1 := residentMiB()
	runtime.GC()
	runtime.ReadMemStats(&after)
	fmt.Printf("append   %d records, %d writers: %v; resident +%.1f MiB; live heap +%.1f MiB; allocated %d B a record\n",
		n, writers, took.Round(time.Millisecond), rss1-rss0, float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), (after.TotalAlloc-before.TotalAlloc)/uint64(n))
	if err := l.Close(); err != nil {
		return err
	}
	v, err := ledger.NewVerifier(o.Origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	path := filepath.Join(o.Dir, "audit.log")
	var sums, checks []time.Duration
	for range 5 {
		start := time.Now()
		if err := exec.Command("sha256sum", path).Run(); err != nil {
			return err
		}
		sums = append(sums, time.Since(start))
		start = time.Now()
		rep, err := ledger.Check(ctx, o.Dir, ledger.CheckOptions{Verifier: v, SecondPlace: o.SecondPlace})
		if err != nil {
			return err
		}
		if !rep.OK() || rep.Records != uint64(n) {
			return fmt.Errorf("check: %+v", rep)
		}
		checks = append(checks, time.Since(start))
	}
	a, b := best(sums), best(checks)
	fmt.Printf("check    sha256sum %v, Check %v: %.2f×\n", a.Round(time.Millisecond), b.Round(time.Millisecond), float64(b)/float64(a))
	start = time.Now()
	if l, err = ledger.Open(ctx, o); err != nil {
		return err
	}
	fmt.Printf("open     %v\n", time.Since(start).Round(10*time.Microsecond))
	return l.Close()
}

func best(ds []time.Duration) time.Duration {
	b := ds[0]
	for _, d := range ds {
		b = min(b, d)
	}
	return b
}

// residentMiB is VmRSS of this process (Linux).
func residentMiB() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kb, _ := strconv.ParseFloat(f[0], 64)
	return kb / 1024
}
