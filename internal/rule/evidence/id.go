package evidence

import (
	"path"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// testName is the name of a test, or of something that contains tests, in one
// form for all the ways in which tools write it: the parts of its path and
// classes, outermost first, and the parameters behind its name.
//
//	tests/test_a.py::TestB::test_c[x]   [tests test_a TestB test_c] "[x]"
//	tests.test_a.TestB::test_c[x]       the same (JUnit's classname::name)
//	tests.test_a.TestB.test_c[x]        the same
//	example.org/m/pkg/TestA/sub         [example.org m pkg TestA sub]
//	example.org/m/pkg.TestA/sub         the same
type testName struct {
	parts []string
	param string
}

func parseName(s string) testName {
	var n testName
	s = strings.TrimSpace(s)
	if i := strings.IndexByte(s, '['); i > 0 && strings.HasSuffix(s, "]") {
		s, n.param = s[:i], s[i:]
	}
	head, rest, _ := strings.Cut(s, "::")
	n.parts = location(head)
	for p := range strings.SplitSeq(rest, "::") {
		n.parts = appendParts(n.parts, strings.Split(p, "/")...)
	}
	return n
}

// location splits what stands before the first "::": a path, or names joined by
// dots.
func location(head string) []string {
	if !strings.Contains(head, "/") && !strings.HasSuffix(head, ".py") && head != "." && head != "..." {
		return appendParts(nil, strings.Split(head, ".")...)
	}
	head = strings.TrimSuffix(head, "...")
	parts := appendParts(nil, strings.Split(head, "/")...)
	if len(parts) > 0 && parts[0] == "." {
		parts = parts[1:]
	}
	var out []string
	for _, p := range parts {
		p = strings.TrimSuffix(p, ".py")
		if i := goTest(p); i > 0 {
			out = append(out, p[:i], p[i+1:])
			continue
		}
		out = append(out, p)
	}
	return out
}

// goTest finds the dot of "pkg.TestName", or 0.
func goTest(p string) int {
	for _, prefix := range []string{".Test", ".Fuzz", ".Benchmark", ".Example"} {
		if i := strings.LastIndex(p, prefix); i > 0 {
			return i
		}
	}
	return 0
}

func appendParts(to []string, parts ...string) []string {
	for _, p := range parts {
		if p != "" {
			to = append(to, p)
		}
	}
	return to
}

func (n testName) String() string { return strings.Join(n.parts, "/") + n.param }

// test is the newest result of one test.
type test struct {
	raw    string // as the report names it, for people
	file   string
	status string
	names  []testName // the ways to read its name
}

func newTest(r gov.Result) test {
	t := test{raw: r.ID, file: cleanFile(r.File), status: r.Status}
	id := parseName(r.ID)
	if t.file == "" {
		t.names = []testName{id}
		return t
	}
	base := parseName(t.file).parts
	t.names = []testName{{parts: joinFile(base, id.parts), param: id.param}}
	if strings.HasSuffix(t.file, "_test.go") {
		t.names = append(t.names, id)
	}
	return t
}

// joinFile puts the name of a file and the name of a test together. The test's
// name often repeats the file, wholly (JUnit's classname), from another root, or
// only its end.
func joinFile(base, id []string) []string {
	for at := 0; at+len(base) < len(id); at++ {
		if slices.Equal(id[at:at+len(base)], base) {
			return id
		}
	}
	for k := min(len(base), len(id)-1); k > 0; k-- {
		if slices.Equal(base[len(base)-k:], id[:k]) {
			return slices.Concat(base, id[k:])
		}
	}
	return slices.Concat(base, id)
}

func cleanFile(f string) string {
	if f == "" {
		return ""
	}
	return path.Clean(strings.ReplaceAll(f, `\`, "/"))
}

// key tells tests apart.
func (t test) key() string { return t.file + "\x00" + t.raw }

// find looks up what a change names in tests_run: the tests meant, or, where
// several places fit, these as candidates, or neither. A full name wins over one
// without its leading folders.
func find(wanted string, tests []test) (found []test, candidates []string) {
	w := parseName(wanted)
	for _, t := range tests {
		if t.literally(wanted) || slices.ContainsFunc(t.names, func(n testName) bool { return at(w, n, 0) }) {
			found = append(found, t)
		}
	}
	if len(found) > 0 {
		return oneFile(wanted, found)
	}
	places := map[string][]test{}
	for _, t := range tests {
		if n, end := t.below(w); end > 0 {
			place := strings.Join(n.parts[:end], "/")
			places[place] = append(places[place], t)
		}
	}
	for place, ts := range places {
		found = ts
		candidates = append(candidates, place)
	}
	if len(places) > 1 {
		slices.Sort(candidates)
		return nil, candidates
	}
	return oneFile(wanted, found)
}

// literally matches the text as it stands, for tools whose names are free text,
// and files by their file attribute.
func (t test) literally(wanted string) bool {
	if t.raw == wanted || strings.HasPrefix(t.raw, wanted+"/") || strings.HasPrefix(t.raw, wanted+"::") {
		return true
	}
	file := cleanFile(wanted)
	return t.file != "" && (t.file == file || strings.HasPrefix(t.file, file+"/"))
}

// below tells by which of t's names, and up to which part of it, w contains t.
func (t test) below(w testName) (testName, int) {
	for _, n := range t.names {
		for i := 1; i+len(w.parts) <= len(n.parts); i++ {
			if at(w, n, i) {
				return n, i + len(w.parts)
			}
		}
	}
	return testName{}, 0
}

// at tells whether w, put at part i of n, names n or something that contains n.
// Whole parts must be equal: test_a does not match test_ab. Parameters that w
// names must be those of n, and then nothing may be below.
func at(w, n testName, i int) bool {
	end := i + len(w.parts)
	if end > len(n.parts) || w.param != "" && (w.param != n.param || end != len(n.parts)) {
		return false
	}
	return slices.Equal(n.parts[i:end], w.parts)
}

// oneFile refuses tests of different files that share one dotted name, such as
// class C of a.py and module a/C.py, unless wanted names the file.
func oneFile(wanted string, ts []test) ([]test, []string) {
	head, _, _ := strings.Cut(wanted, "::")
	if file := cleanFile(head); slices.ContainsFunc(ts, func(t test) bool { return t.file == file }) {
		ts = slices.DeleteFunc(slices.Clone(ts), func(t test) bool { return t.file != "" && t.file != file })
	}
	fileOf := map[string]string{}
	var candidates []string
	for _, t := range ts {
		n := t.names[0].String()
		if other, ok := fileOf[n]; ok && other != t.file && other != "" && t.file != "" {
			candidates = append(candidates, other+": "+n, t.file+": "+n)
		}
		fileOf[n] = t.file
	}
	if len(candidates) == 0 {
		return ts, nil
	}
	slices.Sort(candidates)
	return nil, slices.Compact(candidates)
}
