package evidence

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

func TestFind(t *testing.T) {
	t.Parallel()
	const (
		withFile = iota // pytest with JUnit's file attribute (xunit1)
		dotted          // without it (xunit2): classname::name
		joined          // classname.name
		nodeID          // pytest's own ids
	)
	pytest := func(form int, path, class, name string) gov.Result {
		module := strings.ReplaceAll(strings.TrimSuffix(path, ".py"), "/", ".")
		if class != "" {
			module += "." + class
		}
		switch form {
		case withFile:
			return gov.Result{ID: module + "::" + name, File: path, Status: "passed"}
		case dotted:
			return gov.Result{ID: module + "::" + name, Status: "passed"}
		case joined:
			return gov.Result{ID: module + "." + name, Status: "passed"}
		}
		if class != "" {
			name = class + "::" + name
		}
		return gov.Result{ID: path + "::" + name, Status: "passed"}
	}
	suite := [][3]string{
		{"tests/test_kick.py", "", "test_hit"},
		{"tests/test_kick.py", "", "test_hit_hard"},
		{"tests/test_kick.py", "TestKick", "test_hit"},
		{"tests/test_kick.py", "TestKick", "test_vol[1-a/b.c::d]"},
		{"tests/test_kick.py", "TestKick", "test_vol[2]"},
		{"tests/sub/test_bass.py", "", "test_low"},
		{"other/test_bass.py", "", "test_low"},
		{"tests_old/test_x.py", "", "test_x"},
	}
	for _, tc := range []struct {
		wanted string
		found  []int
		places int
	}{
		{"tests/test_kick.py::test_hit", []int{0}, 0},
		{"tests/test_kick.py::TestKick::test_hit", []int{2}, 0},
		{"tests/test_kick.py::TestKick", []int{2, 3, 4}, 0},
		{"tests/test_kick.py::TestKick::test_vol", []int{3, 4}, 0},
		{"tests/test_kick.py::TestKick::test_vol[2]", []int{4}, 0},
		{"tests/test_kick.py::TestKick::test_vol[1-a/b.c::d]", []int{3}, 0},
		{"tests/test_kick.py::TestKick::test_vol[3]", nil, 0},
		{"tests/test_kick.py::test_hi", nil, 0},
		{"tests/test_kick.py", []int{0, 1, 2, 3, 4}, 0},
		{"./tests/", []int{0, 1, 2, 3, 4, 5}, 0},
		{"tests", []int{0, 1, 2, 3, 4, 5}, 0},
		{".", []int{0, 1, 2, 3, 4, 5, 6, 7}, 0},
		{"test_kick.py::test_hit", []int{0}, 0},
		{"test_kick.py", []int{0, 1, 2, 3, 4}, 0},
		{"test_bass.py::test_low", nil, 2},
		{"test_low", nil, 2},
		{"other/test_bass.py::test_low", []int{6}, 0},
		{"test_gone.py::test_hit", nil, 0},
	} {
		for form, name := range []string{"with file", "dotted", "joined", "node id"} {
			t.Run(tc.wanted+" "+name, func(t *testing.T) {
				t.Parallel()
				var all []test
				for _, s := range suite {
					all = append(all, newTest(pytest(form, s[0], s[1], s[2])))
				}
				found, candidates := find(tc.wanted, all)
				var got []int
				for _, f := range found {
					got = append(got, slices.IndexFunc(all, func(t test) bool { return t.key() == f.key() }))
				}
				slices.Sort(got)
				if d := cmp.Diff(tc.found, got); d != "" || len(candidates) != tc.places {
					t.Errorf("%s candidates %q", d, candidates)
				}
			})
		}
	}
}

func TestFindGo(t *testing.T) {
	t.Parallel()
	const m = "github.com/governhq/govern/internal/"
	ids := []string{m + "gov/TestRisk", m + "gov/TestRisk/low", m + "gov/TestRisky", m + "gov/strict/TestScan", m + "view/TestScan"}
	for _, sep := range []string{"/", ".", "::"} {
		var all []test
		for _, id := range ids {
			i := strings.Index(id, "/Test")
			all = append(all, newTest(gov.Result{ID: id[:i] + sep + id[i+1:], Status: "passed"}))
		}
		for wanted, want := range map[string]string{
			m + "gov/TestRisk":             "0 1",
			m + "gov.TestRisk":             "0 1",
			"gov/TestRisk/low":             "1",
			"internal/gov.TestRisk/low":    "1",
			"./internal/gov/...":           "0 1 2 3",
			"./...":                        "0 1 2 3 4",
			"gov/TestRis":                  "",
			"TestScan":                     "two places",
			"internal/gov/strict/TestScan": "3",
		} {
			found, candidates := find(wanted, all)
			var got []string
			for _, f := range found {
				got = append(got, string(rune('0'+slices.IndexFunc(all, func(t test) bool { return t.raw == f.raw }))))
			}
			s := strings.Join(got, " ")
			if len(candidates) == 2 {
				s = "two places"
			}
			if s != want {
				t.Errorf("%q with %q: %q, want %q (candidates %q)", wanted, sep, s, want, candidates)
			}
		}
	}
}

func TestFindOtherTools(t *testing.T) {
	t.Parallel()
	free := newTest(gov.Result{ID: "drums > kick adds 1.5 dB", File: "src/kick.test.ts", Status: "passed"})
	for _, wanted := range []string{"drums > kick adds 1.5 dB", "src/kick.test.ts", "src", "./src/"} {
		if found, _ := find(wanted, []test{free}); len(found) != 1 {
			t.Errorf("%q not found", wanted)
		}
	}
	// Class C of a.py and module a/C.py have one dotted name.
	a := newTest(gov.Result{ID: "a.C::t", File: "a.py", Status: "passed"})
	b := newTest(gov.Result{ID: "a.C::t", File: "a/C.py", Status: "passed"})
	if _, candidates := find("a.C.t", []test{a, b}); len(candidates) != 2 {
		t.Errorf("one dotted name of two files: candidates %q", candidates)
	}
	if found, candidates := find("a/C.py::t", []test{a, b}); len(found) != 1 || found[0].file != "a/C.py" {
		t.Errorf("the file decides: %v, %q", found, candidates)
	}
}

// TestNamesAgainstOracle builds suites of tests and asks for every one of them,
// and for names made of theirs, in random spellings. The oracle knows the suite
// as lists of parts and never looks at text.
func TestNamesAgainstOracle(t *testing.T) {
	t.Parallel()
	n := 20
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		n = 500
	}
	for range n {
		rapid.Check(t, namesAgainstOracle)
	}
}

func namesAgainstOracle(t *rapid.T) {
	type id struct{ dir, file, name, param string }
	draw := func() id {
		return id{
			rapid.SampledFrom([]string{"", "x", "xy", "x/y"}).Draw(t, "dir"), rapid.SampledFrom([]string{"test_a", "test_ab"}).Draw(t, "file"),
			rapid.SampledFrom([]string{"test_f", "test_fg"}).Draw(t, "name"), rapid.SampledFrom([]string{"", "[1]", "[1.2/3]"}).Draw(t, "param"),
		}
	}
	parts := func(i id) []string {
		p := []string{i.file, i.name}
		if i.dir != "" {
			p = append(strings.Split(i.dir, "/"), p...)
		}
		return p
	}
	status := map[id]string{}
	var ids []id
	form := rapid.IntRange(0, 2).Draw(t, "form")
	var e gov.Evidence
	for range rapid.IntRange(1, 6).Draw(t, "tests") {
		i := draw()
		if _, ok := status[i]; ok {
			continue
		}
		status[i] = rapid.SampledFrom([]string{"passed", "passed", "passed", "skipped"}).Draw(t, "status")
		ids = append(ids, i)
		dotted := strings.Join(parts(i)[:len(parts(i))-1], ".") + "::" + i.name + i.param
		path := strings.Join(parts(i)[:len(parts(i))-1], "/") + ".py"
		r := gov.Result{ID: dotted, Status: status[i]}
		switch form {
		case 1:
			r.File = path
		case 2:
			r.ID = path + "::" + i.name + i.param
		}
		e.Results = append(e.Results, r)
	}
	w := draw()
	if rapid.Bool().Draw(t, "one of them") {
		w = rapid.SampledFrom(ids).Draw(t, "which")
	}
	spelled := strings.Join(parts(w)[:len(parts(w))-1], "/") + ".py::" + w.name + w.param

	// Oracle: tests with the very parts; else those that end in them, if at one
	// place. All meant must have passed.
	matches := func(i id, offset bool) bool {
		p, q := parts(i), parts(w)
		if w.param != "" && w.param != i.param || len(p) < len(q) || !offset && len(p) != len(q) {
			return false
		}
		return slices.Equal(p[len(p)-len(q):], q)
	}
	want, places := false, map[string]bool{}
	for _, offset := range []bool{false, true} {
		n, ok := 0, true
		for _, i := range ids {
			if matches(i, offset) {
				n++
				ok = ok && status[i] == "passed"
				places[i.dir] = true
			}
		}
		if n > 0 {
			want = ok && (!offset || len(places) == 1)
			break
		}
	}
	got, why := gather([]gov.Recorded{{Evidence: &e}}).named(spelled)
	if (got == gov.Satisfied) != want {
		t.Fatalf("%s: %s (%s), the oracle says %v of %v", spelled, got, why, want, status)
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"tests/test_a.py::T::t[1]", "a.b.c", "./...", "", "::", "[", "x]", "a::[b]", "pkg.TestX/y", "///", ".py"} {
		f.Add(s, s, "")
		f.Add(s, "tests.test_a.T::t[1]", "tests/test_a.py")
	}
	f.Fuzz(func(t *testing.T, wanted, id, file string) {
		only := newTest(gov.Result{ID: id, File: file, Status: "passed"})
		found, candidates := find(id, []test{only})
		if len(found) != 1 {
			t.Fatalf("%q does not find itself: candidates %q", id, candidates)
		}
		find(wanted, []test{only, newTest(gov.Result{ID: wanted, Status: "failed"})})
	})
}
