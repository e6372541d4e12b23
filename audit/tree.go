package audit

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov/strict"
)

type kind byte

const (
	scalar kind = iota // raw holds its text
	object             // keys and items
	array              // items
)

// node is a JSON value that keeps member order and the text of its scalars, so
// that what is written is what was given.
type node struct {
	kind  kind
	raw   []byte
	keys  []string // decoded
	names [][]byte // as written, with quotes
	items []*node
	stub  bool // a digest that stands for a value
}

// maxGiven bounds a free-form value in memory, before large ones are replaced.
const maxGiven = 16 << 20

// parseObject reads a JSON object that only one reader can understand (see
// gov/strict), and drops insignificant whitespace.
func parseObject(key string, raw []byte) (*node, error) {
	if err := strict.Check(raw, strict.Options{Name: key, MaxBytes: maxGiven}); err != nil {
		return nil, invalid("%s is not a JSON object: %w", key, err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, invalid("%s is not a JSON object: %w", key, err)
	}
	if b.Bytes()[0] != '{' {
		return nil, invalid("%s must be a JSON object", key)
	}
	n, _ := parseTree(b.Bytes())
	return n, nil
}

// parseTree reads the value at the beginning of b, which is well-formed compact
// JSON, and returns what stands behind it.
func parseTree(b []byte) (*node, []byte) {
	switch b[0] {
	case '{', '[':
		return parseItems(b)
	case '"':
		end := stringEnd(b)
		return &node{raw: b[:end]}, b[end:]
	}
	end := bytes.IndexAny(b, ",]}")
	if end < 0 {
		end = len(b)
	}
	return &node{raw: b[:end]}, b[end:]
}

func parseItems(b []byte) (*node, []byte) {
	n := &node{kind: array}
	if b[0] == '{' {
		n.kind = object
	}
	for b = b[1:]; b[0] != '}' && b[0] != ']'; {
		if b[0] == ',' {
			b = b[1:]
		}
		if n.kind == object {
			end := stringEnd(b)
			n.names = append(n.names, b[:end])
			n.keys = append(n.keys, unquote(b[:end]))
			b = b[end+1:]
		}
		var item *node
		item, b = parseTree(b)
		n.items = append(n.items, item)
	}
	return n, b[1:]
}

// stringEnd is the length of the string at the beginning of b, with its quotes.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// append writes the value without insignificant whitespace.
func (n *node) append(b []byte) []byte {
	if n.kind == scalar {
		return append(b, n.raw...)
	}
	open, end := byte('['), byte(']')
	if n.kind == object {
		open, end = '{', '}'
	}
	b = append(b, open)
	for i, item := range n.items {
		if i > 0 {
			b = append(b, ',')
		}
		if n.kind == object {
			b = append(b, n.names[i]...)
			b = append(b, ':')
		}
		b = item.append(b)
	}
	return append(b, end)
}

// unquote decodes a well-formed JSON string.
func unquote(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		panic("audit: a checked string does not decode: " + err.Error())
	}
	return s
}

// cleanText tells whether s may be written as a JSON string.
func cleanText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// appendString writes s, which is cleanText, as a JSON string.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
