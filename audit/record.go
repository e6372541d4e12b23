package audit

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// MaxLine is the largest length of an encoded record in bytes, its newline not
// counted.
const MaxLine = 65535

// MaxSeed bounds SeedUsed on both sides: ±(2^53−1), the integers on which all
// JSON readers agree (RFC 8259, section 6).
const MaxSeed = 1<<53 - 1

// The two results of an operation.
const (
	Success = "success"
	Failure = "failure"
)

// Record is one invocation of an operation. Its JSON form has exactly these
// keys in exactly this order (specification, section "Audit Log Format").
type Record struct {
	// Timestamp is when the operation began; written as RFC 3339 in UTC.
	Timestamp time.Time `json:"timestamp"`
	// Operation names what ran: "compose_section" or any other name of 1–128
	// bytes.
	Operation string `json:"operation"`
	// SectionSpec is the operation's input, a JSON object.
	SectionSpec json.RawMessage `json:"section_spec"`
	// ModulesLoaded lists the modules that took part, in load order; nil is
	// written as [].
	ModulesLoaded []Module `json:"modules_loaded"`
	// ManifestVersion is the version of the manifest that named the modules.
	ManifestVersion string `json:"manifest_version"`
	// SeedUsed is the seed of the operation's random numbers, within
	// ±MaxSeed; 0 also when it drew none.
	SeedUsed int64 `json:"seed_used"`
	// Result is Success or Failure.
	Result string `json:"result"`
	// DurationMS is the duration in whole milliseconds, rounded down.
	DurationMS int64 `json:"duration_ms"`
	// Metadata is a JSON object for everything else; nil is written as {}.
	Metadata json.RawMessage `json:"metadata"`
}

// Module is one entry of modules_loaded.
type Module struct {
	Name            string `json:"name"`
	Version         string `json:"version"`
	InterfaceSchema string `json:"interface_schema"`
}

// Encode gives the record's line without its newline: the spec's keys in the
// spec's order, no insignificant whitespace, SectionSpec and Metadata as they
// were given except for whitespace. The error has code audit_record_invalid or
// audit_record_too_large.
func (r Record) Encode() ([]byte, error) {
	spec, metadata, err := r.trees()
	if err != nil {
		return nil, err
	}
	line, err := r.encode(spec, metadata)
	if err != nil {
		return nil, err
	}
	if len(line) > MaxLine {
		return nil, tooLarge(len(line))
	}
	return line, nil
}

// trees reads the two free-form objects.
func (r Record) trees() (spec, metadata *node, err error) {
	if spec, err = parseObject("section_spec", r.SectionSpec); err != nil {
		return nil, nil, err
	}
	raw := r.Metadata
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	if metadata, err = parseObject("metadata", raw); err != nil {
		return nil, nil, err
	}
	return spec, metadata, nil
}

// encode writes the line from the typed fields and the (perhaps redacted)
// trees.
func (r Record) encode(spec, metadata *node) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 512)
	b = append(b, `{"timestamp":"`...)
	b = r.Timestamp.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","operation":`...)
	b = appendString(b, r.Operation)
	b = append(b, `,"section_spec":`...)
	b = spec.append(b)
	b = append(b, `,"modules_loaded":[`...)
	for i, m := range r.ModulesLoaded {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendString(b, m.Name)
		b = append(b, `,"version":`...)
		b = appendString(b, m.Version)
		b = append(b, `,"interface_schema":`...)
		b = appendString(b, m.InterfaceSchema)
		b = append(b, '}')
	}
	b = append(b, `],"manifest_version":`...)
	b = appendString(b, r.ManifestVersion)
	b = append(b, `,"seed_used":`...)
	b = strconv.AppendInt(b, r.SeedUsed, 10)
	b = append(b, `,"result":"`...)
	b = append(b, r.Result...)
	b = append(b, `","duration_ms":`...)
	b = strconv.AppendInt(b, r.DurationMS, 10)
	b = append(b, `,"metadata":`...)
	b = metadata.append(b)
	return append(b, '}'), nil
}

// check refuses field values that the format has no place for.
func (r Record) check() error {
	if y := r.Timestamp.UTC().Year(); r.Timestamp.IsZero() || y < 1 || y > 9999 {
		return invalid("timestamp is missing or outside the years 1 to 9999")
	}
	if r.Operation == "" || len(r.Operation) > 128 {
		return invalid("operation must have 1 to 128 bytes")
	}
	if r.SeedUsed > MaxSeed || r.SeedUsed < -MaxSeed {
		return invalid("seed_used %d is outside ±(2^53−1), where JSON readers disagree; put the seed into metadata as a string", r.SeedUsed)
	}
	if r.Result != Success && r.Result != Failure {
		return invalid("result %q is neither success nor failure", r.Result)
	}
	if r.DurationMS < 0 {
		return invalid("duration_ms is negative")
	}
	texts := []string{r.Operation, r.ManifestVersion}
	for i, m := range r.ModulesLoaded {
		if m.Name == "" || m.Version == "" {
			return invalid("modules_loaded[%d] needs a name and a version", i)
		}
		texts = append(texts, m.Name, m.Version, m.InterfaceSchema)
	}
	for _, s := range texts {
		if !cleanText(s) {
			return invalid("%q is not UTF-8 text without U+0000", s)
		}
	}
	return nil
}

// wireRecord is a record as it is read: a nil field is a missing key.
type wireRecord struct {
	Timestamp       *string         `json:"timestamp"`
	Operation       *string         `json:"operation"`
	SectionSpec     json.RawMessage `json:"section_spec"`
	ModulesLoaded   *[]wireModule   `json:"modules_loaded"`
	ManifestVersion *string         `json:"manifest_version"`
	SeedUsed        *int64          `json:"seed_used"`
	Result          *string         `json:"result"`
	DurationMS      *int64          `json:"duration_ms"`
	Metadata        json.RawMessage `json:"metadata"`
}

type wireModule struct {
	Name            *string `json:"name"`
	Version         *string `json:"version"`
	InterfaceSchema *string `json:"interface_schema"`
}

var rfc3339UTC = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$`)

// ParseRecord reads one record. It refuses unknown, duplicate and missing
// keys, null, wrong types, times that are not RFC 3339 in UTC, invalid UTF-8,
// U+0000 and lone surrogates anywhere; the order of keys is free, whitespace
// too. Records of more than 1 MiB are refused; whether one fits a line of the
// log is judged when it is written.
func ParseRecord(line []byte) (Record, error) {
	var w wireRecord
	if err := strict.Unmarshal(line, &w, strict.Options{NoNull: true}); err != nil {
		return Record{}, err
	}
	if key := w.missing(); key != "" {
		return Record{}, invalid("record: key %q is missing", key)
	}
	r := Record{
		Operation: *w.Operation, ManifestVersion: *w.ManifestVersion, SeedUsed: *w.SeedUsed,
		Result: *w.Result, DurationMS: *w.DurationMS,
		ModulesLoaded: make([]Module, 0, len(*w.ModulesLoaded)),
	}
	for _, m := range *w.ModulesLoaded {
		r.ModulesLoaded = append(r.ModulesLoaded, Module{Name: *m.Name, Version: *m.Version, InterfaceSchema: *m.InterfaceSchema})
	}
	if !rfc3339UTC.MatchString(*w.Timestamp) {
		return Record{}, invalid("timestamp %q is not RFC 3339 in UTC, as 2025-01-08T10:00:00Z", *w.Timestamp)
	}
	var err error
	if r.Timestamp, err = time.Parse(time.RFC3339Nano, *w.Timestamp); err != nil {
		return Record{}, invalid("timestamp %q is no point in time", *w.Timestamp)
	}
	if r.SectionSpec, err = compactObject("section_spec", w.SectionSpec); err != nil {
		return Record{}, err
	}
	if r.Metadata, err = compactObject("metadata", w.Metadata); err != nil {
		return Record{}, err
	}
	return r, r.check()
}

// missing is the first key that was not given, or "".
func (w wireRecord) missing() string {
	present := []struct {
		key string
		ok  bool
	}{
		{"timestamp", w.Timestamp != nil},
		{"operation", w.Operation != nil},
		{"section_spec", w.SectionSpec != nil},
		{"modules_loaded", w.ModulesLoaded != nil},
		{"manifest_version", w.ManifestVersion != nil},
		{"seed_used", w.SeedUsed != nil},
		{"result", w.Result != nil},
		{"duration_ms", w.DurationMS != nil},
		{"metadata", w.Metadata != nil},
	}
	for _, p := range present {
		if !p.ok {
			return p.key
		}
	}
	for i, m := range *w.ModulesLoaded {
		if m.Name == nil || m.Version == nil || m.InterfaceSchema == nil {
			return fmt.Sprintf("modules_loaded[%d] name, version or interface_schema", i)
		}
	}
	return ""
}

func compactObject(key string, raw json.RawMessage) (json.RawMessage, error) {
	n, err := parseObject(key, raw)
	if err != nil {
		return nil, err
	}
	return n.append(nil), nil
}

func invalid(format string, args ...any) error {
	return gov.Errorf(gov.KindInvalid, "audit_record_invalid", format, args...)
}

func tooLarge(n int) error {
	return gov.Errorf(gov.KindInvalid, "audit_record_too_large", "the record has %d bytes, a line holds %d", n, MaxLine).
		WithHint("shorten modules_loaded, or leave large values to Config.Oversize, which replaces them by digest")
}
