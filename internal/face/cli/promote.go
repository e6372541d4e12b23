package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/policy"
)

// rolloutPromote signs that what the judge could not decide goes on.
func (a *app) rolloutPromote() *cobra.Command {
	var because, role string
	c := &cobra.Command{
		Use: "promote TARGET -m WHY", Short: "sign that a held rollout goes on", Args: cobra.ExactArgs(1),
		Long: "A rollout is held when it was neither good enough to go on by itself nor bad enough\n" +
			"to go back. A person may sign that it goes on, naming this very attempt and verdict;\n" +
			"never against a rollback and never while nothing fresh is measured.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.signTarget(cmd.Context(), args[0], because, role, func(t client.Target, st canary.State, s *gov.Statement) error {
				if st.Run == nil {
					return gov.Errorf(gov.KindConflict, "no_rollout", "nothing is rolling out on %s", t.Name).WithHint("govern rollout status")
				}
				if st.Run.Phase != canary.Held || t.Outcome == nil {
					return gov.Errorf(gov.KindConflict, "rollout_not_held", "attempt %d on %s is not held (%s); only what the judge could not decide is promoted by a person", st.Run.Attempt, t.Name, st.Run.Phase).
						WithHint("govern rollout status %s", t.Name)
				}
				s.Decision, s.Stage, s.Change = gov.DecidePromote, string(policy.StageMonitor), st.Run.Change
				s.Revision, s.Artifacts, s.Outcome = st.Run.Revision, []gov.Artifact{st.Run.Artifact}, t.Outcome
				return nil
			})
		},
	}
	reason(c, &because)
	c.Flags().StringVar(&role, "role", "", "the role you wear (default whichever of yours counts)")
	return c
}

// rolloutUnblock signs that a digest that failed may be tried again.
func (a *app) rolloutUnblock() *cobra.Command {
	var because, digest, role string
	c := &cobra.Command{
		Use: "unblock TARGET --artifact DIGEST -m WHY", Short: "sign that a digest that failed may be tried again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := gov.ParseDigest(digest)
			if err != nil {
				return err
			}
			return a.signTarget(cmd.Context(), args[0], because, role, func(t client.Target, st canary.State, s *gov.Statement) error {
				b, ok := st.Blocked[d]
				if !ok {
					return gov.Errorf(gov.KindConflict, "digest_not_blocked", "%s is not blocked on %s", d.Short(), t.Name).WithHint("govern rollout status %s", t.Name)
				}
				s.Decision, s.Artifacts = gov.DecideUnblock, []gov.Artifact{{Name: "artifact", Digest: d}}
				s.Outcome = &gov.Outcome{Target: t.Name, Attempt: b.Attempt, Verdict: b.Verdict}
				return nil
			})
		},
	}
	reason(c, &because)
	c.Flags().StringVar(&role, "role", "", "the role you wear (default whichever of yours counts)")
	c.Flags().StringVar(&digest, "artifact", "", "the blocked digest, sha256:…")
	return c
}

// signTarget signs a statement about a target; fill says what about.
func (a *app) signTarget(ctx context.Context, target, because, role string, fill func(client.Target, canary.State, *gov.Statement) error) error {
	if err := why(because); err != nil {
		return err
	}
	h, err := a.here(ctx, "govern rollout", true)
	if err != nil {
		return err
	}
	defer h.close()
	t, err := h.s.Client().Target(ctx, target)
	if err != nil {
		return err
	}
	state, err := targetState(t)
	if err != nil {
		return err
	}
	st := gov.Statement{Target: target, Role: role, Rationale: because, Policy: h.law.Digest, Issued: now(), Checkpoint: h.checkpoint(ctx)}
	if err := fill(t, state, &st); err != nil {
		return err
	}
	if st.Change != "" {
		// The risk that the signer sees: an approval under a lower one does not count.
		c, err := h.s.Client().Change(ctx, st.Change, "")
		if err != nil {
			return err
		}
		if c.Verdict != nil {
			st.Risk = c.Verdict.Risk
		}
	}
	key, who, err := h.signing(ctx)
	if err != nil {
		return err
	}
	if who.Kind != gov.Human {
		return gov.Errorf(gov.KindDenied, "not_human", "%s is %s; only a person may %s", who.Handle, who.Kind, st.Decision).WithHint("sign with your own key: --key FILE")
	}
	env, err := key.Seal(ctx, st)
	if err != nil {
		return err
	}
	ans, err := h.s.Client().TakeStatement(ctx, env)
	if err != nil {
		return err
	}
	if t, err = h.s.Client().Target(ctx, target); err != nil {
		return err
	}
	return a.give(struct {
		Statement gov.Recorded  `json:"statement"`
		Target    client.Target `json:"target"`
	}{ans.Statement, t}, func(w io.Writer) {
		fmt.Fprintf(w, "signed by %s: %s\n%s\n", who.Handle, st.Decision, printable(t.Summary))
	})
}
