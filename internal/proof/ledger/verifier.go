package ledger

import (
	"crypto/ed25519"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

// Verifier checks checkpoints and proofs offline, from one pinned key on. Turns
// must be added before it is used concurrently.
type Verifier struct {
	line      lineage
	witnesses []note.Verifier
}

// NewVerifier pins origin (without epoch) and key.
func NewVerifier(origin string, key ed25519.PublicKey, witnesses ...note.Verifier) (*Verifier, error) {
	if _, err := VerifierKey(origin, key); err != nil {
		return nil, err
	}
	return &Verifier{line: newLineage(identity{origin, 1, key}), witnesses: witnesses}, nil
}

// ParseVerifier pins a verifier key in the form of c2sp.org/signed-note.
func ParseVerifier(vkey string, witnesses ...note.Verifier) (*Verifier, error) {
	origin, key, err := parseVerifierKey(vkey)
	if err != nil {
		return nil, err
	}
	return NewVerifier(origin, key, witnesses...)
}

// AddTurn accepts the next key change or epoch, in the order of the log, or says
// as turn_invalid why it does not continue what the verifier knows. Turns of a
// Reader may be text that somebody without the keys put into the log: pass over
// those that are refused.
//
// A turn is signed by the log's keys, so it may come from anywhere; that its
// record stands in the log is for Check or a Proof to show.
func (v *Verifier) AddTurn(t Turn) error { return v.line.add(t) }

// Origin is the pinned origin, without an epoch.
func (v *Verifier) Origin() string { return v.line.id[0].base }

// clone lets a check add turns without changing its caller's verifier.
func (v *Verifier) clone() *Verifier {
	return &Verifier{line: v.line.clone(), witnesses: v.witnesses}
}

// Checkpoint verifies a signed note: by the key, and under the origin, that sign
// at its size. Errors: checkpoint_invalid, signature_invalid, signature_missing.
func (v *Verifier) Checkpoint(msg []byte) (Checkpoint, error) {
	c, err := ParseCheckpoint(msg)
	if err != nil {
		return c, err
	}
	id := v.line.at(c.Size)
	if c.Origin != id.origin() {
		return c, gov.Errorf(gov.KindIntegrity, "origin_mismatch", "the checkpoint is of %s, not of %s", c.Origin, id.origin())
	}
	_, c.Cosigned, err = openNote(msg, id.verifier(), v.witnesses...)
	return c, err
}

// Proof verifies that line is record p.Index of the log, and returns the
// checkpoint that says so. Errors: those of Checkpoint, and proof_invalid.
func (v *Verifier) Proof(p Proof, line []byte) (Checkpoint, error) {
	c, err := v.Checkpoint(p.Checkpoint)
	if err != nil {
		return c, err
	}
	if p.Index >= c.Size || tlog.CheckRecord(p.Path, int64(c.Size), c.Root, int64(p.Index), tlog.RecordHash(line)) != nil {
		return c, gov.Errorf(gov.KindIntegrity, "proof_invalid", "the line is not record %d of %s", p.Index, c.Origin)
	}
	return c, nil
}

// Consistent verifies that the tree of older is a prefix of that of newer.
// Errors: those of Checkpoint, and proof_invalid.
func (v *Verifier) Consistent(older, newer []byte, proof []Hash) error {
	a, err := v.Checkpoint(older)
	if err != nil {
		return err
	}
	b, err := v.Checkpoint(newer)
	if err != nil {
		return err
	}
	if a.Size == 0 && len(proof) == 0 {
		return nil
	}
	if a.Size > b.Size || tlog.CheckTree(proof, int64(b.Size), b.Root, int64(a.Size), a.Root) != nil {
		return gov.Errorf(gov.KindIntegrity, "proof_invalid", "the log of %d records is not the beginning of that of %d", a.Size, b.Size)
	}
	return nil
}
