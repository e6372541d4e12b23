package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/governhq/govern/internal/gov"
)

// recovery is what a log turns out to be when it is opened for writing.
type recovery struct {
	fs    FS
	dir   string
	mode  Mode
	segs  *segments
	front frontier
	book  *book
	tiles *tileFiles
	offs  *appendFile
	end   scanEnd
	roots map[uint64]Hash // at the sizes that somebody signed
	made  []string        // derived files made again
}

// recoverLog reads the log from its newest trustworthy state, or from the
// beginning, and brings the derived files to its end.
func recoverLog(ctx context.Context, r *recovery) error {
	b, root, ok := loadState(r.fs, r.dir, r.mode)
	if ok {
		err := r.resume(b, root)
		if err == nil {
			err = r.scan(ctx)
		}
		if err == nil && r.end.bad == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.closeDerived()
	}
	if end, err := r.segs.end(); err != nil {
		return err
	} else if end > 0 && (ok || r.hasDerived()) {
		r.made = []string{"tiles", "offsets", "state"}
	}
	if err := r.start(newBook(), frontier{}); err != nil {
		return err
	}
	return r.scan(ctx)
}

// hasDerived tells whether the log is larger than what is read in passing at
// every start, so that the missing state is worth a word.
func (r *recovery) hasDerived() bool {
	end, err := r.segs.end()
	return err == nil && end > stateEvery*64
}

func (r *recovery) closeDerived() {
	if r.tiles != nil {
		r.tiles.close()
		r.tiles = nil
	}
	if r.offs != nil {
		r.offs.f.Close()
		r.offs = nil
	}
}

var errStale = errors.New("the state does not belong to the log")

// resume starts at a state when tiles, offsets and the last lines before it are
// those of the log.
func (r *recovery) resume(b *book, root Hash) error {
	end, err := r.segs.end()
	if err != nil || end < b.off {
		return errStale
	}
	disk := &diskTiles{fs: r.fs, dir: r.dir, name: string(r.mode)}
	defer disk.close()
	f, err := frontierAt(disk, b.size)
	if err != nil || f.root() != root {
		return errStale
	}
	if err := r.checkLast(disk, b); err != nil {
		return err
	}
	for size := range r.roots {
		if size > b.size {
			continue
		}
		g, err := frontierAt(disk, size)
		if err != nil {
			return errStale
		}
		r.roots[size] = g.root()
	}
	return r.start(b, f)
}

// checkLast reads the lines of the last, unfinished tile before a state, and
// whether they end where it says.
func (r *recovery) checkLast(disk *diskTiles, b *book) error {
	if b.size == 0 {
		return nil
	}
	i := (b.size - 1) / tileWidth * tileWidth
	marks, err := readFile(r.fs, offsetsPath(r.dir, r.mode))
	mark := func(i uint64) int64 { return int64(binary.BigEndian.Uint64(marks[i/offsetEvery*8:])) }
	if err != nil || len(marks) < int((b.size+offsetEvery-1)/offsetEvery*8) {
		return errStale
	}
	off := mark(i)
	l := newLineReader(r.segs, off, 1<<16)
	for ; i < b.size; i++ {
		if i%offsetEvery == 0 && mark(i) != off {
			return errStale
		}
		line, err := l.next()
		if err != nil {
			return errStale
		}
		off += int64(len(line)) + 1
		var want Hash
		if err := disk.readTile(0, i, want[:]); err != nil || l.leaf(line) != want {
			return errStale
		}
	}
	if off != b.off {
		return errStale
	}
	return nil
}

// start opens the derived files at a size.
func (r *recovery) start(b *book, f frontier) (err error) {
	r.book, r.front = b, f
	if r.tiles, err = openTiles(r.fs, r.dir, string(r.mode), f.size); err != nil {
		return ioError("open tiles", err)
	}
	if r.offs, err = openAppend(r.fs, offsetsPath(r.dir, r.mode)); err == nil {
		r.offs.seek(int64((f.size + offsetEvery - 1) / offsetEvery * 8))
	}
	if err != nil {
		return ioError("open offsets", err)
	}
	if _, ok := r.roots[0]; ok {
		r.roots[0] = (&frontier{}).root()
	}
	return nil
}

// scan reads from the book's offset to the end of the valid lines.
func (r *recovery) scan(ctx context.Context) (err error) {
	var broken error // a promise between lines
	r.end, err = scan(ctx, r.segs, r.book.off, r.mode, func(c *chunk) error {
		n, bad := r.book.takeChunk(c, r.mode)
		for i := range n {
			r.push(c.leaves[i], c.off+int64(c.lines[i].from)-1)
			if _, ok := r.roots[r.front.size]; ok {
				r.roots[r.front.size] = r.front.root()
			}
		}
		if err := errors.Join(r.tiles.flush(), r.offs.flush()); err != nil {
			return ioError("write tiles", err)
		}
		if broken = bad; bad != nil {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
		end, _ := r.segs.end()
		r.end = scanEnd{off: r.book.off, bad: broken, rest: end - r.book.off}
	}
	if err == nil {
		if err = errors.Join(r.tiles.trim(), r.offs.trim()); err != nil {
			err = ioError("cut tiles", err)
		}
	}
	return err
}

// push enters a leaf that begins at an offset into tree and offsets.
func (r *recovery) push(h Hash, off int64) {
	if r.front.size%offsetEvery == 0 {
		r.offs.buf = binary.BigEndian.AppendUint64(r.offs.buf, uint64(off))
	}
	r.front.push(h, r.tiles.add)
}

func errDamaged(index uint64, why error) *gov.Error {
	return gov.Errorf(gov.KindIntegrity, "log_damaged", "record %d is damaged, and more follows it: %w", index, why).
		WithHint("restore the file from a backup, or: govern restore --accept-loss -m REASON")
}

// validBehind tells whether a complete valid line stands behind the damage at
// the end of the scan: then it is no torn write.
func (r *recovery) validBehind() (bool, error) {
	l := newLineReader(r.segs, r.end.off, 1<<18)
	first := true
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			// Too long to be a line: skip to its end, byte by byte of the buffer.
			if gov.CodeOf(err) != "line_too_long" {
				return false, err
			}
			l.r = l.w
			continue
		}
		if !first && CheckLine(line) == nil {
			return true, nil
		}
		first = false
	}
}

// moveRest moves everything behind the valid lines into torn-TIME, durably,
// before the log is cut. Only the active file is ever cut.
func (r *recovery) moveRest(active File, o Options) (*Torn, error) {
	end, err := r.segs.end()
	if err != nil || end <= r.end.off {
		return nil, err
	}
	base := r.segs.activeBase()
	if r.end.off < base {
		return nil, gov.Errorf(gov.KindIntegrity, "log_damaged", "record %d, in a sealed segment, is damaged", r.front.size).
			WithHint("restore the segment from a backup")
	}
	t := &Torn{
		File:   "torn-" + o.Now().UTC().Format("20060102T150405.000000000Z"),
		Index:  r.front.size,
		Length: end - r.end.off,
	}
	if err := r.copyRest(t); err != nil {
		return nil, ioError("move torn bytes", err)
	}
	if err := active.Truncate(r.end.off - base); err != nil {
		return nil, ioError("cut torn bytes", err)
	}
	if err := active.Sync(); err != nil {
		return nil, ioError("cut torn bytes", err)
	}
	return t, nil
}

// copyRest writes torn-TIME and, with the digest, torn-TIME.json.
func (r *recovery) copyRest(t *Torn) error {
	path := filepath.Join(r.dir, t.File)
	f, err := r.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	buf := make([]byte, min(t.Length, 1<<20))
	for at := int64(0); at < t.Length; {
		n, err := r.segs.ReadAt(buf[:min(int64(len(buf)), t.Length-at)], r.end.off+at)
		if n == 0 {
			return fmt.Errorf("read rest: %w", err)
		}
		sum.Write(buf[:n])
		if _, err := f.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	t.Digest = gov.DigestSum([sha256.Size]byte(sum.Sum(nil)))
	note, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return writeFile(r.fs, path+".json", append(note, '\n'), true)
}

// rewrite writes the bytes from an offset on once more and syncs them. After a
// failed sync the kernel may hold pages that it believes written: what is
// about to be signed must be on the disk, not only in memory.
func (r *recovery) rewrite(active File, from int64) error {
	base := r.segs.activeBase()
	from = max(from, base)
	buf := make([]byte, 1<<18)
	for from < r.book.off {
		n, err := r.segs.ReadAt(buf[:min(int64(len(buf)), r.book.off-from)], from)
		if n == 0 {
			return fmt.Errorf("read back: %w", err)
		}
		if _, err := active.WriteAt(buf[:n], from-base); err != nil {
			return err
		}
		from += int64(n)
	}
	return active.Sync()
}
