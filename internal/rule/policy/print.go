package policy

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Print writes a policy as a governance.yaml with every key, in the order of the
// type and with a comment for each; Parse reads it back to the same policy.
func Print(p Policy) []byte {
	var b strings.Builder
	b.WriteString("# The rules by which changes to this repository are judged. Keys that are\n" +
		"# left out take the value shown by: govern policy show\n")
	v := reflect.ValueOf(p)
	names, index := fields(v.Type())
	for _, key := range names {
		if c, ok := comments[key]; ok {
			b.WriteString("\n# " + strings.ReplaceAll(c, "\n", "\n# ") + "\n")
		}
		block(&b, 0, key, v.Field(index[key]))
	}
	return []byte(b.String())
}

var comments = map[string]string{
	"version":   "Of this format.",
	"mode":      "enforce, or observe: judge and record everything, refuse nothing.",
	"solo":      "Whether the author may be the owner who approves, for low and medium only.",
	"branches":  "Governed branches (main, release/*); none: the default branch.",
	"people":    "The registry: who signs with which key, in which role.",
	"owners":    "A codeowners file, or rules (path, owners); the last match wins.",
	"changes":   "Where changes are described: <dir>/CHANGE-n/change_metadata.json.",
	"workflows": "The stages of each risk. A higher risk never demands less than the one below.",
	"coverage":  "The least share of covered statements.",
	"presence":  "Where a signature must prove that a person was there (a touched key, a\npasskey): risks, models, agents.",
	"evidence":  "Who may attest what. finding: roles of which one must add a signed finding.",
	"raise":     "Rules that raise a risk, never lower it: when (CEL), risk, because.",
	"require":   "Rules that demand more: when (CEL), roles, checks, because.",
	"canary":    "Thresholds and criteria of a canary that names none.",
	"targets":   "Where changes are deployed.",
	"reviews":   "When break-glass and exact reverts must have been looked at.",
	"rollback":  "After how long a rollout is taken back: for want of a final approval, for want\nof a healthy baseline.",
	"not_applicable": "What need not be shown, when (CEL; always, when left out), and because of what.\n" +
		"Every document says it. The row for governance_only is always there.",
	"agents": "What a change that an agent had a hand in demands besides.",
}

func indent(n int) string { return strings.Repeat("  ", n) }

// block writes one key. Structs and maps stand below it, lists of structs as
// one line each, everything else behind it.
func block(b *strings.Builder, depth int, key string, v reflect.Value) {
	b.WriteString(indent(depth) + word(key) + ":")
	if _, short := flowForm(v); short || plainValue(v) || size(v) == 0 {
		b.WriteString(" " + flow(v) + "\n")
		return
	}
	b.WriteString("\n")
	switch v.Kind() {
	case reflect.Struct:
		names, index := fields(v.Type())
		for _, k := range names {
			f := v.Field(index[k])
			if depth > 0 && f.IsZero() { // inside a map there are no defaults to be overruled
				continue
			}
			block(b, depth+1, k, f)
		}
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			block(b, depth+1, k.String(), v.MapIndex(k))
		}
	case reflect.Slice:
		for i := range v.Len() {
			b.WriteString(indent(depth+1) + "- " + flow(v.Index(i)) + "\n")
		}
	}
}

func size(v reflect.Value) int {
	if k := v.Kind(); k == reflect.Map || k == reflect.Slice {
		return v.Len()
	}
	return 1
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// plainValue tells whether a value fits behind its key: scalars and lists of
// them, and JSON.
func plainValue(v reflect.Value) bool {
	if v.Type() == rawType {
		return true
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Map:
		return false
	case reflect.Slice:
		return plainValue(reflect.New(v.Type().Elem()).Elem())
	}
	return true
}

// flowForm gives the short form of the types that have one.
func flowForm(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case EvidenceRow:
		if len(x.Finding) == 0 {
			return flow(reflect.ValueOf(x.By)), true
		}
	case Signal:
		if x == (Signal{Source: x.Source}) {
			return word(x.Source), true
		}
	case Probe:
		if len(x.Argv) > 0 {
			return flow(reflect.ValueOf(x.Argv)), true
		}
		return quote(x.URL), true
	}
	return "", false
}

// flow writes a value on one line.
func flow(v reflect.Value) string {
	if s, ok := flowForm(v); ok {
		return s
	}
	if v.Type() == rawType {
		return string(v.Interface().(json.RawMessage)) // canonical JSON is YAML
	}
	if tm, ok := v.Interface().(encoding.TextMarshaler); ok {
		s, err := tm.MarshalText()
		if err != nil {
			panic("policy: " + err.Error())
		}
		return word(string(s))
	}
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		names, index := fields(v.Type())
		for _, k := range names {
			if f := v.Field(index[k]); !f.IsZero() {
				parts = append(parts, word(k)+": "+flow(f))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			parts = append(parts, word(k.String())+": "+flow(v.MapIndex(k)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, flow(v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		return word(v.String())
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}

var (
	plainWord = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9_./-]*$`)
	length    = regexp.MustCompile(`^[0-9]+[a-zµ]+$`)
	// Words that some YAML reader takes for something else than a string.
	otherWords = []string{"true", "false", "yes", "no", "on", "off", "null", "y", "n", ".inf", ".nan"}
)

// word writes a string bare where every YAML reader takes it for one.
func word(s string) string {
	if length.MatchString(s) || (plainWord.MatchString(s) && !slices.Contains(otherWords, strings.ToLower(s)) && !strings.HasSuffix(s, "-")) {
		return s
	}
	return quote(s)
}

// quote writes a string as JSON does, which YAML reads alike.
func quote(s string) string { return string(canonical(s)) }
