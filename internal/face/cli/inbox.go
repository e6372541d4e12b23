// inbox.go: written by helper C

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

func (a *app) inbox() *cobra.Command {
	var all, fetch bool
	var as string
	cmd := &cobra.Command{
		Use: "inbox [--all] [--as HANDLE]", Short: "what waits for you", GroupID: groupChange, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.here(cmd.Context(), "inbox", fetch)
			if err != nil {
				return err
			}
			defer h.close()
			if as == "" {
				as = h.me.Handle
			}
			if all {
				as = ""
			} else if as == "" {
				return gov.Errorf(gov.KindInvalid, "viewer_unknown", "neither your signing key nor your git address is in the registry").
					WithHint("govern inbox --all, or govern inbox --as HANDLE")
			}
			box, err := h.s.Client().Inbox(cmd.Context(), as)
			if err != nil {
				return err
			}
			return a.give(box, func(w io.Writer) { printInbox(w, box, now()) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "what waits for anybody")
	cmd.Flags().StringVar(&as, "as", "", "what waits for this handle")
	cmd.Flags().BoolVar(&fetch, "fetch", false, "fetch from "+remoteName+" first")
	cmd.MarkFlagsMutuallyExclusive("all", "as")
	return cmd
}

func printInbox(w io.Writer, box client.Inbox, at time.Time) {
	if len(box.Tasks) == 0 {
		fmt.Fprintln(w, "nothing waits for "+orElse(box.Handle, "anybody"))
		return
	}
	rows := [][]string{{"SINCE", "CHANGE", "WHAT", "COMMAND"}}
	for _, t := range box.Tasks {
		rows = append(rows, []string{age(at.Sub(t.Since)), orElse(string(t.Change), t.Target), t.Requirement, t.Command})
	}
	if width(rows) <= change.ScreenColumns {
		table(w, rows)
		return
	}
	// Too wide: each command on its own line, whole.
	short := make([][]string, len(rows))
	for i, r := range rows {
		short[i] = r[:3]
	}
	for i, line := range tableLines(short) {
		fmt.Fprintln(w, line)
		if i > 0 {
			fmt.Fprintln(w, "    "+printable(rows[i][3]))
		}
	}
}

// width is how many columns table needs.
func width(rows [][]string) int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	sum := max(0, 2*(len(widths)-1))
	for _, n := range widths {
		sum += n
	}
	return sum
}

// age is a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// Pace of waiting: how long a server is asked at once, and how often a log that
// is opened in this process, and a remote, are looked at.
const (
	waitAsk   = 30 * time.Second
	waitOpen  = time.Second
	waitFetch = 10 * time.Second
)

func (a *app) wait() *cobra.Command {
	var state string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait CHANGE-n --for STATE [--timeout 10m]", Short: "wait until a change is allowed, merged or at a stage", GroupID: groupChange,
		Long: "STATE is an answer (allowed, pending, refused), a status (open, merged, reverted, withdrawn),\n" +
			"a stage that is open (canary) or one that is passed (canary:done). Exit code 7 when time is up.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := changeArg(args[0])
			if err != nil {
				return err
			}
			if timeout <= 0 {
				return gov.Errorf(gov.KindInvalid, "timeout_invalid", "a timeout of %s is none", timeout).WithHint("govern wait %s --for %s --timeout 10m", id, orElse(state, "allowed"))
			}
			return a.waitFor(cmd.Context(), id, state, timeout)
		},
	}
	cmd.Flags().StringVar(&state, "for", "", "what to wait for")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long")
	return cmd
}

// waitFor asks again and again, the last time when time is up. A log in this
// process is opened for one look at a time, so that other commands get at it
// meanwhile.
func (a *app) waitFor(ctx context.Context, id gov.ChangeID, state string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	var fetched time.Time
	for {
		fetch := time.Since(fetched) >= waitFetch
		if fetch {
			fetched = time.Now()
		}
		left := time.Until(deadline)
		done, err := a.waitOnce(ctx, id, state, left, fetch)
		switch {
		case done || gov.CodeOf(err) != "wait_timeout":
			return err
		case left <= 0:
			return gov.Errorf(gov.KindTimeout, "wait_timeout", "%s did not become %q within %s", id, state, timeout).WithHint("govern status %s", id)
		}
		select {
		case <-ctx.Done():
			return gov.Errorf(gov.KindTimeout, "canceled", "the wait was ended: %w", context.Cause(ctx))
		case <-time.After(max(0, min(waitOpen, time.Until(deadline)))):
		}
	}
}

// waitOnce looks once and prints the change when it is there, or when no time
// is left.
func (a *app) waitOnce(ctx context.Context, id gov.ChangeID, state string, left time.Duration, fetch bool) (bool, error) {
	h, err := a.here(ctx, "wait", fetch)
	if err != nil {
		return false, err
	}
	defer h.close()
	var c client.Change
	if h.s.Engine() != nil || left <= 0 {
		c, err = h.reached(ctx, id, state)
	} else {
		c, err = h.s.Client().Wait(ctx, id, state, min(left, waitAsk))
	}
	if err == nil || gov.CodeOf(err) == "wait_timeout" && left <= 0 {
		if shown := h.show(c); shown != nil {
			return true, shown
		}
	}
	return err == nil, err
}

// reached looks at a log in this process once. A call that waits would keep the
// log from other commands, and one that waits very briefly might not even read
// it.
func (h *here) reached(ctx context.Context, id gov.ChangeID, want string) (client.Change, error) {
	if _, err := h.s.Client().Wait(ctx, id, want, time.Millisecond); gov.CodeOf(err) == "wait_state_unknown" {
		return client.Change{}, err
	}
	c, err := h.s.Client().Change(ctx, id, h.me.Handle)
	if err != nil {
		return c, err
	}
	st, err := state(c)
	if err != nil {
		return c, err
	}
	there := c.Status == want || slices.ContainsFunc(st.Stages, func(p change.Passed) bool { return p.Stage+":done" == want })
	if v := c.Verdict; v != nil {
		there = there || string(v.Answer) == want || v.Stage != "" && v.Stage == want
	}
	if !there {
		return c, gov.Errorf(gov.KindTimeout, "wait_timeout", "%s is not %q", id, want)
	}
	return c, nil
}

// tableLines is table as lines.
func tableLines(rows [][]string) []string {
	var b strings.Builder
	table(&b, rows)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}
