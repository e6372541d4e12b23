//go:build !linux

package ledger

import "os"

// datasync falls back to fsync(2) (F_FULLFSYNC on Darwin).
func datasync(f *os.File) error { return f.Sync() }
