package traffic

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
)

// flight is one request on its way. It owns a ReverseProxy whose hooks are its
// own methods, so that nothing has to be looked up in a context; flights are
// pooled, and whatever may outlive ServeHTTP is allocated apart.
type flight struct {
	p     *Proxy
	proxy httputil.ReverseProxy

	up      *upstream
	in      *http.Request
	started int64
	client  *clientBody // nil when the request has no body
	cancel  context.CancelCauseFunc

	answered bool  // the response header came
	latency  int64 // to the response header, once answered
	stream   bool  // counted when it began
	status   int
	body     arrival  // of an ordinary response
	pipe     *upgrade // of an upgraded connection
	fault    fault
}

// fault is who ended a request before its end.
type fault int

const (
	faultNone fault = iota
	faultClient
	faultUpstream
	faultTimeout // the upstream's, too
)

// errStalled cancels a request whose upstream has stopped sending.
var errStalled = errors.New("the upstream's body stalled")

// errPipeBroke stands for whatever ended an upgraded connection from behind.
var errPipeBroke = errors.New("the upstream broke the upgraded connection")

// errOtherProtocol refuses a switch to a protocol nobody asked for.
var errOtherProtocol = errors.New("the upstream switched to a protocol that was not asked for")

// silence takes ReverseProxy's log lines: what they report is counted.
var silence = log.New(io.Discard, "", 0)

func newFlight(p *Proxy) *flight {
	f := &flight{p: p}
	f.proxy = httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      f,
		ModifyResponse: f.answer,
		ErrorHandler:   f.fail,
		BufferPool:     &p.bufs,
		ErrorLog:       silence,
	}
	return f
}

func (f *flight) reset() {
	*f = flight{p: f.p, proxy: f.proxy}
	f.proxy.FlushInterval = 0
}

// serve carries the request out and counts how it ended, even when net/http's
// way of cutting a response short, a panic, goes through here.
func (f *flight) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		http.Error(w, "this is a reverse proxy", http.StatusMethodNotAllowed)
		return
	}
	if f.up, f.started = f.p.meter.dispatch(); f.up == nil {
		http.Error(w, "no upstream", http.StatusServiceUnavailable)
		return
	}
	f.in = r
	whole := false
	defer func() { f.end(whole) }()
	f.proxy.ServeHTTP(w, r)
	whole = true
}

// RoundTrip sends the request to the chosen upstream, in a context that a
// stalled body can cancel.
func (f *flight) RoundTrip(out *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(out.Context())
	f.cancel = cancel
	return f.up.transport.RoundTrip(out.WithContext(ctx))
}

// answer sees the response header.
func (f *flight) answer(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		conn, ok := res.Body.(io.ReadWriteCloser)
		if !ok || !strings.EqualFold(res.Header.Get("Upgrade"), res.Request.Header.Get("Upgrade")) {
			return errOtherProtocol
		}
		f.stream, f.pipe = true, &upgrade{ReadWriteCloser: conn}
		res.Body = f.pipe
	} else {
		f.stream = isEventStream(res.Header)
		f.body = arrival{f: f, res: res, inner: res.Body, grpc: isGRPC(res.Header)}
		res.Body = &f.body
		if len(res.Trailer) > 0 && f.in.ProtoMajor == 1 {
			res.Header.Del("Content-Length") // HTTP/1.1 has trailers in chunked bodies only
		}
		if res.ContentLength > flushAbove {
			f.proxy.FlushInterval = -1
		}
	}
	f.answered, f.status = true, res.StatusCode
	f.latency = f.elapsed()
	o := outcome{settled: true}
	if f.stream {
		o = f.begun()
	}
	f.p.meter.record(f.up, o)
	return nil
}

// flushAbove is the announced length from which on each part of a response is
// passed on as it comes. Shorter ones fit into a few writes; of unannounced
// length, everything is passed on at once.
const flushAbove = 16 << 10

// begun is the outcome of a response that is known from its header.
func (f *flight) begun() outcome {
	return outcome{settled: true, known: true, failed: f.status >= 500, latency: f.latency, shown: true}
}

// fail is called when there is no response to pass on.
func (f *flight) fail(w http.ResponseWriter, _ *http.Request, err error) {
	if f.pipe != nil {
		f.fault = faultClient // the switch was fine; it could not be passed on
		return
	}
	f.blame(err)
	switch {
	case f.fault == faultTimeout:
		http.Error(w, "the upstream did not answer in time", http.StatusGatewayTimeout)
	case f.fault == faultUpstream:
		http.Error(w, "the upstream did not answer", http.StatusBadGateway)
	default:
		http.Error(w, "the request ended before it was whole", http.StatusBadRequest)
	}
}

// blame says whose fault err is, once.
func (f *flight) blame(err error) {
	switch {
	case f.fault != faultNone:
	case f.in.Context().Err() != nil || f.client.broken():
		f.fault = faultClient
	case isTimeout(err):
		f.fault = faultTimeout
	default:
		f.fault = faultUpstream
	}
}

// end counts what became of the request.
func (f *flight) end(whole bool) {
	f.body.stop()
	if f.cancel != nil {
		f.cancel(nil)
	}
	if f.pipe.brokenByUpstream() {
		f.blame(errPipeBroke)
	}
	if !whole && f.fault == faultNone {
		f.fault = faultClient // nothing was wrong with what we read, so we could not write it
	}
	o := f.outcome()
	o.ended = true
	f.p.meter.record(f.up, o)
	if f.p.meter.routes.Load().arm(f.up) == armRetired {
		f.up.transport.CloseIdleConnections()
	}
}

// outcome is what the end of the request tells beyond what answer has counted.
func (f *flight) outcome() outcome {
	switch {
	case f.fault == faultClient && !f.answered:
		waited := f.elapsed()
		patient := len(f.p.meter.limits) > 0 && waited > f.p.meter.limits[0]
		return outcome{aborted: true, known: patient, settled: !patient, latency: waited}
	case f.stream && (f.fault == faultUpstream || f.fault == faultTimeout):
		return outcome{known: true, failed: true, latency: -1}
	case f.stream:
		return outcome{aborted: f.fault == faultClient}
	case f.fault == faultTimeout:
		return outcome{known: true, failed: true, latency: timedOut}
	case f.fault == faultUpstream && !f.answered:
		return outcome{known: true, failed: true, latency: f.elapsed()}
	}
	o := f.begun()
	o.settled = false // counted when the header came
	o.failed = o.failed || f.fault == faultUpstream || f.body.grpcFailed()
	o.aborted = f.fault == faultClient
	return o
}

// elapsed is the time since the dispatch that was not spent waiting for the
// client's own body.
func (f *flight) elapsed() int64 {
	t := f.p.meter.sinceBase() - f.started
	if f.client != nil {
		t -= f.client.waited.Load()
	}
	return max(t, 0)
}

func isTimeout(err error) bool {
	if errors.Is(err, errStalled) {
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

func isEventStream(h http.Header) bool {
	return mediaType(h) == "text/event-stream"
}

func isGRPC(h http.Header) bool {
	m := mediaType(h)
	return m == "application/grpc" || strings.HasPrefix(m, "application/grpc+")
}

func mediaType(h http.Header) string {
	m, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(m))
}

// bufferPool lends the buffers in which responses are copied.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *bufferPool) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(buf []byte) { b.pool.Put((*[bufferSize]byte)(buf)) }

// sinceBase is the present in the meter's time, without making anything happen.
func (m *meter) sinceBase() int64 { return int64(m.now().Sub(m.base)) }

var _ http.RoundTripper = (*flight)(nil)
