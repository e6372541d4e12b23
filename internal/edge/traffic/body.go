package traffic

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// clientBody is the client's request body on its way to the upstream. It knows
// how long the client kept us waiting and whether it was the client that broke
// off. The transport may still read it when the flight is over.
type clientBody struct {
	io.ReadCloser
	m      *meter
	waited atomic.Int64 // ns
	failed atomic.Bool
	closed atomic.Bool // by the transport, which gives up for its own reasons
}

func (b *clientBody) Read(p []byte) (int, error) {
	began := b.m.sinceBase()
	n, err := b.ReadCloser.Read(p)
	b.waited.Add(max(0, b.m.sinceBase()-began))
	if err != nil && err != io.EOF && !b.closed.Load() {
		b.failed.Store(true)
	}
	return n, err
}

func (b *clientBody) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

// broken tells whether reading from the client failed; false without a body.
func (b *clientBody) broken() bool { return b != nil && b.failed.Load() }

// arrival is the upstream's response body on its way to the client.
type arrival struct {
	f     *flight
	res   *http.Response
	inner io.ReadCloser
	stall *stall // nil before the first Read, and for streams
	grpc  bool
	whole bool // read to its end
}

// Read waits for the upstream for as long as Config.StallTimeout, except for a
// stream, which may be silent. The time the client takes to receive does not
// count, for then nobody reads.
func (a *arrival) Read(p []byte) (int, error) {
	if !a.f.stream && !a.grpc && a.inner != http.NoBody {
		if a.stall == nil {
			a.stall = newStall(a.f.p.cfg.StallTimeout, a.f.cancel)
		} else {
			a.stall.timer.Reset(a.stall.after)
		}
	}
	n, err := a.inner.Read(p)
	a.stop()
	switch {
	case err == io.EOF:
		a.whole = true
	case err != nil && a.stall != nil && a.stall.fired.Load():
		a.f.blame(errStalled)
	case err != nil:
		a.f.blame(err)
	}
	return n, err
}

func (a *arrival) Close() error { return a.inner.Close() }

func (a *arrival) stop() {
	if a.stall != nil {
		a.stall.timer.Stop()
	}
}

// stall cancels a request whose upstream sends nothing for too long. It is
// apart from the flight, because it may fire just as that ends.
type stall struct {
	timer *time.Timer
	after time.Duration
	fired atomic.Bool
}

func newStall(after time.Duration, cancel context.CancelCauseFunc) *stall {
	s := &stall{after: after}
	s.timer = time.AfterFunc(after, func() {
		s.fired.Store(true)
		cancel(errStalled)
	})
	return s
}

// grpcFailed tells whether a gRPC response that came to its end reports a
// failure of the server (gRPC over HTTP/2, "Responses"; the codes are those
// that the specification's HTTP mapping gives a status of 500 and above). No
// status at all is a failure, as it is for gRPC's clients.
func (a *arrival) grpcFailed() bool {
	if !a.grpc || !a.whole {
		return false
	}
	status := a.res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = a.res.Header.Get("Grpc-Status") // a response of trailers only
	}
	switch status {
	case "", "2", "4", "12", "13", "14", "15": // unknown, deadline, unimplemented, internal, unavailable, data loss
		return true
	}
	return false
}

// upgrade is the upstream's side of an upgraded connection. Its end is an error
// only when reading from the upstream fails while the client is still there; an
// orderly close (EOF), by whomever, is none.
type upgrade struct {
	io.ReadWriteCloser
	closed atomic.Bool // by us, as the client left
	broken atomic.Bool
}

func (u *upgrade) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	if err != nil && err != io.EOF && !u.closed.Load() {
		u.broken.Store(true)
	}
	return n, err
}

func (u *upgrade) Close() error {
	u.closed.Store(true)
	return u.ReadWriteCloser.Close()
}

// CloseWrite passes on that the client has finished sending.
func (u *upgrade) CloseWrite() error {
	if c, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (u *upgrade) brokenByUpstream() bool { return u != nil && u.broken.Load() }
