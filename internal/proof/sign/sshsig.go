package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

// MinRSABits is the smallest RSA modulus whose signatures count.
const MinRSABits = 3072

// maxRSABits is OpenSSH's own limit; it bounds what a stranger's key may cost.
const maxRSABits = 16384

// wire is an SSHSIG blob (PROTOCOL.sshsig, "Blob format").
type wire struct {
	Magic         [6]byte
	Version       uint32
	PublicKey     string
	Namespace     string
	Reserved      string
	HashAlgorithm string
	Signature     string
}

// isSK tells whether a key of this type lives in a FIDO security key.
func isSK(keyType string) bool {
	return keyType == ssh.KeyAlgoSKED25519 || keyType == ssh.KeyAlgoSKECDSA256
}

// usableKey refuses keys whose signatures do not count: DSA, short RSA,
// certificates, and types we do not know.
func usableKey(pub ssh.PublicKey) error {
	switch pub.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoRSA:
		switch n := rsaKey(pub).N.BitLen(); {
		case n < MinRSABits:
			return gov.Errorf(gov.KindInvalid, "key_too_short", "the RSA key has %d bits; at least %d count", n, MinRSABits).
				WithHint("ssh-keygen -t ed25519")
		case n > maxRSABits:
			return gov.Errorf(gov.KindInvalid, "key_too_long", "the RSA key has %d bits; at most %d count", n, maxRSABits)
		}
		return nil
	}
	return gov.Errorf(gov.KindInvalid, "key_type", "keys of type %s do not count", short(pub.Type())).
		WithHint("ssh-keygen -t ed25519-sk, or ssh-keygen -t ed25519")
}

func rsaKey(pub ssh.PublicKey) *rsa.PublicKey {
	return pub.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey)
}

// parsePublic reads the wire form of a key and demands its one spelling, so
// that one key has one fingerprint.
func parsePublic(b []byte) (ssh.PublicKey, error) {
	var head struct {
		Type string
		Rest []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(b, &head); err == nil && head.Type == "ssh-dss" {
		return nil, gov.Errorf(gov.KindInvalid, "key_type", "DSA keys do not count").WithHint("ssh-keygen -t ed25519")
	}
	pub, err := ssh.ParsePublicKey(b)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "key_malformed", "the public key cannot be read: %w", err)
	}
	if !bytes.Equal(pub.Marshal(), b) {
		return nil, gov.Errorf(gov.KindInvalid, "key_malformed", "the public key is not in its canonical form")
	}
	return pub, usableKey(pub)
}

// parseBlob reads an SSHSIG blob made for namespace and refuses every spelling
// but one.
func parseBlob(blob []byte, namespace string) (*sshsig.Signature, error) {
	var w wire
	if err := ssh.Unmarshal(blob, &w); err != nil || string(w.Magic[:]) != "SSHSIG" || w.Version != 1 {
		return nil, gov.Errorf(gov.KindInvalid, "signature_malformed", "this is no SSH signature of version 1")
	}
	if w.Namespace != namespace {
		return nil, gov.Errorf(gov.KindIntegrity, "signature_namespace", "the signature was made for %q, not for %q", short(w.Namespace), namespace).
			WithHint("ssh-keygen -Y sign -n %s", namespace)
	}
	if w.HashAlgorithm != sshsig.HashSHA512.String() {
		return nil, gov.Errorf(gov.KindInvalid, "signature_hash", "the signature was made over another hash than sha512")
	}
	pub, err := parsePublic([]byte(w.PublicKey))
	if err != nil {
		return nil, err
	}
	var inner ssh.Signature
	if err := ssh.Unmarshal([]byte(w.Signature), &inner); err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "signature_malformed", "the signature cannot be read: %w", err)
	}
	if !formatFits(inner.Format, pub.Type()) {
		return nil, gov.Errorf(gov.KindInvalid, "signature_algorithm", "signatures of the form %q do not count for a key of type %s", short(inner.Format), pub.Type())
	}
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "signature_malformed", "the signature cannot be read: %w", err)
	}
	if !bytes.Equal(sig.Marshal(), blob) || !oneSpelling(sig) {
		return nil, gov.Errorf(gov.KindInvalid, "signature_not_canonical", "the signature is not in its one canonical spelling").
			WithHint("attach it with govern, which brings it there")
	}
	return sig, nil
}

// formatFits tells which signature algorithm a key type uses: its own, and for
// RSA only those with SHA-2.
func formatFits(format, keyType string) bool {
	if keyType == ssh.KeyAlgoRSA {
		return format == ssh.KeyAlgoRSASHA256 || format == ssh.KeyAlgoRSASHA512
	}
	return format == keyType
}

// verifySig checks a signature from parseBlob over message.
func verifySig(sig *sshsig.Signature, message []byte, namespace string) error {
	if isSK(sig.PublicKey.Type()) && sig.Signature.Rest[0]&1 == 0 {
		return gov.Errorf(gov.KindDenied, "signature_no_presence", "the security key signed without being touched").
			WithHint("make the key again without -O no-touch-required")
	}
	if err := sshsig.Verify(bytes.NewReader(message), sig, sig.PublicKey, sshsig.HashSHA512, namespace); err != nil {
		return gov.Errorf(gov.KindIntegrity, "signature_invalid", "the signature does not belong to this statement: %w", err)
	}
	return nil
}

// ecdsaPair is the blob of an ECDSA signature (RFC 5656, section 3.1.2).
type ecdsaPair struct{ R, S *big.Int }

// order is the group order of an ECDSA key, nil for other keys.
func order(pub ssh.PublicKey) *big.Int {
	switch pub.Type() {
	case ssh.KeyAlgoSKECDSA256:
		return elliptic.P256().Params().N
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return pub.(ssh.CryptoPublicKey).CryptoPublicKey().(*ecdsa.PublicKey).Params().N
	}
	return nil
}

// oneSpelling refuses the other signatures that anybody could make out of a
// valid one: (r, n−s) for ECDSA, RSA with its leading zeros left out, bytes
// behind a signature that nobody reads.
func oneSpelling(sig *sshsig.Signature) bool {
	s := sig.Signature
	rest := 0
	if isSK(sig.PublicKey.Type()) {
		rest = 5 // flags, counter
	}
	if len(s.Rest) != rest {
		return false
	}
	if sig.PublicKey.Type() == ssh.KeyAlgoRSA {
		return len(s.Blob) == rsaKey(sig.PublicKey).Size()
	}
	n := order(sig.PublicKey)
	if n == nil {
		return true
	}
	var pair ecdsaPair
	if ssh.Unmarshal(s.Blob, &pair) != nil || !bytes.Equal(ssh.Marshal(pair), s.Blob) {
		return false
	}
	return pair.R.Sign() > 0 && pair.S.Sign() > 0 && new(big.Int).Lsh(pair.S, 1).Cmp(n) < 0
}

// normalise brings a signature as tools make it into its one spelling. It
// proves nothing; verifyBlob comes after it.
func normalise(sig *sshsig.Signature) {
	s := sig.Signature
	if sig.PublicKey.Type() == ssh.KeyAlgoRSA {
		if missing := rsaKey(sig.PublicKey).Size() - len(s.Blob); missing > 0 {
			s.Blob = append(make([]byte, missing), s.Blob...)
		}
		return
	}
	n := order(sig.PublicKey)
	var pair ecdsaPair
	if n == nil || ssh.Unmarshal(s.Blob, &pair) != nil {
		return
	}
	if new(big.Int).Lsh(pair.S, 1).Cmp(n) > 0 {
		pair.S.Sub(n, pair.S)
	}
	s.Blob = ssh.Marshal(pair)
}
