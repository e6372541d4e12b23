package report

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// events writes "action package test" lines as events.
func events(ls ...string) string {
	var b strings.Builder
	for _, l := range ls {
		f := strings.Fields(l + " - -")
		ev := map[string]any{"Time": "2026-01-08T10:00:00Z", "Action": f[0]}
		if f[1] != "-" {
			ev["Package"] = f[1]
		}
		if f[2] != "-" {
			ev["Test"] = f[2]
		}
		out, _ := json.Marshal(ev)
		b.Write(append(out, '\n'))
	}
	return b.String()
}

func TestGoTest(t *testing.T) {
	whole := events("start p", "run p TestA", "pass p TestA", "pass p")
	runRows(t, []row{
		{
			name: "pass, fail, skip, subtests", tool: "go test",
			text: events("start m/p", "run m/p TestA", "run m/p TestA/x/y", "output m/p TestA/x/y", "pass m/p TestA/x/y", "pass m/p TestA",
				"run m/p TestB", "fail m/p TestB", "run m/p TestC", "skip m/p TestC", "fail m/p"),
			results: []string{"m/p/TestA passed", "m/p/TestA/x/y passed", "m/p/TestB failed", "m/p/TestC skipped"},
		},
		{
			name:    "interleaved packages, the same test name",
			text:    events("start a", "start b", "run a TestA", "run b TestA", "fail b TestA", "pass a TestA", "pass a", "fail b"),
			results: []string{"a/TestA passed", "b/TestA failed"},
		},
		{name: "start without end fails", text: events("start p", "run p TestA", "pass p"), results: []string{"p/TestA failed"}},
		{name: "timed out", text: events("start p", "run p TestA", "pass p TestA", "run p TestB", "fail p"), results: []string{"p/TestA passed", "p/TestB failed"}},
		{name: "package fails without a failed test", text: events("start p", "run p TestA", "pass p TestA", "fail p"), results: []string{"p failed", "p/TestA passed"}},
		{name: "package without end", text: events("start p", "run p TestA", "pass p TestA"), results: []string{"p failed", "p/TestA passed"}, unread: "p has no end"},
		{name: "second package without end", text: whole + events("start q"), results: []string{"p/TestA passed", "q failed"}, unread: "q has no end"},
		{name: "run twice, once failed", text: events("start p", "run p TestA", "fail p TestA", "run p TestA", "pass p TestA", "fail p"), results: []string{"p/TestA failed"}},
		{name: "run twice, one end", text: events("start p", "run p TestA", "run p TestA", "pass p TestA", "pass p"), results: []string{"p/TestA failed"}},
		{name: "package twice, second without end", text: whole + events("start p"), results: []string{"p failed", "p/TestA passed"}, unread: "p has no end"},
		{name: "no test files", text: events("start p", "output p", "skip p"), results: nil},
		{name: "no end mark of a stream cut between packages, stated in doc.go", text: whole, results: []string{"p/TestA passed"}},
		{name: "benchmarks never end", text: events("start p", "run p TestA", "pass p TestA", "run p BenchmarkB", "pass p"), results: []string{"p/TestA passed"}},
		{name: "benchmark in a failed package", text: events("start p", "run p BenchmarkB", "fail p"), results: []string{"p/BenchmarkB failed"}},
		{
			name: "build fails",
			text: `{"ImportPath":"m/p [m/p.test]","Action":"build-output","Output":"x\n"}` + "\n" + `{"ImportPath":"m/p [m/p.test]","Action":"build-fail"}` + "\n" +
				`{"Action":"start","Package":"m/p"}` + "\n" + `{"Action":"fail","Package":"m/p","FailedBuild":"m/p [m/p.test]"}` + "\n",
			results: []string{"m/p failed"},
		},
		{name: "build fails and no package says so", text: `{"ImportPath":"m/p","Action":"build-fail"}` + "\n" + whole, results: []string{"m/p failed", "p/TestA passed"}},
		{name: "unknown action", text: whole + events("explode p TestA"), results: []string{"p/TestA passed"}, unread: "explode"},
		{name: "other text between", text: "go: downloading x\n" + whole, results: []string{"p/TestA passed"}, unread: "line 1 "},
		{name: "last line cut", text: whole + `{"Action":"fail","Pack`, results: []string{"p/TestA passed"}, unread: "line 5 "},
		{name: "last line without end", text: strings.TrimSuffix(whole, "\n"), results: []string{"p/TestA passed"}, unread: "has no end"},
		{name: "key twice", text: whole + `{"Action":"fail","Package":"p","Test":"TestA","Action":"pass"}` + "\n", results: []string{"p/TestA passed"}, unread: "line 5"},
		{name: "keys in another spelling do not count", text: whole + `{"action":"fail","Package":"p"}` + "\n", results: []string{"p/TestA passed"}, unread: "unknown action"},
		{name: "U+0000 in a name", text: events("start p", "pass p") + `{"Action":"fail","Package":"p","Test":"Test\u0000"}` + "\n", results: nil, unread: "U+0000"},
		{name: "U+0000 in output is nobody's matter", text: whole + `{"Action":"output","Package":"p","Output":"\u0000"}` + "\n", results: []string{"p/TestA passed"}},
		{name: "long line", text: whole + `{"Action":"output","Package":"p","Output":"` + strings.Repeat("x", 2<<20) + "\"}\n", results: []string{"p/TestA passed"}, unread: "longer than"},
		{name: "carriage returns", text: strings.ReplaceAll(whole, "\n", "\r\n"), results: []string{"p/TestA passed"}},
		{name: "byte order mark", text: "\uFEFF" + whole, results: []string{"p/TestA passed"}},
	}, Options{})
}

// A report cut at any byte never passes, and never loses a failure silently,
// except behind the end of its last package.
func TestGoTestCutAnywhere(t *testing.T) {
	text := events("start p", "start q", "run p TestA", "pass p TestA", "run q TestB", "pass q TestB", "pass q", "pass p")
	for i := 1; i < len(text); i++ {
		noSilentPass(t, fmt.Sprintf("cut at byte %d", i), text[:i])
	}
	if !passes(read(t, text, Options{})) {
		t.Error("the whole report does not pass")
	}
}

// The oracle of the random test: what each test and package ended with.
func TestGoTestRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`Test[A-Z]{1,2}(/[a-zäé<&" \[\]#]{1,6}){0,2}`)
		var queues [][]string
		want := map[string]string{}
		for i := range rapid.IntRange(1, 4).Draw(t, "packages") {
			p := fmt.Sprintf("example.org/m/p%d", i)
			var q []string
			ev := func(action, test string) {
				b, _ := json.Marshal(map[string]string{"Action": action, "Package": p, "Test": test, "Output": "x"})
				q = append(q, string(b))
			}
			ev("start", "")
			bad := false
			for _, n := range rapid.SliceOfNDistinct(name, 0, 6, rapid.ID[string]).Draw(t, "tests") {
				ev("run", n)
				ev("output", n)
				switch end := rapid.SampledFrom([]string{"pass", "fail", "skip", ""}).Draw(t, "end"); end {
				case "":
					want[p+"/"+n], bad = "failed", true
				default:
					ev(end, n)
					want[p+"/"+n] = map[string]string{"pass": "passed", "fail": "failed", "skip": "skipped"}[end]
					bad = bad || end == "fail"
				}
			}
			if crash := rapid.Bool().Draw(t, "crash"); crash && !bad {
				want[p], bad = "failed", true
			}
			ev(map[bool]string{true: "fail", false: "pass"}[bad], "")
			queues = append(queues, q)
		}
		var b strings.Builder
		for len(queues) > 0 {
			i := rapid.IntRange(0, len(queues)-1).Draw(t, "next")
			b.WriteString(queues[i][0] + "\n")
			if queues[i] = queues[i][1:]; len(queues[i]) == 0 {
				queues = slices.Delete(queues, i, i+1)
			}
		}
		r, err := Read("tests", "", strings.NewReader(b.String()), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, x := range r.Results {
			got[x.ID] = x.Status
		}
		if d := cmp.Diff(want, got); d != "" || len(r.Unread) > 0 {
			t.Fatalf("(-want +got):\n%s\nunread %v\n%s", d, r.Unread, b.String())
		}
	})
}

// module writes a small module and runs go in it.
func module(t *testing.T, files map[string]string, args ...string) (dir, out string) {
	t.Helper()
	dir = t.TempDir()
	files["go.mod"] = "module example.org/m\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, runGo(t, dir, args...)
}

func runGo(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local", "GOCOVERDIR=")
	out, err := cmd.Output() // exit 1 is the failing test's
	if len(out) == 0 {
		t.Fatalf("go %v: %v", args, err)
	}
	return string(out)
}

func TestRealGoTest(t *testing.T) {
	dir, out := module(t, map[string]string{
		"a/a_test.go": "package a\nimport \"testing\"\nfunc TestA(t *testing.T) {\n t.Run(\"x/y z\", func(t *testing.T) {})\n t.Run(\"s\", func(t *testing.T) { t.Skip() })\n print(\"\\x00\\xff no newline\")\n}\nfunc BenchmarkB(b *testing.B) { for b.Loop() {} }\n",
		"b/b_test.go": "package b\nimport \"testing\"\nfunc TestB(t *testing.T) { undefined() }\n",
		"c/c_test.go": "package c\nimport \"testing\"\nfunc TestBad(t *testing.T) { t.Error(1) }\nfunc TestGood(t *testing.T) {}\n",
		"d/d_test.go": "package d\nimport (\n\"os\"\n\"testing\"\n)\nfunc TestMain(m *testing.M) { os.Exit(3) }\n",
		"e/e.go":      "package e\n",
	}, "test", "-json", "./...")
	r := read(t, out, Options{})
	want := []string{
		"example.org/m/a/TestA passed", "example.org/m/a/TestA/s skipped", "example.org/m/a/TestA/x/y_z passed",
		"example.org/m/b failed", "example.org/m/c/TestBad failed", "example.org/m/c/TestGood passed", "example.org/m/d failed",
	}
	if d := cmp.Diff(want, sorted(lines(r))); d != "" || len(r.Unread) > 0 {
		t.Errorf("(-want +got):\n%s\nunread %v\n%s", d, r.Unread, out)
	}

	// With -bench a benchmark starts and never ends; it is no failed test.
	r = read(t, runGo(t, dir, "test", "-json", "-bench", ".", "-benchtime", "1x", "./a"), Options{})
	want = []string{"example.org/m/a/TestA passed", "example.org/m/a/TestA/s skipped", "example.org/m/a/TestA/x/y_z passed"}
	if d := cmp.Diff(want, sorted(lines(r))); d != "" || len(r.Unread) > 0 {
		t.Errorf("(-want +got):\n%s\nunread %v", d, r.Unread)
	}
}
