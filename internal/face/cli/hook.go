package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

func (a *app) hook() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hook", Short: "enforce the policy on every push to this repository", GroupID: groupChange, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var repo string
	install := &cobra.Command{
		Use: "install", Short: "write the receive hooks; hooks that are there are kept and run first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.hookInstall(cmd.Context(), repo) },
	}
	install.Flags().StringVar(&repo, "repo", "", "repository that receives pushes (default: this one)")
	cmd.AddCommand(install,
		&cobra.Command{
			Use: "pre-receive", Short: "called by git before a push lands", Hidden: true, Args: cobra.ArbitraryArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return a.preReceive(cmd.Context()) },
		},
		&cobra.Command{
			Use: "post-receive", Short: "called by git after a push has landed", Hidden: true, Args: cobra.ArbitraryArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return a.postReceive(cmd.Context()) },
		},
	)
	return cmd
}

func (a *app) hookInstall(ctx context.Context, dir string) error {
	if dir == "" {
		dir = a.Dir
	}
	w, err := a.OpenRepo(ctx, dir)
	if err != nil {
		return err
	}
	if _, err := engine.ReadIdentity(w.DataDir()); err != nil {
		return err
	}
	hooks, kept, err := w.InstallHooks(ctx, []string{a.Executable})
	if err != nil {
		return err
	}
	v := struct {
		Hooks []string `json:"hooks"`
		Kept  []string `json:"kept,omitempty"`
	}{hooks, kept}
	return a.give(v, func(out io.Writer) {
		for _, h := range hooks {
			fmt.Fprintf(out, "hook  %s\n", h)
		}
		for _, k := range kept {
			fmt.Fprintf(out, "kept  %s (it still runs)\n", k)
		}
	})
}

// update is one line that git gives a receive hook.
type update struct{ old, new, ref string }

var updateLine = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) (refs/\S.*)$`)

// readUpdates reads the lines on stdin; anything else is refused.
func readUpdates(in io.Reader) ([]update, error) {
	var out []update
	s := bufio.NewScanner(in)
	for s.Scan() {
		m := updateLine.FindStringSubmatch(s.Text())
		if m == nil {
			return nil, gov.Errorf(gov.KindInvalid, "hook_input_invalid", "git gave the hook a line that is not old, new and ref").WithHint("govern hook install")
		}
		out = append(out, update{m[1], m[2], m[3]})
	}
	return out, s.Err()
}

func (u update) deletes() bool { return strings.Trim(u.new, "0") == "" }

// receiving is one push as a hook sees it.
type receiving struct {
	*here
	git map[string]string
}

// receive opens repository and log for a hook. The log is the one beside this
// repository: a hook asks no other.
func (a *app) receive(ctx context.Context, purpose string) (*receiving, error) {
	a.output = "text"
	w, err := a.repo(ctx)
	if err != nil {
		return nil, err
	}
	h := &here{a: a, w: w, me: gov.Principal{Kind: gov.Human}}
	if h.law, err = engine.ReadLaw(ctx, w); err != nil {
		return nil, uninitialised(err)
	}
	if h.s, err = a.OpenSession(ctx, w, purpose, "hook"); err != nil {
		return nil, err
	}
	return &receiving{here: h, git: a.Quarantine()}, nil
}

// preReceive decides a push. Whatever goes wrong on the way to the answer about
// a governed branch is a no.
func (a *app) preReceive(ctx context.Context) error {
	updates, err := readUpdates(a.Stdin)
	if err != nil {
		return err
	}
	updates = slices.DeleteFunc(updates, func(u update) bool { return !strings.HasPrefix(u.ref, "refs/heads/") })
	if len(updates) == 0 {
		return nil
	}
	r, err := a.receive(ctx, "git push")
	if err != nil {
		return err
	}
	defer r.close()
	passes := true
	for _, u := range updates {
		ok, err := r.judge(ctx, u)
		if err != nil {
			return err
		}
		passes = passes && ok
	}
	if !passes {
		return Exit(ExitRefused)
	}
	return nil
}

// governs tells whether the policy in force governs a branch.
func (r *receiving) governs(ref string) bool {
	branch := strings.TrimPrefix(ref, "refs/heads/")
	if len(r.law.Policy.Branches) == 0 {
		return branch == r.law.Branch
	}
	return slices.ContainsFunc(r.law.Policy.Branches, func(p string) bool {
		ok, err := path.Match(p, branch)
		return ok || err != nil
	})
}

func (r *receiving) judge(ctx context.Context, u update) (bool, error) {
	if !r.governs(u.ref) {
		return r.feature(ctx, u)
	}
	ans, err := r.s.Client().Gate(ctx, client.GateRequest{Ref: u.ref, Old: u.old, New: u.new, Record: true, Git: r.git})
	if err != nil {
		return false, err
	}
	if ans.Allowed {
		for _, c := range ans.Changes {
			fmt.Fprintf(r.a.Stderr, "govern: %s may be merged\n", c.ID)
		}
		return ans.Passes, nil
	}
	r.a.gateText(r.a.Stderr, ans, r.me)
	if !ans.Passes {
		fmt.Fprintf(r.a.Stderr, "govern: the push to %s is refused\n", printable(strings.TrimPrefix(u.ref, "refs/heads/")))
	}
	return ans.Passes, nil
}

// maxSynced bounds how many changes of one branch are taken in with a push.
const maxSynced = 20

// feature takes in the changes that a branch carries. Only a number that
// belongs to another change holds the push up.
func (r *receiving) feature(ctx context.Context, u update) (bool, error) {
	if u.deletes() {
		return true, nil
	}
	ids, err := r.carried(ctx, u.new)
	if err != nil {
		r.note("%s", plain(err))
		return true, nil
	}
	for i, id := range ids {
		if i == maxSynced {
			r.note("%d further changes of this branch are taken in when they are submitted", len(ids)-i)
			break
		}
		c, err := r.s.Client().Sync(ctx, client.SyncRequest{Change: id, Head: u.new, Git: r.git})
		if gov.CodeOf(err) == "change_exists" {
			return false, err
		}
		if err != nil {
			r.note("%s is not taken in: %s [%s]", id, plain(err), gov.CodeOf(err))
			continue
		}
		if c.Verdict != nil {
			for q := range c.Verdict.Leaves {
				if q.ID == change.RequirementProposal {
					r.note("%s is not taken in like this: %s; next: %s", id, q.Why, q.Command)
				}
			}
			fmt.Fprintln(r.a.Stderr, "govern: "+change.Screen(*c.Verdict, r.me)[0])
		}
	}
	return true, nil
}

func (r *receiving) note(format string, args ...any) {
	fmt.Fprintf(r.a.Stderr, "govern: note: %s\n", printable(fmt.Sprintf(format, args...)))
}

// carried lists the changes whose metadata a branch brings.
func (r *receiving) carried(ctx context.Context, head string) ([]gov.ChangeID, error) {
	base, err := r.w.MergeBase(ctx, r.target(), head)
	if err != nil {
		return nil, err
	}
	_, touched, err := r.w.Between(ctx, base, head, "")
	if err != nil {
		return nil, err
	}
	ids, _ := r.changesIn(touched)
	return ids, nil
}

// landed takes the changes of a branch in once more, now that everybody can read
// its objects: what could not be read or begun from the quarantine of
// pre-receive is caught up on. A push that has landed is never held up.
func (r *receiving) landed(ctx context.Context, u update) {
	ids, err := r.carried(ctx, u.new)
	if err != nil {
		r.note("%s", plain(err))
		return
	}
	for _, id := range ids[:min(len(ids), maxSynced)] {
		if _, err := r.s.Client().Sync(ctx, client.SyncRequest{Change: id, Head: u.new}); err != nil {
			r.note("%s is not taken in: %s [%s]", id, plain(err), gov.CodeOf(err))
		}
	}
}

// postReceive records what has landed on governed branches, and takes in what
// other branches carry.
func (a *app) postReceive(ctx context.Context) error {
	updates, err := readUpdates(a.Stdin)
	if err != nil {
		return err
	}
	updates = slices.DeleteFunc(updates, func(u update) bool { return !strings.HasPrefix(u.ref, "refs/heads/") || u.deletes() })
	if len(updates) == 0 {
		return nil
	}
	r, err := a.receive(ctx, "git push")
	if err != nil {
		return err
	}
	defer r.close()
	for _, u := range updates {
		if !r.governs(u.ref) {
			r.landed(ctx, u)
			continue
		}
		if _, err := r.s.Client().Merged(ctx, client.MergedRequest{Ref: u.ref, Old: u.old, New: u.new}); err != nil {
			return err
		}
	}
	return nil
}
