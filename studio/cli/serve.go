package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/governhq/govern/studio"
)

// drainTime is how long open requests have after SIGTERM.
const drainTime = 10 * time.Second

func serve(ctx context.Context, e env, args []string) (err error) {
	f := newFlags(e, "serve", "studio serve [--bundle FILE] [--listen HOST:PORT] [--audit DIR]")
	var a auditFlags
	from := f.String("bundle", "", "bundle file or directory (default: the one studio brings along)")
	listen := f.String("listen", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	portFile := f.String("port-file", "", "file to write the port number into, once connections are accepted")
	inject := f.String("inject", "", "faults for a rehearsal, as error_rate=0.05,latency_ms=200")
	a.register(f)
	if _, err := f.parse(args, 0); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	b, err := loadBundle(*from)
	if err != nil {
		return err
	}
	faults, err := parseInject(*inject)
	if err != nil {
		return err
	}
	log, dir, err := a.open()
	if err != nil {
		return err
	}
	if log != nil {
		defer func() { err = errors.Join(err, log.Close()) }()
	}
	o, err := studio.New(b, studio.Options{Recorder: recorder(log), Faults: faults})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		Handler: studio.NewHandler(o), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	if *portFile != "" {
		port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
		if err := writeFile(e, *portFile, []byte(port+"\n")); err != nil {
			return errors.Join(fmt.Errorf("port file: %w", err), server.Close())
		}
	}
	fmt.Fprintf(e.stderr, "studio: http://%s composes with %s (manifest %s)\n", ln.Addr(), b.Artifact, b.Manifest.Version)
	if log != nil {
		fmt.Fprintf(e.stderr, "studio: records go to %s\n", dir)
	}
	if faults != nil {
		fmt.Fprintf(e.stderr, "studio: REHEARSAL, faults are injected: %s\n", *inject)
	}
	return untilStopped(ctx, server, served)
}

// untilStopped waits for the server's end or for ctx's, and then lets open
// requests finish.
func untilStopped(ctx context.Context, server *http.Server, served <-chan error) error {
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("some requests did not end within %s: %w", drainTime, err), server.Close())
	}
	return nil
}
