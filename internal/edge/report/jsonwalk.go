package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/governhq/govern/internal/gov"
)

// walker reads JSON as a stream with exact keys: an object that names a key
// twice is refused, since two readers could understand it differently.
type walker struct {
	dec   *json.Decoder
	depth int
	max   int
}

func newWalker(r io.Reader, depth int) *walker {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	return &walker{dec: dec, max: depth}
}

func (w *walker) token() (json.Token, error) {
	tok, err := w.dec.Token()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, w.wrong("the JSON ends in the middle: is the report cut off?")
	case err != nil:
		return nil, gov.Errorf(gov.KindInvalid, "report_syntax", "byte %d: %w", w.dec.InputOffset(), err)
	}
	switch tok {
	case json.Delim('{'), json.Delim('['):
		if w.depth++; w.depth > w.max {
			return nil, gov.Errorf(gov.KindInvalid, "report_too_deep", "byte %d: nested deeper than %d", w.dec.InputOffset(), w.max)
		}
	case json.Delim('}'), json.Delim(']'):
		w.depth--
	}
	return tok, nil
}

func (w *walker) wrong(format string, args ...any) error {
	return gov.Errorf(gov.KindInvalid, "report_syntax", "byte %d: %s", w.dec.InputOffset(), fmt.Sprintf(format, args...))
}

// object reads an object; each must take the value of its key.
func (w *walker) object(each func(key string) error) error {
	tok, err := w.token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return w.wrong("expected an object")
	}
	seen := map[string]bool{}
	for w.dec.More() {
		tok, err := w.token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return w.wrong("expected a key")
		}
		if seen[key] {
			return w.wrong("the key %q stands twice in one object", shorten(key, 60))
		}
		seen[key] = true
		if err := each(key); err != nil {
			return err
		}
	}
	_, err = w.token()
	return err
}

// array reads an array; each must take one element. It tells whether there was
// one: null is none.
func (w *walker) array(each func() error) (bool, error) {
	tok, err := w.token()
	if err != nil || tok == nil {
		return false, err
	}
	if tok != json.Delim('[') {
		return false, w.wrong("expected an array")
	}
	for w.dec.More() {
		if err := each(); err != nil {
			return true, err
		}
	}
	_, err = w.token()
	return true, err
}

// text reads a string; null is "".
func (w *walker) text(to *string) error {
	tok, err := w.token()
	if err != nil {
		return err
	}
	s, ok := tok.(string)
	if !ok && tok != nil {
		return w.wrong("expected a string")
	}
	*to = s
	return nil
}

// integer reads a whole number.
func (w *walker) integer(to *int) error {
	tok, err := w.token()
	if err != nil {
		return err
	}
	n, ok := tok.(json.Number)
	if !ok {
		return w.wrong("expected a number")
	}
	i, err := n.Int64()
	if err != nil || int64(int(i)) != i {
		return w.wrong("expected a whole number")
	}
	*to = int(i)
	return nil
}

// boolean reads true or false.
func (w *walker) boolean(to *bool) error {
	tok, err := w.token()
	if err != nil {
		return err
	}
	b, ok := tok.(bool)
	if !ok {
		return w.wrong("expected true or false")
	}
	*to = b
	return nil
}

// skip passes over one value of any kind.
func (w *walker) skip() error {
	start := w.depth
	for {
		if _, err := w.token(); err != nil {
			return err
		}
		if w.depth <= start {
			return nil
		}
	}
}

// end refuses anything behind the value.
func (w *walker) end() error {
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		return w.wrong("something stands behind the end of the JSON")
	}
	return nil
}
