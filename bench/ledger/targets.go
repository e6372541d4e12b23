package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
)

func openTarget(ctx context.Context, name, dir string, writers int) (target, error) {
	switch name {
	case "raw":
		return openRaw(dir)
	case "audit":
		return openLedger(ctx, dir, ledger.Audit)
	case "governance":
		return openLedger(ctx, dir, ledger.Governance)
	case "tessera":
		return openTessera(ctx, dir, writers)
	}
	return target{}, fmt.Errorf("nothing is called %q", name)
}

// raw is the floor.
type raw struct {
	f      *os.File
	mu     sync.Mutex
	idle   *sync.Cond
	queue  []rawReq
	closed bool
	done   chan struct{}
}

type rawReq struct {
	b    []byte
	done chan error
}

func openRaw(dir string) (target, error) {
	f, err := os.OpenFile(filepath.Join(dir, "raw.log"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return target{}, err
	}
	r := &raw{f: f, done: make(chan struct{})}
	r.idle = sync.NewCond(&r.mu)
	go r.loop()
	chans := sync.Pool{New: func() any { return make(chan error, 1) }}
	return target{
		add: func(_ context.Context, _, _ int, b []byte) error {
			q := rawReq{b, chans.Get().(chan error)}
			r.mu.Lock()
			r.queue = append(r.queue, q)
			if len(r.queue) == 1 {
				r.idle.Signal()
			}
			r.mu.Unlock()
			err := <-q.done
			chans.Put(q.done)
			return err
		},
		close: func() error {
			r.mu.Lock()
			r.closed = true
			r.idle.Signal()
			r.mu.Unlock()
			<-r.done
			return f.Close()
		},
	}, nil
}

func (r *raw) loop() {
	defer close(r.done)
	var buf []byte
	var reqs []rawReq
	for {
		r.mu.Lock()
		for len(r.queue) == 0 && !r.closed {
			r.idle.Wait()
		}
		if len(r.queue) == 0 {
			r.mu.Unlock()
			return
		}
		for n := 0; n < len(r.queue); { // as the ledger gathers
			n = len(r.queue)
			r.mu.Unlock()
			runtime.Gosched()
			r.mu.Lock()
		}
		reqs, r.queue = r.queue, reqs[:0]
		r.mu.Unlock()
		buf = buf[:0]
		for _, q := range reqs {
			buf = append(append(buf, q.b...), '\n')
		}
		_, err := r.f.Write(buf)
		if err == nil {
			err = syscall.Fdatasync(int(r.f.Fd()))
		}
		for _, q := range reqs {
			q.done <- err
		}
	}
}

func openLedger(ctx context.Context, dir string, mode ledger.Mode) (target, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return target{}, err
	}
	l, err := ledger.Open(ctx, ledger.Options{
		Dir: filepath.Join(dir, "log"), Mode: mode, Origin: "example.org/bench", Key: key,
		SecondPlace: filepath.Join(dir, "second"), LockWait: -1,
	})
	if err != nil {
		return target{}, err
	}
	t := target{close: l.Close}
	if mode == ledger.Audit {
		t.add = func(ctx context.Context, _, _ int, b []byte) error {
			_, err := l.AppendLine(ctx, b)
			return err
		}
		return t, nil
	}
	// Each writer has its own stream, and expects the version it left.
	t.add = func(ctx context.Context, w, i int, b []byte) error {
		s := gov.Stream(fmt.Sprintf("change/CHANGE-%d", w+1))
		_, err := l.Append(ctx, ledger.Entry{
			ID: fmt.Sprintf("%d-%d", w, i), Body: b,
			Adds: map[gov.Stream]int{s: 1}, Expect: map[gov.Stream]uint64{s: uint64(i)},
		})
		return err
	}
	return t, nil
}

func openTessera(ctx context.Context, dir string, writers int) (target, error) {
	skey, _, err := note.GenerateKey(rand.Reader, "example.org/bench")
	if err != nil {
		return target{}, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return target{}, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: filepath.Join(dir, "tessera")})
	if err != nil {
		return target{}, err
	}
	opts := tessera.NewAppendOptions().WithCheckpointSigner(signer).
		WithCheckpointInterval(time.Second).WithBatching(uint(writers), 5*time.Millisecond)
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	ctx, cancel := context.WithCancel(ctx)
	a, shutdown, _, err := tessera.NewAppender(ctx, driver, opts)
	if err != nil {
		cancel()
		return target{}, err
	}
	return target{
		add: func(ctx context.Context, _, _ int, b []byte) error {
			_, err := a.Add(ctx, tessera.NewEntry(append([]byte(nil), b...)))()
			return err
		},
		close: func() error {
			err := shutdown(ctx)
			cancel()
			time.Sleep(200 * time.Millisecond) // its goroutines look at the files now and then
			return err
		},
	}, nil
}
