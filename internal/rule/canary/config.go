package canary

import (
	"maps"
	"slices"

	"github.com/governhq/govern/internal/gov"
)

// Mode is how one metric is judged.
type Mode string

// Literal compares the measured value with the limit once there is a minimum
// sample. It is the only mode there is so far; a sequential test takes its
// place per metric behind the judge interface (see judge.go).
const Literal Mode = "literal"

// Config is everything a judgement depends on besides the windows. It is part
// of a rollout's plan and therefore of the log. Zero numbers mean the default.
type Config struct {
	Strategy Strategy `json:"strategy"`

	// Modes chooses how a metric is judged; default Literal.
	Modes map[string]Mode `json:"modes,omitempty"`

	// Absent names the metrics that this target has no source for, with the
	// reason policy accepted. They need not be measured, but a promotion
	// criterion on one of them can never be met.
	Absent map[string]string `json:"absent,omitempty"`

	// ModelChange says that the change touches a model: the drift trigger is on
	// whether or not the windows say so, and drift must have been measured.
	ModelChange bool `json:"model_change,omitempty"`

	// MinRequests is the smallest number of requests that anything is decided
	// on; default 50.
	MinRequests int64 `json:"min_requests,omitempty"`

	// RecentSeconds is the length of the short look-back beside the whole
	// watch: it holds the last RecentSeconds/2 to RecentSeconds fresh seconds,
	// rounded up to whole windows; default 300.
	RecentSeconds float64 `json:"recent_seconds,omitempty"`

	// UnhealthySeconds is how long the baseline may be over the limits itself
	// before the canary is rolled back; default 900.
	UnhealthySeconds float64 `json:"unhealthy_seconds,omitempty"`

	// MissingRollbackSeconds rolls back when nothing fresh came for so long;
	// 0 means hold for ever.
	MissingRollbackSeconds float64 `json:"missing_rollback_seconds,omitempty"`
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.MinRequests == 0 {
		c.MinRequests = 50
	}
	if c.RecentSeconds == 0 {
		c.RecentSeconds = 300
	}
	if c.UnhealthySeconds == 0 {
		c.UnhealthySeconds = 900
	}
	return c
}

// Validate refuses what cannot be judged by.
func (c Config) Validate() error {
	if err := c.Strategy.Validate(); err != nil {
		return err
	}
	known := []string{ErrorRate, Latency, Throughput, Satisfaction, Drift}
	for _, k := range slices.Sorted(maps.Keys(c.Modes)) {
		if !slices.Contains(known, k) {
			return gov.Errorf(gov.KindInvalid, "canary_config_invalid", "modes names the unknown metric %q", clip(k))
		}
		if _, ok := judges[c.Modes[k]]; !ok {
			return gov.Errorf(gov.KindInvalid, "canary_config_invalid", "metric %s cannot be judged in mode %q", k, clip(string(c.Modes[k]))).
				WithHint("use %q", Literal)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c.Absent)) {
		if !slices.Contains(known, k) || c.Absent[k] == "" {
			return gov.Errorf(gov.KindInvalid, "canary_config_invalid", "absent must name a known metric and a reason, not %q: %q", clip(k), clip(c.Absent[k]))
		}
	}
	if c.MinRequests < 0 || outside(c.RecentSeconds, 0, maxWindowSeconds) ||
		outside(c.UnhealthySeconds, 0, maxMinutes*60) || outside(c.MissingRollbackSeconds, 0, maxMinutes*60) {
		return gov.Errorf(gov.KindInvalid, "canary_config_invalid", "a number of the judge's configuration is negative, not finite or too large")
	}
	return nil
}

func (c Config) mode(metric string) Mode {
	if m, ok := c.Modes[metric]; ok {
		return m
	}
	return Literal
}
