package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/gov"
)

func (a *app) serve() *cobra.Command {
	var o ServeOptions
	var alone bool
	c := &cobra.Command{
		Use: "serve", Short: "hold the log, listen, and carry rollouts out", GroupID: groupRollout, Args: cobra.NoArgs,
		Long: "Holds the writer's lock, listens on a 0600 socket that every other command finds by\n" +
			"itself, and on a loopback address for callers with a token, and carries rollouts out\n" +
			"until it is interrupted. Rollouts freeze while nothing supervises them.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if a.Env("GOVERN_SERVER") != "" {
				return gov.Errorf(gov.KindInvalid, "serve_elsewhere", "GOVERN_SERVER is set, so the log is somewhere else").WithHint("unset GOVERN_SERVER")
			}
			w, err := a.repo(ctx)
			if err != nil {
				return err
			}
			o.Supervise = !alone
			o.Ready = func(addr, socket string) { a.listening(addr, socket) }
			return a.Serve(ctx, w, o)
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:7170", "loopback host:port for callers with a token; \"\" for none")
	c.Flags().BoolVar(&alone, "no-supervise", false, "do not carry rollouts out")
	return c
}

// listening says where the server can be reached: the only lines on stdout.
func (a *app) listening(addr, socket string) {
	if a.output == "json" {
		b, err := json.Marshal(map[string]string{"socket": socket, "address": addr})
		if err == nil {
			fmt.Fprintf(a.Stdout, "%s\n", b)
		}
		return
	}
	fmt.Fprintf(a.Stdout, "socket   %s\n", socket)
	if addr != "" {
		fmt.Fprintf(a.Stdout, "address  http://%s\n", addr)
	}
}
