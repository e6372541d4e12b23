package audit

import (
	"context"
	"iter"
	"os"
	"path/filepath"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
)

// Entry is a record at its place in the log.
type Entry struct {
	Index  uint64
	Record Record
	// Line is the record as it stands in the file, without its newline.
	Line []byte
	// Signed is true when a signed checkpoint covers the record; it follows the
	// acknowledgement by about a second.
	Signed bool
}

// Reader reads a log without locks, also while another process writes it.
type Reader struct {
	lines *ledger.Reader
}

// OpenReader opens the log at path, which is its directory or its audit.log.
func OpenReader(path string) (*Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, gov.Errorf(gov.KindNotFound, "audit_log_not_found", "no audit log: %w", err)
	}
	if !info.IsDir() {
		path = filepath.Dir(path)
	}
	lines, err := ledger.OpenReader(path, ledger.Audit)
	if err != nil {
		return nil, err
	}
	return &Reader{lines: lines}, nil
}

// Checkpoint is the newest signed note (C2SP tlog-checkpoint), nil before the
// first.
func (r *Reader) Checkpoint() []byte { return r.lines.Checkpoint() }

// Entries walks the records from index from to the end: first the signed ones,
// then those that are complete but not yet covered by a checkpoint. A line that
// is no record ends the walk with an error.
func (r *Reader) Entries(ctx context.Context, from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := r.lines.Refresh(); err != nil {
			yield(Entry{}, err)
			return
		}
		step := func(line ledger.Line, err error, signed bool) bool {
			if err != nil {
				yield(Entry{}, err)
				return false
			}
			if line.Index < from {
				return true
			}
			e, err := entry(line, signed)
			return yield(e, err) && err == nil
		}
		if size := r.lines.Size(); from < size {
			for line, err := range r.lines.Lines(ctx, from, size) {
				if !step(line, err, true) {
					return
				}
			}
		}
		for line, err := range r.lines.Tail(ctx) {
			if !step(line, err, false) {
				return
			}
		}
	}
}

// Entry reads one record.
func (r *Reader) Entry(ctx context.Context, index uint64) (Entry, error) {
	for e, err := range r.Entries(ctx, index) {
		return e, err
	}
	return Entry{}, gov.Errorf(gov.KindNotFound, "audit_record_not_found", "the log has no record %d yet", index)
}

// Close releases the files.
func (r *Reader) Close() error { return r.lines.Close() }

func entry(line ledger.Line, signed bool) (Entry, error) {
	rec, err := ParseRecord(line.Bytes)
	if err != nil {
		return Entry{}, gov.Errorf(gov.KindIntegrity, "audit_line_invalid", "line %d of the log is no audit record: %w", line.Index, err)
	}
	return Entry{Index: line.Index, Record: rec, Line: append([]byte(nil), line.Bytes...), Signed: signed}, nil
}
