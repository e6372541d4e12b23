package report

import (
	"encoding/json"
	"strings"
	"testing"
)

// fuzz reads arbitrary text as one format: no panic, every promise kept, the
// same answer in small pieces, and JSON that reads back.
func fuzz(f *testing.F, format string, seeds ...string) {
	for _, s := range append(seeds, goodReports[format]) {
		f.Add(s)
		f.Add(s[:len(s)/2])
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := Options{Format: format, MaxBytes: 1 << 20, MaxResults: 500, MaxDepth: 32}
		r, err := Read("", "f", strings.NewReader(text), o)
		again, err2 := Read("", "f", &pieces{text: text, n: 5}, o)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("whole: %v; in pieces: %v", err, err2)
		}
		if err != nil {
			return
		}
		checkPromises(t, r, text)
		a, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := json.Marshal(again); string(a) != string(b) {
			t.Fatalf("whole  %s\npieces %s", a, b)
		}
		small := Reduce(r.Evidence, []string{"p"}, 900)
		if r.Failed > 0 && small.Failed == 0 || len(r.Unread) > 0 && len(small.Unread) == 0 {
			t.Fatalf("reduced it looks better: %+v", small)
		}
	})
}

func FuzzGoTest(f *testing.F) {
	fuzz(f, "go-test", events("start p", "run p TestA/b", "fail p TestA/b", "skip p TestB", "bench p BenchmarkC", "explode p"), `{"ImportPath":"p","Action":"build-fail"}`)
}

func FuzzJUnit(f *testing.F) {
	fuzz(f, "junit", pytest, surefire, gotestsum, googletest, `<!DOCTYPE x [<!ENTITY a "b">]><testsuites>&a;</testsuites>`)
}

func FuzzCover(f *testing.F) {
	fuzz(f, "go-cover", "mode: count\na.go:1.2,3.4 1 4294967295\na.go:1.2,3.4 1 0\n", "mode: set\n:.,. \n")
}

func FuzzSARIF(f *testing.F) {
	fuzz(f, "sarif", gosec, semgrep, codeql, sarifOf(`{"rule":{"guid":"ab","toolComponent":{"index":-5}},"ruleIndex":-2}`, `,"invocations":[{"executionSuccessful":false}]`))
}

// FuzzDetect leaves the format open.
func FuzzDetect(f *testing.F) {
	fuzz(f, "", goodReports["sarif"], goodReports["junit"], goodReports["go-test"], goodReports["go-cover"], "\uFEFF{", "<a")
}
