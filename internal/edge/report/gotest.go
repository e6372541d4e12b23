package report

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
)

// goEvent is the part of an event of "go doc test2json" and of "go help
// buildjson" that matters here.
type goEvent struct {
	Action      string
	Package     string
	Test        string
	ImportPath  string // of a build event
	FailedBuild string // why a package failed
}

// goPackage is what is known of one package.
type goPackage struct {
	running int // starts without an end
	ended   bool
	failed  bool
	tests   map[string]*goState
}

type goState struct {
	running int
	status  string // the worst so far, or ""
}

type goRun struct {
	packages map[string]*goPackage
	builds   map[string]bool // builds that failed
	blamed   map[string]bool // builds that a package's failure names
	size     int             // packages, tests and builds, for the bound
}

// readGoTest reads the output of go test -json: one event a line, packages in
// any order and mixed.
//
// A result is a test or subtest, with the id package/TestName/sub. A test that
// starts and never ends failed. A package that failed without a failed test (it
// did not build, timed out, left through os.Exit), or that has no end, is a
// failed result with the package as its id. A package without tests is none.
// Benchmarks never end in this format and count only when their package failed.
func readGoTest(src *source, c *collector) error {
	c.tool = "go test"
	run := goRun{packages: map[string]*goPackage{}, builds: map[string]bool{}, blamed: map[string]bool{}}
	lines := &lineReader{src: src}
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errLongLine) {
			c.cannot("line %d is %s", lines.number, err)
			continue
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		ev, err := parseGoEvent(line, c.o.MaxDepth)
		if err != nil {
			c.cannot("line %d is no event of go test -json", lines.number)
			continue
		}
		if !run.take(ev) {
			c.cannot("line %d: unknown action %q", lines.number, ev.Action)
		}
		if run.size > c.o.MaxResults {
			return tooMany(c.o.MaxResults)
		}
	}
	if lines.cut {
		c.cannot("line %d has no end: is the report cut off?", lines.number)
	}
	return run.results(c)
}

func parseGoEvent(line []byte, depth int) (goEvent, error) {
	var ev goEvent
	w := newWalker(bytes.NewReader(line), depth)
	err := w.object(func(key string) error {
		switch key {
		case "Action":
			return w.text(&ev.Action)
		case "Package":
			return w.text(&ev.Package)
		case "Test":
			return w.text(&ev.Test)
		case "ImportPath":
			return w.text(&ev.ImportPath)
		case "FailedBuild":
			return w.text(&ev.FailedBuild)
		}
		return w.skip()
	})
	if err != nil {
		return ev, err
	}
	return ev, w.end()
}

// take folds one event in; false means an action this reader does not know.
func (r *goRun) take(ev goEvent) bool {
	switch ev.Action {
	case "build-output":
		return true
	case "build-fail":
		r.builds[ev.ImportPath] = true
		r.size++
		return true
	case "start", "run", "pause", "cont", "output", "attr", "artifacts", "bench", "pass", "fail", "skip":
	default:
		return false
	}
	p := r.packages[ev.Package]
	if p == nil {
		p = &goPackage{tests: map[string]*goState{}}
		r.packages[ev.Package] = p
		r.size++
	}
	if ev.Test == "" {
		p.take(ev.Action)
		if ev.FailedBuild != "" {
			r.blamed[ev.FailedBuild] = true
		}
		return true
	}
	t := p.tests[ev.Test]
	if t == nil {
		t = &goState{}
		p.tests[ev.Test] = t
		r.size++
	}
	switch ev.Action {
	case "run":
		t.running++
	case "pass", "bench":
		t.end(passed)
	case "fail":
		t.end(failed)
	case "skip":
		t.end(skipped)
	}
	return true
}

func (p *goPackage) take(action string) {
	switch action {
	case "start":
		p.running++
	case "pass", "fail", "skip":
		p.running = max(0, p.running-1)
		p.ended = true
		p.failed = p.failed || action == "fail"
	}
}

func (t *goState) end(status string) {
	t.running = max(0, t.running-1)
	if t.status == "" {
		t.status = status
	}
	t.status = worse(t.status, status)
}

// results turns what was seen into results, in a fixed order.
func (r *goRun) results(c *collector) error {
	for _, name := range slices.Sorted(maps.Keys(r.packages)) {
		p := r.packages[name]
		unended := !p.ended || p.running > 0
		blame := p.failed
		for _, test := range slices.Sorted(maps.Keys(p.tests)) {
			status := p.tests[test].final(test, p.failed || unended)
			if status == "" {
				continue
			}
			if status == failed {
				blame = false
			}
			if err := c.add(goID(name, test), "", status); err != nil {
				return err
			}
		}
		if unended {
			c.cannot("the package %s has no end: is the report cut off?", goID(name, ""))
			blame = true
		}
		if blame {
			if err := c.add(goID(name, ""), "", failed); err != nil {
				return err
			}
		}
	}
	for _, build := range slices.Sorted(maps.Keys(r.builds)) {
		if !r.blamed[build] {
			if err := c.add(goID(build, ""), "", failed); err != nil {
				return err
			}
		}
	}
	return nil
}

// final is the status of a test at the end of the stream, or "" for what is no
// test. Only output may have named it.
func (t *goState) final(name string, packageFailed bool) string {
	if strings.HasPrefix(name, "Benchmark") {
		if t.status == failed || t.running > 0 && packageFailed {
			return failed
		}
		return ""
	}
	if t.running > 0 {
		return failed
	}
	return t.status
}

func goID(pkg, test string) string {
	switch {
	case pkg == "" && test == "":
		return "(unnamed package)"
	case pkg == "":
		return test
	case test == "":
		return pkg
	}
	return pkg + "/" + test
}
