package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Paths of c2sp.org/tlog-tiles: "checkpoint", "tile/L/N[.p/W]" and
// "tile/entries/N[.p/W]". entriesLevel stands for "entries".
const entriesLevel = -1

// tileRef is a parsed path; width is 256 for a full tile.
type tileRef struct {
	level int
	n     uint64
	width int
}

func (t tileRef) path() string {
	level := "entries"
	if t.level >= 0 {
		level = strconv.Itoa(t.level)
	}
	s := fmt.Sprintf("%03d", t.n%1000)
	for n := t.n / 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	if t.width < tileWidth {
		s = fmt.Sprintf("%s.p/%d", s, t.width)
	}
	return "tile/" + level + "/" + s
}

// parseTilePath accepts only the canonical spelling.
func parseTilePath(path string) (t tileRef, ok bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	level, rest, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return t, false
	}
	t.level, t.width = entriesLevel, tileWidth
	if level != "entries" {
		if l, ok := parseDecimal(level); !ok || l > 63 {
			return t, false
		} else {
			t.level = int(l)
		}
	}
	rest, width, partial := strings.Cut(rest, ".p/")
	if partial {
		w, ok := parseDecimal(width)
		if !ok || w < 1 || w >= tileWidth {
			return t, false
		}
		t.width = int(w)
	}
	for _, part := range strings.Split(rest, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "x"), 10, 16)
		if err != nil || n > 999 || t.n > 1<<53 {
			return t, false
		}
		t.n = t.n*1000 + n
	}
	return t, t.path() == path
}

// count is how many hashes or entries a level has in a tree of some size.
func (t tileRef) count(size uint64) uint64 {
	if t.level == entriesLevel {
		return size
	}
	if t.level >= tileLevels {
		return 0
	}
	return size >> (tileHeight * t.level)
}

// exists tells whether a tree of some size has the tile (a partial one also
// when it has grown since).
func (t tileRef) exists(size uint64) bool {
	return t.n <= size && t.n*tileWidth+uint64(t.width) <= t.count(size)
}

// tileData is the content of a tile or of an entry bundle.
func (r *Reader) tileData(ctx context.Context, t tileRef) ([]byte, error) {
	from := t.n * tileWidth
	if t.level >= 0 {
		b := make([]byte, t.width*hashSize)
		return b, r.readTile(t.level, from, b)
	}
	var b []byte
	for l, err := range r.Lines(ctx, from, from+uint64(t.width)) {
		if err != nil {
			return nil, err
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(l.Bytes)))
		b = append(b, l.Bytes...)
	}
	return b, nil
}

// ExportStatic writes the log, as of its newest checkpoint (the cosigned one
// when it is of that size), as a tree of static files after
// c2sp.org/tlog-tiles. Files that are there already are kept, so that a second
// export adds only what is new; the checkpoint is replaced last.
func (r *Reader) ExportStatic(ctx context.Context, dst string) error {
	c := r.newestServed()
	if c.Note == nil {
		return gov.Errorf(gov.KindPending, "record_not_signed", "the log has no checkpoint yet")
	}
	for level := entriesLevel; level < tileLevels; level++ {
		t := tileRef{level: level, width: tileWidth}
		count := t.count(c.Size)
		for t.n = 0; t.n*tileWidth < count; t.n++ {
			t.width = int(min(tileWidth, count-t.n*tileWidth))
			if err := r.exportTile(ctx, dst, t); err != nil {
				return err
			}
		}
	}
	if err := writeFile(osFS{}, filepath.Join(dst, "checkpoint"), c.Note, true); err != nil {
		return ioError("export checkpoint", err)
	}
	return nil
}

func (r *Reader) exportTile(ctx context.Context, dst string, t tileRef) error {
	path := filepath.Join(dst, filepath.FromSlash(t.path()))
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	data, err := r.tileData(ctx, t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return ioError("export tile", err)
	}
	if err := writeFile(osFS{}, path, data, false); err != nil {
		return ioError("export tile", err)
	}
	return nil
}

// newestServed is the newest checkpoint, with cosignatures when it has them.
func (r *Reader) newestServed() Checkpoint {
	c := r.pos.Load().signed
	if msg, err := r.Cosigned(); err == nil && msg != nil {
		if w, err := ParseCheckpoint(msg); err == nil && w.Size == c.Size && w.Root == c.Root {
			return w
		}
	}
	return c
}

// Handler serves, relative to its root, what ExportStatic writes. A Reader is
// refreshed at each request for the checkpoint.
func (r *Reader) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodGet && q.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		path := strings.TrimPrefix(q.URL.Path, "/")
		if path == "checkpoint" {
			r.serveCheckpoint(w, q)
			return
		}
		t, ok := parseTilePath(path)
		if !ok || !t.exists(r.pos.Load().signed.Size) {
			http.NotFound(w, q)
			return
		}
		data, err := r.tileData(q.Context(), t)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				http.Error(w, "the log cannot be read ["+gov.CodeOf(err)+"]", http.StatusInternalServerError)
			}
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "public, max-age=604800, immutable")
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.Write(data)
	})
}

func (r *Reader) serveCheckpoint(w http.ResponseWriter, q *http.Request) {
	if err := r.Refresh(); err != nil {
		http.Error(w, "the log cannot be read ["+gov.CodeOf(err)+"]", http.StatusInternalServerError)
		return
	}
	c := r.newestServed()
	if c.Note == nil {
		http.NotFound(w, q)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(bytes.Clone(c.Note))
}
