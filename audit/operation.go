package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Op collects what the record of a running operation will say. It belongs to
// the goroutine of the operation.
type Op struct {
	ModulesLoaded   []Module
	ManifestVersion string
	SeedUsed        int64
	// Recorded, when set, is called with the record's index once it is durable.
	Recorded func(index uint64)

	metadata []member
}

type member struct {
	key   string
	value json.RawMessage
}

// Set puts a value, marshalled by encoding/json, into the record's metadata;
// the second value under a key replaces the first. "error" and "panic" are set
// by Operation itself when the operation fails.
func (o *Op) Set(key string, value any) error {
	raw, err := marshal(value)
	if err != nil {
		return invalid("metadata %q: %w", key, err)
	}
	if !cleanText(key) {
		return invalid("metadata key %q is not UTF-8 text without U+0000", key)
	}
	for i := range o.metadata {
		if o.metadata[i].key == key {
			o.metadata[i].value = raw
			return nil
		}
	}
	o.metadata = append(o.metadata, member{key, raw})
	return nil
}

// Operation runs fn and writes its record: the spec given (a value that
// marshals to a JSON object, or a json.RawMessage), what fn put into its Op,
// the duration, and the result: failure when fn returns an error, panics (the
// panic goes on after the record is durable) or ends its goroutine.
//
// The record is written even when ctx has ended. When the log cannot take it
// the operation fails, also when fn succeeded, unless Config.AllowLoss is set.
// The error of fn is returned as it is; both errors are joined when both fail.
func (l *Log) Operation(ctx context.Context, name string, spec any, fn func(context.Context, *Op) error) (err error) {
	if l.closed.Load() && l.lost == nil {
		return errClosed
	}
	input, err := marshal(spec)
	if err != nil {
		return invalid("section_spec: %w", err)
	}
	if _, err := parseObject("section_spec", input); err != nil {
		return err
	}
	op := &Op{}
	start := l.now()
	record := func(failure error, panicked bool) error {
		op.fail(failure, panicked)
		r := Record{
			Timestamp: start, Operation: name, SectionSpec: input, ModulesLoaded: op.ModulesLoaded,
			ManifestVersion: op.ManifestVersion, SeedUsed: op.SeedUsed, Result: Success,
			DurationMS: max(0, l.now().Sub(start).Milliseconds()), Metadata: op.encode(),
		}
		if failure != nil {
			r.Result = Failure
		}
		index, err := l.Append(context.WithoutCancel(ctx), r)
		if err != nil {
			return l.mayLose(r, err)
		}
		if op.Recorded != nil {
			op.Recorded(index)
		}
		return nil
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		cause := recover()
		if cause == nil {
			_ = record(errors.New("the operation ended its goroutine"), true) // nobody is left to be told
			return
		}
		if lost := record(fmt.Errorf("panic: %v", cause), true); lost != nil {
			cause = fmt.Errorf("%v (and the audit record was lost: %w)", cause, lost)
		}
		panic(cause)
	}()
	failure := fn(ctx, op)
	returned = true
	return join(failure, record(failure, false))
}

// coder is an error with a stable code for programs.
type coder interface{ ErrorCode() string }

// maxMessage bounds an error's text in a record, in bytes.
const maxMessage = 1024

func (o *Op) fail(failure error, panicked bool) {
	if failure == nil {
		return
	}
	text := strings.ToValidUTF8(strings.ReplaceAll(failure.Error(), "\x00", ""), "\uFFFD")
	if len(text) > maxMessage {
		cut := maxMessage
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	entry := struct {
		Code    string `json:"code,omitempty"`
		Message string `json:"message"`
	}{ErrorCode(failure), text}
	var c coder
	if errors.As(failure, &c) {
		entry.Code = c.ErrorCode()
	}
	_ = o.Set("error", entry) // two strings: cannot fail
	if panicked {
		_ = o.Set("panic", true)
	}
}

func (o *Op) encode() json.RawMessage {
	b := []byte{'{'}
	for i, m := range o.metadata {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, m.key)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// marshal is json.Marshal without the escapes meant for HTML; what is already
// JSON stays as it is.
func marshal(v any) (json.RawMessage, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
