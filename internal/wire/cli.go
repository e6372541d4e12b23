package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/audit"
	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/demo"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/face/api"
	"github.com/governhq/govern/internal/face/cli"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/proof/sign"
	studiocli "github.com/governhq/govern/studio/cli"
)

// Deps are the command line's surroundings on this machine.
func Deps(version string) cli.Deps {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	d := cli.Deps{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Getenv, Dir: dir, Version: version, Executable: exe,
		OpenRepo: func(ctx context.Context, dir string) (cli.Workbench, error) {
			r, err := OpenRepo(ctx, dir)
			if err != nil {
				return nil, err
			}
			return r, nil
		},
		OpenSession: func(ctx context.Context, w cli.Workbench, purpose, via string) (cli.Session, error) {
			o := options(w, version)
			o.Purpose, o.Via = purpose, via
			s, err := OpenSession(ctx, o)
			if err != nil {
				return nil, err
			}
			return session{s}, nil
		},
		InitLog: initLog, RestoreLog: restoreLog, Signer: signer, People: people, AddPerson: addPerson, RemoveKey: removeKey, NewKey: newKey,
		AddToken: func(dir, handle string, kind gov.PrincipalKind) (string, string, error) {
			t, secret, err := (Tokens{dir}).Add(gov.Principal{Handle: handle, Kind: kind}, time.Now().UTC(), time.Time{})
			return t.ID, secret, err
		},
		ListTokens: func(dir string) ([]cli.TokenEntry, error) {
			ts, err := (Tokens{dir}).List()
			var out []cli.TokenEntry
			for _, t := range ts {
				out = append(out, cli.TokenEntry{ID: t.ID, Handle: t.Handle, Kind: t.Kind, Created: t.Created.Format(time.RFC3339)})
			}
			return out, err
		},
		RevokeToken: func(dir, id string) error { return (Tokens{dir}).Revoke(id) },
		Serve: func(ctx context.Context, w cli.Workbench, o cli.ServeOptions) error {
			so := options(w, version)
			so.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
			return Serve(ctx, ServeOptions{SessionOptions: so, Listen: o.Listen, Supervise: o.Supervise, Ready: o.Ready, Every: every(), Window: window()})
		},
		AppendAudit: appendAudit, AuditLines: auditLines, ProveRecord: proveRecord,
		OpenAPI: OpenAPI,
		Demo: func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
			return demo.Main(ctx, exe, args, stdout, stderr)
		},
		Studio: studiocli.Main, Quarantine: QuarantineEnv,
	}
	proofDeps(&d)
	return d
}

func options(w cli.Workbench, version string) SessionOptions {
	repo, _ := w.(Repo)
	return SessionOptions{Repo: repo, Version: version, Server: os.Getenv("GOVERN_SERVER"), Token: os.Getenv("GOVERN_TOKEN")}
}

// every and window shorten the supervisor's pace for rehearsals.
func every() time.Duration  { return duration("GOVERN_SUPERVISE_EVERY") }
func window() time.Duration { return duration("GOVERN_WINDOW") }

func duration(name string) time.Duration {
	d, err := time.ParseDuration(os.Getenv(name))
	if err != nil || d < 0 {
		return 0
	}
	return d
}

type session struct{ *Session }

func (s session) Client() *client.Client { return s.Session.Client }
func (s session) Engine() *engine.Engine { return s.Session.Engine }
func (s session) Where() string          { return s.Session.Where }

func initLog(ctx context.Context, w cli.Workbench, origin, branch, commit string, found func(gov.Statement) ([]byte, error)) (engine.Identity, error) {
	repo, ok := w.(Repo)
	if !ok {
		return engine.Identity{}, gov.Errorf(gov.KindInternal, "internal", "the workbench is no repository of this machine")
	}
	dir := repo.DataDir()
	if origin == "" {
		var err error
		if origin, err = LocalOrigin(dir); err != nil {
			return engine.Identity{}, err
		}
	}
	second, err := engine.SecondPlace(origin)
	if err != nil {
		return engine.Identity{}, err
	}
	return engine.Init(ctx, repo, engine.InitRequest{
		Dir: dir, SecondPlace: second, Origin: origin, Branch: branch, Commit: commit, Actor: LocalPrincipal("local"), Found: found,
	})
}

func restoreLog(ctx context.Context, w cli.Workbench, o cli.RestoreOptions) (engine.Restored, error) {
	dir := w.DataDir()
	if path, ok := running(dir); ok {
		return engine.Restored{}, gov.Errorf(gov.KindConflict, "log_locked", "govern serve holds this log (%s); nothing is restored under it", path).
			WithHint("stop govern serve first")
	}
	id, err := engine.ReadIdentity(dir)
	if err != nil {
		return engine.Restored{}, err
	}
	second, closed, err := id.Place()
	if err == nil {
		err = closed // what is lost is known by the log's own place alone
	}
	if err != nil {
		return engine.Restored{}, err
	}
	return engine.Restore(ctx, engine.Config{Dir: dir, SecondPlace: second, Purpose: "govern restore"}, engine.RestoreRequest{
		Actor: LocalPrincipal("local"), People: o.People, Sign: o.Sign, Rationale: o.Reason,
	})
}

type keySigner struct{ sign.Signer }

func (k keySigner) Fingerprint() string { return ssh.FingerprintSHA256(k.PublicKey()) }

// PublicLine is the public key as a .pub file has it.
func (k keySigner) PublicLine() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.PublicKey())))
}

func (k keySigner) Seal(ctx context.Context, st gov.Statement) ([]byte, error) {
	return sign.Seal(ctx, st, k.Signer)
}

func signer(ctx context.Context, name string) (cli.Signer, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	s, err := sign.Choose(ctx, name, sign.ChooseOptions{AgentSocket: os.Getenv("SSH_AUTH_SOCK"), Home: home, Prompts: os.Stderr})
	if err != nil {
		return nil, err
	}
	return keySigner{s}, nil
}

const dateLayout = "20060102150405Z"

func people(file []byte) ([]cli.KeyEntry, error) {
	f, err := sign.ParseFile(file)
	if err != nil {
		return nil, err
	}
	var out []cli.KeyEntry
	for _, e := range f.Entries() {
		k := cli.KeyEntry{
			Handle: e.Handle, Name: e.Name, Sponsor: e.Sponsor, DelegateOf: e.DelegateOf, Kind: e.Kind, Roles: e.Roles, Emails: e.Emails,
			PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(e.Key))), Fingerprint: e.Fingerprint(),
		}
		if !e.NotBefore.IsZero() {
			k.NotBefore = e.NotBefore.Format(dateLayout)
		}
		if !e.NotAfter.IsZero() {
			k.NotAfter = e.NotAfter.Format(dateLayout)
		}
		out = append(out, k)
	}
	return out, nil
}

func addPerson(file []byte, k cli.KeyEntry) ([]byte, error) {
	f, err := sign.ParseFile(file)
	if err != nil {
		return nil, err
	}
	key, err := sign.ParsePublicKey(k.PublicKey)
	if err != nil {
		return nil, err
	}
	e := sign.Entry{
		Principals: append([]string{k.Handle}, k.Emails...), Namespaces: []string{gov.SSHNamespace}, Key: key,
		Handle: k.Handle, Kind: k.Kind, Roles: k.Roles, Sponsor: k.Sponsor, DelegateOf: k.DelegateOf, Name: k.Name,
	}
	for _, d := range []struct {
		text string
		to   *time.Time
	}{{k.NotBefore, &e.NotBefore}, {k.NotAfter, &e.NotAfter}} {
		if d.text == "" {
			continue
		}
		t, err := parseDate(d.text)
		if err != nil {
			return nil, err
		}
		*d.to = t
	}
	if err := f.Add(e); err != nil {
		return nil, err
	}
	return f.Print(), nil
}

func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{dateLayout, "200601021504Z", "20060102Z", "20060102150405", "200601021504", "20060102", time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, gov.Errorf(gov.KindInvalid, "date_invalid", "%q is not a date", s).WithHint("write 2026-12-31 or 20261231Z")
}

func removeKey(file []byte, fingerprint string) ([]byte, error) {
	f, err := sign.ParseFile(file)
	if err != nil {
		return nil, err
	}
	if err := f.Remove(fingerprint); err != nil {
		return nil, err
	}
	return f.Print(), nil
}

// newKey writes an unencrypted pair and never replaces a file.
func newKey(path, comment string) (string, error) {
	private, public, err := sign.Generate(comment, nil)
	if err != nil {
		return "", err
	}
	for _, f := range []struct {
		path string
		b    []byte
		perm os.FileMode
	}{{path, private, 0o600}, {path + ".pub", public, 0o644}} {
		out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.perm)
		if err != nil {
			return "", gov.Errorf(gov.KindConflict, "key_file_exists", "the key file cannot be made: %w", err).WithHint("name another file")
		}
		_, err = out.Write(f.b)
		if err = errors.Join(err, out.Close()); err != nil {
			return "", err
		}
	}
	key, err := sign.ParsePublicKey(strings.TrimSpace(string(public)))
	if err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(key), nil
}

// appendAudit takes JSON lines into an audit log: from in, or from any number
// of processes on a socket.
func appendAudit(ctx context.Context, dir, origin string, _ bool, socket string, in io.Reader, out io.Writer) error {
	log, err := audit.Open(audit.Config{Dir: dir, Origin: origin})
	if err != nil {
		return err
	}
	if socket != "" {
		l, err := audit.Listen(socket)
		if err != nil {
			return errors.Join(err, log.Close())
		}
		context.AfterFunc(ctx, func() { l.Close() })
		return errors.Join(audit.Serve(ctx, l, log), log.Close())
	}
	return errors.Join(audit.Follow(ctx, in, out, log), log.Close())
}

func auditLines(ctx context.Context, dir string, from, to uint64, yield func(uint64, []byte) error) error {
	r, err := ledger.OpenReader(dir, ledger.Audit)
	if err != nil {
		return err
	}
	defer r.Close()
	for line, err := range r.Lines(ctx, from, to) {
		if err != nil {
			return err
		}
		if err := yield(line.Index, line.Bytes); err != nil {
			return err
		}
	}
	return nil
}

func proveRecord(_ context.Context, dir string, index uint64) ([]byte, error) {
	r, err := ledger.OpenReader(dir, "")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, err := r.Prove(index)
	if err != nil {
		return nil, err
	}
	// The record travels with its proof, so that the file can be checked alone.
	if p.Extra, err = r.Line(index); err != nil {
		return nil, err
	}
	return p.Marshal(), nil
}

// OpenAPI describes the API as YAML; contracts/openapi.yaml is this.
func OpenAPI() ([]byte, error) {
	_, doc := api.New(api.Config{Version: "1"})
	return doc.YAML()
}

// Main is the program: one line of main, the wiring, and the words.
func Main(ctx context.Context, version string, args []string) int {
	if len(args) > 0 && args[0] == "studio" {
		return studiocli.Main(ctx, args[1:], os.Stdin, os.Stdout, os.Stderr)
	}
	return cli.Main(ctx, Deps(version), args)
}
