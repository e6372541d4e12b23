package canary

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// Names of what is measured, as the strategy spells them. critical_alerts has
// no key in the strategy: any critical alert rolls back.
const (
	ErrorRate    = "error_rate"             // failed requests / finished requests, 0..1
	Latency      = "latency_p95_ms"         // 95th percentile in milliseconds
	Throughput   = "throughput_degradation" // share of the expected work that was not done, <= 1
	Satisfaction = "satisfaction_score"     // as the source scales it, usually 0..1
	Drift        = "drift_score"            // Jensen-Shannon distance, 0..1
	Alerts       = "critical_alerts"        // count
)

// Strategy is the specification's canary_strategy, complete and checked.
type Strategy struct {
	Enabled            bool                 `json:"enabled"`
	TrafficPercentage  int                  `json:"traffic_percentage"`          // 1..100
	MonitoringMinutes  float64              `json:"monitoring_duration_minutes"` // observed minutes, >= 0
	RollbackThresholds Thresholds           `json:"rollback_thresholds"`
	PromotionCriteria  map[string]Criterion `json:"promotion_criteria,omitempty"`
}

// Thresholds are the limits above which (strictly) a canary is rolled back.
type Thresholds struct {
	ErrorRate             float64 `json:"error_rate"`             // 0..1
	LatencyP95MS          float64 `json:"latency_p95_ms"`         // > 0
	ThroughputDegradation float64 `json:"throughput_degradation"` // 0..1
	DriftScore            float64 `json:"drift_score"`            // 0..1; only for changes of a model
}

// Triggers are the specification's rollback triggers; they stand where a
// strategy names none.
func Triggers() Thresholds {
	return Thresholds{ErrorRate: 0.01, LatencyP95MS: 1000, ThroughputDegradation: 0.1, DriftScore: 0.3}
}

// Default is the specification's example in full: 5 % for 60 minutes.
func Default() Strategy {
	return Strategy{
		Enabled: true, TrafficPercentage: 5, MonitoringMinutes: 60, RollbackThresholds: Triggers(),
		PromotionCriteria: map[string]Criterion{
			ErrorRate:    {Less, 0.005},
			Latency:      {Less, 500},
			Satisfaction: {Greater, 0.95},
		},
	}
}

// ForRisk is the default strategy of a workflow: 5 % for 60 minutes at high,
// 1 % for 24 hours at critical. ok is false at low and medium, where there is
// no canary. An unknown risk gets the strictest.
func ForRisk(r gov.Risk) (s Strategy, ok bool) {
	switch r {
	case gov.RiskLow, gov.RiskMedium:
		return Strategy{}, false
	case gov.RiskHigh:
		return Default(), true
	}
	s = Default()
	s.TrafficPercentage, s.MonitoringMinutes = 1, 24*60
	return s, true
}

// Own is a canary_strategy as somebody wrote it: what is nil was not written.
type Own struct {
	Enabled            *bool                `json:"enabled,omitempty"`
	TrafficPercentage  *float64             `json:"traffic_percentage,omitempty"`
	MonitoringMinutes  *float64             `json:"monitoring_duration_minutes,omitempty"`
	RollbackThresholds *OwnThresholds       `json:"rollback_thresholds,omitempty"`
	PromotionCriteria  map[string]Criterion `json:"promotion_criteria,omitempty"`
}

// OwnThresholds is rollback_thresholds as written.
type OwnThresholds struct {
	ErrorRate             *float64 `json:"error_rate,omitempty"`
	LatencyP95MS          *float64 `json:"latency_p95_ms,omitempty"`
	ThroughputDegradation *float64 `json:"throughput_degradation,omitempty"`
	DriftScore            *float64 `json:"drift_score,omitempty"`
}

// ParseStrategy reads a canary strategy with its wrapper
// {"canary_strategy":{…}} or the inner object alone. What is not written takes
// the specification's value: enabled, 5 %, 60 minutes, the triggers, and no
// promotion criterion (then only the thresholds stand in the way).
func ParseStrategy(data []byte) (Strategy, error) {
	own, err := ParseOwn(data)
	if err != nil {
		return Strategy{}, err
	}
	s := Default()
	s.PromotionCriteria = nil
	return own.over(s), nil
}

// ParseOwn reads a canary strategy as ParseStrategy does, keeping what was
// written apart from what was not, for Tighten.
func ParseOwn(data []byte) (Own, error) {
	opts := strict.Options{NoNull: true}
	var top map[string]json.RawMessage
	if err := strict.Unmarshal(data, &top, opts); err != nil {
		return Own{}, err
	}
	var own Own
	if _, wrapped := top["canary_strategy"]; wrapped {
		var w struct {
			Strategy Own `json:"canary_strategy"`
		}
		if err := strict.Unmarshal(data, &w, opts); err != nil {
			return Own{}, explainCriterion(top["canary_strategy"], err)
		}
		own = w.Strategy
	} else if err := strict.Unmarshal(data, &own, opts); err != nil {
		return Own{}, explainCriterion(data, err)
	}
	return own, own.check()
}

// explainCriterion says what is wrong with a criterion instead of "this string
// is not what its field takes"; every other error stays.
func explainCriterion(data []byte, err error) error {
	var loose struct {
		Criteria map[string]any `json:"promotion_criteria"`
	}
	if gov.CodeOf(err) != strict.CodeWrongType || json.Unmarshal(data, &loose) != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(loose.Criteria)) {
		s, ok := loose.Criteria[k].(string)
		if !ok {
			continue
		}
		if _, cerr := ParseCriterion(s); cerr != nil {
			return cerr
		}
	}
	return err
}

func (o Own) check() error {
	if p := o.TrafficPercentage; p != nil && (*p != math.Trunc(*p) || outside(*p, 1, 100)) {
		return rangeError("traffic_percentage", *p, "a whole number from 1 to 100")
	}
	if m := o.MonitoringMinutes; m != nil && outside(*m, 0, maxMinutes) {
		return rangeError("monitoring_duration_minutes", *m, "from 0 to 525600 minutes")
	}
	if t := o.RollbackThresholds; t != nil {
		for _, f := range []struct {
			name string
			x    *float64
		}{{ErrorRate, t.ErrorRate}, {Throughput, t.ThroughputDegradation}, {Drift, t.DriftScore}} {
			if f.x != nil && outside(*f.x, 0, 1) {
				return rangeError("rollback_thresholds."+f.name, *f.x, "a share from 0 to 1")
			}
		}
		if l := t.LatencyP95MS; l != nil && outside(*l, math.SmallestNonzeroFloat64, maxLatencyMS) {
			return rangeError("rollback_thresholds."+Latency, *l, "more than 0 and at most 86400000 milliseconds")
		}
	}
	return checkCriteria(o.PromotionCriteria)
}

const (
	maxMinutes   = 365 * 24 * 60
	maxLatencyMS = 24 * 60 * 60 * 1000
)

// outside is true for NaN too.
func outside(x, lo, hi float64) bool { return !(x >= lo && x <= hi) }

// checkCriteria knows the metrics and which comparisons make sense for them. A
// p95 is decided by counting requests slower than a limit, so only "below" can
// be answered there.
func checkCriteria(cs map[string]Criterion) error {
	for _, k := range slices.Sorted(maps.Keys(cs)) {
		c := cs[k]
		var allowed []Op
		switch k {
		case ErrorRate, Throughput, Drift:
			allowed = []Op{Less, LessEqual, Equal}
		case Latency:
			allowed = []Op{Less, LessEqual}
		case Satisfaction:
			allowed = []Op{Greater, GreaterEqual, Equal}
		default:
			return unknownCriterion(k)
		}
		if !slices.Contains(allowed, c.Op) {
			return gov.Errorf(gov.KindInvalid, "canary_criterion_invalid",
				"promotion_criteria.%s %q would promote what is bad; use one of %v", k, c, allowed)
		}
		if k == Latency && c.Bound <= 0 {
			return rangeError("promotion_criteria."+k, c.Bound, "more than 0 milliseconds")
		}
	}
	return nil
}

func unknownCriterion(k string) error {
	known := []string{ErrorRate, Latency, Throughput, Satisfaction, Drift}
	err := gov.Errorf(gov.KindInvalid, strict.CodeUnknownKey, "promotion_criteria has the unknown key %q", clip(k))
	if near := strict.Suggest(k, known); near != "" {
		return err.WithHint("did you mean %q?", near)
	}
	return err.WithHint("known are %v", known)
}

func rangeError(field string, x float64, want string) error {
	return gov.Errorf(gov.KindInvalid, "canary_strategy_range", "canary_strategy.%s is %s; it must be %s", field, num(x), want)
}

// Validate checks a strategy that was built rather than parsed.
func (s Strategy) Validate() error {
	t := s.RollbackThresholds
	p := float64(s.TrafficPercentage)
	for _, x := range []float64{s.MonitoringMinutes, t.ErrorRate, t.LatencyP95MS, t.ThroughputDegradation, t.DriftScore} {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return gov.Errorf(gov.KindInvalid, "canary_strategy_range", "the canary strategy holds a number that is not finite")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.PromotionCriteria)) {
		if b := s.PromotionCriteria[k].Bound; math.IsNaN(b) || math.IsInf(b, 0) {
			return rangeError("promotion_criteria."+k, b, "finite")
		}
	}
	return Own{
		TrafficPercentage: &p, MonitoringMinutes: &s.MonitoringMinutes, PromotionCriteria: s.PromotionCriteria,
		RollbackThresholds: &OwnThresholds{&t.ErrorRate, &t.LatencyP95MS, &t.ThroughputDegradation, &t.DriftScore},
	}.check()
}

// over lays what was written over base. It does not compare: Tighten does.
func (o Own) over(base Strategy) Strategy {
	s := base
	s.PromotionCriteria = maps.Clone(base.PromotionCriteria)
	set(&s.Enabled, o.Enabled)
	if o.TrafficPercentage != nil {
		s.TrafficPercentage = int(*o.TrafficPercentage)
	}
	set(&s.MonitoringMinutes, o.MonitoringMinutes)
	if t := o.RollbackThresholds; t != nil {
		set(&s.RollbackThresholds.ErrorRate, t.ErrorRate)
		set(&s.RollbackThresholds.LatencyP95MS, t.LatencyP95MS)
		set(&s.RollbackThresholds.ThroughputDegradation, t.ThroughputDegradation)
		set(&s.RollbackThresholds.DriftScore, t.DriftScore)
	}
	for k, c := range o.PromotionCriteria {
		if s.PromotionCriteria == nil {
			s.PromotionCriteria = map[string]Criterion{}
		}
		s.PromotionCriteria[k] = c
	}
	return s
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// Tighten lays a change's own strategy over the one policy demands. A change
// may only be stricter with itself: not disable the canary, no more traffic,
// no shorter monitoring, no higher threshold, no criterion that lets more
// pass. The error names the field and both values.
func Tighten(policy Strategy, own Own) (Strategy, error) {
	if err := own.check(); err != nil {
		return Strategy{}, err
	}
	if own.Enabled != nil && !*own.Enabled && policy.Enabled {
		return Strategy{}, loosens("enabled", "false", "true")
	}
	s := own.over(policy)
	if !policy.Enabled && s.Enabled {
		return s, nil // a canary where policy wants none is stricter whatever it says
	}
	if s.TrafficPercentage > policy.TrafficPercentage {
		return Strategy{}, loosens("traffic_percentage", fmt.Sprint(s.TrafficPercentage), fmt.Sprint(policy.TrafficPercentage))
	}
	if s.MonitoringMinutes < policy.MonitoringMinutes {
		return Strategy{}, loosens("monitoring_duration_minutes", num(s.MonitoringMinutes), num(policy.MonitoringMinutes))
	}
	a, b := s.RollbackThresholds, policy.RollbackThresholds
	for _, f := range []struct {
		name     string
		own, pol float64
	}{
		{ErrorRate, a.ErrorRate, b.ErrorRate},
		{Latency, a.LatencyP95MS, b.LatencyP95MS},
		{Throughput, a.ThroughputDegradation, b.ThroughputDegradation},
		{Drift, a.DriftScore, b.DriftScore},
	} {
		if f.own > f.pol {
			return Strategy{}, loosens("rollback_thresholds."+f.name, num(f.own), num(f.pol))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(policy.PromotionCriteria)) {
		if o, p := s.PromotionCriteria[k], policy.PromotionCriteria[k]; !o.Within(p) {
			return Strategy{}, loosens("promotion_criteria."+k, o.String(), p.String())
		}
	}
	return s, nil
}

func loosens(field, own, policy string) error {
	return gov.Errorf(gov.KindRefused, "canary_strategy_loosens",
		"the change sets canary_strategy.%s to %s, policy demands %s; a change may only be stricter", field, own, policy).
		WithHint("leave the key out or make it at least as strict as %s", policy)
}
