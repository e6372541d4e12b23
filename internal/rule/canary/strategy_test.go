package canary

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
	"pgregory.net/rapid"
)

// specStrategy is the example of the specification.
const specStrategy = `{
  "canary_strategy": {
    "enabled": true,
    "traffic_percentage": 5,
    "monitoring_duration_minutes": 60,
    "rollback_thresholds": {"error_rate": 0.01, "latency_p95_ms": 1000, "throughput_degradation": 0.1},
    "promotion_criteria": {"error_rate": "<0.005", "latency_p95_ms": "<500", "satisfaction_score": ">0.95"}
  }
}`

func TestParseStrategyOfTheSpecification(t *testing.T) {
	want := Strategy{
		Enabled: true, TrafficPercentage: 5, MonitoringMinutes: 60,
		RollbackThresholds: Thresholds{0.01, 1000, 0.1, 0.3},
		PromotionCriteria: map[string]Criterion{
			"error_rate": {"<", 0.005}, "latency_p95_ms": {"<", 500}, "satisfaction_score": {">", 0.95},
		},
	}
	var inner map[string]json.RawMessage
	if err := json.Unmarshal([]byte(specStrategy), &inner); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"wrapped": specStrategy, "bare": string(inner["canary_strategy"])} {
		got, err := ParseStrategy([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		printed, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseStrategy(printed)
		if err != nil || cmp.Diff(got, again) != "" {
			t.Errorf("%s does not survive printing: %v %s", name, err, cmp.Diff(got, again))
		}
	}
	if diff := cmp.Diff(want, Default()); diff != "" {
		t.Errorf("the default is not the specification's (-want +got):\n%s", diff)
	}
}

func TestAbsentThresholdsTakeTheTriggers(t *testing.T) {
	got, err := ParseStrategy([]byte(`{"rollback_thresholds":{"error_rate":0.02}}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Thresholds{0.02, 1000, 0.1, 0.3}); got.RollbackThresholds != want || !got.Enabled || got.TrafficPercentage != 5 || got.MonitoringMinutes != 60 {
		t.Errorf("got %+v", got)
	}
	if got.PromotionCriteria != nil {
		t.Errorf("criteria nobody wrote: %v", got.PromotionCriteria)
	}
}

func TestParseStrategyRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, code, says string }{
		{"unknown key", `{"trafic_percentage":5}`, "json_unknown_key", "traffic_percentage"},
		{"unknown key beside the wrapper", `{"canary_strategy":{},"x":1}`, "json_unknown_key", "x"},
		{"duplicate key", `{"enabled":true,"enabled":false}`, "json_duplicate_key", "enabled"},
		{"wrapped twice", `{"canary_strategy":{"canary_strategy":{}}}`, "json_unknown_key", ""},
		{"unknown threshold", `{"rollback_thresholds":{"errors":1}}`, "json_unknown_key", ""},
		{"unknown criterion", `{"promotion_criteria":{"eror_rate":"<1"}}`, "json_unknown_key", "eror_rate"},
		{"criterion as number", `{"promotion_criteria":{"error_rate":0.1}}`, "json_wrong_type", ""},
		{"criterion without operator", `{"promotion_criteria":{"error_rate":"0.1"}}`, "canary_criterion_invalid", "0.1"},
		{"criterion the wrong way", `{"promotion_criteria":{"error_rate":">0.1"}}`, "canary_criterion_invalid", "bad"},
		{"satisfaction the wrong way", `{"promotion_criteria":{"satisfaction_score":"<0.1"}}`, "canary_criterion_invalid", "bad"},
		{"latency equal", `{"promotion_criteria":{"latency_p95_ms":"==500"}}`, "canary_criterion_invalid", "bad"},
		{"traffic 0", `{"traffic_percentage":0}`, "canary_strategy_range", "traffic_percentage"},
		{"traffic 101", `{"traffic_percentage":101}`, "canary_strategy_range", "101"},
		{"traffic 2.5", `{"traffic_percentage":2.5}`, "canary_strategy_range", "whole"},
		{"traffic text", `{"traffic_percentage":"5"}`, "json_wrong_type", ""},
		{"negative duration", `{"monitoring_duration_minutes":-1}`, "canary_strategy_range", "monitoring"},
		{"error rate in per cent", `{"rollback_thresholds":{"error_rate":5}}`, "canary_strategy_range", "share"},
		{"latency 0", `{"rollback_thresholds":{"latency_p95_ms":0}}`, "canary_strategy_range", "latency"},
		{"infinite", `{"rollback_thresholds":{"latency_p95_ms":1e999}}`, "json_wrong_type", ""},
		{"null", `{"canary_strategy":null}`, "json_wrong_type", ""},
		{"not an object", `[]`, "json_wrong_type", ""},
		{"rest", `{} {}`, "json_trailing", ""},
	} {
		_, err := ParseStrategy([]byte(c.text))
		if gov.CodeOf(err) != c.code && !(c.name == "infinite" && err != nil) || err != nil && !strings.Contains(err.Error()+hintOf(err), c.says) {
			t.Errorf("%s: got %v, want code %s saying %q", c.name, err, c.code, c.says)
		}
		if gov.KindOf(err) != gov.KindInvalid {
			t.Errorf("%s: kind %q", c.name, gov.KindOf(err))
		}
	}
}

func hintOf(err error) string {
	if e, ok := err.(*gov.Error); ok {
		return e.Hint
	}
	return ""
}

func TestTighten(t *testing.T) {
	for _, c := range []struct{ name, own, field, values string }{
		{"nothing written", `{}`, "", ""},
		{"the same", specStrategy, "", ""},
		{"stricter everywhere", `{"traffic_percentage":1,"monitoring_duration_minutes":90,"rollback_thresholds":{"error_rate":0.001,"latency_p95_ms":300,"throughput_degradation":0,"drift_score":0.1},"promotion_criteria":{"error_rate":"==0","latency_p95_ms":"<=400","satisfaction_score":">=0.96","drift_score":"<0.2"}}`, "", ""},
		{"disabled", `{"enabled":false}`, "enabled", "false true"},
		{"more traffic", `{"traffic_percentage":6}`, "traffic_percentage", "6 5"},
		{"shorter", `{"monitoring_duration_minutes":59.5}`, "monitoring_duration_minutes", "59.5 60"},
		{"more errors", `{"rollback_thresholds":{"error_rate":0.011}}`, "rollback_thresholds.error_rate", "0.011 0.01"},
		{"slower", `{"rollback_thresholds":{"latency_p95_ms":1001}}`, "rollback_thresholds.latency_p95_ms", "1001 1000"},
		{"less throughput", `{"rollback_thresholds":{"throughput_degradation":0.2}}`, "rollback_thresholds.throughput_degradation", "0.2 0.1"},
		{"more drift", `{"rollback_thresholds":{"drift_score":0.31}}`, "rollback_thresholds.drift_score", "0.31 0.3"},
		{"equal allowed where policy says less", `{"promotion_criteria":{"error_rate":"<=0.005"}}`, "promotion_criteria.error_rate", "<=0.005 <0.005"},
		{"lower satisfaction", `{"promotion_criteria":{"satisfaction_score":">0.9"}}`, "promotion_criteria.satisfaction_score", ">0.9 >0.95"},
	} {
		own, err := ParseOwn([]byte(c.own))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, err := Tighten(Default(), own)
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if _, ok := got.PromotionCriteria[Satisfaction]; !ok {
				t.Errorf("%s: a criterion of the policy is gone", c.name)
			}
			continue
		}
		if gov.CodeOf(err) != "canary_strategy_loosens" || !strings.Contains(err.Error(), c.field+" ") {
			t.Errorf("%s: got %v, want the field %s", c.name, err, c.field)
			continue
		}
		for v := range strings.FieldsSeq(c.values) {
			if !strings.Contains(err.Error(), v) {
				t.Errorf("%s: %v does not name %s", c.name, err, v)
			}
		}
	}
}

// Whatever a change writes, what comes out of Tighten never lets through more
// than the policy: restated here as sets of outcomes, by trying values.
func TestTightenNeverLoosens(t *testing.T) {
	bounds := []float64{0, 0.1, 0.3, 0.5, 0.9, 1}
	ops := map[string][]Op{ErrorRate: {"<", "<=", "=="}, Satisfaction: {">", ">=", "=="}}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name, k string) Criterion {
			return Criterion{rapid.SampledFrom(ops[k]).Draw(t, name+"op"), rapid.SampledFrom(bounds).Draw(t, name+"bound")}
		}
		k := rapid.SampledFrom([]string{ErrorRate, Satisfaction}).Draw(t, "metric")
		policy, mine := Default(), draw("own", k)
		policy.PromotionCriteria = map[string]Criterion{k: draw("policy", k)}
		minutes := rapid.SampledFrom([]float64{0, 59, 60, 61}).Draw(t, "minutes")
		traffic := rapid.SampledFrom([]float64{1, 5, 6, 100}).Draw(t, "traffic")
		got, err := Tighten(policy, Own{MonitoringMinutes: &minutes, TrafficPercentage: &traffic, PromotionCriteria: map[string]Criterion{k: mine}})
		subset := true
		for x := -0.5; x < 2; x += 0.05 {
			for _, y := range append([]float64{math.Round(float64(x*100)) / 100}, bounds...) {
				if oracleHolds(mine, y) && !oracleHolds(policy.PromotionCriteria[k], y) {
					subset = false
				}
			}
		}
		if want := subset && minutes >= 60 && traffic <= 5; want != (err == nil) {
			t.Fatalf("policy %v own %v %v min %v %%: want allowed=%v, got %v", policy.PromotionCriteria[k], mine, minutes, traffic, want, err)
		}
		if err == nil && (got.TrafficPercentage > 5 || got.MonitoringMinutes < 60) {
			t.Fatalf("loosened: %+v", got)
		}
	})
}

func oracleHolds(c Criterion, x float64) bool {
	switch c.Op {
	case "<":
		return x < c.Bound
	case "<=":
		return x <= c.Bound
	case ">":
		return x > c.Bound
	case ">=":
		return x >= c.Bound
	}
	return x == c.Bound
}

func TestCriterionHoldsAtItsBound(t *testing.T) {
	for _, c := range []struct {
		op    Op
		below bool
		at    bool
		above bool
	}{{"<", true, false, false}, {"<=", true, true, false}, {"==", false, true, false}, {">=", false, true, true}, {">", false, false, true}} {
		k := Criterion{c.op, 0.5}
		if k.Holds(0.4) != c.below || k.Holds(0.5) != c.at || k.Holds(0.6) != c.above || k.Holds(math.NaN()) {
			t.Errorf("%s is wrong around its bound", k)
		}
	}
}

func FuzzCriterion(f *testing.F) {
	for _, s := range []string{"<0.005", "<=1e-9", ">0.95", ">=-3", "==0", "== 12 ", "<", "<nan", ">inf", "<0x1p3", "<1_0", "=<1", "<01", "<1.", "<.5", "<1e400", "<-0", "<+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCriterion(s)
		if err != nil {
			if gov.CodeOf(err) != "canary_criterion_invalid" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if math.IsNaN(c.Bound) || math.IsInf(c.Bound, 0) {
			t.Fatalf("%q gives %v", s, c)
		}
		again, err := ParseCriterion(c.String())
		if err != nil || again != c || again.String() != c.String() {
			t.Fatalf("%q prints %q, which reads %v, %v", s, c, again, err)
		}
	})
}

func TestCriterionRefuses(t *testing.T) {
	for _, s := range []string{"", "<", "0.5", "=0.5", "=<1", "<nan", "<NaN", "<inf", "<+Inf", "<1e400", "<0x1", "<1_0", "<01", "<.5", "<1.", "<1 2", "<\t1", "<1e", "≤1"} {
		if c, err := ParseCriterion(s); err == nil {
			t.Errorf("%q was read as %v", s, c)
		}
	}
}

func FuzzStrategy(f *testing.F) {
	f.Add([]byte(specStrategy))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"canary_strategy":{"promotion_criteria":{"drift_score":"<=0.2"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseStrategy(data)
		if err != nil {
			if gov.KindOf(err) != gov.KindInvalid {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("%q parses to what is invalid: %v", data, err)
		}
		printed, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseStrategy(printed)
		if err != nil || cmp.Diff(s, again) != "" {
			t.Fatalf("%q prints %s: %v", data, printed, err)
		}
	})
}
