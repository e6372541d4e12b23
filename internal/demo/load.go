package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is real HTTP traffic through the proxy: sections composed with ever new
// seeds, at a steady rate.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	pause  atomic.Int64 // between two requests, in nanoseconds
	sent   atomic.Int64
	failed atomic.Int64
}

// Requests a second: while nobody watches, and while a canary needs traffic.
const (
	calm = 50
	busy = 500
)

// rate sets the load in requests a second.
func (l *load) rate(perSecond int) { l.pause.Store(int64(time.Second) / int64(perSecond)) }

func startLoad(ctx context.Context, base string) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel}
	l.rate(calm)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	jobs := make(chan int64, 64)
	for range 16 {
		l.wg.Go(func() {
			for seed := range jobs {
				l.one(ctx, client, base, seed)
			}
		})
	}
	l.wg.Go(func() {
		defer close(jobs)
		next := time.Now()
		for seed := int64(1); ; seed++ {
			next = next.Add(time.Duration(l.pause.Load()))
			if late := time.Since(next); late > time.Second {
				next = time.Now() // a machine that cannot keep up is not punished for it
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(next)):
			}
			select {
			case jobs <- seed:
			default: // the servers are slower than the load: never queue without bound
			}
		}
	})
	return l
}

func (l *load) one(ctx context.Context, client *http.Client, base string, seed int64) {
	body := fmt.Sprintf(`{"name":"Intro","bars":2,"seed":%d}`, seed)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/sections", strings.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			l.failed.Add(1)
		}
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	l.sent.Add(1)
	if resp.StatusCode >= 500 {
		l.failed.Add(1)
	}
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}
