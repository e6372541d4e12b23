package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

// First lines of the two notes (see "Turns" in the package comment).
const (
	keyHeader   = "govern-log-key/v1"
	epochHeader = "govern-log-epoch/v1"
)

// turnMark is how a JSON string that holds a turn begins.
var turnMark = []byte(`"govern-log-`)

// Turn is a key change or a new epoch. Note is its signed note, Index the
// record that holds it.
type Turn struct {
	Index uint64 `json:"index"`
	Note  string `json:"note"`
}

// identity is who signs a log's checkpoints from some size on.
type identity struct {
	base  string // origin without epoch
	epoch int    // from 1
	pub   ed25519.PublicKey
}

// origin is the base, or BASE/epoch-N from the second epoch on.
func (id identity) origin() string {
	if id.epoch <= 1 {
		return id.base
	}
	return fmt.Sprintf("%s/epoch-%d", id.base, id.epoch)
}

func (id identity) verifier() keyVerifier { return newKeyVerifier(id.origin(), id.pub) }

func (id identity) equal(o identity) bool {
	return id.base == o.base && id.epoch == o.epoch && id.pub.Equal(o.pub)
}

// keyChangeNote renders and signs a key change.
func keyChangeNote(index uint64, from, to *keySigner) (string, error) {
	was, err := VerifierKey(from.name, from.pub)
	if err != nil {
		return "", err
	}
	is, err := VerifierKey(to.name, to.pub)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s\n%s\n%d\n%s\n%s\n", keyHeader, from.name, index, was, is)
	msg, err := note.Sign(&note.Note{Text: text}, from, to)
	return string(msg), err
}

// epochNote renders and signs the beginning of an epoch.
func epochNote(base string, l Loss, signer *keySigner) (string, error) {
	vkey, err := VerifierKey(signer.name, signer.pub)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s\n%s\n%d\n%d\n%s\n%d\n%s\n%s\n",
		epochHeader, base, l.Epoch, l.Kept, l.KeptRoot, l.Lost.Size, l.Lost.Root, vkey)
	msg, err := note.Sign(&note.Note{Text: text}, signer)
	return string(msg), err
}

// step is a turn whose own signatures verify: it leads from one identity to
// another. Whether the log ever was the first one, only the chain can tell. An
// epoch may skip numbers (those of epochs whose record was lost).
type step struct {
	from, to identity
	epoch    bool
}

func (s step) continues(id identity) bool {
	if s.epoch {
		return id.base == s.to.base && id.pub.Equal(s.to.pub) && id.epoch < s.to.epoch
	}
	return s.from.equal(id)
}

// parseTurn verifies a turn on its own.
func parseTurn(t Turn) (step, error) {
	text, _, _ := strings.Cut(t.Note, "\n\n")
	f := strings.Split(text, "\n")
	switch {
	case len(f) == 5 && f[0] == keyHeader && f[2] == strconv.FormatUint(t.Index, 10):
		return parseKeyChange(t, f)
	case len(f) == 8 && f[0] == epochHeader && f[3] == strconv.FormatUint(t.Index, 10):
		return parseEpoch(t, f)
	}
	return step{}, errTurn("it is neither a key change nor an epoch of this record")
}

func errTurn(format string, args ...any) *gov.Error {
	return gov.Errorf(gov.KindIntegrity, "turn_invalid", "not a turn of the log: "+format, args...)
}

func parseKeyChange(t Turn, f []string) (s step, err error) {
	base, epoch := splitOrigin(f[1])
	s = step{from: identity{base: base, epoch: epoch}, to: identity{base: base, epoch: epoch}}
	for i, id := range []*identity{&s.from, &s.to} {
		var origin string
		if origin, id.pub, err = parseVerifierKey(f[3+i]); err != nil {
			return s, err
		}
		if origin != f[1] {
			return s, errTurn("its keys are of another log")
		}
		if _, _, err := openNote([]byte(t.Note), id.verifier()); err != nil {
			return s, err
		}
	}
	if s.from.pub.Equal(s.to.pub) {
		return s, errTurn("it changes nothing")
	}
	return s, nil
}

func parseEpoch(t Turn, f []string) (s step, err error) {
	epoch, ok := parseDecimal(f[2])
	origin, pub, err := parseVerifierKey(f[7])
	if err != nil {
		return s, err
	}
	s = step{from: identity{f[1], 0, pub}, to: identity{f[1], int(epoch), pub}, epoch: true}
	if !ok || epoch < 2 || epoch > 1<<31 || s.to.origin() != origin {
		return s, errTurn("its epoch is not that of its key")
	}
	_, _, err = openNote([]byte(t.Note), s.to.verifier())
	return s, err
}

// splitOrigin is the inverse of identity.origin.
func splitOrigin(origin string) (base string, epoch int) {
	if i := strings.LastIndex(origin, "/epoch-"); i > 0 {
		if n, ok := parseDecimal(origin[i+len("/epoch-"):]); ok && n >= 2 && n <= 1<<31 {
			return origin[:i], int(n)
		}
	}
	return origin, 1
}

// findTurns lists the turns in a line that verify on their own. Anything else
// that looks like one is only text.
func findTurns(index uint64, line []byte) (found []Turn) {
	for rest := line; ; {
		i := bytes.Index(rest, turnMark)
		if i < 0 {
			return found
		}
		rest = rest[i:]
		end, why := scanString(rest, 1)
		if why != "" {
			return found
		}
		t := Turn{Index: index}
		if json.Unmarshal(rest[:end], &t.Note) == nil {
			if _, err := parseTurn(t); err == nil {
				found = append(found, t)
			}
		}
		rest = rest[end:]
	}
}

// lineage is who signs at which size: id[i] from size from[i] on.
type lineage struct {
	from []uint64
	id   []identity
}

func newLineage(first identity) lineage {
	return lineage{from: []uint64{0}, id: []identity{first}}
}

// add continues the lineage, or says why t does not.
func (l *lineage) add(t Turn) error {
	s, err := parseTurn(t)
	if err != nil {
		return err
	}
	n := len(l.id) - 1
	if t.Index+1 <= l.from[n] || !s.continues(l.id[n]) {
		return errTurn("it does not continue the key and epoch before it")
	}
	l.from = append(l.from, t.Index+1)
	l.id = append(l.id, s.to)
	return nil
}

// at is who signs a checkpoint of a size.
func (l *lineage) at(size uint64) identity {
	i := len(l.from) - 1
	for l.from[i] > size {
		i--
	}
	return l.id[i]
}

func (l *lineage) last() identity { return l.id[len(l.id)-1] }

func (l *lineage) clone() lineage {
	return lineage{from: slices.Clone(l.from), id: slices.Clone(l.id)}
}

// lineageTo walks found turns back from the identity that a writer has now. A
// turn that somebody without the keys put into the log leads nowhere and is
// passed over.
func lineageTo(base string, pub ed25519.PublicKey, turns []Turn) (lineage, error) {
	var steps []step
	var at []uint64
	want := pub
	for _, t := range slices.Backward(turns) {
		s, err := parseTurn(t)
		if err != nil || s.to.base != base || !s.to.pub.Equal(want) {
			continue
		}
		if n := len(steps); n > 0 && !steps[n-1].continues(s.to) {
			continue
		}
		steps, at = append(steps, s), append(at, t.Index)
		want = s.from.pub
	}
	l := newLineage(identity{base, 1, want})
	for i, s := range slices.Backward(steps) {
		if !s.continues(l.last()) {
			return l, errTurn("the epochs of %s are not complete", base)
		}
		l.from = append(l.from, at[i]+1)
		l.id = append(l.id, s.to)
	}
	return l, nil
}
