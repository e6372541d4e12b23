package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/governhq/govern/internal/face/api"
	"github.com/governhq/govern/internal/gov"
)

// Local is a transport to a handler in this process. Bodies stream through
// pipes, and the principal travels in the context, never in a header.
type Local struct {
	Handler   http.Handler
	Principal gov.Principal
}

// RoundTrip serves the request in a goroutine and returns when the handler has
// written its header.
func (l Local) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	if req.Body != nil {
		defer func() { // the handler may still read it; it is closed when it is done
			context.AfterFunc(ctx, func() { req.Body.Close() })
		}()
	}
	r := req.Clone(api.WithPrincipal(ctx, l.Principal))
	r.RequestURI = r.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, in := io.Pipe()
	w := &pipeWriter{header: http.Header{}, pipe: in, ready: make(chan struct{})}
	go func() {
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				w.WriteHeader(http.StatusInternalServerError)
				in.CloseWithError(errors.New("the handler broke off"))
				return
			}
			w.WriteHeader(http.StatusOK)
			in.Close()
		}()
		l.Handler.ServeHTTP(w, r)
	}()
	select {
	case <-w.ready:
	case <-req.Context().Done():
		cancel()
		body.CloseWithError(req.Context().Err())
		return nil, context.Cause(req.Context())
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: closer{body, cancel}, ContentLength: -1, Request: req,
	}, nil
}

type closer struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close ends the handler too when nobody reads any more.
func (c closer) Close() error {
	c.cancel()
	return c.ReadCloser.Close()
}

type pipeWriter struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	pipe   *io.PipeWriter
	once   sync.Once
	status int
	ready  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.ready)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(b)
}

// Flush is there because streams ask for it; a pipe holds nothing back.
func (w *pipeWriter) Flush() {}

// Socket is a transport to a unix socket.
func Socket(path string) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return t
}
