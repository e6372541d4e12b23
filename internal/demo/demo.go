package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const usage = `usage: govern demo [--keep]

Runs one governed story end to end in a temporary directory: a standard change,
a high-risk change whose canary turns bad, a critical change that goes through,
and the proof of it all. Needs Go and git, no network, about a minute.
`

// Main runs the demo; exe is the govern binary. Exit code 0 only if every step
// did what it claims.
func Main(ctx context.Context, exe string, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && (args[0] == "up" || args[0] == "down") {
		if err := service(args); err != nil {
			fmt.Fprintln(stderr, "govern demo "+args[0]+":", err)
			return 1
		}
		return 0
	}
	f := flag.NewFlagSet("govern demo", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	keep := f.Bool("keep", false, "keep the directory")
	if err := f.Parse(args); err != nil || f.NArg() > 0 {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			return 0
		}
		fmt.Fprint(stderr, usage)
		return 2
	}
	dir, err := os.MkdirTemp("", "govern-demo-")
	if err != nil {
		fmt.Fprintln(stderr, "govern demo:", err)
		return 1
	}
	s := &stage{dir: dir, exe: exe, out: newTeller(stdout), began: time.Now(), people: map[string]*person{}}
	err = s.play(ctx)
	s.clean()
	if err != nil {
		s.out.fail(err)
		fmt.Fprintf(stdout, "\nkept for a look: %s\n", dir)
		return 1
	}
	took := time.Since(s.began).Round(100 * time.Millisecond)
	if *keep {
		fmt.Fprintf(stdout, "\nEverything happened as claimed, in %s. Kept: %s\n", took, dir)
		return 0
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(stderr, "govern demo:", err)
		return 1
	}
	fmt.Fprintf(stdout, "\nEverything happened as claimed, in %s. (--keep keeps the directory)\n", took)
	return 0
}

// play tells the story.
func (s *stage) play(ctx context.Context) error {
	s.out.say("govern demo in %s", s.dir)
	s.out.say("Durations are compressed by the demo's own policy: 60 minutes of monitoring are")
	s.out.say("%s here, 24 hours %s, the bake of an hour %s. There are no security", monitorHigh, monitorCritical, bake)
	s.out.say("keys in a demo, so its policy does not ask for user presence (presence: []).")
	for _, act := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"People, keys, a repository and a log", s.setUp},
		{"A standard change: refused, approved, merged", s.standard},
		{"A high-risk change whose canary turns bad", s.bad},
		{"A critical change: staging, canary, 1 → 5 → 25 → 100 %", s.critical},
		{"The proof", s.proof},
	} {
		s.out.act(act.title)
		if err := act.play(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}
