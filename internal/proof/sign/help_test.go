package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

var now = time.Date(2025, 1, 8, 10, 0, 0, 0, time.UTC)

// testKey is a key made once a run; RSA takes a moment.
func testKey(t testing.TB, name string) ssh.Signer {
	t.Helper()
	keysMu.Lock()
	defer keysMu.Unlock()
	if s, ok := keys[name]; ok {
		return s
	}
	var key crypto.Signer
	var err error
	switch {
	case strings.HasPrefix(name, "p256"):
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case name == "p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case name == "p521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case name == "rsa2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case name == "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	keys[name] = s
	return s
}

var (
	keysMu sync.Mutex
	keys   = map[string]ssh.Signer{}
)

func digestOf(s string) gov.Digest { return gov.DigestOf([]byte(s)) }

func approveStatement() gov.Statement {
	return gov.Statement{
		Decision: gov.DecideApprove, Stage: "final", Change: "CHANGE-7", Target: "studio", Role: "owner",
		Revision:  gov.Revision{Change: digestOf("change"), Tree: digestOf("tree"), Commit: strings.Repeat("a", 40)},
		Artifacts: []gov.Artifact{{Name: "studio", Digest: digestOf("studio")}},
		Risk:      gov.RiskHigh, Policy: digestOf("policy"), Rationale: "Numbers are good.\n<ä> & done", RiskAssessment: "small",
		Outcome: &gov.Outcome{Target: "studio", Attempt: 2, Verdict: digestOf("verdict")},
		Expires: now.Add(time.Hour), Issued: now.Add(-time.Minute), Nonce: strings.Repeat("0f", 16), Checkpoint: "origin\n3\nabc\n",
	}
}

// registryOf lists keys, each of its own human, valid for ever.
func registryOf(byHandle map[string]ssh.PublicKey) gov.Registry {
	var reg gov.Registry
	for h, k := range byHandle {
		reg.People = append(reg.People, gov.Person{Handle: h, Kind: gov.Human, Keys: []gov.Key{
			{Fingerprint: ssh.FingerprintSHA256(k), Type: k.Type(), Presence: isSK(k.Type())},
		}})
	}
	return reg
}

func seal(t testing.TB, st gov.Statement, key ssh.Signer) []byte {
	t.Helper()
	b, err := Seal(context.Background(), st, FromKey(key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forge signs any payload in any namespace and packs it without a check.
func forge(t testing.TB, payload []byte, key ssh.Signer, namespace string) []byte {
	t.Helper()
	blob, err := FromKey(key).Sign(context.Background(), namespace, dsse.PAE(PayloadType, payload))
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, payload, ssh.FingerprintSHA256(key.PublicKey()), blob)
}

func packed(t testing.TB, payload []byte, keyID string, blob []byte) []byte {
	t.Helper()
	b, err := canonical(envelope{PayloadType: PayloadType, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: []signature{{keyID, base64.StdEncoding.EncodeToString(blob)}}})
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func payloadOf(t testing.TB, file []byte) []byte {
	t.Helper()
	var e envelope
	if err := json.Unmarshal(file, &e); err != nil {
		t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantCode(t testing.TB, err error, kind gov.Kind, code string) {
	t.Helper()
	if gov.KindOf(err) != kind || gov.CodeOf(err) != code {
		t.Errorf("got %s/%s (%v), want %s/%s", gov.KindOf(err), gov.CodeOf(err), err, kind, code)
	}
}

// keygen runs stock ssh-keygen.
func keygen(t testing.TB, stdin io.Reader, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func needKeygen(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("not run: ssh-keygen is missing (apt-get install openssh-client)")
	}
}

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// opensshTests is the unpacked regress directory of Debian's openssh-tests.
func opensshTests(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("GOVERN_OPENSSH_TESTS"); dir != "" {
		return dir
	}
	cmd := exec.Command("sh", "testdata/fetch-openssh-tests.sh")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not run: Debian package openssh-tests cannot be fetched: %s", said.String())
	}
	return strings.TrimSpace(string(out))
}
