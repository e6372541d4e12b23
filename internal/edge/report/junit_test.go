package report

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const pytest = `<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.03" timestamp="2025-01-08T10:00:00" hostname="ci">
<testcase classname="tests.test_a.TestB" name="test_c[x/1]" file="tests/test_a.py" line="3" time="0.001"/>
<testcase classname="tests.test_a" name="test_bad" time="0.001"><failure message="assert 1 == 2">E  assert &lt;1&gt;</failure></testcase>
<testcase classname="tests.test_a" name="test_skip" time="0"><skipped type="pytest.skip" message="no">tests/test_a.py:9: no</skipped></testcase>
<testcase classname="" name="tests.test_broken" time="0"><error message="collection failure"><![CDATA[ImportError]]></error></testcase>
</testsuite></testsuites>`

const surefire = `<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report-3.0.xsd" version="3.0" name="org.acme.BassTest" time="0.1" tests="4" errors="1" skipped="1" failures="0">
  <properties><property name="java.version" value="21"/></properties>
  <testcase name="plays" classname="org.acme.BassTest" time="0.02"><system-out><![CDATA[<failure/>]]></system-out></testcase>
  <testcase name="slides" classname="org.acme.BassTest" time="0.02"><flakyFailure message="late" type="java.lang.AssertionError"><stackTrace>at x</stackTrace></flakyFailure></testcase>
  <testcase name="throws" classname="org.acme.BassTest" time="0.02"><error message="npe" type="java.lang.NullPointerException"/><rerunError message="npe" type="x"/></testcase>
  <testcase name="later" classname="org.acme.BassTest" time="0"><skipped message="soon"/></testcase>
</testsuite>`

const gotestsum = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" errors="0" time="0.12">
	<testsuite tests="3" failures="1" time="0.1" name="example.org/m/a" timestamp="2025-01-08T10:00:00Z">
		<properties><property name="go.version" value="go1.26 linux/amd64"></property></properties>
		<testcase classname="example.org/m/a" name="TestA/x/y" time="0.0"></testcase>
		<testcase classname="example.org/m/a" name="TestBad" time="0.0"><failure message="Failed" type="">    a_test.go:3: 1&#xA;</failure></testcase>
		<testcase classname="example.org/m/a" name="TestSkip" time="0.0"><skipped message="=== RUN"></skipped></testcase>
	</testsuite>
	<testsuite tests="0" failures="0" time="0.0" name="example.org/m/none" timestamp="2025-01-08T10:00:00Z"></testsuite>
</testsuites>`

const googletest = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="0" disabled="1" errors="0" time="0" name="AllTests"><testsuite name="S" tests="3" failures="0" disabled="1" skipped="1" errors="0">
<testcase name="A" file="s.cc" line="1" status="run" result="completed" classname="S"/>
<testcase name="DISABLED_B" status="notrun" result="suppressed" classname="S"/>
<testcase name="C" status="run" result="skipped" classname="S"><skipped message="x"/></testcase></testsuite></testsuites>`

// junitOf puts text into one suite.
func junitOf(attrs, text string) string {
	return "<testsuites><testsuite name=\"s\" " + attrs + ">" + text + "</testsuite></testsuites>"
}

const (
	good = `<testcase classname="c" name="good"/>`
	bad  = `<testcase classname="c" name="bad"><failure/></testcase>`
	skip = `<testcase classname="c" name="skip"><skipped/></testcase>`
)

func TestJUnit(t *testing.T) {
	runRows(t, []row{
		{name: "pytest", tool: "pytest", text: pytest, results: []string{
			"tests.test_a.TestB::test_c[x/1] (tests/test_a.py) passed", "tests.test_a::test_bad failed", "tests.test_a::test_skip skipped", "tests.test_broken failed",
		}},
		{name: "surefire", tool: "surefire", text: surefire, results: []string{
			"org.acme.BassTest::later skipped", "org.acme.BassTest::plays passed", "org.acme.BassTest::slides passed", "org.acme.BassTest::throws failed",
		}},
		{name: "gotestsum", tool: "gotestsum", text: gotestsum, results: []string{
			"example.org/m/a::TestA/x/y passed", "example.org/m/a::TestBad failed", "example.org/m/a::TestSkip skipped",
		}},
		{name: "googletest", tool: "googletest", text: googletest, results: []string{"S::A (s.cc) passed", "S::C skipped", "S::DISABLED_B skipped"}},
		{
			name: "nested suites, totals outside", text: `<testsuites tests="2"><testsuite name="a" tests="2"><testsuite name="b" tests="1">` + good + `</testsuite>` + skip + `</testsuite></testsuites>`,
			results: []string{"c::good passed", "c::skip skipped"},
		},
		{
			name: "nested suites, own counts outside", text: `<testsuite name="a" tests="1"><testsuite name="b" tests="1">` + good + `</testsuite>` + skip + `</testsuite>`,
			results: []string{"c::good passed", "c::skip skipped"},
		},
		{name: "failure and skipped together", text: junitOf("", `<testcase classname="c" name="x"><skipped/><error/></testcase>`), results: []string{"c::x failed"}},
		{name: "the same name twice, worst stands", text: junitOf(`tests="1"`, good+`<testcase classname="c" name="good"><error/></testcase>`), results: []string{"c::good failed"}},
		{name: "skipped beats passed", text: junitOf("", `<testcase classname="c" name="good"><skipped/></testcase>`+good), results: []string{"c::good skipped"}},
		{name: "no class attribute: the suite's name", text: junitOf("", `<testcase name="x"/>`), results: []string{"s::x passed"}},
		{name: "case outside a suite", text: `<testsuites><testcase name="x"/></testsuites>`, results: []string{"x passed"}},
		{name: "status without element", text: junitOf("", `<testcase classname="c" name="x" status="Failed"/><testcase classname="c" name="y" status="disabled"/>`), results: []string{"c::x failed", "c::y skipped"}},
		{name: "status that nobody knows", text: junitOf("", `<testcase classname="c" name="x" status="quantum"/>`), results: []string{"c::x passed"}, unread: "quantum"},
		{name: "element that nobody knows", text: junitOf("", `<testcase classname="c" name="x"><crashed/></testcase>`), results: []string{"c::x passed"}, unread: "crashed"},
		{name: "suite that failed itself", text: junitOf("", good+`<error message="setup"/>`), results: []string{"c::good passed", "s failed"}},
		{name: "case without name", text: junitOf("", `<testcase classname="c"/>`), results: nil, unread: "without a name"},
		{name: "no case at all", text: junitOf(`tests="0"`, ""), results: nil},
		{name: "attribute claims more tests", text: junitOf(`tests="2"`, good), results: []string{"c::good passed"}, unread: "tests=2"},
		{name: "attribute claims fewer tests", text: junitOf(`tests="1"`, good+skip), results: []string{"c::good passed", "c::skip skipped"}, unread: "tests=1"},
		{name: "attribute claims a failure", text: junitOf(`failures="1"`, good), results: []string{"c::good passed"}, unread: "failures=1"},
		{name: "attribute claims an error", text: junitOf(`errors="1"`, good), results: []string{"c::good passed"}, unread: "errors=1"},
		{name: "attribute hides a failure", text: junitOf(`tests="1" failures="0"`, bad), results: []string{"c::bad failed"}, unread: "failures=0"},
		{name: "attribute hides a skip", text: junitOf(`skipped="0"`, skip), results: []string{"c::skip skipped"}, unread: "skipped"},
		{name: "attribute claims a skip", text: junitOf(`skipped="1"`, good), results: []string{"c::good passed"}, unread: "skipped"},
		{name: "negative count", text: junitOf(`failures="-1"`, good), results: []string{"c::good passed"}, unread: "failures=-1"},
		{name: "count that is no number", text: junitOf(`tests="NaN"`, good), results: []string{"c::good passed"}, unread: "tests=NaN"},
		{name: "huge count", text: junitOf(`tests="99999999999999999999"`, good), results: []string{"c::good passed"}, unread: "tests="},
		{name: "totals outside disagree", text: `<testsuites tests="5"><testsuite name="s">` + good + `</testsuite></testsuites>`, results: []string{"c::good passed"}, unread: "tests=5"},
		{name: "document type", text: `<!DOCTYPE testsuites>` + junitOf("", good), code: "report_syntax"},
		{name: "entity bomb", text: `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>` + junitOf("", `<testcase name="&b;"/>`), code: "report_syntax"},
		{name: "external entity", text: `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + junitOf("", `<testcase name="&a;"/>`), code: "report_syntax"},
		{name: "unknown entity", text: junitOf("", `<testcase name="&a;"/>`), code: "report_syntax"},
		{name: "character U+0000", text: junitOf("", `<testcase name="a&#0;"/>`), code: "report_syntax"},
		{name: "deep", text: strings.Repeat(`<testsuite>`, 200) + strings.Repeat(`</testsuite>`, 200), code: "report_too_deep"},
		{name: "attribute twice", text: junitOf("", `<testcase name="a" name="b"/>`), code: "report_syntax"},
		{name: "another encoding", text: `<?xml version="1.0" encoding="ISO-8859-1"?>` + junitOf("", good), code: "report_encoding"},
		{name: "two roots", text: junitOf("", good) + junitOf("", bad), code: "report_syntax"},
		{name: "text behind", text: junitOf("", good) + "FAIL", code: "report_syntax"},
		{name: "another root", text: `<coverage line-rate="1"/>`, code: "report_unknown"},
		{name: "case in a case", text: junitOf("", `<testcase name="a"><testcase name="b"/></testcase>`), code: "report_syntax"},
		{name: "suite in a case", text: junitOf("", `<testcase name="a"><testsuite/></testcase>`), code: "report_syntax"},
	}, Options{})
}

func TestJUnitCutAnywhere(t *testing.T) {
	text := junitOf(`tests="2" failures="0"`, good+`<testcase classname="c" name="other"><system-out>x</system-out></testcase>`)
	for i := 1; i < len(text); i++ {
		noSilentPass(t, fmt.Sprintf("cut at byte %d", i), text[:i])
	}
	if !passes(read(t, text, Options{})) {
		t.Error("the whole report does not pass")
	}
}

func TestJUnitRandom(t *testing.T) {
	esc := func(s string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(s))
		return b.String()
	}
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]string{}
		var suite func(depth int) (string, [4]int)
		n := 0
		suite = func(depth int) (string, [4]int) { // tests, failures, errors, skipped below
			var b strings.Builder
			var sum [4]int
			for range rapid.IntRange(0, 4).Draw(t, "cases") {
				n++
				class := rapid.StringMatching(`([a-z<&"']{1,4}(\.[A-Z]{1,3})?)?`).Draw(t, "class")
				name := rapid.StringMatching(`[a-z\[\]<>&"' é]{1,8}`).Draw(t, "name") + fmt.Sprint(n)
				file := rapid.SampledFrom([]string{"", "tests/a b.py"}).Draw(t, "file")
				kind := rapid.IntRange(0, 3).Draw(t, "kind")
				body := []string{"<system-out>failure</system-out>", "<failure>x</failure>", "<error/>", "<skipped/>"}[kind]
				fmt.Fprintf(&b, `<testcase classname="%s" name="%s" file="%s">%s</testcase>`, esc(class), esc(name), file, body)
				id := name
				if class != "" {
					id = class + "::" + name
				}
				want[file+"|"+id] = []string{"passed", "failed", "failed", "skipped"}[kind]
				sum[0]++
				if kind > 0 {
					sum[kind]++
				}
			}
			if depth > 0 {
				for range rapid.IntRange(0, 2).Draw(t, "inner") {
					text, in := suite(depth - 1)
					b.WriteString(text)
					for i := range sum {
						sum[i] += in[i]
					}
				}
			}
			return fmt.Sprintf(`<testsuite name="s" tests="%d" failures="%d" errors="%d" skipped="%d">%s</testsuite>`, sum[0], sum[1], sum[2], sum[3], b.String()), sum
		}
		text, sum := suite(2)
		lie := rapid.IntRange(0, 3).Draw(t, "lie") == 0
		if lie {
			text = fmt.Sprintf(`<testsuites tests="%d">%s</testsuites>`, sum[0]+1, text)
		}
		r, err := Read("tests", "", strings.NewReader(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, x := range r.Results {
			got[x.File+"|"+x.ID] = x.Status
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s\n%s", d, text)
		}
		if (len(r.Unread) > 0) != lie {
			t.Fatalf("lie %v, unread %v\n%s", lie, r.Unread, text)
		}
	})
}
