package sign

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
)

// FromSSHKeygen lets `ssh-keygen -Y sign` sign with the key file (a private
// key, a security key's handle, or a .pub whose key an agent holds): the way to
// FIDO hardware. Prompts ("Confirm user presence …") go to prompts, questions
// for a PIN or passphrase to the terminal. program is ssh-keygen when empty.
// Codes: sshkeygen_missing, sign_failed, sign_canceled.
func FromSSHKeygen(program, file string, pub ssh.PublicKey, prompts io.Writer) (Signer, error) {
	if program == "" {
		program = "ssh-keygen"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, gov.Errorf(gov.KindUnavailable, "sshkeygen_missing", "signing with a security key needs ssh-keygen: %w", err).
			WithHint("apt-get install openssh-client")
	}
	return keygenSigner{path, file, pub, prompts}, nil
}

type keygenSigner struct {
	program, file string
	pub           ssh.PublicKey
	prompts       io.Writer
}

func (s keygenSigner) PublicKey() ssh.PublicKey { return s.pub }

func (s keygenSigner) Sign(ctx context.Context, namespace string, message []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.program, "-Y", "sign", "-n", namespace, "-f", s.file)
	cmd.Stdin = bytes.NewReader(message)
	var said bytes.Buffer
	cmd.Stderr = &said
	if s.prompts != nil {
		cmd.Stderr = io.MultiWriter(&said, s.prompts)
	}
	armored, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, gov.Errorf(gov.KindTimeout, "sign_canceled", "nobody touched the security key in time: %w", ctx.Err())
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return nil, gov.Errorf(gov.KindUnavailable, "sign_failed", "ssh-keygen did not sign: %s", lines[len(lines)-1])
	}
	sig, err := sshsig.Unarmor(armored)
	if err != nil {
		return nil, gov.Errorf(gov.KindUnavailable, "sign_failed", "ssh-keygen answered without a signature: %w", err)
	}
	return sig.Marshal(), nil
}
