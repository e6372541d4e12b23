package wire

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/governhq/govern/internal/edge/deploy"
	"github.com/governhq/govern/internal/edge/traffic"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/policy"
)

// Deployer runs commands of targets.
type Deployer struct{ *deploy.Runner }

var _ engine.Deployer = Deployer{}

// Deploy brings an instance up.
func (d Deployer) Deploy(ctx context.Context, t policy.Target, in engine.Instance) error {
	return d.Runner.Deploy(ctx, t, deploy.Instance(in))
}

// Undeploy takes an instance down.
func (d Deployer) Undeploy(ctx context.Context, t policy.Target, in engine.Instance) error {
	return d.Runner.Undeploy(ctx, t, deploy.Instance(in))
}

// Healthy asks an instance for its health.
func (d Deployer) Healthy(ctx context.Context, t policy.Target, in engine.Instance) error {
	return d.Runner.Healthy(ctx, t, deploy.Instance(in))
}

// Identify asks an instance which artifact it runs.
func (d Deployer) Identify(ctx context.Context, t policy.Target, in engine.Instance) (gov.Digest, error) {
	return d.Runner.Identify(ctx, t, deploy.Instance(in))
}

// Proxy is the built-in reverse proxy as a supervisor drives it.
type Proxy struct{ *traffic.Proxy }

var _ engine.Traffic = Proxy{}

// Route names the upstreams by base URL.
func (p Proxy) Route(stable, candidate string) error {
	return p.SetUpstreams(traffic.Upstreams{Stable: stable, Candidate: candidate})
}

// Observe reads the weight back.
func (p Proxy) Observe(ctx context.Context) (int, error) {
	st, err := p.Proxy.Observe(ctx)
	return st.Weight, err
}

// Windows gives closed windows in the judge's terms. A request that is still
// under way is no lost throughput: what a window completed stands against what
// was dispatched by the end of the window before it.
func (p Proxy) Windows(after int64) ([]canary.Window, error) {
	from := after
	if from > 0 {
		from--
	}
	ws, err := p.Proxy.Windows(int(from))
	if err != nil {
		return nil, err
	}
	var out []canary.Window
	var before traffic.Window
	for _, w := range ws {
		if int64(w.Seq) > after {
			out = append(out, judged(w, before))
		}
		before = w
	}
	return out, nil
}

// judged gives one window in the judge's terms, with what was dispatched before it.
func judged(w, before traffic.Window) canary.Window {
	if w.Weight == 0 || before.Weight == 0 {
		before = traffic.Window{} // nobody's, or another candidate's
	}
	out := canary.Window{
		Seq: int64(w.Seq), Seconds: w.Seconds, Weight: float64(w.Weight),
		Canary: counts(w.Canary, before.Canary), Baseline: counts(w.Baseline, before.Baseline), State: canary.Signal(w.State),
	}
	if out.State == canary.Empty && before.Canary.Dispatched > 0 {
		out.State = canary.Fresh // it owes answers, which says something about it
	}
	return out
}

func counts(a, before traffic.Arm) canary.Counts {
	return canary.Counts{Requests: a.Requests, Errors: a.Errors, Dispatched: &before.Dispatched, Completed: &a.Completed, Slow: a.Slow}
}

// OpenProxy starts the proxy of a target and stops it when ctx is done.
func OpenProxy(cfg traffic.Config, log *slog.Logger) func(context.Context, string, policy.Target, []int, int64) (engine.Traffic, error) {
	return func(ctx context.Context, name string, t policy.Target, limitsMS []int, seq int64) (engine.Traffic, error) {
		if t.Traffic.Driver != "proxy" {
			return nil, gov.Errorf(gov.KindInvalid, "traffic_driver_unknown", "target %s wants the traffic driver %q, which is not built in", name, t.Traffic.Driver).
				WithHint("use driver: proxy in governance.yaml")
		}
		for _, signal := range slices.Sorted(maps.Keys(t.Signals)) {
			if src := t.Signals[signal].Source; src != "proxy" && src != "push" && src != "none" {
				return nil, gov.Errorf(gov.KindUnavailable, "signal_source_missing", "target %s takes %s from %q, which this version does not read; nothing is promoted blind", name, signal, src).
					WithHint("use proxy, push or none in governance.yaml")
			}
		}
		c := cfg
		c.Listen, c.LimitsMS, c.FirstSeq, c.Log = t.Traffic.Listen, limitsMS, int(seq)+1, log
		p, err := traffic.New(c)
		if err != nil {
			return nil, err
		}
		if err := p.SetUpstreams(traffic.Upstreams{Stable: t.Traffic.Stable}); err != nil {
			return nil, err
		}
		if err := p.Start(ctx); err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() {
			if err := p.Stop(context.WithoutCancel(ctx)); err != nil {
				log.Warn("proxy did not drain", "target", name, "err", err)
			}
		})
		return Proxy{p}, nil
	}
}
