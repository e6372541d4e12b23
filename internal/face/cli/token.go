// token.go: written by helper C

package cli

import (
	"context"
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/gov"
)

func (a *app) token() *cobra.Command {
	return group("token COMMAND", "tokens for programs that call the server; they approve nothing", groupHouse, a.tokenAdd(), a.tokenList(), a.tokenRevoke())
}

// tokenDir is the data directory of the repository here: tokens belong to the
// server that stands on it.
func (a *app) tokenDir(ctx context.Context) (string, error) {
	w, err := a.repo(ctx)
	if err != nil {
		return "", err
	}
	return w.DataDir(), nil
}

// handleForm is what the people file calls a handle.
var handleForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func (a *app) tokenAdd() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use: "add HANDLE [--kind service]", Short: "make a token; its secret is printed this once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := parseKind(kind)
			if err != nil {
				return err
			}
			if !handleForm.MatchString(args[0]) {
				return gov.Errorf(gov.KindInvalid, "handle_invalid", "%q is no handle", printable(args[0])).WithHint("use lower-case letters, digits, and . _ - inside")
			}
			dir, err := a.tokenDir(cmd.Context())
			if err != nil {
				return err
			}
			id, secret, err := a.AddToken(dir, args[0], k)
			if err != nil {
				return err
			}
			out := struct {
				ID     string            `json:"id"`
				Handle string            `json:"handle"`
				Kind   gov.PrincipalKind `json:"kind"`
				Secret string            `json:"secret"`
			}{id, args[0], k, secret}
			return a.give(out, func(w io.Writer) {
				fmt.Fprintln(w, secret)
				a.talk("token %s for %s (%s); the secret above is kept nowhere: export GOVERN_TOKEN=…", id, args[0], k)
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", string(gov.Service), "human, agent or service")
	return cmd
}

func (a *app) tokenList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "tokens without their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.tokenDir(cmd.Context())
			if err != nil {
				return err
			}
			list, err := a.ListTokens(dir)
			if err != nil {
				return err
			}
			out := struct {
				Tokens []TokenEntry `json:"tokens"`
			}{append([]TokenEntry{}, list...)}
			return a.give(out, func(w io.Writer) {
				if len(list) == 0 {
					fmt.Fprintln(w, "there are no tokens")
					return
				}
				rows := [][]string{{"ID", "HANDLE", "KIND", "CREATED"}}
				for _, t := range list {
					rows = append(rows, []string{t.ID, t.Handle, string(t.Kind), t.Created})
				}
				table(w, rows)
			})
		},
	}
}

func (a *app) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "take a token away", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.tokenDir(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.RevokeToken(dir, args[0]); err != nil {
				return err
			}
			out := struct {
				Revoked string `json:"revoked"`
			}{args[0]}
			return a.give(out, func(w io.Writer) { fmt.Fprintf(w, "token %s is revoked\n", args[0]) })
		},
	}
}
