package gov

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Digest is "sha256:" and 64 lower-case hexadecimal digits; the zero value
// means "none".
type Digest string

// DigestOf hashes b with SHA-256.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// DigestSum wraps an already computed SHA-256.
func DigestSum(sum [sha256.Size]byte) Digest { return Digest("sha256:" + hex.EncodeToString(sum[:])) }

// ParseDigest refuses every spelling but the canonical one.
func ParseDigest(s string) (Digest, error) {
	h, ok := strings.CutPrefix(s, "sha256:")
	if ok && len(h) == 2*sha256.Size && strings.ToLower(h) == h {
		if _, err := hex.DecodeString(h); err == nil {
			return Digest(s), nil
		}
	}
	return "", Errorf(KindInvalid, "digest_invalid", "%q is not a digest; it has the form sha256:<64 hex digits>", s)
}

// Hex is the part behind "sha256:".
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// Short is the first 12 hexadecimal digits, for people.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}
