package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/evidence"
)

func (a *app) artifact() *cobra.Command {
	return group("artifact", "what was built from which tree", groupChange, a.artifactAdd(), a.artifactWhich())
}

func (a *app) artifactAdd() *cobra.Command {
	var treeOf, branch string
	c := &cobra.Command{
		Use: "add ID NAME FILE", Short: "sign that a file was built from the change's tree",
		Long: "Signs, as a service, that FILE was built from the tree of the change that will stand\n" +
			"on the target. NAME is the artifact's name in the policy's targets.",
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := changeArg(args[0])
			if err != nil {
				return err
			}
			digest, err := fileDigest(a.path(args[2]))
			if err != nil {
				return fileError(args[2], err)
			}
			h, err := a.here(ctx, "govern artifact add", true)
			if err != nil {
				return err
			}
			defer h.close()
			at, err := h.examined(ctx, id, branch, treeOf)
			if err != nil {
				return err
			}
			if !h.named(args[1]) {
				a.talk("note: no target of the policy takes an artifact called %q", args[1])
			}
			return h.signEvidence(ctx, at, []gov.Evidence{{
				Kind: evidence.KindBuild, Tool: "govern artifact add", Report: digest, Passed: 1,
				Artifact: &gov.Artifact{Name: args[1], Digest: digest},
			}}, "")
		},
	}
	c.Flags().StringVar(&treeOf, "tree-of", "", "commit or ref that it was built from (default the change's branch)")
	c.Flags().StringVar(&branch, "branch", "", "branch that holds the change")
	return c
}

// named tells whether a target deploys an artifact of that name.
func (h *here) named(artifact string) bool {
	for _, t := range h.law.Policy.Targets {
		if t.Artifact == artifact {
			return true
		}
	}
	return false
}

// fileDigest hashes a file of any size.
func fileDigest(name string) (gov.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return gov.DigestSum([sha256.Size]byte(sum.Sum(nil))), nil
}

// origins is the answer of `artifact which`.
type origins struct {
	Digest gov.Digest `json:"digest"`
	Builds []built    `json:"builds"`
	Places []placed   `json:"targets"`
}

// built is a signed statement that an artifact was built from a tree.
type built struct {
	Name      string       `json:"name"`
	Change    gov.ChangeID `json:"change"`
	Status    string       `json:"status"`
	Tree      gov.Digest   `json:"tree"`
	Signer    string       `json:"signer"`
	Statement gov.Digest   `json:"statement"`
	Index     uint64       `json:"index"`
	Time      time.Time    `json:"time"`
}

// placed is a target that knows the artifact.
type placed struct {
	Target string       `json:"target"`
	As     string       `json:"as"` // stable, previous, candidate, blocked
	Change gov.ChangeID `json:"change,omitempty"`
}

func (a *app) artifactWhich() *cobra.Command {
	return &cobra.Command{
		Use: "which DIGEST|FILE", Short: "which change built an artifact, who says so, and where it runs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			want, err := a.digestArg(args[0])
			if err != nil {
				return err
			}
			_, s, err := a.session(ctx, "govern artifact which")
			if err != nil {
				return err
			}
			defer s.Close()
			out := origins{Builds: []built{}, Places: []placed{}}
			if err := out.builds(ctx, s, want); err != nil {
				return err
			}
			if err := out.places(ctx, s, want); err != nil {
				return err
			}
			if out.Digest == "" {
				return gov.Errorf(gov.KindNotFound, "artifact_unknown", "the log knows no artifact %s", args[0]).WithHint("govern artifact add ID NAME FILE")
			}
			return a.give(out, func(w io.Writer) { out.print(w) })
		},
	}
}

// digestArg reads a digest, the beginning of one, or the name of a file.
func (a *app) digestArg(s string) (string, error) {
	hex := strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	if len(hex) >= 8 && len(hex) <= 64 && strings.Trim(hex, "0123456789abcdef") == "" {
		return hex, nil
	}
	d, err := fileDigest(a.path(s))
	if err != nil {
		return "", gov.Errorf(gov.KindInvalid, "digest_invalid", "%q is neither a digest (8 hex digits or more) nor a file", s).WithHint("govern artifact which sha256:…")
	}
	return d.Hex(), nil
}

// match notes the digest that a beginning stands for; two are ambiguous.
func (o *origins) match(d gov.Digest, want string) (bool, error) {
	if !strings.HasPrefix(d.Hex(), want) || d == "" {
		return false, nil
	}
	if o.Digest != "" && o.Digest != d {
		return false, gov.Errorf(gov.KindInvalid, "digest_ambiguous", "%s begins more than one digest: %s and %s", want, o.Digest.Short(), d.Short()).WithHint("write more digits")
	}
	o.Digest = d
	return true, nil
}

func (o *origins) builds(ctx context.Context, s Session, want string) error {
	list, err := s.Client().Changes(ctx, "")
	if err != nil {
		return err
	}
	for _, c := range list.Changes {
		evs, err := s.Client().History(ctx, c.ID)
		if err != nil {
			return err
		}
		for _, e := range evs.Events {
			if e.Type != change.EventRecorded {
				continue
			}
			var r gov.Recorded
			if err := json.Unmarshal(e.Data, &r); err != nil {
				return gov.Errorf(gov.KindUnavailable, "answer_unreadable", "an event of %s cannot be read: %w", c.ID, err).WithHint("govern version, here and on the server")
			}
			if r.Evidence == nil || r.Evidence.Artifact == nil {
				continue
			}
			ok, err := o.match(r.Evidence.Artifact.Digest, want)
			if err != nil {
				return err
			}
			if ok {
				o.Builds = append(o.Builds, built{
					Name: r.Evidence.Artifact.Name, Change: c.ID, Status: c.Status, Tree: r.Revision.Tree,
					Signer: r.Signer, Statement: r.Digest, Index: e.Index, Time: e.Time,
				})
			}
		}
	}
	return nil
}

func (o *origins) places(ctx context.Context, s Session, want string) error {
	list, err := s.Client().Targets(ctx)
	if err != nil {
		return err
	}
	for _, t := range list.Targets {
		st, err := targetState(t)
		if err != nil {
			return err
		}
		type seen struct {
			as     string
			digest gov.Digest
			change gov.ChangeID
		}
		var all []seen
		for as, d := range map[string]*canary.Deployed{"stable": st.Stable, "previous": st.Previous} {
			if d != nil {
				all = append(all, seen{as, d.Artifact.Digest, d.Change})
			}
		}
		if st.Run != nil {
			all = append(all, seen{"candidate", st.Run.Artifact.Digest, st.Run.Change})
		}
		for d, b := range st.Blocked {
			all = append(all, seen{"blocked", d, b.Change})
		}
		for _, x := range all {
			ok, err := o.match(x.digest, want)
			if err != nil {
				return err
			}
			if ok {
				o.Places = append(o.Places, placed{t.Name, x.as, x.change})
			}
		}
	}
	return nil
}

func (o *origins) print(w io.Writer) {
	fmt.Fprintln(w, o.Digest)
	for _, b := range o.Builds {
		fmt.Fprintf(w, "  built    %s for %s (%s) from tree %s\n", printable(b.Name), b.Change, b.Status, b.Tree.Short())
		fmt.Fprintf(w, "           says %s at %s, record %d\n", b.Signer, b.Time.Format(time.RFC3339), b.Index)
	}
	for _, p := range o.Places {
		fmt.Fprintf(w, "  %-8s on %s%s\n", p.As, p.Target, of(p.Change))
	}
}

func of(id gov.ChangeID) string {
	if id == "" {
		return ""
	}
	return " (" + string(id) + ")"
}
