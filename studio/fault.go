package studio

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/governhq/govern/audit"
)

// Faults are injected into compose_section for rehearsals. Whether a request is
// hit depends only on Seed and the request's spec, so it can be foretold and
// repeated.
type Faults struct {
	ErrorRate   float64       // share of requests that fail, 0–1
	Latency     time.Duration // how long the slow requests wait
	LatencyRate float64       // share of requests that are slow, 0–1
	Seed        int64
}

// Fault is one injected fault as the audit record names it.
type Fault struct {
	Kind      string `json:"kind"` // "error" or "latency"
	LatencyMS int64  `json:"latency_ms,omitempty"`
}

// maxLatency bounds an injected delay.
const maxLatency = time.Minute

// ParseFaults reads "error_rate=0.05,latency_ms=200,latency_rate=0.5,seed=7";
// every part may be left out, latency_rate is 1 then.
func ParseFaults(s string) (*Faults, error) {
	f := &Faults{LatencyRate: 1}
	seen := map[string]bool{}
	for _, part := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(part, "=")
		var err error
		switch key {
		case "error_rate":
			f.ErrorRate, err = parseRate(value)
		case "latency_rate":
			f.LatencyRate, err = parseRate(value)
		case "latency_ms":
			var ms int64
			ms, err = strconv.ParseInt(value, 10, 64)
			if err == nil && (ms < 0 || ms > maxLatency.Milliseconds()) {
				err = fmt.Errorf("%d is not between 0 and %d", ms, maxLatency.Milliseconds())
			}
			f.Latency = time.Duration(ms) * time.Millisecond
		case "seed":
			f.Seed, err = strconv.ParseInt(value, 10, 64)
		default:
			err = fmt.Errorf("unknown fault; known are error_rate, latency_ms, latency_rate, seed")
		}
		if err == nil && seen[key] {
			err = fmt.Errorf("given twice")
		}
		if err != nil {
			return nil, &Error{Status: 400, Code: "inject_invalid", Message: fmt.Sprintf("inject %q: %v", part, err), Hint: "--inject error_rate=0.05,latency_ms=200"}
		}
		seen[key] = true
	}
	return f, nil
}

func parseRate(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err == nil && !(v >= 0 && v <= 1) {
		err = fmt.Errorf("%s is not between 0 and 1", s)
	}
	return v, err
}

// of tells which faults hit a request: the two halves of a hash of the fault
// seed and the spec, each as a fraction of 2^64, against the rates.
func (f *Faults) of(spec SectionSpec) []Fault {
	sum := sha256.Sum256(fmt.Appendf(nil, "studio/faults/v1\x00%d\x00%d\x00%d\x00%s", f.Seed, spec.Seed, spec.Bars, spec.Name))
	hit := func(b []byte, rate float64) bool { return float64(binary.BigEndian.Uint64(b))/math.Exp2(64) < rate }
	faults := []Fault{}
	if f.Latency > 0 && hit(sum[8:16], f.LatencyRate) {
		faults = append(faults, Fault{Kind: "latency", LatencyMS: f.Latency.Milliseconds()})
	}
	if hit(sum[:8], f.ErrorRate) {
		faults = append(faults, Fault{Kind: "error"})
	}
	return faults
}

// inject lets the faults of a request happen, after they are in the record.
func (o *Orchestrator) inject(ctx context.Context, op *audit.Op, spec SectionSpec) error {
	if o.faults == nil {
		return nil
	}
	faults := o.faults.of(spec)
	if err := op.Set("faults", faults); err != nil {
		return err
	}
	for _, f := range faults {
		if f.Kind == "error" {
			return errInjected
		}
		wait := time.NewTimer(o.faults.Latency)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return &Error{Status: 503, Code: "cancelled", Message: "the caller went away", Err: ctx.Err()}
		}
	}
	return nil
}

var errInjected = &Error{Status: 500, Code: "fault_injected", Message: "this failure was injected for a rehearsal"}
