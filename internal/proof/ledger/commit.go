package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"runtime"
	"sync/atomic"

	"github.com/governhq/govern/internal/gov"
)

// maxBatch bounds the bytes of one write, maxGather the requests that a batch
// waits to gather.
const (
	maxBatch  = 4 << 20
	maxGather = 4096
)

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
	if ctx.Done() == nil { // cheaper than a select
		<-r.done
		return nil
	}
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
		// The callers of the last batch are runnable: let them queue first, as
		// long as each turn of the scheduler brings more.
		for n := 0; n < len(l.queue) && n < maxGather; {
			n = len(l.queue)
			l.queueMu.Unlock()
			runtime.Gosched()
			l.queueMu.Lock()
		}
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
	turn     bool       // it changes who signs: no draft
	signed   Checkpoint // drafted beside the sync; governance only
}

func (b *batch) reset() {
	b.buf = append(b.buf[:0], 0)
	b.turn, b.signed = false, Checkpoint{}
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
	b.turn = true
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
