package audit

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// maxSocketPath is the longest path of a Unix socket on Linux, in bytes.
const maxSocketPath = 107

// Listen makes a Unix socket that only its owner may connect to (0600, from the
// first moment on). A socket that a dead process left behind is replaced; a
// live one, or anything that is no socket, is a conflict.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, gov.Errorf(gov.KindInvalid, "audit_socket_path", "a socket path has at most %d bytes, this one has %d", maxSocketPath, len(path)).
			WithHint("choose a shorter directory, as $XDG_RUNTIME_DIR/govern")
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		// Linux gives a socket file the mode of the unbound socket, so there is
		// no moment in which others could connect.
		var err error
		controlErr := conn.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) })
		return join(controlErr, err)
	}}
	ln, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, gov.Errorf(gov.KindUnavailable, "audit_socket", "listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, join(gov.Errorf(gov.KindUnavailable, "audit_socket", "protect socket: %w", err), ln.Close())
	}
	return ln, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return gov.Errorf(gov.KindUnavailable, "audit_socket", "look at socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return gov.Errorf(gov.KindConflict, "audit_socket_taken", "%s exists and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return gov.Errorf(gov.KindConflict, "audit_socket_taken", "another process serves %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return gov.Errorf(gov.KindConflict, "audit_socket_taken", "%s does not answer: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return gov.Errorf(gov.KindUnavailable, "audit_socket", "remove stale socket: %w", err)
	}
	return nil
}

// Serve answers every connection of ln as Follow does, until ctx ends; then it
// closes ln, answers what was read, and returns nil. An error of ln ends it
// early, after the open connections.
func Serve(ctx context.Context, ln net.Listener, log *Log) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return gov.Errorf(gov.KindUnavailable, "audit_socket", "accept: %w", err)
		}
		open.Go(func() { serveConn(ctx, conn, log) })
	}
}

// serveConn ends reading, but not answering, when ctx ends. Its errors are
// those of the other side's going away: the other side knows.
func serveConn(ctx context.Context, conn net.Conn, log *Log) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	})
	defer stop()
	_ = Follow(context.WithoutCancel(ctx), conn, conn, log)
}
