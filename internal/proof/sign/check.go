package sign

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
)

// Limits of one statement.
const (
	MaxText  = 4 << 10 // bytes of rationale, risk assessment, checkpoint
	MaxWord  = 256     // bytes of a name, stage, role, requirement
	MaxItems = 64      // artifacts, requirements
	minNonce = 16      // bytes
	maxNonce = 64
	maxCount = 1 << 53 // beyond it JSON numbers lose digits
)

var (
	gitObject = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	lowerHex  = regexp.MustCompile(`^[0-9a-f]*$`)
)

// check judges the shape of a statement: what no rule should have to look at.
func check(st gov.Statement) error {
	if !slices.Contains(gov.Decisions, st.Decision) {
		return gov.Errorf(gov.KindInvalid, "statement_decision", "%q is not a decision", short(string(st.Decision)))
	}
	for _, f := range []func(gov.Statement) error{checkWords, checkTexts, checkDigests, checkNames, checkTimes, checkParts} {
		if err := f(st); err != nil {
			return err
		}
	}
	if len(subjects(st)) == 0 {
		return gov.Errorf(gov.KindInvalid, "statement_subject_missing", "the statement names no digest, so it is about nothing")
	}
	return nil
}

func short(s string) string { return s[:min(len(s), 40)] }

// printable refuses what a terminal or a reviewer could be fooled with:
// control characters (free text may break lines) and bidirectional overrides.
func printable(s string, text bool) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		switch {
		case text && (r == '\n' || r == '\t'):
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return false
		}
	}
	return true
}

func checkWords(st gov.Statement) error {
	words := map[string]string{"stage": st.Stage, "target": st.Target, "role": st.Role}
	if st.Outcome != nil {
		words["outcome.target"] = st.Outcome.Target
	}
	if e := st.Evidence; e != nil {
		words["evidence.kind"], words["evidence.tool"], words["evidence.version"] = e.Kind, e.Tool, e.Version
	}
	for _, name := range []string{"stage", "target", "role", "outcome.target", "evidence.kind", "evidence.tool", "evidence.version"} {
		if err := word(name, words[name]); err != nil {
			return err
		}
	}
	return nil
}

func word(name, s string) error {
	if len(s) > MaxWord {
		return gov.Errorf(gov.KindInvalid, "statement_too_long", "%s has %d bytes, more than the %d allowed", name, len(s), MaxWord)
	}
	if !printable(s, false) {
		return gov.Errorf(gov.KindInvalid, "statement_text", "%s holds characters that cannot be printed", name)
	}
	return nil
}

func checkTexts(st gov.Statement) error {
	for _, f := range []struct{ name, text string }{
		{"rationale", st.Rationale}, {"risk_assessment", st.RiskAssessment}, {"checkpoint", st.Checkpoint},
	} {
		if len(f.text) > MaxText {
			return gov.Errorf(gov.KindInvalid, "statement_too_long", "%s has %d bytes, more than the %d allowed", f.name, len(f.text), MaxText)
		}
		if !printable(f.text, true) {
			return gov.Errorf(gov.KindInvalid, "statement_text", "%s holds control or text-direction characters", f.name)
		}
	}
	return nil
}

func checkDigests(st gov.Statement) error {
	all := []gov.Digest{st.Revision.Change, st.Revision.Tree, st.Policy, st.Subject}
	for _, a := range st.Artifacts {
		all = append(all, a.Digest)
	}
	if e := st.Evidence; e != nil && e.Artifact != nil {
		all = append(all, e.Artifact.Digest)
	}
	for _, d := range all {
		if d == "" {
			continue
		}
		if _, err := gov.ParseDigest(string(d)); err != nil {
			return err
		}
	}
	for _, c := range []string{st.Revision.Commit, st.Revision.Base} {
		if c != "" && !gitObject.MatchString(c) {
			return gov.Errorf(gov.KindInvalid, "statement_commit", "a commit id is 40 or 64 lower-case hex digits")
		}
	}
	return nil
}

func checkNames(st gov.Statement) error {
	if st.Change != "" {
		if _, err := gov.ParseChangeID(string(st.Change)); err != nil {
			return err
		}
	}
	if st.Risk != "" {
		if _, err := gov.ParseRisk(string(st.Risk)); err != nil {
			return err
		}
	}
	if len(st.Artifacts) > MaxItems || len(st.Requirements) > MaxItems {
		return gov.Errorf(gov.KindInvalid, "statement_too_long", "the statement names more than %d artifacts or requirements", MaxItems)
	}
	seen := map[string]bool{}
	for _, a := range st.Artifacts {
		if a.Name == "" || a.Digest == "" || seen["a "+a.Name] {
			return gov.Errorf(gov.KindInvalid, "statement_artifact", "each artifact has a digest and a name of its own")
		}
		seen["a "+a.Name] = true
		if err := word("artifact name", a.Name); err != nil {
			return err
		}
	}
	for _, r := range st.Requirements {
		if r == "" || seen["r "+r] {
			return gov.Errorf(gov.KindInvalid, "statement_requirement", "each requirement is named once and not empty")
		}
		seen["r "+r] = true
		if err := word("requirement", r); err != nil {
			return err
		}
	}
	return nil
}

func checkTimes(st gov.Statement) error {
	if st.Issued.IsZero() {
		return gov.Errorf(gov.KindInvalid, "statement_issued", "the statement does not say when it was issued")
	}
	for _, t := range []time.Time{st.Issued, st.Expires} {
		if _, offset := t.Zone(); offset != 0 || t.Year() < 1970 || t.Year() > 9999 {
			if t.IsZero() {
				continue
			}
			return gov.Errorf(gov.KindInvalid, "statement_time", "times in a statement are UTC, from 1970 to 9999")
		}
	}
	raw, err := hex.DecodeString(st.Nonce)
	if err != nil || !lowerHex.MatchString(st.Nonce) || len(raw) < minNonce || len(raw) > maxNonce {
		return gov.Errorf(gov.KindInvalid, "statement_nonce", "the nonce is %d to %d random bytes in lower-case hex", minNonce, maxNonce)
	}
	return nil
}

// checkParts demands the parts without which a decision has no meaning.
func checkParts(st gov.Statement) error {
	if (st.Decision == gov.DecideRevoke || st.Decision == gov.DecideReview) && st.Subject == "" {
		return gov.Errorf(gov.KindInvalid, "statement_subject_missing", "a %s names the statement it is about", st.Decision)
	}
	if st.Decision == gov.DecideEvidence && st.Evidence == nil {
		return gov.Errorf(gov.KindInvalid, "statement_evidence", "an evidence statement carries its evidence")
	}
	if o := st.Outcome; o != nil {
		if _, err := gov.ParseDigest(string(o.Verdict)); err != nil || o.Attempt < 1 || o.Attempt > 1<<30 || o.Target == "" {
			return gov.Errorf(gov.KindInvalid, "statement_outcome", "an outcome names its target, an attempt from 1 and the digest of the verdict")
		}
	}
	if e := st.Evidence; e != nil {
		return checkEvidence(*e)
	}
	return nil
}

func checkEvidence(e gov.Evidence) error {
	bad := func(why string) error { return gov.Errorf(gov.KindInvalid, "statement_evidence", "%s", why) }
	if strings.TrimSpace(e.Kind) == "" {
		return bad("evidence says what kind it is")
	}
	if _, err := gov.ParseDigest(string(e.Report)); err != nil {
		return bad("evidence names the digest of its report")
	}
	for _, n := range []int{e.Passed, e.Failed, e.Skipped, e.Findings} {
		if n < 0 || n > maxCount {
			return bad("counts in evidence are not negative")
		}
	}
	if c := e.Coverage; c != nil && !(*c >= 0 && *c <= 1) {
		return bad("coverage is a share from 0 to 1")
	}
	for _, r := range e.Results {
		if !printable(r.ID, false) || !printable(r.File, false) || !slices.Contains([]string{"passed", "failed", "skipped"}, r.Status) {
			return bad("each result has a printable id and the status passed, failed or skipped")
		}
	}
	for _, u := range e.Unread {
		if !printable(u, true) {
			return bad("unread parts are named in printable text")
		}
	}
	if a := e.Artifact; a != nil && (a.Name == "" || a.Digest == "" || word("artifact", a.Name) != nil) {
		return bad("a build names its artifact and the digest")
	}
	return nil
}
