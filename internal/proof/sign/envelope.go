package sign

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/gowebpki/jcs"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

const (
	// MaxEnvelope is the largest statement file in bytes.
	MaxEnvelope = 64 << 10
	// PayloadType is the DSSE payloadType of an in-toto Statement.
	PayloadType = "application/vnd.in-toto+json"
	// StatementType is the _type of an in-toto Statement v1.
	StatementType = "https://in-toto.io/Statement/v1"
)

// envelope is dsse.Envelope with every key demanded by name.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// opened is an envelope taken apart, not yet verified.
type opened struct {
	payload []byte
	message []byte // what was signed: the PAE of payload
	keyID   string
	blob    []byte // SSHSIG
}

// canonical is the RFC 8785 form of v.
func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "statement_invalid", "the statement does not marshal: %w", err)
	}
	b, err = jcs.Transform(b)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "statement_invalid", "the statement has no canonical form: %w", err)
	}
	return b, nil
}

// open takes an envelope file apart and refuses everything that is not the one
// canonical spelling of a DSSE envelope with one signature.
func open(file []byte) (opened, error) {
	if len(file) > MaxEnvelope {
		return opened{}, gov.Errorf(gov.KindInvalid, "envelope_too_large", "the statement has %d bytes, more than the %d allowed", len(file), MaxEnvelope)
	}
	var e envelope
	if err := strict.Unmarshal(file, &e, strict.Options{Name: "statement", MaxBytes: MaxEnvelope, NoNull: true}); err != nil {
		return opened{}, err
	}
	if e.PayloadType != PayloadType {
		return opened{}, gov.Errorf(gov.KindInvalid, "envelope_payload_type", "the payloadType is not %s", PayloadType)
	}
	if err := oneSignature(e.Signatures); err != nil {
		return opened{}, err
	}
	payload, err := decode64("payload", e.Payload)
	if err != nil {
		return opened{}, err
	}
	blob, err := decode64("sig", e.Signatures[0].Sig)
	if err != nil {
		return opened{}, err
	}
	want, err := canonical(e)
	if err != nil {
		return opened{}, err
	}
	if string(file) != string(want)+"\n" {
		return opened{}, notCanonical("file")
	}
	return opened{payload: payload, message: dsse.PAE(PayloadType, payload), keyID: e.Signatures[0].KeyID, blob: blob}, nil
}

func notCanonical(what string) error {
	return gov.Errorf(gov.KindInvalid, "statement_not_canonical",
		"the %s is not in its one canonical form (compact RFC 8785 JSON, the file with one line feed at its end)", what).
		WithHint("use the file as govern wrote it; do not reformat it")
}

func oneSignature(sigs []signature) error {
	seen := map[string]bool{}
	for _, s := range sigs {
		if seen[s.KeyID] {
			return gov.Errorf(gov.KindInvalid, "envelope_duplicate_signature", "two signatures name the same key")
		}
		seen[s.KeyID] = true
	}
	switch len(sigs) {
	case 1:
		return nil
	case 0:
		return gov.Errorf(gov.KindInvalid, "envelope_unsigned", "the statement is not signed")
	}
	return gov.Errorf(gov.KindInvalid, "envelope_many_signatures", "the statement has %d signatures; each person signs a statement of their own", len(sigs))
}

// decode64 reads standard base64 with padding in its only spelling.
func decode64(what, s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, gov.Errorf(gov.KindInvalid, "envelope_base64", "the %s of the statement is not standard base64", what)
	}
	return b, nil
}

// pack writes the one canonical file.
func pack(payload []byte, keyID string, blob []byte) ([]byte, error) {
	b, err := canonical(envelope{
		PayloadType: PayloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures:  []signature{{KeyID: keyID, Sig: base64.StdEncoding.EncodeToString(blob)}},
	})
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	if len(b) > MaxEnvelope {
		return nil, gov.Errorf(gov.KindInvalid, "envelope_too_large", "the statement would have %d bytes, more than the %d allowed", len(b), MaxEnvelope).
			WithHint("shorten the rationale, or name long reports by digest")
	}
	return b, nil
}
