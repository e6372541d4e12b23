package git

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// EnvelopeLimit is the size in bytes up to which a file can be a statement.
const EnvelopeLimit = 64 << 10

// The one spelling of a DSSE envelope of an in-toto Statement with one SSH
// signature: RFC 8785, and a line feed. Base64 and fingerprints need no escapes.
const (
	envelopeHead = `{"payload":"`
	envelopeType = `","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"`
	envelopeSig  = `","sig":"`
	envelopeTail = "\"}]}\n"

	fingerprintHead = "SHA256:"
	fingerprintSize = 43 // base64 of 32 bytes without padding

	inTotoStatement = "https://in-toto.io/Statement/v1"
)

// envelopeOf gives the change that a file is a statement about, judged by its
// shape alone, as doc.go specifies it; "" for everything else. Whether it is
// genuine is proved elsewhere.
func envelopeOf(file []byte) gov.ChangeID {
	if len(file) > EnvelopeLimit {
		return ""
	}
	rest, ok := bytes.CutPrefix(file, []byte(envelopeHead))
	if !ok {
		return ""
	}
	payload64, rest, ok := bytes.Cut(rest, []byte(envelopeType))
	if !ok {
		return ""
	}
	keyID, rest, ok := bytes.Cut(rest, []byte(envelopeSig))
	if !ok || !isFingerprint(keyID) {
		return ""
	}
	sig64, ok := bytes.CutSuffix(rest, []byte(envelopeTail))
	if !ok || len(plain64(sig64)) == 0 {
		return ""
	}
	return statementOf(plain64(payload64))
}

// statementOf gives the change that the predicate of an in-toto Statement names.
func statementOf(payload []byte) gov.ChangeID {
	var in struct {
		Type          string                     `json:"_type"`
		Predicate     map[string]json.RawMessage `json:"predicate"`
		PredicateType string                     `json:"predicateType"`
		Subject       []json.RawMessage          `json:"subject"`
	}
	opts := strict.Options{MaxBytes: EnvelopeLimit, NoNull: true}
	if len(payload) == 0 || strict.Unmarshal(payload, &in, opts) != nil ||
		in.Type != inTotoStatement || in.PredicateType != gov.PredicateType {
		return ""
	}
	var name string
	if json.Unmarshal(in.Predicate["change"], &name) != nil {
		return ""
	}
	id, err := gov.ParseChangeID(name)
	if err != nil {
		return ""
	}
	return id
}

func isFingerprint(keyID []byte) bool {
	sum, ok := bytes.CutPrefix(keyID, []byte(fingerprintHead))
	if !ok || len(sum) != fingerprintSize || bytes.ContainsAny(sum, "\r\n") {
		return false
	}
	_, err := base64.RawStdEncoding.Strict().DecodeString(string(sum))
	return err == nil
}

// plain64 decodes base64 in its only spelling, or gives nothing.
func plain64(text []byte) []byte {
	if bytes.ContainsAny(text, "\r\n") { // which the decoder would skip
		return nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return nil
	}
	return b
}
