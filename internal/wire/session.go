package wire

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/face/api"
	"github.com/governhq/govern/internal/gov"
)

// Session is an open way to a log: in this process, over the socket of a
// running `govern serve`, or to GOVERN_SERVER.
type Session struct {
	*client.Client
	Engine *engine.Engine // nil unless the log is open in this process
	Where  string         // for people: "here", "the socket of …", the URL
	close  func() error
}

// Close ends the session.
func (s *Session) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// SessionOptions say how to reach a log.
type SessionOptions struct {
	Repo    Repo
	Version string
	Purpose string
	Server  string // GOVERN_SERVER
	Token   string // GOVERN_TOKEN
	Via     string // of the local principal: local or hook
	Logger  *slog.Logger
	Clock   engine.Clock
	// Here keeps away from sockets and servers: `govern serve` itself.
	Here bool
}

// OpenSession finds the log that a repository is governed by.
func OpenSession(ctx context.Context, o SessionOptions) (*Session, error) {
	if !o.Here && o.Server != "" {
		return remote(o)
	}
	dir := o.Repo.DataDir()
	if path, ok := running(dir); ok && !o.Here {
		return &Session{Client: client.New("http://govern", Socket(path)), Where: "the socket " + path}, nil
	}
	e, err := OpenEngine(ctx, o)
	if err != nil {
		return nil, err
	}
	h, _ := api.New(api.Config{Engine: e, Version: o.Version, Quarantine: quarantine(o.Repo), Logger: o.Logger})
	via := o.Via
	if via == "" {
		via = "local"
	}
	return &Session{
		Client: client.New("http://govern", Local{Handler: h, Principal: LocalPrincipal(via)}),
		Engine: e, Where: dir, close: e.Close,
	}, nil
}

func remote(o SessionOptions) (*Session, error) {
	if path, ok := strings.CutPrefix(o.Server, "unix:"); ok {
		return &Session{Client: client.New("http://govern", Socket(path)), Where: "the socket " + path}, nil
	}
	if !strings.HasPrefix(o.Server, "https://") && !strings.HasPrefix(o.Server, "http://") {
		return nil, gov.Errorf(gov.KindInvalid, "server_invalid", "GOVERN_SERVER is %q; it is an http(s) URL or unix:PATH", o.Server).WithHint("export GOVERN_SERVER=unix:PATH")
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	c := client.New(strings.TrimSuffix(o.Server, "/"), t)
	c.Token = o.Token
	return &Session{Client: c, Where: o.Server}, nil
}

// LocalPrincipal is the user this process runs as. It is who stands in the log
// as the caller; authority over changes comes from signatures alone.
func LocalPrincipal(via string) gov.Principal {
	name := "uid-" + "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return gov.Principal{Handle: "local:" + name, Kind: gov.Human, Via: via}
}

// addrFile holds the path of the socket of a running server: a socket's own
// path must not be longer than 107 bytes, which a data directory's may be.
const addrFile = "serve.addr"

func running(dir string) (string, bool) {
	b, err := os.ReadFile(filepath.Join(dir, addrFile))
	if err != nil {
		return "", false
	}
	path := strings.TrimSpace(string(b))
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return "", false // left behind by a server that died
	}
	conn.Close()
	return path, true
}

// OpenEngine opens the log beside a repository. A clone of a governed
// repository that has none yet gets a local view: its genesis is signed by
// nobody, and its answers say so.
func OpenEngine(ctx context.Context, o SessionOptions) (*engine.Engine, error) {
	cfg := engine.Config{Dir: o.Repo.DataDir(), Repo: o.Repo, Purpose: o.Purpose, Logger: o.Logger, Clock: o.Clock}
	id, err := identityOf(cfg.Dir)
	if err != nil {
		return nil, err
	}
	origin := id.Origin
	var closed error
	if cfg.SecondPlace, closed, err = id.Place(); err != nil {
		return nil, err
	}
	if closed != nil && o.Logger != nil {
		o.Logger.WarnContext(ctx, "the log's second place is closed to this user; keeping the checkpoint elsewhere", "err", closed, "instead", cfg.SecondPlace)
	}
	e, err := engine.Open(ctx, cfg)
	if gov.CodeOf(err) != "not_initialised" || o.Repo.Bare {
		return e, err
	}
	law, lawErr := engine.ReadLaw(ctx, o.Repo)
	if lawErr != nil {
		return nil, err
	}
	if _, err := engine.Init(ctx, o.Repo, engine.InitRequest{
		Dir: cfg.Dir, SecondPlace: cfg.SecondPlace, Origin: origin, Branch: law.Branch, Commit: law.Commit, Actor: LocalPrincipal("local"), Clock: o.Clock,
	}); err != nil {
		return nil, err
	}
	return engine.Open(ctx, cfg)
}

// identityOf is the identity a data directory has, or the origin of the local
// view that it will get.
func identityOf(dir string) (engine.Identity, error) {
	id, err := engine.ReadIdentity(dir)
	if gov.CodeOf(err) != "not_initialised" {
		return id, err
	}
	id.Origin, err = LocalOrigin(dir)
	return id, err
}

// LocalOrigin names a log after where it lies.
func LocalOrigin(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	sum := sha256.Sum256([]byte(abs))
	return "govern.local/" + hex.EncodeToString(sum[:8]), nil
}

// quarantine opens the server's own repository as a receive hook sees it.
func quarantine(repo Repo) func(context.Context, map[string]string) (engine.Repo, error) {
	return func(_ context.Context, env map[string]string) (engine.Repo, error) {
		r, err := repo.WithQuarantine(env)
		return Repo{r}, err
	}
}
