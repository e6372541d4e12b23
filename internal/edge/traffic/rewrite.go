package traffic

import (
	"net/http"
	"net/http/httputil"
	"net/netip"
)

// rewrite addresses the request to the upstream. ReverseProxy has taken out the
// hop-by-hop headers before, those that Connection names among them, so what is
// put in here cannot be taken out by a client.
func (f *flight) rewrite(pr *httputil.ProxyRequest) {
	pr.SetURL(f.up.base)
	pr.Out.Host = pr.In.Host                 // the service keeps the name it is known by
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // not ours to read, so not ours to mend
	pr.Out.Trailer = pr.In.Trailer           // one map: it is filled when the body has been read
	if pr.Out.Body != nil && pr.Out.Body != http.NoBody {
		f.client = &clientBody{ReadCloser: pr.Out.Body, m: f.p.meter}
		pr.Out.Body = f.client
	}
	if !f.p.trusted(pr.In.RemoteAddr) {
		pr.SetXForwarded()
		return
	}
	pr.Out.Header["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
	pr.SetXForwarded()
	for _, name := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v := pr.In.Header[name]; v != nil {
			pr.Out.Header[name] = v
		}
	}
}

// trusted tells whether the peer may speak for others. An address that cannot
// be read is not.
func (p *Proxy) trusted(remote string) bool {
	if len(p.cfg.TrustedProxies) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	for _, prefix := range p.cfg.TrustedProxies {
		if prefix.Contains(peer.Addr().Unmap()) {
			return true
		}
	}
	return false
}
