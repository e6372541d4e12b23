package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
)

// Limits that hold where Options leaves them open.
const (
	DefaultMaxBytes = 1 << 20 // 1 MiB
	DefaultMaxDepth = 64      // arrays and objects around a value, itself included
)

// Codes of the refusals.
const (
	CodeSyntax       = "json_syntax"
	CodeUnknownKey   = "json_unknown_key"
	CodeDuplicateKey = "json_duplicate_key"
	CodeWrongType    = "json_wrong_type"
	CodeTooLarge     = "json_too_large"
	CodeTooDeep      = "json_too_deep"
	CodeInvalidUTF8  = "json_invalid_utf8"
	CodeNUL          = "json_nul"
	CodeTrailing     = "json_trailing"
)

// Options narrow or widen the limits. The zero value is right for files people
// write.
type Options struct {
	Name     string // of the file, printed before line:column; may be empty
	MaxBytes int    // default DefaultMaxBytes
	MaxDepth int    // default DefaultMaxDepth
	// NoNull refuses null for slices, maps and pointers too. Without it null is
	// refused only where the Go type cannot hold nil. Inside any and
	// json.RawMessage null is always a value like any other.
	NoNull bool
}

// Fault is where and why a document was refused; errors.AsType finds it in the
// chain of every error of this package.
type Fault struct {
	Line   int    // from 1
	Column int    // from 1, in characters
	Offset int    // in bytes, from 0
	Path   string // "$.approvals[0].approver"
	Why    string
}

// Error prints "line:column: why".
func (f *Fault) Error() string { return fmt.Sprintf("%d:%d: %s", f.Line, f.Column, f.Why) }

// Unmarshal decodes data into v, a non-nil pointer, as encoding/json would, but
// only after it has checked the whole document against v's type. On error v is
// untouched unless a custom UnmarshalJSON contradicts itself.
//
// Struct fields are matched by their exact name. Types with UnmarshalJSON or
// UnmarshalText judge their own value (its structure is checked first); what
// stands in json.RawMessage or any is checked for structure only. A Go array
// must be met by exactly as many elements.
func Unmarshal(data []byte, v any, opts Options) error {
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() {
		return gov.Errorf(gov.KindInternal, "internal", "strict.Unmarshal needs a non-nil pointer, not %T", v)
	}
	s, err := scan(data, t.Elem(), opts)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		off := 0
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			off = int(te.Offset)
		}
		return s.fail(CodeWrongType, off, "the value does not fit its field")
	}
	return nil
}

// Check judges structure only: syntax, UTF-8, U+0000, surrogates, duplicate
// keys, number range, depth and size.
func Check(data []byte, opts Options) error {
	_, err := scan(data, nil, opts)
	return err
}

func scan(data []byte, t reflect.Type, opts Options) (*scanner, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	if opts.MaxDepth <= 0 {
		opts.MaxDepth = DefaultMaxDepth
	}
	s := &scanner{data: data, opts: opts}
	if len(data) > opts.MaxBytes {
		return s, s.fail(CodeTooLarge, 0, "the document has %d bytes, more than the %d allowed", len(data), opts.MaxBytes)
	}
	return s, s.document(t)
}

// fail builds the error for the byte at off.
func (s *scanner) fail(code string, off int, format string, args ...any) *gov.Error {
	f := &Fault{Offset: off, Path: s.pathString(), Why: fmt.Sprintf(format, args...)}
	f.Line, f.Column = position(s.data, off)
	prefix := ""
	if s.opts.Name != "" {
		prefix = s.opts.Name + ":"
	}
	return &gov.Error{
		Kind: gov.KindInvalid, Code: code, Op: "read JSON",
		Message: fmt.Sprintf("%s%d:%d: %s (at %s)", prefix, f.Line, f.Column, f.Why, f.Path),
		Err:     f,
	}
}

// position turns a byte offset into line and column, both from 1.
func position(data []byte, off int) (line, column int) {
	off = min(off, len(data))
	line, start := 1, 0
	for i, b := range data[:off] {
		if b == '\n' {
			line, start = line+1, i+1
		}
	}
	return line, utf8.RuneCount(data[start:off]) + 1
}
