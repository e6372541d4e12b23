package policy

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov/strict"
)

// Placeholders lists what is replaced in the arguments of a target, in braces.
var Placeholders = []string{"artifact", "digest", "commit", "target", "slot", "address"}

var (
	artifactWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)
	braced       = regexp.MustCompile(`\{([a-z_]+)\}`)
)

func (p Policy) checkTargets() *fault {
	for _, name := range slices.Sorted(maps.Keys(p.Targets)) {
		at := "targets." + name
		if !targetWord.MatchString(name) {
			return faultf(at, "policy_value", "%s: a target is named with small letters, digits and dashes", at)
		}
		if f := checkTarget(at, p.Targets[name]); f != nil {
			return f
		}
	}
	return nil
}

func checkTarget(at string, t Target) *fault {
	if t.Environment == "" {
		return faultf(at, "policy_value", "%s: environment is missing; write staging or production", at)
	}
	if f := oneOf(at+".environment", string(t.Environment), []string{string(Staging), string(Production)}); f != nil {
		return f
	}
	if len(t.Paths) == 0 {
		return faultf(at, "policy_value", "%s: paths is missing; name what is deployed there, or \"*\"", at)
	}
	if f := checkList(at+".paths", t.Paths, func(at, s string) *fault {
		if _, err := CompilePattern(s); err != nil {
			return faultf(at, "policy_value", "%s: %s", at, message(err))
		}
		return nil
	}); f != nil {
		return f
	}
	if !artifactWord.MatchString(t.Artifact) {
		return faultf(at+".artifact", "policy_value", "%s: artifact must be the name under which builds are attested, such as studio", at)
	}
	for _, a := range []struct {
		key  string
		argv []string
	}{{"deploy", t.Deploy}, {"undeploy", t.Undeploy}} {
		if f := checkArgv(at+"."+a.key, a.argv); f != nil {
			return f
		}
	}
	for _, pr := range []struct {
		key   string
		probe Probe
	}{{"health", t.Health}, {"identify", t.Identify}} {
		if f := checkProbe(at+"."+pr.key, pr.probe, t.Environment == Production); f != nil {
			return f
		}
	}
	if t.Environment == Production {
		return checkProduction(at, t)
	}
	if t.Traffic != (Traffic{}) || len(t.Signals) > 0 || t.Baseline != "" {
		return faultf(at, "policy_value", "%s: staging takes no canary, so traffic, signals and baseline have no place there", at)
	}
	return nil
}

func checkArgv(at string, argv []string) *fault {
	if len(argv) == 0 || argv[0] == "" {
		return faultf(at, "policy_value", "%s: must be a list of arguments, the program first; no shell reads it", at)
	}
	for i, a := range argv {
		for _, m := range braced.FindAllStringSubmatch(a, -1) {
			if s := strict.Suggest(m[1], Placeholders); s != "" && s != m[1] {
				return faultf(fmt.Sprintf("%s[%d]", at, i), "policy_value", "%s[%d]: unknown {%s}; did you mean {%s}?", at, i, m[1], s)
			}
		}
	}
	return nil
}

func checkProbe(at string, p Probe, relative bool) *fault {
	switch {
	case p.None():
		return faultf(at, "policy_value", "%s is missing; write a URL or a list of arguments", at)
	case len(p.Argv) > 0 && p.URL != "":
		return faultf(at, "policy_value", "%s: a URL and arguments at once; keep one of them", at)
	case len(p.Argv) > 0:
		return checkArgv(at, p.Argv)
	case strings.HasPrefix(p.URL, "/") && !relative:
		return faultf(at, "policy_value", "%s: %q needs its host; only targets with traffic know their instances", at, short(p.URL))
	case strings.HasPrefix(p.URL, "/") && !strings.HasPrefix(p.URL, "//"):
		return nil
	}
	return checkURL(at, p.URL)
}

func checkURL(at, s string) *fault {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return faultf(at, "policy_value", "%s: %q is not an http or https URL (without a password in it)", at, short(s))
	}
	return nil
}

func checkProduction(at string, t Target) *fault {
	if t.Traffic.Driver == "" {
		return faultf(at, "policy_value", "%s: traffic is missing; a canary needs to know how its share of the traffic reaches it", at)
	}
	if f := oneOf(at+".traffic.driver", t.Traffic.Driver, Drivers); f != nil {
		return f
	}
	if !hostPort(t.Traffic.Listen) {
		return faultf(at+".traffic.listen", "policy_value", "%s.traffic.listen: %q is not host:port", at, short(t.Traffic.Listen))
	}
	if f := checkURL(at+".traffic.stable", t.Traffic.Stable); f != nil {
		return f
	}
	if f := checkURL(at+".traffic.candidate", t.Traffic.Candidate); f != nil {
		return f
	}
	if t.Traffic.Stable == t.Traffic.Candidate {
		return faultf(at+".traffic.candidate", "policy_value", "%s.traffic: stable and candidate are the same instance", at)
	}
	if f := oneOf(at+".baseline", t.Baseline, []string{BaselineStable, BaselineAbsolute}); f != nil {
		return f
	}
	return checkSignals(at, t)
}

func hostPort(s string) bool {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return false
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	host := s[:i]
	return err == nil && n > 0 && !strings.ContainsAny(host, "/@ ") &&
		(!strings.Contains(host, ":") || (strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")))
}

// Signals that the built-in proxy sees by itself.
var proxySignals = []string{"error_rate", "latency_p95_ms", "throughput"}

func checkSignals(at string, t Target) *fault {
	for _, name := range slices.Sorted(maps.Keys(t.Signals)) {
		p := at + ".signals." + name
		if f := oneOf(p, name, SignalNames); f != nil {
			return f
		}
		if f := checkSignal(p, name, t.Signals[name]); f != nil {
			return f
		}
	}
	for _, name := range SignalNames {
		if _, ok := t.Signals[name]; !ok {
			return faultf(at+".signals", "policy_value", "%s.signals: %s is missing; name its source, or write %s: {source: none, because: …}", at, name, name)
		}
	}
	if t.Baseline == BaselineAbsolute && t.Signals["throughput"].Source != "none" {
		return faultf(at+".signals.throughput", "policy_value", "%s.signals.throughput: degradation is measured against the stable version; with an absolute baseline it is none", at)
	}
	return nil
}

func checkSignal(at, name string, s Signal) *fault {
	if f := oneOf(at+".source", s.Source, Sources); f != nil {
		return f
	}
	var takes struct{ url, query, because bool }
	switch s.Source {
	case "proxy":
		if !slices.Contains(proxySignals, name) {
			return faultf(at, "policy_value", "%s: the proxy does not see it; it sees %s", at, strings.Join(proxySignals, ", "))
		}
	case "metrics", "prometheus":
		takes.url, takes.query = true, true
	case "none":
		takes.because = true
	}
	for _, k := range []struct {
		key  string
		text string
		want bool
	}{{"url", s.URL, takes.url}, {"query", s.Query, takes.query}, {"because", s.Because, takes.because}} {
		switch has := strings.TrimSpace(k.text) != ""; {
		case has && !k.want:
			return faultf(at+"."+k.key, "policy_value", "%s: %s is not a key of the source %s", at, k.key, s.Source)
		case !has && k.want:
			return faultf(at, "policy_value", "%s: the source %s needs %s", at, s.Source, k.key)
		}
	}
	if s.Source == "prometheus" || (s.Source == "metrics" && !strings.HasPrefix(s.URL, "/")) {
		return checkURL(at+".url", s.URL)
	}
	return nil
}
