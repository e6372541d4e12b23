package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/governhq/govern/internal/gov"
)

// segments reads a log's files as one row of bytes: sealed ones in the order of
// their first index, then the active one. Offsets are of that row.
type segments struct {
	fs        FS
	dir, name string

	mu   sync.RWMutex
	list []segment // the active one last, when it exists
}

// segment is one file. Only the active one grows.
type segment struct {
	path   string
	sealed bool
	first  uint64 // index of the first line, of sealed ones by their name
	base   int64  // offset of the first byte
	size   int64  // of sealed ones; the active one is read to its end
	f      File
}

func activePath(dir, name string) string { return filepath.Join(dir, name+".log") }

func sealedPath(dir, name string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%012d.log", name, first))
}

// parseSealed reads FIRST out of a file name.
func parseSealed(name, file string) (first uint64, ok bool) {
	s, ok1 := strings.CutPrefix(file, name+"-")
	s, ok2 := strings.CutSuffix(s, ".log")
	if !ok1 || !ok2 || len(s) != 12 {
		return 0, false
	}
	first, err := strconv.ParseUint(s, 10, 64)
	return first, err == nil
}

// openSegments lists and opens the files for reading.
func openSegments(fsys FS, dir, name string) (*segments, error) {
	s := &segments{fs: fsys, dir: dir, name: name}
	return s, s.reload()
}

// reload looks at the directory again: another process may have sealed the
// active file. When that happens between listing and opening, the active file
// that was opened is not the one behind the listed segments: look once more.
func (s *segments) reload() error {
	for range 100 {
		list, err := s.look()
		if err != nil {
			return err
		}
		again, err := s.names()
		if err == nil && len(again) == len(list) {
			s.mu.Lock()
			closeAll(s.list)
			s.list = list
			s.mu.Unlock()
			return nil
		}
		closeAll(list)
		if err != nil {
			return err
		}
	}
	return gov.Errorf(gov.KindUnavailable, "log_io", "the segments of the log change faster than they can be opened")
}

// names lists the segments, nothing of them opened. Segments are only ever
// added, so that equal numbers mean equal names.
func (s *segments) names() (list []segment, err error) {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return nil, ioError("list segments", err)
	}
	active := false
	for _, e := range entries {
		if first, ok := parseSealed(s.name, e.Name()); ok {
			list = append(list, segment{path: filepath.Join(s.dir, e.Name()), sealed: true, first: first})
		}
		active = active || e.Name() == s.name+".log"
	}
	slices.SortFunc(list, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	if active {
		list = append(list, segment{path: activePath(s.dir, s.name)})
	}
	return list, nil
}

// look lists and opens the segments.
func (s *segments) look() ([]segment, error) {
	list, err := s.names()
	if err != nil {
		return nil, err
	}
	base := int64(0)
	for i := range list {
		g := &list[i]
		if g.f, err = s.fs.OpenFile(g.path, os.O_RDONLY, 0); err == nil {
			g.size, err = fileSize(g.f)
		}
		if errors.Is(err, os.ErrNotExist) {
			return list[:i], nil // sealed just now; the count will tell
		}
		if err != nil {
			closeAll(list)
			return nil, ioError("open segment", err)
		}
		g.base = base
		base += g.size
	}
	return list, nil
}

func closeAll(list []segment) {
	for _, g := range list {
		if g.f != nil {
			g.f.Close()
		}
	}
}

func (s *segments) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeAll(s.list)
	s.list = nil
}

// ReadAt reads across files; it returns io.EOF at the end of the active one.
func (s *segments) ReadAt(p []byte, off int64) (n int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, g := range s.list {
		last := i == len(s.list)-1
		if !last && off >= g.base+g.size {
			continue
		}
		q := p[n:]
		if !last {
			q = q[:min(int64(len(q)), g.base+g.size-off)]
		}
		m, err := g.f.ReadAt(q, off-g.base)
		n += m
		off += int64(m)
		if n == len(p) {
			return n, nil
		}
		if err != nil && (last || !errors.Is(err, io.EOF)) {
			return n, err
		}
		if m < len(q) {
			return n, io.ErrUnexpectedEOF // a sealed segment became shorter
		}
	}
	return n, io.EOF
}

// end is the offset behind the last byte now.
func (s *segments) end() (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.list) == 0 {
		return 0, nil
	}
	g := s.list[len(s.list)-1]
	n, err := fileSize(g.f)
	if err != nil {
		return 0, ioError("size of the log", err)
	}
	return g.base + n, nil
}

// borders are the offsets and names of the sealed segments and of what follows
// them, for the check that each file begins where its name says.
func (s *segments) borders() []segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.list)
}

// activeBase is the offset at which the active file begins.
func (s *segments) activeBase() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := len(s.list); n > 0 {
		if g := s.list[n-1]; g.sealed {
			return g.base + g.size
		} else {
			return g.base
		}
	}
	return 0
}

// findMode resolves mode "" to the one log in dir.
func findMode(fsys FS, dir string, mode Mode) (Mode, error) {
	if mode == Governance || mode == Audit {
		return mode, nil
	}
	if mode != "" {
		return "", gov.Errorf(gov.KindInvalid, "log_mode_invalid", "%q is no mode of a log; use governance or audit", mode)
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", ioError("look for a log", err)
	}
	found := map[Mode]bool{}
	for _, e := range entries {
		for _, m := range []Mode{Governance, Audit} {
			_, sealed := parseSealed(string(m), e.Name())
			if sealed || e.Name() == string(m)+".log" {
				found[m] = true
			}
		}
	}
	switch {
	case found[Governance] && found[Audit]:
		return "", gov.Errorf(gov.KindInvalid, "log_mode_missing", "%s holds a governance and an audit log; say which", dir)
	case found[Governance]:
		return Governance, nil
	case found[Audit]:
		return Audit, nil
	}
	return "", gov.Errorf(gov.KindNotFound, "log_not_found", "there is no log in %s", dir).WithHint("govern init")
}
