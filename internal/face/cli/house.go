package cli

import (
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/spf13/cobra"
)

// commands lists every command of the house; each file adds its own.
func (a *app) commands() []*cobra.Command {
	return slices.Concat([]*cobra.Command{a.version(), a.demo(), a.studio()}, a.changeCommands(), a.proofCommands())
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", GroupID: groupHouse, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
			}{a.Version, runtime.Version()}
			return a.give(v, func(w io.Writer) { fmt.Fprintf(w, "govern %s (%s)\n", v.Version, v.Go) })
		},
	}
}

func (a *app) demo() *cobra.Command {
	return &cobra.Command{
		Use: "demo [--keep]", Short: "one governed story, end to end, on this machine", GroupID: groupHouse, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return exit(a.Demo(cmd.Context(), args, a.Stdout, a.Stderr))
		},
	}
}

func (a *app) studio() *cobra.Command {
	return &cobra.Command{
		Use: "studio COMMAND", Short: "the reference system that the demo governs", GroupID: groupHouse, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return exit(a.Studio(cmd.Context(), args, a.Stdin, a.Stdout, a.Stderr))
		},
	}
}

// exit makes an exit code an error, nil for 0.
func exit(code int) error {
	if code == 0 {
		return nil
	}
	return Exit(code)
}
