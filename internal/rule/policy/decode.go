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
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/governhq/govern/internal/gov/strict"
)

// decoder puts a YAML tree into Go values. Struct fields are found by their
// JSON names, so that the file, the normal form and the log spell a key alike;
// `yaml:"-"` keeps a field out of the file. Structs and maps are merged into
// what is already there, lists replace it.
type decoder struct {
	file string
	at   map[string]pos // where the value of a path stands
}

// nodeDecoder is a type with a shorter form in YAML.
type nodeDecoder interface {
	decodeNode(d *decoder, n ast.Node, path string) error
}

var (
	rawType   = reflect.TypeFor[json.RawMessage]()
	jsonFloat = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	jsonInt   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

func (d *decoder) into(n ast.Node, v any) error {
	return d.value(n, reflect.ValueOf(v).Elem(), "")
}

func (d *decoder) value(n ast.Node, v reflect.Value, path string) error {
	d.at[path] = posOf(n)
	if v.CanAddr() {
		if nd, ok := v.Addr().Interface().(nodeDecoder); ok {
			return nd.decodeNode(d, n, path)
		}
		if tu, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			s, err := d.text(n, path)
			if err != nil {
				return err
			}
			if err := tu.UnmarshalText([]byte(s)); err != nil {
				return d.fail(posOf(n), "policy_type", "%s: %q is not a length of time; write a number and a unit, such as 60m or 24h", path, short(s))
			}
			return nil
		}
	}
	if v.Type() == rawType {
		return d.raw(n, v, path)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.structure(n, v, path)
	case reflect.Map:
		return d.dict(n, v, path)
	case reflect.Slice:
		return d.list(n, v, path)
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if err := d.value(n, fresh.Elem(), path); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	default:
		return d.scalar(n, v, path)
	}
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.String:
		s, err := d.text(n, path)
		v.SetString(s)
		return err
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok && (b.Token.Value == "true" || b.Token.Value == "false") {
			v.SetBool(b.Value)
			return nil
		}
		return d.wrong(n, path, "true or false")
	case reflect.Int:
		if x, ok := n.(*ast.IntegerNode); ok && jsonInt.MatchString(x.Token.Value) {
			if i, err := strconv.ParseInt(x.Token.Value, 10, 32); err == nil {
				v.SetInt(i)
				return nil
			}
		}
		return d.wrong(n, path, "a whole number")
	case reflect.Float64:
		if f, ok := number(n); ok {
			v.SetFloat(f)
			return nil
		}
		return d.wrong(n, path, "a number")
	}
	panic("policy: no YAML form for " + v.Type().String())
}

// number reads what JSON would read as a number.
func number(n ast.Node) (float64, bool) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		s := n.GetToken().Value
		if !jsonFloat.MatchString(s) {
			return 0, false
		}
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	}
	return 0, false
}

func (d *decoder) text(n ast.Node, path string) (string, error) {
	var s string
	switch x := n.(type) {
	case *ast.StringNode:
		s = x.Value
	case *ast.LiteralNode:
		s = x.Value.Value
	default:
		return "", d.wrong(n, path, "a string")
	}
	return s, d.printable(posOf(n), s)
}

// printable refuses control characters that came in by an escape.
func (d *decoder) printable(at pos, s string) error {
	if !utf8.ValidString(s) {
		return d.fail(at, "policy_encoding", "an escape gives what is not UTF-8")
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && unprintable(r) {
			return d.fail(at, "policy_encoding", "an escape gives the control character U+%04X, which has no place in the file", r)
		}
	}
	return nil
}

func unprintable(r rune) bool {
	return r < ' ' || (r >= 0x7f && r <= 0x9f) || r == '\u2028' || r == '\u2029' || r == '\ufeff'
}

// entry is one key of a mapping.
type entry struct {
	key string
	at  pos
	val ast.Node
}

// entries lists a mapping's keys in order; it refuses repeated keys and keys
// that are not strings.
func (d *decoder) entries(n ast.Node, path string) ([]entry, error) {
	var values []*ast.MappingValueNode
	switch x := n.(type) {
	case *ast.MappingNode:
		values = x.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{x}
	default:
		return nil, d.wrong(n, path, "a mapping (key: value)")
	}
	seen := make(map[string]pos, len(values))
	out := make([]entry, 0, len(values))
	for _, v := range values {
		k, ok := v.Key.(*ast.StringNode)
		if !ok {
			return nil, d.fail(posOf(v.Key), "policy_type", "%s: a key is a plain word; put it in quotes if it is meant", name(path))
		}
		at := posOf(k)
		if err := d.printable(at, k.Value); err != nil {
			return nil, err
		}
		if first, dup := seen[k.Value]; dup {
			return nil, d.fail(at, "policy_duplicate_key", "%s: the key %q stands there twice, first at %d:%d", name(path), short(k.Value), first.line, first.col)
		}
		seen[k.Value] = at
		if v.Value == nil || v.Value.Type() == ast.NullType {
			return nil, d.fail(at, "policy_type", "%s has no value; write one, or leave the key out to take the default", join(path, short(k.Value)))
		}
		out = append(out, entry{k.Value, at, v.Value})
	}
	return out, nil
}

func (d *decoder) structure(n ast.Node, v reflect.Value, path string) error {
	es, err := d.entries(n, path)
	if err != nil {
		return err
	}
	names, index := fields(v.Type())
	for _, e := range es {
		i, ok := index[e.key]
		if !ok {
			return d.unknown(e, path, names)
		}
		if err := d.value(e.val, v.Field(i), join(path, e.key)); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) unknown(e entry, path string, names []string) error {
	msg := fmt.Sprintf("unknown key %q in %s", short(e.key), name(path))
	if s := strict.Suggest(e.key, names); s != "" {
		msg += fmt.Sprintf("; did you mean %q?", s)
	} else {
		msg += "; there are " + strings.Join(names, ", ")
	}
	return d.fail(e.at, "policy_unknown_key", "%s", msg)
}

func (d *decoder) dict(n ast.Node, v reflect.Value, path string) error {
	es, err := d.entries(n, path)
	if err != nil {
		return err
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, e := range es {
		fresh := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(e.val, fresh, join(path, e.key)); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(e.key), fresh)
	}
	return nil
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) error {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.wrong(n, path, "a list")
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, x := range seq.Values {
		p := fmt.Sprintf("%s[%d]", path, i)
		if x == nil || x.Type() == ast.NullType {
			return d.fail(posOf(seq), "policy_type", "%s has no value", p)
		}
		if err := d.value(x, out.Index(i), p); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func (d *decoder) raw(n ast.Node, v reflect.Value, path string) error {
	x, err := d.plain(n, path)
	if err != nil {
		return err
	}
	v.SetBytes(canonical(x))
	return nil
}

// plain gives the JSON value of a node: nil, bool, float64, string, []any,
// map[string]any.
func (d *decoder) plain(n ast.Node, path string) (any, error) {
	d.at[path] = posOf(n)
	switch x := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		es, err := d.entries(n, path)
		if err != nil {
			return nil, err
		}
		out := make(map[string]any, len(es))
		for _, e := range es {
			if out[e.key], err = d.plain(e.val, join(path, e.key)); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *ast.SequenceNode:
		out := make([]any, len(x.Values))
		for i, y := range x.Values {
			var err error
			if out[i], err = d.plain(y, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *ast.BoolNode:
		if x.Token.Value == "true" || x.Token.Value == "false" {
			return x.Value, nil
		}
	case *ast.IntegerNode, *ast.FloatNode:
		if f, ok := number(n); ok {
			return f, nil
		}
	case *ast.StringNode, *ast.LiteralNode:
		return d.text(n, path)
	}
	return nil, d.wrong(n, path, "true, false, a number, a string, a list or a mapping")
}

func (d *decoder) wrong(n ast.Node, path, want string) error {
	return d.fail(posOf(n), "policy_type", "%s is %s; it must be %s", name(path), describe(n), want)
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "a string"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + short(n.GetToken().Value)
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.NullNode:
		return "empty"
	}
	return "something else"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// name is a path for a person.
func name(path string) string {
	if path == "" {
		return "the file"
	}
	return short(path)
}

// fields lists the keys of a struct in order, with the index of their field.
func fields(t reflect.Type) ([]string, map[string]int) {
	var names []string
	index := map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || key == "-" || f.Tag.Get("yaml") == "-" {
			continue
		}
		names = append(names, key)
		index[key] = i
	}
	return names, index
}

func (r *EvidenceRow) decodeNode(d *decoder, n ast.Node, path string) error {
	if _, ok := n.(*ast.SequenceNode); ok {
		return d.list(n, reflect.ValueOf(&r.By).Elem(), path)
	}
	return d.structure(n, reflect.ValueOf(r).Elem(), path)
}

func (s *Signal) decodeNode(d *decoder, n ast.Node, path string) error {
	if _, ok := n.(*ast.StringNode); ok {
		var err error
		s.Source, err = d.text(n, path)
		return err
	}
	return d.structure(n, reflect.ValueOf(s).Elem(), path)
}

func (p *Probe) decodeNode(d *decoder, n ast.Node, path string) error {
	switch n.(type) {
	case *ast.SequenceNode:
		return d.list(n, reflect.ValueOf(&p.Argv).Elem(), path)
	case *ast.StringNode:
		s, err := d.text(n, path)
		p.URL = s
		return err
	}
	return d.wrong(n, path, "a list of arguments or a URL")
}

// canonical is compact JSON with sorted keys and without HTML escapes; it is
// RFC 8785 but for U+2028 and U+2029, which stay escaped, and for the order of
// keys beyond U+FFFF, which none of ours has.
func canonical(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("policy: not a JSON value: " + err.Error())
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		panic("policy: our own JSON does not parse: " + err.Error())
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		panic("policy: not a JSON value: " + err.Error())
	}
	return []byte(strings.TrimSuffix(out.String(), "\n"))
}

// has tells whether all of want are in have.
func has(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}
