package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
)

// hostile is text that tries to leave whatever it is printed in.
const hostile = "x\n::error::owned\r%0A|`</td><script>@everyone\x1b[2J```"

func hostileAnswer() client.GateAnswer {
	return client.GateAnswer{
		Governed: true,
		Problems: []client.GateProblem{{Code: "change_missing", Message: hostile, Hint: hostile}},
		Changes: []client.GateChange{{ID: "CHANGE-1", Verdict: gov.Verdict{
			Change: "CHANGE-1", Answer: gov.Refused, Stage: "review", Risk: gov.RiskLow,
			Stages: []gov.Requirement{{ID: "review", Kind: "stage", State: gov.Failed, Children: []gov.Requirement{
				{ID: "review/owner", Kind: "approval", State: gov.Failed, Text: hostile, Why: hostile, Who: []string{"bo"}, Command: hostile},
			}}},
		}}},
	}
}

func TestGateOutputsHoldHostileText(t *testing.T) {
	t.Parallel()
	ans := hostileAnswer()
	var github, md, sarif bytes.Buffer
	if err := gateGitHub(&github, ans); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(github.String()) {
		if !strings.HasPrefix(line, "::error file=") {
			t.Errorf("a line of its own: %q", line)
		}
	}
	if n := strings.Count(github.String(), "\n"); n != 2 {
		t.Errorf("%d workflow commands, want 2:\n%s", n, &github)
	}
	if err := gateMarkdown(&md, ans, gov.Principal{}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(md.String()) {
		if strings.Contains(line, "\x1b") {
			t.Errorf("markdown holds a control character: %q", line)
		}
		if !strings.HasPrefix(line, "| failed |") {
			continue
		}
		if text := cells(line)[1]; strings.Contains(text, "<") || strings.Contains(text, "@everyone") {
			t.Errorf("a cell holds markup: %q", text)
		}
	}
	if err := gateSARIF(&sarif, ans, "1"); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version string `json:"version"`
		Runs    []struct {
			Results []struct {
				RuleID string `json:"ruleId"`
				Level  string `json:"level"`
			} `json:"results"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(sarif.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	type result = struct {
		RuleID string `json:"ruleId"`
		Level  string `json:"level"`
	}
	if diff := cmp.Diff([]result{{"change_missing", "error"}, {"review/owner", "error"}}, doc.Runs[0].Results); diff != "" || doc.Version != "2.1.0" {
		t.Errorf("SARIF %s: %s", doc.Version, diff)
	}
}

// cells splits one row of a Markdown table at bars that are not escaped.
func cells(row string) []string {
	row, _, _ = strings.Cut(row, "\n")
	row = strings.ReplaceAll(row, `\\`, "")
	row = strings.ReplaceAll(row, `\|`, "")
	return strings.Split(strings.Trim(row, "|"), "|")
}

func TestMarkdownTableKeepsItsColumns(t *testing.T) {
	t.Parallel()
	var md bytes.Buffer
	if err := gateMarkdown(&md, hostileAnswer(), gov.Principal{}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(md.String()) {
		if strings.HasPrefix(line, "| failed |") {
			if n := len(cells(line)); n != 4 {
				t.Errorf("%d columns: %s", n, line)
			}
			return
		}
	}
	t.Fatalf("no row:\n%s", &md)
}

func TestExitOfGate(t *testing.T) {
	t.Parallel()
	verdict := func(a gov.Answer) []client.GateChange { return []client.GateChange{{Verdict: gov.Verdict{Answer: a}}} }
	for name, tc := range map[string]struct {
		ans  client.GateAnswer
		want int
	}{
		"allowed":                {client.GateAnswer{Governed: true, Allowed: true, Passes: true, Changes: verdict(gov.Allowed)}, 0},
		"not governed":           {client.GateAnswer{Passes: true}, 0},
		"observed":               {client.GateAnswer{Governed: true, Observe: true, Passes: true, Changes: verdict(gov.Refused)}, 0},
		"pending":                {client.GateAnswer{Governed: true, Changes: verdict(gov.Pending)}, 9},
		"refused":                {client.GateAnswer{Governed: true, Changes: verdict(gov.Refused)}, 1},
		"pending and a problem":  {client.GateAnswer{Governed: true, Changes: verdict(gov.Pending), Problems: []client.GateProblem{{Code: "x"}}}, 1},
		"nothing, and no yes":    {client.GateAnswer{Governed: true}, 1},
		"one allowed, one waits": {client.GateAnswer{Governed: true, Changes: append(verdict(gov.Allowed), verdict(gov.Pending)...)}, 9},
	} {
		if got := exitCode(exitOfGate(tc.ans)); got != tc.want {
			t.Errorf("%s: exit %d, want %d", name, got, tc.want)
		}
	}
}

func TestReadUpdates(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", 40), strings.Repeat("0", 40)
	got, err := readUpdates(strings.NewReader(a + " " + b + " refs/heads/main\n" + b + " " + a + " refs/heads/wörk\n"))
	if err != nil || len(got) != 2 || got[0] != (update{a, b, "refs/heads/main"}) || !got[0].deletes() || got[1].deletes() {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"\n", "x\n", a + " " + b + "\n", a + " " + b + " heads/main\n", strings.ToUpper(a) + " " + b + " refs/heads/main\n", a + "  " + b + " refs/heads/main\n"} {
		if _, err := readUpdates(strings.NewReader(bad)); gov.CodeOf(err) != "hook_input_invalid" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := readUpdates(strings.NewReader(a + " " + b + " refs/heads/" + strings.Repeat("x", 1<<20))); err == nil {
		t.Error("a line without end is no error")
	}
}

func FuzzReadUpdates(f *testing.F) {
	f.Add(strings.Repeat("a", 40) + " " + strings.Repeat("0", 40) + " refs/heads/main\n")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := readUpdates(strings.NewReader(in))
		if err != nil {
			return
		}
		var out strings.Builder
		for _, u := range got {
			out.WriteString(u.old + " " + u.new + " " + u.ref + "\n")
		}
		if again, err := readUpdates(strings.NewReader(out.String())); err != nil || len(again) != len(got) {
			t.Errorf("%q reads as %v and back as %v, %v", in, got, again, err)
		}
	})
}

func TestApprovalOf(t *testing.T) {
	t.Parallel()
	for id, want := range map[string][2]string{
		"review/owner": {"review", "owner"}, "review/owner2": {"review", "owner"}, "final/owner12@prod": {"final", "owner"},
		"final/security_lead@prod": {"final", "security_lead"}, "review/team2": {"review", "team2"}, "revert/owner": {"revert", "owner"},
	} {
		stage, role, ok := approvalOf(gov.Requirement{ID: id, Kind: "approval"})
		if !ok || [2]string{stage, role} != want {
			t.Errorf("%s: %q %q %t", id, stage, role, ok)
		}
	}
	if _, _, ok := approvalOf(gov.Requirement{ID: "validate/tests", Kind: "check"}); ok {
		t.Error("a check is no approval")
	}
}

func TestImpact(t *testing.T) {
	t.Parallel()
	for want, paths := range map[string][]string{
		"records only":  nil,
		"1 file: a":     {"a"},
		"2 files: a, b": {"a", "b"},
		"5 files: a, x/b, x/c and 2 more, in top level, x, y": {"a", "x/b", "x/c", "x/d", "y/e"},
	} {
		if got := impact(paths); got != want {
			t.Errorf("impact(%v) = %q, want %q", paths, got, want)
		}
	}
}
