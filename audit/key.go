package audit

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/governhq/govern/internal/gov"
)

// signer gives the key that signs checkpoints, and makes one for a new log.
func (c Config) signer() (crypto.Signer, error) {
	if c.Key != nil {
		if _, ok := c.Key.Public().(ed25519.PublicKey); !ok {
			return nil, gov.Errorf(gov.KindInvalid, "audit_key_invalid", "the log's key must be an Ed25519 key")
		}
		return c.Key, nil
	}
	name := c.KeyFile
	if name == "" {
		name = filepath.Join(c.Dir, "audit.key")
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return c.newKey(name)
	}
	if err != nil {
		return nil, gov.Errorf(gov.KindUnavailable, "audit_key_unreadable", "read key: %w", err)
	}
	bad := func(why string) error {
		return gov.Errorf(gov.KindInvalid, "audit_key_invalid", "%s: %s", name, why).
			WithHint("the file must hold one Ed25519 key as PEM, PKCS #8 (openssl genpkey -algorithm ed25519)")
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, bad("not one PEM block PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, bad("not PKCS #8")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, bad("not an Ed25519 key")
	}
	return key, nil
}

// newKey makes the key of a new log. An existing log without its key is
// refused: another key could not continue its checkpoints.
func (c Config) newKey(name string) (crypto.Signer, error) {
	if _, err := os.Stat(filepath.Join(c.Dir, "audit.log")); err == nil {
		return nil, gov.Errorf(gov.KindIntegrity, "audit_key_missing", "%s is missing, but the log is there", name).
			WithHint("put the key back, or name it with Config.KeyFile")
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, gov.Errorf(gov.KindUnavailable, "audit_key_unwritable", "make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, gov.Errorf(gov.KindInternal, "audit_key_unwritable", "encode key: %w", err)
	}
	if err := writeNew(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		if errors.Is(err, fs.ErrExist) { // another process was faster
			return c.signer()
		}
		return nil, gov.Errorf(gov.KindUnavailable, "audit_key_unwritable", "write key: %w", err)
	}
	return key, nil
}

// writeNew writes a file that must not exist yet: whole and synced under a
// temporary name, then linked to its own, so that no reader sees half a key.
func writeNew(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".key-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = join(err, tmp.Sync())
	err = join(err, tmp.Close())
	if err != nil {
		return err
	}
	return os.Link(tmp.Name(), name)
}
