package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
)

func read(t testing.TB, text string, o Options) Report {
	t.Helper()
	r, err := Read("", "", strings.NewReader(text), o)
	if err != nil {
		t.Fatalf("reading: %v\n%s", err, text)
	}
	checkPromises(t, r, text)
	return r
}

// checkPromises holds for every report that was read without an error.
func checkPromises(t testing.TB, r Report, text string) {
	t.Helper()
	counts := map[string]int{}
	for i, x := range r.Results {
		counts[x.Status]++
		if x.ID == "" || strings.ContainsRune(x.ID+x.File, 0) {
			t.Errorf("result %d has the name %q in %q", i, x.ID, x.File)
		}
		if i > 0 && strings.Compare(r.Results[i-1].ID+"\x00"+r.Results[i-1].File, x.ID+"\x00"+x.File) >= 0 {
			t.Errorf("results %d and %d are not in order or not distinct: %v, %v", i-1, i, r.Results[i-1], x)
		}
	}
	if counts["passed"] != r.Passed || counts["failed"] != r.Failed || counts["skipped"] != r.Skipped || len(counts) > 3 {
		t.Errorf("counts %d/%d/%d are not those of the results %v", r.Passed, r.Failed, r.Skipped, counts)
	}
	if r.Coverage != nil && !(*r.Coverage >= 0 && *r.Coverage <= 1) {
		t.Errorf("coverage %v", *r.Coverage)
	}
	if r.Report != gov.DigestOf([]byte(text)) {
		t.Errorf("digest %s is not that of the raw bytes", r.Report)
	}
	if r.Findings > r.Failed {
		t.Errorf("%d findings, %d failed", r.Findings, r.Failed)
	}
}

// lines prints results in short: "id status" or "id (file) status".
func lines(r Report) []string {
	var out []string
	for _, x := range r.Results {
		id := x.ID
		if x.File != "" {
			id += " (" + x.File + ")"
		}
		out = append(out, id+" "+x.Status)
	}
	return out
}

// same reads a text twice, in pieces of different sizes.
func same(t testing.TB, text string, want Report) {
	t.Helper()
	got, err := Read("", "", &pieces{text: text, n: 7}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read in small pieces it differs (-whole +pieces):\n%s", d)
	}
}

type pieces struct {
	text string
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.text)
	p.text = p.text[n:]
	return n, nil
}

// passes tells whether a report could satisfy any check: nothing failed, nothing
// unread, and something is shown.
func passes(r Report) bool {
	return r.Failed == 0 && r.Findings == 0 && len(r.Unread) == 0 && r.Tool != "" &&
		(r.Passed > 0 || r.Coverage != nil || r.Format == "sarif")
}

// row is one report and what it must give.
type row struct {
	name     string
	text     string
	results  []string
	unread   string // part of the only unread line; "" means none
	code     string // of the error, if one is due
	tool     string
	findings int
}

func runRows(t *testing.T, rows []row, o Options) {
	t.Helper()
	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Read("", "", strings.NewReader(tc.text), o)
			if tc.code != "" {
				if gov.CodeOf(err) != tc.code {
					t.Fatalf("given\n%s\nthen the error %s is due, got %v (%v)", tc.text, tc.code, err, lines(r))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkPromises(t, r, tc.text)
			if d := cmp.Diff(tc.results, lines(r)); d != "" {
				t.Errorf("results (-want +got):\n%s", d)
			}
			got := strings.Join(r.Unread, " | ")
			if (tc.unread == "") != (got == "") || !strings.Contains(got, tc.unread) {
				t.Errorf("unread: want %q, got %q", tc.unread, got)
			}
			if tc.tool != "" && tc.tool != r.Tool {
				t.Errorf("tool %q, want %q", r.Tool, tc.tool)
			}
			if tc.findings != r.Findings {
				t.Errorf("%d findings, want %d", r.Findings, tc.findings)
			}
			same(t, tc.text, mustRead(t, tc.text, o))
		})
	}
}

func mustRead(t testing.TB, text string, o Options) Report {
	t.Helper()
	r, err := Read("", "", strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// noSilentPass fails when a damaged report passes. What it refuses it must refuse
// with a proper error.
func noSilentPass(t testing.TB, what, text string) {
	t.Helper()
	r, err := Read("", "", strings.NewReader(text), Options{})
	if err != nil {
		var e *gov.Error
		if !errors.As(err, &e) || e.Code == "" || e.Message == "" {
			t.Errorf("%s: the error is no *gov.Error: %v", what, err)
		}
		return
	}
	if passes(r) {
		t.Errorf("%s passes: %s", what, fmt.Sprint(lines(r)))
	}
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}
