package strict

import (
	"bytes"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks a document once, from the left, and stops at the first thing
// that is wrong.
type scanner struct {
	data []byte
	pos  int
	opts Options
	path []step
	keys [][]byte // keys of all open objects, innermost last
}

// step is one part of a JSON path: a key, or an index when key is nil.
type step struct {
	key   []byte
	index int
}

func (s *scanner) document(t reflect.Type) error {
	if bytes.HasPrefix(s.data, []byte("\xef\xbb\xbf")) {
		return s.fail(CodeSyntax, 0, "the document starts with a byte order mark").WithHint("save the file as UTF-8 without BOM")
	}
	if err := s.value(t, 0); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) {
		if s.data[s.pos] == 0 {
			return s.fail(CodeNUL, s.pos, "the character U+0000 is not allowed")
		}
		return s.fail(CodeTrailing, s.pos, "there is something after the end of the value")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// peek skips white space and gives the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos == len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

// kind names the type of the value that starts with c.
func kind(c byte) string {
	switch {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	}
	return ""
}

// unexpected reports the byte where no value or punctuation of its kind may be.
func (s *scanner) unexpected(want string) error {
	if s.pos >= len(s.data) {
		return s.fail(CodeSyntax, len(s.data), "the document ends where %s should be", want)
	}
	switch c, size := utf8.DecodeRune(s.data[s.pos:]); {
	case c == 0:
		return s.fail(CodeNUL, s.pos, "the character U+0000 is not allowed")
	case c == utf8.RuneError && size == 1:
		return s.fail(CodeInvalidUTF8, s.pos, "a byte that is not UTF-8")
	default:
		return s.fail(CodeSyntax, s.pos, "%q stands where %s should be", c, want)
	}
}

// any reads one value of whatever type.
func (s *scanner) any(depth int) error {
	switch c := s.peek(); kind(c) {
	case "an object":
		return s.object(depth, func(int, []byte) error { return s.any(depth + 1) })
	case "an array":
		return s.array(depth, func(int) error { return s.any(depth + 1) })
	case "a string":
		_, err := s.str()
		return err
	case "a number":
		_, err := s.number()
		return err
	case "":
		return s.unexpected("a value")
	}
	return s.literal()
}

func (s *scanner) literal() error {
	for _, w := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
			s.pos += len(w)
			return nil
		}
	}
	return s.unexpected("true, false or null")
}

func (s *scanner) deeper(depth int) error {
	if depth >= s.opts.MaxDepth {
		return s.fail(CodeTooDeep, s.pos, "nested deeper than the %d levels allowed", s.opts.MaxDepth)
	}
	return nil
}

// object calls member for each key, with the key's offset, standing before the
// value.
func (s *scanner) object(depth int, member func(off int, key []byte) error) error {
	if err := s.deeper(depth); err != nil {
		return err
	}
	s.pos++
	base := len(s.keys)
	defer func() { s.keys = s.keys[:base] }()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	var seen map[string]bool
	for {
		if s.peek() != '"' {
			return s.unexpected("a key in double quotes")
		}
		off := s.pos
		key, err := s.str()
		if err != nil {
			return err
		}
		if s.duplicate(key, base, &seen) {
			return s.fail(CodeDuplicateKey, off, "the key %s stands here a second time", show(key))
		}
		s.keys = append(s.keys, key)
		if s.peek() != ':' {
			return s.unexpected("a colon")
		}
		s.pos++
		s.path = append(s.path, step{key: key})
		if err := member(off, key); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return s.unexpected("a comma or a closing brace")
		}
	}
}

// duplicate compares key with the keys of the open object: one by one while
// they are few, by a map after that, so that hostile objects stay linear.
func (s *scanner) duplicate(key []byte, base int, seen *map[string]bool) bool {
	open := s.keys[base:]
	if len(open) < 16 {
		for _, k := range open {
			if bytes.Equal(k, key) {
				return true
			}
		}
		return false
	}
	if *seen == nil {
		*seen = make(map[string]bool, 2*len(open))
		for _, k := range open {
			(*seen)[string(k)] = true
		}
	}
	if (*seen)[string(key)] {
		return true
	}
	(*seen)[string(key)] = true
	return false
}

// array calls element for each index, standing before the value.
func (s *scanner) array(depth int, element func(i int) error) error {
	if err := s.deeper(depth); err != nil {
		return err
	}
	s.pos++
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for i := 0; ; i++ {
		s.path = append(s.path, step{index: i})
		if err := element(i); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return s.unexpected("a comma or a closing bracket")
		}
	}
}

// number reads one number of RFC 8259 that a float64 can hold.
func (s *scanner) number() (string, error) {
	start := s.pos
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if s.digits() == 0 {
		return "", s.unexpected("a digit")
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if s.digits() == 0 {
			return "", s.unexpected("a digit")
		}
	}
	if s.pos < len(s.data) && (s.data[s.pos] == 'e' || s.data[s.pos] == 'E') {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if s.digits() == 0 {
			return "", s.unexpected("a digit")
		}
	}
	text := string(s.data[start:s.pos])
	if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsInf(f, 0) {
		return "", s.fail(CodeWrongType, start, "the number is out of range")
	}
	return text, nil
}

func (s *scanner) digits() int {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

// str reads one string and gives its decoded bytes: a piece of the document
// when nothing was escaped.
func (s *scanner) str() ([]byte, error) {
	s.pos++
	start := s.pos
	var out []byte // set from the first escape on
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			text := s.data[start:s.pos]
			s.pos++
			if out != nil {
				return out, nil
			}
			return text, nil
		case c == '\\':
			if out == nil {
				out = append(make([]byte, 0, s.pos-start+16), s.data[start:s.pos]...)
			}
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
			continue
		case c == 0:
			return nil, s.fail(CodeNUL, s.pos, "the character U+0000 is not allowed")
		case c < 0x20:
			return nil, s.fail(CodeSyntax, s.pos, "a control character stands unescaped in a string")
		}
		r, size := utf8.DecodeRune(s.data[s.pos:])
		if r == utf8.RuneError && size == 1 {
			return nil, s.fail(CodeInvalidUTF8, s.pos, "a byte that is not UTF-8")
		}
		if out != nil {
			out = append(out, s.data[s.pos:s.pos+size]...)
		}
		s.pos += size
	}
	return nil, s.fail(CodeSyntax, start-1, "this string does not end")
}

const (
	escapes = `"\/bfnrt`
	escaped = "\"\\/\b\f\n\r\t"
)

// escape reads one escape sequence, both halves of a surrogate pair at once.
func (s *scanner) escape() (rune, error) {
	off := s.pos
	s.pos++
	if s.pos == len(s.data) {
		return 0, s.unexpected("the rest of an escape sequence")
	}
	c := s.data[s.pos]
	if i := strings.IndexByte(escapes, c); i >= 0 {
		s.pos++
		return rune(escaped[i]), nil
	}
	if c != 'u' {
		return 0, s.unexpected("an escape sequence of JSON")
	}
	s.pos++
	r, err := s.hex4()
	if err != nil {
		return 0, err
	}
	if r == 0 {
		return 0, s.fail(CodeNUL, off, "the character U+0000 is not allowed")
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if bytes.HasPrefix(s.data[s.pos:], []byte(`\u`)) {
		s.pos += 2
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, s.fail(CodeInvalidUTF8, off, "half of a surrogate pair is no character")
}

func (s *scanner) hex4() (rune, error) {
	var r rune
	for range 4 {
		if s.pos == len(s.data) {
			return 0, s.unexpected("a hexadecimal digit")
		}
		i := strings.IndexByte("0123456789abcdef", s.data[s.pos]|0x20)
		if i < 0 || s.data[s.pos] < '0' { // |0x20 also lifts 0x10–0x19 to digits
			return 0, s.unexpected("a hexadecimal digit")
		}
		r = r<<4 | rune(i)
		s.pos++
	}
	return r, nil
}

// show quotes a key of the document for a message, shortened.
func show(key []byte) string {
	const limit = 60
	if len(key) > limit {
		cut := limit
		for cut > 0 && !utf8.RuneStart(key[cut]) {
			cut--
		}
		return strconv.Quote(string(key[:cut])) + "…"
	}
	return strconv.Quote(string(key))
}

// pathString prints the way to the value in hand: $.a[0]["odd key"].
func (s *scanner) pathString() string {
	var b strings.Builder
	b.WriteByte('$')
	for i, p := range s.path {
		if i == 8 && len(s.path) > 16 {
			b.WriteString("…")
		}
		if i >= 8 && i < len(s.path)-8 {
			continue
		}
		switch {
		case p.key == nil:
			b.WriteString("[" + strconv.Itoa(p.index) + "]")
		case plain(p.key):
			b.WriteString("." + string(p.key))
		default:
			b.WriteString("[" + show(p.key) + "]")
		}
	}
	return b.String()
}

func plain(key []byte) bool {
	for _, c := range key {
		if c != '_' && c != '$' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(key) > 0 && len(key) <= 60
}
