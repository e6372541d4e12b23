// explain.go: written by helper C

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
)

// explanation is a cause with its code.
type explanation struct {
	Code string `json:"code"`
	cause
}

// cause explains one stable code. Kind is "" for codes that are no errors:
// reasons why a statement is not counted, and problems that checks list. Next is
// what to do about it, a command where there is one.
type cause struct {
	Kind  gov.Kind `json:"kind,omitempty"`
	Cause string   `json:"cause"`
	Next  string   `json:"next"`
}

func (a *app) explain() *cobra.Command {
	return &cobra.Command{
		Use: "explain CODE|CHANGE-n", Short: "what an error code means, or every reason behind a verdict", GroupID: groupHouse, Args: cobra.ExactArgs(1),
		ValidArgs: sortedKeys(causes),
		RunE: func(cmd *cobra.Command, args []string) error {
			word := strings.Trim(args[0], "[]")
			if id, err := gov.ParseChangeID(strings.ToUpper(word)); err == nil {
				return a.explainChange(cmd, id)
			}
			c, ok := causes[word]
			if !ok {
				return unknownCode(word)
			}
			e := explanation{word, c}
			return a.give(e, func(w io.Writer) { printCause(w, e) })
		},
	}
}

func unknownCode(word string) error {
	err := gov.Errorf(gov.KindNotFound, "code_unknown", "there is no code %q", printable(word))
	var near []string
	for _, c := range sortedKeys(causes) {
		if word != "" && (strings.Contains(c, word) || strings.Contains(word, c)) {
			near = append(near, c)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int {
		return cmp.Compare(strings.Index(a, word), strings.Index(b, word))
	})
	if len(near) > 0 {
		return err.WithHint("govern explain %s", few(near))
	}
	return err.WithHint("the code stands in brackets behind the message, as in [change_not_found]")
}

func printCause(w io.Writer, c explanation) {
	kind := "a reason, no error of its own"
	if c.Kind != "" {
		kind = fmt.Sprintf("%s, exit code %d", c.Kind, exitOf[c.Kind])
	}
	fmt.Fprintf(w, "%s (%s)\n", c.Code, kind)
	for _, l := range wrap(c.Cause, 76) {
		fmt.Fprintln(w, "  "+l)
	}
	for i, l := range wrap(c.Next, 70) {
		label := "  next: "
		if i > 0 {
			label = "        "
		}
		fmt.Fprintln(w, label+l)
	}
}

// wrap breaks text between words into lines of at most width columns.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func (a *app) explainChange(cmd *cobra.Command, id gov.ChangeID) error {
	h, err := a.here(cmd.Context(), "explain", false)
	if err != nil {
		return err
	}
	defer h.close()
	c, err := h.s.Client().Change(cmd.Context(), id, h.me.Handle)
	if err != nil {
		return err
	}
	return a.give(c, func(w io.Writer) { printReasons(w, c) })
}

// printReasons says the whole verdict tree, nothing shortened.
func printReasons(w io.Writer, c client.Change) {
	if c.Verdict == nil {
		fmt.Fprintf(w, "%s is %s; there is nothing to decide\n", c.ID, c.Status)
		return
	}
	v := *c.Verdict
	at := ""
	if v.Stage != "" {
		at = " at " + v.Stage
	}
	say(w, "", "%s is %s%s (risk %s, content %s, policy %s)", v.Change, v.Answer, at, v.Risk, v.Revision.Change.Short(), v.Policy.Short())
	for _, why := range v.RiskWhy {
		say(w, "  ", "risk: %s", why)
	}
	for _, s := range v.Stages {
		printRequirement(w, s, "")
	}
	if len(v.NotCounted) > 0 {
		fmt.Fprintln(w, "\nstatements that do not count")
	}
	for _, n := range v.NotCounted {
		by := ""
		if n.Signer != "" {
			by = " by " + n.Signer
		}
		say(w, "  ", "%s%s (%s): %s [%s]", n.Decision, by, orElse(n.Statement.Short(), "no statement"), n.Why, n.Code)
	}
	for _, n := range v.Notes {
		say(w, "", "note: %s", n)
	}
	if c.Local {
		fmt.Fprintln(w, "note: this is the clone's own view; the log beside "+remoteName+" decides")
	}
}

func printRequirement(w io.Writer, r gov.Requirement, indent string) {
	say(w, indent, "%s: %s", r.ID, strings.ReplaceAll(string(r.State), "_", " "))
	in := indent + "    "
	line := func(label, text string) {
		if text != "" {
			say(w, in, "%-8s %s", label, text)
		}
	}
	line("what", r.Text)
	line("why", r.Why)
	line("by", strings.Join(r.By, ", "))
	if !r.State.Done() {
		line("who", strings.Join(r.Who, ", "))
		line("command", r.Command)
	}
	var evidence []string
	for _, d := range r.Evidence {
		if !slices.Contains(evidence, d.Short()) {
			evidence = append(evidence, d.Short())
		}
	}
	line("shown by", strings.Join(evidence, ", "))
	for _, c := range r.Children {
		printRequirement(w, c, indent+"  ")
	}
}

// say prints one line without control characters.
func say(w io.Writer, indent, format string, args ...any) {
	fmt.Fprintln(w, indent+printable(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")))
}
