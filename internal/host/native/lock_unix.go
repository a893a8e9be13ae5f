//go:build unix

package native

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes a lock that ends with the process, or when the file is closed.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrCacheInUse
	}
	return err
}
