package traffic

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Config says how a Proxy listens, waits and counts. The zero value is a proxy
// on a free loopback port with every default below.
type Config struct {
	Listen string      // host:port of Start; default 127.0.0.1:0
	TLS    *tls.Config // nil: HTTP/1.1 and h2c in the clear; else HTTP/1.1 and HTTP/2 over TLS

	UpstreamTLS *tls.Config // for https:// upstreams; nil: the system's roots

	// TrustedProxies are the peers whose X-Forwarded-For, -Host, -Proto and
	// Forwarded headers are believed and extended. From everybody else they are
	// dropped and written anew.
	TrustedProxies []netip.Prefix

	Window   time.Duration // length of a window, at most a day; default 15 s
	Keep     int           // closed windows kept for readers; default 960, four hours
	FirstSeq int           // number of the first window; default 1
	LimitsMS []int         // limits of the slow counters; ascending, at most 8; default 500, 1000
	Lease    time.Duration // a weight falls to 0 when not set again for so long; default 60 s

	DialTimeout       time.Duration // to connect to an upstream, TLS included; default 5 s
	HeaderTimeout     time.Duration // from the request being sent to the response header; default 30 s
	StallTimeout      time.Duration // between two parts of a body that is no stream; default 60 s
	DrainTimeout      time.Duration // Stop waits so long for requests in flight; default 30 s
	ReadHeaderTimeout time.Duration // for a client to send its request header; default 10 s
	IdleTimeout       time.Duration // for an idle client connection; default 120 s

	Now  func() time.Time // default time.Now
	Seed uint64           // where the split begins; two proxies of one target should differ
	Log  *slog.Logger     // what net/http has to say; nil: nothing
}

// maxLimits bounds the slow counters, which are arrays so that counting
// allocates nothing.
const maxLimits = 8

// withDefaults fills in what was left out and refuses what cannot be.
func (c Config) withDefaults() (Config, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"window", &c.Window, 15 * time.Second},
		{"lease", &c.Lease, time.Minute},
		{"dial timeout", &c.DialTimeout, 5 * time.Second},
		{"header timeout", &c.HeaderTimeout, 30 * time.Second},
		{"stall timeout", &c.StallTimeout, time.Minute},
		{"drain timeout", &c.DrainTimeout, 30 * time.Second},
		{"read header timeout", &c.ReadHeaderTimeout, 10 * time.Second},
		{"idle timeout", &c.IdleTimeout, 2 * time.Minute},
	} {
		if *d.value < 0 {
			return c, badConfig("the %s is negative (%s)", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if c.Window > 24*time.Hour {
		return c, badConfig("a window of %s is longer than a day", c.Window)
	}
	if c.Keep < 0 || c.FirstSeq < 0 {
		return c, badConfig("the number of kept windows and the first number must not be negative")
	}
	if c.Keep == 0 {
		c.Keep = 960
	}
	if c.FirstSeq == 0 {
		c.FirstSeq = 1
	}
	if c.LimitsMS == nil {
		c.LimitsMS = []int{500, 1000}
	}
	c.LimitsMS = slices.Clone(c.LimitsMS)
	for i, l := range c.LimitsMS {
		if l <= 0 || i > 0 && l <= c.LimitsMS[i-1] || i >= maxLimits {
			return c, badConfig("the limits %v are not at most %d ascending numbers of milliseconds above 0", c.LimitsMS, maxLimits)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func badConfig(format string, args ...any) error {
	return gov.Errorf(gov.KindInvalid, "proxy_config_invalid", format, args...).
		WithOp("configure the proxy").WithHint("correct the target's traffic settings in governance.yaml")
}
