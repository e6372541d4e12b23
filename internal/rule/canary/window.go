package canary

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// Signal says whether a window's measurements can be used.
type Signal string

// Only fresh windows count. A window whose state is not written is fresh when
// it saw traffic of the canary and empty otherwise.
const (
	Fresh     Signal = "fresh"
	Empty     Signal = "empty"     // the source answered, there was no traffic of the canary
	Stale     Signal = "stale"     // the source answered with old data
	Failed    Signal = "error"     // the source did not answer
	Ambiguous Signal = "ambiguous" // more than one answer, or not of this step
)

// Window is what was measured in one stretch of time: one JSON line of
// `govern canary judge --windows`.
type Window struct {
	Seq            int64    `json:"seq"`     // >= 1, strictly rising within an attempt
	Seconds        float64  `json:"seconds"` // observed length, > 0
	Weight         float64  `json:"weight"`  // per cent of traffic the canary was given, 0..100
	Canary         Counts   `json:"canary"`
	Baseline       Counts   `json:"baseline,omitzero"`
	Satisfaction   *float64 `json:"satisfaction,omitempty"`
	ModelChange    *bool    `json:"model_change,omitempty"`
	Drift          *float64 `json:"drift,omitempty"`           // >= 0
	CriticalAlerts int64    `json:"critical_alerts,omitempty"` // firing, silenced ones included
	State          Signal   `json:"state,omitempty"`
}

// Counts are one side's counters of one window, as differences, not totals.
//
// Requests finished, Errors of them failed. Dispatched were sent on and
// Completed came back, both or neither known; a request may be dispatched in
// one window and completed in the next. Slow counts the finished requests that
// took longer than so many milliseconds; the key is the limit in decimal.
type Counts struct {
	Requests   int64            `json:"requests"`
	Errors     int64            `json:"errors"`
	Dispatched *int64           `json:"dispatched,omitempty"`
	Completed  *int64           `json:"completed,omitempty"`
	Slow       map[string]int64 `json:"slow,omitempty"`
}

// IsZero tells whether nothing was given.
func (c Counts) IsZero() bool {
	return c.Requests == 0 && c.Errors == 0 && c.Dispatched == nil && c.Completed == nil && len(c.Slow) == 0
}

const (
	maxCount         = 1 << 40 // sums of eight million windows fit 63 bits
	maxWindowSeconds = 24 * 60 * 60
)

// ParseWindow reads one window, strictly: unknown and duplicate keys, wrong
// types, missing seq, seconds, weight or canary, and numbers that cannot be
// counts are refused.
func ParseWindow(line []byte) (Window, error) {
	opts := strict.Options{NoNull: true, MaxBytes: 1 << 16}
	var keys map[string]json.RawMessage
	var w Window
	if err := strict.Unmarshal(line, &keys, opts); err != nil {
		return w, err
	}
	if err := strict.Unmarshal(line, &w, opts); err != nil {
		return Window{}, err
	}
	for _, k := range []string{"seq", "seconds", "weight", "canary"} {
		if _, ok := keys[k]; !ok {
			return Window{}, windowError("%s is missing", k)
		}
	}
	if err := w.Validate(); err != nil {
		return Window{}, err
	}
	return w, nil
}

// ParseWindows reads JSON lines; empty lines are skipped, seq must rise. The
// error names the line.
func ParseWindows(data []byte) ([]Window, error) {
	var out []Window
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		w, err := ParseWindow(line)
		if err == nil && len(out) > 0 && w.Seq <= out[len(out)-1].Seq {
			err = windowError("seq %d does not follow %d", w.Seq, out[len(out)-1].Seq)
		}
		if err != nil {
			return nil, atLine(n, err)
		}
		out = append(out, w)
	}
	return out, nil
}

func atLine(n int, err error) error {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		c := *e
		c.Message = "windows, line " + strconv.Itoa(n) + ": " + e.Message
		return &c
	}
	return err
}

func windowError(format string, args ...any) error {
	return gov.Errorf(gov.KindInvalid, "canary_window_invalid", "the window does not add up: "+format, args...)
}

// Validate checks ranges and that the counts do not contradict each other.
func (w Window) Validate() error {
	switch {
	case w.Seq < 1 || w.Seq > maxCount:
		return windowError("seq is %d; it counts from 1", w.Seq)
	case !(w.Seconds > 0 && w.Seconds <= maxWindowSeconds):
		return windowError("seconds is %s; it must be more than 0 and at most a day", num(w.Seconds))
	case outside(w.Weight, 0, 100):
		return windowError("weight is %s; it must be 0 to 100", num(w.Weight))
	case w.CriticalAlerts < 0 || w.CriticalAlerts > maxCount:
		return windowError("critical_alerts is %d", w.CriticalAlerts)
	case w.Drift != nil && outside(*w.Drift, 0, math.MaxFloat64):
		return windowError("drift is %s", num(*w.Drift))
	case w.Satisfaction != nil && outside(*w.Satisfaction, -math.MaxFloat64, math.MaxFloat64):
		return windowError("satisfaction is %s", num(*w.Satisfaction))
	}
	switch w.State {
	case "", Fresh, Empty, Stale, Failed, Ambiguous:
	default:
		return windowError("state %q is none of fresh, empty, stale, error, ambiguous", clip(string(w.State)))
	}
	if err := w.Canary.validate("canary"); err != nil {
		return err
	}
	if w.State == Empty && w.Canary.traffic() {
		return windowError("it is called empty but the canary had traffic")
	}
	return w.Baseline.validate("baseline")
}

// limit is a count of requests that took longer than Above milliseconds.
type limit struct {
	Above float64
	N     int64
}

func (c Counts) validate(side string) error {
	for _, n := range []int64{c.Requests, c.Errors, deref(c.Dispatched), deref(c.Completed)} {
		if n < 0 || n > maxCount {
			return windowError("%s counts %d of something", side, n)
		}
	}
	if c.Errors > c.Requests {
		return windowError("%s has %d errors in %d requests", side, c.Errors, c.Requests)
	}
	if (c.Dispatched == nil) != (c.Completed == nil) {
		return windowError("%s has one of dispatched and completed; both or neither belong there", side)
	}
	limits, err := c.slow(side)
	if err != nil {
		return err
	}
	for _, a := range limits {
		if a.N < 0 || a.N > c.Requests {
			return windowError("%s has %d slow requests in %d", side, a.N, c.Requests)
		}
		for _, b := range limits {
			if a.Above == b.Above && a != b || a.Above < b.Above && a.N < b.N {
				return windowError("%s has fewer requests over %s ms than over %s ms", side, num(a.Above), num(b.Above))
			}
		}
	}
	return nil
}

const maxSlow = 32 // limits a window may count at

// slow reads the limits of the map.
func (c Counts) slow(side string) ([]limit, error) {
	if len(c.Slow) > maxSlow {
		return nil, windowError("%s counts slow requests at %d limits; at most %d", side, len(c.Slow), maxSlow)
	}
	out := make([]limit, 0, len(c.Slow))
	for _, k := range slices.Sorted(maps.Keys(c.Slow)) {
		n := c.Slow[k]
		ms, err := strconv.ParseFloat(k, 64)
		if !jsonNumber(k) || err != nil || ms < 0 {
			return nil, windowError("%s has the slow limit %q; it is a number of milliseconds", side, clip(k))
		}
		out = append(out, limit{ms, n})
	}
	return out, nil
}

// bounds says how many requests took longer than ms: at least and at most.
// They are equal when that very limit was counted; otherwise the neighbouring
// limits enclose the answer.
func (c Counts) bounds(ms float64) Tail {
	t := Tail{0, c.Requests}
	limits, _ := c.slow("") // validated before
	for _, l := range limits {
		if l.Above >= ms {
			t.AtLeast = max(t.AtLeast, l.N)
		}
		if l.Above <= ms {
			t.AtMost = min(t.AtMost, l.N)
		}
	}
	return t
}

func (c Counts) traffic() bool { return c.Requests > 0 || deref(c.Dispatched) > 0 }

func deref(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}

// signal is the state that counts: a window that claims to be fresh without
// traffic of the canary is empty, whatever it says.
func (w Window) signal() Signal {
	if w.State != "" && w.State != Fresh {
		return w.State
	}
	if !w.Canary.traffic() || w.Weight == 0 {
		return Empty
	}
	return Fresh
}
