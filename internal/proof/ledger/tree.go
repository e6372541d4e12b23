package ledger

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

const (
	hashSize   = tlog.HashSize
	tileHeight = 8 // a tile has 256 hashes (c2sp.org/tlog-tiles)
	tileWidth  = 1 << tileHeight
	tileLevels = 8 // 256^8 records
)

// leafAt is the leaf hash of b[from:to]; it overwrites b[from-1], which a
// scanner or committer leaves free for the prefix byte: one call, no copy.
func leafAt(b []byte, from, to int) Hash {
	b[from-1] = 0
	return sha256.Sum256(b[from-1 : to])
}

// frontier is the right edge of a tree: one complete subtree for each set bit
// of its size. The zero value is the empty tree.
type frontier struct {
	size uint64
	node [64]Hash // node[l] is meaningful when bit l of size is set
}

// push adds a leaf and hands every new hash of a tile level to emit: level 0
// for each leaf, level 1 for each 256th, and so on.
func (f *frontier) push(h Hash, emit func(level int, h Hash)) {
	emit(0, h)
	l := 0
	for ; f.size>>l&1 == 1; l++ {
		h = tlog.NodeHash(f.node[l], h)
		if (l+1)%tileHeight == 0 {
			emit((l+1)/tileHeight, h)
		}
	}
	f.node[l] = h
	f.size++
}

// root is the tree hash (RFC 6962, section 2.1).
func (f *frontier) root() Hash {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	l := bits.TrailingZeros64(f.size)
	h := f.node[l]
	for l++; f.size>>l != 0; l++ {
		if f.size>>l&1 == 1 {
			h = tlog.NodeHash(f.node[l], h)
		}
	}
	return h
}

// tileReader reads consecutive hashes of one tile level.
type tileReader interface {
	// readTile fills dst, a multiple of 32 bytes, from hash n of a level on.
	readTile(level int, n uint64, dst []byte) error
}

// subtree is the hash of records [n<<level, (n+1)<<level).
func subtree(t tileReader, level int, n uint64) (Hash, error) {
	r := level % tileHeight
	var buf [tileWidth / 2 * hashSize]byte
	b := buf[:hashSize<<r]
	if err := t.readTile(level/tileHeight, n<<r, b); err != nil {
		return Hash{}, err
	}
	for len(b) > hashSize {
		for i := 0; i < len(b)/2; i += hashSize {
			h := tlog.NodeHash(Hash(b[2*i:]), Hash(b[2*i+hashSize:]))
			copy(b[i:], h[:])
		}
		b = b[:len(b)/2]
	}
	return Hash(b), nil
}

// frontierAt restores the right edge of the first size records.
func frontierAt(t tileReader, size uint64) (f frontier, err error) {
	f.size = size
	for l := range 64 {
		if size>>l&1 == 1 {
			if f.node[l], err = subtree(t, l, size>>l-1); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// hashReader adapts tiles to the proof functions of x/mod.
func hashReader(t tileReader) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hs := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			l, n := tlog.SplitStoredHashIndex(x)
			h, err := subtree(t, l, uint64(n))
			if err != nil {
				return nil, err
			}
			hs[i] = h
		}
		return hs, nil
	})
}

// memTiles are tiles in memory, 32 bytes a record.
type memTiles [tileLevels][]byte

func (m *memTiles) add(level int, h Hash) { m[level] = append(m[level], h[:]...) }

func (m *memTiles) readTile(level int, n uint64, dst []byte) error {
	if level >= tileLevels || n*hashSize+uint64(len(dst)) > uint64(len(m[level])) {
		return errShortTile(level)
	}
	copy(dst, m[level][n*hashSize:])
	return nil
}

func errShortTile(level int) error {
	return gov.Errorf(gov.KindIntegrity, "tile_short", "the tree hashes of level %d end too early", level).
		WithHint("open the log for writing once: it makes them again")
}

// appendFile is a derived file that only grows: items are collected and
// written out before the size that needs them is published.
type appendFile struct {
	f    File
	size int64 // bytes in the file that are meant
	buf  []byte
}

func openAppend(fsys FS, path string) (*appendFile, error) {
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &appendFile{f: f}, nil
}

func (a *appendFile) flush() error {
	if len(a.buf) == 0 {
		return nil
	}
	if _, err := a.f.WriteAt(a.buf, a.size); err != nil {
		return err
	}
	a.size += int64(len(a.buf))
	a.buf = a.buf[:0]
	return nil
}

// seek goes on at size. What stands behind it stays until trim: readers without
// locks may be using it, and it is written over with what the lines lead to,
// which on a healthy log are the same bytes.
func (a *appendFile) seek(size int64) {
	a.buf = a.buf[:0]
	a.size = size
}

// trim forgets everything that is not meant.
func (a *appendFile) trim() error {
	if n, err := fileSize(a.f); err != nil || n <= a.size {
		return err
	}
	return a.f.Truncate(a.size)
}

// tileFiles are the tiles on disk, for the one writer. Level files appear when
// their first hash does.
type tileFiles struct {
	fs    FS
	base  string // path without the level
	level [tileLevels]*appendFile
	err   error
}

func tilePath(dir, name string, level int) string {
	return filepath.Join(dir, name+".tile"+strconv.Itoa(level))
}

// openTiles opens the level files to go on after a tree of size records; trim
// forgets what is behind the end in the end.
func openTiles(fsys FS, dir, name string, size uint64) (*tileFiles, error) {
	t := &tileFiles{fs: fsys, base: filepath.Join(dir, name+".tile")}
	for l := range tileLevels {
		want := int64(size >> (tileHeight * l) * hashSize)
		path := tilePath(dir, name, l)
		if _, err := fsys.Stat(path); err != nil && want == 0 {
			continue
		}
		a, err := openAppend(fsys, path)
		if err != nil {
			return nil, err
		}
		t.level[l] = a
		a.seek(want)
	}
	return t, nil
}

// add collects a hash; an error shows at flush.
func (t *tileFiles) add(level int, h Hash) {
	a := t.level[level]
	if a == nil {
		if a, t.err = openAppend(t.fs, t.base+strconv.Itoa(level)); t.err != nil {
			return
		}
		t.level[level] = a
	}
	a.buf = append(a.buf, h[:]...)
}

func (t *tileFiles) each(do func(*appendFile) error) error {
	err := t.err
	for _, a := range t.level {
		if a != nil && err == nil {
			err = do(a)
		}
	}
	return err
}

func (t *tileFiles) flush() error { return t.each((*appendFile).flush) }
func (t *tileFiles) trim() error  { return t.each((*appendFile).trim) }
func (t *tileFiles) sync() error  { return t.each(func(a *appendFile) error { return a.f.Sync() }) }
func (t *tileFiles) close() error { return t.each(func(a *appendFile) error { return a.f.Close() }) }

// diskTiles reads the level files, opened when first needed; it is safe for
// concurrent use through its owner's lock.
type diskTiles struct {
	fs        FS
	dir, name string
	level     [tileLevels]File
}

func (d *diskTiles) readTile(level int, n uint64, dst []byte) error {
	if level >= tileLevels {
		return errShortTile(level)
	}
	if d.level[level] == nil {
		f, err := d.fs.OpenFile(tilePath(d.dir, d.name, level), os.O_RDONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			return errShortTile(level)
		}
		if err != nil {
			return ioError("read tiles", err)
		}
		d.level[level] = f
	}
	switch m, err := d.level[level].ReadAt(dst, int64(n)*hashSize); {
	case m == len(dst):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return errShortTile(level)
	default:
		return ioError("read tiles", err)
	}
}

func (d *diskTiles) close() {
	for i, f := range d.level {
		if f != nil {
			f.Close()
			d.level[i] = nil
		}
	}
}
