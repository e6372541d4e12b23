package traffic

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hijack gives a handler its connection, to misbehave on it.
func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	return c
}

// reset closes a connection with RST.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func TestOutcomes(t *testing.T) {
	one := Arm{Dispatched: 1, Completed: 1, Requests: 1, Slow: slow(0, 0)}
	failed := one
	failed.Errors = 1
	unanswered := failed
	unanswered.Completed = 0
	timedOut := unanswered
	timedOut.Slow = slow(1, 1)
	stalled := failed
	stalled.Slow = slow(1, 1)
	brokenStream := failed
	brokenStream.Requests = 2

	sse := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "Text/Event-Stream; charset=utf-8")
		fmt.Fprint(w, "data: 1\n\n")
		must(t, http.NewResponseController(w).Flush())
	}
	for name, c := range map[string]struct {
		serve  func(w http.ResponseWriter, r *http.Request)
		config Config
		method string
		status int
		cut    bool // the client sees the body end too soon
		want   Arm
	}{
		"ok":          {serve: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }, status: 200, want: one},
		"HEAD":        {serve: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "5") }, method: "HEAD", status: 200, want: one},
		"no content":  {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, status: 204, want: one},
		"404":         {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, status: 404, want: one},
		"500":         {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, status: 500, want: failed},
		"503":         {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, status: 503, want: failed},
		"early hints": {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(200) }, status: 200, want: one},
		"closed unanswered": {
			serve:  func(w http.ResponseWriter, _ *http.Request) { reset(hijack(w)) },
			method: "POST", status: 502, want: unanswered,
		},
		"nonsense": {
			serve: func(w http.ResponseWriter, _ *http.Request) {
				c := hijack(w)
				fmt.Fprint(c, "I am no HTTP\r\n\r\n")
				_ = c.Close()
			},
			method: "POST", status: 502, want: unanswered,
		},
		"protocol nobody asked for": {
			serve: func(w http.ResponseWriter, _ *http.Request) {
				c := hijack(w)
				fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
				_ = c.Close()
			},
			method: "POST", status: 502, want: unanswered,
		},
		"timeout": {
			serve:  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			config: Config{HeaderTimeout: 20 * time.Millisecond}, status: 504, want: timedOut,
		},
		"killed in a chunked body": {
			serve: func(w http.ResponseWriter, _ *http.Request) {
				c := hijack(w)
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
				_ = c.Close()
			},
			status: 200, cut: true, want: failed,
		},
		"killed in a body of known length": {
			serve: func(w http.ResponseWriter, _ *http.Request) {
				c := hijack(w)
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")
				reset(c)
			},
			status: 200, cut: true, want: failed,
		},
		"stalled": {
			serve: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "100000")
				fmt.Fprint(w, "hello")
				must(t, http.NewResponseController(w).Flush())
				<-r.Context().Done()
			},
			config: Config{StallTimeout: 20 * time.Millisecond}, status: 200, cut: true, want: stalled,
		},
		"event stream that ends": {serve: func(w http.ResponseWriter, _ *http.Request) { sse(w) }, status: 200, want: one},
		"event stream that is killed": {
			serve: func(w http.ResponseWriter, _ *http.Request) {
				sse(w)
				panic(http.ErrAbortHandler)
			},
			status: 200, cut: true, want: brokenStream,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.config)
			r.allTo(http.HandlerFunc(c.serve))
			method := c.method
			if method == "" {
				method = "GET"
			}
			req, err := http.NewRequest(method, r.url, nil)
			must(t, err)
			res, err := r.client.Do(req)
			must(t, err)
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != c.status || (err != nil) != c.cut {
				t.Errorf("the client got %d, %v", res.StatusCode, err)
			}
			canary, baseline, _ := r.totals()
			if d := cmp.Diff(c.want, canary); d != "" {
				t.Error(d)
			}
			if baseline.Dispatched != 0 {
				t.Errorf("the other upstream got something: %+v", baseline)
			}
		})
	}
}

func TestUnreachableUpstream(t *testing.T) {
	r := newRig(t, Config{})
	if code, _ := r.get("/"); code != 503 {
		t.Errorf("without upstreams: %d", code)
	}
	s := r.allTo(named("x"))
	s.Close()
	if code, _ := r.get("/"); code != 502 {
		t.Errorf("with the upstream gone: %d", code)
	}
	canary, _, _ := r.totals()
	if d := cmp.Diff(Arm{Dispatched: 1, Requests: 1, Errors: 1, Slow: slow(0, 0)}, canary); d != "" {
		t.Error(d)
	}
}

func TestClientsThatLeaveAreNoErrors(t *testing.T) {
	arrived := make(chan struct{}, 1)
	hang := func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}
	begin := func(kind string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, "data: 1\n\n")
			must(t, http.NewResponseController(w).Flush())
			hang(w, r)
		}
	}
	flood := func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		part := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}
	receive := func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
	}
	upload := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"
	plain := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, c := range map[string]struct {
		serve   func(http.ResponseWriter, *http.Request)
		request string
		waits   time.Duration // of the proxy's clock, before the client leaves
		want    Arm
	}{
		"soon, unanswered":      {hang, plain, 0, Arm{Dispatched: 1, Completed: 1, ClientAborted: 1, Slow: slow(0, 0)}},
		"unanswered after 0.7s": {hang, plain, 700 * time.Millisecond, Arm{Dispatched: 1, Requests: 1, ClientAborted: 1, Slow: slow(1, 0)}},
		"unanswered after 2s":   {hang, plain, 2 * time.Second, Arm{Dispatched: 1, Requests: 1, ClientAborted: 1, Slow: slow(1, 1)}},
		"in the answer":         {begin("text/plain"), plain, 0, Arm{Dispatched: 1, Completed: 1, Requests: 1, ClientAborted: 1, Slow: slow(0, 0)}},
		"in a stream":           {begin("text/event-stream"), plain, time.Hour / 2, Arm{Dispatched: 1, Completed: 1, Requests: 1, ClientAborted: 1, Slow: slow(0, 0)}},
		"in a flood":            {flood, plain, 0, Arm{Dispatched: 1, Completed: 1, Requests: 1, ClientAborted: 1, Slow: slow(0, 0)}},
		"while uploading":       {receive, upload, 0, Arm{Dispatched: 1, Completed: 1, ClientAborted: 1, Slow: slow(0, 0)}},
	} {
		for _, how := range []string{"close", "reset"} {
			t.Run(name+"/"+how, func(t *testing.T) {
				r := newRig(t, Config{})
				r.allTo(http.HandlerFunc(c.serve))
				conn, err := net.Dial("tcp", r.Addr().String())
				must(t, err)
				_, err = io.WriteString(conn, c.request)
				must(t, err)
				<-arrived
				if c.want.Requests == 1 && c.want.Completed == 1 {
					_, err := conn.Read(make([]byte, 1)) // the answer has begun for the client too
					must(t, err)
				}
				r.ahead.Add(int64(c.waits))
				if how == "reset" {
					reset(conn)
				} else {
					must(t, conn.Close())
				}
				canary, _, _ := r.totals()
				if d := cmp.Diff(c.want, canary); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestBrokenUploadIsTheClientsFault(t *testing.T) {
	// Given a client that stays but sends a body that cannot be read.
	r := newRig(t, Config{})
	r.allTo(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	conn, err := net.Dial("tcp", r.Addr().String())
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
	must(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	if res.StatusCode != 400 {
		t.Errorf("answered %d", res.StatusCode)
	}
	canary, _, _ := r.totals()
	if d := cmp.Diff(Arm{Dispatched: 1, Completed: 1, ClientAborted: 1, Slow: slow(0, 0)}, canary); d != "" {
		t.Error(d)
	}
}

func TestSlowUploadsAreNotTheUpstreamsFault(t *testing.T) {
	// Given a client that takes 5 s (of the proxy's clock) for each part of its
	// body, the upstream, which answers at once, is not slow.
	r := newRig(t, Config{})
	r.allTo(named("x"))
	req := httptest.NewRequest("POST", "/", &tardy{r: r, parts: 3})
	res := httptest.NewRecorder()
	r.ServeHTTP(res, req)
	if res.Code != 200 {
		t.Fatalf("answered %d", res.Code)
	}
	canary, _, _ := r.totals()
	if d := cmp.Diff(Arm{Dispatched: 1, Completed: 1, Requests: 1, Slow: slow(0, 0)}, canary); d != "" {
		t.Error(d)
	}
}

// tardy is a body whose every part takes 5 s.
type tardy struct {
	r     *rig
	parts int
}

func (b *tardy) Read(p []byte) (int, error) {
	if b.parts == 0 {
		return 0, io.EOF
	}
	b.parts--
	b.r.ahead.Add(int64(5 * time.Second))
	return copy(p, "part"), nil
}

func TestSlowAnswersAreCounted(t *testing.T) {
	r := newRig(t, Config{})
	for _, ms := range []int64{400, 700, 1500} {
		r.allTo(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			r.ahead.Add(ms * int64(time.Millisecond))
			fmt.Fprint(w, "x")
		}))
		r.get("/")
		r.settled()
	}
	canary, _, _ := r.totals()
	// 400, 700 and 1,500 ms: two above 500, one above 1,000.
	if d := cmp.Diff(slow(2, 1), canary.Slow); d != "" {
		t.Error(d)
	}
}
