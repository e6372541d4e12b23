package sign

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/hiddeco/sshsig"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

// Nonce is 16 fresh random bytes in hex, for gov.Statement.Nonce.
func Nonce() string {
	b := make([]byte, minNonce)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// Message gives the bytes that are signed for st: the DSSE pre-authentication
// encoding of its canonical payload. Times are taken in UTC. Errors: the
// statement_* codes of a statement that Verify would refuse.
func Message(st gov.Statement) ([]byte, error) {
	payload, err := encode(inUTC(st))
	if err != nil {
		return nil, err
	}
	return dsse.PAE(PayloadType, payload), nil
}

func inUTC(st gov.Statement) gov.Statement {
	st.Issued = st.Issued.UTC()
	if !st.Expires.IsZero() {
		st.Expires = st.Expires.UTC()
	}
	return st
}

// Seal signs st with s and gives the bytes of the statement file; their
// gov.DigestOf is the statement's digest. An empty nonce is filled in.
func Seal(ctx context.Context, st gov.Statement, s Signer) ([]byte, error) {
	if st.Nonce == "" {
		st.Nonce = Nonce()
	}
	if err := usableKey(s.PublicKey()); err != nil {
		return nil, err
	}
	message, err := Message(st)
	if err != nil {
		return nil, err
	}
	blob, err := s.Sign(ctx, gov.SSHNamespace, message)
	if err != nil {
		return nil, err
	}
	return assemble(message, blob, s.PublicKey())
}

// Attach joins a message from Message and the armored signature that
// `ssh-keygen -Y sign -n govern-statement` made over it into a statement file.
func Attach(message, armored []byte) ([]byte, error) {
	sig, err := sshsig.Unarmor(armored)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "signature_malformed", "this is no SSH signature: %w", err)
	}
	return assemble(message, sig.Marshal(), nil)
}

// assemble brings the signature into its one spelling, checks it, and packs.
// pub, when given, must be the key that signed.
func assemble(message, blob []byte, pub ssh.PublicKey) ([]byte, error) {
	payload, err := unPAE(message)
	if err != nil {
		return nil, err
	}
	if _, err := decode(payload); err != nil {
		return nil, err
	}
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "signature_malformed", "the signature cannot be read: %w", err)
	}
	if pub != nil && !bytes.Equal(pub.Marshal(), sig.PublicKey.Marshal()) {
		return nil, gov.Errorf(gov.KindIntegrity, "signature_other_key", "the signature was made with another key than asked for")
	}
	normalise(sig)
	blob = sig.Marshal()
	if sig, err = parseBlob(blob, gov.SSHNamespace); err != nil {
		return nil, err
	}
	if err := verifySig(sig, message, gov.SSHNamespace); err != nil {
		return nil, err
	}
	return pack(payload, ssh.FingerprintSHA256(sig.PublicKey), blob)
}

// unPAE takes the payload back out of a pre-authentication encoding.
func unPAE(message []byte) ([]byte, error) {
	_, rest, _ := strings.Cut(string(message), " "+PayloadType+" ")
	_, payload, ok := strings.Cut(rest, " ")
	if !ok || !bytes.Equal(dsse.PAE(PayloadType, []byte(payload)), message) {
		return nil, gov.Errorf(gov.KindInvalid, "statement_message", "this is not the message of a statement")
	}
	return []byte(payload), nil
}

// ExportForSSHKeygen gives what stock ssh-keygen needs to check the envelope:
// the signed message and the signature in its armor (see the package comment
// for the commands). It reads the envelope strictly but does not verify it.
func ExportForSSHKeygen(envelope []byte) (message, armoredSig []byte, err error) {
	o, err := open(envelope)
	if err != nil {
		return nil, nil, err
	}
	sig, err := parseBlob(o.blob, gov.SSHNamespace)
	if err != nil {
		return nil, nil, err
	}
	return o.message, sshsig.Armor(sig), nil
}
