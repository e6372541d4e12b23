package report

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
)

// source gives the bytes of a report once: bounded, hashed, in valid UTF-8
// without U+0000, and without a byte order mark.
type source struct {
	*bufio.Reader
	check *checked
}

func newSource(r io.Reader, limit int64) *source {
	c := &checked{from: r, left: limit, limit: limit, sum: sha256.New()}
	return &source{Reader: bufio.NewReaderSize(c, headSize+4<<10), check: c}
}

// peek gives up to n bytes without taking them.
func (s *source) peek(n int) []byte {
	b, _ := s.Peek(n) // a short answer is fine; the error comes back when reading
	return b
}

// empty refuses a report that holds nothing but white space at its beginning,
// or cannot be read at all.
func (s *source) empty() error {
	head := s.peek(headSize)
	if len(bytes.TrimSpace(head)) > 0 {
		return nil
	}
	if s.check.err != nil && !errors.Is(s.check.err, io.EOF) {
		return s.check.err
	}
	return gov.Errorf(gov.KindInvalid, "report_empty", "the report is empty; did the tool run?").WithHint("run the tool again, then govern evidence add ID FILE")
}

// prefer gives the reason why the input itself failed, if it did, since a
// parser only sees its end.
func (s *source) prefer(err error) error {
	if s.check.err != nil && !errors.Is(s.check.err, io.EOF) {
		return s.check.err
	}
	return err
}

// digest reads what is left and gives the SHA-256 of all raw bytes.
func (s *source) digest() (gov.Digest, error) {
	if _, err := io.Copy(io.Discard, s.Reader); err != nil {
		return "", s.prefer(err)
	}
	var sum [sha256.Size]byte
	s.check.sum.Sum(sum[:0])
	return gov.DigestSum(sum), nil
}

// checked is the reader below a source.
type checked struct {
	from    io.Reader
	left    int64
	limit   int64
	sum     hash.Hash
	rest    []byte // the cut character at the end of what was read last
	at      int64  // bytes seen
	started bool
	err     error // why reading ended; io.EOF is the good end
}

var byteOrderMark = []byte{0xEF, 0xBB, 0xBF}

// Read gives whole characters only, and as many as p holds: parsers above look
// again at what they have each time they get more, so small pieces would cost
// them quadratic time. p must hold at least a few bytes.
func (c *checked) Read(p []byte) (int, error) {
	for c.err == nil {
		n := copy(p, c.rest)
		c.rest = c.rest[:0]
		m, err := c.fill(p[n:])
		c.sum.Write(p[n : n+m])
		c.at += int64(m)
		if c.left -= int64(m); c.left < 0 {
			c.err = gov.Errorf(gov.KindInvalid, "report_too_large", "the report is longer than %d bytes", c.limit).WithHint("split it, or raise the limit")
			break
		}
		n, cut := c.characters(p[:n+m], err != nil)
		if c.err != nil {
			break
		}
		c.rest = append(c.rest, cut...)
		if err != nil {
			c.err = err
			if !errors.Is(err, io.EOF) {
				c.err = &gov.Error{Kind: gov.KindUnavailable, Code: "report_read", Message: "the report could not be read", Err: err}
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, c.err
}

// fill reads until p is full or reading ends.
func (c *checked) fill(p []byte) (int, error) {
	n, idle := 0, 0
	for n < len(p) {
		m, err := c.from.Read(p[n:])
		if n += m; err != nil {
			return n, err
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle > 100 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// characters checks b and gives how much of it is whole, after moving away a
// byte order mark, and what is left of a character cut at its end.
func (c *checked) characters(b []byte, last bool) (int, []byte) {
	if !c.started && (len(b) >= len(byteOrderMark) || last) {
		c.started = true
		if bytes.HasPrefix(b, []byte{0xFF, 0xFE}) || bytes.HasPrefix(b, []byte{0xFE, 0xFF}) {
			c.err = gov.Errorf(gov.KindInvalid, "report_encoding", "the report is UTF-16, not UTF-8").WithHint("write it as UTF-8; in PowerShell: cmd /c \"go test -json > report.json\"")
			return 0, nil
		}
		if bytes.HasPrefix(b, byteOrderMark) {
			b = b[:copy(b, b[len(byteOrderMark):])]
		}
	}
	if !c.started {
		return 0, bytes.Clone(b)
	}
	end := len(b)
	if !last {
		for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
			if utf8.RuneStart(b[len(b)-back]) {
				if !utf8.FullRune(b[len(b)-back:]) {
					end = len(b) - back
				}
				break
			}
		}
	}
	switch {
	case !utf8.Valid(b[:end]):
		c.err = gov.Errorf(gov.KindInvalid, "report_encoding", "the report is not valid UTF-8 (within the %d bytes before byte %d)", len(b), c.at)
	case bytes.IndexByte(b[:end], 0) >= 0:
		c.err = gov.Errorf(gov.KindInvalid, "report_encoding", "the report holds U+0000 (within the %d bytes before byte %d)", len(b), c.at)
	}
	return end, bytes.Clone(b[end:])
}
