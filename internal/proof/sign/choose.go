package sign

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

// ChooseOptions say where keys may come from.
type ChooseOptions struct {
	AgentSocket string     // $SSH_AUTH_SOCK; empty: no agent
	Home        string     // what "~/" means
	SSHKeygen   string     // program; default ssh-keygen from $PATH
	Prompts     io.Writer  // "touch your key"; may be nil
	Ask         Passphrase // may be nil: encrypted files are refused
}

// Choose finds the signer for a key named as git's user.signingkey names it:
//
//	key::ssh-ed25519 AAAA…   a key that the agent holds ("key::" may be left out)
//	~/.ssh/id_ed25519.pub    the agent's, else the private key beside it
//	~/.ssh/id_ed25519        the private key in this file
//
// Security keys (sk-…) named by a file sign through ssh-keygen. Codes:
// signing_key_missing, key_*, agent_*, sshkeygen_missing.
func Choose(ctx context.Context, name string, opts ChooseOptions) (Signer, error) {
	if name == "" {
		return nil, gov.Errorf(gov.KindNotFound, "signing_key_missing", "no signing key is set").
			WithHint("git config user.signingkey ~/.ssh/id_ed25519.pub")
	}
	if literal, ok := strings.CutPrefix(name, "key::"); ok || looksLikeKey(name) {
		if !ok {
			literal = name
		}
		pub, err := ParsePublicKey(literal)
		if err != nil {
			return nil, err
		}
		return FromAgent(ctx, opts.AgentSocket, pub)
	}
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		name = filepath.Join(opts.Home, rest)
	}
	if strings.HasSuffix(name, ".pub") {
		return fromPub(ctx, name, opts)
	}
	return fromFile(ctx, name, opts)
}

func looksLikeKey(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-")
}

func readKey(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, gov.Errorf(gov.KindNotFound, "signing_key_missing", "there is no key file %s", file).WithHint("ssh-keygen -t ed25519 -f %s", strings.TrimSuffix(file, ".pub"))
	}
	if err != nil {
		return nil, gov.Errorf(gov.KindDenied, "signing_key_unreadable", "the key file %s cannot be read: %w", file, err)
	}
	return b, nil
}

// fromPub prefers the agent: it holds the key unlocked.
func fromPub(ctx context.Context, file string, opts ChooseOptions) (Signer, error) {
	b, err := readKey(file)
	if err != nil {
		return nil, err
	}
	pub, err := ParsePublicKey(string(b))
	if err != nil {
		return nil, err
	}
	private := strings.TrimSuffix(file, ".pub")
	_, missing := os.Stat(private)
	if missing == nil && isSK(pub.Type()) {
		return FromSSHKeygen(opts.SSHKeygen, private, pub, opts.Prompts)
	}
	s, err := FromAgent(ctx, opts.AgentSocket, pub)
	if err == nil {
		return s, nil
	}
	if missing != nil {
		return nil, err
	}
	return fromPrivate(ctx, private, pub, opts)
}

// fromFile signs with a private key file; a security key's file holds only a
// handle, so its public key is read from the .pub beside it.
func fromFile(ctx context.Context, file string, opts ChooseOptions) (Signer, error) {
	var pub ssh.PublicKey
	if b, err := os.ReadFile(file + ".pub"); err == nil {
		if pub, err = ParsePublicKey(string(b)); err != nil {
			return nil, err
		}
		if isSK(pub.Type()) {
			return FromSSHKeygen(opts.SSHKeygen, file, pub, opts.Prompts)
		}
	}
	return fromPrivate(ctx, file, pub, opts)
}

// fromPrivate opens a private key file; pub, when known, must belong to it.
func fromPrivate(ctx context.Context, file string, pub ssh.PublicKey, opts ChooseOptions) (Signer, error) {
	b, err := readKey(file)
	if err != nil {
		return nil, err
	}
	s, err := FromPrivateKey(ctx, file, b, opts.Ask)
	if err != nil {
		return nil, err
	}
	if pub != nil && ssh.FingerprintSHA256(pub) != ssh.FingerprintSHA256(s.PublicKey()) {
		return nil, gov.Errorf(gov.KindInvalid, "key_mismatch", "%s and %s.pub are not one key", file, file)
	}
	return s, nil
}
