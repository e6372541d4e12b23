package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// lockPoll is how often a waiting writer looks whether the lock is free.
const lockPoll = 20 * time.Millisecond

// fileLock is an exclusive flock(2) on NAME.lock. The kernel releases it when
// the holder dies, so a stale file never locks anybody out. The file is never
// removed: removing it would let two holders lock two files of one name.
//
// A holder that ends well empties the file: what stands in it then tells the
// next one that the last one died.
type fileLock struct {
	f       *os.File
	unclean bool
}

// acquire waits up to wait for the lock and writes who holds it into the file.
func acquire(ctx context.Context, path, purpose string, wait time.Duration) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, ioError("lock the log", err)
	}
	deadline := time.NewTimer(max(wait, 0))
	defer deadline.Stop()
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, ioError("lock the log", err)
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			f.Close()
			return nil, gov.Errorf(gov.KindTimeout, "lock_cancelled", "gave up waiting for the log's lock: %w", ctx.Err()).WithOp("lock the log")
		case <-deadline.C:
		}
		holder := holderOf(f)
		f.Close()
		return nil, gov.Errorf(gov.KindConflict, "log_locked", "another process is writing this log: %s", holder).
			WithOp("lock the log").WithHint("wait for it to end, or use the socket of the running govern serve")
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), purpose), 0)
	}
	if err != nil {
		f.Close()
		return nil, ioError("lock the log", err)
	}
	return &fileLock{f: f, unclean: info.Size() > 0}, nil
}

func holderOf(f *os.File) string {
	b := make([]byte, 256)
	n, _ := f.ReadAt(b, 0)
	pid, purpose, _ := strings.Cut(strings.TrimSpace(string(b[:n])), " ")
	switch {
	case pid == "":
		return "pid unknown"
	case purpose == "":
		return "pid " + pid
	default:
		return "pid " + pid + " (" + purpose + ")"
	}
}

// release gives the lock up; clean says that nothing is left to recover.
func (l *fileLock) release(clean bool) error {
	if clean {
		if err := l.f.Truncate(0); err != nil {
			l.f.Close()
			return ioError("release the log's lock", err)
		}
	}
	return l.f.Close()
}
