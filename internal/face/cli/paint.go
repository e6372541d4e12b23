package cli

import (
	"io"
	"strings"

	"charm.land/lipgloss/v2"
)

var answerColours = []struct {
	word   string
	colour string
}{{" is allowed", "2"}, {" is pending", "3"}, {" is refused", "1"}}

// paintAnswer colours the answer in the first line of a screen, on terminals
// only.
func (a *app) paintAnswer(w io.Writer, line string) string {
	if !a.terminal(w) {
		return line
	}
	for _, c := range answerColours {
		if before, after, ok := strings.Cut(line, c.word); ok {
			return before + " is " + lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color(c.colour)).Render(strings.TrimPrefix(c.word, " is ")) + after
		}
	}
	return line
}

// table prints rows in columns, two blanks apart; the last column is not
// padded. Control characters never reach a terminal.
func table(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(printable(strings.ReplaceAll(cell, "\n", " ")))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-lipgloss.Width(cell)+2))
			}
		}
		io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n")
	}
}
