package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

// offsetEvery is how many lines share one entry of NAME.offsets.
const offsetEvery = 64

func offsetsPath(dir string, mode Mode) string { return filepath.Join(dir, string(mode)+".offsets") }

// Reader reads a log without locks, also while another process writes it. It
// sees the records up to the durable checkpoint. All methods may be called
// concurrently.
type Reader struct {
	fs   FS
	dir  string
	mode Mode
	segs *segments
	live bool // part of a Log, which keeps pos and book up to date
	pos  atomic.Pointer[position]

	mu      sync.Mutex // guards what follows
	tiles   diskTiles
	mem     *memTiles // in place of tiles that do not belong to the log
	offsets File
	marks   []int64 // in place of offsets that do not belong to the log

	bookMu sync.RWMutex
	book   *book // of a Reader: made when first asked for
}

// position is what may be read at one moment.
type position struct {
	size   uint64
	root   Hash
	signed Checkpoint // newest; at most size
}

// OpenReader opens the log in dir for reading; mode "" takes the one log that is
// there. No signature is verified (see Check), only that tree and checkpoint
// agree. Errors: log_not_found, log_rolled_back, log_damaged.
func OpenReader(dir string, mode Mode) (*Reader, error) { return openReader(osFS{}, dir, mode) }

func openReader(fsys FS, dir string, mode Mode) (*Reader, error) {
	mode, err := findMode(fsys, dir, mode)
	if err != nil {
		return nil, err
	}
	r := &Reader{fs: fsys, dir: dir, mode: mode, tiles: diskTiles{fs: fsys, dir: dir, name: string(mode)}}
	r.pos.Store(&position{root: (&frontier{}).root()})
	if r.segs, err = openSegments(fsys, dir, string(mode)); err != nil {
		return nil, err
	}
	if len(r.segs.list) == 0 {
		return nil, gov.Errorf(gov.KindNotFound, "log_not_found", "there is no %s log in %s", mode, dir).WithHint("govern init")
	}
	if err := r.Refresh(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Refresh moves the reader to the newest checkpoint.
func (r *Reader) Refresh() error {
	if r.live {
		return nil
	}
	msg, err := readCheckpoint(r.fs, r.dir, r.mode)
	if err != nil || msg == nil {
		return err
	}
	c, err := ParseCheckpoint(msg)
	if err != nil {
		return err
	}
	if p := r.pos.Load(); p.size == c.Size && p.root == c.Root {
		return nil
	}
	if err := r.segs.reload(); err != nil {
		return err
	}
	if err := r.turnTo(c); err != nil {
		return err
	}
	r.bookMu.Lock()
	if r.book != nil && r.book.size > c.Size {
		r.book = nil
	}
	r.bookMu.Unlock()
	r.pos.Store(&position{size: c.Size, root: c.Root, signed: c})
	return nil
}

// turnTo makes the tree agree with c: that of the files, or else a new one.
func (r *Reader) turnTo(c Checkpoint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	if f, err := frontierAt(&r.tiles, c.Size); err == nil && f.root() == c.Root {
		return nil
	}
	return r.rebuild(c)
}

// forget drops what was read from derived files.
func (r *Reader) forget() {
	r.tiles.close()
	r.mem, r.marks = nil, nil
	if r.offsets != nil {
		r.offsets.Close()
		r.offsets = nil
	}
}

// rebuild makes tree and offsets in memory, from the lines alone.
func (r *Reader) rebuild(c Checkpoint) error {
	var f frontier
	mem := &memTiles{}
	var marks []int64
	end, err := scan(context.Background(), r.segs, 0, Audit, func(k *chunk) error {
		for i, h := range k.leaves {
			if f.size == c.Size {
				return errStop
			}
			if f.size%offsetEvery == 0 {
				marks = append(marks, k.off+int64(k.lines[i].from)-1)
			}
			f.push(h, mem.add)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	switch {
	case f.size < c.Size && end.bad != nil:
		return errDamaged(f.size, end.bad)
	case f.size < c.Size:
		return gov.Errorf(gov.KindIntegrity, "log_rolled_back", "the log has %d records, but %d are signed", f.size, c.Size)
	case f.root() != c.Root:
		return gov.Errorf(gov.KindIntegrity, "log_damaged", "a record below %d is not the one that was signed", c.Size).
			WithHint("govern verify log")
	}
	r.mem, r.marks = mem, marks
	return nil
}

// Close releases the files.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	r.segs.close()
	return nil
}

// Mode of the log.
func (r *Reader) Mode() Mode { return r.mode }

// Dir of the log.
func (r *Reader) Dir() string { return r.dir }

// Origin that the newest checkpoint carries, with its epoch; "" before the first.
func (r *Reader) Origin() string { return r.pos.Load().signed.Origin }

// Size is the number of records that can be read: of a Log the acknowledged
// ones, of a Reader the signed ones.
func (r *Reader) Size() uint64 { return r.pos.Load().size }

// Root is the tree hash at Size. (Size and Root of two calls may be of two
// moments; TreeHash is of one.)
func (r *Reader) Root() Hash { return r.pos.Load().root }

// Checkpoint is the newest signed note, nil before the first.
func (r *Reader) Checkpoint() []byte { return r.pos.Load().signed.Note }

// readTile makes a Reader a tileReader.
func (r *Reader) readTile(level int, n uint64, dst []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem != nil {
		return r.mem.readTile(level, n, dst)
	}
	return r.tiles.readTile(level, n, dst)
}

// TreeHash is the root of the first n records, n at most Size.
func (r *Reader) TreeHash(n uint64) (Hash, error) {
	p := r.pos.Load()
	if n == p.size {
		return p.root, nil
	}
	if n > p.size {
		return Hash{}, errBeyond(n, p.size)
	}
	f, err := frontierAt(r, n)
	return f.root(), err
}

func errBeyond(n, size uint64) *gov.Error {
	return gov.Errorf(gov.KindNotFound, "record_not_found", "there is no record or tree %d; the log has %d records", n, size)
}

// Inclusion proves record i in the tree of the first size records.
func (r *Reader) Inclusion(i, size uint64) ([]Hash, error) {
	if p := r.pos.Load(); size > p.size || i >= size {
		return nil, errBeyond(max(i, size), p.size)
	}
	return tlog.ProveRecord(int64(size), int64(i), hashReader(r))
}

// Consistency proves that the first older records are the beginning of the
// first newer ones; it is empty for older 0.
func (r *Reader) Consistency(older, newer uint64) ([]Hash, error) {
	if p := r.pos.Load(); newer > p.size || older > newer {
		return nil, errBeyond(max(older, newer), p.size)
	}
	if older == 0 {
		return nil, nil
	}
	return tlog.ProveTree(int64(newer), int64(older), hashReader(r))
}

// Prove is a complete offline proof of record i: under the newest cosigned
// checkpoint when that covers i, else under the newest one.
func (r *Reader) Prove(i uint64) (Proof, error) {
	c := r.pos.Load().signed
	if msg, err := r.Cosigned(); err == nil && msg != nil {
		if w, err := ParseCheckpoint(msg); err == nil && i < w.Size && w.Size <= c.Size {
			c = w
		}
	}
	if i >= c.Size {
		return Proof{}, gov.Errorf(gov.KindPending, "record_not_signed", "record %d is not covered by a checkpoint; %d are", i, c.Size)
	}
	path, err := r.Inclusion(i, c.Size)
	return Proof{Index: i, Path: path, Checkpoint: c.Note}, err
}

// WitnessRequest is the body of an add-checkpoint request for the newest
// checkpoint to a witness that last saw oldSize (c2sp.org/tlog-witness).
func (r *Reader) WitnessRequest(oldSize uint64) ([]byte, error) {
	c := r.pos.Load().signed
	if c.Note == nil {
		return nil, gov.Errorf(gov.KindPending, "record_not_signed", "the log has no checkpoint yet")
	}
	proof, err := r.Consistency(oldSize, c.Size)
	if err != nil {
		return nil, err
	}
	return witnessRequest(oldSize, proof, c.Note), nil
}

func cosignedPath(dir string, mode Mode) string { return filepath.Join(dir, string(mode)+".cosigned") }

// Cosigned is the newest checkpoint with cosignatures of witnesses, nil before
// the first.
func (r *Reader) Cosigned() ([]byte, error) {
	msg, err := readFile(r.fs, cosignedPath(r.dir, r.mode))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, ioError("read cosigned checkpoint", err)
	}
	return msg, nil
}

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

// catchUp brings the book of a Reader to its size, from the state file or the
// lines. The caller holds no lock; the book is read under bookMu.
func (r *Reader) catchUp() (*book, error) {
	r.bookMu.Lock()
	defer r.bookMu.Unlock()
	if r.live {
		return r.book, nil
	}
	p := r.pos.Load()
	if r.book == nil {
		r.book = newBook()
		if b, root, ok := loadState(r.fs, r.dir, r.mode); ok && b.size <= p.size {
			if h, err := r.TreeHash(b.size); err == nil && h == root {
				r.book = b
			}
		}
	}
	for l, err := range r.Lines(context.Background(), r.book.size, p.size) {
		if err == nil {
			err = r.book.takeLine(l, r.mode)
		}
		if err != nil {
			r.book = nil
			return nil, err
		}
	}
	return r.book, nil
}

// takeLine enters one line.
func (b *book) takeLine(l Line, mode Mode) error {
	b.turns = append(b.turns, findTurns(l.Index, l.Bytes)...)
	b.off += int64(len(l.Bytes)) + 1
	if mode != Governance {
		b.size++
		return nil
	}
	rec, err := ParseRecord(l.Bytes)
	if err == nil {
		err = b.take(rec)
	}
	return err
}

// Head is the version of a stream at Size, 0 when there is none.
func (r *Reader) Head(s gov.Stream) (uint64, error) {
	b, err := r.catchUp()
	if err != nil {
		return 0, err
	}
	r.bookMu.RLock()
	defer r.bookMu.RUnlock()
	return b.heads[s], nil
}

// Heads is the version of every stream at Size.
func (r *Reader) Heads() (map[gov.Stream]uint64, error) {
	b, err := r.catchUp()
	if err != nil {
		return nil, err
	}
	r.bookMu.RLock()
	defer r.bookMu.RUnlock()
	return maps.Clone(b.heads), nil
}

// Turns lists the key changes and epochs in the log that verify on their own;
// see Verifier.AddTurn.
func (r *Reader) Turns() ([]Turn, error) {
	b, err := r.catchUp()
	if err != nil {
		return nil, err
	}
	r.bookMu.RLock()
	defer r.bookMu.RUnlock()
	return append([]Turn(nil), b.turns...), nil
}

// Find is the index of the governance record with a command id.
func (r *Reader) Find(id string) (index uint64, ok bool, err error) {
	b, err := r.catchUp()
	if err != nil {
		return 0, false, err
	}
	r.bookMu.RLock()
	index, ok = b.ids[keyOf(id)]
	r.bookMu.RUnlock()
	if !ok {
		return 0, false, nil
	}
	rec, err := r.record(index)
	return index, err == nil && rec.ID == id, err
}

func (r *Reader) record(i uint64) (Record, error) {
	line, err := r.Line(i)
	if err != nil {
		return Record{}, err
	}
	return ParseRecord(line)
}
