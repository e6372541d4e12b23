package sign

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hiddeco/sshsig"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

func TestSealThenVerify(t *testing.T) {
	for _, name := range []string{"ed25519", "p256", "p384", "p521", "rsa"} {
		t.Run(name, func(t *testing.T) {
			key := testKey(t, name)
			st := approveStatement()
			file := seal(t, st, key)
			rec, got, err := Verify(file, registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey(), "bob": testKey(t, "other").PublicKey()}), now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(st, got); diff != "" {
				t.Error(diff)
			}
			want := gov.Recorded{
				Digest: gov.DigestOf(file), Decision: "approve", Stage: "final", Change: "CHANGE-7", Target: "studio", Role: "owner",
				Revision: st.Revision, Artifacts: st.Artifacts, Risk: "high", Outcome: st.Outcome, Assessed: true, Explained: true,
				Expires: st.Expires, Signer: "ana", SignerKind: "human", Key: ssh.FingerprintSHA256(key.PublicKey()), Time: now,
			}
			if diff := cmp.Diff(want, rec); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPayloadIsInToto(t *testing.T) {
	var p struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Name   string
			Digest map[string]string
		}
	}
	file := seal(t, approveStatement(), testKey(t, "ed25519"))
	if err := json.Unmarshal(payloadOf(t, file), &p); err != nil {
		t.Fatal(err)
	}
	got := []string{p.Type, p.PredicateType}
	for _, s := range p.Subject {
		got = append(got, s.Name+" "+s.Digest["sha256"])
	}
	want := []string{
		"https://in-toto.io/Statement/v1", gov.PredicateType,
		"change " + digestOf("change").Hex(), "tree " + digestOf("tree").Hex(), "artifact/studio " + digestOf("studio").Hex(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var e dsse.Envelope
	if err := json.Unmarshal(file, &e); err != nil {
		t.Fatal(err)
	}
	v, err := dsse.NewEnvelopeVerifier(dsseVerifier{testKey(t, "ed25519").PublicKey()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(context.Background(), &e); err != nil {
		t.Errorf("the DSSE library refuses the envelope: %v", err)
	}
}

// dsseVerifier lets the DSSE library drive the check with another reader of SSHSIG.
type dsseVerifier struct{ pub ssh.PublicKey }

func (v dsseVerifier) KeyID() (string, error)   { return ssh.FingerprintSHA256(v.pub), nil }
func (v dsseVerifier) Public() crypto.PublicKey { return nil }
func (v dsseVerifier) Verify(_ context.Context, data, sig []byte) error {
	s, err := sshsig.ParseSignature(sig)
	if err != nil {
		return err
	}
	return sshsig.Verify(bytes.NewReader(data), s, v.pub, sshsig.HashSHA512, gov.SSHNamespace)
}

// TestEnvelopeRefusals: a good envelope, one thing changed, the code.
func TestEnvelopeRefusals(t *testing.T) {
	key := testKey(t, "ed25519")
	reg := registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()})
	good := seal(t, approveStatement(), key)
	text := string(good)
	sub := func(old, new string) string { return strings.Replace(text, old, new, 1) }
	var e envelope
	if err := json.Unmarshal(good, &e); err != nil {
		t.Fatal(err)
	}
	with := func(sigs ...signature) string {
		b, err := canonical(envelope{e.PayloadType, e.Payload, append([]signature{}, sigs...)})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	one := e.Signatures[0]
	rows := []struct{ name, in, code string }{
		{"unknown key", sub(`"payload":`, `"extra":1,"payload":`), "json_unknown_key"},
		{"unknown key in a signature", sub(`"keyid":`, `"cert":"","keyid":`), "json_unknown_key"},
		{"duplicate key", sub(`"payloadType":`, `"payload":"","payloadType":`), "json_duplicate_key"},
		{"wrong type", sub(`"signatures":[`, `"signatures":[1,`), "json_wrong_type"},
		{"null", `{"payload":null,"payloadType":"x","signatures":[]}`, "json_wrong_type"},
		{"invalid UTF-8", sub(`"payload":"`, "\"payload\":\"\xff"), "json_invalid_utf8"},
		{"NUL", sub(`"payload":"`, `"payload":"\u0000`), "json_nul"},
		{"behind the end", text + "{}", "json_trailing"},
		{"empty", "", "json_syntax"},
		{"too large", text + strings.Repeat(" ", MaxEnvelope), "envelope_too_large"},
		{"payloadType", sub(PayloadType, "application/json"), "envelope_payload_type"},
		{"unsigned", with(), "envelope_unsigned"},
		{"unsigned by null", sub(`[{"keyid"`, `null,"x":[{"keyid"`), "json_wrong_type"},
		{"one key twice", with(one, one), "envelope_duplicate_signature"},
		{"two keys", with(one, signature{"SHA256:other", one.Sig}), "envelope_many_signatures"},
		{"no line feed", strings.TrimSuffix(text, "\n"), "statement_not_canonical"},
		{"two line feeds", text + "\n", "statement_not_canonical"},
		{"a space", sub(`:`, `: `), "statement_not_canonical"},
		{"an escape", sub(`payloadType`, `payload\u0054ype`), "statement_not_canonical"},
		{"payload in URL base64", sub(e.Payload, strings.NewReplacer("+", "-", "/", "_").Replace(e.Payload)+"-_"), "envelope_base64"},
		{"signature no base64", sub(one.Sig, "!"), "envelope_base64"},
		{"signature empty", sub(one.Sig, ""), "signature_malformed"},
		{"keyid", sub(one.KeyID, "SHA256:other"), "signature_keyid"},
		{"keyid empty", sub(one.KeyID, ""), "signature_keyid"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if r.in == text {
				t.Fatal("the row changes nothing")
			}
			rec, st, err := Verify([]byte(r.in), reg, now)
			wantCode(t, err, gov.KindInvalid, r.code)
			if diff := cmp.Diff(gov.Recorded{}, rec); diff != "" || st.Decision != "" {
				t.Errorf("a refused envelope left something: %s", diff)
			}
		})
	}
}

// TestPayloadRefusals signs bad payloads with a good key.
func TestPayloadRefusals(t *testing.T) {
	key := testKey(t, "ed25519")
	reg := registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()})
	good := string(payloadOf(t, seal(t, approveStatement(), key)))
	sub := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the payload", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	rows := []struct{ name, in, code string }{
		{"unknown key", sub(`"decision"`, `"Decision":"reject","decision"`), "json_unknown_key"},
		{"duplicate key", sub(`"decision"`, `"decision":"reject","decision"`), "json_duplicate_key"},
		{"duplicate key below", sub(`"attempt":2`, `"attempt":2,"attempt":3`), "json_duplicate_key"},
		{"wrong type", sub(`"attempt":2`, `"attempt":"2"`), "json_wrong_type"},
		{"null", sub(`"role":"owner"`, `"role":null`), "json_wrong_type"},
		{"null list", sub(`"change":`, `"requirements":null,"change":`), "json_wrong_type"},
		{"NUL", sub(`owner`, `\u0000`), "json_nul"},
		{"lone surrogate", sub(`owner`, `\ud800`), "json_invalid_utf8"},
		{"too deep", `{"_type":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "json_wrong_type"},
		{"_type", sub(StatementType, "https://in-toto.io/Statement/v0.1"), "statement_type"},
		{"predicateType", sub(gov.PredicateType, "https://slsa.dev/provenance/v1"), "statement_predicate_type"},
		{"spelling", sub(`"attempt":2`, `"attempt": 2`), "statement_not_canonical"},
		{"empty list for absent", sub(`"change":`, `"requirements":[],"change":`), "statement_not_canonical"},
		{"time with offset 0", sub(`"issued":"2025-01-08T09:59:00Z"`, `"issued":"2025-01-08T09:59:00+00:00"`), "statement_not_canonical"},
		{"time with zeros", sub(`"issued":"2025-01-08T09:59:00Z"`, `"issued":"2025-01-08T09:59:00.000Z"`), "statement_not_canonical"},
		{"time in another zone", sub(`"issued":"2025-01-08T09:59:00Z"`, `"issued":"2025-01-08T10:59:00+01:00"`), "statement_time"},
		{"other subject digest", sub(`"sha256":"`+digestOf("tree").Hex(), `"sha256":"`+digestOf("evil").Hex()), "statement_subject_mismatch"},
		{"other subject name", sub(`"name":"tree"`, `"name":"true"`), "statement_subject_mismatch"},
		{"subject left out", sub(`{"digest":{"sha256":"`+digestOf("tree").Hex()+`"},"name":"tree"},`, ``), "statement_subject_mismatch"},
		{"decision", sub(`"approve"`, `"merge"`), "statement_decision"},
		{"change id", sub(`CHANGE-7`, `CHANGE-07`), "change_id_invalid"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			_, _, err := Verify(forge(t, []byte(r.in), key, gov.SSHNamespace), reg, now)
			wantCode(t, err, gov.KindInvalid, r.code)
		})
	}
}

// TestShapeRefusals: a good statement, one field changed, refused by Seal with
// the same code as by Verify.
func TestShapeRefusals(t *testing.T) {
	rows := []struct {
		name string
		set  func(*gov.Statement)
		code string
	}{
		{"no decision", func(s *gov.Statement) { s.Decision = "" }, "statement_decision"},
		{"rationale of 4 KiB + 1", func(s *gov.Statement) { s.Rationale = strings.Repeat("x", MaxText+1) }, "statement_too_long"},
		{"assessment too long", func(s *gov.Statement) { s.RiskAssessment = strings.Repeat("x", MaxText+1) }, "statement_too_long"},
		{"checkpoint too long", func(s *gov.Statement) { s.Checkpoint = strings.Repeat("x", MaxText+1) }, "statement_too_long"},
		{"role too long", func(s *gov.Statement) { s.Role = strings.Repeat("x", MaxWord+1) }, "statement_too_long"},
		{"terminal escape", func(s *gov.Statement) { s.Rationale = "ok\x1b[2K" }, "statement_text"},
		{"bidi override", func(s *gov.Statement) { s.Rationale = "ok \u202e ko" }, "statement_text"},
		{"line break in a role", func(s *gov.Statement) { s.Role = "owner\nx" }, "statement_text"},
		{"digest", func(s *gov.Statement) { s.Revision.Tree = "sha256:ABC" }, "digest_invalid"},
		{"policy digest", func(s *gov.Statement) { s.Policy = "x" }, "digest_invalid"},
		{"commit", func(s *gov.Statement) { s.Revision.Commit = "main" }, "statement_commit"},
		{"risk", func(s *gov.Statement) { s.Risk = "none" }, "risk_invalid"},
		{"artifact twice", func(s *gov.Statement) { s.Artifacts = append(s.Artifacts, s.Artifacts[0]) }, "statement_artifact"},
		{"artifact without digest", func(s *gov.Statement) { s.Artifacts = []gov.Artifact{{Name: "a"}} }, "statement_artifact"},
		{"too many artifacts", func(s *gov.Statement) { s.Artifacts = make([]gov.Artifact, MaxItems+1) }, "statement_too_long"},
		{"requirement empty", func(s *gov.Statement) { s.Requirements = []string{""} }, "statement_requirement"},
		{"nonce of 15 bytes", func(s *gov.Statement) { s.Nonce = strings.Repeat("0f", 15) }, "statement_nonce"},
		{"nonce in capitals", func(s *gov.Statement) { s.Nonce = strings.Repeat("0F", 16) }, "statement_nonce"},
		{"nonce odd", func(s *gov.Statement) { s.Nonce = strings.Repeat("0", 33) }, "statement_nonce"},
		{"nonce of 65 bytes", func(s *gov.Statement) { s.Nonce = strings.Repeat("0f", 65) }, "statement_nonce"},
		{"not issued", func(s *gov.Statement) { s.Issued = time.Time{} }, "statement_issued"},
		{"outcome without target", func(s *gov.Statement) { s.Outcome = &gov.Outcome{Attempt: 1, Verdict: digestOf("v")} }, "statement_outcome"},
		{"outcome attempt 0", func(s *gov.Statement) { s.Outcome = &gov.Outcome{Target: "t", Verdict: digestOf("v")} }, "statement_outcome"},
		{"revoke of nothing", func(s *gov.Statement) { s.Decision = gov.DecideRevoke }, "statement_subject_missing"},
		{"about nothing", func(s *gov.Statement) { s.Revision, s.Artifacts = gov.Revision{}, nil }, "statement_subject_missing"},
		{"evidence without evidence", func(s *gov.Statement) { s.Decision = gov.DecideEvidence }, "statement_evidence"},
		{"coverage 1.1", func(s *gov.Statement) {
			c := 1.1
			s.Evidence = &gov.Evidence{Kind: "coverage", Report: digestOf("r"), Coverage: &c}
		}, "statement_evidence"},
		{"negative count", func(s *gov.Statement) { s.Evidence = &gov.Evidence{Kind: "tests", Report: digestOf("r"), Passed: -1} }, "statement_evidence"},
		{"odd status", func(s *gov.Statement) {
			s.Evidence = &gov.Evidence{Kind: "tests", Report: digestOf("r"), Results: []gov.Result{{ID: "a", Status: "ok"}}}
		}, "statement_evidence"},
		{"results beyond 64 KiB", func(s *gov.Statement) {
			s.Evidence = &gov.Evidence{Kind: "tests", Report: digestOf("r"), Results: []gov.Result{{ID: strings.Repeat("x", 60<<10), Status: "passed"}}}
		}, "envelope_too_large"},
	}
	key := testKey(t, "ed25519")
	reg := registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()})
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			st := approveStatement()
			r.set(&st)
			_, err := Seal(context.Background(), st, FromKey(key))
			wantCode(t, err, gov.KindInvalid, r.code)
			payload, cerr := canonical(inToto{StatementType, subjects(st), gov.PredicateType, st})
			if cerr != nil {
				t.Fatal(cerr)
			}
			if subjects(st) == nil {
				payload = bytes.Replace(payload, []byte(`"subject":null`), []byte(`"subject":[]`), 1)
			}
			_, _, err = Verify(forge(t, payload, key, gov.SSHNamespace), reg, now)
			wantCode(t, err, gov.KindInvalid, r.code)
		})
	}
}

func TestWhoAndWhen(t *testing.T) {
	key := testKey(t, "ed25519")
	pub := key.PublicKey()
	reg := func(k gov.Key) gov.Registry {
		k.Fingerprint = ssh.FingerprintSHA256(pub)
		return gov.Registry{People: []gov.Person{{Handle: "ana", Kind: gov.Agent, Keys: []gov.Key{k}}}}
	}
	file := seal(t, approveStatement(), key)
	rows := []struct {
		name string
		reg  gov.Registry
		at   time.Time
		kind gov.Kind
		code string
	}{
		{"valid", reg(gov.Key{}), now, "", ""},
		{"empty registry", gov.Registry{}, now, gov.KindDenied, "signer_unknown"},
		{"another's key", registryOf(map[string]ssh.PublicKey{"bob": testKey(t, "other").PublicKey()}), now, gov.KindDenied, "signer_unknown"},
		{"key at its first moment", reg(gov.Key{NotBefore: now}), now, "", ""},
		{"key before it", reg(gov.Key{NotBefore: now.Add(time.Second)}), now, gov.KindDenied, "key_not_yet_valid"},
		{"key at its last moment", reg(gov.Key{NotAfter: now.Add(time.Nanosecond)}), now, "", ""},
		{"key at its end", reg(gov.Key{NotAfter: now}), now, gov.KindDenied, "key_expired"},
		{"statement just before its end", reg(gov.Key{}), now.Add(time.Hour - 1), "", ""},
		{"statement at its end", reg(gov.Key{}), now.Add(time.Hour), gov.KindRefused, "statement_expired"},
		{"key listed for two people", gov.Registry{People: append(reg(gov.Key{}).People, registryOf(map[string]ssh.PublicKey{"bob": pub}).People...)}, now, gov.KindIntegrity, "registry_key_twice"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			rec, _, err := Verify(file, r.reg, r.at)
			wantCode(t, err, r.kind, r.code)
			if r.code == "" && (rec.Signer != "ana" || rec.SignerKind != gov.Agent || rec.Presence) {
				t.Errorf("got %+v", rec)
			}
		})
	}
	st := approveStatement()
	st.Expires = time.Time{}
	if _, _, err := Verify(seal(t, st, key), reg(gov.Key{}), now.AddDate(50, 0, 0)); err != nil {
		t.Errorf("a statement without expiry: %v", err)
	}
}

func TestSignatureRefusals(t *testing.T) {
	key := testKey(t, "ed25519")
	payload := payloadOf(t, seal(t, approveStatement(), key))
	message := dsse.PAE(PayloadType, payload)
	id := func(k ssh.Signer) string { return ssh.FingerprintSHA256(k.PublicKey()) }
	// twist signs and changes the parsed signature.
	twist := func(k ssh.Signer, h sshsig.HashAlgorithm, change func(*sshsig.Signature)) []byte {
		s, err := sshsig.Sign(bytes.NewReader(message), k, h, gov.SSHNamespace)
		if err != nil {
			t.Fatal(err)
		}
		normalise(s)
		change(s)
		return packed(t, payload, id(k), s.Marshal())
	}
	highS := func(s *sshsig.Signature) {
		var p ecdsaPair
		if err := ssh.Unmarshal(s.Signature.Blob, &p); err != nil {
			t.Fatal(err)
		}
		p.S.Sub(order(s.PublicKey), p.S)
		s.Signature.Blob = ssh.Marshal(p)
	}
	// reserved fills the field that nobody reads and nothing signs.
	reserved := func(blob []byte) []byte {
		var w wire
		if err := ssh.Unmarshal(blob, &w); err != nil {
			t.Fatal(err)
		}
		w.Reserved = "x"
		return ssh.Marshal(w)
	}
	none := func(*sshsig.Signature) {}
	blobOf := func(file []byte) []byte {
		o, err := open(file)
		if err != nil {
			t.Fatal(err)
		}
		return o.blob
	}
	good := blobOf(twist(key, sshsig.HashSHA512, none))
	other := testKey(t, "other")
	otherPayload := payloadOf(t, seal(t, func() gov.Statement { s := approveStatement(); s.Rationale = "other"; return s }(), key))
	rows := []struct {
		name string
		file []byte
		kind gov.Kind
		code string
	}{
		{"other namespace", forge(t, payload, key, "git"), gov.KindIntegrity, "signature_namespace"},
		{"sha256", twist(key, sshsig.HashSHA256, none), gov.KindInvalid, "signature_hash"},
		{"of another statement", packed(t, otherPayload, id(key), good), gov.KindIntegrity, "signature_invalid"},
		{"claimed by another key", twist(key, sshsig.HashSHA512, func(s *sshsig.Signature) { s.PublicKey = other.PublicKey() }), gov.KindInvalid, "signature_keyid"},
		{"another key put in", packed(t, payload, id(other), blobOf(twist(key, sshsig.HashSHA512, func(s *sshsig.Signature) { s.PublicKey = other.PublicKey() }))), gov.KindIntegrity, "signature_invalid"},
		{"bytes behind the blob", packed(t, payload, id(key), append(bytes.Clone(good), 0)), gov.KindInvalid, "signature_malformed"},
		{"bytes inside the signature", twist(key, sshsig.HashSHA512, func(s *sshsig.Signature) { s.Signature.Rest = []byte{1} }), gov.KindInvalid, "signature_not_canonical"},
		{"version 2", packed(t, payload, id(key), append(append([]byte("SSHSIG"), 0, 0, 0, 2), good[10:]...)), gov.KindInvalid, "signature_malformed"},
		{"something in the reserved field", packed(t, payload, id(key), reserved(good)), gov.KindInvalid, "signature_not_canonical"},
		{"ECDSA with high S", twist(testKey(t, "p256"), sshsig.HashSHA512, highS), gov.KindInvalid, "signature_not_canonical"},
		{"ECDSA P-521 with high S", twist(testKey(t, "p521"), sshsig.HashSHA512, highS), gov.KindInvalid, "signature_not_canonical"},
		{"RSA of 2048 bits", forge(t, payload, testKey(t, "rsa2048"), gov.SSHNamespace), gov.KindInvalid, "key_too_short"},
		{"RSA with SHA-1", twist(testKey(t, "rsa"), sshsig.HashSHA512, func(s *sshsig.Signature) { s.Signature.Format = ssh.KeyAlgoRSA }), gov.KindInvalid, "signature_algorithm"},
		{"RSA with a byte less", twist(testKey(t, "rsa"), sshsig.HashSHA512, func(s *sshsig.Signature) { s.Signature.Blob = s.Signature.Blob[1:] }), gov.KindInvalid, "signature_not_canonical"},
		{"RSA with a zero more", twist(testKey(t, "rsa"), sshsig.HashSHA512, func(s *sshsig.Signature) { s.Signature.Blob = append([]byte{0}, s.Signature.Blob...) }), gov.KindInvalid, "signature_not_canonical"},
		{"DSA", packed(t, payload, "x", ssh.Marshal(wire{[6]byte([]byte("SSHSIG")), 1, string(ssh.Marshal(struct{ T, P string }{"ssh-dss", "x"})), gov.SSHNamespace, "", "sha512", ""})), gov.KindInvalid, "key_type"},
	}
	reg := registryOf(map[string]ssh.PublicKey{
		"ana": key.PublicKey(), "bob": other.PublicKey(), "p256": testKey(t, "p256").PublicKey(), "p521": testKey(t, "p521").PublicKey(), "rsa": testKey(t, "rsa").PublicKey(), "old": testKey(t, "rsa2048").PublicKey(),
	})
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			_, _, err := Verify(r.file, reg, now)
			wantCode(t, err, r.kind, r.code)
		})
	}
}

// highSSigner makes the other valid ECDSA signature, as hardware may.
type highSSigner struct{ ssh.Signer }

func (s highSSigner) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	sig, err := s.Signer.Sign(r, data)
	if err != nil {
		return nil, err
	}
	var p ecdsaPair
	if err := ssh.Unmarshal(sig.Blob, &p); err != nil {
		return nil, err
	}
	n := order(s.PublicKey())
	if new(big.Int).Lsh(p.S, 1).Cmp(n) < 0 {
		p.S.Sub(n, p.S)
	}
	sig.Blob = ssh.Marshal(p)
	return sig, nil
}

func TestSealBringsHighSDown(t *testing.T) {
	key := testKey(t, "p256")
	file := seal(t, approveStatement(), highSSigner{key})
	if _, _, err := Verify(file, registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()}), now); err != nil {
		t.Error(err)
	}
}

func TestSealRefusesAnotherKeysSignature(t *testing.T) {
	_, err := Seal(context.Background(), approveStatement(), liar{FromKey(testKey(t, "ed25519")), testKey(t, "other").PublicKey()})
	wantCode(t, err, gov.KindIntegrity, "signature_other_key")
	_, err = Seal(context.Background(), approveStatement(), FromKey(testKey(t, "rsa2048")))
	wantCode(t, err, gov.KindInvalid, "key_too_short")
}

type liar struct {
	Signer
	pub ssh.PublicKey
}

func (l liar) PublicKey() ssh.PublicKey { return l.pub }

// TestEveryByteFlipIsRefused flips a bit of each byte of an envelope, once a key type;
// GOVERN_TEST_FULL flips each bit, and for Ed25519 puts every other value in
// place of each byte.
func TestEveryByteFlipIsRefused(t *testing.T) {
	full := os.Getenv("GOVERN_TEST_FULL") == "1"
	for _, name := range []string{"ed25519", "p256", "rsa"} {
		key := testKey(t, name)
		reg := registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()})
		file := seal(t, approveStatement(), key)
		for i := range file {
			for x := 1; x < 256; x++ {
				every := full && (name == "ed25519" || x&(x-1) == 0)
				if !every && x != 1<<(i%8) {
					continue
				}
				file[i] ^= byte(x)
				if _, _, err := Verify(file, reg, now); err == nil {
					t.Fatalf("%s: byte %d changed by %#x is accepted", name, i, x)
				}
				file[i] ^= byte(x)
			}
		}
	}
}

// TestByteChangesInsidePayloadAndSignature changes what is inside the base64,
// so that every check behind the canonical form is met too.
func TestByteChangesInsidePayloadAndSignature(t *testing.T) {
	names := []string{"ed25519", "p256", "p384", "p521", "rsa"}
	rapid.Check(t, func(rt *rapid.T) {
		key := testKey(t, rapid.SampledFrom(names).Draw(rt, "key"))
		reg := registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()})
		o, err := open(seal(t, approveStatement(), key))
		if err != nil {
			rt.Fatal(err)
		}
		part := o.payload
		if rapid.Bool().Draw(rt, "in the signature") {
			part = o.blob
		}
		i := rapid.IntRange(0, len(part)-1).Draw(rt, "at")
		part[i] ^= byte(rapid.IntRange(1, 255).Draw(rt, "xor"))
		if _, _, err := Verify(packed(t, o.payload, o.keyID, o.blob), reg, now); err == nil {
			rt.Fatalf("byte %d changed inside is accepted", i)
		}
	})
}

// TestRoundTrip: whatever Seal accepts, Verify gives back unchanged.
func TestRoundTrip(t *testing.T) {
	key := testKey(t, "ed25519")
	reg := registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()})
	sealed := 0
	rapid.Check(t, func(rt *rapid.T) {
		st := gov.Statement{
			Decision:  rapid.SampledFrom(gov.Decisions).Draw(rt, "decision"),
			Rationale: rapid.String().Draw(rt, "rationale"), Role: rapid.StringMatching(`[a-z_]{0,8}`).Draw(rt, "role"),
			Revision: gov.Revision{Change: digestOf("c")}, Subject: digestOf("s"),
			Risk:   rapid.SampledFrom(append([]gov.Risk{""}, gov.Risks...)).Draw(rt, "risk"),
			Issued: time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "issued"), rapid.Int64Range(0, 999999999).Draw(rt, "ns")).UTC(),
			Nonce:  fmt.Sprintf("%032x", rapid.Uint64().Draw(rt, "nonce")),
		}
		if c := rapid.Float64Range(0, 1).Draw(rt, "coverage"); rapid.Bool().Draw(rt, "evidence") || st.Decision == gov.DecideEvidence {
			st.Evidence = &gov.Evidence{Kind: "coverage", Tool: "go", Report: digestOf("r"), Coverage: &c, Passed: rapid.IntRange(0, 1<<50).Draw(rt, "passed")}
		}
		file, err := Seal(context.Background(), st, FromKey(key))
		if !printable(st.Rationale, true) {
			wantCode(t, err, gov.KindInvalid, "statement_text")
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		sealed++
		_, got, err := Verify(file, reg, now)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(st, got); diff != "" {
			rt.Fatal(diff)
		}
	})
	if sealed == 0 {
		t.Error("no statement was sealed")
	}
}

func TestMessageAndAttach(t *testing.T) {
	st := approveStatement()
	message, err := Message(st)
	if err != nil {
		t.Fatal(err)
	}
	key := testKey(t, "ed25519")
	s, err := sshsig.Sign(bytes.NewReader(message), key, sshsig.HashSHA512, gov.SSHNamespace)
	if err != nil {
		t.Fatal(err)
	}
	file, err := Attach(message, sshsig.Armor(s))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, seal(t, st, key)) {
		t.Error("Attach and Seal give different files for one Ed25519 signature")
	}
	_, err = Attach(message, []byte("nonsense"))
	wantCode(t, err, gov.KindInvalid, "signature_malformed")
	_, err = Attach([]byte("DSSEv1 4 text 2 hi"), sshsig.Armor(s))
	wantCode(t, err, gov.KindInvalid, "statement_message")
	_, err = Attach(bytes.Replace(message, []byte("DSSEv1 28"), []byte("DSSEv1 29"), 1), sshsig.Armor(s))
	wantCode(t, err, gov.KindInvalid, "statement_message")
	other := bytes.Replace(message, []byte("good"), []byte("evil"), 1)
	_, err = Attach(other, sshsig.Armor(s))
	wantCode(t, err, gov.KindIntegrity, "signature_invalid")
}

func TestNonce(t *testing.T) {
	a, b := Nonce(), Nonce()
	if len(a) != 32 || a == b {
		t.Errorf("nonces %q and %q", a, b)
	}
	st := approveStatement()
	st.Nonce = ""
	_, got, err := Verify(seal(t, st, testKey(t, "ed25519")), registryOf(map[string]ssh.PublicKey{"a": testKey(t, "ed25519").PublicKey()}), now)
	if err != nil || len(got.Nonce) != 32 {
		t.Errorf("nonce %q, %v", got.Nonce, err)
	}
}

func FuzzVerify(f *testing.F) {
	key := testKey(f, "ed25519")
	reg := registryOf(map[string]ssh.PublicKey{"ana": key.PublicKey()})
	good := seal(f, approveStatement(), key)
	for _, s := range [][]byte{good, []byte("{}"), bytes.Replace(good, []byte("SHA256:"), nil, 1), forge(f, []byte(`{}`), key, gov.SSHNamespace)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rec, _, err := Verify(in, reg, now)
		if err != nil {
			if gov.CodeOf(err) == "" {
				t.Errorf("an error without code: %v", err)
			}
			return
		}
		if rec.Digest != gov.DigestOf(in) || !bytes.Equal(in, good) && bytes.Equal(payloadOf(t, in), payloadOf(t, good)) {
			t.Errorf("a second spelling of one statement: %s", base64.StdEncoding.EncodeToString(in))
		}
	})
}
