package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

type initFlags struct {
	solo                  bool
	mode, founder, origin string
	owners                []string
}

func (a *app) init() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use: "init", Short: "govern this repository", GroupID: groupChange, Args: cobra.NoArgs,
		Long: `Writes governance.yaml and .govern/allowed_signers with your key, commits both to
the default branch, and begins the log. Files that are there already are kept.
In a bare repository only the log is made: policy and people come with a push.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := a.repo(cmd.Context())
			if err != nil {
				return err
			}
			return (&founding{a: a, w: w, f: f}).run(cmd.Context())
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.solo, "solo", false, "one person alone: the owner may be the author, at low and medium risk")
	fl.StringVar(&f.mode, "mode", "", "enforce or observe (default: observe where there are commits, else enforce)")
	fl.StringVar(&f.founder, "founder", "", "your handle (default: from your e-mail address)")
	fl.StringVar(&f.origin, "origin", "", "name of the log (default: from where it lies)")
	fl.StringArrayVar(&f.owners, "owner", nil, "handle that owns everything (default: the founder; may be repeated)")
	return cmd
}

// founding is one run of init.
type founding struct {
	a      *app
	w      Workbench
	f      initFlags
	signer Signer

	branch, tip string // tip is "" where the branch has no commits
	made        []string
}

// initAnswer is what init says in JSON.
type initAnswer struct {
	Origin  string         `json:"origin"`
	Key     string         `json:"key"`
	Genesis gov.Digest     `json:"genesis"`
	Branch  string         `json:"branch"`
	Commit  string         `json:"commit"`
	Mode    string         `json:"mode"`
	Made    []string       `json:"made"` // files that were written
	Short   []policy.Short `json:"short,omitempty"`
}

func (n *founding) run(ctx context.Context) (err error) {
	if n.f.mode != "" && n.f.mode != string(policy.Enforce) && n.f.mode != string(policy.Observe) {
		return gov.Errorf(gov.KindInvalid, "mode_unknown", "there is no mode %q", n.f.mode).WithHint("use --mode enforce or --mode observe")
	}
	if id, err := engine.ReadIdentity(n.w.DataDir()); err == nil && !id.Local {
		return gov.Errorf(gov.KindConflict, "already_initialised", "%s holds a log already", n.w.DataDir()).WithHint("govern status")
	} else if err == nil {
		return gov.Errorf(gov.KindConflict, "already_initialised", "this clone has a log of its own already; the one beside %s decides", remoteName).WithHint("govern status")
	}
	if n.signer, err = n.a.signer(ctx, n.w); err != nil {
		return err
	}
	if err := n.find(ctx); err != nil {
		return err
	}
	commit, err := n.baseline(ctx)
	if err != nil {
		return err
	}
	law, err := engine.ReadLawAt(ctx, n.w, n.branch, commit)
	if err != nil {
		return err
	}
	id, err := n.a.InitLog(ctx, n.w, n.f.origin, n.branch, commit, func(st gov.Statement) ([]byte, error) { return n.signer.Seal(ctx, st) })
	if err != nil {
		return err
	}
	rules := law.Policy.Owners.Rules
	if len(rules) == 0 {
		rules = law.Owners
	}
	ans := initAnswer{
		Origin: id.Origin, Key: id.Key, Genesis: id.Genesis, Branch: n.branch, Commit: commit, Mode: string(law.Policy.Mode),
		Made: n.made, Short: policy.Liveness(law.Policy, rules, law.Registry, now()),
	}
	return n.a.give(ans, func(w io.Writer) { n.text(w, ans, law) })
}

// find looks for the default branch and its tip.
func (n *founding) find(ctx context.Context) error {
	name, _, err := n.w.DefaultBranch(ctx)
	if err != nil {
		if name, err = n.w.CurrentBranch(ctx); err != nil || name == "" {
			return gov.Errorf(gov.KindInvalid, "default_branch_unknown", "it is not clear which branch to govern").WithHint("git switch -c main")
		}
	}
	n.branch = name
	n.tip, err = n.w.Resolve(ctx, "refs/heads/"+name)
	if gov.KindOf(err) == gov.KindNotFound {
		return nil
	}
	return err
}

// baseline commits what is missing of policy and people, and gives the commit
// that holds both.
func (n *founding) baseline(ctx context.Context) (string, error) {
	files := map[string][]byte{}
	text, have, err := n.file(ctx, policy.Path)
	if err != nil {
		return "", err
	}
	if !have {
		if n.w.IsBare() {
			return "", gov.Errorf(gov.KindNotFound, "policy_missing", "%s holds no %s, and a bare repository has no work tree to write it in", n.branch, policy.Path).
				WithHint("govern init in a clone, git push, then govern init here")
		}
		if text, err = n.policy(ctx); err != nil {
			return "", err
		}
	}
	p, err := policy.Parse(text)
	if err != nil {
		return "", err
	}
	people, known, err := n.file(ctx, p.People)
	if err != nil {
		return "", err
	}
	if people, err = n.people(ctx, people); err != nil {
		return "", err
	}
	if n.w.IsBare() {
		return n.tip, nil
	}
	for name, b := range map[string][]byte{policy.Path: text, p.People: people} {
		if old, err := n.committed(ctx, name); err != nil {
			return "", err
		} else if string(old) != string(b) {
			files[name] = b
			n.made = append(n.made, name)
		}
	}
	_ = known
	return n.commit(ctx, files)
}

func (n *founding) commit(ctx context.Context, files map[string][]byte) (string, error) {
	const message = "govern: policy and people\n\nThe baseline from which changes are governed."
	switch {
	case len(files) == 0:
		return n.tip, nil
	case n.tip == "":
		return n.w.FirstFiles(ctx, n.branch, files, message)
	default:
		return n.w.AddFiles(ctx, n.branch, files, message)
	}
}

// file reads a file as it stands in the work tree, else on the branch.
func (n *founding) file(ctx context.Context, name string) ([]byte, bool, error) {
	if dir := n.w.WorkTreeDir(); dir != "" {
		if branch, err := n.w.CurrentBranch(ctx); err == nil && branch == n.branch {
			b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return b, err == nil, err
			}
		}
	}
	b, err := n.committed(ctx, name)
	return b, b != nil, err
}

func (n *founding) committed(ctx context.Context, name string) ([]byte, error) {
	if n.tip == "" {
		return nil, nil
	}
	b, err := n.w.ReadFile(ctx, n.tip, name)
	if gov.KindOf(err) == gov.KindNotFound {
		return nil, nil
	}
	return b, err
}

// handle is the founder's name in the registry.
func (n *founding) handle(email string) (string, error) {
	h := n.f.founder
	if h == "" {
		local, _, _ := strings.Cut(strings.ToLower(email), "@")
		h = strings.Trim(regexp.MustCompile(`[^a-z0-9._-]+`).ReplaceAllString(local, "-"), "-._")
	}
	if h == "" {
		return "", gov.Errorf(gov.KindInvalid, "founder_missing", "no handle can be made from the address that git commits with").WithHint("add --founder HANDLE")
	}
	return h, nil
}

// people gives the registry with the founder's key in it.
func (n *founding) people(ctx context.Context, file []byte) ([]byte, error) {
	entries, err := n.a.People(file)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Fingerprint == n.signer.Fingerprint() {
			return file, nil
		}
	}
	if n.w.IsBare() {
		return nil, gov.Errorf(gov.KindDenied, "signer_unknown", "the key %s belongs to nobody in the registry of %s, so it cannot found the log", n.signer.Fingerprint(), n.branch).
			WithHint("govern init --key KEY")
	}
	name, email, err := n.w.Identity(ctx)
	if err != nil {
		return nil, err
	}
	handle, err := n.handle(email)
	if err != nil {
		return nil, err
	}
	e := KeyEntry{Handle: handle, Name: name, Kind: gov.Human, Emails: []string{email}, PublicKey: n.signer.PublicLine()}
	return n.a.AddPerson(file, e)
}

// policy writes what differs from the default.
func (n *founding) policy(ctx context.Context) ([]byte, error) {
	mode := n.f.mode
	if mode == "" {
		mode = string(policy.Enforce)
		if n.tip != "" {
			mode = string(policy.Observe)
		}
	}
	owners := n.f.owners
	if len(owners) == 0 {
		_, email, err := n.w.Identity(ctx)
		if err != nil {
			return nil, err
		}
		h, err := n.handle(email)
		if err != nil {
			return nil, err
		}
		owners = []string{h}
	}
	var b strings.Builder
	b.WriteString("# What a change needs before it may be merged. Keys that are left out have\n# their defaults: govern policy show\nversion: 1\n")
	fmt.Fprintf(&b, "mode: %-8s # enforce: refuse what is not allowed; observe: judge and record only\n", mode)
	if n.f.solo {
		b.WriteString("solo: true     # low and medium risk: the owner may be the author\n")
	}
	if codeowners, err := n.committed(ctx, "CODEOWNERS"); err != nil {
		return nil, err
	} else if codeowners == nil {
		fmt.Fprintf(&b, "owners:\n  rules:       # the last rule that matches a path wins\n    - {path: \"*\", owners: [%s]}\n", strings.Join(owners, ", "))
	}
	return []byte(b.String()), nil
}

func (n *founding) text(w io.Writer, ans initAnswer, law engine.Law) {
	rows := [][]string{
		{"log", ans.Origin, ""},
		{"genesis", string(ans.Genesis)},
		{"branch", fmt.Sprintf("%s at %.12s", ans.Branch, ans.Commit)},
		{"mode", ans.Mode},
	}
	if len(ans.Made) > 0 {
		rows = append(rows, []string{"written", strings.Join(ans.Made, ", ")})
	}
	table(w, rows)
	if law.Policy.Solo {
		fmt.Fprintln(w, "\nsolo: at low and medium risk the owner may be the author, and every verdict\nsays so. High and critical changes need further people.")
	}
	shortRoles(w, ans.Short)
	fmt.Fprintln(w, "\nnext:")
	if !n.w.IsBare() && slices.ContainsFunc(ans.Short, func(s policy.Short) bool { return s.Everybody }) {
		fmt.Fprintln(w, "  govern people add HANDLE --key-file FILE.pub; git commit -am people\n                               now: later, people are a change to approve")
	}
	if n.w.IsBare() {
		fmt.Fprintln(w, "  govern hook install          enforce it on every push")
		return
	}
	if law.Policy.Mode == policy.Observe {
		fmt.Fprintln(w, "  mode: enforce in "+policy.Path+"    when the verdicts look right (a change)")
	}
	fmt.Fprintln(w, "  git switch -c NAME; git commit; govern submit -m WHY")
}

// shortRoles says for which risk nobody could approve.
func shortRoles(w io.Writer, shorts []policy.Short) {
	if len(shorts) == 0 {
		return
	}
	fmt.Fprintln(w, "\nshort of people:")
	for i, s := range shorts {
		if i == 8 {
			fmt.Fprintf(w, "  and %d more: govern policy check\n", len(shorts)-i)
			return
		}
		who := ""
		if s.Author != "" {
			who = " by " + s.Author
		}
		fmt.Fprintf(w, "  %s changes%s: %s\n    %s\n", s.Risk, who, s.Why, s.Fix)
	}
}
