package traffic_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/governhq/govern/internal/edge/traffic"
	"github.com/governhq/govern/internal/edge/traffic/traffictest"
)

func TestProxyConforms(t *testing.T) {
	traffictest.Run(t, func(t *testing.T) traffictest.Subject {
		var ahead atomic.Int64
		base := time.Now()
		p, err := traffic.New(traffic.Config{Now: func() time.Time { return base.Add(time.Duration(ahead.Load())) }})
		if err != nil {
			t.Fatal(err)
		}
		name := func(n string) string {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, n) }))
			t.Cleanup(s.Close)
			return s.URL
		}
		if err := p.SetUpstreams(traffic.Upstreams{Stable: name("stable"), Candidate: name("candidate")}); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		tr := &http.Transport{}
		t.Cleanup(func() {
			tr.CloseIdleConnections()
			if err := p.Stop(t.Context()); err == nil {
				return
			}
		})
		return traffictest.Subject{
			Driver: p, Lease: time.Minute, Advance: func(d time.Duration) { ahead.Add(int64(d)) },
			Share: func(t *testing.T, n int) (got int) {
				t.Helper()
				for range n {
					res, err := (&http.Client{Transport: tr}).Get("http://" + p.Addr().String())
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil {
						t.Fatal(err)
					}
					if string(b) == "candidate" {
						got++
					}
				}
				return got
			},
		}
	})
}
