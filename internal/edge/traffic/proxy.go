package traffic

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
)

// Proxy is the built-in Driver: an HTTP reverse proxy in front of a stable and
// a candidate upstream. New is the only way to one.
//
// It is an http.Handler, and listens by itself between Start and Stop. Without
// a stable upstream it answers 503 and counts nothing.
type Proxy struct {
	cfg   Config
	meter *meter
	pool  sync.Pool // of *flight
	bufs  bufferPool

	life   sync.Mutex             // held by Start and Stop
	server atomic.Pointer[server] // nil unless started
}

var _ Driver = (*Proxy)(nil)

// New makes a proxy with weight 0 and no upstreams. Errors:
// proxy_config_invalid.
func New(cfg Config) (*Proxy, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, meter: newMeter(cfg)}
	p.pool.New = func() any { return newFlight(p) }
	return p, nil
}

// Observe reads the weight in force. It does not renew the lease.
func (p *Proxy) Observe(context.Context) (State, error) { return p.meter.observe(), nil }

// Set is Driver.Set. It takes effect for every request that arrives after it
// returns; the window ends where the weight changes.
func (p *Proxy) Set(_ context.Context, weight int, key string) error {
	if err := CheckSet(weight, key); err != nil {
		return err
	}
	return p.meter.set(weight, key)
}

// Kill is Driver.Kill. It neither fails nor waits for requests in flight.
func (p *Proxy) Kill(context.Context) error {
	p.meter.kill()
	return nil
}

// Upstreams are base URLs: http://host:port, https://host:port, or
// h2c://host:port for HTTP/2 in the clear (gRPC), each with an optional path.
type Upstreams struct {
	Stable    string `json:"stable"`
	Candidate string `json:"candidate,omitempty"` // "" when there is none
}

// SetUpstreams replaces both upstreams at once; no request is lost over it.
// When the candidate becomes another one (or none) the weight falls to 0, and
// what requests still in flight come to is counted as Window.Retired. Saying
// the same upstreams again changes nothing. Errors: upstream_invalid.
func (p *Proxy) SetUpstreams(u Upstreams) error { return p.meter.setUpstreams(p.cfg, u) }

// Upstreams are those in force.
func (p *Proxy) Upstreams() Upstreams { return p.meter.routes.Load().names() }

// Windows gives the closed windows after the one numbered after (FirstSeq-1 or
// less: all), oldest first. Reading changes nothing for other readers.
//
// Errors: windows_lost when some are no longer kept; those that are come along
// with the error. window_unknown when after is newer than any window, which
// means that the cursor belongs to another run of the proxy.
func (p *Proxy) Windows(after int) ([]Window, error) { return p.meter.windows(after) }

// ServeHTTP sends one request to one upstream.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.pool.Get().(*flight)
	f.serve(w, r)
	// Not deferred: a flight that panicked (net/http's way to cut a response)
	// is left to the garbage collector.
	f.reset()
	p.pool.Put(f)
}
