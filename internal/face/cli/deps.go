package cli

import (
	"context"
	"io"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

// Workbench is the repository that a person works in: what the engine reads,
// and what submit, approve and init write.
type Workbench interface {
	engine.Repo
	DataDir() string
	IsBare() bool
	WorkTreeDir() string
	CurrentBranch(ctx context.Context) (string, error)
	// Identity is the committer as git is configured.
	Identity(ctx context.Context) (name, email string, err error)
	// SigningKey is git's user.signingkey, "" when there is none.
	SigningKey(ctx context.Context) (string, error)
	NextChangeID(ctx context.Context, floor int) (gov.ChangeID, error)
	// AddFiles commits files onto a branch (checked out or not) and gives the
	// commit.
	AddFiles(ctx context.Context, branch string, files map[string][]byte, message string) (commit string, err error)
	// FirstFiles makes the first commit of a branch that has none.
	FirstFiles(ctx context.Context, branch string, files map[string][]byte, message string) (commit string, err error)
	// JoinFiles is AddFiles that also joins the history of another commit.
	JoinFiles(ctx context.Context, branch, other string, files map[string][]byte, message string) (commit string, err error)
	// RevertCommit makes a branch on tip with the exact inverse of a range.
	RevertCommit(ctx context.Context, branch, tip, mergedBase, mergedHead, message string) (commit string, err error)
	// RemoveFolder commits the removal of a folder from the checked-out branch.
	RemoveFolder(ctx context.Context, folder, message string) (commit string, err error)
	// Patch is the difference between two commits for people.
	Patch(ctx context.Context, base, head string, id gov.ChangeID) ([]byte, error)
	MergeBase(ctx context.Context, a, b string) (string, error)
	HasRemote(ctx context.Context, name string) (bool, error)
	// Config is one value of git's configuration, "" when there is none.
	Config(ctx context.Context, key string) (string, error)
	// UpdateRef moves a full ref from old to new; old "" makes it, new all zeros
	// deletes it.
	UpdateRef(ctx context.Context, ref, new, old, reason string) error
	// Push and Fetch give what the remote side said, line by line.
	Push(ctx context.Context, remote string, refspecs ...string) ([]string, error)
	Fetch(ctx context.Context, remote string) error
	// InstallHooks writes the receive hooks that call command.
	InstallHooks(ctx context.Context, command []string) (hooks, kept []string, err error)
	// Clean tells whether the work tree has no changes that are not committed.
	Clean(ctx context.Context) (bool, error)
}

// Signer makes statements with one key.
type Signer interface {
	Fingerprint() string
	// PublicLine is "type base64", as a .pub file has it.
	PublicLine() string
	// Seal signs a statement and gives the bytes of its file.
	Seal(ctx context.Context, st gov.Statement) ([]byte, error)
}

// Session is an open way to a log.
type Session interface {
	Client() *client.Client
	// Engine is the log in this process, nil over a socket or the network.
	Engine() *engine.Engine
	Where() string
	Close() error
}

// KeyEntry is one key of the people file.
type KeyEntry struct {
	Handle, Name, Sponsor, DelegateOf string
	Kind                              gov.PrincipalKind
	Roles, Emails                     []string
	PublicKey                         string // "type base64 [comment]"
	NotBefore, NotAfter               string // YYYYMMDD[HHMM[SS]]Z or ""
	Fingerprint                       string // filled when read
}

// Deps is everything the command line is handed from outside: streams,
// surroundings and the rooms it may not enter itself.
type Deps struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            func(string) string
	Dir            string // current directory
	Version        string
	Executable     string // absolute path of this program, for hooks

	OpenRepo    func(ctx context.Context, dir string) (Workbench, error)
	OpenSession func(ctx context.Context, w Workbench, purpose, via string) (Session, error)
	// Quarantine gives the variables of the receive hook this process runs in.
	Quarantine func() map[string]string
	// InitLog makes the log beside a repository; found nil makes a local view.
	InitLog func(ctx context.Context, w Workbench, origin, branch, commit string, found func(gov.Statement) ([]byte, error)) (engine.Identity, error)
	// RestoreLog opens a log that is refused as rolled back or damaged.
	RestoreLog func(ctx context.Context, w Workbench, o RestoreOptions) (engine.Restored, error)
	// Signer finds a key by name as git's user.signingkey names it.
	Signer func(ctx context.Context, name string) (Signer, error)
	// People reads the people file; AddPerson and RemoveKey give the file anew.
	People    func(file []byte) ([]KeyEntry, error)
	AddPerson func(file []byte, e KeyEntry) ([]byte, error)
	RemoveKey func(file []byte, fingerprint string) ([]byte, error)
	// NewKey makes a key pair in files path and path.pub.
	NewKey func(path, comment string) (fingerprint string, err error)
	// Tokens.
	AddToken    func(dataDir, handle string, kind gov.PrincipalKind) (id, secret string, err error)
	ListTokens  func(dataDir string) ([]TokenEntry, error)
	RevokeToken func(dataDir, id string) error
	// ReadReport normalises another tool's report; format "" detects it.
	ReadReport func(kind, format, name string, data []byte) (gov.Evidence, error)
	// Reduce shortens evidence to what a statement can carry.
	Reduce func(ev gov.Evidence, wanted []string) gov.Evidence
	// Serve runs the server until ctx is done.
	Serve func(ctx context.Context, w Workbench, o ServeOptions) error
	// VerifyPath checks a log, proof, statement or directory on disk.
	VerifyPath func(ctx context.Context, path string, o VerifyOptions) (client.Check, error)
	// AppendAudit takes JSON lines into an audit log (log append).
	AppendAudit func(ctx context.Context, dir, origin string, follow bool, socket string, in io.Reader, out io.Writer) error
	// AuditLines walks an audit log.
	AuditLines func(ctx context.Context, dir string, from, to uint64, yield func(index uint64, line []byte) error) error
	// ProveRecord gives a C2SP tlog-proof of one record of the log in dir.
	ProveRecord func(ctx context.Context, dir string, index uint64) ([]byte, error)
	// ExportLog writes the log in dir as a static tlog-tiles tree.
	ExportLog func(ctx context.Context, dir, dst string) error
	// LogHead is the newest signed checkpoint of the log in dir, with its key.
	LogHead func(ctx context.Context, dir string) (client.Anchor, error)
	// LogConsistency proves that the first newer records of the log in dir begin
	// with the first older ones.
	LogConsistency func(ctx context.Context, dir string, older, newer uint64) ([]string, error)
	// Registry reads the people file as rules see it.
	Registry func(file []byte) (gov.Registry, error)
	// GitVersion is what git says of itself.
	GitVersion func(ctx context.Context) (string, error)
	// OpenAPI gives the description of the API as YAML.
	OpenAPI func() ([]byte, error)
	Demo    func(ctx context.Context, args []string, stdout, stderr io.Writer) int
	Studio  func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int
}

// TokenEntry is a token without its secret.
type TokenEntry struct {
	ID      string            `json:"id"`
	Handle  string            `json:"handle"`
	Kind    gov.PrincipalKind `json:"kind"`
	Created string            `json:"created"`
}

// ServeOptions say how a server listens.
type ServeOptions struct {
	Listen    string // loopback host:port for tokens, "" only the socket
	Supervise bool   // carry rollouts out
	Ready     func(addr, socket string)
}

// RestoreOptions say who accepts the loss of records, and why. Sign is called
// once what is lost is known, and only when something is.
type RestoreOptions struct {
	People gov.Registry
	Reason string
	Sign   func(gov.Statement) ([]byte, error)
}

// VerifyOptions pin what a check is made against.
type VerifyOptions struct {
	Key         string     // verifier key, "" takes identity.json beside the log
	Genesis     gov.Digest // "" takes identity.json beside the log
	SecondPlace string
	People      []byte // registry, for statements
	Record      []byte // the line a proof is about, when it does not carry it
}
