package sign

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

// stockKeys are key types as ssh-keygen makes them: name → arguments.
var stockKeys = map[string][]string{
	"ed25519": {"-t", "ed25519"},
	"ecdsa":   {"-t", "ecdsa", "-b", "256"},
	"ecdsa52": {"-t", "ecdsa", "-b", "521"},
	"rsa":     {"-t", "rsa", "-b", "3072"},
}

// person makes an entry of a registry for a .pub file.
func person(t testing.TB, handle, pubFile string) Entry {
	t.Helper()
	b, err := os.ReadFile(pubFile)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ParsePublicKey(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return Entry{
		Principals: []string{handle, handle + "@example.com"}, Namespaces: []string{"git", gov.SSHNamespace}, Key: pub,
		Handle: handle, Kind: gov.Human, Roles: []string{"owner"}, Name: `A "quoted" name \ with # signs`,
	}
}

// stockVerify checks an envelope with ssh-keygen alone.
func stockVerify(t testing.TB, signers, who, namespace string, message, sig []byte, extra ...string) (string, error) {
	t.Helper()
	args := append([]string{"-Y", "verify", "-f", signers, "-I", who, "-n", namespace, "-s", write(t, "statement.sig", sig)}, extra...)
	return keygen(t, bytes.NewReader(message), args...)
}

func TestStockSSHKeygenBothWays(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	for name, args := range stockKeys {
		file := filepath.Join(dir, name)
		if out, err := keygen(t, nil, append(args, "-q", "-N", "", "-C", "", "-f", file)...); err != nil {
			t.Fatal(out)
		}
		e := person(t, "ana", file+".pub")
		e.NotBefore, e.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)
		registry := PrintRegistry([]Entry{e})
		reg, err := ParseRegistry(registry)
		if err != nil {
			t.Fatal(err)
		}
		signers := write(t, "allowed_signers", registry)
		st := approveStatement()

		t.Run(name+"/ours is verified by ssh-keygen", func(t *testing.T) {
			s, err := Choose(context.Background(), file, ChooseOptions{})
			if err != nil {
				t.Fatal(err)
			}
			envelope, err := Seal(context.Background(), st, s)
			if err != nil {
				t.Fatal(err)
			}
			message, sig, err := ExportForSSHKeygen(envelope)
			if err != nil {
				t.Fatal(err)
			}
			in2025 := "-Overify-time=20250108100000Z"
			for _, who := range []string{"ana", "ana@example.com"} {
				if out, err := stockVerify(t, signers, who, "govern-statement", message, sig, in2025); err != nil {
					t.Errorf("%s: %s", who, out)
				}
			}
			out, err := keygen(t, nil, "-Y", "find-principals", in2025, "-f", signers, "-s", write(t, "s.sig", sig))
			if err != nil || strings.Fields(out)[0] != "ana" {
				t.Errorf("find-principals: %v %s", err, out)
			}
			for what, refused := range map[string]func() (string, error){
				"another person": func() (string, error) {
					return stockVerify(t, signers, "bob", "govern-statement", message, sig, in2025)
				},
				"another namespace": func() (string, error) { return stockVerify(t, signers, "ana", "git", message, sig, in2025) },
				"another message": func() (string, error) {
					return stockVerify(t, signers, "ana", "govern-statement", append(message, '.'), sig, in2025)
				},
				"before the key": func() (string, error) {
					return stockVerify(t, signers, "ana", "govern-statement", message, sig, "-Overify-time=20240107100000Z")
				},
				"after the key": func() (string, error) {
					return stockVerify(t, signers, "ana", "govern-statement", message, sig, "-Overify-time=20260109100000Z")
				},
			} {
				if out, err := refused(); err == nil {
					t.Errorf("ssh-keygen accepts %s: %s", what, out)
				}
			}
		})

		t.Run(name+"/ssh-keygen's is verified by us", func(t *testing.T) {
			message, err := Message(st)
			if err != nil {
				t.Fatal(err)
			}
			path := write(t, "statement.msg", message)
			if out, err := keygen(t, nil, "-q", "-Y", "sign", "-f", file, "-n", "govern-statement", path); err != nil {
				t.Fatal(out)
			}
			armored, err := os.ReadFile(path + ".sig")
			if err != nil {
				t.Fatal(err)
			}
			envelope, err := Attach(message, armored)
			if err != nil {
				t.Fatal(err)
			}
			rec, _, err := Verify(envelope, reg, now)
			if err != nil || rec.Signer != "ana" || rec.Presence {
				t.Errorf("%v %+v", err, rec)
			}
			_, _, err = Verify(envelope, reg, now.AddDate(2, 0, 0))
			wantCode(t, err, gov.KindDenied, "key_expired")
		})

		t.Run(name+"/ssh-keygen's for another namespace is refused", func(t *testing.T) {
			message, err := Message(st)
			if err != nil {
				t.Fatal(err)
			}
			path := write(t, "statement.msg", message)
			if out, err := keygen(t, nil, "-q", "-Y", "sign", "-f", file, "-n", "git", path); err != nil {
				t.Fatal(out)
			}
			armored, err := os.ReadFile(path + ".sig")
			if err != nil {
				t.Fatal(err)
			}
			_, err = Attach(message, armored)
			wantCode(t, err, gov.KindIntegrity, "signature_namespace")
		})
	}
}

// TestOpenSSHVectors reads what OpenSSH's own unit tests read.
func TestOpenSSHVectors(t *testing.T) {
	dir := filepath.Join(opensshTests(t), "unittests/sshsig/testdata")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	message, namespace := read("signed-data"), string(read("namespace"))
	rows := map[string]string{
		"rsa": "", "ecdsa": "", "ed25519": "", "ecdsa_sk": "", "ed25519_sk": "",
		"dsa": "key_type", "ecdsa_sk_webauthn": "signature_algorithm",
	}
	// judge is the way of a foreign signature into a statement, without a payload.
	judge := func(armored, message []byte, namespace string) (ssh.PublicKey, error) {
		sig, err := sshsig.Unarmor(armored)
		if err != nil {
			return nil, err
		}
		normalise(sig)
		if sig, err = parseBlob(sig.Marshal(), namespace); err != nil {
			return nil, err
		}
		return sig.PublicKey, verifySig(sig, message, namespace)
	}
	for name, code := range rows {
		t.Run(name, func(t *testing.T) {
			armored := read(name + ".sig")
			if name == "dsa" { // x/crypto knows no DSA any more, so the armor is taken off by hand
				blob := unarmorByHand(t, armored)
				_, err := parseBlob(blob, namespace)
				wantCode(t, err, gov.KindInvalid, code)
				return
			}
			pub, err := judge(armored, message, namespace)
			if code != "" {
				wantCode(t, err, gov.KindInvalid, code)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := ParsePublicKey(string(read(name + ".pub")))
			if err != nil || ssh.FingerprintSHA256(pub) != ssh.FingerprintSHA256(want) {
				t.Errorf("another key than %s.pub: %v", name, err)
			}
			_, err = judge(armored, append(bytes.Clone(message), '!'), namespace)
			wantCode(t, err, gov.KindIntegrity, "signature_invalid")
			_, err = judge(armored, message, gov.SSHNamespace)
			wantCode(t, err, gov.KindIntegrity, "signature_namespace")
		})
	}
}

// TestSecurityKeys makes real sk signatures with OpenSSH's sk-dummy provider.
func TestSecurityKeys(t *testing.T) {
	needKeygen(t)
	t.Setenv("SSH_SK_PROVIDER", filepath.Join(opensshTests(t), "misc/sk-dummy/sk-dummy.so"))
	dir := t.TempDir()
	for _, typ := range []string{"ed25519-sk", "ecdsa-sk"} {
		for _, touch := range []bool{true, false} {
			name := typ + "-touched"
			args := []string{"-q", "-t", typ, "-N", "", "-C", ""}
			if !touch {
				name = typ + "-untouched"
				args = append(args, "-O", "no-touch-required")
			}
			t.Run(name, func(t *testing.T) {
				file := filepath.Join(dir, name)
				if out, err := keygen(t, nil, append(args, "-f", file)...); err != nil {
					t.Fatal(out)
				}
				e := person(t, "ana", file+".pub")
				registry := PrintRegistry([]Entry{e})
				reg, err := ParseRegistry(registry)
				if err != nil {
					t.Fatal(err)
				}
				if !reg.People[0].Keys[0].Presence {
					t.Error("the registry does not know that the key proves presence")
				}
				var prompts bytes.Buffer
				for _, name := range []string{file, file + ".pub"} {
					s, err := Choose(context.Background(), name, ChooseOptions{Prompts: &prompts})
					if err != nil {
						t.Fatal(err)
					}
					envelope, err := Seal(context.Background(), approveStatement(), s)
					if !touch {
						wantCode(t, err, gov.KindDenied, "signature_no_presence")
						untouched(t, s, reg, write(t, "allowed_signers", registry))
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					rec, _, err := Verify(envelope, reg, now)
					if err != nil || !rec.Presence {
						t.Errorf("presence %v, %v", rec.Presence, err)
					}
					message, sig, err := ExportForSSHKeygen(envelope)
					if err != nil {
						t.Fatal(err)
					}
					if out, err := stockVerify(t, write(t, "allowed_signers", registry), "ana", gov.SSHNamespace, message, sig); err != nil {
						t.Error(out)
					}
				}
				if touch && !strings.Contains(prompts.String(), "Confirm user presence") {
					t.Errorf("nobody was asked to touch: %q", prompts.String())
				}
			})
		}
	}
}

// untouched packs a signature without touch past Seal: Verify refuses it, also
// with the presence bit forged into it, while stock ssh-keygen accepts it.
func untouched(t *testing.T, s Signer, reg gov.Registry, signers string) {
	t.Helper()
	message, err := Message(approveStatement())
	if err != nil {
		t.Fatal(err)
	}
	blob, err := s.Sign(context.Background(), gov.SSHNamespace, message)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		t.Fatal(err)
	}
	normalise(sig)
	payload, err := unPAE(message)
	if err != nil {
		t.Fatal(err)
	}
	id := ssh.FingerprintSHA256(s.PublicKey())
	_, _, err = Verify(packed(t, payload, id, sig.Marshal()), reg, now)
	wantCode(t, err, gov.KindDenied, "signature_no_presence")
	if err := sig.PublicKey.Verify(nil, sig.Signature); err == nil || !strings.Contains(err.Error(), "user presence") {
		t.Errorf("x/crypto lets an untouched signature pass: %v", err)
	}
	if out, err := stockVerify(t, signers, "ana", gov.SSHNamespace, message, sshsig.Armor(sig)); err != nil {
		t.Errorf("this ssh-keygen refuses untouched keys, so the package comment is out of date: %s", out)
	}
	sig.Signature.Rest[0] |= 1
	_, _, err = Verify(packed(t, payload, id, sig.Marshal()), reg, now)
	wantCode(t, err, gov.KindIntegrity, "signature_invalid")
}

func TestSSHKeygenFailures(t *testing.T) {
	_, err := FromSSHKeygen("/nonexistent/ssh-keygen", "key", nil, nil)
	wantCode(t, err, gov.KindUnavailable, "sshkeygen_missing")
	key := testKey(t, "ed25519")
	s, err := FromSSHKeygen("false", "key", key.PublicKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Seal(context.Background(), approveStatement(), s)
	wantCode(t, err, gov.KindUnavailable, "sign_failed")
	if s, err = FromSSHKeygen("true", "key", key.PublicKey(), nil); err != nil {
		t.Fatal(err)
	}
	_, err = Seal(context.Background(), approveStatement(), s)
	wantCode(t, err, gov.KindUnavailable, "sign_failed")
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	_, err = Seal(ctx, approveStatement(), s)
	wantCode(t, err, gov.KindTimeout, "sign_canceled")
}
