package strict

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

var (
	rawType    = reflect.TypeFor[json.RawMessage]()
	numberType = reflect.TypeFor[json.Number]()
	jsonSelf   = reflect.TypeFor[json.Unmarshaler]()
	textSelf   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value reads one value that must fit t; a nil t takes anything.
func (s *scanner) value(t reflect.Type, depth int) error {
	if t == nil || t == rawType || t.Kind() == reflect.Interface && t.NumMethod() == 0 {
		return s.any(depth)
	}
	c := s.peek()
	if kind(c) == "" {
		return s.unexpected("a value")
	}
	if c == 'n' {
		return s.null(t)
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(jsonSelf) {
		return s.custom(t, depth)
	}
	if reflect.PointerTo(t).Implements(textSelf) {
		return s.text(t)
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.structure(t, depth)
	case reflect.Map:
		return s.dictionary(t, depth)
	case reflect.Slice, reflect.Array:
		return s.list(t, depth)
	}
	return s.scalar(t, c)
}

// null accepts null where t can hold nil.
func (s *scanner) null(t reflect.Type) error {
	off := s.pos
	if err := s.literal(); err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if !s.opts.NoNull {
			return nil
		}
	}
	return s.fail(CodeWrongType, off, "null stands where %s should be", wanted(t))
}

// wanted names in words what t takes.
func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == numberType:
		return "a number"
	case t.PkgPath() == "time" && t.Name() == "Time":
		return "a time (RFC 3339, as 2025-01-08T10:00:00Z)"
	case reflect.PointerTo(t).Implements(jsonSelf):
		return "a " + strings.ToLower(t.Name())
	case reflect.PointerTo(t).Implements(textSelf):
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer that is not negative"
	case reflect.Slice, reflect.Array:
		if isBytes(t) {
			return "a string in base64"
		}
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "nothing"
}

func (s *scanner) wrong(t reflect.Type, off int) error {
	return s.fail(CodeWrongType, off, "%s stands where %s should be", kind(s.data[off]), wanted(t))
}

// custom lets a type with UnmarshalJSON judge its own value.
func (s *scanner) custom(t reflect.Type, depth int) error {
	off := s.pos
	if err := s.any(depth); err != nil {
		return err
	}
	if err := json.Unmarshal(s.data[off:s.pos], reflect.New(t).Interface()); err != nil {
		return s.fail(CodeWrongType, off, "this value is not %s", wanted(t))
	}
	return nil
}

// text lets a type with UnmarshalText judge its own string.
func (s *scanner) text(t reflect.Type) error {
	off := s.pos
	if s.data[off] != '"' {
		return s.wrong(t, off)
	}
	str, err := s.str()
	if err != nil {
		return err
	}
	if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText(str); err != nil {
		return s.fail(CodeWrongType, off, "this string is not what its field takes")
	}
	return nil
}

func (s *scanner) structure(t reflect.Type, depth int) error {
	if s.data[s.pos] != '{' {
		return s.wrong(t, s.pos)
	}
	known := fieldsOf(t)
	return s.object(depth, func(off int, key []byte) error {
		f, ok := known.byName[string(key)]
		if !ok {
			s.path = s.path[:len(s.path)-1]
			return s.unknown(off, key, known.names)
		}
		if f.quoted {
			return s.any(depth + 1)
		}
		return s.value(f.typ, depth+1)
	})
}

func (s *scanner) unknown(off int, key []byte, names []string) error {
	if near := Suggest(string(key), names); near != "" {
		return s.fail(CodeUnknownKey, off, "unknown key %s, did you mean %q?", show(key), near).
			WithHint("write %q instead of %s", near, show(key))
	}
	err := s.fail(CodeUnknownKey, off, "unknown key %s", show(key))
	if len(names) == 0 {
		return err.WithHint("this object takes no keys")
	}
	return err.WithHint("the keys here are %s", strings.Join(names, ", "))
}

func (s *scanner) dictionary(t reflect.Type, depth int) error {
	if s.data[s.pos] != '{' {
		return s.wrong(t, s.pos)
	}
	return s.object(depth, func(off int, key []byte) error {
		if !keyFits(t.Key(), string(key)) {
			return s.fail(CodeWrongType, off, "the key %s is not %s", show(key), wanted(t.Key()))
		}
		return s.value(t.Elem(), depth+1)
	})
}

func keyFits(t reflect.Type, key string) bool {
	if reflect.PointerTo(t).Implements(textSelf) {
		return reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(key)) == nil
	}
	switch t.Kind() {
	case reflect.String:
		return true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		_, err := strconv.ParseInt(key, 10, t.Bits())
		return err == nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		_, err := strconv.ParseUint(key, 10, t.Bits())
		return err == nil
	}
	return false
}

// isBytes tells whether encoding/json reads t from base64.
func isBytes(t reflect.Type) bool {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Uint8 {
		return false
	}
	p := reflect.PointerTo(t.Elem())
	return !p.Implements(jsonSelf) && !p.Implements(textSelf)
}

func (s *scanner) list(t reflect.Type, depth int) error {
	off := s.pos
	if isBytes(t) {
		return s.base64(t)
	}
	if s.data[off] != '[' {
		return s.wrong(t, off)
	}
	n := 0
	err := s.array(depth, func(i int) error {
		n = i + 1
		return s.value(t.Elem(), depth+1)
	})
	if err == nil && t.Kind() == reflect.Array && n != t.Len() {
		return s.fail(CodeWrongType, off, "%d elements stand where %d should be", n, t.Len())
	}
	return err
}

func (s *scanner) base64(t reflect.Type) error {
	off := s.pos
	if s.data[off] != '"' {
		return s.wrong(t, off)
	}
	str, err := s.str()
	if err != nil {
		return err
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(string(str)); err != nil || strings.ContainsAny(string(str), "\r\n") {
		return s.fail(CodeWrongType, off, "this string is not base64")
	}
	return nil
}

// scalar reads a string, number or boolean; c is its first byte.
func (s *scanner) scalar(t reflect.Type, c byte) error {
	off := s.pos
	want := wanted(t)
	switch {
	case want == "nothing":
		return s.wrong(t, off)
	case want == "a string" && c == '"':
		_, err := s.str()
		return err
	case want == "a boolean" && (c == 't' || c == 'f'):
		return s.literal()
	case kind(c) != "a number" || want == "a string" || want == "a boolean":
		return s.wrong(t, off)
	}
	text, err := s.number()
	if err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		_, err = strconv.ParseFloat(text, t.Bits())
	case reflect.String: // json.Number
	default:
		if !keyFits(t, text) {
			return s.fail(CodeWrongType, off, "this number is not %s of %d bits", want, t.Bits())
		}
	}
	if err != nil {
		return s.fail(CodeWrongType, off, "the number is out of range")
	}
	return nil
}
