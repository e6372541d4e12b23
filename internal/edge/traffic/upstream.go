package traffic

import (
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// upstream is one server behind the proxy, in one role, with its own
// connections. A server that changes its role becomes a new upstream, so that
// what it still owes from its old role is not counted to its new one.
type upstream struct {
	name      string // as it was given
	base      *url.URL
	transport *http.Transport
}

// newUpstream refuses every URL whose parts would have to be ignored.
func newUpstream(cfg Config, name string) (*upstream, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, badUpstream(name, "it is no URL")
	}
	var protocols http.Protocols
	switch u.Scheme {
	case "http":
		protocols.SetHTTP1(true)
	case "https":
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	case "h2c":
		protocols.SetUnencryptedHTTP2(true)
		u.Scheme = "http"
	default:
		return nil, badUpstream(name, "its scheme is not http, https or h2c")
	}
	if u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return nil, badUpstream(name, "only scheme, host, port and path may be given, and the host must be")
	}
	return &upstream{name: name, base: u, transport: &http.Transport{
		Proxy:                 nil, // an upstream is where it is said to be, whatever the environment holds
		DialContext:           (&net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       cfg.UpstreamTLS.Clone(),
		TLSHandshakeTimeout:   cfg.DialTimeout,
		DisableCompression:    true, // what the client asked for goes through as it is
		MaxIdleConnsPerHost:   512,
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: cfg.HeaderTimeout,
		ExpectContinueTimeout: time.Second,
		Protocols:             &protocols,
	}}, nil
}

func badUpstream(name, why string) error {
	return gov.Errorf(gov.KindInvalid, "upstream_invalid", "%q cannot be an upstream: %s", name, why).
		WithOp("set upstreams").WithHint("use a URL such as http://127.0.0.1:8081")
}

// routes is who serves and in which shares; it is replaced whole, never changed.
type routes struct {
	stable    *upstream // nil: nobody serves
	candidate *upstream // nil: weight is 0
	weight    int
	threshold uint64 // of weight, see split
}

func (r *routes) with(weight int) *routes {
	return &routes{stable: r.stable, candidate: r.candidate, weight: weight, threshold: threshold(weight)}
}

func (r *routes) names() (u Upstreams) {
	if r.stable != nil {
		u.Stable = r.stable.name
	}
	if r.candidate != nil {
		u.Candidate = r.candidate.name
	}
	return u
}

// arm says where an event of u counts.
func (r *routes) arm(u *upstream) int {
	switch u {
	case r.stable:
		return armBaseline
	case r.candidate:
		return armCanary
	}
	return armRetired
}

// closeIdle drops the connections nobody uses.
func (r *routes) closeIdle() {
	for _, u := range []*upstream{r.stable, r.candidate} {
		if u != nil {
			u.transport.CloseIdleConnections()
		}
	}
}
