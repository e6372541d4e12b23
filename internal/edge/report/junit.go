package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// readJUnit reads JUnit XML. There is no standard; this is what pytest (xunit1
// and xunit2), Surefire, gotestsum, GoogleTest, CTest, Jest, PHPUnit and others
// have in common:
//
//	testsuites > testsuite (nested) > testcase > failure | error | skipped | …
//
// A result has the id classname::name, or name alone when the class is empty
// (without the attribute, the suite's name stands in), and the file attribute.
// A case with a failure or error failed, whatever else it holds; one that failed
// first and passed when Surefire ran it again (flakyFailure) passed. Counts in
// attributes are only compared with the cases: a difference is Unread. An
// element inside a case that is none of the known ones is Unread too.
func readJUnit(src *source, c *collector) error {
	c.tool = "junit"
	d := xml.NewDecoder(src)
	j := &junit{c: c, d: d}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return j.explain(err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			return j.wrong("a document type or entity declaration; reports need none, and they are refused")
		case xml.CharData:
			if len(j.open) == 0 && len(bytes.TrimSpace(t)) > 0 {
				return j.wrong("text outside the root element")
			}
		case xml.StartElement:
			err = j.start(t)
		case xml.EndElement:
			err = j.end()
		}
		if err != nil {
			return err
		}
	}
	if !j.rooted || len(j.open) > 0 {
		return j.wrong("the XML ends in the middle: is the report cut off?")
	}
	if j.flaky > 0 {
		c.remark("%s failed first and passed when run again", count(j.flaky, "test"))
	}
	return nil
}

type junit struct {
	c      *collector
	d      *xml.Decoder
	rooted bool
	open   []string // names of the open elements
	suites []*suite
	tcase  *testcase
	flaky  int
}

// testcase is the case being read.
type testcase struct {
	id, file                          string
	status                            string // attribute: what the tool says of it
	failures, errors, skips, disabled int    // elements
	flaky                             bool
}

func (j *junit) wrong(format string, args ...any) error {
	line, _ := j.d.InputPos()
	return syntax(line, format, args...)
}

func (j *junit) explain(err error) error {
	var s *xml.SyntaxError
	if errors.As(err, &s) {
		if strings.Contains(s.Msg, "unexpected EOF") {
			return syntax(s.Line, "the XML ends in the middle: is the report cut off?")
		}
		return syntax(s.Line, "%s", shorten(s.Msg, noteSize))
	}
	if strings.Contains(err.Error(), "encoding") {
		return gov.Errorf(gov.KindInvalid, "report_encoding", "the XML declares an encoding other than UTF-8")
	}
	return gov.Errorf(gov.KindInvalid, "report_syntax", "%w", err)
}

// start takes an element's beginning.
func (j *junit) start(e xml.StartElement) error {
	name := e.Name.Local
	if len(j.open) >= j.c.o.MaxDepth {
		return gov.Errorf(gov.KindInvalid, "report_too_deep", "elements are nested deeper than %d", j.c.o.MaxDepth)
	}
	seen := map[xml.Name]bool{}
	for _, a := range e.Attr {
		if seen[a.Name] {
			return j.wrong("an attribute stands twice in one element")
		}
		seen[a.Name] = true
	}
	parent := ""
	if len(j.open) > 0 {
		parent = j.open[len(j.open)-1]
	}
	j.open = append(j.open, name)
	switch {
	case parent == "" && j.rooted:
		return j.wrong("a second root element")
	case parent == "" && name != "testsuites" && name != "testsuite":
		return j.wrong("the root of JUnit XML is testsuites or testsuite")
	case parent == "" || (parent == "testsuites" || parent == "testsuite") && name == "testsuite":
		j.rooted = true
		j.suites = append(j.suites, newSuite(e))
		j.recognise(e)
	case name == "testsuites" || name == "testsuite":
		return j.wrong("a test suite inside %s", shorten(parent, 40))
	case name == "testcase":
		if parent != "testsuite" && parent != "testsuites" {
			return j.wrong("a test case inside %s", shorten(parent, 40))
		}
		j.tcase = newCase(e, j.suites[len(j.suites)-1].name)
	case parent == "testcase":
		j.inCase(name)
	case parent == "testsuite" || parent == "testsuites":
		return j.inSuite(name)
	case parent == "properties" && name == "property":
		j.property(e)
	}
	return nil
}

// inCase takes a child of a test case.
func (j *junit) inCase(name string) {
	switch t := j.tcase; name {
	case "failure":
		t.failures++
	case "error":
		t.errors++
	case "skipped":
		t.skips++
	case "disabled", "ignored":
		t.disabled++
	case "flakyFailure", "flakyError":
		t.flaky = true
	case "rerunFailure", "rerunError", "system-out", "system-err", "properties", "attachments", "assertions":
	default:
		j.c.cannot("element %s in test case %s", shorten(name, 40), shorten(t.id, 80))
	}
}

// inSuite takes a child of a suite that is neither suite nor case. A failure of
// the suite itself has nobody else to stand for it.
func (j *junit) inSuite(name string) error {
	switch s := j.suites[len(j.suites)-1]; name {
	case "failure", "error":
		if name == "failure" {
			s.own.failures++
		} else {
			s.own.errors++
		}
		s.own.bad++
		id := s.name
		if id == "" {
			id = "(unnamed suite)"
		}
		return j.c.add(id, s.file, failed)
	case "properties", "system-out", "system-err":
	default:
		j.c.cannot("element %s in a test suite", shorten(name, 40))
	}
	return nil
}

// end takes the end of the innermost element.
func (j *junit) end() error {
	name := j.open[len(j.open)-1]
	j.open = j.open[:len(j.open)-1]
	switch name {
	case "testcase":
		return j.endCase()
	case "testsuite", "testsuites":
		last := len(j.suites) - 1
		s := j.suites[last]
		j.suites = j.suites[:last]
		s.compare(j.c)
		if last > 0 {
			j.suites[last-1].nest(s)
		}
	}
	return nil
}

func (j *junit) endCase() error {
	t := j.tcase
	status := t.result(j.c)
	s := j.suites[len(j.suites)-1]
	s.own.add(t, status)
	if t.flaky && status == passed {
		j.flaky++
	}
	j.tcase = nil
	if s.ids == nil {
		s.ids = map[resultKey]bool{}
	}
	s.ids[resultKey{t.file, t.id}] = true
	return j.c.add(t.id, t.file, status)
}

// newCase names a test case.
func newCase(e xml.StartElement, suite string) *testcase {
	t := &testcase{}
	class, name, hasClass := "", "", false
	result := ""
	for _, a := range e.Attr {
		switch a.Name.Local {
		case "classname":
			class, hasClass = a.Value, true
		case "name":
			name = a.Value
		case "file":
			t.file = a.Value
		case "status":
			t.status = strings.ToLower(a.Value)
		case "result":
			result = strings.ToLower(a.Value)
		}
	}
	if t.status == "run" && result != "" { // GoogleTest: status says whether, result how
		t.status = result
	}
	if !hasClass {
		class = suite
	}
	switch {
	case name == "": // an empty id: the collector refuses it
	case class == "":
		t.id = name
	default:
		t.id = class + "::" + name
	}
	return t
}

// result is what a test case shows, by its elements first, then by the status
// that some tools write without an element.
func (t *testcase) result(c *collector) string {
	if t.failures+t.errors > 0 {
		return failed
	}
	switch t.status {
	case "fail", "failed", "failure", "error", "errored", "broken", "timeout", "timedout":
		return failed
	case "notrun", "skip", "skipped", "disabled", "ignored", "suppressed", "pending", "todo":
		return skipped
	case "", "run", "completed", "pass", "passed", "success", "successful", "succeeded", "ok":
	default:
		c.cannot("status %s of test case %s", shorten(t.status, 40), shorten(t.id, 80))
	}
	if t.skips+t.disabled > 0 {
		return skipped
	}
	return passed
}

// recognise finds the tool, as far as the file shows it.
func (j *junit) recognise(e xml.StartElement) {
	for _, a := range e.Attr {
		switch {
		case a.Name.Local == "name" && a.Value == "pytest" || a.Name.Local == "name" && a.Value == "pytest tests":
			j.c.tool = "pytest"
		case a.Name.Local == "name" && a.Value == "AllTests" && e.Name.Local == "testsuites":
			j.c.tool = "googletest"
		case a.Name.Local == "noNamespaceSchemaLocation" && strings.Contains(a.Value, "surefire"):
			j.c.tool = "surefire"
		}
	}
}

// property recognises gotestsum by the property it writes.
func (j *junit) property(e xml.StartElement) {
	for _, a := range e.Attr {
		if a.Name.Local == "name" && a.Value == "go.version" && j.c.tool == "junit" {
			j.c.tool = "gotestsum"
		}
	}
}
