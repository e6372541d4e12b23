package ledger

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/governhq/govern/internal/gov"
)

// Bounds of the words in a governance line.
const (
	maxID      = 128
	maxStream  = 200
	maxVersion = 1 << 53 // larger integers are not exact in JSON
)

// Record is a governance line taken apart. Body points into it.
type Record struct {
	ID      string
	Streams []StreamVersion
	Body    []byte
}

// StreamVersion is a stream with its version after a record.
type StreamVersion struct {
	Stream  gov.Stream
	Version uint64
}

// ParseRecord takes a governance line apart, as record_invalid when its fixed
// prefix is not exactly as the package comment says. The body is not read: use
// CheckLine for a line that nobody has checked.
func ParseRecord(line []byte) (Record, error) {
	p := prefixParser{rest: line, ok: true}
	p.eat(`{"id":"`)
	r := Record{ID: p.word(maxID)}
	p.eat(`,"streams":{`)
	for p.ok && !p.has(`}`) {
		if len(r.Streams) > 0 {
			p.eat(`,`)
		}
		p.eat(`"`)
		s := StreamVersion{Stream: gov.Stream(p.word(maxStream))}
		p.eat(`:`)
		s.Version = p.version()
		if n := len(r.Streams); n > 0 && r.Streams[n-1].Stream >= s.Stream {
			p.ok = false
		}
		r.Streams = append(r.Streams, s)
	}
	p.eat(`}`)
	p.eat(`,"record":`)
	if !p.ok || len(p.rest) < 3 || p.rest[0] != '{' || p.rest[len(p.rest)-2] != '}' || p.rest[len(p.rest)-1] != '}' {
		return Record{}, gov.Errorf(gov.KindIntegrity, "record_invalid", "the line does not begin as a governance record does")
	}
	r.Body = p.rest[: len(p.rest)-1 : len(p.rest)-1]
	return r, nil
}

type prefixParser struct {
	rest []byte
	ok   bool
}

func (p *prefixParser) has(s string) bool {
	return len(p.rest) >= len(s) && string(p.rest[:len(s)]) == s
}

func (p *prefixParser) eat(s string) {
	if p.ok = p.ok && p.has(s); p.ok {
		p.rest = p.rest[len(s):]
	}
}

// word reads to behind the closing quote.
func (p *prefixParser) word(most int) string {
	for i := 0; p.ok && i < len(p.rest) && i <= most; i++ {
		if p.rest[i] == '"' {
			s := string(p.rest[:i])
			p.rest = p.rest[i+1:]
			p.ok = i > 0
			return s
		}
		if !wordByte(p.rest[i]) {
			break
		}
	}
	p.ok = false
	return ""
}

func (p *prefixParser) version() (v uint64) {
	n := digits(p.rest, 0)
	if !p.ok || n == 0 || n > 16 || p.rest[0] == '0' {
		p.ok = false
		return 0
	}
	for _, c := range p.rest[:n] {
		v = v*10 + uint64(c-'0')
	}
	p.rest = p.rest[n:]
	p.ok = v <= maxVersion
	return v
}

func wordByte(c byte) bool { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\' }

func isWord(s string, most int) bool {
	for i := range len(s) {
		if !wordByte(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// checkEntry refuses an Entry that could not become a line; it does not look at
// versions.
func checkEntry(e Entry) error {
	if !isWord(e.ID, maxID) {
		return gov.Errorf(gov.KindInvalid, "record_id_invalid", "a record id has 1 to %d bytes of printable ASCII without quote and backslash", maxID)
	}
	for s, n := range e.Adds {
		if !isWord(string(s), maxStream) || n < 1 {
			return gov.Errorf(gov.KindInvalid, "record_stream_invalid", "stream %q with %d events cannot be recorded", s, n)
		}
	}
	if len(e.Body) > MaxLine {
		return gov.Errorf(gov.KindInvalid, "line_too_long", "a record has %d bytes; a line has at most %d", len(e.Body), MaxLine).
			WithHint("name large values by digest")
	}
	return checkObject(e.Body, maxDepth-1)
}

// appendRecord renders a governance line, without the newline.
func appendRecord(b []byte, id string, versions map[gov.Stream]uint64, body []byte) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, id...)
	b = append(b, `","streams":{`...)
	for i, s := range slices.Sorted(maps.Keys(versions)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, s...)
		b = append(b, `":`...)
		b = strconv.AppendUint(b, versions[s], 10)
	}
	b = append(b, `},"record":`...)
	b = append(b, body...)
	return append(b, '}')
}

// EventAdds counts the events of a gov.Record by stream, for
// CheckOptions.Adds. Records without events, such as turns, add nothing.
func EventAdds(body []byte) (map[gov.Stream]int, error) {
	var r struct {
		Events []struct {
			Stream gov.Stream `json:"stream"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, gov.Errorf(gov.KindIntegrity, "record_invalid", "the record's events cannot be read: %w", err)
	}
	adds := map[gov.Stream]int{}
	for _, e := range r.Events {
		adds[e.Stream]++
	}
	return adds, nil
}
