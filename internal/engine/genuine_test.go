package engine_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
)

// stranger is a key that no registry has, from a seed of its own.
func (h *house) stranger() {
	h.t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.keys["eve"] = sign.FromKey(s)
}

// forged is a genuine envelope with another payload's word in it.
func forged(t *testing.T, env []byte) []byte {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(env, &e); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(e["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	e["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte("a reason"), []byte("import os"), 1))
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// TestWhatLiesAmongStatements: an approved change, to whose branch somebody adds
// a file. Either it voids what was signed, or it is proved, or it is refused.
func TestWhatLiesAmongStatements(t *testing.T) {
	t.Parallel()
	folder := "changes/CHANGE-1/statements/"
	named := func(b []byte) string { return folder + gov.DigestOf(b).Hex() + ".json" }
	for _, tc := range []struct {
		name       string
		file       func(h *house, st gov.Statement) (string, []byte)
		passes     bool
		problem    string // code
		voids      bool   // the owner is asked again
		notCounted string // code
	}{
		{"a genuine statement", func(h *house, st gov.Statement) (string, []byte) { return h.seal("cy", st) }, true, "", false, ""},
		{"300 KB of anything", func(*house, gov.Statement) (string, []byte) {
			b := bytes.Repeat([]byte("\x00\xffprogram"), 33_000)
			return named(b), b
		}, false, "", true, "envelope_too_large"},
		{"an object", func(*house, gov.Statement) (string, []byte) { return named([]byte("{}")), []byte("{}") }, false, "", true, "envelope_payload_type"},
		{"a statement under another name", func(h *house, st gov.Statement) (string, []byte) {
			_, b := h.seal("cy", st)
			return folder + strings.Repeat("ab", 32) + ".json", b
		}, false, "", true, "statement_name_mismatch"},
		{"a statement deeper down", func(h *house, st gov.Statement) (string, []byte) {
			_, b := h.seal("cy", st)
			return folder + "x/" + gov.DigestOf(b).Hex() + ".json", b
		}, false, "", true, "statement_name_mismatch"},
		{"a statement about another change", func(h *house, st gov.Statement) (string, []byte) {
			st.Change = "CHANGE-2"
			_, b := h.seal("cy", st)
			return named(b), b
		}, false, "", true, "statement_other_change"},
		{"signed by a stranger", func(h *house, st gov.Statement) (string, []byte) {
			h.stranger()
			return h.seal("eve", st)
		}, false, "statement_not_genuine", false, "signer_unknown"},
		{"forged", func(h *house, st gov.Statement) (string, []byte) {
			_, env := h.seal("cy", st)
			b := forged(h.t.(*testing.T), env)
			return named(b), b
		}, false, "statement_not_genuine", false, "signature_invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, testPolicy, one)
			v := h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"}).Verdict
			path, b := tc.file(h, gov.Statement{Decision: gov.DecideApprove, Stage: "review", Change: "CHANGE-1", Role: "security_lead", Revision: v.Revision})
			h.git("checkout", "-q", "change-1")
			h.commit("one file more", map[string]string{path: string(b)})
			g := h.push("change-1")
			if len(g.Changes) != 1 {
				t.Fatal(explain(g))
			}
			got := g.Changes[0].Verdict
			problem := ""
			if len(g.Problems) > 0 {
				problem = g.Problems[0].Code
				if !strings.Contains(g.Problems[0].Message, path) {
					t.Errorf("the file is not named: %+v", g.Problems)
				}
			}
			if g.Passes() != tc.passes || problem != tc.problem || requirement(got, "review/owner").State.Done() == tc.voids {
				t.Error(explain(g))
			}
			if tc.notCounted != "" && !notCounted(got, "unknown", tc.notCounted) {
				t.Errorf("not counted for %s: %s", tc.notCounted, words(got))
			}
			if st := h.status("CHANGE-1"); !tc.passes && st.Allowed != nil {
				t.Errorf("permission: %+v", st.Allowed)
			}
			if tc.passes {
				return
			}
			// Without the file, what was signed counts as before.
			h.git("rm", "-q", path)
			h.git("commit", "-q", "-m", "without it")
			if g := h.push("change-1"); !g.Passes() {
				t.Error(explain(g))
			}
		})
	}
}

// A statement that the log has taken in lands, though its key is no longer known.
func TestRecordedStatementsStayGenuine(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	v := h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"}).Verdict
	h.git("checkout", "-q", "change-1")
	path, env := h.seal("cy", gov.Statement{Decision: gov.DecideApprove, Stage: "review", Change: "CHANGE-1", Role: "security_lead", Revision: v.Revision})
	h.commit("a statement", map[string]string{path: string(env)})
	h.sync("CHANGE-1")
	// Somebody takes cy's key away on main, past the gate.
	h.as("bo")
	h.git("checkout", "-q", "main")
	var rest []string
	for line := range strings.Lines(h.git("show", "main:.govern/allowed_signers") + "\n") {
		if !strings.HasPrefix(line, "cy,") {
			rest = append(rest, line)
		}
	}
	h.commit("cy leaves", map[string]string{".govern/allowed_signers": strings.Join(rest, "")})
	h.git("checkout", "-q", "-B", "both", "main")
	h.git("merge", "-q", "--no-ff", "-m", "merge", "change-1")
	unknown, forgotten := h.seal("cy", gov.Statement{Decision: gov.DecideApprove, Stage: "review", Change: "CHANGE-1", Role: "owner", Revision: v.Revision})
	if g := h.push("both"); len(g.Problems) > 0 {
		t.Error(explain(g))
	}
	h.git("checkout", "-q", "change-1")
	h.commit("too late", map[string]string{unknown: string(forgotten)})
	h.git("checkout", "-q", "-B", "late", "main")
	h.git("merge", "-q", "--no-ff", "-m", "merge", "change-1")
	if g := h.push("late"); g.Passes() || len(g.Problems) != 1 || g.Problems[0].Code != "statement_not_genuine" {
		t.Error(explain(g))
	}
}

// The inverse of a change is exact whatever statements come with it: those are
// proved too.
func TestStatementsOfAnInverse(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	h.ready("CHANGE-1", map[string]string{"a.txt": "two\n"})
	if g := h.push("change-1"); !g.Allowed {
		t.Fatal(explain(g))
	}
	landed := h.git("rev-parse", "main")
	h.stranger()
	for _, id := range []gov.ChangeID{"CHANGE-1", "CHANGE-7"} {
		h.as("ana")
		h.git("checkout", "-q", "-B", "back", "main")
		h.git("revert", "--no-edit", landed)
		path, env := h.seal("eve", gov.Statement{Decision: gov.DecideApprove, Stage: "review", Change: id, Role: "owner", Revision: gov.Revision{Change: digest("x")}})
		h.commit("and a word of eve's", map[string]string{path: string(env)})
		h.git("reset", "-q", "--soft", "main")
		h.git("commit", "-q", "-m", "Revert\n\nThis reverts commit "+landed+".")
		g := h.push("back")
		if g.Passes() || len(g.Problems) != 1 || g.Problems[0].Code != "statement_not_genuine" || !strings.Contains(g.Problems[0].Message, path) {
			t.Errorf("%s: %s", id, explain(g))
		}
	}
}
