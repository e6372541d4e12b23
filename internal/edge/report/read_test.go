package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
)

var goodReports = map[string]string{
	"go-test":  events("start p", "run p TestA", "pass p TestA", "pass p"),
	"junit":    junitOf(`tests="1"`, good),
	"go-cover": "mode: set\na.go:1.2,3.4 3 1\n",
	"sarif":    sarifOf(`{"ruleId":"W"}`, ""),
}

// The format is found by content: the name plays no part.
func TestDetection(t *testing.T) {
	for name, text := range goodReports {
		for _, lead := range []string{"", "\uFEFF", "\n \n"} {
			if name == "go-cover" && strings.HasPrefix(lead, "\n") {
				continue // the profile's own tools refuse that as well
			}
			r, err := Read("", "report.xml", strings.NewReader(lead+text), Options{})
			if err != nil || r.Format != name || !passes(r) {
				t.Errorf("%s behind %q: %v, %v, %v", name, lead, r.Format, r.Unread, err)
			}
		}
	}
	ambiguous := `{"Action":"pass","Package":"p","version":"2.1.0","runs":[{"tool":{"driver":{"name":"t"}},"results":[]}]}` + "\n"
	_, err := Read("", "x.sarif", strings.NewReader(ambiguous), Options{})
	var e *gov.Error
	if !errors.As(err, &e) || e.Code != "report_ambiguous" || !strings.Contains(e.Message, "go-test, sarif") || !strings.Contains(e.Hint, "--format go-test") {
		t.Errorf("ambiguous: %v, hint %q", err, e.Hint)
	}
	for name, text := range goodReports { // a format that was named is believed, and then refuses what it is not
		for _, f := range Formats() {
			r, err := Read("", "", strings.NewReader(text), Options{Format: f.Name})
			if f.Name == name && (err != nil || !passes(r)) {
				t.Errorf("%s as itself: %v %v", name, r.Unread, err)
			}
			if f.Name != name && err == nil && passes(r) {
				t.Errorf("%s read as %s passes", name, f.Name)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	huge := "mode: set\n" + strings.Repeat("a.go:1.2,3.4 3 1\n", 1000)
	many := events("start p", "pass p T1", "pass p T2", "pass p T3", "pass p")
	for _, tc := range []struct {
		name, kind, text, code string
		o                      Options
	}{
		{"empty", "", "", "report_empty", Options{}},
		{"blank", "", " \n\n", "report_empty", Options{}},
		{"only a byte order mark", "", "\uFEFF", "report_empty", Options{}},
		{"empty with a format", "", "", "report_empty", Options{Format: "junit"}},
		{"something else", "", "hello", "report_unknown", Options{}},
		{"JSON of something else", "", `{"bomFormat":"CycloneDX"}`, "report_unknown", Options{}},
		{"a list", "", `[1]`, "report_unknown", Options{}},
		{"unknown format", "", "x", "report_format", Options{Format: "tap"}},
		{"kind of another format", "coverage", goodReports["junit"], "report_kind", Options{}},
		{"kind that nobody knows", "vibes", goodReports["junit"], "report_kind", Options{}},
		{"too large", "", huge, "report_too_large", Options{MaxBytes: int64(len(huge)) - 1}},
		{"too large behind what the parser reads", "", goodReports["junit"] + strings.Repeat(" ", 500_000), "report_too_large", Options{MaxBytes: 400_000}},
		{"too many results", "", many, "report_too_large", Options{MaxResults: 2}},
		{"too many cases", "", junitOf("", good+bad+skip), "report_too_large", Options{MaxResults: 2}},
		{"too many findings", "", sarifOf(strings.Repeat(`{"ruleId":"W"},`, 9)+`{"ruleId":"W"}`, ""), "report_too_large", Options{MaxResults: 2}},
		{"UTF-16", "", "\xFF\xFEm\x00o\x00", "report_encoding", Options{}},
		{"invalid UTF-8 in a test", "", events("start p") + "{\"Action\":\"fail\",\"Package\":\"p\",\"Test\":\"Test\xff\"}\n", "report_encoding", Options{}},
		{"invalid UTF-8 in XML", "", junitOf("", "<testcase name=\"a\xc3\"/>"), "report_encoding", Options{}},
		{"invalid UTF-8 in SARIF", "", sarifOf("{\"ruleId\":\"\xff\"}", ""), "report_encoding", Options{}},
		{"invalid UTF-8 in a profile", "", "mode: set\na\xff.go:1.2,3.4 1 1\n", "report_encoding", Options{}},
		{"cut character", "", goodReports["sarif"] + "\xc3", "report_encoding", Options{}},
		{"invalid UTF-8 far behind", "", goodReports["sarif"] + strings.Repeat(" ", 300_000) + "\xff", "report_encoding", Options{}},
		{"U+0000", "", "mode: set\na\x00.go:1.2,3.4 1 1\n", "report_encoding", Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1, 3, 1 << 20} {
				_, err := Read(tc.kind, "dir/report", &pieces{text: tc.text, n: n}, tc.o)
				var e *gov.Error
				if !errors.As(err, &e) || e.Code != tc.code || e.Kind != gov.KindInvalid || e.Op == "" || !strings.Contains(e.Message, "dir/report") {
					t.Fatalf("in pieces of %d: want %s, got %v", n, tc.code, err)
				}
			}
		})
	}
}

func TestReadingFails(t *testing.T) {
	for name, text := range goodReports {
		for _, n := range []int{0, 20, len(text)} {
			_, err := Read("", "", iotest.TimeoutReader(&stutter{text[:n]}), Options{})
			if gov.KindOf(err) != gov.KindUnavailable || !errors.Is(err, iotest.ErrTimeout) {
				t.Errorf("%s, broken after %d bytes: %v", name, n, err)
			}
		}
	}
	if _, err := Read("", "", idle{}, Options{}); gov.CodeOf(err) != "report_read" {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// stutter gives its text at once; what comes behind is the next reader's matter.
type stutter struct{ text string }

func (s *stutter) Read(b []byte) (int, error) {
	n := copy(b, s.text)
	s.text = s.text[n:]
	return n, nil
}

// Tests given as another kind must at least have run.
func TestNothingRun(t *testing.T) {
	for _, tc := range []struct {
		kind, text string
		unread     int
	}{
		{"tests", junitOf("", skip), 0}, // the rule asks for a passed test
		{"architecture_review", junitOf("", skip), 1},
		{"security_scan", junitOf("", ""), 1},
		{"architecture_review", junitOf("", good), 0},
	} {
		r, err := Read(tc.kind, "", strings.NewReader(tc.text), Options{})
		if err != nil || len(r.Unread) != tc.unread || r.Kind != tc.kind {
			t.Errorf("%s: kind %s, unread %v, %v", tc.kind, r.Kind, r.Unread, err)
		}
	}
}

func TestJSON(t *testing.T) {
	r := read(t, junitOf("", good+bad+skip), Options{})
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"format":"junit","kind":"tests","tool":"junit","report":"` + string(r.Report) + `","passed":1,"failed":1,"skipped":1,` +
		`"results":[{"id":"c::bad","status":"failed"},{"id":"c::good","status":"passed"},{"id":"c::skip","status":"skipped"}]}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
	for _, text := range []string{goodReports["go-cover"], gosec, pytest, sarifOf("", "")} {
		r := read(t, text, Options{})
		b, err := json.Marshal(r)
		if err != nil || !strings.Contains(string(b), `"results":[`) {
			t.Errorf("%s, %v", b, err)
		}
		var back Report
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

// Unread stays short whatever the report holds.
func TestUnreadIsBounded(t *testing.T) {
	text := events("start p") + strings.Repeat("garbage\n", 5000) + events("pass p")
	r := read(t, text, Options{})
	if len(r.Unread) != maxUnread+1 || r.Unread[maxUnread] != fmt.Sprintf("%d further parts", 5000-maxUnread) {
		t.Errorf("%d lines, the last %q", len(r.Unread), r.Unread[len(r.Unread)-1])
	}
	r = read(t, junitOf("", `<testcase classname="`+strings.Repeat("x", 9000)+`" name="y"/>`), Options{})
	if len(r.Unread) != 1 || len(r.Unread[0]) > noteSize+10 || passes(r) {
		t.Errorf("a long name: %v", r.Unread)
	}
}
