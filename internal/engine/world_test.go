package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/policy"
)

const targetPolicy = testPolicy + `targets:
  staging:
    environment: staging
    paths: ["app/**"]
    artifact: app
    deploy: [up]
    undeploy: [down]
    health: "http://staging.example/healthz"
    identify: "http://staging.example/identify"
  prod:
    environment: production
    paths: ["app/**"]
    artifact: app
    traffic: {driver: proxy, listen: "127.0.0.1:1", stable: "http://one.example", candidate: "http://two.example"}
    signals:
      error_rate: proxy
      latency_p95_ms: proxy
      throughput: proxy
      satisfaction_score: push
      drift: {source: none, because: no model}
      critical_alerts: {source: none, because: no alerts here}
    baseline: stable
    deploy: [up]
    undeploy: [down]
    health: /healthz
    identify: /identify
`

// world is what a supervisor acts on: slots that run artifacts, and a proxy.
// Calls can be made to fail, before or after they took effect.
type world struct {
	t       testing.TB
	h       *house
	slots   map[string]gov.Digest // by target and slot
	weight  int
	key     string
	spent   map[string]bool
	windows []canary.Window
	seq     int64
	sets    []int
	deploys int
	pages   []string

	sup   *engine.Supervisor
	watch engine.Watcher
	fresh bool // a new supervisor for every step

	// fail, when set, is asked before and after each effect.
	fail func(what string, after bool) error
}

func digest(s string) gov.Digest { return gov.DigestOf([]byte(s)) }

func newWorld(h *house) *world {
	w := &world{t: h.t, h: h, slots: map[string]gov.Digest{"prod/stable": digest("old")}, spent: map[string]bool{}}
	w.restart()
	return w
}

// restart is a crash: a supervisor that knows nothing but the log.
func (w *world) restart() {
	w.t.Helper()
	w.sup = engine.NewSupervisor(w.h.e, engine.World{
		Deployer: w,
		Traffic: func(_ context.Context, name string, _ policy.Target, _ []int, seq int64) (engine.Traffic, error) {
			if name != "prod" {
				return nil, fmt.Errorf("no traffic at %s", name)
			}
			w.seq = max(w.seq, seq)
			return w, nil
		},
		Page: func(_ context.Context, _, reason string) { w.pages = append(w.pages, reason) },
	})
	good := 0.99
	w.sup.Push("prod", engine.Signals{Satisfaction: &good})
	var err error
	if w.watch, err = w.sup.Watch(w.h.ctx, "prod"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) target() canary.State {
	w.t.Helper()
	st, err := w.h.e.Target(w.h.ctx, "prod")
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// turn lets the supervisor work until nothing moves.
func (w *world) turn() canary.State {
	w.t.Helper()
	for range 12 {
		before := w.h.e.Reader().Size()
		if w.fresh {
			w.restart()
		}
		if err := w.sup.StartDue(w.h.ctx); err != nil {
			w.t.Fatal(err)
		}
		if err := w.watch.Step(w.h.ctx); err != nil && w.fail == nil {
			w.t.Fatal(err)
		}
		if st := w.target(); w.weight > canary.PlannedWeight(st) && w.fail == nil {
			w.t.Fatalf("the candidate has %d %% where %d %% are planned", w.weight, canary.PlannedWeight(st))
		}
		if w.h.e.Reader().Size() == before {
			break
		}
	}
	w.h.check()
	return w.target()
}

// measure gives windows of ten minutes: requests and errors of the candidate,
// beside a baseline that is well.
func (w *world) measure(n int, errs int64) canary.State {
	w.t.Helper()
	for range n {
		w.seq++
		side := func(errs int64) canary.Counts {
			r := int64(1000)
			return canary.Counts{Requests: r, Errors: errs, Dispatched: &r, Completed: &r, Slow: map[string]int64{"500": 1, "1000": 0}}
		}
		w.windows = append(w.windows, canary.Window{Seq: w.seq, Seconds: 600, Weight: float64(w.weight), Canary: side(errs), Baseline: side(1)})
	}
	return w.turn()
}

func (w *world) try(what string, do func()) error {
	if w.fail != nil {
		if err := w.fail(what, false); err != nil {
			return err
		}
	}
	do()
	if w.fail != nil {
		return w.fail(what, true)
	}
	return nil
}

var errPlanted = errors.New("planted")

func slot(in engine.Instance) string { return in.Target + "/" + in.Slot }

func (w *world) Deploy(_ context.Context, _ policy.Target, in engine.Instance) error {
	return w.try("deploy", func() {
		if st := w.target(); st.Stable != nil && w.slots[slot(in)] == st.Stable.Artifact.Digest && in.Target == "prod" {
			w.t.Errorf("%s was deployed over what is stable", in.Artifact.Digest.Short())
		}
		w.slots[slot(in)] = in.Artifact.Digest
		w.deploys++
	})
}

func (w *world) Undeploy(_ context.Context, _ policy.Target, in engine.Instance) error {
	return w.try("undeploy", func() { delete(w.slots, slot(in)) })
}

func (w *world) Healthy(context.Context, policy.Target, engine.Instance) error {
	return w.try("health", func() {})
}

func (w *world) Identify(_ context.Context, _ policy.Target, in engine.Instance) (gov.Digest, error) {
	d, ok := w.slots[slot(in)]
	if !ok {
		return "", gov.Errorf(gov.KindUnavailable, "nobody_home", "nothing answers")
	}
	return d, nil
}

func (w *world) Route(string, string) error { return nil }

func (w *world) Set(_ context.Context, weight int, key string) error {
	if w.spent[key] {
		return gov.Errorf(gov.KindConflict, "key_stale", "replaced")
	}
	return w.try("set", func() {
		if w.key != key {
			w.spent[w.key] = w.key != ""
		}
		if w.weight != weight {
			w.sets = append(w.sets, weight)
		}
		w.weight, w.key = weight, key
	})
}

func (w *world) Observe(context.Context) (int, error) { return w.weight, nil }

func (w *world) Kill(context.Context) error {
	return w.try("kill", func() {
		if w.weight != 0 {
			w.sets = append(w.sets, 0)
		}
		w.spent[w.key], w.weight, w.key = w.key != "", 0, ""
	})
}

func (w *world) Windows(after int64) ([]canary.Window, error) {
	var out []canary.Window
	for _, win := range w.windows {
		if win.Seq > after {
			out = append(out, win)
		}
	}
	return out, nil
}
