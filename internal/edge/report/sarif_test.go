package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const gosec = `{"runs":[{"results":[
 {"level":"error","locations":[{"physicalLocation":{"artifactLocation":{"uri":"cmd/main.go"},"region":{"endColumn":12,"endLine":9,"snippet":{"text":"x := \"k\""},"sourceLanguage":"go","startColumn":3,"startLine":9}}}],"message":{"text":"Potential hardcoded credentials"},"ruleId":"G101"},
 {"level":"warning","locations":[{"physicalLocation":{"artifactLocation":{"uri":"cmd/main.go"},"region":{"startColumn":3,"startLine":19}}}],"message":{"text":"Errors unhandled"},"ruleId":"G104","suppressions":[]}],
 "taxonomies":[{"name":"CWE","version":"4.4"}],
 "tool":{"driver":{"guid":"8b518d5f-906d-39f9-894b-d327b1a421c5","informationUri":"https://example.org","name":"gosec","rules":[{"id":"G101","defaultConfiguration":{"level":"error"}},{"id":"G104","defaultConfiguration":{"level":"warning"}}],"semanticVersion":"2.21.0","version":"2.21.0"}}}],
 "$schema":"https://json.schemastore.org/sarif-2.1.0.json","version":"2.1.0"}`

const semgrep = `{"version":"2.1.0","runs":[{"invocations":[{"executionSuccessful":true,"toolExecutionNotifications":[{"level":"warning","message":{"text":"slow"}}]}],
 "results":[{"fingerprints":{"matchBasedId/v1":"a"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"src/a%20b.py","uriBaseId":"%SRCROOT%"},"region":{"startLine":4,"startColumn":1}}}],"message":{"text":"eval"},"properties":{},"ruleId":"py.eval"},
  {"locations":[],"message":{"text":"x"},"ruleId":"py.assert","suppressions":[{"kind":"inSource"}]}],
 "tool":{"driver":{"name":"Semgrep OSS","semanticVersion":"1.90.0","rules":[{"id":"py.eval","defaultConfiguration":{"level":"error"}},{"id":"py.assert","defaultConfiguration":{"level":"error"}}]}}}]}`

const codeql = `{"$schema":"s","version":"2.1.0","runs":[{"tool":{"driver":{"name":"CodeQL","semanticVersion":"2.19.0","rules":[{"id":"decoy","defaultConfiguration":{"level":"note"}}]},
  "extensions":[{"name":"lang/all","rules":[]},{"name":"codeql/go-queries","semanticVersion":"1.1.0+x","rules":[{"id":"go/sql","defaultConfiguration":{"enabled":true,"level":"error"}},{"id":"go/unused","defaultConfiguration":{"level":"note"}}]}]},
 "invocations":[{"toolExecutionNotifications":[{"descriptor":{"id":"cli/x","index":0},"level":"none","message":{"text":""}}],"executionSuccessful":true}],
 "artifacts":[{"location":{"uri":"db/q.go","uriBaseId":"%SRCROOT%","index":0}}],
 "results":[{"ruleId":"go/sql","ruleIndex":0,"rule":{"id":"go/sql","index":0,"toolComponent":{"index":1}},"message":{"text":"m"},"locations":[{"physicalLocation":{"artifactLocation":{"index":0},"region":{"startLine":7}}}]},
  {"ruleId":"go/unused","rule":{"id":"go/unused","index":1,"toolComponent":{"index":1}},"message":{"text":"m"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"db/q.go","index":0},"region":{"startLine":8}}}]}],
 "columnKind":"utf16CodeUnits"}]}`

// sarifOf is a log of one run of tool t with the given parts.
func sarifOf(results, more string) string {
	return `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"t","rules":[{"id":"E","guid":"AB","defaultConfiguration":{"level":"error"}},{"id":"W"}]}},"results":[` + results + `]` + more + `}]}`
}

func TestSARIF(t *testing.T) {
	one := func(r string) string { return sarifOf(r, "") }
	runRows(t, []row{
		{name: "gosec", tool: "gosec", text: gosec, findings: 1, results: []string{"G101 cmd/main.go:9:3 (cmd/main.go) failed", "G104 cmd/main.go:19:3 (cmd/main.go) skipped"}},
		{name: "semgrep: default level, suppressed", tool: "Semgrep OSS", text: semgrep, findings: 1, results: []string{"py.assert skipped", "py.eval src/a b.py:4:1 (src/a b.py) failed"}},
		{name: "CodeQL: rule in an extension, artifact by index", tool: "CodeQL", text: codeql, findings: 1, results: []string{"go/sql db/q.go:7 (db/q.go) failed", "go/unused db/q.go:8 (db/q.go) skipped"}},
		{name: "nothing found", text: one(""), results: nil},
		{name: "default level by id", text: one(`{"ruleId":"E"}`), results: []string{"E failed"}, findings: 1},
		{name: "default level by index", text: one(`{"ruleIndex":0}`), results: []string{"E failed"}, findings: 1},
		{name: "default level by guid", text: one(`{"rule":{"guid":"ab"}}`), results: []string{"E failed"}, findings: 1},
		{name: "default level of a hierarchical id", text: one(`{"ruleId":"E/sub/1","ruleIndex":0}`), results: []string{"E/sub/1 failed"}, findings: 1},
		{name: "rule without level, rule not described: warning", text: one(`{"ruleId":"W"},{"ruleId":"X"}`), results: []string{"W skipped", "X skipped"}},
		{name: "own level wins", text: one(`{"ruleId":"E","level":"note"},{"ruleId":"W","level":"error"}`), results: []string{"E skipped", "W failed"}, findings: 1},
		{name: "kinds", text: one(`{"ruleId":"E","kind":"pass"},{"ruleId":"W","kind":"notApplicable"},{"ruleId":"I","kind":"informational"}`), results: []string{"E passed", "I skipped", "W skipped"}},
		{name: "pass with level error contradicts itself", text: one(`{"ruleId":"E","kind":"pass","level":"error"}`), results: []string{"E failed"}, findings: 1},
		{name: "review", text: one(`{"ruleId":"E","kind":"review"}`), results: []string{"E skipped"}, unread: "asks a person"},
		{name: "unknown level", text: one(`{"ruleId":"E","level":"critical"}`), results: []string{"E failed"}, findings: 1, unread: "critical"},
		{name: "unknown kind", text: one(`{"ruleId":"W","kind":"odd"}`), results: []string{"W failed"}, findings: 1, unread: "odd"},
		{
			name: "suppression under review or rejected does not suppress", text: one(`{"ruleId":"E","suppressions":[{"kind":"external","status":"underReview"}]},{"ruleId":"E","suppressions":[{"kind":"external","status":"accepted"},{"status":"rejected"}]},{"ruleId":"E","suppressions":[{"status":"accepted"}]}`),
			results: []string{"E failed", "E #2 failed", "E #3 skipped"}, findings: 2,
		},
		{name: "gone since the baseline", text: one(`{"ruleId":"E","baselineState":"absent"},{"ruleId":"E","baselineState":"unchanged"}`), results: []string{"E skipped", "E #2 failed"}, findings: 1},
		{name: "index that is not there", text: one(`{"ruleIndex":9}`), results: []string{"(no rule) failed"}, findings: 1, unread: "not there"},
		{name: "index and id contradict", text: one(`{"ruleId":"W","ruleIndex":0}`), results: []string{"W failed"}, findings: 1, unread: "not there"},
		{name: "override raises", text: sarifOf(`{"ruleId":"W"}`, `,"invocations":[{"executionSuccessful":true,"ruleConfigurationOverrides":[{"descriptor":{"index":1},"configuration":{"level":"error"}}]}]`), results: []string{"W failed"}, findings: 1},
		{
			name: "override lowers only where it surely applies", text: sarifOf(`{"ruleId":"E"},{"ruleId":"E","provenance":{"invocationIndex":0}}`, `,"invocations":[{"executionSuccessful":true,"ruleConfigurationOverrides":[{"descriptor":{"id":"E"},"configuration":{"level":"note"}}]}]`),
			results: []string{"E failed", "E #2 skipped"}, findings: 1,
		},
		{name: "unsuccessful invocation", text: sarifOf("", `,"invocations":[{"executionSuccessful":true},{"executionSuccessful":false}]`), results: []string{"invocation 1 was not successful failed"}},
		{name: "silent invocation", text: sarifOf("", `,"invocations":[{"exitCode":0}]`), results: nil, unread: "does not say"},
		{name: "errors while it ran", text: sarifOf("", `,"invocations":[{"executionSuccessful":true,"toolConfigurationNotifications":[{"level":"error"}]}]`), results: nil, unread: "met 1 error"},
		{name: "no run", text: `{"version":"2.1.0","runs":[]}`, results: nil, unread: "no run"},
		{name: "run without results", text: `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"t"}}}]}`, results: nil, unread: "no list of results"},
		{name: "run with null results", text: `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"t"}},"results":null}]}`, results: nil, unread: "no list of results"},
		{name: "run without tool", text: `{"version":"2.1.0","runs":[{"results":[]}]}`, results: nil, unread: "names no tool"},
		{name: "results elsewhere", text: sarifOf("", `,"externalPropertyFileReferences":{"results":[{"location":{"uri":"r.json"}}]}`), results: nil, unread: "other files"},
		{name: "inline results", text: `{"version":"2.1.0","inlineExternalProperties":[{"results":[]}],"runs":[{"tool":{"driver":{"name":"t"}},"results":[]}]}`, results: nil, unread: "inline"},
		{name: "two tools", tool: "a, b", text: `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"a"}},"results":[{"ruleId":"X","level":"error"}]},{"tool":{"driver":{"name":"b"}},"results":[{"ruleId":"X"}]}]}`, results: []string{"a: X failed", "b: X skipped"}, findings: 1},
		{name: "other version", text: `{"version":"2.0.0","runs":[]}`, code: "report_version"},
		{name: "no version", text: `{"runs":[]}`, code: "report_version"},
		{name: "key twice", text: one(`{"ruleId":"E","level":"error","level":"note"}`), code: "report_syntax"},
		{name: "runs twice", text: `{"version":"2.1.0","runs":[],"runs":[]}`, code: "report_syntax"},
		{name: "NaN", text: one(`{"ruleIndex":NaN}`), code: "report_syntax"},
		{name: "fraction", text: one(`{"ruleIndex":0.5}`), code: "report_syntax"},
		{name: "wrong type", text: one(`"E"`), code: "report_syntax"},
		{name: "text behind", text: one("") + "{}", code: "report_syntax"},
		{name: "deep", text: one(`{"properties":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`), code: "report_too_deep"},
		{name: "U+0000 in a rule", text: one(`{"ruleId":"a\u0000"}`), results: nil, unread: "U+0000"},
	}, Options{})
}

func TestSARIFCutAnywhere(t *testing.T) {
	text := sarifOf(`{"ruleId":"W","message":{"text":"x"}},{"ruleId":"E","kind":"pass"}`, `,"invocations":[{"executionSuccessful":true}]`)
	for i := 1; i < len(text); i++ {
		noSilentPass(t, fmt.Sprintf("cut at byte %d", i), text[:i])
	}
	if !passes(read(t, text, Options{})) {
		t.Error("the whole report does not pass")
	}
}

// The oracle: the level is the result's, else the rule's, else warning; only an
// unsuppressed error fails.
func TestSARIFRandom(t *testing.T) {
	levels := []string{"", "none", "note", "warning", "error"}
	rapid.Check(t, func(t *rapid.T) {
		type obj = map[string]any
		var rules []any
		var defaults []string
		for i := range rapid.IntRange(1, 4).Draw(t, "rules") {
			l := rapid.SampledFrom(levels).Draw(t, "default")
			r := obj{"id": fmt.Sprintf("R%d", i)}
			if l != "" {
				r["defaultConfiguration"] = obj{"level": l}
			}
			rules, defaults = append(rules, r), append(defaults, l)
		}
		results := []any{}
		want := map[string]string{}
		findings := 0
		for i := range rapid.IntRange(0, 8).Draw(t, "results") {
			rule := rapid.IntRange(0, len(rules)-1).Draw(t, "rule")
			r := obj{"locations": []any{obj{"physicalLocation": obj{"artifactLocation": obj{"uri": "f.go"}, "region": obj{"startLine": i + 1}}}}}
			switch rapid.IntRange(0, 3).Draw(t, "way") {
			case 0:
				r["ruleId"] = fmt.Sprintf("R%d", rule)
			case 1:
				r["ruleIndex"] = rule
			case 2:
				r["rule"] = obj{"id": fmt.Sprintf("R%d", rule)}
			default:
				r["rule"] = obj{"index": rule, "toolComponent": obj{"name": "t"}}
			}
			level := rapid.SampledFrom(levels).Draw(t, "level")
			if level != "" {
				r["level"] = level
			} else if level = defaults[rule]; level == "" {
				level = "warning"
			}
			hidden := rapid.IntRange(0, 3).Draw(t, "hidden") == 0
			if hidden {
				r["suppressions"] = []any{obj{"kind": "inSource"}}
			}
			status := "skipped"
			if level == "error" && !hidden {
				status = "failed"
				findings++
			}
			want[fmt.Sprintf("R%d f.go:%d", rule, i+1)] = status
			results = append(results, r)
		}
		text, err := json.Marshal(obj{"version": "2.1.0", "runs": []any{obj{"tool": obj{"driver": obj{"name": "t", "rules": rules}}, "results": results}}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := Read("", "", strings.NewReader(string(text)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, x := range r.Results {
			got[x.ID] = x.Status
		}
		if d := cmp.Diff(want, got); d != "" || r.Findings != findings || len(r.Unread) > 0 {
			t.Fatalf("(-want +got):\n%s\nfindings %d, want %d\nunread %v\n%s", d, r.Findings, findings, r.Unread, text)
		}
	})
}
