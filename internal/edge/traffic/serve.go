package traffic

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// server is one run between Start and Stop.
type server struct {
	http     *http.Server
	listener net.Listener
	cut      context.CancelFunc // ends every request, upgraded connections too
	done     chan struct{}      // closed when Serve has returned
}

// Start listens on Config.Listen and serves until Stop. Starting a started
// proxy does nothing; a stopped one may be started again and keeps its counters
// and its weight, as far as the lease still holds. Errors: listen_failed.
func (p *Proxy) Start(ctx context.Context) error {
	p.life.Lock()
	defer p.life.Unlock()
	if p.server.Load() != nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.cfg.Listen)
	if err != nil {
		return gov.Errorf(gov.KindUnavailable, "listen_failed", "the proxy cannot listen on %s: %w", p.cfg.Listen, err).
			WithOp("start the proxy").WithHint("choose another address, or stop who uses this one")
	}
	// The requests' context outlives ctx: it ends with Stop.
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	s := &server{listener: l, cut: cut, done: make(chan struct{}), http: &http.Server{
		Handler:           p,
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: p.cfg.ReadHeaderTimeout,
		IdleTimeout:       p.cfg.IdleTimeout,
		ErrorLog:          p.errorLog(),
		BaseContext:       func(net.Listener) context.Context { return base },
	}}
	s.http.Protocols.SetHTTP1(true)
	if p.cfg.TLS != nil {
		s.http.Protocols.SetHTTP2(true)
		s.http.TLSConfig = p.cfg.TLS.Clone()
	} else {
		s.http.Protocols.SetUnencryptedHTTP2(true)
	}
	p.server.Store(s)
	go s.serve(p.cfg.TLS != nil)
	return nil
}

func (s *server) serve(overTLS bool) {
	defer close(s.done)
	// Serve always returns an error; after Stop it is ErrServerClosed, and a
	// listener that fails by itself is seen by whoever connects.
	if overTLS {
		_ = s.http.ServeTLS(s.listener, "", "")
		return
	}
	_ = s.http.Serve(s.listener)
}

// Addr is where the proxy listens; nil unless started.
func (p *Proxy) Addr() net.Addr {
	s := p.server.Load()
	if s == nil {
		return nil
	}
	return s.listener.Addr()
}

// Stop takes no more requests, waits for those in flight for as long as
// Config.DrainTimeout and ctx allow, and then cuts the rest: requests cut here
// count as aborted by the client, for they tell nothing about the upstream.
// Stopping a stopped proxy does nothing. Errors: drain_cut, with the proxy
// stopped all the same.
func (p *Proxy) Stop(ctx context.Context) error {
	p.life.Lock()
	defer p.life.Unlock()
	s := p.server.Load()
	if s == nil {
		return nil
	}
	drain, cancel := context.WithTimeout(ctx, p.cfg.DrainTimeout)
	defer cancel()
	err := s.http.Shutdown(drain)
	left := p.idle(drain)
	s.cut()
	if err != nil || left > 0 {
		_ = s.http.Close() // its connections are being cut, whatever it says
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterCut)
		defer cancel()
		p.idle(end)
	}
	<-s.done
	p.server.Store(nil)
	p.meter.routes.Load().closeIdle()
	if left > 0 {
		return gov.Errorf(gov.KindTimeout, "drain_cut", "%s still in flight when the time to drain was over", plural(int(left), "request")).
			WithOp("stop the proxy").WithHint("raise the drain timeout if these must end by themselves")
	}
	return nil
}

// afterCut is how long a request may take to notice that it was cut. Only one
// that came in through somebody else's server takes longer.
const afterCut = 5 * time.Second

// idle waits until nothing is in flight and gives the number that is, when ctx
// ends first. It looks now and then, as http.Server.Shutdown does, because a
// signal would cost every request something.
func (p *Proxy) idle(ctx context.Context) int64 {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		left := p.meter.active()
		if left == 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return left
		case <-tick.C:
		}
	}
}

func (p *Proxy) errorLog() *log.Logger {
	if p.cfg.Log == nil {
		return log.New(io.Discard, "", 0)
	}
	return slog.NewLogLogger(p.cfg.Log.Handler(), slog.LevelWarn)
}
