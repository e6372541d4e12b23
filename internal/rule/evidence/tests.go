package evidence

import (
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// judgeTests reads all reports in log order. Of each test the newest result
// stands; of what a report counts without naming, and of what it could not
// read, the newest report of the same tool stands.
func judgeTests(reports []gov.Recorded, wanted []string) (gov.State, string) {
	t := gather(reports)
	var failed, passed []string
	for _, r := range t.tests {
		switch r.status {
		case "passed":
			passed = append(passed, r.raw)
		case "failed":
			failed = append(failed, r.raw)
		}
	}
	switch {
	case len(failed)+t.failed > 0:
		why := plural(len(failed)+t.failed, "test") + " failed"
		if len(failed) > 0 {
			why += ": " + list(failed)
		}
		return gov.Failed, why
	case len(t.unread) > 0:
		return gov.Unknown, "parts of the report could not be read: " + list(t.unread)
	case len(passed)+t.passed == 0:
		return gov.Failed, "no test passed: nothing was run, or everything was skipped"
	}
	for _, id := range wanted {
		if state, why := t.named(id); state != gov.Satisfied {
			return state, why
		}
	}
	return gov.Satisfied, plural(len(passed)+t.passed, "test") + " passed"
}

// gathered is what all reports say together.
type gathered struct {
	tests  []test // in order of first appearance, with their newest status
	failed int    // failures that are counted and not named
	passed int    // passes that are counted and not named
	unread []string
}

func gather(reports []gov.Recorded) gathered {
	var g gathered
	at := map[string]int{}
	rest := map[string]gathered{} // by tool
	var tools []string
	for _, s := range reports {
		e := s.Evidence
		seen := map[string]bool{} // in this report
		for _, r := range e.Results {
			t := newTest(r)
			t.status = known(t.status)
			i, ok := at[t.key()]
			switch {
			case !ok:
				i = len(g.tests)
				at[t.key()] = i
				g.tests = append(g.tests, t)
			case seen[t.key()]:
				g.tests[i].status = worst(g.tests[i].status, t.status)
			default:
				g.tests[i].status = t.status
			}
			seen[t.key()] = true
		}
		if !slices.Contains(tools, e.Tool) {
			tools = append(tools, e.Tool)
		}
		rest[e.Tool] = gathered{
			failed: max(0, e.Failed-count(e.Results, "failed")),
			passed: max(0, e.Passed-count(e.Results, "passed")),
			unread: e.Unread,
		}
	}
	for _, tool := range tools {
		g.failed += rest[tool].failed
		g.passed += rest[tool].passed
		g.unread = append(g.unread, rest[tool].unread...)
	}
	return g
}

// known reads a status; a word that is none of the three is a failure.
func known(status string) string {
	if status == "passed" || status == "skipped" {
		return status
	}
	return "failed"
}

// worst keeps the worse of two results of one test in one report.
func worst(a, b string) string {
	for _, s := range []string{"failed", "skipped"} {
		if a == s || b == s {
			return s
		}
	}
	return "passed"
}

// named judges one entry of tests_run.
func (g gathered) named(id string) (gov.State, string) {
	found, candidates := find(id, g.tests)
	switch {
	case len(candidates) > 0:
		return gov.Failed, "tests_run names " + id + ", which could be " + strings.Join(candidates[:min(3, len(candidates))], " or ") + more(len(candidates)-3) + "; write it in full"
	case len(found) == 0 && g.passed > 0:
		return gov.Unknown, "tests_run names " + id + ", which is not among the named results; some reports only count"
	case len(found) == 0:
		return gov.Failed, "tests_run names " + id + ", which is in no counted report"
	}
	for _, t := range found {
		if t.status != "passed" {
			return gov.Failed, "tests_run names " + id + ", and " + t.raw + " was " + t.status
		}
	}
	return gov.Satisfied, ""
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return " (and " + plural(n, "place") + " more)"
}
