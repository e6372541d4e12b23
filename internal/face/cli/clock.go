package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

func (a *app) clock() *cobra.Command {
	var because string
	accept := &cobra.Command{
		Use: "accept -m WHY", Short: "sign that the clock is right after a jump", Args: cobra.NoArgs,
		Long: "When the clock jumps by more than five minutes nothing is recorded any more, going\n" +
			"back apart, until a person has looked and signs that it is right now.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.acceptClock(cmd.Context(), because) },
	}
	reason(accept, &because)
	return group("clock", "the one clock that everything goes by", groupHouse, accept)
}

func (a *app) acceptClock(ctx context.Context, because string) error {
	if err := why(because); err != nil {
		return err
	}
	h, err := a.here(ctx, "govern clock accept", false)
	if err != nil {
		return err
	}
	defer h.close()
	key, who, err := h.signing(ctx)
	if err != nil {
		return err
	}
	if who.Kind != gov.Human {
		return gov.Errorf(gov.KindDenied, "not_human", "%s is %s; only a person may accept a clock", who.Handle, who.Kind).WithHint("sign with your own key: --key FILE")
	}
	seen := h.checkpoint(ctx)
	if seen == "" {
		return gov.Errorf(gov.KindIntegrity, "checkpoint_missing", "the log's newest checkpoint cannot be read, and the statement has to name it").WithHint("govern doctor")
	}
	// The statement is about the log as it stands: Subject names its checkpoint,
	// so that the signature cannot be used after a later jump.
	env, err := key.Seal(ctx, gov.Statement{
		Decision: gov.DecideAttest, Stage: engine.StageClock, Subject: gov.DigestOf([]byte(seen)),
		Rationale: because, Issued: now(), Checkpoint: seen,
	})
	if err != nil {
		return err
	}
	r, err := h.s.Client().AcceptClock(ctx, env)
	if err != nil {
		return err
	}
	return a.give(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s takes %s for right, record %d\n", who.Handle, stamp(r.Time), r.Index)
	})
}
