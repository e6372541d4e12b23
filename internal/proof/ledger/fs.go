package ledger

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

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
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
}

// File is an open file. Sync returns when its data and size are durable. Stat's
// Sys must identify the file: two FileInfos of one file are the same by
// os.SameFile or have equal, non-nil Sys values.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Close() error
}

// osFS is the operating system.
type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func sameFile(a, b fs.FileInfo) bool {
	if os.SameFile(a, b) {
		return true
	}
	_, isOS := a.Sys().(*syscall.Stat_t)
	return !isOS && a.Sys() != nil && a.Sys() == b.Sys()
}

func fileSize(f File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readFile reads a whole small file.
func readFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := fileSize(f)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// writeFile replaces a file in one step; with durable set it is synced before
// it takes the name, and the name after.
func writeFile(fsys FS, name string, data []byte, durable bool) error {
	tmp := name + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err == nil && durable {
		err = fsys.SyncDir(filepath.Dir(name))
	}
	return err
}

// ioError names a failed file operation for a person.
func ioError(op string, err error) *gov.Error {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return gov.Errorf(gov.KindUnavailable, "disk_full", "the disk is full: %w", err).WithOp(op).
			WithHint("free space on the log's file system, then try again")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return gov.Errorf(gov.KindUnavailable, "log_not_writable", "the log cannot be written: %w", err).WithOp(op).
			WithHint("check owner, mode and mount of the log's directory")
	default:
		return gov.Errorf(gov.KindUnavailable, "log_io", "the log's files cannot be used: %w", err).WithOp(op).
			WithHint("govern doctor")
	}
}
