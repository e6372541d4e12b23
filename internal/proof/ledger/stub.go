package ledger

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"io"
	"io/fs"
	"iter"
	"net/http"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

// FS is the part of a file system that a log needs; tests put a faulty one here.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Stat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(name string, perm fs.FileMode) error
	Rename(oldName, newName string) error
	Remove(name string) error
	SyncDir(name string) error
}

// File is an open file. Sync returns when the data, and the size, are durable.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Close() error
}

// Log is a log open for writing; it embeds its own live Reader. All methods may
// be called concurrently.
type Log struct{ *Reader }

// Open opens or creates a log for writing, through recovery.
func Open(ctx context.Context, o Options) (*Log, error) { panic("") }

// RestoreAcceptLoss opens a log that Open refuses because signed records are
// lost or the file is damaged: it keeps the longest prefix of valid lines, moves
// the rest aside, appends the record that build returns and begins a new epoch.
// In audit mode only Body of the Entry is used: the whole line.
func RestoreAcceptLoss(ctx context.Context, o Options, build func(Loss) (Entry, error)) (*Log, error) {
	panic("")
}

// Opened tells what Open found.
func (l *Log) Opened() Opened { panic("") }

// Append appends a governance record and returns when it and its signed
// checkpoint are durable.
func (l *Log) Append(ctx context.Context, e Entry) (Receipt, error) { panic("") }

// AppendLine appends an audit line and returns its index when it is durable.
func (l *Log) AppendLine(ctx context.Context, line []byte) (uint64, error) { panic("") }

// Genesis appends record 0 and returns its fingerprint.
func (l *Log) Genesis(ctx context.Context, e Entry) (Receipt, gov.Digest, error) { panic("") }

// RotateKey appends the record that build returns, which both keys sign for,
// and from then on signs with next.
func (l *Log) RotateKey(ctx context.Context, next crypto.Signer, build func(KeyChange) (Entry, error)) (Receipt, error) {
	panic("")
}

// AddCosignatures verifies witness signature lines over the checkpoint msg (one
// of this log) and keeps it with them as the newest cosigned one.
func (l *Log) AddCosignatures(msg, lines []byte, witnesses ...note.Verifier) error { panic("") }

// Close signs what is not yet signed and releases the lock.
func (l *Log) Close() error { panic("") }

// Reader reads a log without locks; it sees the records up to the durable
// checkpoint.
type Reader struct{}

// OpenReader opens the log in dir for reading. mode "" takes the one log that is
// there. Nothing is verified but that the derived files belong to the checkpoint.
func OpenReader(dir string, mode Mode) (*Reader, error) { panic("") }

// Refresh moves the reader to the newest checkpoint.
func (r *Reader) Refresh() error { panic("") }

// Close releases the files.
func (r *Reader) Close() error { panic("") }

// Mode of the log.
func (r *Reader) Mode() Mode { panic("") }

// Origin that the newest checkpoint carries.
func (r *Reader) Origin() string { panic("") }

// Size is the number of records that can be read: of a Log the acknowledged
// ones, of a Reader the signed ones.
func (r *Reader) Size() uint64 { panic("") }

// Root is the tree hash at Size.
func (r *Reader) Root() Hash { panic("") }

// Checkpoint is the newest signed note, nil before the first.
func (r *Reader) Checkpoint() []byte { panic("") }

// Cosigned is the newest checkpoint with cosignatures of witnesses, or nil.
func (r *Reader) Cosigned() ([]byte, error) { panic("") }

// TreeHash is the root of the first n records.
func (r *Reader) TreeHash(n uint64) (Hash, error) { panic("") }

// Head is the version of a stream at Size, 0 when there is none.
func (r *Reader) Head(s gov.Stream) (uint64, error) { panic("") }

// Heads is the version of every stream at Size.
func (r *Reader) Heads() (map[gov.Stream]uint64, error) { panic("") }

// Find is the index of the record with a command id.
func (r *Reader) Find(id string) (index uint64, ok bool, err error) { panic("") }

// Line reads one line into new memory.
func (r *Reader) Line(i uint64) ([]byte, error) { panic("") }

// Lines walks [from, to); to 0 means Size.
func (r *Reader) Lines(ctx context.Context, from, to uint64) iter.Seq2[Line, error] { panic("") }

// Tail walks the complete lines behind Size that no checkpoint covers yet.
func (r *Reader) Tail(ctx context.Context) iter.Seq2[Line, error] { panic("") }

// Inclusion proves record i in the tree of the first size records.
func (r *Reader) Inclusion(i, size uint64) ([]Hash, error) { panic("") }

// Consistency proves that the first older records are a prefix of the first newer.
func (r *Reader) Consistency(older, newer uint64) ([]Hash, error) { panic("") }

// Prove is a complete offline proof of record i under the newest checkpoint
// (the cosigned one when it covers i).
func (r *Reader) Prove(i uint64) (Proof, error) { panic("") }

// Turns lists the key changes and epochs of the log.
func (r *Reader) Turns() ([]Turn, error) { panic("") }

// WitnessRequest is the body of an add-checkpoint request (c2sp.org/tlog-witness).
func (r *Reader) WitnessRequest(oldSize uint64) ([]byte, error) { panic("") }

// ExportStatic writes the log as a C2SP tlog-tiles tree of static files.
func (r *Reader) ExportStatic(ctx context.Context, dst string) error { panic("") }

// Handler serves the same paths as ExportStatic writes.
func (r *Reader) Handler() http.Handler { panic("") }

// Turn is a key change or a new epoch; Note is its signed note.
type Turn struct {
	Index uint64 `json:"index"`
	Note  string `json:"note"`
}

// Checkpoint is a parsed tree head. Signed by the log when it comes from a
// Verifier.
type Checkpoint struct {
	Origin   string
	Size     uint64
	Root     Hash
	Note     []byte   // the whole signed note
	Cosigned []string // names of known witnesses whose signature verifies
}

// ParseCheckpoint reads the text of a signed note without verifying it.
func ParseCheckpoint(msg []byte) (Checkpoint, error) { panic("") }

// Proof is a C2SP tlog-proof: record Index is in the tree of Checkpoint.
type Proof struct {
	Index      uint64
	Extra      []byte
	Path       []Hash
	Checkpoint []byte // signed note
}

// ParseProof reads the text form.
func ParseProof(text []byte) (Proof, error) { panic("") }

// Marshal is the text form.
func (p Proof) Marshal() []byte { panic("") }

// Verifier checks checkpoints and proofs offline, from one pinned key on. It is
// not safe for concurrent use while turns are added.
type Verifier struct{}

// NewVerifier pins origin (without epoch) and key.
func NewVerifier(origin string, key ed25519.PublicKey, witnesses ...note.Verifier) (*Verifier, error) {
	panic("")
}

// ParseVerifier pins a verifier key in the form of c2sp.org/signed-note.
func ParseVerifier(vkey string, witnesses ...note.Verifier) (*Verifier, error) { panic("") }

// AddTurn accepts the next key change or epoch, in the order of the log.
func (v *Verifier) AddTurn(t Turn) error { panic("") }

// Checkpoint verifies a signed note.
func (v *Verifier) Checkpoint(msg []byte) (Checkpoint, error) { panic("") }

// Proof verifies that line is the record that the proof names.
func (v *Verifier) Proof(p Proof, line []byte) (Checkpoint, error) { panic("") }

// Consistent verifies that two checkpoints belong to one history.
func (v *Verifier) Consistent(older, newer []byte, proof []Hash) error { panic("") }

// VerifierKey is origin and key in the form of c2sp.org/signed-note.
func VerifierKey(origin string, key ed25519.PublicKey) (string, error) { panic("") }

// WitnessVerifier reads a witness's verifier key (type 0x04, c2sp.org/tlog-cosignature).
func WitnessVerifier(vkey string) (note.Verifier, error) { panic("") }

// Fingerprint is the leaf hash of a line: SHA-256(0x00 ‖ line).
func Fingerprint(line []byte) gov.Digest { panic("") }

// CheckLine refuses what may not stand in a log (see the package comment).
func CheckLine(line []byte) error { panic("") }

// Record is a governance line taken apart. The slices point into it.
type Record struct {
	ID      string
	Streams []StreamVersion
	Body    []byte
}

// StreamVersion is a stream with its version after a record.
type StreamVersion struct {
	Stream  gov.Stream
	Version uint64
}

// ParseRecord takes a governance line apart; the body is not read.
func ParseRecord(line []byte) (Record, error) { panic("") }

// CheckOptions say against what a log is checked.
type CheckOptions struct {
	Mode Mode // "" takes the one log that is there
	// Verifier holds the pinned key; nil leaves signatures unchecked, and the
	// report says so.
	Verifier *Verifier
	// Genesis is the pinned fingerprint of record 0, "" when none is pinned.
	Genesis gov.Digest
	// SecondPlace is the directory of the second checkpoint, or "".
	SecondPlace string
	// Adds counts the events in a body; with it stream versions are checked to
	// be consecutive, without it only to rise. EventAdds reads a gov.Record.
	Adds func(body []byte) (map[gov.Stream]int, error)
	// FS is the file system; nil means the operating system's.
	FS FS
}

// EventAdds counts the events of a gov.Record by stream.
func EventAdds(body []byte) (map[gov.Stream]int, error) { panic("") }

// Report is what a check found. Failures are sorted by index.
type Report struct {
	Mode       Mode       `json:"mode"`
	Origin     string     `json:"origin"`
	Records    uint64     `json:"records"`
	Bytes      int64      `json:"bytes"`
	Root       string     `json:"root"`       // base64, at Records
	Checkpoint uint64     `json:"checkpoint"` // its size
	Unsigned   uint64     `json:"unsigned"`   // records behind the checkpoint
	Segments   int        `json:"segments"`
	Streams    int        `json:"streams"`
	Tiles      uint64     `json:"tiles"` // tree hashes compared with the derived files
	Genesis    gov.Digest `json:"genesis,omitempty"`
	From       uint64     `json:"from"` // first record that was read; 0 in a whole check
	Torn       []Torn     `json:"torn,omitempty"`
	Unchecked  []string   `json:"unchecked,omitempty"`
	Failures   []Failure  `json:"failures,omitempty"`
}

// OK is true when there is no failure.
func (r Report) OK() bool { return len(r.Failures) == 0 }

// Failure is one broken promise.
type Failure struct {
	Code    string `json:"code"`
	Index   uint64 `json:"index"`
	Message string `json:"message"`
}

// Check tests every promise of the log in dir. Its error is only about not being
// able to look; what is wrong with the log stands in the report.
func Check(ctx context.Context, dir string, o CheckOptions) (Report, error) { panic("") }

// CheckTail is Check for the part behind the newest derived state.
func CheckTail(ctx context.Context, dir string, o CheckOptions) (Report, error) { panic("") }
