package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"runtime"
	"sync/atomic"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

// maxBatch bounds the bytes of one write.
const maxBatch = 4 << 20

// States of a request.
const (
	waiting   = iota
	taken     // the committer has it
	abandoned // its caller has gone; the committer drops it
)

// request is one Append that waits. body is its own copy: a caller whose
// context ends may use its bytes again at once.
type request struct {
	entry Entry
	body  []byte
	turn  func(index uint64) (Entry, string, *keySigner, error) // a key change

	state   atomic.Int32
	receipt Receipt
	err     error
	done    chan struct{}
}

func (r *request) reset() {
	r.entry, r.receipt, r.err = Entry{}, Receipt{}, nil
	r.state.Store(waiting)
}

// submit queues a request and waits for its end. After an error the request is
// not the caller's any more.
func (l *Log) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return errCancelled(err)
	}
	l.queueMu.Lock()
	switch failed := l.failed; {
	case failed != nil:
		l.queueMu.Unlock()
		return failed
	case l.closing:
		l.queueMu.Unlock()
		return gov.Errorf(gov.KindUnavailable, "log_closed", "the log is closed")
	}
	l.queue = append(l.queue, r)
	if len(l.queue) == 1 {
		l.idle.Signal()
	}
	l.queueMu.Unlock()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(waiting, abandoned) {
		return errCancelled(ctx.Err())
	}
	select {
	case <-r.done:
		return nil
	default:
		return gov.Errorf(gov.KindTimeout, "append_unknown", "the record was being written when the caller stopped waiting: %w", ctx.Err()).
			WithHint("ask again with the same id")
	}
}

func errCancelled(err error) *gov.Error {
	return gov.Errorf(gov.KindTimeout, "append_cancelled", "nothing was written: %w", err)
}

// commitLoop drains the queue until the log is closed: whatever has gathered
// while the last batch was synced is the next one.
func (l *Log) commitLoop() {
	var reqs []*request
	for {
		l.queueMu.Lock()
		for len(l.queue) == 0 && !l.closing {
			l.idle.Wait()
		}
		if len(l.queue) == 0 {
			l.queueMu.Unlock()
			return
		}
		l.queueMu.Unlock()
		// The callers of the last batch are runnable: let them queue first.
		runtime.Gosched()
		l.queueMu.Lock()
		reqs, l.queue = l.queue, reqs[:0]
		l.queueMu.Unlock()
		for rest := reqs; len(rest) > 0; {
			rest = rest[l.commit(rest):]
		}
		clear(reqs)
	}
}

// batch is one write. buf[0] is free for leafAt.
type batch struct {
	buf      []byte
	spans    []span
	accepted []*request // in the order of the spans
	repeated []*request // same id as an accepted one of this batch
	heads    map[gov.Stream]uint64
	ids      map[idKey]*request
}

func (b *batch) reset() {
	b.buf = append(b.buf[:0], 0)
	clear(b.accepted)
	clear(b.repeated)
	b.spans, b.accepted, b.repeated = b.spans[:0], b.accepted[:0], b.repeated[:0]
	if b.heads == nil {
		b.heads, b.ids = map[gov.Stream]uint64{}, map[idKey]*request{}
	}
	clear(b.heads)
	clear(b.ids)
}

// add appends a line that render writes.
func (b *batch) add(r *request, render func([]byte) []byte) error {
	from := len(b.buf)
	b.buf = render(b.buf)
	if n := len(b.buf) - from; n > MaxLine {
		b.buf = b.buf[:from]
		return gov.Errorf(gov.KindInvalid, "line_too_long", "a line has %d bytes; at most %d are allowed", n, MaxLine).
			WithHint("name large values by digest")
	}
	b.spans = append(b.spans, span{int32(from), int32(len(b.buf))})
	b.buf = append(b.buf, '\n')
	b.accepted = append(b.accepted, r)
	return nil
}

// commit takes as many requests as fit one batch and answers them all. It
// returns how many it took.
func (l *Log) commit(reqs []*request) (n int) {
	b := &l.batch
	b.reset()
	for n < len(reqs) && len(b.buf) < maxBatch {
		r := reqs[n]
		if r.turn != nil && n > 0 {
			break
		}
		n++
		if !r.state.CompareAndSwap(waiting, taken) {
			continue
		}
		if r.turn != nil {
			r.err = l.commitTurn(r)
			r.done <- struct{}{}
			return n
		}
		if err := l.take(b, r); err != nil {
			r.err = err
			r.done <- struct{}{}
		}
	}
	err := l.broken()
	if err == nil && len(b.accepted) > 0 {
		if err = l.writeBatch(b); err == nil {
			err = l.finish(b)
		}
	}
	// First these: an accepted request is its caller's again when it is done.
	for _, r := range b.repeated {
		r.receipt, r.err = b.ids[keyOf(r.entry.ID)].receipt, err
		r.receipt.Duplicate = true
		r.receipt.Versions = maps.Clone(r.receipt.Versions)
		r.done <- struct{}{}
	}
	for _, r := range b.accepted {
		r.err = err
		r.done <- struct{}{}
	}
	if err == nil {
		l.housekeep()
	}
	return n
}

// take judges a request and puts its line into the batch.
func (l *Log) take(b *batch, r *request) error {
	index := l.rec.front.size + uint64(len(b.spans))
	r.receipt.Index = index
	if l.mode == Audit {
		return b.add(r, func(buf []byte) []byte { return append(buf, r.body...) })
	}
	key := keyOf(r.entry.ID)
	if first := b.ids[key]; first != nil && first.entry.ID == r.entry.ID {
		b.repeated = append(b.repeated, r)
		return nil
	}
	if first, ok := l.book.ids[key]; ok {
		return l.answerAgain(r, first)
	}
	versions, err := l.judgeEntry(b, r.entry)
	if err != nil {
		return err
	}
	err = b.add(r, func(buf []byte) []byte { return appendRecord(buf, r.entry.ID, versions, r.body) })
	if err != nil {
		return err
	}
	maps.Copy(b.heads, versions)
	b.ids[key] = r
	r.receipt.Versions = versions
	r.receipt.Body = r.entry.Body
	return nil
}

// answerAgain answers a request whose record is in the log already.
func (l *Log) answerAgain(r *request, first uint64) error {
	rec, err := l.record(first)
	if err != nil {
		return err
	}
	if rec.ID != r.entry.ID {
		return gov.Errorf(gov.KindInternal, "record_id_collision", "two ids have one hash; use another id")
	}
	r.receipt = Receipt{Index: first, Body: rec.Body, Duplicate: true, Versions: map[gov.Stream]uint64{}}
	for _, s := range rec.Streams {
		r.receipt.Versions[s.Stream] = s.Version
	}
	r.done <- struct{}{}
	return nil
}

// judgeEntry compares expectations with the heads that the batch so far leads
// to, and says the versions after the record.
func (l *Log) judgeEntry(b *batch, e Entry) (map[gov.Stream]uint64, error) {
	head := func(s gov.Stream) uint64 {
		if v, ok := b.heads[s]; ok {
			return v
		}
		return l.book.heads[s]
	}
	var moved *gov.Error
	var name gov.Stream
	for s, want := range e.Expect {
		if got := head(s); got != want && (moved == nil || s < name) {
			name = s
			moved = gov.Errorf(gov.KindConflict, "stream_moved", "stream %s is at version %d, not at %d", s, got, want).
				WithHint("read the present state and try again")
		}
	}
	if moved != nil {
		return nil, moved
	}
	versions := make(map[gov.Stream]uint64, len(e.Adds))
	for s, n := range e.Adds {
		if versions[s] = head(s) + uint64(n); versions[s] > maxVersion {
			return nil, gov.Errorf(gov.KindInvalid, "record_stream_invalid", "stream %s cannot have %d events", s, versions[s])
		}
	}
	return versions, nil
}

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
// goroutine costs more than hashing beside it saves.
const smallBatch = 8 << 10

// syncAndHash syncs, and hashes while the sync runs.
func (l *Log) syncAndHash(b *batch) (herr, err error) {
	if len(b.buf) <= smallBatch {
		herr = l.hash(b)
		return herr, l.active.Sync()
	}
	l.syncReq <- struct{}{}
	herr = l.hash(b)
	return herr, <-l.syncRes
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
		err := l.signAt(l.rec.front.size, l.rec.front.root())
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

// signAt makes a signed checkpoint durable in both places; the caller holds
// signMu. It is the only place where one is made: it never signs less than it
// signed before, and the tree only grows.
func (l *Log) signAt(size uint64, root Hash) error {
	last := l.signed
	if last.Note != nil && (size < last.Size || size == last.Size && root != last.Root) {
		return gov.Errorf(gov.KindInternal, "checkpoint_backwards", "refused to sign %d records after %d", size, last.Size)
	}
	if size == last.Size && last.Note != nil {
		return nil
	}
	if id := l.line.at(size); id.origin() != l.signer.name || !id.pub.Equal(l.signer.pub) {
		return nil // a turn is being recorded, and these records come before it
	}
	msg, err := note.Sign(&note.Note{Text: checkpointText(l.signer.name, size, root)}, l.signer)
	if err != nil {
		return err
	}
	c := Checkpoint{Origin: l.signer.name, Size: size, Root: root, Note: msg}
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

// commitTurn records a change of the log's key, alone in its batch.
func (l *Log) commitTurn(r *request) error {
	if err := l.broken(); err != nil {
		return err
	}
	e, msg, signer, err := r.turn(l.rec.front.size)
	if err != nil {
		return err
	}
	if err := l.appendTurn(e, msg, signer); err != nil {
		return err
	}
	r.receipt = l.batch.accepted[0].receipt
	if err := l.sign(); err != nil {
		return l.fail(err)
	}
	return nil
}

// appendTurn makes the record of a turn durable and takes its identity, before
// anything is signed with it.
func (l *Log) appendTurn(e Entry, msg string, signer *keySigner) error {
	if err := l.checkTurn(e, msg); err != nil {
		return err
	}
	b := &l.batch
	b.reset()
	r := &request{entry: e, body: e.Body, done: make(chan struct{}, 1)}
	if err := l.take(b, r); err != nil {
		return err
	}
	if len(b.accepted) == 0 {
		return gov.Errorf(gov.KindConflict, "record_id_repeated", "a record with this id is in the log already")
	}
	turn := Turn{Index: r.receipt.Index, Note: msg}
	line := l.line.clone()
	if err := line.add(turn); err != nil {
		return err
	}
	if err := l.writeBatch(b); err != nil {
		return err
	}
	l.signMu.Lock()
	l.line, l.signer = line, signer
	l.signMu.Unlock()
	l.enter(b)
	l.bookMu.Lock()
	l.book.turns = append(l.book.turns, turn)
	l.bookMu.Unlock()
	l.publish(Checkpoint{})
	return nil
}

// checkTurn sees that a record is one and holds its note.
func (l *Log) checkTurn(e Entry, msg string) error {
	check := func() error { return checkEntry(e) }
	if l.mode == Audit {
		check = func() error { return CheckLine(e.Body) }
	}
	if err := check(); err != nil {
		return err
	}
	for rest := e.Body; ; {
		i := bytes.Index(rest, turnMark)
		if i < 0 {
			return gov.Errorf(gov.KindInvalid, "turn_not_recorded", "the record does not hold the note of the turn as a JSON string")
		}
		rest = rest[i:]
		end, why := scanString(rest, 1)
		var text string
		if why == "" && json.Unmarshal(rest[:end], &text) == nil && text == msg {
			return nil
		}
		rest = rest[1:]
	}
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
