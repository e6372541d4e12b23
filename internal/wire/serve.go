package wire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/governhq/govern/internal/edge/deploy"
	"github.com/governhq/govern/internal/edge/traffic"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/face/api"
	"github.com/governhq/govern/internal/gov"
)

// ServeOptions say how a server listens and what it drives.
type ServeOptions struct {
	SessionOptions
	Listen    string // loopback host:port for callers with tokens, "" none
	Supervise bool
	Every     time.Duration // see engine.World
	Window    time.Duration // of the built-in proxy; 0 its default
	Ready     func(addr, socket string)
}

// Serve holds the log, listens on a 0600 socket (and on a loopback address),
// and carries rollouts out, until ctx is done.
func Serve(ctx context.Context, o ServeOptions) (err error) {
	o.Here, o.Purpose = true, "govern serve"
	e, err := OpenEngine(ctx, o.SessionOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.Hold(ctx); err != nil {
		return err
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var sup *engine.Supervisor
	if o.Supervise {
		sup = engine.NewSupervisor(e, engine.World{
			Deployer: Deployer{&deploy.Runner{Dir: o.Repo.home()}},
			Traffic:  OpenProxy(traffic.Config{Window: o.Window}, log),
			Every:    o.Every,
			Page: func(ctx context.Context, target, reason string) {
				log.ErrorContext(ctx, "page", "target", target, "reason", reason)
			},
		})
	}
	h, _ := api.New(api.Config{Engine: e, Version: o.Version, Supervisor: sup, Quarantine: quarantine(o.Repo), Logger: log})
	return listen(ctx, o, h, sup)
}

// listen opens the socket and the address, and runs until ctx is done.
func listen(ctx context.Context, o ServeOptions, h http.Handler, sup *engine.Supervisor) error {
	dir, err := os.MkdirTemp("", "govern-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	sock, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	local := LocalPrincipal("socket")
	servers := []*http.Server{{Handler: as(h, local), ReadHeaderTimeout: 10 * time.Second}}
	listeners := []net.Listener{sock}
	addr := ""
	if o.Listen != "" {
		l, err := loopback(o.Listen)
		if err != nil {
			return err
		}
		addr = l.Addr().String()
		servers = append(servers, &http.Server{Handler: withToken(h, Tokens{o.Repo.DataDir()}), ReadHeaderTimeout: 10 * time.Second})
		listeners = append(listeners, l)
	}
	file := filepath.Join(o.Repo.DataDir(), addrFile)
	if err := os.WriteFile(file, []byte(path+"\n"), 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	return run(ctx, o, servers, listeners, sup, addr, path)
}

func run(ctx context.Context, o ServeOptions, servers []*http.Server, listeners []net.Listener, sup *engine.Supervisor, addr, path string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan error, len(servers)+1)
	for i, s := range servers {
		go func() { done <- s.Serve(listeners[i]) }()
	}
	running := len(servers)
	if sup != nil {
		running++
		go func() { done <- sup.Run(ctx) }()
	}
	if o.Ready != nil {
		o.Ready(addr, path)
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-done:
		running--
	}
	cancel(first)
	stop, end := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer end()
	for _, s := range servers {
		if err := s.Shutdown(stop); err != nil {
			s.Close()
		}
	}
	for range running {
		<-done
	}
	if errors.Is(first, http.ErrServerClosed) {
		first = nil
	}
	return first
}

func loopback(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	if err != nil || !(host == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil, gov.Errorf(gov.KindInvalid, "listen_not_loopback", "%q is not a loopback address; put a TLS proxy in front for other machines", addr).
			WithHint("govern serve --listen 127.0.0.1:7170")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, gov.Errorf(gov.KindUnavailable, "listen_failed", "%s cannot be listened on: %w", addr, err)
	}
	return l, nil
}

// as serves every request in the name of one principal: the socket is 0600, so
// whoever reaches it is the user who serves.
func as(h http.Handler, p gov.Principal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), p)))
	})
}

// withToken knows callers by their bearer token. Without one only /healthz and
// the public log answer: other paths need a principal, and there is none.
func withToken(h http.Handler, tokens Tokens) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			if p, known := tokens.Principal(secret, time.Now()); known {
				r = r.WithContext(api.WithPrincipal(r.Context(), p))
			}
		}
		h.ServeHTTP(w, r)
	})
}

// home is where commands of targets run.
func (r Repo) home() string {
	if r.WorkTree != "" {
		return r.WorkTree
	}
	return r.GitDir
}
