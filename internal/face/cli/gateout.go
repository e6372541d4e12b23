package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

// finding is one reason why a push does not pass, for other tools.
type finding struct {
	rule, text, hint, file string
	pending                bool
}

// findings lists the reasons of a gate's answer.
func findings(ans client.GateAnswer) []finding {
	var out []finding
	for _, p := range ans.Problems {
		out = append(out, finding{rule: p.Code, text: p.Message, hint: p.Hint, file: "governance.yaml"})
	}
	for _, c := range ans.Changes {
		for r := range c.Verdict.Leaves {
			if r.State.Done() || strings.HasPrefix(r.Why, "after ") {
				continue
			}
			text := fmt.Sprintf("%s: %s: %s", c.ID, r.ID, r.Text)
			if r.Why != "" {
				text += " (" + r.Why + ")"
			}
			if len(r.Who) > 0 {
				text += "; from " + strings.Join(r.Who, " or ")
			}
			out = append(out, finding{
				rule: r.ID, text: text, hint: r.Command, file: "changes/" + string(c.ID) + "/" + change.MetadataFile,
				pending: r.State == gov.Missing || r.State == gov.Waiting,
			})
		}
	}
	return out
}

// gateGitHub prints workflow commands (docs.github.com, "Workflow commands").
func gateGitHub(w io.Writer, ans client.GateAnswer) error {
	level := "error"
	if ans.Observe {
		level = "warning"
	}
	for _, f := range findings(ans) {
		text := f.text
		if f.hint != "" {
			text += "\nnext: " + f.hint
		}
		if _, err := fmt.Fprintf(w, "::%s file=%s,title=%s::%s\n", level, property(f.file), property("govern "+f.rule), data(text)); err != nil {
			return err
		}
	}
	for _, c := range ans.Changes {
		if c.Verdict.Answer == gov.Allowed {
			fmt.Fprintf(w, "::notice title=govern::%s\n", data(string(c.ID)+" is allowed"))
		}
	}
	return nil
}

// data and property escape what stands in a workflow command, so that no text
// of a change can begin another one.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(printable(s))
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}

// gateMarkdown prints a comment for a pull request.
func gateMarkdown(w io.Writer, ans client.GateAnswer, me gov.Principal) error {
	var b strings.Builder
	switch {
	case ans.Allowed:
		b.WriteString("## govern: allowed\n")
	case ans.Observe:
		b.WriteString("## govern: would be refused (observe mode)\n")
	default:
		b.WriteString("## govern: not yet\n")
	}
	for _, p := range ans.Problems {
		fmt.Fprintf(&b, "\n- **refused**: %s (`%s`)\n", markdown(p.Message), p.Code)
		if p.Hint != "" {
			fmt.Fprintf(&b, "  - next: %s\n", markdownCode(p.Hint))
		}
	}
	for _, c := range ans.Changes {
		fmt.Fprintf(&b, "\n### %s: %s\n\n| | requirement | who | next |\n|---|---|---|---|\n", c.ID, c.Verdict.Answer)
		for r := range c.Verdict.Leaves {
			why := r.Text
			if r.Why != "" {
				why += " (" + r.Why + ")"
			}
			who := r.By
			if !r.State.Done() {
				who = r.Who
			}
			fmt.Fprintf(&b, "| %s | %s: %s | %s | %s |\n", r.State, markdown(r.ID), markdown(why), markdown(strings.Join(who, ", ")), markdownCode(r.Command))
		}
		b.WriteString("\n<details><summary>as govern says it</summary>\n\n```\n")
		for _, l := range change.Screen(c.Verdict, me) {
			b.WriteString(strings.ReplaceAll(l, "```", "'''") + "\n")
		}
		b.WriteString("```\n\n</details>\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// markdown escapes text for one cell of a table.
func markdown(s string) string {
	s = strings.ReplaceAll(printable(s), "\n", " ")
	return strings.NewReplacer(
		"\\", "\\\\", "|", "\\|", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", ">", "&gt;", "&", "&amp;", "#", "\\#", "@", "@\u200b",
	).Replace(s)
}

func markdownCode(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.NewReplacer("`", "'", "|", "\\|", "\n", " ").Replace(printable(s)) + "`"
}

// gateSARIF prints SARIF 2.1.0 (OASIS), as code scanning takes it.
func gateSARIF(w io.Writer, ans client.GateAnswer, version string) error {
	type text struct {
		Text string `json:"text"`
	}
	type rule struct {
		ID    string `json:"id"`
		Short text   `json:"shortDescription"`
		Help  text   `json:"help"`
	}
	type result struct {
		RuleID    string `json:"ruleId"`
		Level     string `json:"level"`
		Message   text   `json:"message"`
		Locations []any  `json:"locations"`
	}
	rules, results, seen := []rule{}, []result{}, map[string]bool{}
	for _, f := range findings(ans) {
		if !seen[f.rule] {
			seen[f.rule] = true
			rules = append(rules, rule{f.rule, text{"requirement " + f.rule}, text{"govern explain " + f.rule}})
		}
		level := "error"
		if f.pending || ans.Observe {
			level = "warning"
		}
		message := f.text
		if f.hint != "" {
			message += ". Next: " + f.hint
		}
		results = append(results, result{f.rule, level, text{message}, []any{map[string]any{
			"physicalLocation": map[string]any{"artifactLocation": map[string]any{"uri": f.file}, "region": map[string]any{"startLine": 1}},
		}}})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []any{map[string]any{
			"tool": map[string]any{"driver": map[string]any{
				"name": "govern", "version": version, "informationUri": "https://github.com/governhq/govern", "rules": rules,
			}},
			"results": results,
		}},
	})
}
