package ledger

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

// Types of keys in a verifier key (c2sp.org/signed-note).
const (
	algEd25519     = 1
	algCosignature = 4 // c2sp.org/tlog-cosignature, Ed25519
)

// Checkpoint is a parsed tree head; one that a Verifier returned is signed by
// the log.
type Checkpoint struct {
	Origin   string
	Size     uint64
	Root     Hash
	Note     []byte   // the whole signed note
	Cosigned []string // names of known witnesses whose signature verifies
}

// ParseCheckpoint reads the text of a signed note without verifying it.
// Extension lines are refused: no log of this package writes any.
func ParseCheckpoint(msg []byte) (Checkpoint, error) {
	text, _, ok := bytes.Cut(msg, []byte("\n\n"))
	lines := strings.Split(string(text), "\n")
	if !ok || len(lines) != 3 || !isOrigin(lines[0]) {
		return Checkpoint{}, gov.Errorf(gov.KindInvalid, "checkpoint_invalid", "this is not a checkpoint: three lines and a signature are expected")
	}
	size, okSize := parseDecimal(lines[1])
	root, err := parseHash(lines[2])
	if !okSize || err != nil {
		return Checkpoint{}, gov.Errorf(gov.KindInvalid, "checkpoint_invalid", "this is not a checkpoint: size or root hash is malformed")
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root, Note: bytes.Clone(msg)}, nil
}

// checkpointText is the part of a checkpoint that is signed.
func checkpointText(origin string, size uint64, root Hash) string {
	return origin + "\n" + strconv.FormatUint(size, 10) + "\n" + root.String() + "\n"
}

// parseDecimal accepts only the canonical spelling of 0 … 2^63-1.
func parseDecimal(s string) (uint64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return uint64(n), err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// parseHash accepts only the canonical base64 of 32 bytes.
func parseHash(s string) (Hash, error) {
	h, err := tlog.ParseHash(s)
	if err == nil && h.String() != s {
		return h, base64.CorruptInputError(0)
	}
	return h, err
}

// isOrigin is what a note key name may be, and short enough for a slot.
func isOrigin(s string) bool {
	return s != "" && len(s) <= 256 && utf8.ValidString(s) && !strings.Contains(s, "+") &&
		strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) < 0
}

// VerifierKey is origin and key in the form of c2sp.org/signed-note.
func VerifierKey(origin string, key ed25519.PublicKey) (string, error) {
	vkey, err := note.NewEd25519VerifierKey(origin, key)
	if err != nil || !isOrigin(origin) {
		return "", gov.Errorf(gov.KindInvalid, "origin_invalid", "%q cannot name a log: no blanks, no plus sign, at most 256 bytes", origin)
	}
	return vkey, nil
}

// parseVerifierKey takes a key of type Ed25519 apart.
func parseVerifierKey(vkey string) (origin string, key ed25519.PublicKey, err error) {
	name, rest, _ := strings.Cut(vkey, "+")
	_, b64, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err == nil && len(raw) == 1+ed25519.PublicKeySize && raw[0] == algEd25519 {
		key = ed25519.PublicKey(raw[1:])
		if again, err := VerifierKey(name, key); err == nil && again == vkey {
			return name, key, nil
		}
	}
	return "", nil, gov.Errorf(gov.KindInvalid, "verifier_key_invalid", "%q is not an Ed25519 verifier key (NAME+HASH+KEY)", vkey)
}

// keySigner signs notes under a name with a crypto.Signer.
type keySigner struct {
	name string
	hash uint32
	key  crypto.Signer
	pub  ed25519.PublicKey
}

func newSigner(name string, key crypto.Signer) (*keySigner, error) {
	if key == nil {
		return nil, gov.Errorf(gov.KindInvalid, "log_key_missing", "a log needs a key to sign its checkpoints")
	}
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, gov.Errorf(gov.KindInvalid, "log_key_invalid", "the log's key must be an Ed25519 key")
	}
	if _, err := VerifierKey(name, pub); err != nil {
		return nil, err
	}
	return &keySigner{name: name, hash: keyHash(name, algEd25519, pub), key: key, pub: pub}, nil
}

func keyHash(name string, alg byte, key []byte) uint32 {
	sum := sha256.Sum256(append(append([]byte(name+"\n"), alg), key...))
	return binary.BigEndian.Uint32(sum[:])
}

func (s *keySigner) Name() string    { return s.name }
func (s *keySigner) KeyHash() uint32 { return s.hash }

func (s *keySigner) Sign(msg []byte) ([]byte, error) {
	return s.key.Sign(rand.Reader, msg, crypto.Hash(0))
}

// keyVerifier is the other side of keySigner.
type keyVerifier struct {
	name string
	hash uint32
	pub  ed25519.PublicKey
}

func newKeyVerifier(name string, pub ed25519.PublicKey) keyVerifier {
	return keyVerifier{name, keyHash(name, algEd25519, pub), pub}
}

func (v keyVerifier) Name() string                { return v.name }
func (v keyVerifier) KeyHash() uint32             { return v.hash }
func (v keyVerifier) Verify(msg, sig []byte) bool { return ed25519.Verify(v.pub, msg, sig) }

// openNote verifies a note by one key of the log and any witnesses; the log's
// signature must be there.
func openNote(msg []byte, log keyVerifier, witnesses ...note.Verifier) (*note.Note, []string, error) {
	n, err := note.Open(msg, note.VerifierList(append([]note.Verifier{log}, witnesses...)...))
	if err != nil {
		return nil, nil, gov.Errorf(gov.KindIntegrity, "signature_invalid", "not signed by %s: %w", log.name, err)
	}
	signed := false
	var others []string
	for _, s := range n.Sigs {
		if s.Name == log.name && s.Hash == log.hash {
			signed = true
		} else {
			others = append(others, s.Name)
		}
	}
	if !signed {
		return nil, nil, gov.Errorf(gov.KindIntegrity, "signature_missing", "not signed by %s", log.name)
	}
	return n, others, nil
}
