package change

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/governhq/govern/internal/gov"
)

// Bounds of the screen.
const (
	ScreenLines   = 12
	ScreenColumns = 80
)

const indent = "  "

// Screen says in at most ScreenLines lines of ScreenColumns columns how a change
// stands: its state, what is done, what is missing with who can give it and the
// exact command, which statements do not count and why, and what the viewer can
// do now. The same words stand in every face. Commands are never shortened;
// what does not fit is counted, with the command that shows the rest.
func Screen(v gov.Verdict, viewer gov.Principal) []string {
	s := &screen{v: v, all: "govern change missing " + string(v.Change)}
	head := []string{s.head()}
	if d := s.done(); d != "" {
		head = append(head, d)
	}
	foot := s.foot(viewer)
	room := ScreenLines - len(head) - len(foot)

	open, others, notes := s.open(foot), s.notCounted(), s.notes()
	forNotes := min(len(notes), 1)
	forOthers := min(len(others), 2)
	lines := s.fit(open, room-forNotes-forOthers, "more")
	left := room - len(lines) - forNotes
	rest := s.fit(others, left, "more not counted")
	noted := s.fit(notes, room-len(lines)-len(rest), "more notes")
	return slices.Concat(head, lines, rest, noted, foot)
}

type screen struct {
	v   gov.Verdict
	all string // the command that shows everything
}

func (s *screen) head() string {
	line := string(s.v.Change) + " is " + string(s.v.Answer)
	if s.v.Stage != "" {
		line += " at " + s.v.Stage
	}
	line += " (risk " + string(s.v.Risk)
	if d := s.v.Revision.Change; d != "" {
		line += ", content " + d.Short()
	}
	return cut(clean(line + ")"))
}

// done lists what is done: stages that are done as a whole, and single
// requirements of the stage that is open.
func (s *screen) done() string {
	var items []string
	for _, st := range s.v.Stages {
		if st.State.Done() {
			items = append(items, item(st))
			continue
		}
		for r := range (gov.Verdict{Stages: st.Children}).Leaves {
			if r.State.Done() {
				items = append(items, item(r))
			}
		}
	}
	if len(items) == 0 {
		return ""
	}
	return series("done: ", items)
}

func item(r gov.Requirement) string {
	switch {
	case r.State == gov.NotApplicable:
		return clean(r.ID + " (not applicable)")
	case r.State == gov.Overridden:
		return clean(r.ID + " (break-glass by " + strings.Join(breakers(r), ", ") + ")")
	case len(r.By) > 0 && len(r.Children) == 0:
		return clean(r.ID + " (" + strings.Join(r.By, ", ") + ")")
	default:
		return clean(r.ID)
	}
}

// breakers are those who lifted a requirement, or what is below it.
func breakers(r gov.Requirement) []string {
	out := slices.Clone(r.By)
	for _, c := range r.Children {
		if c.State != gov.Overridden {
			continue
		}
		for _, h := range breakers(c) {
			if !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// open lists what is not done, worst first, each in one or two lines, and the
// stages that only wait for others in one line at the end.
// A command is printed once: what the foot has, or an earlier line, is not said
// again. While the metadata cannot be read, everything else rests on guesses,
// and only what is wrong with it is said.
func (s *screen) open(foot []string) [][]string {
	if blocks := s.unreadable(); len(blocks) > 0 {
		return blocks
	}
	var blocks [][]string
	printed := map[string]bool{}
	for _, l := range foot {
		printed[l] = true
	}
	var later []string
	for _, want := range []gov.State{gov.Failed, gov.Unknown, gov.Missing, gov.Waiting} {
		for r := range s.v.Leaves {
			if r.State != want {
				continue
			}
			if strings.HasPrefix(r.Why, "after ") && r.Kind == "stage" {
				later = append(later, clean(r.ID))
				continue
			}
			b := s.block(r)
			if last := b[len(b)-1]; len(b) > 1 && printed[last] {
				b = b[:len(b)-1]
			} else {
				printed[last] = true
			}
			blocks = append(blocks, b)
		}
	}
	if len(later) > 0 {
		blocks = append(blocks, []string{series("later: ", later)})
	}
	return blocks
}

// unreadable gives what is wrong with the metadata, whole, and one command.
func (s *screen) unreadable() [][]string {
	var blocks [][]string
	command := ""
	for r := range s.v.Leaves {
		if r.Kind == "metadata" && r.State == gov.Failed {
			blocks = append(blocks, wrap(clean(string(r.State)+": "+r.ID+": "+r.Why)))
			command = r.Command
		}
	}
	if command != "" {
		last := len(blocks) - 1
		blocks[last] = append(blocks[last], indent+s.command(command))
	}
	return blocks
}

// wrap breaks a line between words; lines after the first are indented twice,
// unlike commands.
func wrap(line string) []string {
	var out []string
	now := ""
	for _, word := range strings.Fields(line) {
		if now != "" && width(now+" "+word) > ScreenColumns {
			out = append(out, cut(now))
			now = indent + indent + word
			continue
		}
		if now != "" {
			now += " "
		}
		now += word
	}
	out = append(out, cut(now))
	if len(out) > wrapLines {
		out = append(out[:wrapLines-1], cut(out[wrapLines-1]+" …"))
	}
	return out
}

// wrapLines is how much of the screen one cause takes at most; its command, the
// head and the foot have to fit too.
const wrapLines = 6

func (s *screen) block(r gov.Requirement) []string {
	line := string(r.State) + ": " + r.ID
	why := r.Why
	if why == "" {
		why = r.Text
	}
	who := people(r.Who)
	switch {
	case r.State == gov.Missing && who != "":
		line += ", from " + who
		if r.Why != "" {
			line += " (" + r.Why + ")"
		}
	case why != "":
		line += ": " + why
	}
	out := []string{cut(clean(line))}
	if r.Command != "" {
		out = append(out, indent+s.command(r.Command))
	}
	return out
}

func (s *screen) notCounted() [][]string {
	var out [][]string
	for _, n := range s.v.NotCounted {
		what := string(n.Decision)
		if what == "" {
			what = "statement"
		}
		if n.Signer != "" {
			what += " by " + n.Signer
		}
		out = append(out, []string{cut(clean("not counted: " + what + ": " + n.Why))})
	}
	return out
}

func (s *screen) notes() [][]string {
	var out [][]string
	for _, n := range s.v.Notes {
		out = append(out, []string{cut(clean("note: " + n))})
	}
	return out
}

// foot says what the viewer can do now.
func (s *screen) foot(viewer gov.Principal) []string {
	you := "you"
	if viewer.Handle != "" {
		you += " (" + viewer.Handle + ")"
	}
	if s.v.Answer == gov.Allowed {
		return []string{cut(clean(you + ": nothing is missing; it may be merged"))}
	}
	var commands, others []string
	broken := false
	for r := range s.v.Leaves {
		broken = broken || r.State == gov.Failed || r.State == gov.Unknown
		if r.State.Done() || len(r.Who) == 0 {
			continue
		}
		if viewer.Kind != gov.Agent && slices.Contains(r.Who, viewer.Handle) {
			if c := s.command(r.Command); r.Command != "" && !slices.Contains(commands, c) {
				commands = append(commands, c)
			}
			continue
		}
		for _, w := range r.Who {
			if !slices.Contains(others, w) {
				others = append(others, w)
			}
		}
	}
	switch {
	case len(commands) == 1:
		return []string{cut(clean(you + " can now:")), indent + commands[0]}
	case len(commands) > 1:
		more := ""
		if len(commands) > 2 {
			more = " (1 of " + strconv.Itoa(len(commands)) + ")"
		}
		out := []string{cut(clean(you + " can now" + more + ":"))}
		if more != "" {
			return append(out, indent+commands[0])
		}
		return append(out, indent+commands[0], indent+commands[1])
	case broken:
		return []string{cut(clean(you + ": change what failed, then run govern submit"))}
	case viewer.Kind == gov.Agent:
		return []string{cut(clean(you + ": nothing; agents propose, only people approve"))}
	case len(others) > 0:
		return []string{cut(clean(you + ": nothing now; it is up to " + people(others)))}
	default:
		return []string{cut(clean(you + ": nothing now; time will tell"))}
	}
}

// command gives a command whole, or, when it is too long for a line or holds
// what a terminal must not see, the one that shows everything.
func (s *screen) command(c string) string {
	if clean(c) != c || width(indent+c) > ScreenColumns {
		return s.all
	}
	return c
}

// fit takes as many blocks as room has lines for; what is left over is counted
// in the last line.
func (s *screen) fit(blocks [][]string, room int, what string) []string {
	var out []string
	for i, b := range blocks {
		need := len(b)
		if i < len(blocks)-1 {
			need++ // for the count of the rest
		}
		if len(out)+need > room {
			if len(out) < room {
				out = append(out, "and "+strconv.Itoa(len(blocks)-i)+" "+what+": "+s.all)
			}
			return out
		}
		out = append(out, b...)
	}
	return out
}

// series joins items in one line and counts what does not fit.
func series(label string, items []string) string {
	for n := len(items); n > 0; n-- {
		line := label + strings.Join(items[:n], ", ")
		if n < len(items) {
			line += " and " + strconv.Itoa(len(items)-n) + " more"
		}
		if width(line) <= ScreenColumns {
			return line
		}
	}
	return cut(label + items[0])
}

// people joins handles with "or", at most three of them.
func people(who []string) string {
	switch n := len(who); {
	case n == 0:
		return ""
	case n == 1:
		return who[0]
	case n <= 3:
		return strings.Join(who[:n-1], ", ") + " or " + who[n-1]
	default:
		return strings.Join(who[:3], ", ") + " or " + strconv.Itoa(n-3) + " more"
	}
}

// clean makes text safe for one line of a terminal.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t' || c == '\r':
			return ' '
		case !unicode.IsPrint(c) || c == unicode.ReplacementChar:
			return '?'
		}
		return c
	}, s)
}

// cut shortens a line to the screen's columns.
func cut(s string) string {
	if width(s) <= ScreenColumns {
		return s
	}
	w := 0
	for i, c := range s {
		if w += columns(c); w > ScreenColumns-1 {
			return strings.TrimRight(s[:i], " ") + "…"
		}
	}
	return s
}

func width(s string) int {
	w := 0
	for _, c := range s {
		w += columns(c)
	}
	return w
}

// columns is how many columns a character takes at most: two for those that
// terminals draw wide (Unicode Standard Annex 11), else one.
func columns(c rune) int {
	switch {
	case c < 0x1100:
		return 1
	case c <= 0x115f, c >= 0x2e80 && c <= 0xa4cf, c >= 0xac00 && c <= 0xd7a3, c >= 0xf900 && c <= 0xfaff,
		c >= 0xfe30 && c <= 0xfe6f, c >= 0xff00 && c <= 0xff60, c >= 0xffe0 && c <= 0xffe6, c >= 0x1f000, c >= 0x231a && c <= 0x2b55:
		return 2
	}
	return 1
}
