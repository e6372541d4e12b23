// Package sign makes and checks statements, the only thing with authority over
// a change, and reads the registry of the people who may make them.
//
// A statement file is a DSSE envelope around an in-toto Statement v1 whose
// predicate is a gov.Statement, signed with one SSH signature (SSHSIG, namespace
// "govern-statement", hash sha512) over the DSSE pre-authentication encoding.
// The bytes of the file are exactly its RFC 8785 form and one line feed; so are
// the bytes of the payload. A signature has one spelling too: low S for ECDSA,
// full length for RSA, nothing behind it. Therefore nobody but the holder of
// the key can write the same statement under another digest, and a revoked one
// cannot come back in disguise.
//
// It promises: Verify answers with a handle only if the key stands in the
// registry, is valid at the asked time and made this signature over these
// bytes; Presence is true only if a security key says that it was touched. What
// it cannot read completely it refuses, with a code. Every envelope can be
// checked without govern. With
//
//	message, signature, err := sign.ExportForSSHKeygen(envelope)
//
// written to statement.msg and statement.sig:
//
//	ssh-keygen -Y find-principals -f .govern/allowed_signers -s statement.sig
//	ssh-keygen -Y verify -f .govern/allowed_signers -I ana \
//	    -n govern-statement -s statement.sig < statement.msg
//
// (stock ssh-keygen accepts security keys that were not touched; Verify does
// not.) And every statement can be signed without govern: write Message(st) to
// statement.msg, run
//
//	ssh-keygen -Y sign -f ~/.ssh/id_ed25519_sk -n govern-statement statement.msg
//
// and give statement.msg and statement.msg.sig to Attach.
//
// It never decides whether a statement counts (rule/approval does), never
// reads a clock, never stores a private key or a passphrase anywhere, opens no
// connection but to the ssh-agent, and runs no program but ssh-keygen (sshkeygen.go).
//
// Formats: DSSE v1 (github.com/secure-systems-lab/dsse), in-toto Statement v1
// (github.com/in-toto/attestation), PROTOCOL.sshsig, PROTOCOL.u2f and
// ssh-keygen(1) ALLOWED SIGNERS of OpenSSH, RFC 8785.
package sign
