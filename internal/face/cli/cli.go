package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
)

// app is one run of the command line.
type app struct {
	Deps
	output string // text, json or yaml
	key    string // --key
	quiet  bool
}

// Main runs one command and gives its exit code.
func Main(ctx context.Context, d Deps, args []string) int {
	out := &checked{w: d.Stdout}
	d.Stdout = out
	a := &app{Deps: d}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(d.Stdin)
	root.SetOut(d.Stdout)
	root.SetErr(d.Stderr)
	err := root.ExecuteContext(ctx)
	if _, said := errors.AsType[Exit](err); out.err != nil && (err == nil || said || errors.Is(err, out.err)) {
		err = gov.Errorf(gov.KindUnavailable, "output_unwritable", "the answer could not be written: %w", out.err).WithHint("run it again with an output that has room")
	}
	a.complain(err)
	return exitCode(err)
}

// checked remembers the first error of a writer: an answer that nobody got is
// none, whatever it was.
type checked struct {
	w   io.Writer
	err error
}

func (c *checked) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}

// plainWriter is the stream behind a checked one.
func plainWriter(w io.Writer) io.Writer {
	if c, ok := w.(*checked); ok {
		return c.w
	}
	return w
}

// groups of commands in the help text.
const (
	groupChange  = "change"
	groupRollout = "rollout"
	groupProof   = "proof"
	groupHouse   = "house"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "govern",
		Short:         "decides whether a change may go ahead, carries it out, takes it back, and proves it",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(
		&cobra.Group{ID: groupChange, Title: "Changes:"}, &cobra.Group{ID: groupRollout, Title: "Rollouts:"},
		&cobra.Group{ID: groupProof, Title: "Proof:"}, &cobra.Group{ID: groupHouse, Title: "House:"},
	)
	f := root.PersistentFlags()
	f.StringVarP(&a.output, "output", "o", "text", "text, json or yaml (gate: also github, markdown, sarif)")
	f.StringVar(&a.key, "key", "", "signing key: a file, a .pub file or key::… (default $GOVERN_KEY, else git's user.signingkey)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no talk on stderr")
	f.StringVarP(&a.Dir, "directory", "C", a.Dir, "work as if started there")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return gov.Errorf(gov.KindInvalid, "usage", "%v", err).WithHint("%s --help", cmd.CommandPath())
	})
	for _, c := range a.commands() {
		root.AddCommand(c)
	}
	usage(root)
	return root
}

// usage makes every wrong command line an error of ours with a hint.
func usage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return gov.Errorf(gov.KindInvalid, "usage", "%s", misused(c, strings.Split(err.Error(), "\n")[0])).WithHint("%s", suggestion(c, args))
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		usage(c)
	}
}

// misused says which command was used wrongly; the program's own name stands
// before every error already.
func misused(c *cobra.Command, msg string) string {
	if !c.HasParent() {
		return msg
	}
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ") + ": " + msg
}

func suggestion(c *cobra.Command, args []string) string {
	if len(args) > 0 && c.HasSubCommands() {
		if s := c.SuggestionsFor(args[0]); len(s) > 0 {
			return c.CommandPath() + " " + s[0]
		}
	}
	return c.UseLine() + "   (" + c.CommandPath() + " --help)"
}

// complain says an error on stderr: what, code, cause, next command.
func (a *app) complain(err error) {
	if err == nil {
		return
	}
	if _, ok := errors.AsType[Exit](err); ok {
		return
	}
	e, ok := errors.AsType[*gov.Error](err)
	if !ok {
		msg := err.Error()
		if strings.HasPrefix(msg, "unknown command") {
			fmt.Fprintf(a.Stderr, "govern: %s [usage]\n  try: govern --help\n", strings.Split(msg, "\n")[0])
			return
		}
		fmt.Fprintf(a.Stderr, "govern: %s [internal]\n", printable(msg))
		return
	}
	if a.output == "json" {
		b, _ := json.Marshal(struct {
			client.Problem
			Status int `json:"status,omitzero"` // of HTTP: there was none
		}{Problem: client.Problem{Title: string(e.Kind), Detail: e.Message, Kind: e.Kind, Code: e.Code, Hint: e.Hint}})
		fmt.Fprintf(a.Stderr, "%s\n", b)
		return
	}
	fmt.Fprintf(a.Stderr, "govern: %s [%s]\n", printable(e.Message), e.Code)
	if e.Hint != "" {
		fmt.Fprintf(a.Stderr, "  next: %s\n", printable(e.Hint))
	}
}

// printable keeps control characters away from terminals.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// talk says something on stderr that is no data.
func (a *app) talk(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.Stderr, format+"\n", args...)
	}
}

// give prints the answer: the API's shape for json and yaml, text otherwise.
func (a *app) give(v any, text func(w io.Writer)) error {
	switch a.output {
	case "text":
		text(a.Stdout)
		return nil
	case "json":
		enc := json.NewEncoder(a.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "yaml":
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if b, err = yaml.JSONToYAML(b); err != nil {
			return err
		}
		_, err = a.Stdout.Write(b)
		return err
	default:
		return gov.Errorf(gov.KindInvalid, "output_unknown", "there is no output format %q here", a.output).WithHint("use -o text, json or yaml")
	}
}

// terminal tells whether a stream is one, and may be coloured and redrawn.
func (a *app) terminal(w io.Writer) bool {
	f, ok := plainWriter(w).(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && a.Env("NO_COLOR") == "" && a.Env("TERM") != "dumb"
}

// repo opens the repository of the current directory.
func (a *app) repo(ctx context.Context) (Workbench, error) { return a.OpenRepo(ctx, a.Dir) }

// session opens the repository and the way to its log.
func (a *app) session(ctx context.Context, purpose string) (Workbench, Session, error) {
	w, err := a.repo(ctx)
	if err != nil && a.Env("GOVERN_SERVER") == "" {
		return nil, nil, err
	}
	s, err := a.open(ctx, w, purpose)
	return w, s, err
}

// signer is the key that this person signs with.
func (a *app) signer(ctx context.Context, w Workbench) (Signer, error) {
	name := a.key
	if name == "" {
		name = a.Env("GOVERN_KEY")
	}
	if name == "" && w != nil {
		var err error
		if name, err = w.SigningKey(ctx); err != nil {
			return nil, err
		}
	}
	if name == "" {
		return nil, gov.Errorf(gov.KindInvalid, "signing_key_missing", "there is no key to sign with").
			WithHint("git config user.signingkey ~/.ssh/id_ed25519.pub   (or --key FILE)")
	}
	return a.Signer(ctx, name)
}
