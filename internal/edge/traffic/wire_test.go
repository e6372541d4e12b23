package traffic

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/websocket"
)

func TestEventsPassOneByOne(t *testing.T) {
	// Given an upstream that sends the next event only when the client has
	// seen the one before, all of them arrive.
	for _, kind := range []string{"text/event-stream", "application/octet-stream"} {
		t.Run(kind, func(t *testing.T) {
			seen := make(chan struct{})
			r := newRig(t, Config{})
			r.allTo(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				for i := range 5 {
					fmt.Fprintf(w, "data: %d\n", i)
					must(t, http.NewResponseController(w).Flush())
					<-seen
				}
			}))
			res, err := r.client.Get(r.url)
			must(t, err)
			defer res.Body.Close()
			lines := bufio.NewReader(res.Body)
			for i := range 5 {
				line, err := lines.ReadString('\n')
				if err != nil || line != fmt.Sprintf("data: %d\n", i) {
					t.Fatalf("event %d is %q, %v", i, line, err)
				}
				seen <- struct{}{}
			}
		})
	}
}

func TestUploadsAreNotHeld(t *testing.T) {
	// Given a client that sends the second half of its body only when the
	// upstream has seen the first.
	seen := make(chan string)
	r := newRig(t, Config{})
	r.allTo(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, b)
		seen <- string(b)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	pr, pw := io.Pipe()
	go func() {
		_, _ = io.WriteString(pw, "hello")
		if got := <-seen; got != "hello" {
			t.Errorf("the upstream got %q", got)
		}
		_, _ = io.WriteString(pw, "world")
		_ = pw.Close()
	}()
	res, err := r.client.Post(r.url, "text/plain", pr)
	must(t, err)
	_ = res.Body.Close()
}

func TestWebsocketPasses(t *testing.T) {
	r := newRig(t, Config{})
	kill := make(chan struct{})
	r.allTo(websocket.Handler(func(c *websocket.Conn) {
		go func() {
			<-kill
			_ = c.SetDeadline(time.Unix(1, 0))
		}()
		_, _ = io.Copy(c, c)
	}))
	c, err := websocket.Dial("ws"+strings.TrimPrefix(r.url, "http"), "", "http://a")
	must(t, err)
	for i := range 100 {
		out := bytes.Repeat([]byte{byte(i)}, 1+i*40)
		must(t, websocket.Message.Send(c, out))
		var in []byte
		must(t, websocket.Message.Receive(c, &in))
		if !bytes.Equal(in, out) {
			t.Fatalf("message %d came back otherwise", i)
		}
	}
	must(t, c.Close())
	canary, _, _ := r.totals()
	if d := cmp.Diff(Arm{Dispatched: 1, Completed: 1, Requests: 1, Slow: slow(0, 0)}, canary); d != "" {
		t.Error(d)
	}
	close(kill)
}

func TestUpgradedConnectionBrokenByUpstream(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(net.Conn)
		errors int64
	}{
		"orderly": {func(c net.Conn) { _ = c.Close() }, 0},
		"reset":   {reset, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, end := newRig(t, Config{}), c.end
			r.allTo(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				c, in, err := http.NewResponseController(w).Hijack()
				must(t, err)
				fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: Raw\r\n\r\n")
				_, _ = in.ReadByte()
				fmt.Fprint(c, "!")
				_, _ = in.ReadByte() // the client has seen it
				end(c)
			}))
			conn, err := net.Dial("tcp", r.Addr().String())
			must(t, err)
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
			in := bufio.NewReader(conn)
			for line := ""; line != "\r\n"; {
				line, err = in.ReadString('\n')
				must(t, err)
			}
			fmt.Fprint(conn, "x")
			if b, err := in.ReadByte(); b != '!' || err != nil {
				t.Fatalf("got %q, %v", b, err)
			}
			fmt.Fprint(conn, "y")
			_, _ = io.Copy(io.Discard, in)
			_ = conn.Close()
			canary, _, _ := r.totals()
			want := Arm{Dispatched: 1, Completed: 1, Requests: 1 + c.errors, Errors: c.errors, Slow: slow(0, 0)}
			if d := cmp.Diff(want, canary); d != "" {
				t.Error(d)
			}
		})
	}
}

// h2 is a client of one protocol.
func h2(t *testing.T, overTLS *tls.Config) *http.Client {
	t.Helper()
	p := new(http.Protocols)
	p.SetHTTP2(overTLS != nil)
	p.SetUnencryptedHTTP2(overTLS == nil)
	tr := &http.Transport{Protocols: p, TLSClientConfig: overTLS}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// h2cServer serves HTTP/2 in the clear.
func h2cServer(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return "h2c" + strings.TrimPrefix(s.URL, "http")
}

func TestHTTP2AndTrailersPass(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Te", r.Header.Get("Te"))
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		w.Header().Set("X-Sum", r.Trailer.Get("X-In"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	})
	cert := httptest.NewTLSServer(echo)
	defer cert.Close()
	for name, c := range map[string]struct {
		upstream, proto string
		tls, h1         bool
	}{
		"h2c to h2c":      {h2cServer(t, echo), "HTTP/2.0", false, false},
		"h2c to http/1.1": {serve(t, echo).URL, "HTTP/1.1", false, false},
		"tls to h2c":      {h2cServer(t, echo), "HTTP/2.0", true, false},
		"http/1.1 to h2c": {h2cServer(t, echo), "HTTP/2.0", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			var cfg Config
			var clientTLS *tls.Config
			if c.tls {
				cfg.TLS = &tls.Config{Certificates: cert.TLS.Certificates}
				clientTLS = cert.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			}
			r := newRig(t, cfg)
			must(t, r.SetUpstreams(Upstreams{Stable: c.upstream}))
			client, url := h2(t, clientTLS), r.url
			if c.tls {
				url = "https" + strings.TrimPrefix(url, "http")
			}
			if c.h1 {
				client = r.client
			}
			req, err := http.NewRequest("POST", url, struct{ io.Reader }{strings.NewReader("hello")})
			must(t, err)
			req.Trailer = http.Header{"X-In": {"in"}}
			req.Header.Set("Te", "trailers")
			res, err := client.Do(req)
			must(t, err)
			b, err := io.ReadAll(res.Body)
			must(t, err)
			_ = res.Body.Close()
			got := []string{string(b), res.Header.Get("X-Proto"), res.Header.Get("X-Te"), res.Trailer.Get("X-Sum"), res.Trailer.Get("X-Late")}
			if d := cmp.Diff([]string{"hello", c.proto, "trailers", "in", "late"}, got); d != "" {
				t.Error(d)
			}
			if c.h1 != (res.ProtoMajor == 1) {
				t.Errorf("the client was answered in %s", res.Proto)
			}
			r.settled()
		})
	}
}

func TestGRPC(t *testing.T) {
	// A call in both directions at once, and the status in the trailers judged.
	for _, c := range []struct {
		status string
		errors int64
	}{{"0", 0}, {"5", 0}, {"14", 1}, {"13", 1}, {"", 1}} {
		t.Run("status "+c.status, func(t *testing.T) {
			r := newRig(t, Config{})
			must(t, r.SetUpstreams(Upstreams{Stable: h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/grpc+proto")
				must(t, http.NewResponseController(w).Flush())
				b := make([]byte, 4)
				for {
					if _, err := io.ReadFull(r.Body, b); err != nil {
						break
					}
					_, _ = w.Write(b)
					must(t, http.NewResponseController(w).Flush())
				}
				if c.status != "" {
					w.Header().Set(http.TrailerPrefix+"Grpc-Status", c.status)
				}
			}))}))
			pr, pw := io.Pipe()
			res, err := h2(t, nil).Post(r.url, "application/grpc", pr)
			must(t, err)
			for i := range 3 {
				fmt.Fprintf(pw, "%04d", i)
				b := make([]byte, 4)
				if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != fmt.Sprintf("%04d", i) {
					t.Fatalf("message %d is %q, %v", i, b, err)
				}
			}
			must(t, pw.Close())
			_, err = io.Copy(io.Discard, res.Body)
			must(t, err)
			_ = res.Body.Close()
			if got := res.Trailer.Get("Grpc-Status"); got != c.status {
				t.Errorf("the client got status %q", got)
			}
			_, baseline, _ := r.totals()
			want := Arm{Dispatched: 1, Completed: 1, Requests: 1, Errors: c.errors, Slow: slow(0, 0)}
			if d := cmp.Diff(want, baseline); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNothingIsSmuggled(t *testing.T) {
	// Whatever a client sends, the upstream sees exactly the requests that the
	// proxy counted, each framed in one way.
	for name, raw := range map[string]string{
		"length and chunked":  "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n",
		"chunked and length":  "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
		"two lengths":         "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabcGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
		"unknown coding":      "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\nabcGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
		"space before colon":  "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabcGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
		"length named by hop": "POST /a HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 35\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\nX: y\r\n",
		"coding named by hop": "POST /a HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding, Host\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
		"bare newline header": "GET /a HTTP/1.1\r\nHost: a\r\nX: y\rGET /evil HTTP/1.1\r\n\r\n",
		"host twice":          "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var seen []string
			r := newRig(t, Config{})
			r.allTo(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, r.URL.Path)
				if r.Host == "" || len(r.TransferEncoding) > 0 && r.Header.Get("Content-Length") != "" {
					t.Errorf("a request framed in two ways, or without a host: %v", r.Header)
				}
				fmt.Fprint(w, "x")
			}))
			conn, err := net.Dial("tcp", r.Addr().String())
			must(t, err)
			defer conn.Close()
			// The last request makes the proxy close the connection, if it has
			// not given it up before.
			_, err = io.WriteString(conn, raw+"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			must(t, err)
			_, _ = io.Copy(io.Discard, conn)
			canary, _, _ := r.totals()
			mu.Lock()
			defer mu.Unlock()
			if int64(len(seen)) != canary.Dispatched || canary.ClientAborted != 0 {
				t.Errorf("the upstream saw %v, the proxy dispatched %d", seen, canary.Dispatched)
			}
			if d := cmp.Diff([]string{"/a", "/end"}, seen); strings.Contains(name, "named by hop") && d != "" {
				t.Errorf("a body became a request: %v", d)
			}
		})
	}
}

func TestHeadersAreForwardedSanely(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		want    map[string]string
	}{
		"stranger": {nil, map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop", "X-Forwarded-Proto": "http", "Forwarded": ""}},
		"trusted":  {loopback, map[string]string{"X-Forwarded-For": "6.6.6.6, 127.0.0.1", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "Forwarded": "for=6.6.6.6"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got *http.Request
			r := newRig(t, Config{TrustedProxies: c.trusted})
			r.allTo(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				w.Header().Set("Connection", "X-Secret")
				w.Header().Set("X-Secret", "s")
				w.Header().Set("Keep-Alive", "timeout=1")
			}))
			req, err := http.NewRequest("GET", r.url+"/p%2Fq?a=1;b=%zz", nil)
			must(t, err)
			req.Host = "shop"
			for k, v := range map[string]string{
				"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "Forwarded": "for=6.6.6.6",
				"Connection": "X-Forwarded-For, X-Hop, Keep-Alive", "X-Hop": "h", "Keep-Alive": "1", "Proxy-Authorization": "p",
				"Authorization": "mine", "Accept-Encoding": "br",
			} {
				req.Header.Set(k, v)
			}
			res, err := r.client.Do(req)
			must(t, err)
			_ = res.Body.Close()
			r.settled()
			for k, v := range c.want {
				if g := strings.Join(got.Header[k], "|"); g != v {
					t.Errorf("%s: %q, want %q", k, g, v)
				}
			}
			for k, v := range map[string]string{"X-Hop": "", "Keep-Alive": "", "Proxy-Authorization": "", "Authorization": "mine", "Accept-Encoding": "br"} {
				if g := got.Header.Get(k); g != v {
					t.Errorf("%s: %q, want %q", k, g, v)
				}
			}
			if got.Host != "shop" || got.RequestURI != "/p%2Fq?a=1;b=%zz" {
				t.Errorf("got %s for host %s", got.RequestURI, got.Host)
			}
			if res.Header.Get("X-Secret") != "" || res.Header.Get("Keep-Alive") != "" {
				t.Errorf("the upstream's hop-by-hop headers came through: %v", res.Header)
			}
		})
	}
}
