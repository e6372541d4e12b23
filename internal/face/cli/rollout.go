package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
)

func (a *app) rollout() *cobra.Command {
	return group(
		"rollout", "carry a change out step by step, and take it back", groupRollout,
		a.rolloutStart(), a.rolloutStatus(), a.rolloutWatch(),
		a.rolloutCommand("pause", "stop where it is: no next step until resume"),
		a.rolloutCommand("resume", "go on after a pause"),
		a.rolloutCommand("abort", "stop, and give all traffic back to stable"),
		a.rolloutCommand("rollback", "undo: back to stable, also after 100 %"),
		a.rolloutPromote(), a.rolloutUnblock(), a.rolloutHistory(),
	)
}

// targetState decodes the folded state of a target.
func targetState(t client.Target) (canary.State, error) {
	var st canary.State
	if err := json.Unmarshal(t.State, &st); err != nil {
		return st, gov.Errorf(gov.KindUnavailable, "answer_unreadable", "the state of %s cannot be read: %w", t.Name, err).WithHint("govern version, here and on the server")
	}
	return st, nil
}

func (a *app) rolloutStart() *cobra.Command {
	var in client.RolloutRequest
	c := &cobra.Command{
		Use: "start ID", Short: "begin the rollout of a change, or put it in the queue", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var err error
			if in.Change, err = changeArg(args[0]); err != nil {
				return err
			}
			_, s, err := a.session(ctx, "govern rollout start")
			if err != nil {
				return err
			}
			defer s.Close()
			c, err := s.Client().StartRollout(ctx, in)
			if err != nil {
				return err
			}
			targets, err := s.Client().Targets(ctx)
			if err != nil {
				return err
			}
			if s.Engine() != nil {
				a.talk("note: nothing supervises rollouts yet; start: govern serve")
			}
			return a.give(c, func(w io.Writer) {
				for _, t := range targets.Targets {
					if in.Target == "" || in.Target == t.Name {
						fmt.Fprintln(w, printable(t.Summary))
					}
				}
			})
		},
	}
	c.Flags().StringVar(&in.Target, "target", "", "one target only (default every production target of the change)")
	c.Flags().BoolVar(&in.Retry, "retry", false, "a new attempt after one that ended, with fresh evidence")
	return c
}

func (a *app) rolloutStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status [TARGET]", Short: "what runs where, and how far it is", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			_, s, err := a.session(ctx, "govern rollout status")
			if err != nil {
				return err
			}
			defer s.Close()
			if len(args) == 1 {
				t, err := s.Client().Target(ctx, args[0])
				if err != nil {
					return err
				}
				return a.giveTarget(t, s.Engine() == nil)
			}
			list, err := s.Client().Targets(ctx)
			if err != nil {
				return err
			}
			return a.give(list, func(w io.Writer) {
				if len(list.Targets) == 0 {
					fmt.Fprintln(w, "nothing was ever rolled out here")
				}
				for _, t := range list.Targets {
					fmt.Fprintf(w, "%-12s %3d %%  %s\n", t.Name, t.Weight, printable(t.Summary))
				}
				if s.Engine() != nil && slices.ContainsFunc(list.Targets, underWay) {
					fmt.Fprintln(w, unsupervised)
				}
			})
		},
	}
}

// unsupervised is said where a rollout is under way and the log is open in this
// process: govern serve, which holds it, does not run.
const unsupervised = "nobody supervises, so weights are as planned, not as observed: govern serve"

// underWay tells whether a target has a rollout.
func underWay(t client.Target) bool {
	st, err := targetState(t)
	return err == nil && st.Run != nil
}

// giveTarget prints one target in full; supervised tells whether somebody
// carries its rollout out.
func (a *app) giveTarget(t client.Target, supervised bool) error {
	st, err := targetState(t)
	if err != nil {
		return err
	}
	return a.give(t, func(w io.Writer) {
		for _, line := range targetLines(t, st, supervised) {
			fmt.Fprintln(w, printable(line))
		}
	})
}

// targetLines says how a target stands: what is stable, what rolls out, what
// waits, what is blocked.
func targetLines(t client.Target, st canary.State, supervised bool) []string {
	out := []string{t.Summary}
	if st.Stable != nil {
		out = append(out, fmt.Sprintf("stable    %s%s since %s", st.Stable.Artifact.Digest.Short(), of(st.Stable.Change), stamp(st.Stable.At)))
	}
	if st.Run != nil {
		out = append(out, runLines(st, supervised)...)
	}
	for _, q := range st.Queue {
		out = append(out, fmt.Sprintf("queued    %s with %s since %s", q.Change, q.Artifact.Digest.Short(), stamp(q.At)))
	}
	for _, d := range slices.Sorted(maps.Keys(st.Blocked)) {
		b := st.Blocked[d]
		out = append(out, fmt.Sprintf("blocked   %s (%s, attempt %d): %s", d.Short(), b.Change, b.Attempt, b.Reason),
			fmt.Sprintf("          govern rollout unblock %s --artifact %s -m WHY", st.Target, d))
	}
	return out
}

// runLines says how the rollout under way stands.
func runLines(st canary.State, supervised bool) []string {
	r := st.Run
	out := []string{fmt.Sprintf("rollout   %s, attempt %d, artifact %s %s", r.Change, r.Attempt, r.Artifact.Name, r.Artifact.Digest.Short())}
	if r.Step < len(r.Plan.Steps) {
		s := r.Plan.Steps[r.Step]
		out = append(out, fmt.Sprintf("step      %d of %d: %s", r.Step+1, len(r.Plan.Steps), stepWords(s)))
		if s.Kind == canary.StepTraffic {
			if supervised {
				out = append(out, fmt.Sprintf("traffic   %d %% live, %d %% planned", r.Live, r.Weight))
			} else {
				out = append(out, fmt.Sprintf("traffic   %d %% planned; what is live is not observed", r.Weight))
			}
			out = append(out, measured(r)...)
		}
	}
	if !supervised {
		out = append(out, "watch     "+unsupervised)
	}
	out = append(out, "phase     "+phaseWords(r))
	if r.Frozen != "" {
		out = append(out, fmt.Sprintf("frozen    %s, since %s: the clock stands, nothing is promoted blind", r.Frozen, stamp(r.FrozenAt)))
	}
	if r.Ending != nil {
		out = append(out, fmt.Sprintf("going back (%s): %s", r.Ending.Cause, r.Ending.Reason))
	}
	if r.Latched != nil {
		out = append(out, fmt.Sprintf("verdict   %s at step %s: %s", r.Latched.Verdict.Verdict, r.Latched.Step, r.Latched.Verdict.Reason))
	}
	switch r.Phase {
	case canary.Held:
		out = append(out, "next      govern rollout promote "+st.Target+" -m WHY, or govern rollout abort "+st.Target+" -m WHY")
	case canary.Final:
		if !r.Approved {
			out = append(out, "next      govern approve "+string(r.Change)+" -m WHY   (final, by "+stamp(r.Deadline)+")")
		}
	}
	return out
}

func stepWords(s canary.Step) string {
	switch s.Kind {
	case canary.StepDeploy:
		return s.Name + ", deploy to " + s.Place
	case canary.StepReport:
		return s.Name + ", wait for its report"
	}
	return fmt.Sprintf("%s, %d %% of traffic", s.Name, s.Weight)
}

func phaseWords(r *canary.Run) string {
	s := string(r.Phase)
	if r.Paused {
		s += ", paused"
	}
	if r.Retry != nil {
		s += fmt.Sprintf(", try %d at %s", r.Retry.Try, stamp(r.Retry.At))
	}
	return s
}

// measured is what the watch of the present step has seen against its limits.
func measured(r *canary.Run) []string {
	w, limits := r.Watch, r.Plan.Judge.Strategy.RollbackThresholds
	var out []string
	if need := needed(r); need > 0 {
		out = append(out, fmt.Sprintf("time      %s of %s observed minutes", short2(w.Observed/60), short2(need)))
	}
	c, b := w.Whole.Canary, w.Whole.Baseline
	if c.Requests == 0 {
		return append(out, "requests  none of the candidate yet")
	}
	out = append(out, fmt.Sprintf("errors    %s of %d requests, limit %s; stable %s", share(c.Errors, c.Requests), c.Requests, percent(limits.ErrorRate), share(b.Errors, b.Requests)))
	slow := share(c.Over.AtMost, c.Requests)
	if c.Over.AtLeast != c.Over.AtMost {
		slow = share(c.Over.AtLeast, c.Requests) + " to " + slow
	}
	return append(out, fmt.Sprintf("slow      %s over %s ms, limit 5 %% (p95); stable %s", slow, short2(limits.LatencyP95MS), share(b.Over.AtMost, b.Requests)))
}

// needed is how many observed minutes the present step takes.
func needed(r *canary.Run) float64 {
	if r.Step >= len(r.Plan.Steps) {
		return 0
	}
	m := r.Plan.Steps[r.Step].Seconds / 60
	if r.Watch.Extended {
		m *= 2
	}
	return m
}

func share(n, of int64) string {
	if of == 0 {
		return "-"
	}
	return percent(float64(n) / float64(of))
}

func percent(x float64) string { return short2(x*100) + " %" }

// short2 prints a number with at most two digits behind the point.
func short2(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// rolloutCommand makes one of the commands that need no signature: they stop or
// take back.
func (a *app) rolloutCommand(name, short string) *cobra.Command {
	var because string
	var id string
	c := &cobra.Command{
		Use: name + " TARGET -m WHY", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := why(because); err != nil {
				return err
			}
			in := client.RolloutCommand{Reason: because}
			if id != "" {
				var err error
				if in.Change, err = changeArg(id); err != nil {
					return err
				}
			}
			_, s, err := a.session(ctx, "govern rollout "+name)
			if err != nil {
				return err
			}
			defer s.Close()
			r, err := s.Client().Rollout(ctx, args[0], name, in)
			if err != nil {
				return err
			}
			return a.afterCommand(ctx, s, args[0], r)
		},
	}
	reason(c, &because)
	c.Flags().StringVar(&id, "change", "", "only if this change is the one (abort also takes it out of the queue)")
	return c
}

// afterCommand says how the target stands now.
func (a *app) afterCommand(ctx context.Context, s Session, target string, r client.Receipt) error {
	t, err := s.Client().Target(ctx, target)
	if err != nil {
		return err
	}
	return a.give(struct {
		Receipt client.Receipt `json:"receipt"`
		Target  client.Target  `json:"target"`
	}{r, t}, func(w io.Writer) {
		if !r.Recorded {
			fmt.Fprintln(w, "nothing had to be recorded")
		}
		fmt.Fprintln(w, printable(t.Summary))
	})
}
