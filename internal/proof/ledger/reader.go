package ledger

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

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
	msg, err := r.newest()
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

// newest reads the checkpoint. Every record of a governance log is signed before
// it is acknowledged, so records without any checkpoint mean that it was taken
// away; a first record that is just being written is waited for. An audit log
// may be a second ahead.
func (r *Reader) newest() (msg []byte, err error) {
	for range 25 {
		if msg, err = readCheckpoint(r.fs, r.dir, r.mode); err != nil || msg != nil {
			return msg, err
		}
		if r.mode != Governance {
			return nil, nil
		}
		if err := r.segs.reload(); err != nil {
			return nil, err
		}
		l := newLineReader(r.segs, 0, 1<<16)
		if _, err := l.next(); errors.Is(err, io.EOF) {
			return nil, nil // no complete record
		}
		time.Sleep(lockPoll)
	}
	return nil, gov.Errorf(gov.KindIntegrity, "checkpoint_missing", "the log has records, but the checkpoint that signs them is gone").
		WithHint("govern restore")
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

// readTile makes a Reader a tileReader. Tile files that end too early (deleted,
// or being made again by a writer) are replaced by a tree from the lines.
func (r *Reader) readTile(level int, n uint64, dst []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem != nil {
		return r.mem.readTile(level, n, dst)
	}
	err := r.tiles.readTile(level, n, dst)
	if gov.CodeOf(err) != "tile_short" || r.live {
		return err
	}
	if err := r.rebuild(r.pos.Load().signed); err != nil {
		return err
	}
	return r.mem.readTile(level, n, dst)
}

// recount takes the tree from the lines instead of the tile files; it tells
// whether that is news. A signed root is what it must come to.
func (r *Reader) recount() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live || r.mem != nil {
		return false, nil
	}
	return true, r.rebuild(r.pos.Load().signed)
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
