package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// stub is the digest form as the specification of redaction says it, computed
// from the value's compact JSON text.
func stub(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf(`{"$digest":"sha256:%s","$size":%d}`, hex.EncodeToString(sum[:]), len(text))
}

func TestRedact(t *testing.T) {
	const given = `{"name":"Ada","a/b":1,"m~n":2,"list":[{"email":"x@y"},{"email":"z@y"},3],"0":"zero","*":"star","-":9,"~1":"t","/":"s"}`
	for name, tt := range map[string]struct {
		pointers []string
		want     string
	}{
		"none":            {nil, given},
		"not there":       {[]string{"/section_spec/nobody", "/section_spec/name/deeper"}, given},
		"member":          {[]string{"/section_spec/name"}, strings.Replace(given, `"Ada"`, stub(`"Ada"`), 1)},
		"slash":           {[]string{"/section_spec/a~1b"}, strings.Replace(given, `"a/b":1`, `"a/b":`+stub(`1`), 1)},
		"tilde":           {[]string{"/section_spec/m~0n"}, strings.Replace(given, `"m~n":2`, `"m~n":`+stub(`2`), 1)},
		"tilde one":       {[]string{"/section_spec/~01"}, strings.Replace(given, `"~1":"t"`, `"~1":`+stub(`"t"`), 1)},
		"slash alone":     {[]string{"/section_spec/~1"}, strings.Replace(given, `"/":"s"`, `"/":`+stub(`"s"`), 1)},
		"element":         {[]string{"/section_spec/list/1"}, strings.Replace(given, `{"email":"z@y"}`, stub(`{"email":"z@y"}`), 1)},
		"inside element":  {[]string{"/section_spec/list/0/email"}, strings.Replace(given, `"x@y"`, stub(`"x@y"`), 1)},
		"leading zero":    {[]string{"/section_spec/list/01"}, given},
		"index as key":    {[]string{"/section_spec/0"}, strings.Replace(given, `"zero"`, stub(`"zero"`), 1)},
		"behind the end":  {[]string{"/section_spec/list/-", "/section_spec/list/3"}, given},
		"minus as key":    {[]string{"/section_spec/-"}, strings.Replace(given, `"-":9`, `"-":`+stub(`9`), 1)},
		"every element":   {[]string{"/section_spec/list/*/email"}, strings.NewReplacer(`"x@y"`, stub(`"x@y"`), `"z@y"`, stub(`"z@y"`)).Replace(given)},
		"part then whole": {[]string{"/section_spec/list/0/email", "/section_spec/list"}, strings.Replace(given, `[{"email":"x@y"},{"email":"z@y"},3]`, stub(`[{"email":"x@y"},{"email":"z@y"},3]`), 1)},
		"all of it":       {[]string{"/section_spec"}, stub(given)},
		"twice":           {[]string{"/section_spec/name", "/section_spec/name"}, strings.Replace(given, `"Ada"`, stub(`"Ada"`), 1)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := openTest(t, Config{Dir: dir, Redact: tt.pointers})
			r := sample()
			r.SectionSpec = json.RawMessage(strings.ReplaceAll(given, `:`, ` : `)) // whitespace is not digested
			r.Metadata = json.RawMessage(given)
			if _, err := l.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer(`{"name":"Intro","bars":32}`, tt.want, `"metadata":{}`, `"metadata":`+given).Replace(specLine)
			if diff := cmp.Diff([]string{want}, lines(t, dir)); diff != "" {
				t.Error(diff)
			}
			for i, p := range tt.pointers { // the same in metadata
				tt.pointers[i] = strings.Replace(p, "/section_spec", "/metadata", 1)
			}
			l, m := memoryLog(t, Config{Redact: tt.pointers})
			if _, err := l.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			want = strings.NewReplacer(`{"name":"Intro","bars":32}`, given, `"metadata":{}`, `"metadata":`+tt.want).Replace(specLine)
			if diff := cmp.Diff(want, string(m.kept[0])); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRedactKeyHidesGuessableValues(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openTest(t, Config{Dir: dir, Redact: []string{"/section_spec/name"}, RedactKey: []byte("k")})
	if _, err := l.Append(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("k"))
	mac.Write([]byte(`"Intro"`))
	want := `"name":{"$digest":"hmac-sha256:` + hex.EncodeToString(mac.Sum(nil)) + `","$size":7}`
	if line := lines(t, dir)[0]; !strings.Contains(line, want) {
		t.Errorf("%s lacks %s", line, want)
	}
}

// oracleRedact works on encoding/json values: a second way to say the same.
func oracleRedact(v any, path []string, tokens []string) any {
	if len(tokens) == 0 {
		return "REDACTED"
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = x
			if tokens[0] == "*" || tokens[0] == k {
				out[k] = oracleRedact(x, append(path, k), tokens[1:])
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = x
			if tokens[0] == "*" || tokens[0] == strconv.Itoa(i) {
				out[i] = oracleRedact(x, append(path, strconv.Itoa(i)), tokens[1:])
			}
		}
		return out
	}
	return v
}

// unstub turns the digest form back into the oracle's mark.
func unstub(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["$digest"]; ok {
			return "REDACTED"
		}
		out := map[string]any{}
		for k, x := range v {
			out[k] = unstub(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = unstub(x)
		}
		return out
	}
	return v
}

// memory is an appender that keeps lines.
type memory struct{ kept [][]byte }

func (m *memory) AppendLine(_ context.Context, line []byte) (uint64, error) {
	m.kept = append(m.kept, bytes.Clone(line))
	return uint64(len(m.kept) - 1), nil
}

func memoryLog(t rapid.TB, c Config) (*Log, *memory) {
	r, err := newRedactor(c.Redact, c.RedactKey)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	return &Log{out: m, redactor: r, oversize: c.Oversize, lost: c.AllowLoss, now: c.Now}, m
}

func TestRedactProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := genObject().Draw(t, "spec")
		var pointers []string
		var paths [][]string
		for range rapid.IntRange(1, 3).Draw(t, "pointers") {
			path := []string{}
			var at any = spec
			for range rapid.IntRange(0, 4).Draw(t, "depth") {
				token := drawToken(t, at)
				path = append(path, token)
				at = descend(at, token)
			}
			paths = append(paths, path)
			escaped := "/section_spec"
			for _, token := range path {
				escaped += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
			}
			pointers = append(pointers, escaped)
		}
		l, m := memoryLog(t, Config{Redact: pointers})
		r := sample()
		r.SectionSpec = mustJSON(t, spec)
		if _, err := l.Append(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		var line struct {
			Spec any `json:"section_spec"`
		}
		if err := json.Unmarshal(m.kept[0], &line); err != nil {
			t.Fatal(err)
		}
		sort.SliceStable(paths, func(i, j int) bool { return len(paths[i]) < len(paths[j]) })
		var want any = spec
		for _, path := range paths {
			want = oracleRedact(want, nil, path)
		}
		if diff := cmp.Diff(want, unstub(line.Spec)); diff != "" {
			t.Fatalf("%v\n%s", pointers, diff)
		}
	})
}

func drawToken(t *rapid.T, at any) string {
	choices := []string{"*", "nobody", "0"}
	switch at := at.(type) {
	case map[string]any:
		for k := range at {
			choices = append(choices, k)
		}
	case []any:
		for i := range at {
			choices = append(choices, strconv.Itoa(i))
		}
	}
	sort.Strings(choices)
	return rapid.SampledFrom(choices).Draw(t, "token")
}

func descend(at any, token string) any {
	switch v := at.(type) {
	case map[string]any:
		return v[token]
	case []any:
		if i, err := strconv.Atoi(token); err == nil && i < len(v) {
			return v[i]
		}
		if len(v) > 0 {
			return v[0]
		}
	}
	return nil
}

func TestOversize(t *testing.T) {
	big := `"` + strings.Repeat("x", 40000) + `"`
	huge := `{"all":"` + strings.Repeat("y", 3*MaxLine) + `"}`
	many := "{"
	for i := range 9000 {
		many += fmt.Sprintf(`"key%04d":%d,`, i, i)
	}
	many = strings.TrimSuffix(many, ",") + "}"
	for name, tt := range map[string]struct {
		spec, metadata         string
		wantSpec, wantMetadata string
	}{
		"the larger goes first": {`{"a":` + big + `}`, `{"s":1,"b":` + big + `}`, stub(`{"a":` + big + `}`), `{"s":1,"b":` + big + `}`},
		"only what is needed":   {`{"a":1}`, `{"s":1,"b":` + big + `,"c":` + big + `}`, `{"a":1}`, `{"s":1,"b":` + stub(big) + `,"c":` + big + `}`},
		"huge spec":             {huge, `{"s":1}`, stub(huge), `{"s":1}`},
		"many small values":     {`{"a":1}`, many, `{"a":1}`, stub(many)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := openTest(t, Config{Dir: dir})
			r := sample()
			r.SectionSpec, r.Metadata = json.RawMessage(tt.spec), json.RawMessage(tt.metadata)
			if _, err := l.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer(`{"name":"Intro","bars":32}`, tt.wantSpec, `"metadata":{}`, `"metadata":`+tt.wantMetadata).Replace(specLine)
			if line := lines(t, dir)[0]; line != want {
				t.Errorf("%d bytes: %.300s\nwant %d bytes: %.300s", len(line), line, len(want), want)
			}
			l2, m := memoryLog(t, Config{Oversize: OversizeRefuse})
			if _, err := l2.Append(t.Context(), r); ErrorCode(err) != "audit_record_too_large" || len(m.kept) != 0 {
				t.Errorf("refuse: %v, %d lines", err, len(m.kept))
			}
		})
	}
	t.Run("nothing helps", func(t *testing.T) {
		l, m := memoryLog(t, Config{})
		r := sample()
		for range 4000 {
			r.ModulesLoaded = append(r.ModulesLoaded, r.ModulesLoaded[0])
		}
		if _, err := l.Append(t.Context(), r); ErrorCode(err) != "audit_record_too_large" || len(m.kept) != 0 {
			t.Errorf("%v, %d lines", err, len(m.kept))
		}
	})
	t.Run("exactly full", func(t *testing.T) {
		l, m := memoryLog(t, Config{})
		r := sample()
		r.Metadata = json.RawMessage(`{"p":"` + strings.Repeat("z", MaxLine-len(specLine)-6) + `"}`)
		if _, err := l.Append(t.Context(), r); err != nil || len(m.kept[0]) != MaxLine || bytes.Contains(m.kept[0], []byte("$digest")) {
			t.Errorf("%v: %d bytes", err, len(m.kept[0]))
		}
	})
}

// Around the limit, byte by byte: the line fits, and every value is there whole
// or as the digest of exactly its text; small ones stay.
func TestOversizeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		free := MaxLine - len(specLine)
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(20000, 40000)), 1, 6).Draw(t, "sizes")
		last := free + rapid.IntRange(-150, 150).Draw(t, "over")
		for _, n := range sizes {
			last -= n + len(`"k00":"",`)
		}
		sizes = append(sizes, max(0, last))
		texts := map[string]string{}
		var members []string
		for i, n := range sizes {
			key := fmt.Sprintf("k%02d", i)
			texts[key] = `"` + strings.Repeat("v", n) + `"`
			members = append(members, `"`+key+`":`+texts[key])
		}
		l, m := memoryLog(t, Config{})
		r := sample()
		r.Metadata = json.RawMessage("{" + strings.Join(members, ",") + "}")
		if _, err := l.Append(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		if len(m.kept[0]) > MaxLine {
			t.Fatalf("%d bytes", len(m.kept[0]))
		}
		var line struct {
			Metadata map[string]json.RawMessage `json:"metadata"`
		}
		if err := json.Unmarshal(m.kept[0], &line); err != nil || len(line.Metadata) != len(texts) {
			t.Fatalf("%d values of %d, %v", len(line.Metadata), len(texts), err)
		}
		for key, text := range texts {
			got := string(line.Metadata[key])
			if got != text && (got != stub(text) || len(text) < len(got)) {
				t.Fatalf("%s of %d bytes became %.200s", key, len(text), got)
			}
		}
	})
}

func TestObjectOrDigest(t *testing.T) {
	for in, want := range map[string]string{
		` {"a" : [1, 2]} `: `{"a":[1,2]}`,
		`[1]`:              stub(`[1]`),
		`{"a":1,"a":2}`:    stub(`{"a":1,"a":2}`),
		"\xff":             stub("\xff"),
		``:                 stub(``),
	} {
		got, err := ObjectOrDigest([]byte(in))
		if string(got) != want || (err == nil) != (want[:4] == `{"a"`) {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}
