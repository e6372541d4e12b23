package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

// witnessVerifier checks Ed25519 cosignatures (c2sp.org/tlog-cosignature): a
// signature is an 8-byte time in seconds and an Ed25519 signature.
type witnessVerifier struct {
	name string
	hash uint32
	pub  ed25519.PublicKey
}

func (w witnessVerifier) Name() string    { return w.name }
func (w witnessVerifier) KeyHash() uint32 { return w.hash }

func (w witnessVerifier) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	t := binary.BigEndian.Uint64(sig)
	return t>>63 == 0 && ed25519.Verify(w.pub, cosigned(msg, t), sig[8:])
}

// cosigned is the message that a witness signs.
func cosigned(msg []byte, unix uint64) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", unix), msg...)
}

// WitnessVerifier reads a witness's verifier key, NAME+HASH+KEY of type 0x04.
func WitnessVerifier(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hex, b64, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err == nil && isOrigin(name) && len(raw) == 1+ed25519.PublicKeySize && raw[0] == algCosignature {
		w := witnessVerifier{name, keyHash(name, algCosignature, raw[1:]), ed25519.PublicKey(raw[1:])}
		if h, err := strconv.ParseUint(hex, 16, 32); err == nil && uint32(h) == w.hash {
			return w, nil
		}
	}
	return nil, gov.Errorf(gov.KindInvalid, "witness_key_invalid", "%q is not the verifier key of a witness (NAME+HASH+KEY)", vkey)
}

// cosign joins a checkpoint with the signature lines of a witness's answer and
// keeps of them only what verifies. At least one must.
func cosign(c Checkpoint, log keyVerifier, lines []byte, witnesses []note.Verifier) ([]byte, error) {
	joined := append(bytes.Clone(c.Note), lines...)
	n, names, err := openNote(joined, log, witnesses...)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, gov.Errorf(gov.KindIntegrity, "cosignature_invalid", "no line is a cosignature of a known witness")
	}
	n.UnverifiedSigs = nil
	return note.Sign(n)
}

// witnessRequest is the body of an add-checkpoint request (c2sp.org/tlog-witness).
func witnessRequest(oldSize uint64, proof []Hash, checkpoint []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "old", oldSize)
	for _, h := range proof {
		fmt.Fprintln(&b, h)
	}
	fmt.Fprintln(&b)
	b.Write(checkpoint)
	return b.Bytes()
}
