package ledger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"

	"github.com/governhq/govern/internal/gov"
)

// idKey is the first half of the SHA-256 of a record id: 24 bytes an entry in
// place of a string. A hit is confirmed by reading the record.
type idKey [16]byte

func keyOf(id string) idKey {
	sum := sha256.Sum256([]byte(id))
	return idKey(sum[:])
}

// book is what a log says about itself up to one size: stream heads, record
// ids, turns. It is derived from the lines, record by record.
type book struct {
	size  uint64
	off   int64 // offset behind the last record
	heads map[gov.Stream]uint64
	ids   map[idKey]uint64
	turns []Turn
}

func newBook() *book {
	return &book{heads: map[gov.Stream]uint64{}, ids: map[idKey]uint64{}}
}

// take enters the next governance record, or says which promise it breaks.
func (b *book) take(r Record) error {
	key := keyOf(r.ID)
	if first, ok := b.ids[key]; ok {
		return gov.Errorf(gov.KindIntegrity, "record_id_repeated", "record %d has the id of record %d", b.size, first)
	}
	for _, s := range r.Streams {
		if s.Version <= b.heads[s.Stream] {
			return gov.Errorf(gov.KindIntegrity, "stream_version_invalid", "record %d takes stream %s from version %d to %d",
				b.size, s.Stream, b.heads[s.Stream], s.Version)
		}
	}
	for _, s := range r.Streams {
		b.heads[s.Stream] = s.Version
	}
	b.ids[key] = b.size
	b.size++
	return nil
}

// takeChunk enters the records of a chunk. The first n were valid when bad is
// not nil.
func (b *book) takeChunk(c *chunk, mode Mode) (n int, bad error) {
	for i := range c.lines {
		if mode == Governance {
			if err := b.take(c.recs[i]); err != nil {
				return i, err
			}
		} else {
			b.size++
		}
		if c.marked {
			b.turns = append(b.turns, findTurns(b.size-1, c.line(i))...)
		}
		b.off = c.off + int64(c.lines[i].to) // lines begin at buf[1]
	}
	return len(c.lines), nil
}

// stateHeader is the first line of NAME.state. Behind it come, as JSON, the
// stream heads and the turns on a line each, then 24 bytes an id (idKey and
// big-endian index), then the SHA-256 of all before.
type stateHeader struct {
	Format string `json:"format"`
	Size   uint64 `json:"size"`
	Offset int64  `json:"offset"`
	Root   string `json:"root"`
	IDs    int    `json:"ids"`
}

const stateFormat = "govern-log-state/1"

func statePath(dir string, mode Mode) string { return filepath.Join(dir, string(mode)+".state") }

// saveState keeps a book with the root it belongs to. Tiles and offsets up to
// its size must be durable before.
func saveState(fsys FS, dir string, mode Mode, b *book, root Hash) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	h := stateHeader{stateFormat, b.size, b.off, root.String(), len(b.ids)}
	for _, v := range []any{h, b.heads, b.turns} {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	keys := slices.SortedFunc(maps.Keys(b.ids), func(x, y idKey) int { return bytes.Compare(x[:], y[:]) })
	for _, k := range keys {
		out.Write(k[:])
		out.Write(binary.BigEndian.AppendUint64(nil, b.ids[k]))
	}
	sum := sha256.Sum256(out.Bytes())
	out.Write(sum[:])
	return writeFile(fsys, statePath(dir, mode), out.Bytes(), false)
}

// loadState reads a book back; ok is false when it is missing or damaged.
func loadState(fsys FS, dir string, mode Mode) (b *book, root Hash, ok bool) {
	data, err := readFile(fsys, statePath(dir, mode))
	if err != nil || len(data) < sha256.Size {
		return nil, root, false
	}
	body := data[:len(data)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[len(body):]) {
		return nil, root, false
	}
	rest := bufio.NewReader(bytes.NewReader(body))
	var h stateHeader
	b = newBook()
	for _, v := range []any{&h, &b.heads, &b.turns} {
		line, err := rest.ReadBytes('\n')
		if err != nil || json.Unmarshal(line, v) != nil {
			return nil, root, false
		}
	}
	root, err = parseHash(h.Root)
	if err != nil || h.Format != stateFormat || b.heads == nil {
		return nil, root, false
	}
	b.size, b.off = h.Size, h.Offset
	if h.IDs < 0 || h.IDs > len(body)/24 {
		return nil, root, false
	}
	ids := body[len(body)-24*h.IDs:]
	b.ids = make(map[idKey]uint64, h.IDs)
	for ; len(ids) > 0; ids = ids[24:] {
		b.ids[idKey(ids)] = binary.BigEndian.Uint64(ids[16:])
	}
	return b, root, true
}
