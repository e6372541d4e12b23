package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// CheckOptions say against what a log is checked.
type CheckOptions struct {
	// Mode "" takes the one log that is there.
	Mode Mode
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

// Report is what a check found. Failures are sorted by index.
type Report struct {
	Mode       Mode       `json:"mode"`
	Origin     string     `json:"origin"`
	Records    uint64     `json:"records"`
	Bytes      int64      `json:"bytes"`      // of all lines, with their newlines
	Root       string     `json:"root"`       // base64, of all records
	Checkpoint uint64     `json:"checkpoint"` // its size
	Unsigned   uint64     `json:"unsigned"`   // records behind the checkpoint
	Signed     uint64     `json:"signed"`     // size of the largest checkpoint in either place, which the log may not meet
	Unfinished int64      `json:"unfinished"` // bytes behind the last newline: a write that is under way, or was cut
	Segments   int        `json:"segments"`
	Streams    int        `json:"streams"`
	Turns      int        `json:"turns"`
	Hashes     uint64     `json:"hashes"` // tree hashes compared with the tile files
	Genesis    gov.Digest `json:"genesis,omitempty"`
	From       uint64     `json:"from"` // first record that was read; 0 in a whole check
	Torn       []Torn     `json:"torn,omitempty"`
	Unchecked  []string   `json:"unchecked,omitempty"` // what nothing was given to check against
	Derived    []string   `json:"derived,omitempty"`   // derived files that are missing or end too early: they prove nothing and are made again
	Failures   []Failure  `json:"failures,omitempty"`
}

// OK is true when there is no failure.
func (r Report) OK() bool { return len(r.Failures) == 0 }

// Failure is one broken promise. Index is the record it shows at, or the size
// of the tree it is about.
type Failure struct {
	Code    string `json:"code"`
	Index   uint64 `json:"index"`
	Message string `json:"message"`
}

// maxFailures bounds a report.
const maxFailures = 100

// Check tests every promise of the log in dir: each line is valid, ids are
// unique and stream versions rise, the root is the signed one, so are those of
// the second place and of the cosigned checkpoint, tiles, offsets and state are
// what the lines lead to as far as they go, segments begin where their names say, torn bytes are
// what was recorded. It takes no lock; a log that grows meanwhile is checked up
// to where it was. The error is only about not being able to look: what is
// wrong with the log stands in the report.
func Check(ctx context.Context, dir string, o CheckOptions) (Report, error) {
	return check(ctx, dir, o, false)
}

// CheckTail is Check from the last full tile before the saved state on; without
// a state that fits it is Check.
func CheckTail(ctx context.Context, dir string, o CheckOptions) (Report, error) {
	return check(ctx, dir, o, true)
}

// checker is one run.
type checker struct {
	o     CheckOptions
	dir   string
	mode  Mode
	segs  *segments
	rep   Report
	front frontier
	book  *book
	cmp   *tileCompare

	first, second, cosigned []byte // signed notes
	roots                   map[uint64]Hash
	stops                   []uint64 // sizes of roots still to come, ascending
	state                   *book    // saved, to be compared; nil when there is none
	stateRoot               Hash
	borders                 map[int64]uint64 // offset of a sealed segment: index by its name
}

func check(ctx context.Context, dir string, o CheckOptions, tail bool) (Report, error) {
	if o.FS == nil {
		o.FS = osFS{}
	}
	mode, err := findMode(o.FS, dir, o.Mode)
	if err != nil {
		return Report{}, err
	}
	k := &checker{o: o, dir: dir, mode: mode, rep: Report{Mode: mode}, book: newBook(), roots: map[uint64]Hash{}}
	if err := k.open(); err != nil {
		return k.rep, err
	}
	defer k.segs.close()
	defer k.cmp.close()
	if tail {
		k.skip()
	}
	if err := k.scan(ctx); err != nil {
		return k.rep, err
	}
	k.checkSigned()
	k.checkDerived()
	k.checkTorn()
	slices.SortStableFunc(k.rep.Failures, func(a, b Failure) int { return cmp.Compare(a.Index, b.Index) })
	return k.rep, nil
}

func (k *checker) failf(code string, index uint64, format string, args ...any) {
	if len(k.rep.Failures) < maxFailures {
		k.rep.Failures = append(k.rep.Failures, Failure{code, index, fmt.Sprintf(format, args...)})
	}
}

func (k *checker) failErr(index uint64, err error) {
	var e *gov.Error
	if errors.As(err, &e) {
		k.failf(e.Code, index, "%s", e.Message)
		return
	}
	k.failf("log_io", index, "%v", err)
}

// open reads what is small. Checkpoints come before the lines: the log only
// grows, so that they never are ahead of it.
func (k *checker) open() (err error) {
	fsys := k.o.FS
	if k.first, err = readCheckpoint(fsys, k.dir, k.mode); err != nil {
		if gov.KindOf(err) != gov.KindIntegrity {
			return err
		}
		k.failErr(0, err)
	}
	if k.o.SecondPlace != "" {
		if k.second, err = readCheckpoint(fsys, k.o.SecondPlace, k.mode); err != nil {
			if gov.KindOf(err) != gov.KindIntegrity {
				return err
			}
			k.failErr(0, err)
		}
	}
	if k.cosigned, err = readFile(fsys, cosignedPath(k.dir, k.mode)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return ioError("read cosigned checkpoint", err)
	}
	limit := uint64(0) // tiles are promised only below a checkpoint
	for _, msg := range [][]byte{k.first, k.second, k.cosigned} {
		if c, err := ParseCheckpoint(msg); err == nil {
			k.roots[c.Size] = k.front.root()
			limit = max(limit, c.Size)
		}
	}
	if b, root, ok := loadState(fsys, k.dir, k.mode); ok {
		k.state, k.stateRoot = b, root
		k.roots[b.size] = k.front.root()
	}
	k.stops = slices.Sorted(maps.Keys(k.roots))
	if k.segs, err = openSegments(fsys, k.dir, string(k.mode)); err != nil {
		return err
	}
	k.borders = map[int64]uint64{}
	for _, g := range k.segs.borders() {
		k.rep.Segments++
		if g.sealed {
			k.borders[g.base] = g.first
		}
	}
	k.cmp = newTileCompare(fsys, k.dir, k.mode, limit, k.failf)
	k.cmp.short = func(path string) { k.rep.Derived = append(k.rep.Derived, filepath.Base(path)) }
	return nil
}

// skip starts at the last full tile before the state.
func (k *checker) skip() {
	r := &recovery{fs: k.o.FS, dir: k.dir, mode: k.mode, segs: k.segs}
	disk := &diskTiles{fs: k.o.FS, dir: k.dir, name: string(k.mode)}
	defer disk.close()
	if k.state == nil || k.state.size == 0 {
		return
	}
	f, err := frontierAt(disk, k.state.size)
	if err != nil || f.root() != k.stateRoot || r.checkLast(disk, k.state) != nil {
		return // the whole check will say what is wrong
	}
	for size := range k.roots {
		if size <= k.state.size {
			if g, err := frontierAt(disk, size); err == nil {
				k.roots[size] = g.root()
			}
		}
	}
	k.front, k.book, k.state = f, k.state, nil
	k.rep.From = f.size / tileWidth * tileWidth
	k.rep.Genesis = k.cmp.genesis()
	k.cmp.skip(f.size)
}

// scan reads the lines.
func (k *checker) scan(ctx context.Context) error {
	end, err := scan(ctx, k.segs, k.book.off, k.mode, func(c *chunk) error {
		for i := range c.lines {
			k.line(c, i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if end.bad != nil {
		k.failErr(k.front.size, end.bad)
	} else {
		k.rep.Unfinished = end.rest
	}
	k.rep.Records, k.rep.Bytes = k.front.size, k.book.off
	k.rep.Root = k.front.root().String()
	k.rep.Streams = len(k.book.heads)
	return nil
}

// line takes the next line into book and tree and compares on the way.
func (k *checker) line(c *chunk, i int) {
	index, off := k.front.size, c.off+int64(c.lines[i].from)-1
	if first, ok := k.borders[off]; ok && first != index {
		k.failf("segment_misnamed", index, "a segment that begins with record %d is named after record %d", index, first)
	}
	if index == 0 {
		k.rep.Genesis = gov.DigestSum(c.leaves[i])
	}
	if k.mode == Governance {
		k.record(index, c.recs[i])
	} else {
		k.book.size++
	}
	if c.marked {
		k.book.turns = append(k.book.turns, findTurns(index, c.line(i))...)
	}
	k.book.off = off + int64(c.lines[i].to-c.lines[i].from) + 1
	k.cmp.mark(index, off)
	k.front.push(c.leaves[i], k.cmp.push)
	for len(k.stops) > 0 && k.stops[0] <= k.front.size {
		if k.stops[0] == k.front.size {
			k.roots[k.front.size] = k.front.root()
			k.compareState()
		}
		k.stops = k.stops[1:]
	}
}

// record checks what a governance record says about streams and ids.
func (k *checker) record(index uint64, r Record) {
	if k.o.Adds != nil {
		adds, err := k.o.Adds(r.Body)
		if err != nil {
			k.failErr(index, err)
		}
		if len(adds) != len(r.Streams) {
			k.failf("stream_version_invalid", index, "record %d names %d streams and has events of %d", index, len(r.Streams), len(adds))
		}
		for _, s := range r.Streams {
			if want := k.book.heads[s.Stream] + uint64(adds[s.Stream]); s.Version != want {
				k.failf("stream_version_invalid", index, "record %d takes stream %s to version %d, its events to %d", index, s.Stream, s.Version, want)
			}
		}
	}
	err := k.book.take(r)
	if err == nil {
		return
	}
	k.failErr(index, err)
	for _, s := range r.Streams {
		k.book.heads[s.Stream] = s.Version
	}
	k.book.size++
}

// compareState compares the saved state when the lines have come to its size.
func (k *checker) compareState() {
	s := k.state
	if s == nil || s.size != k.front.size {
		return
	}
	k.state = nil
	if s.off != k.book.off || k.stateRoot != k.front.root() || !maps.Equal(s.heads, k.book.heads) ||
		!maps.Equal(s.ids, k.book.ids) || !slices.Equal(s.turns, k.book.turns) {
		k.failf("state_mismatch", s.size, "the saved state at %d records is not what they lead to", s.size)
	}
}

// checkSigned compares the checkpoints with the tree and verifies them.
func (k *checker) checkSigned() {
	var v *Verifier
	if k.o.Verifier == nil {
		k.rep.Unchecked = append(k.rep.Unchecked, "signatures")
	} else {
		v = k.o.Verifier.clone()
		for _, t := range k.book.turns {
			if v.AddTurn(t) == nil {
				k.rep.Turns++
			}
		}
	}
	for _, p := range []struct {
		what string
		msg  []byte
		code string
	}{
		{"the checkpoint", k.first, "checkpoint_mismatch"},
		{"the checkpoint in the second place", k.second, "log_rolled_back"},
		{"the cosigned checkpoint", k.cosigned, "checkpoint_mismatch"},
	} {
		if p.msg != nil {
			k.checkNote(v, p.what, p.msg, p.code)
		}
	}
	if c, err := ParseCheckpoint(k.first); err == nil {
		k.rep.Checkpoint, k.rep.Origin = c.Size, c.Origin
	} else if v != nil && k.front.size > 0 && k.first == nil {
		k.failf("checkpoint_missing", k.front.size, "no checkpoint was ever signed")
	}
	k.rep.Unsigned = k.front.size - min(k.front.size, k.rep.Checkpoint)
	if k.o.SecondPlace == "" {
		k.rep.Unchecked = append(k.rep.Unchecked, "second place")
	}
	if k.mode == Governance && k.o.Adds == nil {
		k.rep.Unchecked = append(k.rep.Unchecked, "consecutive versions")
	}
	switch {
	case k.o.Genesis == "":
		k.rep.Unchecked = append(k.rep.Unchecked, "genesis")
	case k.o.Genesis != k.rep.Genesis:
		k.failf("genesis_mismatch", 0, "record 0 is not the pinned genesis %s", k.o.Genesis.Short())
	}
}

func (k *checker) checkNote(v *Verifier, what string, msg []byte, code string) {
	c, err := ParseCheckpoint(msg)
	k.rep.Signed = max(k.rep.Signed, c.Size)
	switch {
	case err != nil:
		k.failErr(0, err)
		return
	case c.Size > k.front.size:
		k.failf(code, k.front.size, "%s signs %d records, the log has %d", what, c.Size, k.front.size)
	case k.roots[c.Size] != c.Root:
		k.failf(code, c.Size, "%s is not of this tree: a record below %d was changed", what, c.Size)
	}
	if v == nil {
		return
	}
	if _, err := v.Checkpoint(msg); err != nil {
		k.failErr(c.Size, err)
	}
}

// checkDerived ends the comparison of the derived files.
func (k *checker) checkDerived() {
	k.rep.Hashes = k.cmp.hashes
	if k.state != nil && k.state.size > k.front.size {
		k.failf("state_mismatch", k.front.size, "the saved state is of %d records, the log has %d", k.state.size, k.front.size)
	}
}

// checkTorn looks whether the bytes that recovery moved aside are still those.
func (k *checker) checkTorn() {
	entries, err := k.o.FS.ReadDir(k.dir)
	if err != nil {
		k.failErr(0, ioError("list torn files", err))
		return
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !strings.HasPrefix(name, "torn-") {
			continue
		}
		var t Torn
		note, err := readFile(k.o.FS, filepath.Join(k.dir, e.Name()))
		if err != nil || json.Unmarshal(note, &t) != nil || t.File != name {
			k.failf("torn_changed", 0, "what was recorded about %s cannot be read", name)
			continue
		}
		k.rep.Torn = append(k.rep.Torn, t)
		data, err := readFile(k.o.FS, filepath.Join(k.dir, name))
		if err != nil || gov.DigestOf(data) != t.Digest || int64(len(data)) != t.Length {
			k.failf("torn_changed", t.Index, "%s is not what recovery moved aside", name)
		}
	}
}
