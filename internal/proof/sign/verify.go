package sign

import (
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

// Verify reads the bytes of a statement file and proves who made it: a key of
// reg that may sign at the time at. It gives what the log keeps (Time is at;
// Index is for the caller to set) and the statement itself with its free text.
//
// Presence is true when the signature came from a security key that was
// touched; a plain key proves none.
//
// Codes: json_* and envelope_*, statement_*, key_type, key_too_short,
// key_malformed, signature_malformed, signature_hash, signature_not_canonical,
// signature_keyid (KindInvalid); signature_namespace, signature_invalid,
// registry_key_twice (KindIntegrity); signature_no_presence, signer_unknown,
// key_expired, key_not_yet_valid (KindDenied); statement_expired (KindRefused).
func Verify(envelopeBytes []byte, reg gov.Registry, at time.Time) (gov.Recorded, gov.Statement, error) {
	rec, st, err := verify(envelopeBytes, reg, at)
	if err != nil {
		return gov.Recorded{}, gov.Statement{}, err
	}
	return rec, st, nil
}

func verify(file []byte, reg gov.Registry, at time.Time) (rec gov.Recorded, st gov.Statement, err error) {
	o, err := open(file)
	if err != nil {
		return rec, st, err
	}
	pub, err := verifyBlob(o.blob, o.message)
	if err != nil {
		return rec, st, err
	}
	fingerprint := ssh.FingerprintSHA256(pub)
	if o.keyID != fingerprint {
		return rec, st, gov.Errorf(gov.KindInvalid, "signature_keyid", "the keyid is not the fingerprint of the key that signed")
	}
	if st, err = decode(o.payload); err != nil {
		return rec, st, err
	}
	person, err := signer(reg, fingerprint, at)
	if err != nil {
		return rec, st, err
	}
	if !st.Expires.IsZero() && !at.Before(st.Expires) {
		return rec, st, gov.Errorf(gov.KindRefused, "statement_expired", "the statement of %s expired at %s", person.Handle, st.Expires.Format(time.RFC3339)).
			WithHint("ask %s for a new statement", person.Handle)
	}
	return record(file, st, person, fingerprint, isSK(pub.Type()), at), st, nil
}

// signer finds whose key it is and whether it may sign at the time at.
func signer(reg gov.Registry, fingerprint string, at time.Time) (gov.Person, error) {
	var who gov.Person
	var key gov.Key
	found := 0
	for _, p := range reg.People {
		for _, k := range p.Keys {
			if k.Fingerprint == fingerprint {
				who, key = p, k
				found++
			}
		}
	}
	switch {
	case found == 0:
		return who, gov.Errorf(gov.KindDenied, "signer_unknown", "the key %s is not in the registry", fingerprint).
			WithHint("add it to .govern/allowed_signers by a change of its own")
	case found > 1:
		return who, gov.Errorf(gov.KindIntegrity, "registry_key_twice", "the registry lists the key %s more than once", fingerprint)
	case !key.NotBefore.IsZero() && at.Before(key.NotBefore):
		return who, gov.Errorf(gov.KindDenied, "key_not_yet_valid", "the key %s of %s is valid from %s on", fingerprint, who.Handle, key.NotBefore.Format(time.RFC3339))
	case !key.ValidAt(at):
		return who, gov.Errorf(gov.KindDenied, "key_expired", "the key %s of %s was valid until %s", fingerprint, who.Handle, key.NotAfter.Format(time.RFC3339)).
			WithHint("sign again with a key that is valid")
	}
	return who, nil
}

// record leaves out the free text.
func record(file []byte, st gov.Statement, p gov.Person, fingerprint string, presence bool, at time.Time) gov.Recorded {
	return gov.Recorded{
		Digest: gov.DigestOf(file), Decision: st.Decision, Stage: st.Stage, Change: st.Change, Target: st.Target,
		Role: st.Role, Revision: st.Revision, Artifacts: st.Artifacts, Risk: st.Risk, Outcome: st.Outcome,
		Subject: st.Subject, Requirements: st.Requirements, Evidence: st.Evidence,
		Assessed: strings.TrimSpace(st.RiskAssessment) != "", Explained: strings.TrimSpace(st.Rationale) != "",
		Expires: st.Expires, Signer: p.Handle, SignerKind: p.Kind, Key: fingerprint, Presence: presence, Time: at.UTC(),
	}
}
