package ledger

import (
	"crypto"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

// Hash is a SHA-256 of the tree.
type Hash = tlog.Hash

// Mode says which of the two uses a log has.
type Mode string

const (
	Governance Mode = "governance" // governance.log: few records, strongly consistent
	Audit      Mode = "audit"      // audit.log: thousands a second, signed each second
)

// MaxLine is the largest line in bytes, its newline not counted; it is what
// the 16-bit length of a C2SP entry bundle can say.
const MaxLine = 65535

// Options are how a log is opened for writing. Dir, Mode, Origin and Key are
// required.
type Options struct {
	// Dir holds the log; it is made when missing.
	Dir string
	// Mode is Governance or Audit.
	Mode Mode
	// Origin is the log's pinned name, without an epoch: printable, no space, no '+'.
	Origin string
	// Key signs checkpoints; its Public must be an ed25519.PublicKey.
	Key crypto.Signer
	// SecondPlace is a directory outside Dir where the newest checkpoint is kept
	// too; "" keeps it in one place only.
	SecondPlace string
	// LockWait is how long to wait for another writer: 0 means 10 s, negative
	// not at all (a second long-running process).
	LockWait time.Duration
	// Purpose stands in the lock file and in the error of who is kept out
	// ("govern serve").
	Purpose string
	// SegmentBytes seals the active audit file when it has grown to this size;
	// 0 never. Governance logs are never cut.
	SegmentBytes int64
	// CheckpointEvery is the time between checkpoints in audit mode; 0 means 1 s.
	CheckpointEvery time.Duration
	// FS is the file system; nil means the operating system's.
	FS FS
	// Now is the clock for names of torn files and for time stamps in errors;
	// nil means time.Now. No record depends on it.
	Now func() time.Time
}

// Entry is one governance record to append.
type Entry struct {
	// ID of the command: 1 to 128 bytes of printable ASCII without '"' and '\'.
	// A second Append with the same ID gets the first record's Receipt.
	ID string
	// Body is the record, a JSON object.
	Body []byte
	// Adds is the number of events, at least 1, that the record adds to each
	// stream it touches.
	Adds map[gov.Stream]int
	// Expect names every stream the decision read, with the version it saw (0:
	// the stream did not exist).
	Expect map[gov.Stream]uint64
}

// Receipt is the answer to an accepted Entry.
type Receipt struct {
	// Index of the record, from 0.
	Index uint64
	// Body of the record at Index: the caller's own, or the first one's when
	// Duplicate.
	Body []byte
	// Versions of the touched streams after the record.
	Versions map[gov.Stream]uint64
	// Duplicate is true when a record with this ID was there already.
	Duplicate bool
}

// Line is one line of a log. Bytes has no newline; in an iteration it is valid
// only until the next step.
type Line struct {
	Index uint64
	Bytes []byte
}

// Opened tells what Open found.
type Opened struct {
	Size      uint64   // records in the log
	Created   bool     // there was no log before
	Recovered uint64   // records kept that no checkpoint had covered
	Torn      *Torn    // the rest that recovery moved aside, or nil
	Rebuilt   []string // derived files that had to be made again
}

// Torn is an incomplete end that recovery moved out of the log. It was never
// acknowledged.
type Torn struct {
	File   string     `json:"file"`  // name in the log's directory
	Index  uint64     `json:"index"` // of the record that would have begun there
	Length int64      `json:"length"`
	Digest gov.Digest `json:"digest"` // SHA-256 of the bytes
}

// Loss is what RestoreAcceptLoss is about to accept. Its caller puts Note, as a
// JSON string, into the record that says who accepted it.
type Loss struct {
	Epoch    int    // the new epoch, 2 or more
	Kept     uint64 // records that remain, and the index of the record to append
	KeptRoot Hash
	Lost     Checkpoint // newest checkpoint that cannot be met; zero when none is lost
	Torn     *Torn      // bytes moved aside from behind the kept records, or nil
	Note     string     // the signed note (see "Turns" in the package comment)
}

// KeyChange is a change of the log's key that RotateKey is about to record. Its
// caller puts Note, as a JSON string, into the record.
type KeyChange struct {
	Index uint64 // of the record to append
	Note  string // signed by both keys (see "Turns" in the package comment)
}
