package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/rule/canary"
)

const watchEvery = 500 * time.Millisecond

func (a *app) rolloutWatch() *cobra.Command {
	var run bool
	c := &cobra.Command{
		Use: "watch TARGET", Short: "see a rollout as it goes, until it has ended", Args: cobra.ExactArgs(1),
		Long: "Shows the rollout on a target until it has ended: drawn anew on a terminal, a line\n" +
			"for each thing that changes in a pipe. With --run it also carries the rollout out,\n" +
			"as `govern serve` does, and ends with it. Exit code 0: the candidate has all traffic;\n" +
			"1: it was taken back.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if run {
				return a.watchRunning(cmd.Context(), args[0])
			}
			_, s, err := a.session(cmd.Context(), "govern rollout watch")
			if err != nil {
				return err
			}
			defer s.Close()
			return a.watch(cmd.Context(), s, args[0], false)
		},
	}
	c.Flags().BoolVar(&run, "run", false, "carry rollouts out here, too")
	return c
}

// watchRunning serves and supervises in this process for as long as it watches.
func (a *app) watchRunning(ctx context.Context, target string) error {
	w, err := a.repo(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- a.Serve(ctx, w, ServeOptions{Supervise: true, Ready: func(string, string) { close(ready) }})
	}()
	select {
	case err := <-done:
		return err
	case <-ready:
	}
	s, err := a.OpenSession(ctx, w, "govern rollout watch", "local")
	if err == nil {
		err = a.watch(ctx, s, target, true)
		err = errors.Join(err, s.Close())
	}
	cancel()
	if served := <-done; served != nil && err == nil {
		err = served
	}
	return err
}

// watch shows a target until its rollout has ended. With patient set it waits
// for one to begin.
func (a *app) watch(ctx context.Context, s Session, target string, patient bool) error {
	v := a.viewer(s.Engine() == nil)
	var last *canary.Run
	for {
		t, err := s.Client().Target(ctx, target)
		if err != nil {
			if ctx.Err() != nil {
				return nil // somebody stopped watching
			}
			return err
		}
		st, err := targetState(t)
		if err != nil {
			return err
		}
		if err := v.show(t, st); err != nil {
			return err
		}
		if st.Run == nil && len(st.Queue) == 0 && (last != nil || !patient) {
			v.end()
			return watched(st, last)
		}
		if st.Run != nil {
			last = st.Run
		}
		select {
		case <-ctx.Done():
			v.end()
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// watched tells how a rollout ended that was seen running.
func watched(st canary.State, last *canary.Run) error {
	if last == nil || last.Kind != canary.Rollout {
		return nil
	}
	for _, e := range st.Ended {
		if e.Change == last.Change && e.Attempt == last.Attempt && e.How != "finished" {
			return Exit(ExitRefused)
		}
	}
	return nil
}

// viewer draws a target again and again.
type viewer interface {
	show(t client.Target, st canary.State) error
	end()
}

func (a *app) viewer(supervised bool) viewer {
	if a.output == "text" && a.terminal(a.Stdout) {
		return &screenView{w: a.Stdout, supervised: supervised}
	}
	return &lineView{a: a}
}

// screenView draws over what it drew before.
type screenView struct {
	w          io.Writer
	supervised bool // somebody carries rollouts out
	drawn      int
}

func (v *screenView) show(t client.Target, st canary.State) error {
	lines := targetLines(t, st, v.supervised)
	if r := st.Run; r != nil {
		lines = append(lines, "", "traffic "+bar(float64(r.Live)/100))
		if need := needed(r); need > 0 {
			lines = append(lines, "time    "+bar(r.Watch.Observed/60/need))
		}
	}
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, l := range lines {
		b.WriteString("\x1b[2K" + clip(printable(l), 80) + "\n")
	}
	b.WriteString("\x1b[J")
	v.drawn = len(lines)
	_, err := io.WriteString(v.w, b.String())
	return err
}

func (v *screenView) end() {}

// bar is a share from 0 to 1 in 40 columns.
func bar(x float64) string {
	const width = 40
	n := int(min(max(x, 0), 1)*width + 0.5)
	return strings.Repeat("█", n) + strings.Repeat("░", width-n) + fmt.Sprintf(" %3.0f %%", min(max(x, 0), 1)*100)
}

// clip cuts a line for a terminal that must not wrap it.
func clip(s string, columns int) string {
	r := []rune(s)
	if len(r) <= columns {
		return s
	}
	return string(r[:columns-1]) + "…"
}

// lineView says what changed, a line each; JSON as one object a line.
type lineView struct {
	a    *app
	last string
}

func (v *lineView) show(t client.Target, st canary.State) error {
	now := oneLine(t, st)
	if now == v.last {
		return nil
	}
	v.last = now
	if v.a.output == "text" {
		_, err := fmt.Fprintln(v.a.Stdout, printable(now))
		return err
	}
	return v.a.line(t)
}

func (v *lineView) end() {}

// oneLine is a target in one line. Minutes are whole, so that a line stands for
// something that happened and not for time that passed.
func oneLine(t client.Target, st canary.State) string {
	r := st.Run
	if r == nil {
		return t.Name + ": " + t.Summary
	}
	s := fmt.Sprintf("%s: %s attempt %d", t.Name, r.Change, r.Attempt)
	if r.Step < len(r.Plan.Steps) {
		s += fmt.Sprintf(", step %d of %d (%s)", r.Step+1, len(r.Plan.Steps), r.Plan.Steps[r.Step].Name)
	}
	s += fmt.Sprintf(", %d %% live, %s", r.Live, phaseWords(r))
	if need := needed(r); need > 0 && r.Phase == canary.Watching {
		s += fmt.Sprintf(", %.0f of %s min", r.Watch.Observed/60, short2(need))
	}
	if r.Frozen != "" {
		s += ", frozen: " + r.Frozen
	}
	if r.Ending != nil {
		s += ": " + r.Ending.Reason
	}
	return s
}
