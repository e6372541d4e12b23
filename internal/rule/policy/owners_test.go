package policy

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// TestPattern restates GitHub's documented examples and git's rules by hand.
func TestPattern(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no string }{
		{"*", "a a/b a/b/c.go .x", ""},
		{"*.js", "a.js x/a.js x/y.js/z", "a.jsx js"},
		{"/build/logs/", "build/logs/a build/logs/b/c", "build/logs x/build/logs/a build/logsx/a"},
		{"docs/*", "docs/getting-started.md docs/a", "docs/build-app/troubleshooting.md docs x/docs/a"},
		{"apps/", "apps/a x/apps/b/c", "apps x/apps"},
		{"/docs/", "docs/a docs/b/c", "x/docs/a docs"},
		{"/scripts/", "scripts/a", "a/scripts/a"},
		{"**/logs", "logs build/logs build/logs/x a/b/logs", "logs2 alogs"},
		{"/apps/github", "apps/github apps/github/x", "apps/githubx x/apps/github"},
		{"a/**/b", "a/b a/x/b a/x/y/b a/b/c", "ab a/bc x/a/b"},
		{"a/**", "a/b a/b/c", "a b/a/c"},
		{"**", "a a/b", ""},
		{"/*", "a", "a/b"},
		{"/*.go", "a.go", "b/a.go"},
		{"src", "src src/a x/src x/src/a", "srcs"},
		{"a?c", "abc x/aéc", "ac abbc a/c"},
		{`\#x`, "#x", "x"},
		{`a\*b`, "a*b", "aXb"},
		{"a**b", "ab aXb", "a/b"},
		{"é*", "éx", "ex"},
	} {
		p, err := CompilePattern(c.pattern)
		if err != nil {
			t.Fatal(c.pattern, err)
		}
		for _, s := range strings.Fields(c.yes) {
			if !p.Match(s) {
				t.Errorf("%q does not match %q", c.pattern, s)
			}
		}
		for _, s := range strings.Fields(c.no) {
			if p.Match(s) {
				t.Errorf("%q matches %q", c.pattern, s)
			}
		}
	}
	if p, _ := CompilePattern(`a\ b`); !p.Match("a b") || p.Match("ab") {
		t.Error("an escaped blank")
	}
	for _, bad := range []string{"", "/", "//", "a//b", "!a", "[ab]", "a]", `a\`, `a\/b`, strings.Repeat("a", maxPattern+1)} {
		if _, err := CompilePattern(bad); gov.CodeOf(err) != "policy_pattern" {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// oracle translates a pattern to a regular expression, restated from git's
// documentation: parts between slashes, ** as any parts.
func oracle(pattern string) *regexp.Regexp {
	rooted := strings.HasPrefix(pattern, "/") || strings.Contains(strings.TrimSuffix(pattern, "/"), "/")
	body := strings.TrimPrefix(pattern, "/")
	dir := strings.HasSuffix(body, "/")
	body = strings.TrimSuffix(body, "/")
	re := ""
	if !rooted {
		re = "(?:[^/]+/)*"
	}
	parts := strings.Split(body, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**" && last && !dir:
			return regexp.MustCompile(`^` + re + `.+$`)
		case part == "**":
			re += "(?:[^/]+/)*"
			if last {
				return regexp.MustCompile(`^` + re + `.+$`)
			}
			continue
		}
		part = regexp.QuoteMeta(part)
		part = strings.ReplaceAll(strings.ReplaceAll(part, `\*`, `[^/]*`), `\?`, `[^/]`)
		re += part
		if !last {
			re += "/"
		}
	}
	switch {
	case dir:
		re += "/.+"
	case parts[len(parts)-1] != "*":
		re += "(?:/.+)?"
	}
	return regexp.MustCompile("^" + re + "$")
}

func TestPatternOracle(t *testing.T) {
	name := rapid.StringMatching(`[ab]{1,3}`)
	part := rapid.OneOf(rapid.StringMatching(`[ab*?]{1,3}`), rapid.Just("**"), rapid.Just("*"), name)
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(part, 1, 4).Draw(t, "parts")
		pattern := rapid.SampledFrom([]string{"", "/"}).Draw(t, "root") + strings.Join(parts, "/") + rapid.SampledFrom([]string{"", "/"}).Draw(t, "dir")
		p, err := CompilePattern(pattern)
		if err != nil {
			t.Fatalf("%q: %v", pattern, err)
		}
		re := oracle(pattern)
		for range 20 {
			path := strings.Join(rapid.SliceOfN(name, 1, 5).Draw(t, "path"), "/")
			if p.Match(path) != re.MatchString(path) {
				t.Fatalf("%q and %q: %v, but the oracle %s says %v", pattern, path, p.Match(path), re, re.MatchString(path))
			}
		}
	})
}

func TestParseOwners(t *testing.T) {
	got, err := ParseOwners([]byte("# all\r\n*   @olga @org/team # inline\r\n\n/a\\ b/ bob@example.org\n\\#x @c\n/vendor/\n  /x\t@y"))
	if err != nil {
		t.Fatal(err)
	}
	want := []OwnerRule{
		{Path: "*", Owners: []string{"olga", "org/team"}, Line: 2},
		{Path: `/a\ b/`, Owners: []string{"bob@example.org"}, Line: 4},
		{Path: `\#x`, Owners: []string{"c"}, Line: 5},
		{Path: "/vendor/", Line: 6},
		{Path: "/x", Owners: []string{"y"}, Line: 7},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	g, err := Owners(got, []Member{{Handle: "olga", Kind: gov.Human}, {Handle: "y", Kind: gov.Human}, {Handle: "bo", Kind: gov.Human, Emails: []string{"Bob@Example.org"}}},
		[]string{"a b/c", "x", "vendor/z", "q", "#x"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Grouped{
		Groups:  []OwnerGroup{{Owners: []string{"bo"}, Paths: []string{"a b/c"}}, {Owners: []string{"olga"}, Paths: []string{"q"}}, {Owners: []string{"y"}, Paths: []string{"x"}}},
		Unowned: []string{"#x", "vendor/z"}, Unknown: []string{"c", "org/team"},
	}, g); d != "" {
		t.Error(d)
	}
	for _, c := range []struct{ text, says string }{
		{"* @a\n!x @b\n", "CODEOWNERS:2:1"},
		{"[Section] @a\n", "character classes"},
		{"* alice\n", "@handle"},
		{"* @c#d\n", "@handle"},
		{"* @\n", "@handle"},
		{"* @a/b/c\n", "@handle"},
		{"* @a\x00\n", "U+0000"},
		{"* \xff\n", "UTF-8"},
		{strings.Repeat("#", MaxBytes+1), "bytes"},
	} {
		if _, err := ParseOwners([]byte(c.text)); gov.KindOf(err) != gov.KindInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.20q: %v", c.text, err)
		}
	}
}

func FuzzOwners(f *testing.F) {
	f.Add("* @a\n/docs/ @b c@d.e # x\n", "docs/x")
	f.Add("a\\ b/** @org/t\n**/x?y*\n", "a b/c")
	f.Add("\\#\\*\\[ @a\r\n", "#*[")
	f.Fuzz(func(t *testing.T, text, path string) {
		rules, err := ParseOwners([]byte(text))
		if err != nil {
			if gov.KindOf(err) != gov.KindInvalid {
				t.Fatal(err)
			}
			return
		}
		// What is read can be written and read again.
		var b strings.Builder
		for _, r := range rules {
			b.WriteString(r.Path)
			for _, o := range r.Owners {
				if !strings.Contains(o, "@") {
					o = "@" + o
				}
				b.WriteString(" " + o)
			}
			b.WriteString("\n")
		}
		again, err := ParseOwners([]byte(b.String()))
		if err != nil || len(again) != len(rules) {
			t.Fatalf("%q: %v", b.String(), err)
		}
		for i := range again {
			again[i].Line = rules[i].Line
		}
		if d := cmp.Diff(rules, again); d != "" {
			t.Fatal(d)
		}
		if _, err := Owners(rules, people(), []string{path}); err != nil {
			t.Fatal(err)
		}
	})
}
