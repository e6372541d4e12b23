package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Open opens or creates a log for writing, through recovery. Errors:
// log_locked (another writer), log_rolled_back (the log is smaller than, or
// inconsistent with, the checkpoint in the second place), log_damaged (a record
// below a checkpoint, or before a valid record, is not what it was; the message
// names the index), log_key_mismatch, log_origin_mismatch, disk_full, log_io.
func Open(ctx context.Context, o Options) (*Log, error) { return open(ctx, o, nil) }

// RestoreAcceptLoss opens a log that Open refuses as log_rolled_back or
// log_damaged. It keeps the longest prefix of valid lines, moves the rest
// aside, appends the record that build returns (in audit mode the Body of its
// Entry is the whole line) and begins a new epoch, durably and in both places.
// The checkpoints that cannot be met any more are renamed, not deleted.
func RestoreAcceptLoss(ctx context.Context, o Options, build func(Loss) (Entry, error)) (*Log, error) {
	return open(ctx, o, build)
}

// stateEvery is how many records may pass before the state is saved again: so
// many are read at a start after a crash.
const stateEvery = 4096

func (o *Options) fill() error {
	if o.Mode != Governance && o.Mode != Audit {
		return gov.Errorf(gov.KindInvalid, "log_mode_invalid", "%q is no mode of a log; use governance or audit", o.Mode)
	}
	if o.Dir == "" {
		return gov.Errorf(gov.KindInvalid, "log_dir_missing", "a log needs a directory")
	}
	if o.LockWait == 0 {
		o.LockWait = 10 * time.Second
	}
	if o.CheckpointEvery <= 0 {
		o.CheckpointEvery = time.Second
	}
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if base, epoch := splitOrigin(o.Origin); epoch != 1 || len(base) > 200 {
		return gov.Errorf(gov.KindInvalid, "origin_invalid", "the origin %q is too long or ends like an epoch", o.Origin)
	}
	_, err := newSigner(o.Origin, o.Key)
	return err
}

func open(ctx context.Context, o Options, accept func(Loss) (Entry, error)) (*Log, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	for _, dir := range []string{o.Dir, o.SecondPlace} {
		if dir == "" {
			continue
		}
		if err := o.FS.MkdirAll(dir, 0o755); err != nil {
			return nil, ioError("make directory", err)
		}
	}
	lock, err := acquire(ctx, filepath.Join(o.Dir, string(o.Mode)+".lock"), o.Purpose, o.LockWait)
	if err != nil {
		return nil, err
	}
	l := &Log{o: o, lock: lock, Reader: &Reader{
		fs: o.FS, dir: o.Dir, mode: o.Mode, live: true,
		tiles: diskTiles{fs: o.FS, dir: o.Dir, name: string(o.Mode)},
	}}
	l.idle = sync.NewCond(&l.queueMu)
	l.reqs.New = func() any { return &request{done: make(chan struct{}, 1)} }
	if err := l.load(ctx, accept); err != nil {
		l.closeFiles()
		lock.release(false)
		return nil, err
	}
	l.startWork()
	return l, nil
}

// load brings the log from the disk to a state in which it can be appended to.
func (l *Log) load(ctx context.Context, accept func(Loss) (Entry, error)) (err error) {
	if err := l.openActive(); err != nil {
		return err
	}
	if l.segs, err = openSegments(l.fs, l.dir, string(l.mode)); err != nil {
		return err
	}
	first, second, err := l.openPlaces()
	if err != nil {
		return err
	}
	l.rec = &recovery{fs: l.fs, dir: l.dir, mode: l.mode, segs: l.segs, roots: map[uint64]Hash{first.Size: {}, second.Size: {}}}
	if err := recoverLog(ctx, l.rec); err != nil {
		return err
	}
	l.book = l.rec.book
	l.opened.Rebuilt = l.rec.made
	lost, why, err := l.judge(first, second)
	if err != nil {
		return err
	}
	if why != nil && accept == nil {
		return why
	}
	unsigned := l.mode == Governance && first.Note == nil && second.Note == nil && l.rec.front.size > 0
	if why == nil && accept != nil && !unsigned {
		return gov.Errorf(gov.KindConflict, "restore_not_needed", "nothing signed is lost: the log opens as it is")
	}
	if l.opened.Torn, err = l.rec.moveRest(l.active, l.o); err != nil {
		return err
	}
	if err := l.identify(first, second); err != nil {
		return err
	}
	if l.activeFirst, err = l.rec.indexAt(l.segs.activeBase()); err != nil {
		return err
	}
	l.activeSize = l.rec.book.off - l.segs.activeBase()
	l.opened.Size = l.rec.front.size
	l.savedAt = 0
	if b, _, ok := loadState(l.fs, l.dir, l.mode); ok {
		l.savedAt = b.size
	}
	if accept != nil {
		return l.acceptLoss(lost, accept)
	}
	return l.settle(first, second)
}

// openActive opens the file that grows, and makes it when there is none.
func (l *Log) openActive() (err error) {
	path := activePath(l.dir, string(l.mode))
	if _, err := l.fs.Stat(path); errors.Is(err, os.ErrNotExist) {
		l.opened.Created = true
	}
	if l.active, err = l.fs.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return ioError("open the log", err)
	}
	if l.opened.Created {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return ioError("make the log", err)
		}
	}
	if l.activeInfo, err = l.active.Stat(); err != nil {
		return ioError("open the log", err)
	}
	return nil
}

// openPlaces reads the newest checkpoint of both places; a zero one where there
// is none.
func (l *Log) openPlaces() (first, second Checkpoint, err error) {
	places := []struct {
		dir  string
		file **slots
		c    *Checkpoint
	}{{l.dir, &l.first, &first}, {l.o.SecondPlace, &l.second, &second}}
	for _, p := range places {
		if p.dir == "" {
			continue
		}
		var msg []byte
		if *p.file, msg, err = openSlots(l.fs, p.dir, l.mode); err != nil {
			return first, second, err
		}
		if msg == nil {
			continue
		}
		if *p.c, err = ParseCheckpoint(msg); err != nil {
			return first, second, err
		}
		if base, _ := splitOrigin(p.c.Origin); base != l.o.Origin {
			return first, second, gov.Errorf(gov.KindInvalid, "log_origin_mismatch", "%s holds a checkpoint of %s, not of %s", p.dir, p.c.Origin, l.o.Origin).
				WithHint("use another directory for each log")
		}
	}
	return first, second, nil
}

// judge compares the recovered log with what was signed. why is the refusal, and
// lost the newest checkpoint that cannot be met.
func (l *Log) judge(first, second Checkpoint) (lost Checkpoint, why, err error) {
	size := l.rec.front.size
	for i, c := range []Checkpoint{first, second} {
		if c.Note == nil || c.Size <= size && l.rec.roots[c.Size] == c.Root {
			continue
		}
		if lost.Note == nil || c.Size > lost.Size {
			lost = c
		}
		switch {
		case i == 0 && l.rec.end.bad != nil:
			why = errDamaged(size, l.rec.end.bad)
		case i == 0 && c.Size <= size:
			why = gov.Errorf(gov.KindIntegrity, "log_damaged", "a record below %d is not the one that was signed", c.Size).
				WithHint("govern verify log")
		case c.Size > size && why == nil:
			why = gov.Errorf(gov.KindIntegrity, "log_rolled_back", "the log ends before record %d, but %d records are signed", size, c.Size).
				WithHint("restore the newest copy, or: govern restore --accept-loss -m REASON")
		case why == nil:
			why = gov.Errorf(gov.KindIntegrity, "log_rolled_back", "the log went another way than the checkpoint of %d records in the second place", c.Size).
				WithHint("restore the right copy, or: govern restore --accept-loss -m REASON")
		}
	}
	if why != nil || l.rec.end.rest == 0 {
		return lost, why, nil
	}
	if l.rec.end.off < l.segs.activeBase() {
		return lost, errDamaged(size, l.rec.end.bad), nil
	}
	behind, err := l.rec.validBehind()
	if err == nil && behind {
		why = errDamaged(size, l.rec.end.bad)
	}
	return lost, why, err
}

// identify finds out under which origin the log is, and whether the key is the
// one that signed the checkpoints it meets.
func (l *Log) identify(places ...Checkpoint) error {
	pub, _ := l.o.Key.Public().(ed25519.PublicKey)
	line, err := lineageTo(l.o.Origin, pub, l.rec.book.turns)
	if err != nil {
		return err
	}
	l.line = line
	for _, t := range l.rec.book.turns {
		// A change that was recorded binds, also when nothing was signed after it.
		if s, err := parseTurn(t); err == nil && t.Index+1 > line.from[len(line.from)-1] && s.continues(line.last()) {
			return gov.Errorf(gov.KindInvalid, "log_key_retired", "record %d changed the log's key, and this is the one before", t.Index).
				WithHint("use the key that %s has now", l.o.Origin)
		}
	}
	for _, c := range places {
		if c.Note == nil || c.Size > l.rec.front.size || l.rec.roots[c.Size] != c.Root {
			continue
		}
		id := line.at(c.Size)
		if _, _, err := openNote(c.Note, id.verifier()); err != nil || c.Origin != id.origin() {
			return gov.Errorf(gov.KindInvalid, "log_key_mismatch", "the log's checkpoint is not signed by the key that was given").
				WithHint("use the key that %s has now", c.Origin)
		}
	}
	l.signer, err = newSigner(line.last().origin(), l.o.Key)
	return err
}

// settle makes what was recovered durable and signed.
func (l *Log) settle(first, second Checkpoint) error {
	signed := first
	if second.Size > first.Size || first.Note == nil {
		signed = second
	}
	size := l.rec.front.size
	if l.lock.unclean || size > signed.Size {
		if err := l.rec.rewrite(l.active, l.rec.offsetBefore(signed.Size)); err != nil {
			return ioError("make the recovered records durable", err)
		}
	}
	l.opened.Recovered = size - signed.Size
	l.signed = signed
	l.publish(signed)
	switch {
	case size > signed.Size:
		return l.sign()
	case signed.Note != nil && (l.lock.unclean || l.second != nil && first.Size != second.Size):
		return l.put(signed)
	}
	return nil
}

// offsetBefore is the offset of the last marked line at or before a size.
func (r *recovery) offsetBefore(size uint64) int64 {
	var b [8]byte
	k := int64(size / offsetEvery)
	if n, _ := r.offs.f.ReadAt(b[:], k*8); n < len(b) || k*8 >= r.offs.size {
		return r.book.off
	}
	return int64(binary.BigEndian.Uint64(b[:]))
}

// indexAt is the index of the line that begins at an offset.
func (r *recovery) indexAt(off int64) (uint64, error) {
	if off == r.book.off {
		return r.book.size, nil
	}
	marks, err := readFile(r.fs, offsetsPath(r.dir, r.mode))
	if err != nil {
		return 0, ioError("read offsets", err)
	}
	mark := func(k int) int64 { return int64(binary.BigEndian.Uint64(marks[8*k:])) }
	k := sort.Search(len(marks)/8, func(k int) bool { return mark(k) > off }) - 1
	if k < 0 {
		return 0, nil
	}
	index, at := uint64(k*offsetEvery), mark(k)
	for l := newLineReader(r.segs, at, 1<<16); at < off; index++ {
		line, err := l.next()
		if err != nil {
			return 0, endOf(err, index)
		}
		at += int64(len(line)) + 1
	}
	return index, nil
}

// acceptLoss appends the record of a loss and begins an epoch.
func (l *Log) acceptLoss(lost Checkpoint, build func(Loss) (Entry, error)) error {
	if err := l.rec.rewrite(l.active, 0); err != nil {
		return ioError("make the kept records durable", err)
	}
	l.publish(Checkpoint{})
	// An epoch whose record is lost is used up: its checkpoints are signed.
	_, lostEpoch := splitOrigin(lost.Origin)
	next := l.line.last()
	next.epoch = max(next.epoch, lostEpoch) + 1
	signer, err := newSigner(next.origin(), l.o.Key)
	if err != nil {
		return err
	}
	loss := Loss{Epoch: next.epoch, Kept: l.rec.front.size, KeptRoot: l.rec.front.root(), Lost: lost, Torn: l.opened.Torn}
	if loss.Note, err = epochNote(l.o.Origin, loss, signer); err != nil {
		return err
	}
	entry, err := build(loss)
	if err != nil {
		return err
	}
	if err := l.appendTurn(entry, loss.Note, signer); err != nil {
		return err
	}
	if err := l.setAside(); err != nil {
		return err
	}
	return l.sign()
}

// setAside renames the checkpoints of the old epoch and begins new files. A
// cosigned one goes with them when it signs more than was kept.
func (l *Log) setAside() error {
	stamp := l.o.Now().UTC().Format("20060102T150405.000000000Z")
	if msg, err := l.Cosigned(); err == nil && msg != nil {
		if c, err := ParseCheckpoint(msg); err != nil || c.Size >= l.rec.front.size || l.rec.roots[c.Size] != c.Root {
			path := cosignedPath(l.dir, l.mode)
			if err := l.fs.Rename(path, path+".lost-"+stamp); err != nil {
				return ioError("set the cosigned checkpoint aside", err)
			}
		}
	}
	for _, p := range []struct {
		dir  string
		file **slots
	}{{l.dir, &l.first}, {l.o.SecondPlace, &l.second}} {
		if p.dir == "" {
			continue
		}
		path := slotsPath(p.dir, l.mode)
		if err := (*p.file).close(); err != nil {
			return ioError("set the old checkpoint aside", err)
		}
		if err := l.fs.Rename(path, path+".lost-"+stamp); err != nil {
			return ioError("set the old checkpoint aside", err)
		}
		var err error
		if *p.file, _, err = openSlots(l.fs, p.dir, l.mode); err != nil {
			return err
		}
	}
	return nil
}
