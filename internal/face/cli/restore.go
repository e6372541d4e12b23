package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

func (a *app) restore() *cobra.Command {
	var accept bool
	var because string
	c := &cobra.Command{
		Use: "restore [--accept-loss -m WHY]", Short: "go on with a log that lost signed records", GroupID: groupHouse, Args: cobra.NoArgs,
		Long: "Without a flag: say what is lost and how to go on; nothing is changed.\n" +
			"With --accept-loss: keep the records that are valid, record with your signature that\n" +
			"the others are lost, and begin a new epoch of the log. Checkpoints that cannot be met\n" +
			"any more and bytes that are no records are moved aside, not deleted. A log that only\n" +
			"has to be put in order (its checkpoint file is gone) is put in order and keeps its epoch.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if accept {
				return a.acceptLoss(cmd.Context(), because)
			}
			return a.explainLoss(cmd.Context())
		},
	}
	reason(c, &because)
	c.Flags().BoolVar(&accept, "accept-loss", false, "accept that signed records are lost, and begin a new epoch")
	return c
}

// beside opens the repository whose log lies here.
func (a *app) beside(ctx context.Context) (Workbench, engine.Identity, error) {
	if a.Env("GOVERN_SERVER") != "" {
		return nil, engine.Identity{}, gov.Errorf(gov.KindInvalid, "serve_elsewhere", "GOVERN_SERVER is set, so the log is somewhere else").WithHint("unset GOVERN_SERVER")
	}
	w, err := a.repo(ctx)
	if err != nil {
		return nil, engine.Identity{}, err
	}
	id, err := engine.ReadIdentity(w.DataDir())
	return w, id, err
}

// explainLoss says what a check of the files finds, and changes nothing.
func (a *app) explainLoss(ctx context.Context) error {
	w, id, err := a.beside(ctx)
	if err != nil {
		return err
	}
	second, closed, err := id.Place()
	if err != nil {
		return err
	}
	if closed != nil {
		return closed
	}
	rep, err := engine.CheckDir(ctx, w.DataDir(), id, second)
	if err != nil {
		return err
	}
	v := struct {
		OK       bool   `json:"ok"`
		Kept     uint64 `json:"kept"`   // records that would remain
		Signed   uint64 `json:"signed"` // most records that are known to be signed
		Failures any    `json:"failures,omitempty"`
	}{rep.OK(), rep.Records, max(rep.Signed, rep.Checkpoint), rep.Failures}
	if err := a.give(v, func(out io.Writer) {
		if v.OK {
			fmt.Fprintf(out, "nothing is lost: %s, all as signed\n", count(int(v.Kept), "record"))
			return
		}
		for i, f := range rep.Failures {
			if i == 5 {
				fmt.Fprintf(out, "… and %d more: govern verify log\n", len(rep.Failures)-i)
				break
			}
			fmt.Fprintf(out, "%s [%s]\n", printable(f.Message), f.Code)
		}
		fmt.Fprintf(out, "\n%s are valid here, %d are known to be signed\n", count(int(v.Kept), "record"), v.Signed)
		fmt.Fprintf(out, "Best: put a newer copy of %s there; then nothing is lost.\n", w.DataDir())
		fmt.Fprintln(out, "Else: govern restore --accept-loss -m WHY")
		fmt.Fprintln(out, "      keeps what is valid and records, signed by you, that the rest is lost.")
	}); err != nil {
		return err
	}
	if !v.OK {
		return Exit(ExitIntegrity)
	}
	return nil
}

// acceptLoss signs for the loss and begins an epoch.
func (a *app) acceptLoss(ctx context.Context, because string) error {
	if err := why(because); err != nil {
		return err
	}
	w, _, err := a.beside(ctx)
	if err != nil {
		return err
	}
	h := &here{a: a, w: w}
	if err := h.readLaw(ctx, false); err != nil {
		return err
	}
	key, who, err := h.signing(ctx)
	if err != nil {
		return err
	}
	if who.Kind != gov.Human {
		return gov.Errorf(gov.KindDenied, "not_human", "%s is %s; only a person may accept a loss", who.Handle, who.Kind).WithHint("sign with your own key: --key FILE")
	}
	r, err := a.RestoreLog(ctx, w, RestoreOptions{
		People: h.law.Registry, Reason: because,
		Sign: func(st gov.Statement) ([]byte, error) { return key.Seal(ctx, st) },
	})
	if err != nil {
		return err
	}
	return a.give(r, func(out io.Writer) {
		if r.Healed {
			fmt.Fprintf(out, "nothing was lost: the log of %s is in order again\n", count(int(r.Kept), "record"))
			return
		}
		fmt.Fprintf(out, "%s accepts the loss: %s kept, %d were signed; epoch %d begins with record %d\n", r.By, count(int(r.Kept), "record"), r.Lost, r.Epoch, r.Record)
		fmt.Fprintln(out, "next: govern verify, then push again what was lost")
	})
}
