// status.go: written by helper C

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

// overview is the answer of `status`: the API's shapes side by side.
type overview struct {
	Status  client.Status   `json:"status"`
	Changes []standing      `json:"changes"`
	Targets []client.Target `json:"targets"`
}

// standing is an open change in one line. Problem says why it cannot be judged,
// Verdict is absent then.
type standing struct {
	client.ChangeSummary
	Verdict *client.Verdict `json:"verdict,omitempty"`
	Problem string          `json:"problem,omitempty"`
}

func (a *app) status() *cobra.Command {
	var fetch bool
	cmd := &cobra.Command{
		Use: "status [CHANGE-n]", Short: "how everything stands, or one change and its statements", GroupID: groupChange,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var id gov.ChangeID
			var err error
			if len(args) == 1 {
				if id, err = changeArg(args[0]); err != nil {
					return err
				}
			}
			h, err := a.here(cmd.Context(), "status", fetch)
			if err != nil {
				return err
			}
			defer h.close()
			if id == "" {
				return h.overview(cmd.Context())
			}
			return h.standing(cmd.Context(), id)
		},
	}
	cmd.Flags().BoolVar(&fetch, "fetch", false, "fetch from "+remoteName+" first")
	return cmd
}

func (h *here) overview(ctx context.Context) error {
	c := h.s.Client()
	o := overview{Changes: []standing{}}
	var err error
	if o.Status, err = c.Status(ctx); err != nil {
		return err
	}
	open, err := c.Changes(ctx, "open")
	if err != nil {
		return err
	}
	for _, s := range open.Changes {
		st := standing{ChangeSummary: s}
		switch one, err := c.Change(ctx, s.ID, h.me.Handle); {
		case err == nil:
			st.Verdict = one.Verdict
		case gov.KindOf(err) == gov.KindUnavailable || gov.KindOf(err) == gov.KindTimeout || gov.KindOf(err) == gov.KindDenied:
			return err
		default:
			st.Problem = plain(err)
		}
		o.Changes = append(o.Changes, st)
	}
	targets, err := c.Targets(ctx)
	if err != nil {
		return err
	}
	o.Targets = targets.Targets
	return h.a.give(o, func(w io.Writer) { printOverview(w, o, h.s.Where(), h.s.Engine() == nil) })
}

func printOverview(w io.Writer, o overview, where string, supervised bool) {
	s := o.Status
	rows := [][]string{{"log", fmt.Sprintf("%s, %s, root %.12s", s.Origin, count(int(s.Size), "record"), s.Root)}, {"", "at " + where}}
	if s.Local {
		rows = append(rows, []string{"", "this clone's own view; the gate at " + remoteName + " decides"})
	}
	if s.Policy != "" {
		rows = append(rows, []string{"policy", fmt.Sprintf("%s on %s, mode %s", s.Policy.Short(), s.Branch, s.Mode)})
	}
	rows = append(rows, []string{"changes", fmt.Sprintf("%d open, %d merged", s.Open, s.Merged)})
	if s.Problem != "" {
		rows = append(rows, []string{"PROBLEM", s.Problem}, []string{"", "until that is mended nothing is allowed: govern policy check"})
	}
	if s.Clock != "" {
		rows = append(rows, []string{"CLOCK", s.Clock}, []string{"", "nothing is decided until then: govern doctor"})
	}
	table(w, rows)
	if s.Mode == string(policy.Observe) {
		fmt.Fprintln(w, "\nOBSERVE MODE: verdicts are recorded and nothing is refused")
	}
	if s.Solo {
		fmt.Fprintln(w, "\nsolo mode: authors may own their low and medium changes")
	}
	section(w, "open changes", openRows(o.Changes))
	section(w, "rollouts", targetRows(o.Targets))
	if !supervised && slices.ContainsFunc(o.Targets, underWay) {
		fmt.Fprintln(w, "  "+unsupervised)
	}
	var overdue [][]string
	for _, r := range s.Overdue {
		overdue = append(overdue, []string{r})
	}
	section(w, "OVERDUE reviews (govern inbox --all)", overdue)
}

// section prints a titled table, nothing when it is empty.
func section(w io.Writer, title string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for i := range rows {
		rows[i] = slices.Concat([]string{" "}, rows[i])
	}
	table(w, rows)
}

func openRows(changes []standing) [][]string {
	var rows [][]string
	for _, c := range changes {
		if c.Verdict == nil {
			rows = append(rows, []string{string(c.ID), string(c.Risk), "?", orElse(c.Problem, "cannot be judged")})
			continue
		}
		rows = append(rows, []string{string(c.ID), string(c.Verdict.Risk), orElse(c.Verdict.Stage, "done"), outstanding(*c.Verdict)})
	}
	return rows
}

// outstanding says in a few words what the open stage of a verdict lacks: what
// failed before who is missing before what time will bring.
func outstanding(v gov.Verdict) string {
	if v.Answer == gov.Allowed {
		return "allowed: may be merged"
	}
	var people, failed, waiting []string
	for _, s := range v.Stages {
		if v.Stage != "" && s.ID != v.Stage {
			continue
		}
		for r := range (gov.Verdict{Stages: []gov.Requirement{s}}).Leaves {
			switch r.State {
			case gov.Failed, gov.Unknown:
				failed = append(failed, r.ID)
			case gov.Missing:
				if who := anyOf(r.Who); who != "" && !slices.Contains(people, who) {
					people = append(people, who)
				} else if who == "" {
					failed = append(failed, r.ID)
				}
			case gov.Waiting:
				waiting = append(waiting, r.ID)
			}
		}
	}
	switch {
	case len(failed) > 0:
		return "stopped by " + few(failed)
	case len(people) > 0:
		return "missing " + few(people)
	case len(waiting) > 0:
		return "waiting for " + few(waiting)
	default:
		return string(v.Answer)
	}
}

// anyOf joins handles any of whom will do.
func anyOf(who []string) string {
	if len(who) > 3 {
		return fmt.Sprintf("%s or %d more", strings.Join(who[:2], " or "), len(who)-2)
	}
	return strings.Join(who, " or ")
}

func few(items []string) string {
	if len(items) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:2], ", "), len(items)-2)
	}
	return strings.Join(items, ", ")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func targetRows(targets []client.Target) [][]string {
	var rows [][]string
	for _, t := range targets {
		rows = append(rows, []string{t.Name, fmt.Sprintf("%d %%", t.Weight), t.Summary})
	}
	return rows
}

// standing prints one change and the statements about it.
func (h *here) standing(ctx context.Context, id gov.ChangeID) error {
	c, err := h.s.Client().Change(ctx, id, h.me.Handle)
	if err != nil {
		return err
	}
	st, err := state(c)
	if err != nil {
		return err
	}
	return h.a.give(c, func(w io.Writer) {
		h.a.screen(w, c, h.me)
		section(w, "statements", statementRows(st.Statements, c.Verdict))
	})
}

// statementRows lists statements in log order; what does not count says why.
func statementRows(sts []gov.Recorded, v *gov.Verdict) [][]string {
	why := map[gov.Digest]string{}
	if v != nil {
		for _, n := range v.NotCounted {
			why[n.Statement] = "not counted: " + n.Code
		}
	}
	var rows [][]string
	for _, s := range sts {
		what := string(s.Decision)
		if s.Stage != "" {
			what += " " + s.Stage
		}
		if s.Role != "" {
			what += " as " + s.Role
		}
		if s.Evidence != nil {
			what += " " + s.Evidence.Kind
		}
		rows = append(rows, []string{s.Time.UTC().Format("2006-01-02 15:04"), s.Signer, what, s.Digest.Short(), why[s.Digest]})
	}
	return rows
}
