package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

type approval struct {
	Approver  string    `json:"approver"`
	Timestamp time.Time `json:"timestamp"`
}

type base struct {
	Shared string `json:"shared"`
	Hidden string `json:"id"`
}

type doc struct {
	base
	ID        string             `json:"id"`
	Approvals []approval         `json:"approvals"`
	Count     int8               `json:"count"`
	Size      uint               `json:"size"`
	Rate      *float64           `json:"rate"`
	OK        bool               `json:"ok"`
	Raw       json.RawMessage    `json:"raw"`
	Any       any                `json:"any"`
	Blob      []byte             `json:"blob"`
	Pair      [2]int             `json:"pair"`
	Limits    map[string]float64 `json:"limits"`
	Number    json.Number        `json:"number"`
	Skipped   string             `json:"-"`
	private   string
}

func TestRefusals(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	rows := []struct {
		name, in, code, at, path string
	}{
		{"empty", "", CodeSyntax, "1:1", "$"},
		{"only space", " \n ", CodeSyntax, "2:2", "$"},
		{"byte order mark", "\xef\xbb\xbf{}", CodeSyntax, "1:1", "$"},
		{"unknown key", "{\n  \"idd\": 1}", CodeUnknownKey, "2:3", "$"},
		{"key in another case", `{"ID":"x"}`, CodeUnknownKey, "1:2", "$"},
		{"field with tag -", `{"Skipped":"x"}`, CodeUnknownKey, "1:2", "$"},
		{"private field", `{"private":"x"}`, CodeUnknownKey, "1:2", "$"},
		{"unknown key in a list", `{"approvals":[{},{"aprover":"x"}]}`, CodeUnknownKey, "1:19", "$.approvals[1]"},
		{"duplicate key", `{"id":"a","id":"b"}`, CodeDuplicateKey, "1:11", "$"},
		{"duplicate by escape", `{"id":"a","\u0069d":"b"}`, CodeDuplicateKey, "1:11", "$"},
		{"duplicate in raw", `{"raw":{"x":[{"y":1,"y":2}]}}`, CodeDuplicateKey, "1:21", "$.raw.x[0]"},
		{"duplicate in any", `{"any":{"odd key":{"y":1,"y":2}}}`, CodeDuplicateKey, "1:26", `$.any["odd key"]`},
		{"string for number", `{"count":"1"}`, CodeWrongType, "1:10", "$.count"},
		{"number for string", `{"id":1}`, CodeWrongType, "1:7", "$.id"},
		{"null for string", `{"id":null}`, CodeWrongType, "1:7", "$.id"},
		{"null for time", `{"approvals":[{"timestamp":null}]}`, CodeWrongType, "1:28", "$.approvals[0].timestamp"},
		{"no time", `{"approvals":[{"timestamp":"today"}]}`, CodeWrongType, "1:28", "$.approvals[0].timestamp"},
		{"fraction for integer", `{"count":1.5}`, CodeWrongType, "1:10", "$.count"},
		{"exponent for integer", `{"count":1e1}`, CodeWrongType, "1:10", "$.count"},
		{"integer too large", `{"count":128}`, CodeWrongType, "1:10", "$.count"},
		{"negative for unsigned", `{"size":-1}`, CodeWrongType, "1:9", "$.size"},
		{"float too large", `{"rate":1e400}`, CodeWrongType, "1:9", "$.rate"},
		{"float too large in any", `{"any":1e400}`, CodeWrongType, "1:8", "$.any"},
		{"object for array", `{"approvals":{}}`, CodeWrongType, "1:14", "$.approvals"},
		{"array for object", `[]`, CodeWrongType, "1:1", "$"},
		{"no base64", `{"blob":"%"}`, CodeWrongType, "1:9", "$.blob"},
		{"base64 with a line break", `{"blob":"YQ\n=="}`, CodeWrongType, "1:9", "$.blob"},
		{"array too short", `{"pair":[1]}`, CodeWrongType, "1:9", "$.pair"},
		{"array too long", `{"pair":[1,2,3]}`, CodeWrongType, "1:9", "$.pair"},
		{"map value", `{"limits":{"a":"b"}}`, CodeWrongType, "1:16", "$.limits.a"},
		{"string for json.Number", `{"number":"1"}`, CodeWrongType, "1:11", "$.number"},
		{"too deep", `{"any":` + deep(64) + `}`, CodeTooDeep, "1:71", "$.any" + strings.Repeat("[0]", 7) + "…" + strings.Repeat("[0]", 8)},
		{"invalid UTF-8", "{\"id\":\"ä\xff\"}", CodeInvalidUTF8, "1:9", "$.id"},
		{"invalid UTF-8 outside", "{\xff}", CodeInvalidUTF8, "1:2", "$"},
		{"overlong UTF-8", "{\"id\":\"\xc0\x80\"}", CodeInvalidUTF8, "1:8", "$.id"},
		{"surrogate in UTF-8", "{\"id\":\"\xed\xa0\x80\"}", CodeInvalidUTF8, "1:8", "$.id"},
		{"lone high surrogate", `{"id":"\ud800"}`, CodeInvalidUTF8, "1:8", "$.id"},
		{"lone low surrogate", `{"id":"\udc00"}`, CodeInvalidUTF8, "1:8", "$.id"},
		{"two high surrogates", `{"id":"\ud800\ud800"}`, CodeInvalidUTF8, "1:8", "$.id"},
		{"lone surrogate in a key", `{"any":{"\ud800":1}}`, CodeInvalidUTF8, "1:10", "$.any"},
		{"escaped NUL", `{"id":"a\u0000"}`, CodeNUL, "1:9", "$.id"},
		{"raw NUL in a string", "{\"id\":\"a\x00\"}", CodeNUL, "1:9", "$.id"},
		{"raw NUL outside", "{\x00}", CodeNUL, "1:2", "$"},
		{"raw NUL behind", "{}\x00", CodeNUL, "1:3", "$"},
		{"second value", `{} {}`, CodeTrailing, "1:4", "$"},
		{"trailing comma", `{"id":"x",}`, CodeSyntax, "1:11", "$"},
		{"comment", "{// no\n}", CodeSyntax, "1:2", "$"},
		{"single quotes", `{'id':'x'}`, CodeSyntax, "1:2", "$"},
		{"unfinished string", `{"id":"x`, CodeSyntax, "1:7", "$.id"},
		{"control character", "{\"id\":\"a\tb\"}", CodeSyntax, "1:9", "$.id"},
		{"leading zero", `{"any":01}`, CodeSyntax, "1:9", "$"},
		{"plus sign", `{"any":+1}`, CodeSyntax, "1:8", "$.any"},
		{"NaN", `{"any":NaN}`, CodeSyntax, "1:8", "$.any"},
		{"bad hex", "{\"id\":\"\\u00\x11g\"}", CodeSyntax, "1:12", "$.id"},
		{"bad escape", `{"id":"\x"}`, CodeSyntax, "1:9", "$.id"},
		{"ends in escape", `{"id":"\`, CodeSyntax, "1:9", "$.id"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var d doc
			err := Unmarshal([]byte(r.in), &d, Options{})
			e, ok := errors.AsType[*gov.Error](err)
			if !ok {
				t.Fatalf("got %v, want a *gov.Error", err)
			}
			f, ok := errors.AsType[*Fault](err)
			if !ok {
				t.Fatalf("no *Fault in %v", err)
			}
			got := []string{string(e.Kind), e.Code, fmt.Sprintf("%d:%d", f.Line, f.Column), f.Path}
			if diff := cmp.Diff([]string{"invalid", r.code, r.at, r.path}, got); diff != "" {
				t.Errorf("%s\nmessage: %s", diff, e.Message)
			}
			if !strings.HasPrefix(e.Message, r.at+": ") || !strings.Contains(e.Message, r.path) {
				t.Errorf("message %q lacks %s or %s", e.Message, r.at, r.path)
			}
			if !reflect.DeepEqual(d, doc{}) {
				t.Errorf("a refused document left %+v", d)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	in := ` {"shared":"s","id":"ä\ud83d\ude00\n","approvals":[{"approver":"ana","timestamp":"2025-01-08T10:00:00Z"}],
	"count":-128,"size":7,"rate":0.5,"ok":true,"raw":{"a":null},"any":[1,"x",null],"blob":"YQ==","pair":[1,2],
	"limits":{"p95":1e3},"number":12345678901234567890} `
	var got, want doc
	if err := Unmarshal([]byte(in), &got, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(in), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.ID != "ä😀\n" || got.base.Hidden != "" || got.private != "" || got.Shared != "s" {
		t.Errorf("got %+v", got)
	}
}

func TestNullWhereNilFits(t *testing.T) {
	in := []byte(`{"approvals":null,"rate":null,"limits":null,"raw":null,"any":null}`)
	if err := Unmarshal(in, &doc{}, Options{}); err != nil {
		t.Error(err)
	}
	if code := gov.CodeOf(Unmarshal(in, &doc{}, Options{NoNull: true})); code != CodeWrongType {
		t.Errorf("NoNull: got %q", code)
	}
	if err := Unmarshal([]byte(`{"raw":null,"any":[null]}`), &doc{}, Options{NoNull: true}); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	at := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	rows := []struct {
		name string
		in   []byte
		opts Options
		code string
	}{
		{"depth 64", at(64), Options{}, ""},
		{"depth 65", at(65), Options{}, CodeTooDeep},
		{"depth 3 of 2", at(3), Options{MaxDepth: 2}, CodeTooDeep},
		{"a scalar needs no depth", []byte("1"), Options{MaxDepth: 1}, ""},
		{"hostile depth", bytes.Repeat([]byte("["), 1<<20), Options{}, CodeTooDeep},
		{"size at the limit", []byte(`"ab"`), Options{MaxBytes: 4}, ""},
		{"size above the limit", []byte(`"abc"`), Options{MaxBytes: 4}, CodeTooLarge},
		{"default size", bytes.Repeat([]byte(" "), DefaultMaxBytes+1), Options{}, CodeTooLarge},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if code := gov.CodeOf(Check(r.in, r.opts)); code != r.code {
				t.Errorf("got %q, want %q", code, r.code)
			}
		})
	}
}

func TestManyKeysStayLinearAndFindTheDuplicate(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 50000 {
		fmt.Fprintf(&b, "\"k%d\":0,", i)
	}
	if err := Check([]byte(b.String()+`"last":0}`), Options{}); err != nil {
		t.Error(err)
	}
	for _, dup := range []string{"k0", "k15", "k16", "k49999"} {
		if code := gov.CodeOf(Check([]byte(b.String()+`"`+dup+`":0}`), Options{})); code != CodeDuplicateKey {
			t.Errorf("%s: got %q", dup, code)
		}
	}
}

func TestFileNameAndHint(t *testing.T) {
	err := Unmarshal([]byte(`{"approvls":[]}`), &doc{}, Options{Name: "a/b.json"})
	e, _ := errors.AsType[*gov.Error](err)
	if !strings.HasPrefix(e.Message, `a/b.json:1:2: unknown key "approvls", did you mean "approvals"?`) {
		t.Errorf("message %q", e.Message)
	}
	if e.Hint != `write "approvals" instead of "approvls"` {
		t.Errorf("hint %q", e.Hint)
	}
	err = Unmarshal([]byte(`{"zzz":[]}`), &approval{}, Options{})
	if e, _ := errors.AsType[*gov.Error](err); e.Hint != "the keys here are approver, timestamp" {
		t.Errorf("hint %q", e.Hint)
	}
}

func TestValuesAreNotEchoed(t *testing.T) {
	for _, in := range []string{`{"id":12345678}`, `{"count":"12345678"}`, `{"approvals":[{"timestamp":"12345678"}]}`} {
		if err := Unmarshal([]byte(in), &doc{}, Options{}); err == nil || strings.Contains(err.Error(), "12345678") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestSuggest(t *testing.T) {
	keys := []string{"change_id", "author", "owner", "risk_level", "rollback_plan"}
	rows := map[string]string{
		"Author": "author", "auhtor": "author", "risklevel": "risk_level", "risk-level": "risk_level",
		"owners": "owner", "rollback": "rollback_plan", "x": "", "": "", "changeid": "change_id", strings.Repeat("o", 65): "",
	}
	for in, want := range rows {
		if got := Suggest(in, keys); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNotAPointer(t *testing.T) {
	var p *doc
	for _, v := range []any{nil, doc{}, p} {
		if k := gov.KindOf(Unmarshal([]byte(`{}`), v, Options{})); k != gov.KindInternal {
			t.Errorf("%T: got %q", v, k)
		}
	}
}

// loneSurrogate restates from RFC 8259 section 7 which escapes pair up, by a
// pattern over the raw text: backslash pairs first, then pairs of surrogates.
func loneSurrogate(in []byte) bool {
	s := regexp.MustCompile(`\\\\`).ReplaceAll(in, nil)
	s = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`).ReplaceAll(s, nil)
	return regexp.MustCompile(`(?i)\\ud[89a-f][0-9a-f]{2}`).Match(s)
}

// facts finds duplicates, depth and NUL with encoding/json's tokens.
func facts(in []byte) (duplicate, nul bool, depth int) {
	dec := json.NewDecoder(bytes.NewReader(in))
	dec.UseNumber()
	type frame struct {
		object, key bool
		seen        map[string]bool
	}
	var stack []*frame
	for {
		tok, err := dec.Token()
		if err != nil {
			return duplicate, nul, depth
		}
		var top *frame
		if len(stack) > 0 {
			top = stack[len(stack)-1]
		}
		if text, ok := tok.(string); ok {
			nul = nul || strings.ContainsRune(text, 0)
			if top != nil && top.object && top.key {
				duplicate = duplicate || top.seen[text]
				top.seen[text] = true
				top.key = false
				continue
			}
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, &frame{object: true, key: true, seen: map[string]bool{}})
			depth = max(depth, len(stack))
			continue
		case json.Delim('['):
			stack = append(stack, &frame{})
			depth = max(depth, len(stack))
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		if len(stack) > 0 {
			stack[len(stack)-1].key = true
		}
	}
}

// agree demands that Check accepts exactly what encoding/json and the oracle do.
func agree(t interface {
	Errorf(string, ...any)
	Helper()
}, in []byte,
) {
	t.Helper()
	err := Check(in, Options{})
	var v any
	want := json.Unmarshal(in, &v) == nil && utf8.Valid(in) && !loneSurrogate(in)
	if want {
		duplicate, nul, depth := facts(in)
		want = !duplicate && !nul && depth <= DefaultMaxDepth
	}
	if (err == nil) != want {
		t.Errorf("%q: got %v, the oracle says accept = %v", in, err, want)
	}
}

func TestAgreesWithOracle(t *testing.T) {
	parts := []string{
		"{", "}", "[", "]", ",", ":", `"a"`, `"b"`, `"\u0061"`, `"\u0000"`, `"\ud800"`, `"\ud83d\ude00"`, `"\\ud800"`,
		"1", "-0", "1.5e3", "1e999", "01", "true", "false", "null", " ", "\n", "\x00", "\xff", `"ä"`, `{"a":1}`, `{"a":1,"a":2}`, `[1,2]`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		agree(rt, []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12).Draw(rt, "parts"), "")))
	})
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5e-3,true,null,"x"]}`, `{"a":1,"a":2}`, `"\ud83d\ude00"`, `"\ud83d"`, "\"\x00\"", `[[[[]]]]`, `1e999`, "\xef\xbb\xbf1", `"\\ud800"`, `{"a":{"b":1},"b":{"a":2}} `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > DefaultMaxBytes {
			t.Skip()
		}
		agree(t, in)
	})
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"shared":"s","id":"x","approvals":[{"approver":"a","timestamp":"2025-01-08T10:00:00Z"}],"count":1,"size":2,"rate":0.5,"blob":"YQ==","pair":[1,2],"limits":{"a":1},"number":1}`))
	f.Add([]byte(`{"id":null,"raw":[{"x":1,"x":2}],"Approvals":[]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var got, want doc
		if Unmarshal(in, &got, Options{}) != nil {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(in))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("%q: accepted here, but encoding/json says %v", in, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", in, got, want)
		}
	})
}
