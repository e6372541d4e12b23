package report

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Options bound the reading of one report. The zero value takes the defaults.
type Options struct {
	// Format is the name of a format (see Formats), or "" to find it by content.
	Format string
	// MaxBytes bounds the raw input; 0 means 64 MiB.
	MaxBytes int64
	// MaxResults bounds the single results; 0 means 200,000.
	MaxResults int
	// MaxDepth bounds the nesting of JSON and XML; 0 means 128.
	MaxDepth int
}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxResults <= 0 {
		o.MaxResults = 200_000
	}
	if o.MaxDepth <= 0 {
		o.MaxDepth = 128
	}
	return o
}

// Report is one report in normal form. Its Evidence holds every single result,
// sorted by id and then file, each (file, id) once; where a report names one
// test several times the worst of its results stands. Passed, Failed and
// Skipped count exactly these. Use Reduce before signing.
//
// Its JSON is that of the evidence with "format", "name" and "notes" beside it;
// "results" is always a list.
type Report struct {
	gov.Evidence
	Format string   // name of the format
	Name   string   // of the file, as the caller gave it; for people
	Notes  []string // remarks that change nothing: tests named twice, warnings, suppressed findings
}

// MarshalJSON puts the evidence and the rest into one flat object.
func (r Report) MarshalJSON() ([]byte, error) {
	results := r.Results
	if results == nil {
		results = []gov.Result{}
	}
	return json.Marshal(struct {
		Format string `json:"format"`
		Name   string `json:"name,omitempty"`
		gov.Evidence
		Results []gov.Result `json:"results"`
		Notes   []string     `json:"notes,omitempty"`
	}{r.Format, r.Name, r.Evidence, results, r.Notes})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Report) UnmarshalJSON(data []byte) error {
	v := struct {
		Format string `json:"format"`
		Name   string `json:"name"`
		*gov.Evidence
		Notes []string `json:"notes"`
	}{Evidence: &gov.Evidence{}}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if len(v.Results) == 0 {
		v.Results = nil
	}
	*r = Report{Evidence: *v.Evidence, Format: v.Format, Name: v.Name, Notes: v.Notes}
	return nil
}

// Read reads one report to its end. kind is the kind of evidence it is to show
// (see gov.Evidence), or "" for the first kind of its format; a kind that the
// format cannot show is refused. name is for messages only.
func Read(kind, name string, data io.Reader, o Options) (Report, error) {
	const op = "read report"
	o = o.withDefaults()
	src := newSource(data, o.MaxBytes)
	f, err := choose(src, o.Format)
	if err != nil {
		return Report{}, about(src.prefer(err), op, name)
	}
	if kind == "" {
		kind = f.kinds[0]
	}
	if !slices.Contains(f.kinds, kind) {
		return Report{}, about(gov.Errorf(gov.KindInvalid, "report_kind", "a report of the format %s shows %s, not %s", f.name, strings.Join(f.kinds, ", "), strconv.Quote(kind)).
			WithHint("govern evidence add --kind %s", f.kinds[0]), op, name)
	}
	c := newCollector(o)
	if err := f.read(src, c); err != nil {
		return Report{}, about(src.prefer(err), op, name)
	}
	digest, err := src.digest()
	if err != nil {
		return Report{}, about(err, op, name)
	}
	ev := c.evidence()
	ev.Kind, ev.Report = kind, digest
	if f.tests && kind != f.kinds[0] && ev.Passed+ev.Failed == 0 {
		ev.Unread = append(ev.Unread, "nothing was run")
	}
	return Report{Evidence: ev, Format: f.name, Name: name, Notes: c.remarks()}, nil
}

// about names the operation and the file in an error.
func about(err error, op, name string) error {
	e, ok := err.(*gov.Error)
	if !ok {
		e = gov.Errorf(gov.KindInvalid, "report_syntax", "%w", err)
	}
	if name != "" {
		e.Message = shorten(name, 120) + ": " + e.Message
	}
	return e.WithOp(op)
}

// shorten keeps a text printable and at most about n bytes long.
func shorten(s string, n int) string {
	q := strconv.Quote(s)
	q = q[1 : len(q)-1]
	if len(q) <= n {
		return q
	}
	return strings.ToValidUTF8(q[:n], "") + "…"
}
