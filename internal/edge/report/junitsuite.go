package report

import (
	"encoding/xml"
	"maps"
	"slices"
	"strconv"
)

// suite is an open test suite: what its attributes claim and what was counted.
type suite struct {
	name, file string
	claims     map[string]string
	own, below tally // in this suite; in suites inside it
	nested     bool
	ids        map[resultKey]bool // own cases
	distinct   int                // cases with different names, in nested suites
}

// tally counts the cases of a suite.
type tally struct {
	cases    int
	failures int // cases with a failure
	errors   int // cases with an error
	bad      int // cases that failed in any way
	skipped  int
}

func (t *tally) add(c *testcase, status string) {
	t.cases++
	if c.failures > 0 {
		t.failures++
	}
	if c.errors > 0 {
		t.errors++
	}
	switch status {
	case failed:
		t.bad++
	case skipped:
		t.skipped++
	}
}

func (t *tally) plus(o tally) tally {
	return tally{t.cases + o.cases, t.failures + o.failures, t.errors + o.errors, t.bad + o.bad, t.skipped + o.skipped}
}

func newSuite(e xml.StartElement) *suite {
	s := &suite{claims: map[string]string{}}
	for _, a := range e.Attr {
		switch a.Name.Local {
		case "name":
			s.name = a.Value
		case "file":
			s.file = a.Value
		case "tests", "failures", "errors", "skipped", "skips", "skip", "disabled", "ignored":
			s.claims[a.Name.Local] = a.Value
		}
	}
	return s
}

// nest adds a finished inner suite.
func (s *suite) nest(in *suite) {
	s.nested = true
	s.below = s.below.plus(in.own.plus(in.below))
	s.distinct += in.distinct + len(in.ids)
}

// compare holds the claimed counts against the counted ones. A suite with inner
// suites may count them or not; both are found in the field. pytest counts a
// test that failed and then failed again in its teardown once, though it writes
// two cases.
func (s *suite) compare(c *collector) {
	claimed := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(s.claims)) {
		v := s.claims[name]
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			c.cannot("the count %s=%s of test suite %s", name, shorten(v, 20), shorten(s.name, 80))
			continue
		}
		claimed[name] = n
	}
	all, own := s.own.plus(s.below), s.own
	check := func(name string, allowed ...int) {
		n, ok := claimed[name]
		for _, a := range allowed {
			if n == a {
				return
			}
		}
		if ok {
			c.cannot("test suite %s claims %s=%d, its cases show %d", shorten(s.name, 80), name, n, allowed[0])
		}
	}
	either := func(all, own int) []int {
		if s.nested {
			return []int{all, own}
		}
		return []int{all}
	}
	check("tests", append(either(all.cases, own.cases), s.distinct+len(s.ids))...)
	check("failures", append(either(all.failures, own.failures), either(all.bad, own.bad)...)...)
	check("errors", either(all.errors, own.errors)...)
	s.compareSkipped(claimed, either(all.skipped, own.skipped), c)
}

// compareSkipped allows a case that did not run to be counted under any of the
// names that tools have for it.
func (s *suite) compareSkipped(claimed map[string]int, counted []int, c *collector) {
	sum, some := 0, false
	for _, name := range []string{"skipped", "skips", "skip", "disabled", "ignored"} {
		if n, ok := claimed[name]; ok {
			sum += n
			some = some || name != "disabled"
		}
	}
	for _, n := range counted {
		if sum == n || claimed["skipped"] == n && claimed["disabled"] <= n || !some && sum <= n {
			return
		}
	}
	if some || sum > 0 {
		c.cannot("test suite %s claims %d skipped, its cases show %d", shorten(s.name, 80), sum, counted[0])
	}
}
