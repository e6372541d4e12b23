package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// slotSize is one of the two slots of NAME.checkpoint: a page, so that the
// kernel writes it as one.
const (
	slotSize = 4096
	slotNote = slotSize - sha256.Size // largest note
)

// slots is the file of the newest checkpoint, for the one writer. Two slots are
// overwritten in turn: no new blocks and no rename, hence one cheap sync.
type slots struct {
	f     File
	next  int  // slot to write
	fresh bool // nothing was ever written
}

func slotsPath(dir string, mode Mode) string { return filepath.Join(dir, string(mode)+".checkpoint") }

// openSlots opens or makes the file in dir and returns the newest note in it,
// nil when there is none.
func openSlots(fsys FS, dir string, mode Mode) (*slots, []byte, error) {
	path := slotsPath(dir, mode)
	_, statErr := fsys.Stat(path)
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, ioError("open checkpoint", err)
	}
	s := &slots{f: f}
	if errors.Is(statErr, os.ErrNotExist) {
		if err := fsys.SyncDir(dir); err != nil {
			f.Close()
			return nil, nil, ioError("make checkpoint", err)
		}
	}
	msg, slot, err := readSlots(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	s.next, s.fresh = 1-slot, msg == nil
	return s, msg, nil
}

// readSlots finds the note with the largest size among the intact slots, and
// its slot (1 when there is none). A file that holds bytes, but nothing intact,
// is an error: it once held a promise.
func readSlots(f File) (msg []byte, slot int, err error) {
	var b [2 * slotSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 1, ioError("read checkpoint", err)
	}
	slot = 1
	var size uint64
	for i := range 2 {
		m := openSlot(b[i*slotSize : (i+1)*slotSize])
		if m == nil {
			continue
		}
		c, err := ParseCheckpoint(m)
		if err != nil {
			return nil, 1, err
		}
		if msg == nil || c.Size >= size {
			msg, slot, size = m, i, c.Size
		}
	}
	// A first write that was torn leaves no intact slot, but also no second one;
	// put had not returned.
	if msg == nil && n > slotSize && !blank(b[:]) {
		return nil, 1, gov.Errorf(gov.KindIntegrity, "checkpoint_damaged", "the file of the signed checkpoint is damaged").
			WithHint("govern restore")
	}
	return msg, slot, nil
}

func blank(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// openSlot returns the note of an intact slot, else nil.
func openSlot(b []byte) []byte {
	sum := sha256.Sum256(b[:slotNote])
	if !bytes.Equal(sum[:], b[slotNote:]) {
		return nil
	}
	return bytes.Clone(bytes.TrimRight(b[:slotNote], "\x00"))
}

// put writes a note and returns when it is durable. The first one goes into
// both slots, so that a file with one slot only never held a promise.
func (s *slots) put(msg []byte) error {
	if len(msg) > slotNote {
		return gov.Errorf(gov.KindInternal, "checkpoint_too_long", "a checkpoint of %d bytes does not fit its slot", len(msg))
	}
	var b [slotSize]byte
	copy(b[:], msg)
	sum := sha256.Sum256(b[:slotNote])
	copy(b[slotNote:], sum[:])
	for range 2 {
		if _, err := s.f.WriteAt(b[:], int64(s.next)*slotSize); err != nil {
			return err
		}
		if err := s.f.Sync(); err != nil {
			return err
		}
		s.next = 1 - s.next
		if !s.fresh {
			break
		}
		s.fresh = false
	}
	return nil
}

func (s *slots) close() error { return s.f.Close() }

// readCheckpoint reads the newest note of dir without opening for writing; nil
// when there is none.
func readCheckpoint(fsys FS, dir string, mode Mode) ([]byte, error) {
	f, err := fsys.OpenFile(slotsPath(dir, mode), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, ioError("read checkpoint", err)
	}
	defer f.Close()
	// A writer overwrites the two slots in turn, each after a sync: a read that
	// met both half-written says nothing about the file.
	for try := range 10 {
		var msg []byte
		if msg, _, err = readSlots(f); gov.CodeOf(err) != "checkpoint_damaged" {
			return msg, err
		}
		time.Sleep(time.Duration(try) * time.Millisecond)
	}
	return nil, err
}
