package change

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// MaxMetadata is the most bytes that a metadata file may have.
const MaxMetadata = 1 << 20

// rfc3339 is the form of a time, which the time package reads more kindly.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`)

// file is change_metadata.json as it stands, with absent told from empty. The
// order of its fields is the order of the keys in print.
type file struct {
	ChangeID     *string         `json:"change_id"`
	Author       *string         `json:"author"`
	Owner        *string         `json:"owner"`
	Timestamp    *string         `json:"timestamp"`
	Rationale    *string         `json:"rationale"`
	Impact       *string         `json:"impact"`
	TestsRun     []string        `json:"tests_run"`
	Artifacts    []string        `json:"artifacts"`
	Approvals    []fileApproval  `json:"approvals"`
	RollbackPlan *string         `json:"rollback_plan"`
	RiskLevel    *string         `json:"risk_level"`
	Type         *string         `json:"type,omitempty"`
	Targets      []string        `json:"targets,omitzero"`
	Strategy     json.RawMessage `json:"canary_strategy,omitzero"`
	Contracts    []string        `json:"contracts,omitzero"`
	Model        *string         `json:"model,omitempty"`
	Agent        *fileAgent      `json:"agent,omitempty"`
}

type fileApproval struct {
	Approver  *string `json:"approver"`
	Timestamp *string `json:"timestamp"`
	Rationale *string `json:"rationale"`
}

type fileAgent struct {
	Name    *string `json:"name"`
	Session *string `json:"session"`
	Sponsor *string `json:"sponsor"`
}

// ParseMetadata reads change_metadata.json strictly. The error is the first of
// MetadataErrors.
func ParseMetadata(data []byte) (Metadata, error) {
	m, errs := read(data)
	if len(errs) > 0 {
		return Metadata{}, errs[0]
	}
	return m, nil
}

// MetadataErrors lists everything that is wrong with change_metadata.json, each
// with line and column, in the order of the file. What cannot be read as JSON
// of this shape at all is one error.
func MetadataErrors(data []byte) []error {
	_, errs := read(data)
	return errs
}

func read(data []byte) (Metadata, []error) {
	var f file
	if err := strict.Unmarshal(data, &f, strict.Options{MaxBytes: MaxMetadata, NoNull: true}); err != nil {
		return Metadata{}, []error{err}
	}
	r := &reader{data: data, at: offsets(data)}
	m := r.metadata(f)
	slices.SortStableFunc(r.errs, func(a, b located) int { return a.off - b.off })
	var errs []error
	for _, e := range r.errs {
		errs = append(errs, e.err)
	}
	return m, errs
}

type located struct {
	off int
	err *gov.Error
}

// reader checks the meaning of what strict has let through.
type reader struct {
	data []byte
	at   map[string]int // JSON path to the offset of its value
	errs []located
}

func (r *reader) metadata(f file) Metadata {
	m := Metadata{
		Author:       r.line("author", f.Author),
		Owner:        r.line("owner", f.Owner),
		Timestamp:    r.time("timestamp", f.Timestamp),
		Rationale:    r.text("rationale", f.Rationale),
		Impact:       r.text("impact", f.Impact),
		RollbackPlan: r.text("rollback_plan", f.RollbackPlan),
		TestsRun:     r.list("tests_run", f.TestsRun, nil),
		Artifacts:    r.list("artifacts", f.Artifacts, r.path),
		Approvals:    r.approvals(f.Approvals),
		Agent:        r.agent(f.Agent),
	}
	if s, ok := r.need("change_id", f.ChangeID); ok {
		id, err := gov.ParseChangeID(s)
		r.because("change_id", err)
		m.ChangeID = id
	}
	if s, ok := r.need("risk_level", f.RiskLevel); ok {
		risk, err := gov.ParseRisk(s)
		r.because("risk_level", err)
		m.RiskLevel = risk
	}
	if f.Type != nil {
		m.Type = *f.Type
		if !slices.Contains(Types, m.Type) {
			r.fail("type", "metadata_type", "type is one of %s", strings.Join(Types, ", "))
		}
	}
	if f.Targets != nil {
		m.Targets = r.list("targets", f.Targets, nil)
	}
	if f.Contracts != nil {
		m.Contracts = r.list("contracts", f.Contracts, func(at, s string) {
			file, _, _ := strings.Cut(s, "#")
			r.path(at, file)
		})
	}
	if f.Model != nil {
		m.Model = r.line("model", f.Model)
	}
	m.CanaryStrategy = r.strategy(f.Strategy)
	return m
}

func (r *reader) fail(at, code, format string, args ...any) {
	off, ok := r.at[at]
	for parent := at; !ok; off, ok = r.at[parent] { // a missing key: where its object starts
		parent = parent[:max(0, strings.LastIndexByte(parent, '.'))]
	}
	line, column := position(r.data, off)
	e := gov.Errorf(gov.KindInvalid, code, format, args...)
	e.Message = strconv.Itoa(line) + ":" + strconv.Itoa(column) + ": " + e.Message
	e.Op, e.Hint = "read "+MetadataFile, "govern explain "+code
	r.errs = append(r.errs, located{off, e})
}

// because reports an error of another package at a place.
func (r *reader) because(at string, err error) {
	if err != nil {
		r.fail(at, gov.CodeOf(err), "%s", err.(*gov.Error).Message)
	}
}

func (r *reader) need(at string, s *string) (string, bool) {
	if s == nil {
		r.fail(at, "metadata_missing_key", "the key %q is missing", at)
		return "", false
	}
	return *s, true
}

// text is free text that must say something.
func (r *reader) text(at string, p *string) string {
	s, ok := r.need(at, p)
	if !ok {
		return ""
	}
	if blank(s) {
		r.fail(at, "metadata_blank", "%q must not be blank", at)
	}
	if strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) && !strings.ContainsRune("\n\r\t", c) }) {
		r.fail(at, "metadata_control", "%q holds a control character", at)
	}
	return s
}

// line is text of one line.
func (r *reader) line(at string, p *string) string {
	s := r.text(at, p)
	if strings.ContainsAny(s, "\n\r\t\u2028\u2029") {
		r.fail(at, "metadata_control", "%q must be one line", at)
	}
	return s
}

func (r *reader) time(at string, p *string) time.Time {
	s, ok := r.need(at, p)
	if !ok {
		return time.Time{}
	}
	var t time.Time
	if err := t.UnmarshalText([]byte(s)); err != nil || !rfc3339.MatchString(s) {
		r.fail(at, "metadata_timestamp", "%q is no RFC 3339 time such as 2025-01-08T10:00:00Z", at)
		return time.Time{}
	}
	if _, offset := t.Zone(); offset != 0 {
		return t.In(time.FixedZone("", offset))
	}
	return t.UTC()
}

// list is an array without blank and repeated entries; each may be checked.
func (r *reader) list(at string, xs []string, check func(at, s string)) []string {
	if xs == nil {
		r.fail(at, "metadata_missing_key", "the key %q is missing; it may be an empty array", at)
		return nil
	}
	for i, x := range xs {
		here := at + "[" + strconv.Itoa(i) + "]"
		r.line(here, &x)
		if slices.Contains(xs[:i], x) {
			r.fail(here, "metadata_duplicate", "%s repeats an entry of %q", here, at)
		}
		if check != nil {
			check(here, x)
		}
	}
	return xs
}

// path is a file of the repository, relative to its root and in clean form.
func (r *reader) path(at, s string) {
	if s == "" || path.IsAbs(s) || path.Clean(s) != s || s == "." || s == ".." || strings.HasPrefix(s, "../") || strings.Contains(s, `\`) {
		r.fail(at, "metadata_path", "%s must be a path below the repository's root, with / and without . or ..", at)
	}
}

func (r *reader) approvals(as []fileApproval) []Approval {
	if as == nil {
		r.fail("approvals", "metadata_missing_key", `the key "approvals" is missing; it may be an empty array`)
		return nil
	}
	out := make([]Approval, 0, len(as))
	for i, a := range as {
		at := "approvals[" + strconv.Itoa(i) + "]"
		got := Approval{
			Approver:  r.line(at+".approver", a.Approver),
			Timestamp: r.time(at+".timestamp", a.Timestamp),
			Rationale: r.text(at+".rationale", a.Rationale),
		}
		if slices.ContainsFunc(out, func(o Approval) bool {
			return o.Approver == got.Approver && o.Rationale == got.Rationale && o.Timestamp.Equal(got.Timestamp)
		}) {
			r.fail(at, "metadata_duplicate", `%s repeats an entry of "approvals"`, at)
		}
		out = append(out, got)
	}
	return out
}

func (r *reader) agent(a *fileAgent) *Agent {
	if a == nil {
		return nil
	}
	out := &Agent{Name: r.line("agent.name", a.Name), Sponsor: r.line("agent.sponsor", a.Sponsor)}
	if s, ok := r.need("agent.session", a.Session); ok && s != "" {
		out.Session = r.line("agent.session", a.Session)
	}
	return out
}

// strategy keeps the object as it is, without white space; package canary reads
// it.
func (r *reader) strategy(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil || !bytes.HasPrefix(b.Bytes(), []byte("{")) {
		r.fail("canary_strategy", "metadata_strategy", `"canary_strategy" must be an object`)
		return nil
	}
	return b.Bytes()
}

// blank tells whether nothing in s can be seen.
func blank(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return unicode.IsGraphic(c) && !unicode.IsSpace(c) && !strings.ContainsRune("\u2800\u3164\u115f\u1160\uffa0", c)
	})
}

// position turns a byte offset into line and column, both from 1.
func position(data []byte, off int) (line, column int) {
	start := bytes.LastIndexByte(data[:off], '\n') + 1
	return bytes.Count(data[:off], []byte("\n")) + 1, utf8.RuneCount(data[start:off]) + 1
}
