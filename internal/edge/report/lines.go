package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds one line; the go command cuts its output far below.
const maxLine = 1 << 20

var errLongLine = errors.New("longer than 1 MiB")

// lineReader gives lines without their ends ("\n" or "\r\n").
type lineReader struct {
	src    *source
	number int  // of the last line, from 1
	cut    bool // the last line had no end
	buf    []byte
}

// next gives io.EOF behind the last line, and errLongLine for a line that it
// passed over because of its length. The bytes are valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	long, some := false, false
	for {
		part, err := l.src.ReadSlice('\n')
		some = some || len(part) > 0
		if long = long || len(l.buf)+len(part) > maxLine; !long {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			if !some {
				return nil, io.EOF
			}
			l.cut = true
		case err != nil:
			return nil, err
		}
		l.number++
		if long {
			return nil, errLongLine
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(l.buf, []byte("\n")), []byte("\r")), nil
	}
}

// explain names the line in the error of next.
func (l *lineReader) explain(err error) error {
	if errors.Is(err, errLongLine) {
		return syntax(l.number, "%s", err)
	}
	return err
}
