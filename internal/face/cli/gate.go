package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

func (a *app) gate() *cobra.Command {
	var ref, artifact, target string
	cmd := &cobra.Command{
		Use: "gate [RANGE|COMMIT]", Short: "may this be merged? (default: the default branch..HEAD)", GroupID: groupChange, Args: cobra.MaximumNArgs(1),
		Long: `Answers whether a range of commits may land on the governed branch: exit code 0
yes, 1 refused, 9 only people or time are missing. With --artifact and --target it
answers whether an artifact may take traffic there.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			h, err := a.here(ctx, "govern gate", false)
			if err != nil {
				return err
			}
			defer h.close()
			var ans client.GateAnswer
			switch {
			case artifact != "" && target != "":
				d, err := gov.ParseDigest(artifact)
				if err != nil {
					return err
				}
				if ans, err = h.s.Client().Admit(ctx, d, target); err != nil {
					return err
				}
			case artifact != "" || target != "":
				return gov.Errorf(gov.KindInvalid, "usage", "--artifact and --target are asked together").WithHint("govern gate --artifact sha256:… --target NAME")
			default:
				if ans, err = h.askGate(ctx, ref, strings.Join(args, "")); err != nil {
					return err
				}
			}
			if err := a.giveGate(ans, h.me); err != nil {
				return err
			}
			return exitOfGate(ans)
		},
	}
	cmd.Flags().StringVar(&ref, "ref", "", "branch that it would land on (default: the default branch)")
	cmd.Flags().StringVar(&artifact, "artifact", "", "digest of an artifact")
	cmd.Flags().StringVar(&target, "target", "", "target of governance.yaml")
	return cmd
}

// askGate asks about a range as it stands here.
func (h *here) askGate(ctx context.Context, ref, what string) (client.GateAnswer, error) {
	if h.w == nil {
		return client.GateAnswer{}, gov.Errorf(gov.KindInvalid, "repository_missing", "a range is named inside of its repository").WithHint("cd into a clone")
	}
	old, new, isRange := strings.Cut(what, "..")
	if !isRange {
		old, new = h.target(), what
	}
	if new == "" {
		new = "HEAD"
	}
	if ref != "" && !strings.HasPrefix(ref, "refs/") {
		ref = "refs/heads/" + ref
	}
	var err error
	if old, err = h.w.Resolve(ctx, old); err != nil {
		return client.GateAnswer{}, err
	}
	if new, err = h.w.Resolve(ctx, new); err != nil {
		return client.GateAnswer{}, err
	}
	if !isRange && ref == "" {
		// A branch that lags behind is judged as what its merge would bring.
		if in, err := h.w.Contains(ctx, new, old); err != nil {
			return client.GateAnswer{}, err
		} else if !in {
			if ans, ok, err := h.behind(ctx, new); ok || err != nil {
				return ans, err
			}
		}
	}
	req := client.GateRequest{Ref: ref, Old: old, New: new}
	ans, err := h.s.Client().Gate(ctx, req)
	if gov.CodeOf(err) == "commit_not_found" && h.central {
		if err := h.own(ctx); err != nil {
			return ans, err
		}
		return h.s.Client().Gate(ctx, req)
	}
	return ans, err
}

// behind answers for the changes of a branch that does not contain its target.
func (h *here) behind(ctx context.Context, head string) (client.GateAnswer, bool, error) {
	base, err := h.w.MergeBase(ctx, h.target(), head)
	if err != nil {
		return client.GateAnswer{}, false, err
	}
	_, touched, err := h.w.Between(ctx, base, head, "")
	if err != nil {
		return client.GateAnswer{}, false, err
	}
	ids, _ := h.changesIn(touched)
	ans := client.GateAnswer{Allowed: len(ids) > 0, Governed: true, Observe: h.law.Policy.Mode == policy.Observe}
	for _, id := range ids {
		c, err := h.sync(ctx, id, head)
		if err != nil {
			return ans, false, err
		}
		if c.Verdict == nil {
			return ans, false, nil
		}
		ans.Allowed = ans.Allowed && c.Verdict.Answer == gov.Allowed
		ans.Changes = append(ans.Changes, client.GateChange{ID: id, Verdict: *c.Verdict, Screen: change.Screen(*c.Verdict, h.me)})
	}
	ans.Passes = ans.Allowed || ans.Observe
	return ans, len(ids) > 0, nil
}

// exitOfGate is 0 when the push passes, 9 when only people or time are missing.
func exitOfGate(ans client.GateAnswer) error {
	if ans.Passes || ans.Allowed {
		return nil
	}
	if len(ans.Problems) > 0 {
		return Exit(ExitRefused)
	}
	for _, c := range ans.Changes {
		if c.Verdict.Answer == gov.Refused {
			return Exit(ExitRefused)
		}
	}
	if len(ans.Changes) == 0 {
		return Exit(ExitRefused)
	}
	return Exit(ExitPending)
}

func (a *app) giveGate(ans client.GateAnswer, me gov.Principal) error {
	switch a.output {
	case "github":
		return gateGitHub(a.Stdout, ans)
	case "markdown":
		return gateMarkdown(a.Stdout, ans, me)
	case "sarif":
		return gateSARIF(a.Stdout, ans, a.Version)
	case "text", "json", "yaml":
		return a.give(ans, func(w io.Writer) { a.gateText(w, ans, me) })
	default:
		return gov.Errorf(gov.KindInvalid, "output_unknown", "there is no output format %q here", a.output).
			WithHint("use -o text, json, yaml, github, markdown or sarif")
	}
}

// gateText is the answer for people: problems of the push, then a screen for
// each change.
func (a *app) gateText(w io.Writer, ans client.GateAnswer, me gov.Principal) {
	if !ans.Governed {
		fmt.Fprintln(w, "not governed: nothing is asked of it")
		return
	}
	for _, p := range ans.Problems {
		fmt.Fprintf(w, "refused: %s [%s]\n", printable(p.Message), p.Code)
		if p.Hint != "" {
			fmt.Fprintf(w, "  next: %s\n", printable(p.Hint))
		}
	}
	for _, c := range ans.Changes {
		a.lines(w, change.Screen(c.Verdict, me))
	}
	switch {
	case len(ans.Changes)+len(ans.Problems) == 0 && ans.Allowed:
		fmt.Fprintln(w, "allowed")
	case len(ans.Changes)+len(ans.Problems) == 0:
		fmt.Fprintln(w, "nothing would land")
	case ans.Observe && !ans.Allowed:
		fmt.Fprintln(w, "observe mode: it passes, and would be refused under mode: enforce")
	}
}
