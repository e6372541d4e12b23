package sign

import (
	"bytes"
	"context"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/governhq/govern/internal/gov"
)

// FromAgent signs with a key held by the ssh-agent listening on socket (the
// value of SSH_AUTH_SOCK). Codes: agent_unavailable, agent_no_key.
func FromAgent(ctx context.Context, socket string, pub ssh.PublicKey) (Signer, error) {
	s := agentSigner{socket: socket, pub: pub}
	if err := s.with(ctx, func(ssh.Signer) error { return nil }); err != nil {
		return nil, err
	}
	return s, nil
}

type agentSigner struct {
	socket string
	pub    ssh.PublicKey
}

func (s agentSigner) PublicKey() ssh.PublicKey { return s.pub }

func (s agentSigner) Sign(ctx context.Context, namespace string, message []byte) (blob []byte, err error) {
	err = s.with(ctx, func(key ssh.Signer) error {
		blob, err = keySigner{key}.Sign(ctx, namespace, message)
		return err
	})
	return blob, err
}

// with connects, finds the key and calls do; the connection ends with it or
// with ctx.
func (s agentSigner) with(ctx context.Context, do func(ssh.Signer) error) error {
	fingerprint := ssh.FingerprintSHA256(s.pub)
	if s.socket == "" {
		return gov.Errorf(gov.KindUnavailable, "agent_unavailable", "no ssh-agent is running for this session (SSH_AUTH_SOCK is empty)").
			WithHint("eval $(ssh-agent) && ssh-add")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.socket)
	if err != nil {
		return gov.Errorf(gov.KindUnavailable, "agent_unavailable", "the ssh-agent does not answer: %w", err).WithHint("eval $(ssh-agent) && ssh-add")
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	keys, err := agent.NewClient(conn).Signers()
	if err != nil {
		return gov.Errorf(gov.KindUnavailable, "agent_unavailable", "the ssh-agent does not list its keys: %w", err)
	}
	for _, key := range keys {
		if bytes.Equal(key.PublicKey().Marshal(), s.pub.Marshal()) {
			return do(key)
		}
	}
	return gov.Errorf(gov.KindNotFound, "agent_no_key", "the ssh-agent does not hold the key %s", fingerprint).WithHint("ssh-add")
}
