package verify

import (
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
)

// Proof checks a C2SP tlog-proof: that the record it carries (or
// Options.Record) stands in the log whose key is Options.Key. Nothing but the
// proof and the key is needed.
func Proof(text []byte, o Options) Result {
	r := newResult("proof")
	p, err := ledger.ParseProof(text)
	if err != nil {
		r.failed(0, err)
		return r.done()
	}
	line := o.Record
	if line == nil {
		line = p.Extra
	}
	r.Checked["index"] = p.Index
	c, err := ledger.ParseCheckpoint(p.Checkpoint)
	if err == nil {
		r.Checked["origin"], r.Checked["size"], r.Checked["root"] = c.Origin, c.Size, c.Root.String()
	}
	if len(line) == 0 {
		r.fail("record_missing", p.Index, "unchecked: the proof does not carry its record; give the record's line too")
		return r.done()
	}
	r.Checked["record"] = gov.DigestOf(line)
	if o.Key == "" {
		r.fail("signatures_unchecked", p.Index, "unchecked: there is no key to check the signed checkpoint against; give one with --vkey")
		return r.done()
	}
	v, err := ledger.ParseVerifier(o.Key)
	if err != nil {
		r.failed(p.Index, err)
		return r.done()
	}
	if _, err := v.Proof(p, line); err != nil {
		r.failed(p.Index, err)
	}
	return r.done()
}

// Consistent checks that one signed checkpoint continues an older one of the
// same log: proof are the hashes of RFC 6962, section 2.1.2, base64. The error
// says why not.
func Consistent(key string, older, newer []byte, proof []string) error {
	v, err := ledger.ParseVerifier(key)
	if err != nil {
		return err
	}
	hashes, err := parseHashes(proof)
	if err != nil {
		return err
	}
	return v.Consistent(older, newer, hashes)
}

func parseHashes(text []string) ([]ledger.Hash, error) {
	if len(text) > 64 {
		return nil, gov.Errorf(gov.KindInvalid, "proof_malformed", "a consistency proof has at most 64 hashes")
	}
	out := make([]ledger.Hash, len(text))
	for i, s := range text {
		if err := out[i].UnmarshalJSON([]byte(`"` + s + `"`)); err != nil {
			return nil, gov.Errorf(gov.KindInvalid, "proof_malformed", "hash %d of the proof is malformed: %w", i, err)
		}
	}
	return out, nil
}
