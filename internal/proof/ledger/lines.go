package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/governhq/govern/internal/gov"
)

// offsetEvery is how many lines share one entry of NAME.offsets.
const offsetEvery = 64

func offsetsPath(dir string, mode Mode) string { return filepath.Join(dir, string(mode)+".offsets") }

// markAt is the offset of line i - i%64, from the file or by reading the log.
func (r *Reader) markAt(i uint64, trust bool) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := i / offsetEvery
	if r.marks == nil && trust {
		if off, ok := r.markFromFile(k); ok {
			return off, nil
		}
	}
	if k >= uint64(len(r.marks)) {
		marks, err := marksOf(r.segs)
		if err != nil {
			return 0, err
		}
		r.marks = marks
	}
	if k >= uint64(len(r.marks)) {
		return 0, gov.Errorf(gov.KindIntegrity, "log_rolled_back", "record %d is not in the file", i).WithHint("govern verify log")
	}
	return r.marks[k], nil
}

func (r *Reader) markFromFile(k uint64) (int64, bool) {
	if r.offsets == nil {
		f, err := r.fs.OpenFile(offsetsPath(r.dir, r.mode), os.O_RDONLY, 0)
		if err != nil {
			return 0, false
		}
		r.offsets = f
	}
	var b [8]byte
	if n, _ := r.offsets.ReadAt(b[:], int64(k)*8); n < len(b) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[:])), true
}

// marksOf counts lines.
func marksOf(segs *segments) (marks []int64, err error) {
	l := newLineReader(segs, 0, 1<<18)
	off := int64(0)
	for i := uint64(0); ; i++ {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return marks, nil
		}
		if err != nil {
			return nil, err
		}
		if i%offsetEvery == 0 {
			marks = append(marks, off)
		}
		off += int64(len(line)) + 1
	}
}

// seek returns a reader whose next line is i. The tree says whether the
// offsets led to the right line; if not they are counted anew.
func (r *Reader) seek(i uint64, size int) (*lineReader, error) {
	for _, trust := range []bool{true, false} {
		off, err := r.markAt(i, trust)
		if err != nil {
			return nil, err
		}
		l := newLineReader(r.segs, off, size)
		if err := r.skipTo(l, i); err == nil {
			return l, nil
		} else if !trust {
			return nil, err
		}
		if err := r.segs.reload(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// skipTo reads from line i - i%64 up to line i, and looks whether the first of
// them is the one in the tree.
func (r *Reader) skipTo(l *lineReader, i uint64) error {
	start := i - i%offsetEvery
	for j := start; j < i; j++ {
		line, err := l.next()
		if err == nil && j == start {
			err = r.expect(j, l.leaf(line))
		}
		if err != nil {
			return endOf(err, j)
		}
	}
	return nil
}

// endOf turns an end of file into the error it is below the size of the log.
func endOf(err error, i uint64) error {
	if errors.Is(err, io.EOF) {
		return gov.Errorf(gov.KindIntegrity, "log_rolled_back", "record %d is not in the file", i).WithHint("govern verify log")
	}
	return err
}

// expect compares a line's hash with the tree.
func (r *Reader) expect(i uint64, h Hash) error {
	var want Hash
	if err := r.readTile(0, i, want[:]); err != nil {
		return err
	}
	if h != want {
		if again, err := r.recount(); err != nil || again {
			if err != nil {
				return err
			}
			return r.expect(i, h)
		}
		return gov.Errorf(gov.KindIntegrity, "log_damaged", "record %d is not the one in the tree", i).WithHint("govern verify log")
	}
	return nil
}

// Line reads one line into new memory and checks it against the tree.
func (r *Reader) Line(i uint64) ([]byte, error) {
	for l, err := range r.lines(context.Background(), i, i+1, 1<<15) {
		return append([]byte(nil), l.Bytes...), err
	}
	return nil, errBeyond(i, r.Size())
}

// Lines walks the records [from, to), each checked against the tree; to 0 means
// Size.
func (r *Reader) Lines(ctx context.Context, from, to uint64) iter.Seq2[Line, error] {
	if to == 0 {
		to = r.Size()
	}
	return r.lines(ctx, from, to, 1<<18)
}

func (r *Reader) lines(ctx context.Context, from, to uint64, buf int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		if size := r.Size(); to > size {
			yield(Line{Index: from}, errBeyond(to-1, size))
			return
		}
		if from >= to {
			return
		}
		l, err := r.seek(from, buf)
		for i := from; i < to; i++ {
			var line []byte
			if err == nil {
				line, err = l.next()
			}
			if err == nil {
				err = r.expect(i, l.leaf(line))
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Line{Index: i}, endOf(err, i))
				return
			}
			if !yield(Line{i, line}, nil) {
				return
			}
		}
	}
}

// Tail walks the complete lines behind Size, which no checkpoint covers yet.
func (r *Reader) Tail(ctx context.Context) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		i := r.Size()
		l := newLineReader(r.segs, 0, 1<<18)
		if i > 0 {
			var err error
			if l, err = r.seek(i-1, 1<<18); err == nil {
				_, err = l.next()
			}
			if err != nil {
				yield(Line{Index: i}, err)
				return
			}
		}
		for ; ; i++ {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				err = CheckLine(line)
			}
			if !yield(Line{i, line}, err) || err != nil {
				return
			}
		}
	}
}
