package ledger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/governhq/govern/internal/gov"
)

// Sizes of a scan. A chunk holds whole lines.
const (
	chunkBytes = 1 << 20
	maxChunks  = 4
)

// chunk is a run of lines in memory. buf[0] is free: leafAt needs a byte before
// each line.
type chunk struct {
	buf   []byte
	n     int   // bytes behind buf[0]
	off   int64 // offset in the log of buf[1]
	ready chan struct{}

	lines  []span
	leaves []Hash
	recs   []Record // governance only
	marked bool     // turnMark occurs
	bad    error    // why the line at badAt is none
	badAt  int64    // offset in the log
}

// span is a line: buf[from:to].
type span struct{ from, to int32 }

func (c *chunk) line(i int) []byte { return c.buf[c.lines[i].from:c.lines[i].to] }

// digest splits, validates and hashes the lines; it stops at the first bad one.
func (c *chunk) digest(mode Mode) {
	c.lines, c.leaves, c.recs = c.lines[:0], c.leaves[:0], c.recs[:0]
	c.bad = nil
	data := c.buf[:c.n+1]
	c.marked = bytes.Contains(data, turnMark)
	for from := 1; from < len(data); {
		n := bytes.IndexByte(data[from:], '\n')
		to := from + n
		line := data[from:to]
		err := CheckLine(line)
		if err == nil && mode == Governance {
			var r Record
			if r, err = ParseRecord(line); err == nil {
				c.recs = append(c.recs, r)
			}
		}
		if err != nil {
			c.bad, c.badAt = err, c.off+int64(from-1)
			return
		}
		c.lines = append(c.lines, span{int32(from), int32(to)})
		c.leaves = append(c.leaves, leafAt(data, from, to))
		from = to + 1
	}
}

// scanEnd says where the valid lines end.
type scanEnd struct {
	off  int64 // behind the last valid line
	bad  error // the complete line at off is none; nil at a clean or unfinished end
	rest int64 // bytes behind off that were seen
}

// errStop ends a scan early without an error.
var errStop = errors.New("stop")

// scan reads complete lines from offset from on: one goroutine reads, others
// validate and hash, visit gets the chunks in order. A chunk is valid until
// visit returns.
func scan(ctx context.Context, src *segments, from int64, mode Mode, visit func(*chunk) error) (scanEnd, error) {
	end, err := src.end()
	if err != nil || from >= end {
		return scanEnd{off: from}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := scanner{
		src: src, mode: mode, off: from, end: end,
		work: make(chan *chunk), order: make(chan *chunk, maxChunks), free: make(chan *chunk, maxChunks),
	}
	size := int(min(chunkBytes, end-from)) + MaxLine + 2
	for range min(maxChunks, (end-from)/chunkBytes+1) {
		s.free <- &chunk{buf: make([]byte, size), ready: make(chan struct{}, 1)}
	}
	for range max(1, min(runtime.GOMAXPROCS(0), cap(s.free))) {
		go func() {
			for c := range s.work {
				c.digest(mode)
				c.ready <- struct{}{}
			}
		}()
	}
	go s.read(ctx)
	at := scanEnd{off: from}
	for c := range s.order {
		<-c.ready
		if err := visit(c); err != nil {
			return at, err
		}
		at.off = c.off + int64(c.n)
		if c.bad != nil {
			return scanEnd{off: c.badAt, bad: c.bad, rest: end - c.badAt}, nil
		}
		s.free <- c
	}
	if s.err == nil {
		s.err = ctx.Err()
	}
	at.rest = s.rest
	if s.tooLong {
		at.bad = gov.Errorf(gov.KindInvalid, "line_too_long", "a line does not end within %d bytes", MaxLine)
	}
	return at, s.err
}

type scanner struct {
	src      *segments
	mode     Mode
	off, end int64 // next byte to read; bytes behind end came later
	work     chan *chunk
	order    chan *chunk
	free     chan *chunk

	// Set before order is closed:
	err     error
	rest    int64
	tooLong bool
}

// read cuts the log into chunks at line ends.
func (s *scanner) read(ctx context.Context) {
	defer close(s.order)
	defer close(s.work)
	var carry []byte // the beginning of a line whose end was not in the last chunk
	for s.off < s.end {
		var c *chunk
		select {
		case c = <-s.free:
		case <-ctx.Done():
			return
		}
		n := copy(c.buf[1:], carry)
		want := min(int64(len(c.buf)-1-n), s.end-s.off)
		m, err := s.src.ReadAt(c.buf[1+n:1+n+int(want)], s.off)
		if err != nil && !errors.Is(err, io.EOF) {
			s.err = ioError("read the log", err)
			return
		}
		if m == 0 {
			break // the file became shorter
		}
		c.off = s.off - int64(n)
		s.off += int64(m)
		n += m
		c.n = bytes.LastIndexByte(c.buf[1:1+n], '\n') + 1
		carry = append(carry[:0], c.buf[1+c.n:1+n]...)
		if len(carry) > MaxLine {
			s.tooLong = true
		}
		select {
		case s.order <- c:
		case <-ctx.Done():
			return
		}
		select {
		case s.work <- c:
		case <-ctx.Done():
			c.ready <- struct{}{}
			return
		}
		if s.tooLong {
			break
		}
	}
	s.rest = int64(len(carry)) + max(0, s.end-s.off)
}

// lineReader reads lines one after the other, for walks that need no hashes of
// everything.
type lineReader struct {
	src  *segments
	off  int64 // of the next byte to read
	buf  []byte
	r, w int
}

func newLineReader(src *segments, off int64, size int) *lineReader {
	return &lineReader{src: src, off: off, buf: make([]byte, size+1), r: 1, w: 1}
}

// next is the next complete line, valid until the call after, or io.EOF. The
// byte before it may be overwritten (leafAt).
func (l *lineReader) next() ([]byte, error) {
	for {
		if n := bytes.IndexByte(l.buf[l.r:l.w], '\n'); n >= 0 {
			line := l.buf[l.r : l.r+n]
			l.r += n + 1
			return line, nil
		}
		if l.w-l.r > MaxLine {
			return nil, gov.Errorf(gov.KindIntegrity, "line_too_long", "a line does not end within %d bytes", MaxLine)
		}
		copy(l.buf[1:], l.buf[l.r:l.w])
		l.r, l.w = 1, 1+l.w-l.r
		if l.w == len(l.buf) {
			l.buf = append(l.buf, make([]byte, len(l.buf))...)
		}
		n, err := l.src.ReadAt(l.buf[l.w:], l.off)
		l.off += int64(n)
		l.w += n
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, ioError("read the log", err)
		}
	}
}

// leaf is the leaf hash of the line that next returned last.
func (l *lineReader) leaf(line []byte) Hash {
	to := l.r - 1
	return leafAt(l.buf, to-len(line), to)
}
