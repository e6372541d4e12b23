package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

var lineCases = []struct {
	name, line string
	ok         bool
}{
	{"empty object", `{}`, true},
	{"nested", `{"a":[1,-2.5e+3,{"b":null}],"c":"é\n\u00e9","d":true , "e":[ ]}`, true},
	{"pair of surrogates", `{"a":"\ud83d\ude00"}`, true},
	{"deepest", strings.Repeat(`{"a":`, 127) + `{}` + strings.Repeat("}", 127), true},
	{"longest", `{"a":"` + strings.Repeat("x", MaxLine-8) + `"}`, true},
	{"nothing", ``, false},
	{"not an object", `[1]`, false},
	{"blank before", ` {}`, false},
	{"blank behind", `{} `, false},
	{"two objects", `{}{}`, false},
	{"cut", `{"a":"b`, false},
	{"trailing comma", `{"a":1,}`, false},
	{"no key", `{:1}`, false},
	{"key is a number", `{1:1}`, false},
	{"leading zero", `{"a":01}`, false},
	{"bare point", `{"a":1.}`, false},
	{"plus", `{"a":+1}`, false},
	{"NaN", `{"a":NaN}`, false},
	{"wrong closing", `{"a":[1}`, false},
	{"newline", "{\"a\":\n1}", false},
	{"tab between", "{\"a\":\t1}", false},
	{"carriage return", "{\"a\":1}\r", false},
	{"control in string", "{\"a\":\"\x01\"}", false},
	{"U+0000 escape", `{"a":"\u0000"}`, false},
	{"lone high surrogate", `{"a":"\ud83d"}`, false},
	{"lone low surrogate", `{"a":"\ude00"}`, false},
	{"low before low", `{"a":"\ude00\ude00"}`, false},
	{"high before text", `{"a":"\ud83dxxxxxx"}`, false},
	{"high before high", `{"a":"\ud83d\ud83d"}`, false},
	{"bad escape", `{"a":"\x"}`, false},
	{"short escape", `{"a":"\u12"}`, false},
	{"invalid UTF-8", "{\"a\":\"\xff\"}", false},
	{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", false},
	{"too deep", strings.Repeat(`{"a":`, 128) + `{}` + strings.Repeat("}", 128), false},
	{"too long", `{"a":"` + strings.Repeat("x", MaxLine-7) + `"}`, false},
}

func TestCheckLine(t *testing.T) {
	for _, c := range lineCases {
		err := CheckLine([]byte(c.line))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && gov.KindOf(err) != gov.KindInvalid {
			t.Errorf("%s: kind %s", c.name, gov.KindOf(err))
		}
	}
}

// lineOracle restates the rules with encoding/json.
func lineOracle(b []byte) bool {
	if len(b) > MaxLine || !utf8.Valid(b) || !json.Valid(b) || b[0] != '{' || b[len(b)-1] != '}' {
		return false
	}
	depth, most, inString := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c < 0x20:
			return false
		case inString && c == '\\':
			if b[i+1] == 'u' {
				r := b[i+2 : i+6]
				low := func(at int) bool {
					return len(b) > at+6 && b[at] == '\\' && b[at+1] == 'u' && strings.ContainsRune("dD", rune(b[at+2])) && strings.ContainsRune("cdefCDEF", rune(b[at+3]))
				}
				switch {
				case string(r) == "0000", low(i):
					return false
				case strings.ContainsRune("dD", rune(r[0])) && strings.ContainsRune("89abAB", rune(r[1])):
					if !low(i + 6) {
						return false
					}
					i += 6
				}
				i += 4
			}
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most <= 128
}

func FuzzLine(f *testing.F) {
	for _, c := range lineCases {
		f.Add([]byte(c.line))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := CheckLine(b) == nil, lineOracle(b); got != want {
			t.Fatalf("CheckLine(%q) accepts: %v, the rules: %v", b, got, want)
		}
	})
}

// TestLineOracle draws lines that are almost JSON.
func TestLineOracle(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		`{`, `}`, `[`, `]`, `,`, `:`, `"`, `"a"`, `1`, `-`, `0`, `.5`, `e9`, `true`, `null`, ` `, "\t", `\`, `\u0000`, `\ud800`, `\uDC00`, `\u00e9`, `é`, "\xff", `{"a":1}`, `{"a":[{}]}`,
	})
	rapid.Check(t, func(rt *rapid.T) {
		b := []byte(`{"k":` + strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(rt, "pieces"), "") + `}`)
		if got, want := CheckLine(b) == nil, lineOracle(b); got != want {
			rt.Fatalf("CheckLine(%q) accepts: %v, the rules: %v", b, got, want)
		}
	})
}

// TestSkipPlain puts every byte at every place of a run of plain ones.
func TestSkipPlain(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := []byte(strings.Repeat("\x7f\xff!]#[ ~", 3)[:24])
			b[at] = byte(c)
			want := 24
			if c < 0x20 || c == '"' || c == '\\' {
				want = at
			}
			if got := skipPlain(b, 0); got != want {
				t.Fatalf("byte %#x at %d: stopped at %d", c, at, got)
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"id":"a","streams":{"change/CHANGE-1":3,"policy":1},"record":{"x":1}}`))
	f.Add([]byte(`{"id":"a","streams":{},"record":{}}`))
	f.Add([]byte(`{"id":"","streams":{},"record":{}}`))
	f.Add([]byte(`{"id":"a","streams":{"b":1,"a":1},"record":{}}`))
	f.Add([]byte(`{"id":"a","streams":{"a":01},"record":{}}`))
	f.Add([]byte(`{"id":"a","streams":{"a":9007199254740993},"record":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		versions := map[gov.Stream]uint64{}
		for _, s := range r.Streams {
			versions[s.Stream] = s.Version
		}
		if again := appendRecord(nil, r.ID, versions, r.Body); !bytes.Equal(again, b) {
			t.Fatalf("%q prints as %q", b, again)
		}
	})
}

func TestParseRecordRefuses(t *testing.T) {
	const good = `{"id":"a","streams":{"a":1,"b":2},"record":{"x":1}}`
	if _, err := ParseRecord([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for i := range strings.Index(good, `{"x"`) {
		b := []byte(good)
		b[i] ^= 0x80
		if _, err := ParseRecord(b); gov.CodeOf(err) != "record_invalid" {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := ParseRecord([]byte(good[:i])); gov.CodeOf(err) != "record_invalid" {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	for _, bad := range []string{
		`{"id":"a","streams":{"b":1,"a":1},"record":{}}`, `{"id":"a","streams":{"a":1,"a":1},"record":{}}`,
		`{"id":"a","streams":{"a":0},"record":{}}`, `{"id":"a","streams":{"a":1,},"record":{}}`,
		`{"id":"a","streams":{"a":1},"record":[]}`, `{"id":"` + strings.Repeat("i", 129) + `","streams":{},"record":{}}`,
	} {
		if _, err := ParseRecord([]byte(bad)); gov.CodeOf(err) != "record_invalid" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestEventAdds(t *testing.T) {
	rec := gov.Record{ID: "x", Events: []gov.Event{
		gov.NewEvent("policy", "policy.adopted", struct{}{}), gov.NewEvent("people", "people.adopted", struct{}{}), gov.NewEvent("policy", "policy.adopted", struct{}{}),
	}}
	body, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := EventAdds(body)
	if d := cmp.Diff(map[gov.Stream]int{"policy": 2, "people": 1}, got); d != "" || err != nil {
		t.Fatal(d, err)
	}
}

func TestEntryRefused(t *testing.T) {
	o := testOptions(t, Governance)
	l := mustOpen(t, o)
	for _, c := range []struct {
		code string
		e    Entry
	}{
		{"record_id_invalid", Entry{Body: []byte(`{}`)}},
		{"record_id_invalid", Entry{ID: "a\"b", Body: []byte(`{}`)}},
		{"record_id_invalid", Entry{ID: "é", Body: []byte(`{}`)}},
		{"record_stream_invalid", Entry{ID: "a", Body: []byte(`{}`), Adds: map[gov.Stream]int{"s": 0}}},
		{"record_stream_invalid", Entry{ID: "a", Body: []byte(`{}`), Adds: map[gov.Stream]int{"": 1}}},
		{"line_invalid", Entry{ID: "a", Body: []byte(`[]`)}},
		{"line_invalid", Entry{ID: "a", Body: []byte(`{"a":"\u0000"}`)}},
		{"line_too_long", Entry{ID: "a", Body: fmt.Appendf(nil, `{"a":"%s"}`, strings.Repeat("x", MaxLine))}},
		{"line_too_long", Entry{ID: "a", Body: fmt.Appendf(nil, `{"a":"%s"}`, strings.Repeat("x", MaxLine-20))}},
	} {
		_, err := l.Append(t.Context(), c.e)
		if gov.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.e.ID, err, c.code)
		}
	}
	if l.Size() != 0 {
		t.Fatal("something was written")
	}
	_, err := l.AppendLine(t.Context(), []byte(`{}`))
	wantCode(t, err, "log_mode_invalid")
}
