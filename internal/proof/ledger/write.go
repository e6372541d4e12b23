package ledger

import (
	"errors"
	"maps"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

// writeBatch makes the lines of a batch durable, and meanwhile hashes them.
func (l *Log) writeBatch(b *batch) error {
	if err := l.sameFile(); err != nil {
		return err
	}
	if n, err := l.active.WriteAt(b.buf[1:], l.activeSize); err != nil {
		return l.undoWrite(n, err)
	}
	herr, err := l.syncAndHash(b)
	if err != nil {
		return l.fail(err)
	}
	l.activeSize += int64(len(b.buf) - 1)
	if herr != nil {
		return l.fail(herr)
	}
	return nil
}

// smallBatch is the size of a batch up to which handing its sync to another
// goroutine costs more than working beside it saves; signing is work, too.
func (l *Log) smallBatch() int {
	if l.mode == Governance {
		return 4 << 10
	}
	return 48 << 10
}

// syncAndHash syncs, and hashes and signs while the sync runs. What it signs
// stays in memory until finish writes it, behind the sync.
func (l *Log) syncAndHash(b *batch) (herr, err error) {
	if len(b.buf) <= l.smallBatch() {
		herr = l.hashAndSign(b)
		return herr, l.active.Sync()
	}
	l.syncReq <- struct{}{}
	herr = l.hashAndSign(b)
	return herr, <-l.syncRes
}

func (l *Log) hashAndSign(b *batch) (err error) {
	if err := l.hash(b); err != nil || l.mode != Governance || b.turn {
		return err
	}
	l.signMu.Lock()
	defer l.signMu.Unlock()
	b.signed, err = l.draft(l.rec.front.size, l.rec.front.root())
	return err
}

// sameFile refuses to write when the file at the path is not the one that was
// opened, or not as long as it was left.
func (l *Log) sameFile() error {
	info, err := l.fs.Stat(activePath(l.dir, string(l.mode)))
	if err == nil && sameFile(info, l.activeInfo) && info.Size() == l.activeSize {
		return nil
	}
	return l.fail(gov.Errorf(gov.KindIntegrity, "log_replaced", "the log's file was replaced or changed by somebody else while it was open"))
}

// undoWrite takes a failed write back. Nothing of it was synced, so the log can
// go on when there is space again.
func (l *Log) undoWrite(n int, err error) error {
	if terr := l.active.Truncate(l.activeSize); terr != nil {
		return l.fail(errors.Join(err, terr))
	}
	return ioError("append", err)
}

// hash enters the lines of a batch into tree and offsets.
func (l *Log) hash(b *batch) error {
	base := l.book.off - 1 // spans are of buf, whose first byte is not in the log
	for _, s := range b.spans {
		l.rec.push(leafAt(b.buf, int(s.from), int(s.to)), base+int64(s.from))
	}
	return errors.Join(l.rec.tiles.flush(), l.rec.offs.flush())
}

// finish publishes a batch that is durable; in governance mode its checkpoint
// comes first.
func (l *Log) finish(b *batch) error {
	var c Checkpoint
	if l.mode == Governance {
		l.signMu.Lock()
		err := l.keep(b.signed)
		c = l.signed
		l.signMu.Unlock()
		if err != nil {
			return l.fail(err)
		}
	}
	l.enter(b)
	l.publish(c)
	return nil
}

// enter takes a durable batch into the book.
func (l *Log) enter(b *batch) {
	l.bookMu.Lock()
	defer l.bookMu.Unlock()
	maps.Copy(l.book.heads, b.heads)
	for key, r := range b.ids {
		l.book.ids[key] = r.receipt.Index
	}
	l.book.size += uint64(len(b.spans))
	l.book.off += int64(len(b.buf) - 1)
}

// publish lets readers see all that is durable. Without a new checkpoint the
// last one stays.
func (l *Log) publish(c Checkpoint) {
	for {
		old := l.pos.Load()
		p := &position{size: l.rec.front.size, root: l.rec.front.root(), signed: c}
		if c.Note == nil && old != nil {
			p.signed = old.signed
		}
		if l.pos.CompareAndSwap(old, p) {
			return
		}
	}
}

// sign signs what is published, when it is not.
func (l *Log) sign() error {
	l.signMu.Lock()
	defer l.signMu.Unlock()
	p := l.pos.Load()
	if p.size == 0 {
		return nil
	}
	if err := l.signAt(p.size, p.root); err != nil {
		return err
	}
	for {
		old := l.pos.Load()
		p := *old
		p.signed = l.signed
		if l.pos.CompareAndSwap(old, &p) {
			return nil
		}
	}
}

// signAt makes a signed checkpoint durable; the caller holds signMu.
func (l *Log) signAt(size uint64, root Hash) error {
	c, err := l.draft(size, root)
	if err != nil {
		return err
	}
	return l.keep(c)
}

// draft signs a checkpoint that nobody sees before keep; the caller holds
// signMu. It is the only place where one is signed: never less than before, and
// the tree only grows. The note is nil when there is nothing to sign.
func (l *Log) draft(size uint64, root Hash) (c Checkpoint, err error) {
	last := l.signed
	if last.Note != nil && (size < last.Size || size == last.Size && root != last.Root) {
		return c, gov.Errorf(gov.KindInternal, "checkpoint_backwards", "refused to sign %d records after %d", size, last.Size)
	}
	if size == last.Size && last.Note != nil {
		return c, nil
	}
	if id := l.line.at(size); id.origin() != l.signer.name || !id.pub.Equal(l.signer.pub) {
		return c, nil // a turn is being recorded, and these records come before it
	}
	c = Checkpoint{Origin: l.signer.name, Size: size, Root: root}
	c.Note, err = note.Sign(&note.Note{Text: checkpointText(l.signer.name, size, root)}, l.signer)
	return c, err
}

// keep makes a draft durable in both places; the caller holds signMu. The
// records must be durable before.
func (l *Log) keep(c Checkpoint) error {
	if c.Note == nil {
		return nil
	}
	if err := l.put(c); err != nil {
		return err
	}
	l.signed = c
	return nil
}

// put writes a checkpoint to both places at once.
func (l *Log) put(c Checkpoint) error {
	if l.second == nil {
		return l.first.put(c.Note)
	}
	res := make(chan error, 1)
	go func() { res <- l.second.put(c.Note) }()
	return errors.Join(l.first.put(c.Note), <-res)
}

// housekeep seals a full segment and saves the state now and then.
func (l *Log) housekeep() {
	if l.mode == Audit && l.o.SegmentBytes > 0 && l.activeSize >= l.o.SegmentBytes {
		if err := l.seal(); err != nil {
			l.fail(err)
			return
		}
	}
	if l.rec.front.size >= l.savedAt+16*stateEvery {
		if err := l.saveState(); err != nil {
			l.fail(err)
		}
	}
}

// seal gives the active file the name of its first line and begins a new one.
func (l *Log) seal() error {
	name := string(l.mode)
	path := activePath(l.dir, name)
	if err := l.fs.Rename(path, sealedPath(l.dir, name, l.activeFirst)); err != nil {
		return ioError("seal a segment", err)
	}
	if err := l.active.Close(); err != nil {
		return ioError("seal a segment", err)
	}
	if err := l.openActive(); err != nil {
		return err
	}
	l.activeSize, l.activeFirst = 0, l.rec.front.size
	return l.segs.reload()
}

// saveState keeps the book, after the files it vouches for.
func (l *Log) saveState() error {
	err := l.rec.tiles.sync()
	if err == nil {
		err = l.rec.offs.f.Sync()
	}
	if err == nil {
		err = saveState(l.fs, l.dir, l.mode, l.book, l.rec.front.root())
	}
	if err != nil {
		return ioError("save state", err)
	}
	l.savedAt = l.rec.front.size
	return nil
}
