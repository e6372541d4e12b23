package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCover(t *testing.T) {
	share := func(x float64) *float64 { return &x }
	for _, tc := range []struct {
		name, text string
		want       *float64
		unread     string
		bad        bool
	}{
		{"set", "mode: set\na.go:1.2,3.4 3 1\na.go:5.1,6.2 1 0\n", share(0.75), "", false},
		{"count", "mode: count\na.go:1.2,3.4 1 4294967295\na.go:5.1,6.2 3 0\n", share(0.25), "", false},
		{"atomic, none", "mode: atomic\na.go:1.2,3.4 1 0\n", share(0), "", false},
		{"the same block ran in one of two packages", "mode: set\na.go:1.2,3.4 1 0\nb.go:1.2,3.4 1 0\na.go:1.2,3.4 1 1\na.go:1.2,3.4 1 0\n", share(0.5), "", false},
		{"name with blanks and colons", "mode: set\nC:/a b.go:1.2,3.4 1 1\r\n", share(1), "", false},
		{"the same block with another size", "mode: set\na.go:1.2,3.4 1 0\na.go:1.2,3.4 2 0\n", nil, "", true},
		{"no block", "mode: set\n", nil, "no statement", false},
		{"only empty blocks", "mode: set\na.go:1.2,3.4 0 1\n", nil, "no statement", false},
		{"negative statements", "mode: set\na.go:1.2,3.4 -1 1\n", nil, "", true},
		{"negative count", "mode: set\na.go:1.2,3.4 1 -1\n", nil, "", true},
		{"NaN", "mode: set\na.go:1.2,3.4 NaN 1\n", nil, "", true},
		{"fraction", "mode: set\na.go:1.2,3.4 1 0.5\n", nil, "", true},
		{"overflow", "mode: set\na.go:1.2,3.4 18446744073709551616 1\n", nil, "", true},
		{"absurd block", "mode: set\na.go:1.2,3.4 4294967295 1\n", nil, "", true},
		{"unknown mode", "mode: guess\na.go:1.2,3.4 1 1\n", nil, "", true},
		{"two profiles one after the other", "mode: set\na.go:1.2,3.4 1 1\nmode: set\n", nil, "", true},
		{"empty line", "mode: set\n\na.go:1.2,3.4 1 1\n", nil, "", true},
		{"no file name", "mode: set\n:1.2,3.4 1 1\n", nil, "", true},
		{"cut in the last count", "mode: set\na.go:1.2,3.4 1 1", share(1), "no end", false},
		{"cut before it", "mode: set\na.go:1.2,3.4 1 ", nil, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Read("", "", strings.NewReader(tc.text), Options{})
			if (err != nil) != tc.bad {
				t.Fatalf("error %v", err)
			}
			if tc.bad {
				return
			}
			checkPromises(t, r, tc.text)
			if got := strings.Join(r.Unread, "|"); (got == "") != (tc.unread == "") || !strings.Contains(got, tc.unread) {
				t.Errorf("unread %q, want %q", got, tc.unread)
			}
			if (r.Coverage == nil) != (tc.want == nil) || tc.want != nil && *r.Coverage != *tc.want {
				t.Errorf("coverage %v, want %v", r.Coverage, tc.want)
			}
			if r.Kind != "coverage" {
				t.Errorf("kind %q", r.Kind)
			}
		})
	}
}

// The share equals what go test -cover and go tool cover -func print, also when
// several packages ran the same blocks.
func TestCoverAsTheRealTool(t *testing.T) {
	files := map[string]string{
		"a/a.go":      "package a\n\nfunc A(x int) int {\n\tif x > 1 {\n\t\tx++\n\t\treturn x\n\t}\n\tfor range x {\n\t\tx--\n\t}\n\treturn 0\n}\n\nfunc Empty() {}\n\nfunc Never() int {\n\ty := 1\n\treturn y\n}\n",
		"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { A(5) }\n",
		"b/b.go":      "package b\n\nimport \"example.org/m/a\"\n\nfunc B(x int) int {\n\treturn a.A(x) + 1\n}\n",
		"b/b_test.go": "package b\n\nimport \"testing\"\n\nfunc TestB(t *testing.T) { B(0) }\n",
	}
	dir, _ := module(t, files, "version")
	total := regexp.MustCompile(`total:\s+\(statements\)\s+([0-9.]+)%`)
	for _, mode := range []string{"set", "count", "atomic"} {
		for _, pkg := range []string{"", "-coverpkg=./..."} {
			args := []string{"test", "-covermode=" + mode, "-coverprofile=cover.out", "./..."}
			if pkg != "" {
				args = append(args[:len(args)-1], pkg, "./...")
			}
			runGo(t, dir, args...)
			m := total.FindStringSubmatch(runGo(t, dir, "tool", "cover", "-func=cover.out"))
			if m == nil {
				t.Fatal("go tool cover prints no total")
			}
			want, _ := strconv.ParseFloat(m[1], 64)
			text, err := os.ReadFile(filepath.Join(dir, "cover.out"))
			if err != nil {
				t.Fatal(err)
			}
			r := read(t, string(text), Options{})
			if r.Coverage == nil || len(r.Unread) > 0 {
				t.Fatalf("coverage %v, unread %v", r.Coverage, r.Unread)
			}
			if got := *r.Coverage * 100; math.Abs(got-want) > 0.0501 || want == 0 || want == 100 {
				t.Errorf("%s %s: %v %%, go tool cover says %v %%", mode, pkg, got, want)
			}
		}
	}
}

func TestCoverRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type blk struct{ statements, ran int }
		var all []blk
		text := "mode: count\n"
		var rows []string
		for i := range rapid.IntRange(1, 12).Draw(t, "blocks") {
			b := blk{statements: rapid.IntRange(0, 5).Draw(t, "statements")}
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				n := rapid.IntRange(0, 2).Draw(t, "count")
				b.ran += n
				rows = append(rows, fmt.Sprintf("m/f%d.go:%d.2,%d.4 %d %d\n", i%3, i+1, i+2, b.statements, n))
			}
			all = append(all, b)
		}
		text += strings.Join(rapid.Permutation(rows).Draw(t, "order"), "")
		sum, ran := 0, 0
		for _, b := range all {
			sum += b.statements
			if b.ran > 0 {
				ran += b.statements
			}
		}
		r, err := Read("", "", strings.NewReader(text), Options{})
		switch {
		case err != nil:
			t.Fatal(err)
		case sum == 0:
			if r.Coverage != nil || len(r.Unread) == 0 {
				t.Fatalf("nothing to cover, and it says %v", r.Coverage)
			}
		case r.Coverage == nil || *r.Coverage != float64(ran)/float64(sum):
			t.Fatalf("%d of %d, got %v", ran, sum, *r.Coverage)
		}
	})
}
