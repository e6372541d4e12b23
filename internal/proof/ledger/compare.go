package ledger

import (
	"bytes"
	"encoding/binary"
	"os"

	"github.com/governhq/govern/internal/gov"
)

// tileCompare holds the hashes and offsets that the lines lead to against the
// derived files, reading along. It says no more than one thing a file.
type tileCompare struct {
	limit  uint64 // records whose hashes must be there
	hashes uint64 // compared
	size   uint64 // records so far
	level  [tileLevels]*along
	marks  *along
	fail   func(code string, index uint64, format string, args ...any)
	short  func(path string) // a file ends before it should
	done   map[*along]bool
}

func newTileCompare(fsys FS, dir string, mode Mode, limit uint64, fail func(string, uint64, string, ...any)) *tileCompare {
	t := &tileCompare{limit: limit, fail: fail, done: map[*along]bool{}}
	for l := range t.level {
		t.level[l] = newAlong(fsys, tilePath(dir, string(mode), l))
	}
	t.marks = newAlong(fsys, offsetsPath(dir, mode))
	return t
}

// genesis is the first leaf hash.
func (t *tileCompare) genesis() gov.Digest {
	var h Hash
	if b := t.level[0].at(0, hashSize); b != nil {
		h = Hash(b)
	}
	return gov.DigestSum(h)
}

// skip begins at a size.
func (t *tileCompare) skip(size uint64) { t.size = size }

// mark compares the offset of a line.
func (t *tileCompare) mark(index uint64, off int64) {
	if index%offsetEvery != 0 || index >= t.limit || t.done[t.marks] {
		return
	}
	b := t.marks.at(int64(index/offsetEvery)*8, 8)
	if b == nil {
		t.done[t.marks] = true
		t.short(t.marks.path)
		return
	}
	if int64(binary.BigEndian.Uint64(b)) != off {
		t.done[t.marks] = true
		t.fail("offset_mismatch", index, "the offset of record %d is wrong; opening the log for writing without the file makes it again", index)
	}
}

// push compares a hash of a tile level; it is the emit of a frontier that is at
// size t.size, before or after the record.
func (t *tileCompare) push(level int, h Hash) {
	if level == 0 {
		t.size++
	}
	a := t.level[level]
	if t.size > t.limit || t.done[a] {
		return
	}
	n := t.size>>(tileHeight*level) - 1
	b := a.at(int64(n)*hashSize, hashSize)
	if b == nil {
		t.done[a] = true
		t.short(a.path)
		return
	}
	t.hashes++
	if !bytes.Equal(b, h[:]) {
		t.done[a] = true
		t.fail("tile_mismatch", t.size-1, "tree hash %d of level %d is not that of the records", n, level)
	}
}

func (t *tileCompare) close() {
	for _, a := range append(t.level[:], t.marks) {
		a.close()
	}
}

// along reads a file in growing order through a buffer.
type along struct {
	path string
	f    File
	buf  []byte
	from int64
	n    int
}

func newAlong(fsys FS, path string) *along {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return &along{path: path} // every read is short
	}
	return &along{path: path, f: f}
}

// at is n bytes at off, nil behind the end.
func (a *along) at(off int64, n int) []byte {
	if off < a.from || off+int64(n) > a.from+int64(a.n) {
		if a.f == nil {
			return nil
		}
		if a.buf == nil {
			a.buf = make([]byte, 1<<16)
		}
		a.from = off
		a.n, _ = a.f.ReadAt(a.buf, off)
		if a.n < n {
			return nil
		}
	}
	return a.buf[off-a.from:][:n]
}

func (a *along) close() {
	if a.f != nil {
		a.f.Close()
	}
}
