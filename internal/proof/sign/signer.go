package sign

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

// Signer makes SSH signatures with one key. Sign gives an SSHSIG blob over
// message, hashed with sha512, under namespace; it may wait for a person
// (passphrase, touch) until ctx ends.
type Signer interface {
	PublicKey() ssh.PublicKey
	Sign(ctx context.Context, namespace string, message []byte) ([]byte, error)
}

// Passphrase asks a person for the passphrase of a key file; it is called at
// most once a signature.
type Passphrase func(ctx context.Context, file string) ([]byte, error)

// FromKey signs with a private key in memory.
func FromKey(key ssh.Signer) Signer { return keySigner{key} }

type keySigner struct{ key ssh.Signer }

func (s keySigner) PublicKey() ssh.PublicKey { return s.key.PublicKey() }

func (s keySigner) Sign(_ context.Context, namespace string, message []byte) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(message), s.key, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, gov.Errorf(gov.KindUnavailable, "sign_failed", "the key did not sign: %w", err)
	}
	return sig.Marshal(), nil
}

// FromPrivateKey reads a private key file (OpenSSH or PEM). An encrypted one
// asks for its passphrase, by the name file. Codes: key_malformed,
// key_passphrase, key_type and key_too_short.
func FromPrivateKey(ctx context.Context, file string, content []byte, ask Passphrase) (Signer, error) {
	key, err := ssh.ParsePrivateKey(content)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		if ask == nil {
			return nil, gov.Errorf(gov.KindDenied, "key_passphrase", "the key %s is encrypted and nobody can be asked for its passphrase", file).
				WithHint("ssh-add %s", file)
		}
		var secret []byte
		if secret, err = ask(ctx, file); err != nil {
			return nil, gov.Errorf(gov.KindDenied, "key_passphrase", "no passphrase for %s: %w", file, err)
		}
		key, err = ssh.ParsePrivateKeyWithPassphrase(content, secret)
		clear(secret)
		if err != nil {
			return nil, gov.Errorf(gov.KindDenied, "key_passphrase", "the passphrase does not open %s", file)
		}
	}
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "key_malformed", "the private key %s cannot be read: %w", file, err)
	}
	if err := usableKey(key.PublicKey()); err != nil {
		return nil, err
	}
	return FromKey(key), nil
}

// Generate makes an Ed25519 key pair: the private key in OpenSSH's file format,
// encrypted when a passphrase is given, and the public key as one line of an
// authorized_keys file.
func Generate(comment string, passphrase []byte) (private, public []byte, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, gov.Errorf(gov.KindInternal, "internal", "generate a key: %w", err)
	}
	var block *pem.Block
	if len(passphrase) > 0 {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, comment, passphrase)
	} else {
		block, err = ssh.MarshalPrivateKey(key, comment)
	}
	if err != nil {
		return nil, nil, gov.Errorf(gov.KindInternal, "internal", "write a key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, gov.Errorf(gov.KindInternal, "internal", "write a key: %w", err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub)) + " " + comment)
	line = strings.ReplaceAll(line, "\n", "")
	return pem.EncodeToMemory(block), []byte(line + "\n"), nil
}

// ParsePublicKey reads "type base64 [comment]", the content of a .pub file.
func ParsePublicKey(line string) (ssh.PublicKey, error) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return nil, gov.Errorf(gov.KindInvalid, "key_malformed", "a public key has the form: type base64 [comment]")
	}
	return parseKey(fields[0], fields[1])
}
