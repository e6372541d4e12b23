package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The file NAME.checkpoint holds two slots of 4,096 bytes, written in turn: a
// signed note, zero bytes, and the SHA-256 of everything before (see
// internal/proof/ledger, "Checkpoint slots"). A reader passes over a damaged
// slot, so damage there loses nothing; it is a failure here all the same,
// because nothing but a crash in the middle of a write leads to it, and the next
// writer repairs that.
const slotSize = 4096

// rest is how long a slot that is being written is given to be whole.
const rest = 20 * time.Millisecond

// slots checks the checkpoint files of a log. A file that is not there is for
// others to judge.
func slots(r *Result, dirs []string, file string) error {
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, file)
		damaged, err := damagedSlots(path)
		if err != nil {
			return err
		}
		if len(damaged) > 0 {
			time.Sleep(rest)
			if damaged, err = damagedSlots(path); err != nil {
				return err
			}
		}
		for _, i := range damaged {
			r.fail("checkpoint_slot_damaged", 0, fmt.Sprintf("slot %d of %s is not what was written", i, path))
		}
	}
	return nil
}

func damagedSlots(path string) ([]int, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	var out []int
	for i := 0; i*slotSize < len(b); i++ {
		slot := b[i*slotSize : min(len(b), (i+1)*slotSize)]
		if len(bytes.Trim(slot, "\x00")) == 0 {
			continue // never written
		}
		body := len(slot) - sha256.Size
		if len(slot) < slotSize || sha256.Sum256(slot[:body]) != [sha256.Size]byte(slot[body:]) {
			out = append(out, i)
		}
	}
	return out, nil
}
