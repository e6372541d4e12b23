package sign

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/governhq/govern/internal/gov"
)

func unarmorByHand(t testing.TB, armored []byte) []byte {
	t.Helper()
	p, _ := pem.Decode(armored)
	if p == nil {
		t.Fatal("no PEM")
	}
	return p.Bytes
}

// serveAgent answers on a socket with an in-process agent holding keys.
func serveAgent(t testing.TB, keys ...any) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k}); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "ag") // t.TempDir may be longer than a socket path
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c); c.Close() }()
		}
	}()
	return socket
}

func mustVerify(t testing.TB, s Signer) {
	t.Helper()
	file, err := Seal(context.Background(), approveStatement(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Verify(file, registryOf(map[string]ssh.PublicKey{"ana": s.PublicKey()}), now); err != nil {
		t.Error(err)
	}
}

func TestGenerateAndPassphrase(t *testing.T) {
	ctx := context.Background()
	plain, pub, err := Generate("ana@laptop", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := FromPrivateKey(ctx, "id", plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustVerify(t, s)
	if got, err := ParsePublicKey(string(pub)); err != nil || !bytes.Equal(got.Marshal(), s.PublicKey().Marshal()) || !strings.HasSuffix(string(pub), " ana@laptop\n") {
		t.Errorf("public key %q, %v", pub, err)
	}
	locked, _, err := Generate("ana", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(a string, err error) Passphrase {
		return func(_ context.Context, file string) ([]byte, error) {
			if file != "id" {
				t.Errorf("asked for %q", file)
			}
			return []byte(a), err
		}
	}
	if s, err = FromPrivateKey(ctx, "id", locked, answer("secret", nil)); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, s)
	for name, ask := range map[string]Passphrase{"nobody to ask": nil, "wrong": answer("guess", nil), "refused": answer("", errors.New("no"))} {
		_, err = FromPrivateKey(ctx, "id", locked, ask)
		if wantCode(t, err, gov.KindDenied, "key_passphrase"); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err = FromPrivateKey(ctx, "id", []byte("nonsense"), nil)
	wantCode(t, err, gov.KindInvalid, "key_malformed")
}

func TestChoose(t *testing.T) {
	ctx := context.Background()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshKey, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshKey.PublicKey())))
	other := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(testKey(t, "other").PublicKey())))
	home := t.TempDir()
	for name, content := range map[string]string{
		"both": string(pem.EncodeToMemory(block)), "both.pub": line + " ana\n", "only.pub": line, "alone": string(pem.EncodeToMemory(block)),
		"mixed": string(pem.EncodeToMemory(block)), "mixed.pub": other, "bad.pub": "ssh-ed25519", "strange.pub": other,
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := serveAgent(t, key)
	rows := []struct {
		name, key, socket string
		kind              gov.Kind
		code              string
	}{
		{"literal in the agent", "key::" + line, socket, "", ""},
		{"literal without prefix", line + " comment", socket, "", ""},
		{"literal not in the agent", "key::" + other, socket, gov.KindNotFound, "agent_no_key"},
		{"literal without an agent", "key::" + line, "", gov.KindUnavailable, "agent_unavailable"},
		{"agent gone", "key::" + line, filepath.Join(home, "gone"), gov.KindUnavailable, "agent_unavailable"},
		{"literal malformed", "key::ssh-ed25519 AAAA", socket, gov.KindInvalid, "key_malformed"},
		{"literal without a key", "key::x", socket, gov.KindInvalid, "key_malformed"},
		{"pub, held by the agent", "~/only.pub", socket, "", ""},
		{"pub, not held, nothing beside it", "~/strange.pub", socket, gov.KindNotFound, "agent_no_key"},
		{"pub, no agent, private beside it", "~/both.pub", "", "", ""},
		{"private", "~/both", "", "", ""},
		{"private without pub", filepath.Join(home, "alone"), "", "", ""},
		{"pub of another key", "~/mixed.pub", "", gov.KindInvalid, "key_mismatch"},
		{"private with the pub of another", "~/mixed", "", gov.KindInvalid, "key_mismatch"},
		{"pub malformed", "~/bad.pub", socket, gov.KindInvalid, "key_malformed"},
		{"nothing", "", socket, gov.KindNotFound, "signing_key_missing"},
		{"missing file", "~/nowhere", socket, gov.KindNotFound, "signing_key_missing"},
		{"missing pub", "~/nowhere.pub", socket, gov.KindNotFound, "signing_key_missing"},
		{"a directory", home, socket, gov.KindDenied, "signing_key_unreadable"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			s, err := Choose(ctx, r.key, ChooseOptions{AgentSocket: r.socket, Home: home})
			wantCode(t, err, r.kind, r.code)
			if r.code == "" && err == nil {
				mustVerify(t, s)
			}
		})
	}
}

func TestAgentStopsWithContext(t *testing.T) {
	silent := filepath.Join(mustTemp(t), "s")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if c, err := l.Accept(); err == nil { // connected, and never answered
			cancel()
			defer c.Close()
			<-ctx.Done()
		}
	}()
	_, err = FromAgent(ctx, silent, testKey(t, "ed25519").PublicKey())
	wantCode(t, err, gov.KindUnavailable, "agent_unavailable")
}

func mustTemp(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ag")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestStockAgent signs with keys in a real ssh-agent, security keys included.
func TestStockAgent(t *testing.T) {
	needKeygen(t)
	dir := mustTemp(t)
	socket := filepath.Join(dir, "agent")
	provider := filepath.Join(opensshTests(t), "misc/sk-dummy/sk-dummy.so")
	cmd := exec.Command("ssh-agent", "-D", "-P", provider, "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("not run: ssh-agent does not start: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil { // it speaks when it listens
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", socket)
	t.Setenv("SSH_SK_PROVIDER", provider)
	for _, typ := range []string{"ed25519", "ecdsa", "rsa", "ed25519-sk", "ecdsa-sk"} {
		t.Run(typ, func(t *testing.T) {
			file := filepath.Join(dir, typ)
			if out, err := keygen(t, nil, "-q", "-t", typ, "-N", "", "-f", file); err != nil {
				t.Fatal(out)
			}
			if out, err := exec.Command("ssh-add", "-q", file).CombinedOutput(); err != nil {
				t.Fatalf("ssh-add: %s", out)
			}
			line, err := os.ReadFile(file + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			s, err := Choose(context.Background(), "key::"+string(line), ChooseOptions{AgentSocket: socket})
			if err != nil {
				t.Fatal(err)
			}
			mustVerify(t, s)
		})
	}
}

func TestParsePublicKeyRefusals(t *testing.T) {
	cert := &ssh.Certificate{Key: testKey(t, "ed25519").PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, testKey(t, "other")); err != nil {
		t.Fatal(err)
	}
	n := rsaKey(testKey(t, "rsa").PublicKey())
	padded := ssh.Marshal(struct {
		T    string
		E, N []byte
	}{"ssh-rsa", []byte{1, 0, 1}, append([]byte{0, 0}, n.N.Bytes()...)})
	b64 := func(k ssh.PublicKey) string { return base64.StdEncoding.EncodeToString(k.Marshal()) }
	rows := []struct{ name, in, code string }{
		{"empty", "", "key_malformed"},
		{"no base64", "ssh-ed25519 !", "key_malformed"},
		{"other type than said", "ssh-rsa " + b64(testKey(t, "ed25519").PublicKey()), "key_malformed"},
		{"short RSA", "ssh-rsa " + b64(testKey(t, "rsa2048").PublicKey()), "key_too_short"},
		{"certificate", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(cert))), "key_type"},
		{"certificate in disguise", "ssh-ed25519 " + b64(cert), "key_type"},
		{"bytes behind", "ssh-ed25519 " + base64.StdEncoding.EncodeToString(append(testKey(t, "ed25519").PublicKey().Marshal(), 0)), "key_malformed"},
		{"leading zero in a number", "ssh-rsa " + base64.StdEncoding.EncodeToString(padded), "key_malformed"},
		{"DSA", "ssh-dss " + base64.StdEncoding.EncodeToString(ssh.Marshal(struct{ T, P string }{"ssh-dss", "x"})), "key_type"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			_, err := ParsePublicKey(r.in)
			wantCode(t, err, gov.KindInvalid, r.code)
		})
	}
}
