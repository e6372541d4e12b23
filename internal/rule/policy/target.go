package policy

// Environment of a target.
type Environment string

const (
	Staging    Environment = "staging"
	Production Environment = "production"
)

// Target is a place where a change is deployed. A production target takes
// canaries and so needs Traffic and every signal of SignalNames.
//
// Deploy and Undeploy are argument lists, run without a shell; "{artifact}",
// "{digest}", "{commit}", "{target}", "{slot}" (stable or candidate) and
// "{address}" (host:port of the slot) in them are replaced.
type Target struct {
	Environment Environment       `json:"environment"`
	Paths       []string          `json:"paths"`    // patterns as in CODEOWNERS; a change that touches one is deployed here
	Artifact    string            `json:"artifact"` // name under which builds are attested
	Traffic     Traffic           `json:"traffic,omitzero"`
	Signals     map[string]Signal `json:"signals,omitempty"`
	Baseline    string            `json:"baseline,omitempty"` // stable: compare with the stable version; absolute: limits only
	Deploy      []string          `json:"deploy"`
	Undeploy    []string          `json:"undeploy"`
	Health      Probe             `json:"health,omitzero"`
	Identify    Probe             `json:"identify,omitzero"`
}

// Traffic says how a share of the traffic is sent to the candidate. Driver
// proxy is the built-in reverse proxy: it listens on Listen (host:port) and
// forwards to the base URLs Stable and Candidate.
type Traffic struct {
	Driver    string `json:"driver"`
	Listen    string `json:"listen,omitempty"`
	Stable    string `json:"stable,omitempty"`
	Candidate string `json:"candidate,omitempty"`
}

// Drivers lists the traffic drivers there are.
var Drivers = []string{"proxy"}

// SignalNames lists the signals that a production target must have, each with a
// source or with none and a reason.
var SignalNames = []string{
	"error_rate", "latency_p95_ms", "throughput", "satisfaction_score", "drift", "critical_alerts",
}

// Sources lists where a signal can come from: the built-in proxy's windows,
// govern signal push, a scrape of the instance's metrics page, a Prometheus
// query, or none.
var Sources = []string{"proxy", "push", "metrics", "prometheus", "none"}

// Signal is the source of one signal. In YAML a source that needs nothing else
// is written as its name.
type Signal struct {
	Source  string `json:"source"`
	URL     string `json:"url,omitempty"`     // metrics: path or URL of the page; prometheus: its base URL
	Query   string `json:"query,omitempty"`   // metrics: name of the metric; prometheus: the query
	Because string `json:"because,omitempty"` // none: why there is no such signal
}

// Probe asks an instance something: an argument list, or an HTTP GET. A URL
// that begins with "/" is relative to the base URL of the instance asked. In
// YAML it is a list or a string.
type Probe struct {
	Argv []string `json:"argv,omitempty"`
	URL  string   `json:"url,omitempty"`
}

// None tells whether nothing is asked.
func (p Probe) None() bool { return len(p.Argv) == 0 && p.URL == "" }
