package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

// verifyFlags pin what is checked against.
type verifyFlags struct{ key, genesis, people, record string }

func (a *app) verify() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use: "verify [log|decisions|FILE|DIR]", Short: "check the log, its decisions, a proof or a statement", GroupID: groupProof, Args: cobra.MaximumNArgs(1),
		Long: "log        every promise of this repository's governance log\n" +
			"decisions  every recorded decision, made again from its recorded facts\n" +
			"FILE|DIR   a log (its directory or file), a .tlog-proof, a statement or a folder of them\n" +
			"Without an argument: log, then decisions. Exit code 3 when something does not hold.\n" +
			"A key that lies beside the log proves only that they belong together: pin --vkey and\n" +
			"--genesis from elsewhere to trust nobody.",
		RunE: func(cmd *cobra.Command, args []string) error {
			what := ""
			if len(args) > 0 {
				what = args[0]
			}
			check, err := a.checked(cmd.Context(), what, f)
			if err != nil {
				return err
			}
			return a.giveCheck(check)
		},
	}
	c.Flags().StringVar(&f.key, "vkey", "", "verifier key of the log, as identity.json has it")
	c.Flags().StringVar(&f.genesis, "genesis", "", "fingerprint of record 0, sha256:…")
	c.Flags().StringVar(&f.people, "people", "", "registry that statements are checked against (default the repository's)")
	c.Flags().StringVar(&f.record, "record", "", "file with the line that a proof is about")
	return c
}

func (a *app) checked(ctx context.Context, what string, f verifyFlags) (client.Check, error) {
	switch what {
	case "":
		log, err := a.checkLog(ctx, f)
		if err != nil || !log.OK {
			return log, err // decisions of a log that does not hold say nothing
		}
		decided, err := a.checkDecisions(ctx)
		if err != nil {
			return decided, err
		}
		return client.Check{
			OK: decided.OK, Checked: map[string]any{"log": log.Checked, "decisions": decided.Checked},
			Failures: decided.Failures, Notes: append(log.Notes, decided.Notes...),
		}, nil
	case "log":
		return a.checkLog(ctx, f)
	case "decisions":
		return a.checkDecisions(ctx)
	}
	o, err := a.pinned(ctx, f)
	if err != nil {
		return client.Check{}, err
	}
	return a.VerifyPath(ctx, a.path(what), o)
}

func (a *app) pinned(ctx context.Context, f verifyFlags) (VerifyOptions, error) {
	o := VerifyOptions{Key: f.key}
	if f.genesis != "" {
		d, err := gov.ParseDigest(f.genesis)
		if err != nil {
			return o, err
		}
		o.Genesis = d
	}
	var err error
	if f.record != "" {
		if o.Record, err = a.readFile(f.record); err != nil {
			return o, err
		}
		if n := len(o.Record); n > 0 && o.Record[n-1] == '\n' {
			o.Record = o.Record[:n-1]
		}
	}
	if f.people != "" {
		o.People, err = a.readFile(f.people)
		return o, err
	}
	// The repository's registry, where there is one; a statement without any is
	// reported as unchecked.
	if w, err := a.repo(ctx); err == nil {
		if law, err := engine.ReadLaw(ctx, w); err == nil {
			if b, err := w.ReadFile(ctx, law.Commit, law.Policy.People); err == nil {
				o.People = b
			}
		}
	}
	return o, nil
}

// checkLog checks the files of this repository's log, which need not be good
// enough to be opened. Elsewhere the server checks its own.
func (a *app) checkLog(ctx context.Context, f verifyFlags) (client.Check, error) {
	if a.Env("GOVERN_SERVER") != "" {
		_, s, err := a.session(ctx, "govern verify")
		if err != nil {
			return client.Check{}, err
		}
		defer s.Close()
		return s.Client().CheckLog(ctx)
	}
	w, err := a.repo(ctx)
	if err != nil {
		return client.Check{}, err
	}
	o, err := a.pinned(ctx, f)
	if err != nil {
		return client.Check{}, err
	}
	id, err := engine.ReadIdentity(w.DataDir())
	if err != nil {
		return client.Check{}, err
	}
	second, closed, err := id.Place()
	if err != nil {
		return client.Check{}, err
	}
	if closed == nil {
		o.SecondPlace = second
	}
	c, err := a.VerifyPath(ctx, w.DataDir(), o)
	if err == nil && closed != nil {
		c.Notes = append(c.Notes, "unchecked: "+plain(closed))
	}
	return c, err
}

func (a *app) checkDecisions(ctx context.Context) (client.Check, error) {
	_, s, err := a.session(ctx, "govern verify")
	if err != nil {
		return client.Check{}, err
	}
	defer s.Close()
	return s.Client().CheckDecisions(ctx)
}

// giveCheck prints the result of a check; one that does not hold is exit code 3.
func (a *app) giveCheck(c client.Check) error {
	if c.Failures == nil {
		c.Failures = []client.CheckFailure{}
	}
	type shape struct {
		client.Check
		Failures []client.CheckFailure `json:"failures"`
	}
	if err := a.give(shape{c, c.Failures}, func(w io.Writer) {
		printChecked(w, "", c.Checked)
		for i, f := range c.Failures {
			if i == 20 {
				fmt.Fprintf(w, "… and %d more (-o json)\n", len(c.Failures)-i)
				break
			}
			fmt.Fprintf(w, "FAILED  record %d: %s [%s]\n", f.Index, printable(f.Message), f.Code)
		}
		for _, n := range c.Notes {
			fmt.Fprintf(w, "note: %s\n", printable(n))
		}
		if c.OK {
			fmt.Fprintln(w, "ok")
		} else {
			fmt.Fprintf(w, "NOT OK: %s\n", count(len(c.Failures), "failure"))
		}
	}); err != nil {
		return err
	}
	if !c.OK {
		return Exit(ExitIntegrity)
	}
	return nil
}

func printChecked(w io.Writer, indent string, m map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if sub, ok := m[k].(map[string]any); ok {
			fmt.Fprintf(w, "%s%s\n", indent, k)
			printChecked(w, indent+"  ", sub)
			continue
		}
		fmt.Fprintf(w, "%s%-12s %s\n", indent, k, printable(fmt.Sprint(m[k])))
	}
}
