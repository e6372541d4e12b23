package studio

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/governhq/govern/audit"
)

// SectionSpec is what compose_section is asked for; the contract SectionSpec
// bounds every value. Zero values of Tempo, Key and Mode take the defaults.
type SectionSpec struct {
	Name  string `json:"name"`
	Bars  int    `json:"bars"`
	Seed  int64  `json:"seed"`
	Tempo int    `json:"tempo,omitempty"` // beats a minute, default 120
	Key   string `json:"key,omitempty"`   // "C" … "B" with C#, Eb, F#, Ab, Bb; default "C"
	Mode  string `json:"mode,omitempty"`  // "major" or "minor", the default
}

// keyNames in the order of their pitch classes.
var keyNames = []string{"C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"}

func (s SectionSpec) withDefaults() SectionSpec {
	if s.Tempo == 0 {
		s.Tempo = 120
	}
	if s.Key == "" {
		s.Key = "C"
	}
	if s.Mode == "" {
		s.Mode = "minor"
	}
	return s
}

func (s SectionSpec) tonic() int { return slices.Index(keyNames, s.Key) }

// specInput is what the audit record says about a body: the body itself when it
// is a JSON object, else its digest and size. The error is why.
func specInput(body []byte) (json.RawMessage, *Error) {
	input, err := audit.ObjectOrDigest(body)
	if err == nil {
		return input, nil
	}
	if !utf8.Valid(body) {
		return input, &Error{Status: 400, Code: "body_not_utf8", Message: "the body is not UTF-8", Err: err}
	}
	return input, &Error{
		Status: 400, Code: "body_not_json", Message: "the body is not one JSON object with distinct keys: " + err.Error(),
		Hint: `send {"name":"Intro","bars":32,"seed":12345}`, Err: err,
	}
}

// parseSpec judges a JSON object by the contract and decodes it.
func (b *Bundle) parseSpec(object json.RawMessage) (SectionSpec, *Error) {
	var spec SectionSpec
	if err := b.judge(b.sectionSpec, object, &spec); err != nil {
		return SectionSpec{}, err
	}
	return spec.withDefaults(), nil
}

// judge checks a JSON object against a contract for callers and decodes it.
func (b *Bundle) judge(c *contract, object json.RawMessage, v any) *Error {
	instance, err := decodeAny(object)
	if err != nil {
		return &Error{Status: 400, Code: "body_not_json", Message: "the body is not JSON", Err: err}
	}
	if broken := c.check(instance); broken != "" {
		return &Error{
			Status: 422, Code: "input_contract", Message: "the input does not satisfy " + c.name + ": " + broken,
			Hint: "see components/schemas/" + c.name + " in contracts/openapi.yaml",
		}
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil { // 32.0 is an integer to JSON Schema, not to us
		return &Error{Status: 422, Code: "input_contract", Message: "the input does not satisfy " + c.name + ": write integers without fraction and exponent", Err: err}
	}
	return nil
}

// decodeAny decodes one JSON value, keeping numbers as text.
func decodeAny(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	return v, nil
}
