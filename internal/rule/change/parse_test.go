package change

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

const small = `{
  "change_id": "CHANGE-1",
  "author": "alice",
  "owner": "owen",
  "timestamp": "2025-01-08T10:00:00Z",
  "rationale": "the kick drum was late",
  "impact": "module kick; nothing breaks",
  "tests_run": [
    "test_module.py::test_function"
  ],
  "artifacts": [
    "modules/kick/kick.go"
  ],
  "approvals": [
    {
      "approver": "owen",
      "timestamp": "2025-01-08T11:00:00+02:00",
      "rationale": "sounds right"
    }
  ],
  "rollback_plan": "git revert",
  "risk_level": "medium"
}
`

const full = `{"change_id":"CHANGE-12","author":"a","owner":"b","timestamp":"2025-01-08T10:00:00.5Z","rationale":"r","impact":"i",
"tests_run":[],"artifacts":[],"approvals":[],"rollback_plan":"p","risk_level":"critical","type":"security","targets":["studio"],
"canary_strategy":{ "enabled": true, "traffic_percentage": 5.0 },"contracts":["contracts/openapi.yaml#/components/schemas/BassSpec"],
"model":"model_v1.2.0","agent":{"name":"bot","session":"","sponsor":"sam"}}`

func TestParseAndPrint(t *testing.T) {
	t.Parallel()
	m, err := ParseMetadata([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	want := Metadata{
		ChangeID: "CHANGE-1", Author: "alice", Owner: "owen", Timestamp: time.Date(2025, 1, 8, 10, 0, 0, 0, time.UTC),
		Rationale: "the kick drum was late", Impact: "module kick; nothing breaks",
		TestsRun: []string{"test_module.py::test_function"}, Artifacts: []string{"modules/kick/kick.go"},
		Approvals:    []Approval{{Approver: "owen", Timestamp: time.Date(2025, 1, 8, 9, 0, 0, 0, time.UTC), Rationale: "sounds right"}},
		RollbackPlan: "git revert", RiskLevel: gov.RiskMedium,
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	b, err := m.Print()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(small, string(b)); d != "" {
		t.Errorf("the canonical file is not printed as it is: %s", d)
	}
	m, err = ParseMetadata([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	want = Metadata{
		ChangeID: "CHANGE-12", Author: "a", Owner: "b", Timestamp: time.Date(2025, 1, 8, 10, 0, 0, 5e8, time.UTC), Rationale: "r", Impact: "i",
		TestsRun: []string{}, Artifacts: []string{}, Approvals: []Approval{}, RollbackPlan: "p", RiskLevel: gov.RiskCritical,
		Type: "security", Targets: []string{"studio"}, CanaryStrategy: json.RawMessage(`{"enabled":true,"traffic_percentage":5.0}`),
		Contracts: []string{"contracts/openapi.yaml#/components/schemas/BassSpec"}, Model: "model_v1.2.0", Agent: &Agent{Name: "bot", Sponsor: "sam"},
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if b, err = m.WithApprovals([]Approval{{Approver: "owen", Timestamp: want.Timestamp, Rationale: "<yes>"}}).Print(); err != nil || !strings.Contains(string(b), `"<yes>"`) {
		t.Errorf("counted approvals in %s (%v)", b, err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, old, with string
		code, at        string
	}{
		{"unknown key", `"impact"`, `"impacts"`, "json_unknown_key", "7:3:"},
		{"repeated key", `"owner": "owen"`, `"author": "owen"`, "json_duplicate_key", "4:3:"},
		{"wrong type", `"medium"`, `3`, "json_wrong_type", "22:17:"},
		{"null array", `"approvals": [`, `"approvals": null, "type": [`, "json_wrong_type", "14:16:"},
		{"missing key", `  "owner": "owen",` + "\n", ``, "metadata_missing_key", "1:1:"},
		{"missing array", "  \"tests_run\": [\n    \"test_module.py::test_function\"\n  ],\n", ``, "metadata_missing_key", "1:1:"},
		{"missing key in an approval", `"approver": "owen",`, ``, "metadata_missing_key", "15:5:"},
		{"change id", `CHANGE-1"`, `CHANGE-01"`, "change_id_invalid", "2:16:"},
		{"blank author", `"author": "alice"`, `"author": "  "`, "metadata_blank", "3:13:"},
		{"blank owner", `"owner": "owen"`, `"owner": ""`, "metadata_blank", "4:12:"},
		{"blank rationale", `the kick drum was late`, "\u200b\u2800", "metadata_blank", "6:16:"},
		{"blank impact", `module kick; nothing breaks`, ` `, "metadata_blank", "7:13:"},
		{"blank rollback plan", `git revert`, `\n\t`, "metadata_blank", "21:20:"},
		{"escape sequence", `the kick`, `\u001b[2J`, "metadata_control", "6:16:"},
		{"author of two lines", `"author": "alice"`, `"author": "al\nice"`, "metadata_control", "3:13:"},
		{"timestamp without zone", `10:00:00Z`, `10:00:00`, "metadata_timestamp", "5:16:"},
		{"timestamp with a comma", `10:00:00Z`, `10:00:00,5Z`, "metadata_timestamp", "5:16:"},
		{"timestamp of an approval", `11:00:00+02:00`, `25:00:00Z`, "metadata_timestamp", "17:20:"},
		{"risk level", `"medium"`, `"Medium"`, "risk_invalid", "22:17:"},
		{"type", `"risk_level"`, `"type": "chore", "risk_level"`, "metadata_type", "22:11:"},
		{"repeated test", `test_function"`, `test_function", "test_module.py::test_function"`, "metadata_duplicate", "9:38:"},
		{"blank test", `"test_module.py::test_function"`, `""`, "metadata_blank", "9:5:"},
		{"absolute artifact", `modules/kick/kick.go`, `/etc/passwd`, "metadata_path", "12:5:"},
		{"artifact outside", `modules/kick/kick.go`, `../x`, "metadata_path", "12:5:"},
		{"artifact through", `modules/kick/kick.go`, `a/../../x`, "metadata_path", "12:5:"},
		{"artifact not clean", `modules/kick/kick.go`, `a//b`, "metadata_path", "12:5:"},
		{"artifact with backslash", `modules/kick/kick.go`, `a\\b`, "metadata_path", "12:5:"},
		{"contract outside", `"risk_level"`, `"contracts": ["../c.yaml#/x"], "risk_level"`, "metadata_path", "22:17:"},
		{"strategy is no object", `"risk_level"`, `"canary_strategy": [], "risk_level"`, "metadata_strategy", "22:22:"},
		{"strategy is null", `"risk_level"`, `"canary_strategy": null, "risk_level"`, "metadata_strategy", "22:22:"},
		{"blank model", `"risk_level"`, `"model": "", "risk_level"`, "metadata_blank", "22:12:"},
		{"agent without sponsor", `"risk_level"`, `"agent": {"name": "b", "session": "s"}, "risk_level"`, "metadata_missing_key", "22:12:"},
		{"agent of strange keys", `"risk_level"`, `"agent": {"nam": "b"}, "risk_level"`, "json_unknown_key", "22:13:"},
		{"NUL", `the kick`, `\u0000`, "json_nul", "6:"},
		{"rest", "\n}\n", "\n}\n{}", "json_trailing", "24:1:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := strings.Replace(small, tc.old, tc.with, 1)
			if in == small {
				t.Fatal("the row changes nothing")
			}
			_, err := ParseMetadata([]byte(in))
			e, ok := errors.AsType[*gov.Error](err)
			if !ok || e.Kind != gov.KindInvalid || e.Code != tc.code || !strings.HasPrefix(e.Message, tc.at) {
				t.Errorf("%v, want %s at %s", err, tc.code, tc.at)
			}
		})
	}
	if _, err := ParseMetadata(make([]byte, 10<<20)); gov.CodeOf(err) != "json_too_large" {
		t.Errorf("10 MB: %v", err)
	}
	errs := MetadataErrors([]byte(strings.NewReplacer(`"alice"`, `""`, `"medium"`, `"none"`, `10:00:00Z`, `10`).Replace(small)))
	var codes []string
	for _, e := range errs {
		codes = append(codes, gov.CodeOf(e))
	}
	if d := cmp.Diff([]string{"metadata_blank", "metadata_timestamp", "risk_invalid"}, codes); d != "" {
		t.Errorf("all errors, in the order of the file: %s", d)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(full))
	f.Add([]byte(strings.Replace(small, "Z\"", ".000000001-23:59\"", 1)))
	f.Add([]byte(strings.Replace(full, "true", "1e-7, \"<\u2028\": null", 1)))
	f.Add([]byte(`{"a":[1,{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMetadata(data)
		if err != nil {
			e, ok := errors.AsType[*gov.Error](err)
			if !ok || e.Kind != gov.KindInvalid || e.Code == "" {
				t.Fatalf("not an error of ours: %v", err)
			}
			return
		}
		b, err := m.Print()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseMetadata(b)
		if err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Fatal(d)
		}
		b2, err := again.Print()
		if err != nil || string(b) != string(b2) {
			t.Fatalf("printed differently the second time: %s", cmp.Diff(string(b), string(b2)))
		}
	})
}

func TestTouches(t *testing.T) {
	t.Parallel()
	contracts, models := []string{"contracts/openapi.yaml#/components/schemas/BassSpec", "api/"}, []string{"models/adapter"}
	for _, tc := range []struct {
		name  string
		paths []string
		want  Touched
	}{
		{"code only", []string{"main.go", "contracts/other.json", "models/adapter2/w.bin"}, Touched{}},
		{"registry", []string{".govern/people.yaml"}, Touched{Registry: true}},
		{"policy", []string{"governance.yaml"}, Touched{Policy: true}},
		{"a file of the same name elsewhere", []string{"x/governance.yaml", "governance.yaml.bak"}, Touched{}},
		{"contracts by file and by folder", []string{"contracts/openapi.yaml", "api/v1/x.proto", "api/v1/x.proto"}, Touched{Contracts: []string{"api/v1/x.proto", "contracts/openapi.yaml"}}},
		{"model", []string{"models/adapter/w.bin"}, Touched{Models: []string{"models/adapter/w.bin"}}},
		{"not clean", []string{"./governance.yaml", "a/../api/x"}, Touched{Policy: true, Contracts: []string{"api/x"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tc.want, Touches(tc.paths, ".govern/people.yaml", "governance.yaml", contracts, models)); d != "" {
				t.Error(d)
			}
		})
	}
	if got := Touches([]string{"a"}, "", "", []string{""}, []string{"#"}); got.Policy || got.Registry || got.Contracts != nil || got.Models != nil {
		t.Errorf("what is not declared covers nothing: %+v", got)
	}
}
