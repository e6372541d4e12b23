package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/gov"
)

// proofCommands lists the commands about evidence, rollouts, policy and proof.
func (a *app) proofCommands() []*cobra.Command {
	return []*cobra.Command{
		a.evidence(), a.artifact(), a.checklist(),
		a.rollout(), a.canary(), a.signal(),
		a.policy(), a.logs(), a.verify(),
		a.serve(), a.doctor(), a.clock(), a.restore(),
	}
}

// group is a command that only has others below it.
func group(use, short, id string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, GroupID: id, Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(below...)
	return c
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	names := make([]string, 0, len(cmd.Commands()))
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return gov.Errorf(gov.KindInvalid, "usage", "there is no %q; there is %s", args[0], strings.Join(names, ", "))
}

// reason is the -m flag of commands that need one.
func reason(c *cobra.Command, to *string) {
	c.Flags().StringVarP(to, "message", "m", "", "why, in a sentence")
}
