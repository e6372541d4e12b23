package traffic

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"
)

// BenchmarkProxied compares one proxied request with httputil.ReverseProxy
// alone and with no proxy at all, over loopback: ratios of one run.
func BenchmarkProxied(b *testing.B) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 256)) }))
	defer up.Close()
	target, err := url.Parse(up.URL)
	must(b, err)
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 512}
	defer tr.CloseIdleConnections()
	bare := &httputil.ReverseProxy{
		Transport: tr, ErrorLog: log.New(io.Discard, "", 0), BufferPool: new(bufferPool),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			pr.SetXForwarded()
		},
	}
	ours, err := New(Config{})
	must(b, err)
	must(b, ours.SetUpstreams(Upstreams{Stable: up.URL, Candidate: up.URL + "/"}))
	must(b, ours.Set(b.Context(), 5, "a/1/1"))
	for _, c := range []struct {
		name string
		h    http.Handler
	}{{"httputil", bare}, {"govern", ours}} {
		b.Run(c.name, func(b *testing.B) {
			s := httptest.NewServer(c.h)
			defer s.Close()
			client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res, err := client.Get(s.URL)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
		})
	}
	ours.meter.routes.Load().closeIdle()
}

// BenchmarkCounting is all that the windows cost a request.
func BenchmarkCounting(b *testing.B) {
	p, err := New(Config{})
	must(b, err)
	must(b, p.SetUpstreams(Upstreams{Stable: "http://a", Candidate: "http://b"}))
	must(b, p.Set(b.Context(), 5, "a/1/1"))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u, _ := p.meter.dispatch()
			p.meter.record(u, outcome{settled: true})
			p.meter.record(u, outcome{known: true, ended: true, latency: int64(20 * time.Millisecond), shown: true})
		}
	})
}
