package change

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

func missingAt(id, role string, who ...string) gov.Requirement {
	return gov.Requirement{ID: id, Kind: "approval", State: gov.Missing, Text: "somebody approves", Who: who, Command: "govern approve CHANGE-7 --role " + role}
}

func screens() map[string]struct {
	v      gov.Verdict
	viewer gov.Principal
} {
	type shown = struct {
		v      gov.Verdict
		viewer gov.Principal
	}
	human := func(h string) gov.Principal { return gov.Principal{Handle: h, Kind: gov.Human} }
	pending := facts()
	pending.Stages[0].Requirements[0].By = []string{"owen"}
	pending.Stages[0].Requirements[1] = missingAt("review/security_lead", "security_lead", "bob", "carol")
	pending.Stages[2].Requirements = nil
	pending.NotCounted = []gov.NotCounted{{Signer: "alice", Decision: gov.DecideApprove, Code: "is_author", Why: "alice had a hand in this change"}}
	pending.Notes = []string{"owen signed with a plain key, which proves no person's presence"}

	failed := facts()
	failed.Stages[1].Requirements[0] = gov.Requirement{ID: "validate/tests", Kind: "tests", State: gov.Failed, Text: "the tests passed", Why: "2 tests failed: tests/test_kick.py::test_hit, tests/test_kick.py::test_hit_hard", Command: "govern evidence show CHANGE-7"}
	failed.Stages[2].Requirements[0].State = gov.Waiting
	failed.Overrides = []Override{{Requirement: "validate/coverage"}}

	crowded := facts()
	crowded.Stages = nil
	for i := range 9 {
		n := number(i + 1)
		crowded.Stages = append(crowded.Stages, StageFact{Name: "stage" + n, Requirements: []gov.Requirement{
			req("stage"+n+"/done", "x", gov.Satisfied), missingAt("stage"+n+"/role", "role"+n, "bob", "carol", "dave", "erin", "frank"),
		}})
		crowded.NotCounted = append(crowded.NotCounted, gov.NotCounted{Signer: "p" + n, Decision: gov.DecideApprove, Why: "it was signed for other content"})
		crowded.Notes = append(crowded.Notes, "note number "+n)
	}

	hostile := facts()
	hostile.Stages[0].Requirements[0] = gov.Requirement{ID: "review/\x1b[2J", Kind: "approval", State: gov.Missing, Who: []string{"b\u202eob"}, Command: "govern approve \x1b[31m", Why: "line\nbreak"}
	hostile.Stages[1].Requirements[0] = missingAt("validate/long", strings.Repeat("x", 70), "bob")

	waiting := facts()
	waiting.Stages[2].Requirements[0] = gov.Requirement{ID: "canary/studio", Kind: "canary", State: gov.Waiting, Why: "5 % since 12 of 60 observed minutes"}

	revert := facts()
	revert.Revert = &RevertFact{Of: "CHANGE-7", Exact: true, Merged: true}
	revert.Stages = []StageFact{{Name: StageRevert, Requirements: []gov.Requirement{missingAt("revert/owner", "owner --stage revert", "owen")}}}
	return map[string]shown{
		"pending_for_bob":     {Judge(pending), human("bob")},
		"pending_for_alice":   {Judge(pending), human("alice")},
		"pending_for_agent":   {Judge(pending), gov.Principal{Handle: "bob", Kind: gov.Agent}},
		"failed":              {Judge(failed), human("alice")},
		"allowed":             {Judge(facts()), human("alice")},
		"crowded_for_bob":     {Judge(crowded), human("bob")},
		"crowded_for_nobody":  {Judge(crowded), gov.Principal{}},
		"hostile":             {Judge(hostile), human("bob")},
		"waiting":             {Judge(waiting), human("owen")},
		"revert_for_an_owner": {Judge(revert), human("owen")},
	}
}

// TestScreen compares with testdata/*.screen; GOVERN_UPDATE=1 writes them.
func TestScreen(t *testing.T) {
	t.Parallel()
	for name, s := range screens() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := Screen(s.v, s.viewer)
			inBounds(t, lines)
			got := strings.Join(lines, "\n") + "\n"
			file := filepath.Join("testdata", name+".screen")
			if os.Getenv("GOVERN_UPDATE") == "1" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func inBounds(t fataler, lines []string) {
	t.Helper()
	if len(lines) == 0 || len(lines) > 12 {
		t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, l := range lines {
		n := 0
		for _, c := range l {
			n++
			if c >= 0x4e00 && c <= 0x9fff {
				n++ // CJK is two columns wide
			}
			if unicode.IsControl(c) || unicode.In(c, unicode.Cf) {
				t.Fatalf("control character in %q", l)
			}
		}
		if n > 80 {
			t.Fatalf("%d columns: %q", n, l)
		}
	}
}

// TestScreenAlwaysFits draws verdicts with any text and checks that the screen
// stays in bounds, hides no kind of trouble, and shortens no command.
func TestScreenAlwaysFits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringN(0, 200, 400), rapid.StringMatching(`[a-z /漢]{0,120}`))
		state := rapid.SampledFrom([]gov.State{gov.Satisfied, gov.Missing, gov.Waiting, gov.Failed, gov.Unknown, gov.NotApplicable, gov.Overridden})
		f := facts()
		f.Stages = nil
		for i := range rapid.IntRange(0, 6).Draw(t, "stages") {
			s := StageFact{Name: "s" + number(i)}
			for range rapid.IntRange(0, 4).Draw(t, "reqs") {
				s.Requirements = append(s.Requirements, gov.Requirement{
					ID: text.Draw(t, "id"), State: state.Draw(t, "state"), Why: text.Draw(t, "why"), Text: text.Draw(t, "text"),
					Who: rapid.SliceOfN(text, 0, 4).Draw(t, "who"), By: rapid.SliceOfN(text, 0, 2).Draw(t, "by"),
					Command: rapid.OneOf(text, rapid.Just("govern approve CHANGE-7 --role owner")).Draw(t, "command"),
				})
			}
			f.Stages = append(f.Stages, s)
		}
		for range rapid.IntRange(0, 6).Draw(t, "not counted") {
			f.NotCounted = append(f.NotCounted, gov.NotCounted{Signer: text.Draw(t, "signer"), Why: text.Draw(t, "why")})
			f.Notes = append(f.Notes, text.Draw(t, "note"))
		}
		v := Judge(f)
		lines := Screen(v, gov.Principal{Handle: text.Draw(t, "viewer"), Kind: gov.Human})
		inBounds(t, lines)
		all := strings.Join(lines, "\n")
		if len(f.NotCounted) > 0 && !strings.Contains(all, "not counted") {
			t.Fatalf("statements that do not count are not mentioned:\n%s", all)
		}
		for _, l := range lines {
			if strings.HasPrefix(l, "  ") && strings.HasSuffix(l, "…") {
				t.Fatalf("a shortened command: %q", l)
			}
		}
		if !strings.Contains(lines[len(lines)-1]+lines[max(0, len(lines)-2)]+lines[max(0, len(lines)-3)], "you") {
			t.Fatalf("it does not say what you can do:\n%s", all)
		}
	})
}
