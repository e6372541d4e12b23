package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/governhq/govern/audit"
	"github.com/governhq/govern/studio"
)

const usage = `studio composes sections of music from versioned modules, deterministically.

  studio compose --name Intro --bars 32 --seed 12345 -O intro.mid
  studio serve --listen 127.0.0.1:8080
  studio replay AUDIT_LOG INDEX|all
  studio init DIR                  writes the default bundle, to change it
  studio seal DIR                  writes the digests of changed configurations into its manifest
  studio bundle DIR -O FILE        packs a bundle directory into one file

studio COMMAND -h lists the flags of a command.
`

// env is what a command may touch.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// errUsage is a wrong command line; the message is already printed or is it.
type errUsage struct{ text string }

func (e errUsage) Error() string { return e.text }

// errDifferent is a replay that differs.
var errDifferent = errors.New("the replay differs from the record")

// Main runs one studio command, args without the program's name, and returns
// its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, env, []string) error{
		"compose": compose, "serve": serve, "replay": replay, "init": initDir, "seal": seal, "bundle": bundle,
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		if len(args) == 0 {
			fmt.Fprint(stderr, usage)
			return 2
		}
		fmt.Fprint(stdout, usage)
		return 0
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "studio: unknown command %q\n\n%s", args[0], usage)
		return 2
	}
	err := command(ctx, env{stdin, stdout, stderr}, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "studio %s: %s\n", args[0], err)
		if hint := hintOf(err); hint != "" {
			fmt.Fprintf(stderr, "  try: %s\n", hint)
		}
	}
	return exitCode(err)
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*studio.Error](err); ok && e.Hint != "" {
		return e.Hint
	}
	return audit.ErrorHint(err)
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[errUsage](err); ok {
		return 2
	}
	if errors.Is(err, errDifferent) {
		return 3
	}
	if e, ok := errors.AsType[*studio.Error](err); ok {
		switch {
		case e.Code == "inject_invalid":
			return 2
		case e.Status == 503:
			return 8
		case strings.HasPrefix(e.Code, "bundle_") && e.Status == 500, strings.HasSuffix(e.Code, "_invalid") && e.Status == 500:
			return 3
		}
		return 1
	}
	switch audit.ErrorKind(err) {
	case "invalid":
		return 2
	case "integrity":
		return 3
	case "not_found":
		return 4
	case "conflict":
		return 5
	case "unavailable", "timeout":
		return 8
	}
	return 1
}

// flags is a flag set that allows flags behind positional arguments.
type flags struct {
	*flag.FlagSet
	usage string
	out   io.Writer // for help that was asked for
}

func newFlags(e env, name, usage string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("studio "+name, flag.ContinueOnError), usage: usage, out: e.stdout}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// parse returns the positional arguments, of which there must be want.
func (f *flags) parse(args []string, want int) ([]string, error) {
	var positional []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprintf(f.out, "usage: %s\n\n", f.usage)
				f.SetOutput(f.out)
				f.PrintDefaults()
				return nil, err
			}
			return nil, f.wrong(err.Error())
		}
		if f.NArg() == 0 {
			break
		}
		positional = append(positional, f.Arg(0))
		args = f.Args()[1:]
	}
	if len(positional) != want {
		return nil, f.wrong(fmt.Sprintf("%d arguments instead of %d", len(positional), want))
	}
	return positional, nil
}

func (f *flags) wrong(why string) error { return errUsage{why + "\n  usage: " + f.usage} }
