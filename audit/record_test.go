package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseRecordRefuses(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(specLine, old) {
			t.Fatalf("%q is not in the example", old)
		}
		return strings.Replace(specLine, old, new, 1)
	}
	for name, line := range map[string]string{
		"empty":                 ``,
		"no object":             `[]`,
		"two values":            specLine + `{}`,
		"unknown key":           change(`"metadata"`, `"extra":1,"metadata"`),
		"other case":            change(`"operation"`, `"Operation"`),
		"duplicate key":         change(`"seed_used":12345`, `"seed_used":1,"seed_used":12345`),
		"duplicate key inside":  change(`"metadata":{}`, `"metadata":{"a":{"b":1,"b":2}}`),
		"missing key":           change(`"seed_used":12345,`, ``),
		"missing module key":    change(`,"interface_schema":"contracts/kick.json"`, ``),
		"null":                  change(`"manifest_version":"1.2.0"`, `"manifest_version":null`),
		"null metadata":         change(`"metadata":{}`, `"metadata":null`),
		"number as string":      change(`12345`, `"12345"`),
		"fraction":              change(`12345`, `12345.5`),
		"seed beyond 2^53":      change(`12345`, `9007199254740992`),
		"negative duration":     change(`123,"metadata"`, `-1,"metadata"`),
		"other result":          change(`"success"`, `"ok"`),
		"spec is a string":      change(`{"name":"Intro","bars":32}`, `"Intro"`),
		"spec is an array":      change(`{"name":"Intro","bars":32}`, `[]`),
		"no operation":          change(`"compose_section"`, `""`),
		"module without name":   change(`"kick"`, `""`),
		"time with offset":      change(`10:00:00Z`, `10:00:00+00:00`),
		"time with comma":       change(`10:00:00Z`, `10:00:00,5Z`),
		"time without zone":     change(`10:00:00Z`, `10:00:00`),
		"impossible date":       change(`2025-01-08`, `2025-02-30`),
		"not UTF-8":             change(`Intro`, "\xff"),
		"escaped NUL":           change(`Intro`, `\u0000`),
		"raw NUL":               change(`Intro`, "\x00"),
		"lone surrogate":        change(`Intro`, `\ud800`),
		"lone surrogate in key": change(`"metadata":{}`, `"metadata":{"\udc00":1}`),
		"too deep":              change(`"metadata":{}`, `"metadata":{"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}`),
	} {
		if r, err := ParseRecord([]byte(line)); ErrorKind(err) != "invalid" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Record){
		"no time":           func(r *Record) { r.Timestamp = time.Time{} },
		"year 10000":        func(r *Record) { r.Timestamp = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"bad operation":     func(r *Record) { r.Operation = "a\xff" },
		"NUL in a name":     func(r *Record) { r.ModulesLoaded[0].Name = "a\x00b" },
		"no spec":           func(r *Record) { r.SectionSpec = nil },
		"spec not JSON":     func(r *Record) { r.SectionSpec = json.RawMessage(`{"a":}`) },
		"metadata an array": func(r *Record) { r.Metadata = json.RawMessage(`[]`) },
		"no result":         func(r *Record) { r.Result = "" },
		"seed too small":    func(r *Record) { r.SeedUsed = -MaxSeed - 1 },
	} {
		r := sample()
		edit(&r)
		if line, err := r.Encode(); ErrorCode(err) != "audit_record_invalid" {
			t.Errorf("%s: %s, %v", name, line, err)
		}
	}
}

func TestEncodeTime(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	for want, at := range map[string]time.Time{
		"2025-01-08T10:00:00Z":           time.Date(2025, 1, 8, 12, 0, 0, 0, zone),
		"2025-01-08T10:00:00.5Z":         time.Date(2025, 1, 8, 12, 0, 0, 5e8, zone),
		"2025-01-08T10:00:00.000000001Z": time.Date(2025, 1, 8, 10, 0, 0, 1, time.UTC),
	} {
		r := sample()
		r.Timestamp = at
		line, err := r.Encode()
		if err != nil || !strings.HasPrefix(string(line), `{"timestamp":"`+want+`",`) {
			t.Errorf("%s: %s, %v", want, line, err)
		}
	}
}

// genObject draws a JSON object as a Go value.
func genObject() *rapid.Generator[map[string]any] {
	key := rapid.StringMatching(`[a-z~/"\\é\n ]{0,6}`)
	leaf := rapid.OneOf(
		rapid.Map(rapid.StringMatching(`[a-z<>&"\\/\n\t\x{e9}\x{1F3B5}\x{2028}]{0,8}`), func(s string) any { return s }),
		rapid.Map(rapid.IntRange(-1e6, 1e6), func(i int) any { return float64(i) }),
		rapid.SampledFrom([]any{true, false, nil, 0.25}),
	)
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		if depth == 0 {
			return leaf
		}
		return rapid.OneOf(
			leaf,
			rapid.Map(rapid.SliceOfN(value(depth-1), 0, 3), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(key, value(depth-1), 0, 3), func(m map[string]any) any { return m }),
		)
	}
	return rapid.MapOfN(key, value(3), 0, 4)
}

func mustJSON(t rapid.TB, v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Oracle: encoding/json reads the same values back, and the keys stand in the
// order that the specification lists them.
func TestEncodeProperty(t *testing.T) {
	text := rapid.StringMatching(`[a-z0-9.é"\\/<>\n]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		spec, metadata := genObject().Draw(t, "spec"), genObject().Draw(t, "metadata")
		r := Record{
			Timestamp:       time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")),
			Operation:       text.Draw(t, "operation"),
			SectionSpec:     mustJSON(t, spec),
			ManifestVersion: text.Draw(t, "version"),
			SeedUsed:        rapid.Int64Range(-MaxSeed, MaxSeed).Draw(t, "seed"),
			Result:          rapid.SampledFrom([]string{"success", "failure"}).Draw(t, "result"),
			DurationMS:      rapid.Int64Range(0, 1<<40).Draw(t, "ms"),
			Metadata:        mustJSON(t, metadata),
		}
		for range rapid.IntRange(0, 3).Draw(t, "modules") {
			r.ModulesLoaded = append(r.ModulesLoaded, Module{text.Draw(t, "n"), text.Draw(t, "v"), text.Draw(t, "i")})
		}
		line, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(line), "\n\r\x00") {
			t.Fatalf("not one line: %q", line)
		}
		var keys []string
		dec := json.NewDecoder(strings.NewReader(string(line)))
		for depth := 0; ; {
			token, err := dec.Token()
			if err != nil {
				break
			}
			if d, ok := token.(json.Delim); ok {
				if d == '{' || d == '[' {
					depth++
				} else {
					depth--
				}
				continue
			}
			if depth == 1 {
				keys = append(keys, token.(string))
				var skip json.RawMessage
				if err := dec.Decode(&skip); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := []string{"timestamp", "operation", "section_spec", "modules_loaded", "manifest_version", "seed_used", "result", "duration_ms", "metadata"}
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Fatal(diff)
		}
		var back struct {
			Timestamp       time.Time         `json:"timestamp"`
			Operation       string            `json:"operation"`
			SectionSpec     map[string]any    `json:"section_spec"`
			ModulesLoaded   []json.RawMessage `json:"modules_loaded"`
			ManifestVersion string            `json:"manifest_version"`
			Metadata        map[string]any    `json:"metadata"`
		}
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		if !back.Timestamp.Equal(r.Timestamp) || back.Operation != r.Operation || back.ManifestVersion != r.ManifestVersion || len(back.ModulesLoaded) != len(r.ModulesLoaded) {
			t.Fatalf("%+v became %+v", r, back)
		}
		if diff := cmp.Diff(spec, back.SectionSpec); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(metadata, back.Metadata); diff != "" {
			t.Fatal(diff)
		}
		again, err := ParseRecord(line)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.Encode(); err != nil || string(second) != string(line) {
			t.Fatalf("parse and print changed\n%s\nto\n%s (%v)", line, second, err)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(specLine))
	f.Add([]byte(strings.ReplaceAll(specLine, ",", " ,\t")))
	f.Add([]byte(strings.Replace(specLine, "Intro", `\ud83c\udfb5\"\\`, 1)))
	f.Add([]byte(strings.Replace(specLine, `"metadata":{}`, `"metadata":{"a":[1,{"b":[]},"x"],"":-0.0e1}`, 1)))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRecord(line)
		if err != nil {
			return
		}
		if !json.Valid(line) {
			t.Fatal("accepted what is no JSON")
		}
		printed, err := r.Encode()
		if ErrorCode(err) == "audit_record_too_large" {
			return
		}
		if err != nil {
			t.Fatalf("accepted but not written: %v", err)
		}
		again, err := ParseRecord(printed)
		if err != nil {
			t.Fatalf("own line refused: %v", err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
