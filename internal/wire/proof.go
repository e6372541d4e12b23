package wire

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/edge/report"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/face/cli"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/proof/sign"
	"github.com/governhq/govern/verify"
)

// proofDeps hands the command line the rooms of evidence and proof.
func proofDeps(d *cli.Deps) {
	d.ReadReport, d.Reduce = readReport, reduceReport
	d.VerifyPath, d.Registry, d.GitVersion = verifyPath, sign.ParseRegistry, gitVersion
	d.ExportLog, d.LogHead, d.LogConsistency = exportLog, logHead, logConsistency
}

func readReport(kind, format, name string, data []byte) (gov.Evidence, error) {
	r, err := report.Read(kind, name, bytes.NewReader(data), report.Options{Format: format})
	return r.Evidence, err
}

// resultBytes is what one report may take in a statement. Statements that are
// taken in together stand in one line of the log, with what is decided on them.
const resultBytes = 12 << 10

func reduceReport(ev gov.Evidence, wanted []string) gov.Evidence {
	return report.Reduce(ev, wanted, resultBytes)
}

func verifyPath(ctx context.Context, path string, o cli.VerifyOptions) (client.Check, error) {
	r, err := verify.Path(ctx, path, verify.Options{
		Key: o.Key, Genesis: string(o.Genesis), SecondPlace: o.SecondPlace, People: o.People, Record: o.Record,
	})
	out := client.Check{OK: r.OK, Checked: r.Checked, Failures: []client.CheckFailure{}, Notes: r.Notes}
	for _, f := range r.Failures {
		out.Failures = append(out.Failures, client.CheckFailure(f))
	}
	return out, err
}

func exportLog(ctx context.Context, dir, dst string) error {
	r, err := ledger.OpenReader(dir, "")
	if err != nil {
		return err
	}
	defer r.Close()
	return r.ExportStatic(ctx, dst)
}

// logHead reads the newest checkpoint and the key that verifies it.
func logHead(_ context.Context, dir string) (client.Anchor, error) {
	r, err := ledger.OpenReader(dir, "")
	if err != nil {
		return client.Anchor{}, err
	}
	defer r.Close()
	note := r.Checkpoint()
	if note == nil {
		return client.Anchor{}, gov.Errorf(gov.KindPending, "log_unsigned", "the log in %s has no signed checkpoint yet", dir).WithHint("try again in a second")
	}
	c, err := ledger.ParseCheckpoint(note)
	if err != nil {
		return client.Anchor{}, err
	}
	key, err := logKey(dir, epochSuffix.ReplaceAllString(c.Origin, ""))
	return client.Anchor{Origin: c.Origin, Size: c.Size, Root: c.Root.String(), Key: key, Note: string(note)}, err
}

var epochSuffix = regexp.MustCompile(`/epoch-[1-9][0-9]*$`)

// logKey is the verifier key of the log in dir: that of identity.json, or the
// public half of the key that an audit log's writer keeps.
func logKey(dir, origin string) (string, error) {
	id, err := engine.ReadIdentity(dir)
	if err == nil {
		return id.Key, nil
	}
	if gov.CodeOf(err) != "not_initialised" {
		return "", err
	}
	missing := func(why string) error {
		return gov.Errorf(gov.KindNotFound, "log_key_missing", "the key of the log in %s is not known: %s", dir, why).WithHint("run the command where the log is written")
	}
	text, err := os.ReadFile(filepath.Join(dir, "audit.key"))
	if err != nil {
		return "", missing("audit.key cannot be read")
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", missing("audit.key holds no PEM block")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return "", missing("audit.key holds no Ed25519 key")
	}
	return ledger.VerifierKey(origin, key.Public().(ed25519.PublicKey))
}

func logConsistency(_ context.Context, dir string, older, newer uint64) ([]string, error) {
	r, err := ledger.OpenReader(dir, "")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if older > newer || newer > r.Size() {
		return nil, gov.Errorf(gov.KindIntegrity, "anchor_smaller", "the log in %s has %d signed records, but %d were anchored: records are gone", dir, newer, older).
			WithHint("govern verify %s", dir)
	}
	path, err := r.Consistency(older, newer)
	out := make([]string, len(path))
	for i, h := range path {
		out[i] = h.String()
	}
	return out, err
}

func gitVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	if err != nil {
		return "", gov.Errorf(gov.KindUnavailable, "git_missing", "git cannot be run: %w", err).WithHint("install git")
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "git version "), nil
}
