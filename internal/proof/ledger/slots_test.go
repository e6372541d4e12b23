package ledger

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

// TestSlotsSurviveATornWrite damages, after each write, every sector of the slot
// just written: the note before it must still be there.
func TestSlotsSurviveATornWrite(t *testing.T) {
	m := newMemFS()
	signer, err := newSigner(testOrigin, testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	s, msg, err := openSlots(m, "/d", Audit)
	if err != nil || msg != nil {
		t.Fatal(msg, err)
	}
	var before []byte
	for size := uint64(1); size < 8; size++ {
		msg, err := note.Sign(&note.Note{Text: checkpointText(testOrigin, size, Hash{})}, signer)
		if err != nil {
			t.Fatal(err)
		}
		old := bytes.Clone(m.file("audit.checkpoint").data)
		if err := s.put(msg); err != nil {
			t.Fatal(err)
		}
		f := m.file("audit.checkpoint")
		now := bytes.Clone(f.data)
		if got, _ := readCheckpoint(m, "/d", Audit); !bytes.Equal(got, msg) {
			t.Fatalf("at %d the newest note is %q", size, got)
		}
		for at := 0; at < len(now); at += sector {
			copy(f.data, now)
			torn := make([]byte, sector) // as it was, or never written
			if at < len(old) {
				copy(torn, old[at:at+sector])
			}
			copy(f.data[at:], torn)
			got, err := readCheckpoint(m, "/d", Audit)
			if err != nil || !bytes.Equal(got, before) && !bytes.Equal(got, msg) {
				t.Fatalf("size %d, torn at %d: %q %v", size, at, got, err)
			}
		}
		copy(f.data, now)
		before = msg
	}
	if v, err := NewVerifier(testOrigin, testKey(1).Public().(ed25519.PublicKey)); err != nil {
		t.Fatal(err)
	} else if c, err := v.Checkpoint(before); err != nil || c.Size != 7 {
		t.Fatal(c, err)
	}
	f := m.file("audit.checkpoint")
	f.data[3] ^= 1
	f.data[slotSize+3] ^= 1
	_, err = readCheckpoint(m, "/d", Audit)
	wantCode(t, err, "checkpoint_damaged")
	wantCode(t, s.put(bytes.Repeat([]byte{'x'}, slotNote+1)), "checkpoint_too_long")
	if gov.KindOf(err) != gov.KindIntegrity {
		t.Fatal(err)
	}
}
