package ledger

import (
	"os"
	"syscall"
)

// datasync is fdatasync(2): data and, when it changed, the size.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
