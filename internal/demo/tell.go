package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// teller prints the story: steps with a mark, progress in place on a terminal,
// plain lines in a pipe.
type teller struct {
	mu    sync.Mutex
	w     io.Writer
	live  bool
	width int
	acts  int
	shown bool // a progress line stands there
}

func newTeller(w io.Writer) *teller {
	t := &teller{w: w, width: 80}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		t.live = true
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols > 20 {
			t.width = cols
		}
	}
	return t
}

func (t *teller) line(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	fmt.Fprintf(t.w, format+"\n", args...)
}

func (t *teller) clear() {
	if t.shown {
		fmt.Fprint(t.w, "\r\x1b[K")
		t.shown = false
	}
}

func (t *teller) colour(code, s string) string {
	if !t.live || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// say is plain talk; act begins a part; step is something shown to be so.
func (t *teller) say(format string, args ...any) { t.line("%s", fmt.Sprintf(format, args...)) }

func (t *teller) act(title string) {
	t.acts++
	t.line("\n%s", t.colour("1", fmt.Sprintf("%d. %s", t.acts, title)))
}

func (t *teller) step(format string, args ...any) {
	t.line("  %s %s", t.colour("32", "ok"), fmt.Sprintf(format, args...))
}

func (t *teller) fail(err error) {
	t.line("  %s %v", t.colour("31", "FAILED"), err)
}

// quote shows what a command printed, indented.
func (t *teller) quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		t.line("     | %s", strings.TrimRight(line, "\n"))
	}
}

// progress shows where something long is; in a pipe only what changed is said,
// by the caller's steps.
func (t *teller) progress(format string, args ...any) {
	if !t.live {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := []rune("     " + fmt.Sprintf(format, args...))
	if len(s) >= t.width {
		s = s[:t.width-1]
	}
	fmt.Fprintf(t.w, "\r\x1b[K%s", string(s))
	t.shown = true
}
