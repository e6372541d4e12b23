package traffic

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// rig is a proxy on loopback between real servers. Its clock is the real one,
// moved ahead on demand.
type rig struct {
	*Proxy
	t      *testing.T
	ahead  atomic.Int64
	url    string
	client *http.Client
}

// newRig starts a proxy whose windows end only when totals is called.
func newRig(t *testing.T, c Config) *rig {
	t.Helper()
	r := &rig{t: t}
	c.Now = func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }
	if c.Window == 0 {
		c.Window = time.Hour
	}
	if c.Lease == 0 {
		c.Lease = 1000 * time.Hour
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 5 * time.Second
	}
	p, err := New(c)
	must(t, err)
	r.Proxy = p
	must(t, p.Start(t.Context()))
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	r.client = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.url = "http://" + p.Addr().String()
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// allTo makes h the candidate and gives it everything.
func (r *rig) allTo(h http.Handler) *httptest.Server {
	r.t.Helper()
	s := serve(r.t, h)
	must(r.t, r.SetUpstreams(Upstreams{Stable: "http://127.0.0.1:1", Candidate: s.URL}))
	must(r.t, r.Set(r.t.Context(), 100, "all/1/"+s.URL))
	return s
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// named answers every request with its name.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, name)
	})
}

func (r *rig) get(path string) (int, string) {
	r.t.Helper()
	res, err := r.client.Get(r.url + path)
	must(r.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(r.t, err)
	return res.StatusCode, string(b)
}

// settled waits until no request is in flight.
func (r *rig) settled() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
	defer cancel()
	if n := r.idle(ctx); n != 0 {
		r.t.Fatalf("%d requests do not end", n)
	}
}

// totals closes the open window and adds up all of them.
func (r *rig) totals() (canary, baseline, retired Arm) {
	r.t.Helper()
	r.settled()
	r.ahead.Add(int64(r.cfg.Window))
	ws, err := r.Windows(0)
	must(r.t, err)
	for _, w := range ws {
		canary, baseline, retired = sum(canary, w.Canary), sum(baseline, w.Baseline), sum(retired, w.Retired)
	}
	return canary, baseline, retired
}

func sum(a, b Arm) Arm {
	out := Arm{
		Requests: a.Requests + b.Requests, Errors: a.Errors + b.Errors, Dispatched: a.Dispatched + b.Dispatched,
		Completed: a.Completed + b.Completed, ClientAborted: a.ClientAborted + b.ClientAborted, Slow: map[string]int64{},
	}
	for k, n := range b.Slow {
		out.Slow[k] = a.Slow[k] + n
	}
	return out
}

// slow is the map of the default limits.
func slow(over500, over1000 int64) map[string]int64 {
	return map[string]int64{"500": over500, "1000": over1000}
}
