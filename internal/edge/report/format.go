package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Format describes a format for help texts and hints.
type Format struct {
	Name  string   // as Options.Format takes it
	Title string   // for people
	Kinds []string // of evidence that it can show; the first is the default
}

// format is one row of the table of readers: the seam for further ones.
type format struct {
	name  string
	title string
	kinds []string
	tests bool // its results are tests that were run
	// fits tells whether the beginning of a report looks like this format. It
	// may be wrong in the direction of yes: read refuses the rest.
	fits func(h head) bool
	// read reads the whole report into c. A nil error means that everything not
	// in c.unread was understood.
	read func(src *source, c *collector) error
}

var formats = []format{
	{
		name: "go-test", title: "go test -json", tests: true,
		kinds: []string{"tests", "integration", "contracts", "architecture_review"},
		fits:  fitsGoTest, read: readGoTest,
	},
	{
		name: "junit", title: "JUnit XML", tests: true,
		kinds: []string{"tests", "integration", "contracts", "architecture_review", "security_scan"},
		fits:  func(h head) bool { return h.root == "testsuites" || h.root == "testsuite" }, read: readJUnit,
	},
	{
		name: "go-cover", title: "Go cover profile",
		kinds: []string{"coverage"},
		fits:  func(h head) bool { return bytes.HasPrefix(h.text, []byte("mode:")) }, read: readCover,
	},
	{
		name: "sarif", title: "SARIF 2.1.0",
		kinds: []string{"security_scan", "architecture_review"},
		fits:  func(h head) bool { return slices.Contains(h.keys, "runs") }, read: readSARIF,
	},
}

// Formats lists the formats that Read understands.
func Formats() []Format {
	out := make([]Format, 0, len(formats))
	for _, f := range formats {
		out = append(out, Format{Name: f.name, Title: f.title, Kinds: slices.Clone(f.kinds)})
	}
	return out
}

func names(fs []format) string {
	var ns []string
	for _, f := range fs {
		ns = append(ns, f.name)
	}
	return strings.Join(ns, ", ")
}

// head is the beginning of a report, looked at in the ways that tell formats
// apart.
type head struct {
	text []byte   // at most headSize bytes, without leading white space
	root string   // local name of the first XML element, or ""
	keys []string // keys of the first JSON object as far as they can be seen
}

const headSize = 64 << 10

func newHead(text []byte) head {
	h := head{text: bytes.TrimLeft(text, " \t\r\n")}
	switch {
	case bytes.HasPrefix(h.text, []byte("<")):
		d := xml.NewDecoder(bytes.NewReader(h.text))
		d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // its reader refuses others
		for h.root == "" {
			tok, err := d.RawToken()
			if err != nil {
				break
			}
			if e, ok := tok.(xml.StartElement); ok {
				h.root = e.Name.Local
			}
		}
	case bytes.HasPrefix(h.text, []byte("{")):
		w := newWalker(bytes.NewReader(h.text), 128)
		_ = w.object(func(key string) error { // the head may end anywhere
			h.keys = append(h.keys, key)
			return w.skip()
		})
	}
	return h
}

// choose finds the format by the name the caller gave, or by content.
func choose(src *source, name string) (format, error) {
	if name != "" {
		i := slices.IndexFunc(formats, func(f format) bool { return f.name == name })
		if i < 0 {
			return format{}, gov.Errorf(gov.KindInvalid, "report_format", "there is no format %q; known are %s", shorten(name, 40), names(formats)).
				WithHint("govern evidence show FILE --format %s", formats[0].name)
		}
		return formats[i], src.empty()
	}
	if err := src.empty(); err != nil {
		return format{}, err
	}
	h := newHead(src.peek(headSize))
	var fit []format
	for _, f := range formats {
		if f.fits(h) {
			fit = append(fit, f)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return format{}, gov.Errorf(gov.KindInvalid, "report_unknown", "this is no report of a known format (%s)", names(formats)).
			WithHint("govern evidence show FILE --format %s", formats[0].name)
	}
	return format{}, gov.Errorf(gov.KindInvalid, "report_ambiguous", "the content fits several formats: %s", names(fit)).
		WithHint("govern evidence show FILE --format %s", fit[0].name)
}

// fitsGoTest looks for an event among the first lines; the go command may have
// written a few lines of other text before it.
func fitsGoTest(h head) bool {
	for i, line := range bytes.SplitN(h.text, []byte("\n"), 101) {
		var ev struct {
			Action              *string
			Package, ImportPath *string
			Test                *string
		}
		if i < 100 && json.Unmarshal(line, &ev) == nil && ev.Action != nil && (ev.Package != nil || ev.ImportPath != nil || ev.Test != nil) {
			return true
		}
	}
	return false
}
