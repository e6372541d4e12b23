package wire

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/governhq/govern/internal/edge/traffic"
)

// TestRequestsUnderWayAreNotLost: a request that is dispatched in one window and
// answered in the next is complete, and one that is never answered is missing
// from the window after it on.
func TestRequestsUnderWayAreNotLost(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
	}))
	defer slow.Close()
	var second atomic.Int64
	p, err := traffic.New(traffic.Config{Window: time.Second, Now: func() time.Time { return time.Unix(1000+second.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetUpstreams(traffic.Upstreams{Stable: "http://127.0.0.1:1", Candidate: slow.URL}); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(t.Context(), 100, "target/x/full/1"); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	get := func(path string) {
		resp, err := http.Get(front.URL + path)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}
	done := make(chan struct{})
	go func() { defer close(done); get("/slow") }()
	proxy := Proxy{p}
	// The slow request is dispatched when the upstream holds it: a second, quick
	// one behind it closes the race without a sleep.
	for deadline := time.Now().Add(5 * time.Second); ; {
		get("/quick")
		second.Add(1)
		ws, err := p.Windows(0)
		if err != nil {
			t.Fatal(err)
		}
		var sent, answered int64
		for _, w := range ws {
			sent, answered = sent+w.Canary.Dispatched, answered+w.Canary.Completed
		}
		if sent == answered+1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slow request was never dispatched")
		}
	}
	close(release)
	<-done
	get("/quick")
	second.Add(1)
	get("/quick")
	second.Add(1)
	ws, err := proxy.Windows(0)
	if err != nil {
		t.Fatal(err)
	}
	var sent, answered int64
	for _, w := range ws {
		sent, answered = sent+*w.Canary.Dispatched, answered+*w.Canary.Completed
		if *w.Canary.Dispatched > 0 && w.State != "fresh" {
			t.Errorf("window %d owes answers and is called %s", w.Seq, w.State)
		}
		if err := w.Validate(); err != nil {
			t.Errorf("window %d: %v", w.Seq, err)
		}
	}
	if sent < 2 || answered < sent {
		t.Errorf("%d of %d dispatched requests count as complete after all were answered", answered, sent)
	}
	// A reader that comes back for later windows sees the same numbers.
	for _, w := range ws[1:] {
		again, err := proxy.Windows(w.Seq - 1)
		if err != nil || len(again) == 0 || *again[0].Canary.Dispatched != *w.Canary.Dispatched {
			t.Errorf("window %d reads differently from the middle: %v %v", w.Seq, again, err)
		}
	}
}
