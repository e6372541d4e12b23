package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
)

// attempt is one row of a target's history.
type attempt struct {
	Attempt int          `json:"attempt"`
	Change  gov.ChangeID `json:"change,omitempty"`
	Digest  gov.Digest   `json:"digest"`
	Began   time.Time    `json:"began"`
	Ended   time.Time    `json:"ended,omitzero"`
	How     string       `json:"how"` // running, finished, rolled_back, aborted
	Cause   canary.Cause `json:"cause,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Verdict string       `json:"verdict,omitempty"`
	Target  string       `json:"target"`
}

func (a *app) rolloutHistory() *cobra.Command {
	return &cobra.Command{
		Use: "history [TARGET]", Short: "every attempt, how it ended, and why", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			_, s, err := a.session(ctx, "govern rollout history")
			if err != nil {
				return err
			}
			defer s.Close()
			names := args
			if len(args) == 0 {
				list, err := s.Client().Targets(ctx)
				if err != nil {
					return err
				}
				for _, t := range list.Targets {
					names = append(names, t.Name)
				}
			}
			out := []attempt{}
			for _, name := range names {
				rows, err := attempts(ctx, s, name)
				if err != nil {
					return err
				}
				out = append(out, rows...)
			}
			return a.give(map[string]any{"attempts": out}, func(w io.Writer) { attemptTable(w, out) })
		},
	}
}

// attempts reads a target's attempts out of its events.
func attempts(ctx context.Context, s Session, target string) ([]attempt, error) {
	if _, err := s.Client().Target(ctx, target); err != nil {
		return nil, err
	}
	list, err := s.Client().TargetHistory(ctx, target)
	if err != nil {
		return nil, err
	}
	rows := map[int]*attempt{}
	var order []*attempt
	for _, e := range list.Events {
		if e.Type == canary.EvStarted {
			var d canary.Started
			if err := eventData(e, &d); err != nil {
				return nil, err
			}
			row := &attempt{
				Target: target, Attempt: d.Attempt, Change: d.Change, Digest: d.Artifact.Digest,
				Began: e.Time, How: "running", Reason: d.Reason,
			}
			rows[d.Attempt], order = row, append(order, row)
			continue
		}
		if err := ending(e, rows); err != nil {
			return nil, err
		}
	}
	out := make([]attempt, len(order))
	for i, r := range order {
		out[i] = *r
	}
	return out, nil
}

// ending notes what an event says about how an attempt went.
func ending(e client.Event, rows map[int]*attempt) error {
	switch e.Type {
	case canary.EvLatched:
		var d canary.Latch
		if err := eventData(e, &d); err != nil {
			return err
		}
		if r := rows[d.Latched.Attempt]; r != nil {
			r.Verdict, r.Reason = string(d.Latched.Verdict.Verdict), d.Latched.Verdict.Reason
		}
	case canary.EvBack, canary.EvAborted:
		var d canary.EndedBack
		if err := eventData(e, &d); err != nil {
			return err
		}
		if r := rows[d.Attempt]; r != nil {
			r.How, r.Ended, r.Cause, r.Reason = "rolled_back", e.Time, d.Cause, d.Reason
			if e.Type == canary.EvAborted {
				r.How = "aborted"
			}
		}
	case canary.EvFinished:
		var d canary.Attempted
		if err := eventData(e, &d); err != nil {
			return err
		}
		if r := rows[d.Attempt]; r != nil {
			r.How, r.Ended = "finished", e.Time
		}
	}
	return nil
}

func eventData(e client.Event, to any) error {
	if err := json.Unmarshal(e.Data, to); err != nil {
		return gov.Errorf(gov.KindUnavailable, "answer_unreadable", "event %d of %s cannot be read: %w", e.Version, e.Stream, err).WithHint("govern version, here and on the server")
	}
	return nil
}

func attemptTable(w io.Writer, rows []attempt) {
	if len(rows) == 0 {
		fmt.Fprintln(w, "nothing was ever rolled out here")
		return
	}
	out := [][]string{{"TARGET", "#", "CHANGE", "ARTIFACT", "BEGAN", "HOW"}}
	for _, r := range rows {
		how := r.How
		if r.Cause != "" {
			how += " (" + string(r.Cause) + ")"
		}
		out = append(out, []string{r.Target, fmt.Sprint(r.Attempt), string(r.Change), r.Digest.Short(), stamp(r.Began), how})
	}
	table(w, out)
	for _, r := range rows {
		if r.Reason != "" {
			fmt.Fprintf(w, "%s #%d: %s\n", r.Target, r.Attempt, printable(r.Reason))
		}
	}
}
