// keys.go: written by helper C

package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

func (a *app) keys() *cobra.Command {
	return group("key COMMAND", "make a signing key, or show which one signs", groupHouse, a.keyNew(), a.keyShow())
}

func (a *app) keyNew() *cobra.Command {
	var comment string
	cmd := &cobra.Command{
		Use: "new FILE [--comment TEXT]", Short: "make an Ed25519 key pair FILE and FILE.pub without passphrase", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := args[0]
			if !filepath.IsAbs(file) {
				file = filepath.Join(a.Dir, file)
			}
			fingerprint, err := a.NewKey(file, comment)
			if err != nil {
				return err
			}
			out := struct {
				File        string `json:"file"`
				PublicFile  string `json:"public_file"`
				Fingerprint string `json:"fingerprint"`
			}{file, file + ".pub", fingerprint}
			return a.give(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n  private  %s\n  public   %s\n", fingerprint, file, out.PublicFile)
				fmt.Fprintf(w, "next: git config user.signingkey %s\n      govern people add HANDLE --key-file %s.pub …\n", out.PublicFile, args[0])
				fmt.Fprintln(w, "note: it has no passphrase; ssh-keygen -p -f FILE gives it one")
				fmt.Fprintln(w, "note: where the policy demands presence, use a security key: ssh-keygen -t ed25519-sk")
			})
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "comment in the public key")
	return cmd
}

// shownKey is the answer of `key show`.
type shownKey struct {
	Fingerprint string            `json:"fingerprint"`
	Handle      string            `json:"handle,omitempty"` // "": nobody in the registry
	Kind        gov.PrincipalKind `json:"kind,omitempty"`
	Roles       []string          `json:"roles,omitempty"`
	Type        string            `json:"type,omitempty"`
	Presence    bool              `json:"presence"` // the key can prove that a person touched it
	Valid       bool              `json:"valid"`    // it may sign now
	NotAfter    string            `json:"not_after,omitempty"`
	Registry    string            `json:"registry"` // path and branch it was looked up in
}

func (a *app) keyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "which key signs, whose it is, and whether it proves presence", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := a.shownKey(cmd.Context())
			if err != nil {
				return err
			}
			return a.give(k, func(w io.Writer) { printKey(w, k) })
		},
	}
}

func (a *app) shownKey(ctx context.Context) (shownKey, error) {
	w, err := a.repo(ctx)
	if err != nil {
		return shownKey{}, err
	}
	s, err := a.signer(ctx, w)
	if err != nil {
		return shownKey{}, err
	}
	out := shownKey{Fingerprint: s.Fingerprint()}
	law, err := engine.ReadLaw(ctx, w)
	if err != nil {
		return out, uninitialised(err)
	}
	out.Registry = law.Policy.People + " on " + law.Branch
	p, ok := byKey(law.Registry, out.Fingerprint)
	if !ok {
		return out, nil
	}
	out.Handle, out.Kind, out.Roles = p.Handle, p.Kind, p.Roles
	i := slices.IndexFunc(p.Keys, func(k gov.Key) bool { return k.Fingerprint == out.Fingerprint })
	k := p.Keys[i]
	out.Type, out.Presence, out.Valid = k.Type, k.Presence, k.ValidAt(now())
	if !k.NotAfter.IsZero() {
		out.NotAfter = k.NotAfter.UTC().Format("2006-01-02 15:04Z")
	}
	return out, nil
}

func printKey(w io.Writer, k shownKey) {
	rows := [][]string{{"key", k.Fingerprint}}
	if k.Handle == "" {
		rows = append(
			rows, []string{"who", "nobody in " + k.Registry + ": its signatures do not count"},
			[]string{"next", "govern people add HANDLE --key-file FILE.pub   (a change, to be approved)"},
		)
		table(w, rows)
		return
	}
	who := k.Handle + ", " + string(k.Kind)
	if len(k.Roles) > 0 {
		who += ": " + strings.Join(k.Roles, ", ")
	}
	rows = append(rows, []string{"who", who}, []string{"in", k.Registry}, []string{"type", k.Type})
	switch {
	case k.Presence:
		rows = append(rows, []string{"presence", "yes: each signature proves a touch"})
	default:
		rows = append(rows, []string{"presence", "no: not enough where the policy demands presence"})
	}
	switch {
	case !k.Valid:
		rows = append(rows, []string{"valid", "NO: it may not sign now" + until(k.NotAfter)})
	case k.NotAfter != "":
		rows = append(rows, []string{"valid", "yes" + until(k.NotAfter)})
	}
	table(w, rows)
}

func until(t string) string {
	if t == "" {
		return ""
	}
	return ", until " + t
}
