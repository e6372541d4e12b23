package ledger

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// memFS is a disk that forgets: what was not synced may be lost at a crash, and
// after a failed sync the kernel believes the pages clean, so that only writing
// them again saves them. A fault hits one operation, by its number.
type memFS struct {
	mu      sync.Mutex
	dead    bool
	names   map[string]*memFile // as processes see them
	durable map[string]*memFile // as a crash leaves them
	ops     int
	files   int // ever made
	faultAt int // number of the operation that fails; 0 never
	fault   fault
	hit     string // what the fault hit
	noSync  string // every sync of a path with this prefix fails
}

// sector is what a disk writes as one.
const sector = 512

// fault is how an operation fails.
type fault int

const (
	failed    fault = iota // nothing happened
	persisted              // it happened all the same
	short                  // half of it happened (writes)
	faultEnd
	noSpaceUntil fault = 100 // every write fails until it is cleared
)

type memFile struct {
	fs    *memFS
	id    int
	data  []byte
	disk  []byte
	dirty []byte // of data, 1 for dirty
	lo    int    // no byte below is dirty
}

func newMemFS() *memFS {
	return &memFS{names: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// crash is the disk after a power cut: r decides what of the unsynced is left.
func (m *memFS) crash(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	n := newMemFS()
	n.files = m.files
	names := m.durable
	if r.IntN(2) == 0 {
		names = m.names
	}
	for _, path := range slices.Sorted(keysOf(names)) {
		f := names[path]
		g := &memFile{fs: n, id: f.id, disk: slices.Clone(f.disk)}
		// Sectors that were overwritten and not synced may be there or not.
		for at := f.lo - f.lo%sector; at < min(len(f.disk), len(f.data)); at += sector {
			if r.IntN(2) == 0 {
				continue
			}
			for i := at; i < min(at+sector, len(f.disk), len(f.data)); i++ {
				if f.dirty[i] != 0 {
					g.disk[i] = f.data[i]
				}
			}
		}
		// A tail that was appended and not synced may be there in part.
		if tail := len(f.data) - len(f.disk); tail > 0 {
			keep := r.IntN(tail + 1)
			for i := len(f.disk); i < len(f.disk)+keep; i++ {
				b := f.data[i]
				if f.dirty[i] == 0 {
					b = 0 // lost by a failed sync
				}
				g.disk = append(g.disk, b)
			}
		}
		g.data = slices.Clone(g.disk)
		g.dirty = make([]byte, len(g.data))
		n.names[path], n.durable[path] = g, g
	}
	return n
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// op counts an operation and says how it fails. The caller holds mu.
func (m *memFS) op(what, path string) (fault, error) {
	if m.dead {
		return failed, fmt.Errorf("%s %s: the machine is off", what, path)
	}
	m.ops++
	if m.fault == noSpaceUntil && what == "write" {
		return failed, &fs.PathError{Op: what, Path: path, Err: syscall.ENOSPC}
	}
	if m.noSync != "" && what == "sync" && strings.HasPrefix(path, m.noSync) {
		return failed, &fs.PathError{Op: what, Path: path, Err: syscall.EIO}
	}
	if m.ops != m.faultAt {
		return failed, nil
	}
	m.hit = what + " " + filepath.Base(path)
	err := syscall.EIO
	if what == "write" {
		err = syscall.ENOSPC
	}
	return m.fault, &fs.PathError{Op: what, Path: path, Err: err}
}

func (m *memFS) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, fmt.Errorf("open %s: the machine is off", name)
	}
	f := m.names[name]
	switch {
	case f == nil && flag&syscall.O_CREAT == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case f != nil && flag&syscall.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case f == nil:
		m.files++
		f = &memFile{fs: m, id: m.files}
		m.names[name] = f
	case flag&syscall.O_TRUNC != 0:
		f.data, f.dirty = nil, nil
	}
	return memHandle{f, name}, nil
}

func (m *memFS) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[name]
	if f == nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return memInfo{filepath.Base(name), int64(len(f.data)), f}, nil
}

func (m *memFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []fs.DirEntry
	for _, path := range slices.Sorted(keysOf(m.names)) {
		if filepath.Dir(path) == dir {
			out = append(out, fs.FileInfoToDirEntry(memInfo{filepath.Base(path), int64(len(m.names[path].data)), m.names[path]}))
		}
	}
	return out, nil
}

func (m *memFS) MkdirAll(string, fs.FileMode) error { return nil }

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	how, err := m.op("rename", from)
	if err != nil && how != persisted {
		return err
	}
	f := m.names[from]
	if f == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(m.names, from)
	m.names[to] = f
	return err
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.names, name)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	how, err := m.op("syncdir", dir)
	if err != nil && how != persisted {
		return err
	}
	for path := range m.durable {
		if filepath.Dir(path) == dir && m.names[path] == nil {
			delete(m.durable, path)
		}
	}
	for path, f := range m.names {
		if filepath.Dir(path) == dir {
			m.durable[path] = f
		}
	}
	return err
}

// file is what stands under a base name, for tests that damage it.
func (m *memFS) file(base string) *memFile {
	for path, f := range m.names {
		if strings.HasSuffix(path, "/"+base) {
			return f
		}
	}
	return nil
}

type memHandle struct {
	*memFile
	path string
}

func (h memHandle) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.fs.dead {
		return 0, fmt.Errorf("read %s: the machine is off", h.path)
	}
	if off >= int64(len(h.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h memHandle) WriteAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	how, err := h.fs.op("write", h.path)
	if err != nil {
		switch how {
		case short, persisted: // a failed write never wrote all
			p = p[:len(p)/2]
		default:
			return 0, err
		}
	}
	h.grow(off + int64(len(p)))
	copy(h.data[off:], p)
	for i := range p {
		h.dirty[off+int64(i)] = 1
	}
	h.lo = min(h.lo, int(off))
	return len(p), err
}

// grow appends zeros up to a size.
func (f *memFile) grow(size int64) {
	n := int(size) - len(f.data)
	if n <= 0 {
		return
	}
	f.lo = min(f.lo, len(f.data))
	f.data = append(f.data, make([]byte, n)...)
	f.dirty = append(f.dirty, bytes.Repeat([]byte{1}, n)...)
}

func (h memHandle) Truncate(size int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	how, err := h.fs.op("truncate", h.path)
	if err != nil && how != persisted {
		return err
	}
	h.grow(size)
	h.data, h.dirty = h.data[:size:size], h.dirty[:size:size]
	return err
}

func (h memHandle) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	how, err := h.fs.op("sync", h.path)
	if err == nil || how == persisted {
		if n := len(h.data) - len(h.disk); n > 0 {
			h.disk = append(h.disk, make([]byte, n)...)
		}
		h.disk = h.disk[:len(h.data)]
		for i := h.lo; i < len(h.data); i++ {
			if h.dirty[i] != 0 {
				h.disk[i] = h.data[i]
			}
		}
	}
	if h.lo < len(h.dirty) {
		clear(h.dirty[h.lo:]) // also after a failure: the kernel believes the pages clean
	}
	h.lo = len(h.data)
	return err
}

func (h memHandle) Stat() (fs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.fs.dead {
		return nil, fmt.Errorf("stat %s: the machine is off", h.path)
	}
	return memInfo{filepath.Base(h.path), int64(len(h.data)), h.memFile}, nil
}

func (h memHandle) Close() error { return nil }

type memInfo struct {
	name string
	size int64
	file *memFile
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return 0o644 }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return false }
func (i memInfo) Sys() any           { return i.file }
