package canary

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// win is a healthy window of a minute at 5 %; edits change it.
func win(seq int64, edits ...func(*Window)) Window {
	w := Window{
		Seq: seq, Seconds: 60, Weight: 5,
		Canary:       Counts{Requests: 100, Dispatched: ptr(int64(100)), Completed: ptr(int64(100)), Slow: map[string]int64{"500": 0, "1000": 0}},
		Baseline:     Counts{Requests: 1900, Dispatched: ptr(int64(1900)), Completed: ptr(int64(1900)), Slow: map[string]int64{"500": 0, "1000": 0}},
		Satisfaction: ptr(0.99),
	}
	for _, e := range edits {
		e(&w)
	}
	return w
}

func ptr[T any](x T) *T { return &x }

func errorsOf(n int64) func(*Window)  { return func(w *Window) { w.Canary.Errors = n } }
func requests(n int64) func(*Window)  { return func(w *Window) { scale(&w.Canary, n) } }
func completed(n int64) func(*Window) { return func(w *Window) { w.Canary.Completed = ptr(n) } }
func slow(half, full int64) func(*Window) {
	return func(w *Window) { w.Canary.Slow = map[string]int64{"500": half, "1000": full} }
}
func baseErrors(n int64) func(*Window)   { return func(w *Window) { w.Baseline.Errors = n } }
func state(s Signal) func(*Window)       { return func(w *Window) { w.State = s } }
func satisfied(x *float64) func(*Window) { return func(w *Window) { w.Satisfaction = x } }
func drifts(x float64) func(*Window)     { return func(w *Window) { w.Drift = &x } }
func ofModel(w *Window)                  { w.ModelChange = ptr(true) }
func alert(w *Window)                    { w.CriticalAlerts = 1 }
func shareOnly(w *Window) {
	w.Canary.Dispatched, w.Canary.Completed, w.Baseline.Dispatched, w.Baseline.Completed = nil, nil, nil, nil
}

func scale(c *Counts, n int64) {
	c.Requests, c.Dispatched, c.Completed = n, ptr(n), ptr(n)
}

func series(n int, edits ...func(*Window)) []Window {
	out := make([]Window, n)
	for i := range out {
		out[i] = win(int64(i+1), edits...)
	}
	return out
}

// then continues a series with windows of other kind.
func then(ws []Window, n int, edits ...func(*Window)) []Window {
	for range n {
		ws = append(ws, win(int64(len(ws)+1), edits...))
	}
	return ws
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name    string
		config  func(*Config)
		windows []Window
		want    Outcome
		code    string
		at      int64
		minutes float64
		says    string
	}{
		{"nothing", nil, nil, Hold, CodeWatching, 0, 0, "nothing was observed"},
		{"healthy but early", nil, series(59), Hold, CodeWatching, 59, 59, "59 of 60 minutes"},
		{"healthy to the end", nil, series(60), Promote, CodeMet, 60, 60, "all criteria held"},
		{"healthy and longer", nil, series(80), Promote, CodeMet, 60, 60, "all criteria held"},
		{"13 of 240 failed", nil, then(nil, 1, requests(240), errorsOf(13)), Rollback, CodeOver, 1, 1, "13 of 240 requests failed (5.4 %); limit 1 %"},
		{"exactly the limit is not over", nil, series(60, errorsOf(1)), Hold, CodeCriteria, 60, 60, "promotion demands <0.005"},
		{"just over the limit", nil, then(nil, 1, requests(1000), errorsOf(11)), Rollback, CodeOver, 1, 1, "(1.1 %); limit 1 %"},
		{"too few to say", nil, series(3, requests(16), errorsOf(16)), Hold, CodeWatching, 3, 3, "3 of 60"},
		{"enough together", nil, series(4, requests(16), errorsOf(16)), Rollback, CodeOver, 4, 4, "64 of 64"},
		{"a single failure does not decide", nil, then(nil, 1, requests(60), errorsOf(1)), Hold, CodeWatching, 1, 1, "nothing speaks against"},
		{"but does at the end", func(c *Config) { c.Strategy.MonitoringMinutes = 1 }, then(nil, 1, requests(60), errorsOf(1)), Rollback, CodeOver, 1, 1, "1 of 60"},
		{"late failure", nil, then(series(50), 10, errorsOf(20)), Rollback, CodeOver, 51, 51, ""},
		{"late failure too small for the whole watch", nil, then(series(55), 5, errorsOf(3)), Rollback, CodeOver, 58, 58, "9 of 400"},
		{"slow", nil, series(1, slow(100, 6)), Rollback, CodeOver, 1, 1, "6 of 100 requests took longer than 1000 ms"},
		{"exactly five per cent slow", nil, series(60, slow(5, 5)), Hold, CodeCriteria, 60, 60, "promotion demands <500"},
		{"slower than promotion wants", nil, series(60, slow(6, 0)), Hold, CodeCriteria, 60, 60, "promotion demands <500"},
		{"slowness never counted", nil, series(60, func(w *Window) { w.Canary.Slow = nil }), Hold, CodeUnknown, 60, 60, "were not counted"},
		{"slowness counted at a stricter limit only", nil, series(60, func(w *Window) { w.Canary.Slow = map[string]int64{"400": 4} }), Promote, CodeMet, 60, 60, ""},
		{"slowness counted at a looser limit", nil, series(1, func(w *Window) { w.Canary.Slow = map[string]int64{"2000": 6} }), Rollback, CodeOver, 1, 1, ""},
		{"throughput", nil, series(1, completed(89)), Rollback, CodeOver, 1, 1, "89 of 100 dispatched"},
		{"throughput at the limit", nil, series(60, completed(90)), Promote, CodeMet, 60, 60, ""},
		{"throughput at a limit that binary numbers miss", func(c *Config) { c.Strategy.RollbackThresholds.ThroughputDegradation = 0.3 }, series(60, completed(70)), Promote, CodeMet, 60, 60, ""},
		{"throughput as bad as the baseline's", nil, series(60, completed(80), func(w *Window) { w.Baseline.Completed = ptr(int64(1520)) }), Promote, CodeMet, 60, 60, ""},
		{"hangs", nil, then(series(10), 5, func(w *Window) {
			w.Canary = Counts{Dispatched: ptr(int64(100)), Completed: ptr(int64(0))}
		}), Rollback, CodeOver, 11, 11, "400 of 500"},
		{"less traffic than its share", nil, series(60, shareOnly, func(w *Window) { w.Canary.Requests = 70 }), Rollback, CodeOver, 3, 3, "lets expect"},
		{"its share", nil, series(60, shareOnly), Promote, CodeMet, 60, 60, ""},
		{"throughput never measured", nil, series(60, shareOnly, func(w *Window) { w.Baseline = Counts{} }), Hold, CodeUnknown, 60, 60, "throughput was not measured"},
		{"throughput has no source", func(c *Config) { c.Absent = map[string]string{Throughput: "batch"} }, series(60, shareOnly, func(w *Window) { w.Baseline = Counts{} }), Promote, CodeMet, 60, 60, ""},
		{"satisfaction missing", nil, series(60, satisfied(nil)), Hold, CodeUnknown, 60, 60, "satisfaction score was not measured"},
		{"satisfaction has no source but is demanded", func(c *Config) { c.Absent = map[string]string{Satisfaction: "none"} }, series(60, satisfied(nil)), Hold, CodeUnknown, 60, 60, "no source"},
		{"satisfaction not demanded", func(c *Config) { delete(c.Strategy.PromotionCriteria, Satisfaction) }, series(60, satisfied(nil)), Promote, CodeMet, 60, 60, ""},
		{"satisfaction at the bound", nil, series(60, satisfied(ptr(0.95))), Hold, CodeCriteria, 60, 60, "0.95; promotion demands >0.95"},
		{"drift of a model", nil, series(1, ofModel, drifts(0.31)), Rollback, CodeDrift, 1, 0, "drift score reached 0.31; limit 0.3"},
		{"drift at the limit", nil, series(60, ofModel, drifts(0.3)), Promote, CodeMet, 60, 60, ""},
		{"drift without a model", nil, series(60, drifts(0.9)), Promote, CodeMet, 60, 60, ""},
		{"drift of a model not measured", nil, series(60, ofModel), Hold, CodeUnknown, 60, 60, "drift was not measured"},
		{"drift of a model the change says", func(c *Config) { c.ModelChange = true }, series(1, drifts(0.31)), Rollback, CodeDrift, 1, 0, ""},
		{"an alert", nil, then(series(10), 1, alert), Rollback, CodeAlert, 11, 10, "a critical alert fires"},
		{"an alert beside unreadable numbers", nil, series(1, alert, state(Failed)), Rollback, CodeAlert, 1, 0, ""},
		{"drift in a stale window does not count", nil, series(1, ofModel, drifts(0.9), state(Stale)), Hold, CodeMissing, 1, 0, "stale"},
		{"no fresh window ever", nil, series(200, state(Failed)), Hold, CodeMissing, 200, 0, "could not be read"},
		{"bad numbers in ambiguous windows", nil, series(5, errorsOf(100), state(Ambiguous)), Hold, CodeMissing, 5, 0, "ambiguous"},
		{"fresh without traffic is empty", nil, series(60, func(w *Window) { w.Canary, w.State = Counts{}, Fresh }), Hold, CodeMissing, 60, 0, "no traffic"},
		{"downtime extends the watch", nil, then(then(series(30), 30, state(Stale)), 30), Promote, CodeMet, 90, 60, ""},
		{"missing for too long by policy", func(c *Config) { c.MissingRollbackSeconds = 600 }, then(series(5), 20, state(Stale)), Rollback, CodeMissing, 15, 5, "10 minutes"},
		{"shared incident", nil, then(series(10), 10, errorsOf(5), baseErrors(95)), Hold, CodeBaseline, 20, 10, "baseline itself"},
		{"shared incident that ends", nil, then(then(series(10), 5, errorsOf(5), baseErrors(95)), 53), Promote, CodeMet, 66, 60, ""},
		{"shared incident for 15 minutes", nil, then(series(10), 30, errorsOf(5), baseErrors(95)), Rollback, CodeBaseline, 25, 10, "15 minutes"},
		{"worse than a sick baseline", nil, then(series(10), 10, errorsOf(50), baseErrors(95)), Rollback, CodeOver, 11, 10, ""},
		{"neither nor: extended once", nil, series(119, errorsOf(1)), Hold, CodeWatching, 119, 119, "119 of 120"},
		{"neither nor to the end of the extension", nil, series(130, errorsOf(1)), Hold, CodeCriteria, 120, 120, ""},
		{"good in the extension", func(c *Config) {
			c.Strategy.MonitoringMinutes = 10
			c.Strategy.PromotionCriteria[ErrorRate] = Criterion{LessEqual, 0.005}
		}, then(series(10, errorsOf(1)), 11), Promote, CodeMet, 20, 20, ""},
		{"at the bound in the extension", func(c *Config) { c.Strategy.MonitoringMinutes = 10 }, then(series(10, errorsOf(1)), 11), Hold, CodeCriteria, 20, 20, "0.5 %"},
		{"bad after the extension", nil, then(series(120, errorsOf(1)), 5, errorsOf(10)), Rollback, CodeOver, 121, 120, ""},
		{"few requests to the end", nil, series(60, func(w *Window) { w.Canary.Requests = 0; scale(&w.Canary, 0); w.Canary.Dispatched = ptr(int64(0)) }), Hold, CodeMissing, 60, 0, ""},
		{"too small a sample at the end", func(c *Config) { c.Strategy.MonitoringMinutes = 2 }, series(2, requests(20)), Hold, CodeSample, 2, 2, "40 requests are too few"},
		{"disabled", func(c *Config) { c.Strategy.Enabled = false }, series(60), Hold, CodeDisabled, 0, 0, "disabled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{Strategy: Default()}
			if c.config != nil {
				c.config(&cfg)
			}
			v, err := Judge(cfg, c.windows)
			if err != nil {
				t.Fatal(err)
			}
			if v.Verdict != c.want || v.Evidence.Code != c.code || v.AtSeq != c.at || v.ObservedMinutes != c.minutes || !strings.Contains(v.Reason, c.says) {
				t.Errorf("got %s (%s) at %d after %v min: %s", v.Verdict, v.Evidence.Code, v.AtSeq, v.ObservedMinutes, v.Reason)
			}
		})
	}
}

func TestJudgeRefusesUnorderedWindows(t *testing.T) {
	if _, err := Judge(Config{Strategy: Default()}, []Window{win(2), win(1)}); err == nil {
		t.Error("seq fell and nobody said so")
	}
	if _, err := Judge(Config{Strategy: Default(), Modes: map[string]Mode{ErrorRate: "psychic"}}, nil); err == nil {
		t.Error("an unknown mode was taken")
	}
}

// The judge's memory must not grow, and folding through JSON must not matter.
func TestWatchIsSmallAndSerialisable(t *testing.T) {
	cfg := Config{Strategy: Default()}
	var s Watch
	for i := range 2000 {
		w := win(int64(i+1), requests(int64(1e6+i)), func(w *Window) { scale(&w.Baseline, 19e6); w.Seconds = 1.7 }, drifts(0.01))
		next, v := cfg.Fold(s, w, false)
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1500 {
			t.Fatalf("%d bytes after %d windows: %s", len(b), i, b)
		}
		var again Watch
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		next2, v2 := cfg.Fold(again, w, false)
		if diff := cmp.Diff(next, next2) + cmp.Diff(v, v2); diff != "" {
			t.Fatal(diff)
		}
		s = next
	}
}

// TestJudgeAgainstTheSpecification restates the specification for streams whose baseline is
// healthy and whose windows are a minute long: what may be promoted, and what
// must be rolled back at the latest when monitoring ends.
func TestJudgeAgainstTheSpecification(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Strategy: Default()}
		cfg.Strategy.MonitoringMinutes = 8
		n := rapid.IntRange(0, 20).Draw(t, "windows")
		var ws []Window
		for i := range n {
			req := rapid.SampledFrom([]int64{0, 10, 60, 100, 1000}).Draw(t, "requests")
			rate := rapid.SampledFrom([]int64{0, 0, 4, 8, 12, 50}).Draw(t, "per mille")
			over := rapid.SampledFrom([]int64{0, 0, 40, 49, 51, 60}).Draw(t, "slow per mille")
			w := win(int64(i+1), requests(req), errorsOf(req*rate/1000), slow(req*over/1000, req*over/2000), state(Signal(rapid.SampledFrom([]string{"", "", "", "stale", "error"}).Draw(t, "state"))))
			if rapid.IntRange(0, 3).Draw(t, "score") == 0 {
				w.Satisfaction = nil
			}
			ws = append(ws, w)
		}
		v, err := Judge(cfg, ws)
		if err != nil {
			t.Fatal(err)
		}
		var req, bad, late, latePromote, scored int64
		mins, score := 0, 0.0
		for _, w := range ws {
			if w.Seq > v.AtSeq || w.State != "" || w.Canary.Requests == 0 {
				continue
			}
			mins++
			req += w.Canary.Requests
			bad += w.Canary.Errors
			late += w.Canary.Slow["1000"]
			latePromote += w.Canary.Slow["500"]
			if w.Satisfaction != nil {
				scored += w.Canary.Requests
				score += *w.Satisfaction * float64(w.Canary.Requests)
			}
		}
		over := bad*100 > req || late*20 > req
		switch v.Verdict {
		case Promote:
			if mins < 8 || req < 50 || bad*1000 >= req*5 || latePromote*20 >= req || scored < 50 || score/float64(max(1, scored)) <= 0.95 {
				t.Fatalf("promoted after %d min with %d/%d errors, %d/%d slow, score %v/%d", mins, bad, req, latePromote, req, score, scored)
			}
		case Hold:
			if v.Evidence.Ended && over && req >= 50 {
				t.Fatalf("held at the end though over a limit: %s", v.Reason)
			}
			if mins >= 16 && bad*1000 < req*5 && latePromote*20 < req && scored >= 50 && req >= 50 {
				t.Fatalf("held what meets all criteria: %s", v.Reason)
			}
		case Rollback:
			worst := false
			for i := range ws {
				if ws[i].Seq <= v.AtSeq && ws[i].State == "" && (ws[i].Canary.Errors*100 > ws[i].Canary.Requests || ws[i].Canary.Slow["1000"]*20 > ws[i].Canary.Requests) {
					worst = true
				}
			}
			if !worst {
				t.Fatalf("rolled back though no window was over a limit: %s", v.Reason)
			}
		}
	})
}

func TestPercentTellsFromTheLimit(t *testing.T) {
	for _, c := range []struct {
		share, limit float64
		want         string
	}{{13.0 / 240, 0.01, "5.4 %"}, {0.01, 0.01, "1 %"}, {0.01004, 0.01, "1.004 %"}, {1, 0.01, "100 %"}, {0, 0.01, "0 %"}, {0.07, 0.1, "7 %"}} {
		if got := percent(c.share, c.limit); got != c.want {
			t.Errorf("%v: got %q, want %q", c.share, got, c.want)
		}
	}
	if got := perCent(0.07); got != "7 %" {
		t.Error(got)
	}
}

func ExampleJudge() {
	v, _ := Judge(Config{Strategy: Default()}, []Window{{
		Seq: 1, Seconds: 60, Weight: 5,
		Canary:   Counts{Requests: 240, Errors: 13, Slow: map[string]int64{"500": 3, "1000": 0}},
		Baseline: Counts{Requests: 4560, Errors: 4, Slow: map[string]int64{"500": 40, "1000": 1}},
	}})
	fmt.Println(v.Verdict, "after", v.ObservedMinutes, "minute:", v.Reason)
	// Output: rollback after 1 minute: 13 of 240 requests failed (5.4 %); limit 1 %
}

func BenchmarkFold(b *testing.B) {
	cfg := Config{Strategy: Default()}.WithDefaults()
	var s Watch
	w := win(1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Seq = int64(i + 1)
		s, _ = cfg.Fold(s, w, true)
	}
}
