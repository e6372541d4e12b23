package ledger

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

// Log is a log open for writing; it embeds its own live Reader, whose Size is
// that of the acknowledged records. All methods may be called concurrently.
type Log struct {
	*Reader
	o      Options
	lock   *fileLock
	opened Opened

	queueMu sync.Mutex
	idle    *sync.Cond // signalled when queue grows or closing is set
	queue   []*request
	closing bool
	failed  error     // the error after which nothing is acknowledged
	reqs    sync.Pool // of *request

	// Owned by the committer goroutine (by open before it runs, by Close after):
	rec         *recovery // tree, tiles, offsets
	active      File
	activeInfo  fs.FileInfo
	activeSize  int64
	activeFirst uint64 // index of its first line
	savedAt     uint64 // size of the saved state
	batch       batch
	syncReq     chan struct{}
	syncRes     chan error

	// signMu guards the checkpoint files and everything that decides what is
	// signed under which name.
	signMu        sync.Mutex
	first, second *slots
	signer        *keySigner
	line          lineage
	signed        Checkpoint // newest

	stop    chan struct{} // ends the checkpoint timer
	work    sync.WaitGroup
	closed  sync.Once
	closeIt error
}

// Opened tells what Open found.
func (l *Log) Opened() Opened { return l.opened }

// startWork starts the committer, its syncer and, in audit mode, the timer of
// the checkpoint.
func (l *Log) startWork() {
	l.syncReq, l.syncRes, l.stop = make(chan struct{}), make(chan error), make(chan struct{})
	l.work.Add(2)
	go func() {
		defer l.work.Done()
		for range l.syncReq {
			l.syncRes <- l.active.Sync()
		}
	}()
	go func() {
		defer l.work.Done()
		defer close(l.syncReq)
		l.commitLoop()
	}()
	if l.mode == Audit {
		l.work.Go(l.signLoop)
	}
}

// signLoop signs what is durable, each CheckpointEvery.
func (l *Log) signLoop() {
	t := time.NewTicker(l.o.CheckpointEvery)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-t.C:
			if err := l.sign(); err != nil {
				l.fail(err)
			}
		}
	}
}

// Append appends a governance record. It returns when the record and its signed
// checkpoint are durable, in both places.
//
// Expectations are judged in the order of the log, also against records of the
// same batch. Errors: stream_moved (an expectation does not hold; nothing was
// written), line_invalid, line_too_long, record_*_invalid, disk_full, log_io
// (nothing was written), log_broken (after a failed sync: reopen the log),
// append_cancelled (ctx ended before the record was taken: nothing was
// written), append_unknown (ctx ended while it was being written: ask again
// with the same ID).
func (l *Log) Append(ctx context.Context, e Entry) (Receipt, error) {
	if l.mode != Governance {
		return Receipt{}, gov.Errorf(gov.KindInternal, "log_mode_invalid", "an audit log takes lines, not records")
	}
	if err := checkEntry(e); err != nil {
		return Receipt{}, err
	}
	r := l.reqs.Get().(*request)
	r.reset()
	r.entry, r.body = e, append(r.body[:0], e.Body...)
	if err := l.submit(ctx, r); err != nil {
		return Receipt{}, err
	}
	got, err := r.receipt, r.err
	l.reqs.Put(r)
	if err == nil && !got.Duplicate {
		got.Body = e.Body
	}
	return got, err
}

// AppendLine appends an audit line and returns its index when it is durable.
// Errors as of Append, but stream_moved; a line that is repeated after
// append_unknown is a second record.
func (l *Log) AppendLine(ctx context.Context, line []byte) (uint64, error) {
	if l.mode != Audit {
		return 0, gov.Errorf(gov.KindInternal, "log_mode_invalid", "a governance log takes records, not lines")
	}
	if err := CheckLine(line); err != nil {
		return 0, err
	}
	r := l.reqs.Get().(*request)
	r.reset()
	r.body = append(r.body[:0], line...)
	if err := l.submit(ctx, r); err != nil {
		return 0, err
	}
	index, err := r.receipt.Index, r.err
	l.reqs.Put(r)
	return index, err
}

// Genesis appends record 0 and returns its fingerprint, which verifiers pin. In
// audit mode only the Body of the Entry is used. Called again with the same ID
// it gives the first answer; any other record 0 is log_not_empty.
func (l *Log) Genesis(ctx context.Context, e Entry) (Receipt, gov.Digest, error) {
	var r Receipt
	var err error
	switch {
	case l.mode == Governance:
		if first, ok, ferr := l.Find(e.ID); l.Size() > 0 && (!ok || first != 0) {
			return r, "", errors.Join(ferr, errNotEmpty())
		}
		r, err = l.Append(ctx, e)
	case l.Size() > 0:
		return r, "", errNotEmpty()
	default:
		r.Body = e.Body
		r.Index, err = l.AppendLine(ctx, e.Body)
	}
	if err == nil && r.Index != 0 {
		err = errNotEmpty()
	}
	if err != nil {
		return r, "", err
	}
	line, err := l.Line(0)
	return r, Fingerprint(line), err
}

func errNotEmpty() *gov.Error {
	return gov.Errorf(gov.KindConflict, "log_not_empty", "the log has a genesis record already")
}

// RotateKey appends the record that build returns, which must hold the note it
// is given as a JSON string, and from then on signs with next. The note is
// signed by both keys. build runs while nothing else is appended and must not
// use the log. Error of its own: turn_not_recorded.
func (l *Log) RotateKey(ctx context.Context, next crypto.Signer, build func(KeyChange) (Entry, error)) (Receipt, error) {
	r := &request{done: make(chan struct{}, 1)}
	r.turn = func(index uint64) (Entry, string, *keySigner, error) {
		to, err := newSigner(l.signer.name, next)
		if err != nil {
			return Entry{}, "", nil, err
		}
		msg, err := keyChangeNote(index, l.signer, to)
		if err != nil {
			return Entry{}, "", nil, err
		}
		e, err := build(KeyChange{Index: index, Note: msg})
		return e, msg, to, err
	}
	if err := l.submit(ctx, r); err != nil {
		return Receipt{}, err
	}
	return r.receipt, r.err
}

// AddCosignatures verifies witness signature lines, as a witness answers them,
// over msg, a checkpoint of this log, and keeps it with those that verify as the
// newest cosigned one.
func (l *Log) AddCosignatures(msg, lines []byte, witnesses ...note.Verifier) error {
	c, err := ParseCheckpoint(msg)
	if err != nil {
		return err
	}
	l.signMu.Lock()
	defer l.signMu.Unlock()
	id := l.line.at(c.Size)
	root, err := l.TreeHash(c.Size)
	if err != nil {
		return err
	}
	if c.Origin != id.origin() || c.Root != root {
		return gov.Errorf(gov.KindIntegrity, "origin_mismatch", "the checkpoint is not one of this log")
	}
	msg, err = cosign(c, id.verifier(), lines, witnesses)
	if err != nil {
		return err
	}
	if old, err := l.Cosigned(); err == nil && old != nil {
		if o, err := ParseCheckpoint(old); err == nil && o.Size > c.Size {
			return nil
		}
		if bytes.Equal(old, msg) {
			return nil
		}
	}
	if err := writeFile(l.fs, cosignedPath(l.dir, l.mode), msg, true); err != nil {
		return ioError("keep cosigned checkpoint", err)
	}
	return nil
}

// Check is Check of this log, with its own second place.
func (l *Log) Check(ctx context.Context, o CheckOptions) (Report, error) {
	o.Mode, o.FS = l.mode, l.fs
	if o.SecondPlace == "" {
		o.SecondPlace = l.o.SecondPlace
	}
	return Check(ctx, l.dir, o)
}

// Close commits what is queued, signs what is not yet signed and releases the
// lock. A second Close gives the answer of the first.
func (l *Log) Close() error {
	l.closed.Do(func() { l.closeIt = l.close() })
	return l.closeIt
}

func (l *Log) close() error {
	l.queueMu.Lock()
	l.closing = true
	l.idle.Broadcast()
	l.queueMu.Unlock()
	close(l.stop)
	l.work.Wait()
	err := l.broken()
	if err == nil {
		err = l.sign()
	}
	if err == nil && l.rec.front.size >= l.savedAt+stateEvery {
		err = l.saveState()
	}
	l.closeFiles()
	return errors.Join(err, l.lock.release(err == nil))
}

func (l *Log) closeFiles() {
	if l.rec != nil {
		l.rec.closeDerived()
	}
	for _, s := range []*slots{l.first, l.second} {
		if s != nil {
			s.close()
		}
	}
	if l.active != nil {
		l.active.Close()
	}
	if l.segs != nil {
		l.Reader.Close()
	}
}

// fail makes an error the last word: nothing is acknowledged after it.
func (l *Log) fail(err error) error {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	if l.failed == nil && gov.KindOf(err) == gov.KindIntegrity {
		l.failed = err
	}
	if l.failed == nil {
		l.failed = gov.Errorf(gov.KindUnavailable, "log_broken", "the log could not be made durable and takes no more records: %w", err).
			WithHint("start the process again: recovery keeps what is there")
	}
	return l.failed
}

func (l *Log) broken() error {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	return l.failed
}
