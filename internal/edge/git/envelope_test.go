package git

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

const testKeyID = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// testPayload is an in-toto Statement about a change; notes make it another.
func testPayload(id string, notes ...string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","predicate":{"change":"` + id + `","decision":"approve","rationale":"` +
		strings.Join(notes, " ") + `"},"predicateType":"https://governhq.github.io/govern/statement/v1","subject":[]}`
}

// wrap puts a payload into an envelope with a signature that nobody made.
func wrap(payload string) string {
	return `{"payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `","payloadType":"application/vnd.in-toto+json",` +
		`"signatures":[{"keyid":"` + testKeyID + `","sig":"U1NIU0lH"}]}` + "\n"
}

func envelope(id string, notes ...string) string { return wrap(testPayload(id, notes...)) }

// padded is the largest envelope of at most n bytes.
func padded(id string, n int) string {
	s := envelope(id)
	return strings.Replace(s, `"sig":"`, `"sig":"`+strings.Repeat("AAAA", (n-len(s))/4), 1)
}

func statementPath(id, text string) string {
	return StatementPath(gov.ChangeID(id), gov.DigestOf([]byte(text)))
}

func TestEnvelopeShapeNamesItsChange(t *testing.T) {
	for text, want := range map[string]gov.ChangeID{
		envelope("CHANGE-1"):  "CHANGE-1",
		envelope("CHANGE-12"): "CHANGE-12",
		wrap(strings.Replace(testPayload("CHANGE-1"), `"change":"CHANGE-1"`, `"change":null`, 1)):              "",
		wrap(strings.Replace(testPayload("CHANGE-1"), `"change":"CHANGE-1"`, `"change":["CHANGE-1"]`, 1)):      "",
		wrap(strings.Replace(testPayload("CHANGE-1"), `"subject":[]`, `"subject":null`, 1)):                    "",
		wrap(testPayload("CHANGE-1") + " x"):                                                                   "",
		strings.Replace(envelope("CHANGE-1"), `{"payload":"`, `{"payload":"`+"\n", 1):                          "",
		strings.Replace(envelope("CHANGE-1"), "U1NIU0lH", "U1NI\r\nU0lH", 1):                                   "",
		strings.Replace(envelope("CHANGE-1"), "U1NIU0lH", "U1NIU0l=", 1):                                       "",
		strings.Replace(envelope("CHANGE-1"), testKeyID, testKeyID[:len(testKeyID)-1]+"B", 1):                  "",
		strings.Replace(envelope("CHANGE-1"), testKeyID, testKeyID[:len(testKeyID)-1]+"\n", 1):                 "",
		strings.Replace(envelope("CHANGE-1"), testKeyID, strings.Replace(testKeyID, "SHA256", "MD5xyz", 1), 1): "",
		wrap(strings.Replace(testPayload("CHANGE-1"), `"rationale":""`, `"rationale":"`+"\xff"+`"`, 1)):        "",
		wrap(strings.Replace(testPayload("CHANGE-1"), `"rationale":""`, `"x":{"a":1,"a":2}`, 1)):               "",
	} {
		if diff := cmp.Diff(want, envelopeOf([]byte(text))); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

// Whoever commits what only has the name of a statement has a hand in it, and
// a reader of the difference sees it; the same for what takes changes back.
func TestFalseStatementsAreContentEverywhere(t *testing.T) {
	for name, c := range map[string]struct {
		text      string
		statement bool
	}{"statement": {envelope("CHANGE-1"), true}, "program": {"import os\n", false}} {
		t.Run(name, func(t *testing.T) {
			r, _ := proposed(t)
			before := r.head()
			r.write(statementPath("CHANGE-1", c.text), c.text)
			r.git("add", "-A")
			r.git("-c", "user.email=eve@example.org", "commit", "-q", "-m", "add")
			o := r.open()
			emails := must(o.Committers(t.Context(), before, "HEAD"))(t).Emails
			if hand := len(emails) > 0; hand == c.statement {
				t.Errorf("hands of %v", emails)
			}
			patch := must(o.Patch(t.Context(), before, "HEAD", "CHANGE-1"))(t)
			if shown := len(patch) > 0; shown == c.statement {
				t.Errorf("patch %q", patch)
			}
			landing := must(o.Range(t.Context(), before, r.head()))(t)[0]
			if landing.Governed() || len(landing.Statements) > 0 != c.statement || len(landing.Paths) > 0 == c.statement {
				t.Errorf("landing of no change %+v", landing)
			}
			change := must(o.Between(t.Context(), before, "HEAD", "CHANGE-1"))(t)
			if len(change.Statements) > 0 != c.statement || len(change.Paths) > 0 == c.statement {
				t.Errorf("change %+v", change)
			}
		})
	}
}
