package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

// revertBranch is the branch that takes a change back.
func revertBranch(id gov.ChangeID) string { return "revert-" + strings.ToLower(string(id)) }

func (a *app) change() *cobra.Command {
	cmd := &cobra.Command{
		Use: "change COMMAND", Short: "look at changes, describe them, take them back", GroupID: groupChange, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.changeNew(), a.changeList(), a.changeEdit(),
		a.changeOne("show ID", "how a change stands, and every statement about it (-o metadata: the specification's file)", (*here).changeShow),
		a.changeOne("diff ID", "what a change does to which files", (*here).changeDiff),
		a.changeOne("missing ID", "everything that is missing, who can give it, and how", (*here).changeMissing),
		a.changeOne("doc ID", "the governance document, in Markdown", (*here).changeDoc),
		a.changeOne("revert ID", "make a branch that takes a merged change back exactly", (*here).changeRevert),
		a.changeOne("withdraw ID", "close an open change", (*here).changeWithdraw))
	return cmd
}

// changeOne is a command about one change.
func (a *app) changeOne(use, short string, run func(*here, context.Context, gov.ChangeID) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := changeArg(args[0])
			if err != nil {
				return err
			}
			h, err := a.here(cmd.Context(), "govern change", false)
			if err != nil {
				return err
			}
			defer h.close()
			return run(h, cmd.Context(), id)
		},
	}
}

// look reads a change. One that the log does not know and that stands on a
// branch here is taken in first.
func (h *here) look(ctx context.Context, id gov.ChangeID) (client.Change, error) {
	c, err := h.s.Client().Change(ctx, id, h.me.Handle)
	if gov.KindOf(err) != gov.KindNotFound || h.w == nil {
		return c, err
	}
	b, missing := h.find(ctx, id, "")
	if missing != nil {
		return c, err
	}
	return h.sync(ctx, id, b.Commit)
}

func (h *here) changeShow(ctx context.Context, id gov.ChangeID) error {
	c, err := h.look(ctx, id)
	if err != nil {
		return err
	}
	if h.a.output == "metadata" {
		b, err := h.s.Client().Metadata(ctx, id)
		if err != nil {
			return err
		}
		_, err = h.a.Stdout.Write(b)
		return err
	}
	st, err := state(c)
	if err != nil {
		return err
	}
	return h.a.give(c, func(w io.Writer) {
		table(w, [][]string{
			{"change", fmt.Sprintf("%s, %s", c.ID, c.Status)},
			{"author", st.Author},
			{"owner", st.Owner},
			{"risk", string(st.Declared)},
			{"content", string(st.Revision.Change)},
			{"commit", st.Revision.Commit},
		})
		fmt.Fprintln(w)
		h.a.screen(w, c, h.me)
		section(w, "statements", statementRows(st.Statements, c.Verdict))
	})
}

func (a *app) changeList() *cobra.Command {
	var status string
	cmd := &cobra.Command{
		Use: "list", Short: "list changes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.here(cmd.Context(), "govern change list", false)
			if err != nil {
				return err
			}
			defer h.close()
			list, err := h.s.Client().Changes(cmd.Context(), status)
			if err != nil {
				return err
			}
			return a.give(list, func(w io.Writer) {
				if len(list.Changes) == 0 {
					fmt.Fprintln(w, "no changes")
					return
				}
				rows := [][]string{{"CHANGE", "STATUS", "RISK", "AUTHOR", "OWNER", "CONTENT", "CHANGED"}}
				for _, c := range list.Changes {
					rows = append(rows, []string{string(c.ID), c.Status, string(c.Risk), c.Author, c.Owner, c.Revision.Change.Short(), c.Changed.UTC().Format("2006-01-02 15:04")})
				}
				table(w, rows)
			})
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "only open, merged, reverted or withdrawn ones")
	return cmd
}

func (h *here) changeDiff(ctx context.Context, id gov.ChangeID) error {
	base, head, err := h.rangeOf(ctx, id)
	if err != nil {
		return err
	}
	rev, paths, err := h.w.Between(ctx, base, head, id)
	if err != nil {
		return err
	}
	if h.a.output != "text" {
		return h.a.give(struct {
			Revision gov.Revision     `json:"revision"`
			Paths    []gov.PathChange `json:"paths"`
		}{rev, paths}, nil)
	}
	patch, err := h.w.Patch(ctx, base, head, id)
	if err != nil {
		return err
	}
	text := string(patch)
	if h.a.terminal(h.a.Stdout) {
		text = printable(text)
	}
	_, err = io.WriteString(h.a.Stdout, text)
	return err
}

// rangeOf finds what a change brings: on its branch, or where it was merged.
func (h *here) rangeOf(ctx context.Context, id gov.ChangeID) (base, head string, err error) {
	b, err := h.find(ctx, id, "")
	if err == nil {
		base, err = h.w.MergeBase(ctx, h.target(), b.Commit)
		return base, b.Commit, err
	}
	c, known := h.s.Client().Change(ctx, id, "")
	if known != nil {
		return "", "", err
	}
	st, bad := state(c)
	if bad != nil || st.Merged == nil {
		return "", "", err
	}
	return st.Merged.Revision.Base, st.Merged.Commit, nil
}

func (h *here) changeMissing(ctx context.Context, id gov.ChangeID) error {
	c, err := h.look(ctx, id)
	if err != nil {
		return err
	}
	missing := []gov.Requirement{}
	if c.Verdict != nil {
		for r := range c.Verdict.Leaves {
			if !r.State.Done() {
				missing = append(missing, r)
			}
		}
	}
	if err := h.a.give(missing, func(w io.Writer) { missingText(w, c, missing) }); err != nil || c.Verdict == nil {
		return err
	}
	return exitOfAnswer(c.Verdict.Answer)
}

func missingText(w io.Writer, c client.Change, missing []gov.Requirement) {
	if len(missing) == 0 {
		fmt.Fprintf(w, "%s: nothing is missing\n", c.ID)
	}
	for _, r := range missing {
		fmt.Fprintf(w, "%s: %s: %s\n", r.State, r.ID, printable(r.Text))
		if r.Why != "" {
			fmt.Fprintf(w, "  why:  %s\n", printable(r.Why))
		}
		if len(r.Who) > 0 {
			fmt.Fprintf(w, "  who:  %s\n", printable(strings.Join(r.Who, ", ")))
		}
		if r.Command != "" {
			fmt.Fprintf(w, "  next: %s\n", printable(r.Command))
		}
	}
	if c.Verdict == nil {
		return
	}
	for _, n := range c.Verdict.NotCounted {
		fmt.Fprintf(w, "not counted: %s by %s: %s [%s]\n", orElse(string(n.Decision), "statement"), printable(n.Signer), printable(n.Why), n.Code)
	}
	for _, n := range c.Verdict.Notes {
		fmt.Fprintf(w, "note: %s\n", printable(n))
	}
}

func (h *here) changeDoc(ctx context.Context, id gov.ChangeID) error {
	doc, err := h.s.Client().Document(ctx, id)
	if err != nil {
		return err
	}
	return h.a.give(doc, func(w io.Writer) { io.WriteString(w, doc.Markdown) })
}

// changeRevert makes the branch with the exact inverse. Signing it is a step of
// its own.
func (h *here) changeRevert(ctx context.Context, id gov.ChangeID) error {
	c, err := h.s.Client().Change(ctx, id, h.me.Handle)
	if err != nil {
		return err
	}
	st, err := state(c)
	if err != nil {
		return err
	}
	if st.Merged == nil || st.Status != change.Merge {
		return gov.Errorf(gov.KindConflict, "change_not_merged", "%s is %s, so there is nothing to take back", id, c.Status).WithHint("govern status %s", id)
	}
	branch := revertBranch(id)
	message := fmt.Sprintf("Revert %s\n\nThis reverts commit %s.\n", id, st.Merged.Commit)
	commit, err := h.w.RevertCommit(ctx, branch, h.target(), st.Merged.Revision.Base, st.Merged.Commit, message)
	if gov.CodeOf(err) == "ref_moved" {
		return gov.Errorf(gov.KindConflict, "branch_exists", "there is a branch %s already", branch).WithHint("git branch -D %s, then govern change revert %s", branch, id)
	}
	if err != nil {
		return err
	}
	if err := h.push(ctx, branch, false, false); err != nil {
		return err
	}
	v := struct {
		Change gov.ChangeID `json:"change"`
		Branch string       `json:"branch"`
		Commit string       `json:"commit"`
		Next   []string     `json:"next"`
	}{id, branch, commit, []string{
		fmt.Sprintf("govern approve %s --stage revert -m WHY", id),
		fmt.Sprintf("git push %s %s:%s", remoteName, branch, h.law.Branch),
	}}
	return h.a.give(v, func(w io.Writer) {
		fmt.Fprintf(w, "%s takes %s back, at %.12s\nnext, an owner signs and it is pushed:\n", branch, id, commit)
		for _, n := range v.Next {
			fmt.Fprintln(w, "  "+n)
		}
	})
}

func (h *here) changeWithdraw(ctx context.Context, id gov.ChangeID) error {
	r, err := h.s.Client().Withdraw(ctx, id, h.me.Handle)
	if err != nil {
		return err
	}
	return h.a.give(r, func(w io.Writer) { fmt.Fprintf(w, "%s is withdrawn\n", id) })
}

func (a *app) changeNew() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use: "new -m WHY", Short: "write the metadata file into the work tree, to be edited and committed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := why(f.why); err != nil {
				return err
			}
			ctx := cmd.Context()
			h, err := a.here(ctx, "govern change new", false)
			if err != nil {
				return err
			}
			defer h.close()
			s := &submission{here: h, f: f}
			if err := s.onBranch(ctx); err != nil {
				return err
			}
			paths, err := s.identify(ctx)
			if err != nil {
				return err
			}
			if s.old != nil {
				return gov.Errorf(gov.KindConflict, "change_exists", "this branch holds %s already", s.id).WithHint("govern change edit %s", s.id)
			}
			return s.skeleton(ctx, paths)
		},
	}
	f.register(cmd)
	return cmd
}

// skeleton writes the file into the work tree, and replaces none.
func (s *submission) skeleton(ctx context.Context, paths []string) error {
	m, err := s.metadata(ctx, paths)
	if err != nil {
		return err
	}
	b, err := m.Print()
	if err != nil {
		return err
	}
	name := path.Join(s.folder(s.id), change.MetadataFile)
	root, err := os.OpenRoot(s.w.WorkTreeDir())
	if err != nil {
		return gov.Errorf(gov.KindInvalid, "no_work_tree", "this repository has no work tree to write in: %w", err)
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.FromSlash(path.Dir(name)), 0o755); err != nil {
		return fileFailed(name, err)
	}
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fileFailed(name, err)
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return fileFailed(name, err)
	}
	if err := f.Close(); err != nil {
		return fileFailed(name, err)
	}
	v := struct {
		Change gov.ChangeID `json:"change"`
		File   string       `json:"file"`
	}{s.id, name}
	return s.a.give(v, func(w io.Writer) {
		fmt.Fprintf(w, "%s\nnext: edit it, git add, git commit, govern submit -m WHY\n", name)
	})
}

func fileFailed(name string, err error) error {
	return gov.Errorf(gov.KindConflict, "file_unwritable", "%s cannot be written: %w", name, err).WithHint("git status")
}

func (a *app) changeEdit() *cobra.Command {
	return &cobra.Command{
		Use: "edit ID", Short: "edit the metadata file of the work tree ($EDITOR, on a terminal) and check it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := changeArg(args[0])
			if err != nil {
				return err
			}
			h, err := a.here(cmd.Context(), "govern change edit", false)
			if err != nil {
				return err
			}
			defer h.close()
			return h.edit(cmd.Context(), id)
		},
	}
}

func (h *here) edit(ctx context.Context, id gov.ChangeID) error {
	name := path.Join(h.folder(id), change.MetadataFile)
	file := filepath.Join(h.w.WorkTreeDir(), filepath.FromSlash(name))
	if editor := h.a.Env("EDITOR"); editor != "" && h.a.terminal(h.a.Stdout) {
		words := strings.Fields(editor)
		cmd := exec.CommandContext(ctx, words[0], append(words[1:], file)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = h.a.Stdin, plainWriter(h.a.Stdout), h.a.Stderr
		if err := cmd.Run(); err != nil {
			return gov.Errorf(gov.KindUnavailable, "editor_failed", "%s ended with an error: %w", words[0], err).WithHint("export EDITOR=vi")
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return gov.Errorf(gov.KindNotFound, "metadata_missing", "%s is not in the work tree: %w", name, err).WithHint("git switch to the branch of %s", id)
	}
	errs := change.MetadataErrors(b)
	for _, e := range errs[:max(0, len(errs)-1)] {
		fmt.Fprintf(h.a.Stderr, "%s:%s [%s]\n", name, printable(plain(e)), gov.CodeOf(e))
	}
	if len(errs) > 0 {
		last := errs[len(errs)-1]
		return gov.Errorf(gov.KindInvalid, gov.CodeOf(last), "%s:%s", name, plain(last)).WithHint("govern explain %s", gov.CodeOf(last))
	}
	m, err := change.ParseMetadata(b)
	if err != nil {
		return err
	}
	if m.ChangeID != id {
		return gov.Errorf(gov.KindInvalid, "change_id_mismatch", "%s says it is %s", name, m.ChangeID).WithHint("write \"change_id\": \"%s\"", id)
	}
	return h.a.give(struct {
		Change gov.ChangeID `json:"change"`
		Valid  bool         `json:"valid"`
	}{id, true}, func(w io.Writer) { fmt.Fprintf(w, "%s is valid\nnext: git commit, then govern submit -m WHY\n", name) })
}
