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
// key_too_long, key_malformed, signature_malformed, signature_algorithm,
// signature_hash, signature_not_canonical,
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
	sig, err := parseBlob(o.blob, gov.SSHNamespace)
	if err != nil {
		return rec, st, err
	}
	fingerprint := ssh.FingerprintSHA256(sig.PublicKey)
	if o.keyID != fingerprint {
		return rec, st, gov.Errorf(gov.KindInvalid, "signature_keyid", "the keyid is not the fingerprint of the key that signed")
	}
	person, key, err := signer(reg, fingerprint)
	if err != nil {
		return rec, st, err
	}
	if err := verifySig(sig, o.message, gov.SSHNamespace); err != nil {
		return rec, st, err
	}
	if st, err = decode(o.payload); err != nil {
		return rec, st, err
	}
	if err := validAt(person, key, at); err != nil {
		return rec, st, err
	}
	if !st.Expires.IsZero() && !at.Before(st.Expires) {
		return rec, st, gov.Errorf(gov.KindRefused, "statement_expired", "the statement of %s expired at %s", person.Handle, st.Expires.Format(time.RFC3339)).
			WithHint("ask %s for a new statement", person.Handle)
	}
	return record(file, st, person, fingerprint, isSK(sig.PublicKey.Type()), at), st, nil
}

// signer finds whose key it is.
func signer(reg gov.Registry, fingerprint string) (who gov.Person, key gov.Key, err error) {
	found := 0
	for _, p := range reg.People {
		for _, k := range p.Keys {
			if k.Fingerprint == fingerprint {
				who, key = p, k
				found++
			}
		}
	}
	switch found {
	case 1:
		return who, key, nil
	case 0:
		return who, key, gov.Errorf(gov.KindDenied, "signer_unknown", "the key %s is not in the registry", fingerprint).
			WithHint("add it to %s by a change of its own", RegistryPath)
	}
	return who, key, gov.Errorf(gov.KindIntegrity, "registry_key_twice", "the registry lists the key %s more than once", fingerprint)
}

// validAt tells why a key may not sign at the time at.
func validAt(who gov.Person, key gov.Key, at time.Time) error {
	switch {
	case key.ValidAt(at):
		return nil
	case !key.NotBefore.IsZero() && at.Before(key.NotBefore):
		return gov.Errorf(gov.KindDenied, "key_not_yet_valid", "the key %s of %s is valid from %s on", key.Fingerprint, who.Handle, key.NotBefore.Format(time.RFC3339))
	}
	return gov.Errorf(gov.KindDenied, "key_expired", "the key %s of %s was valid until %s", key.Fingerprint, who.Handle, key.NotAfter.Format(time.RFC3339)).
		WithHint("sign again with a key that is valid")
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
