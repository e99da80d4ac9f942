package seglog

import (
	"errors"
	"os"
	"syscall"
)

// datasync makes durable what was written to f and what it takes to read it again.
// It is not repeated after an error: the second one would succeed and mean nothing.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// allocate makes a file larger, with all of its blocks.
func allocate(f *os.File, size int64) error {
	for {
		switch err := syscall.Fallocate(int(f.Fd()), 0, 0, size); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EOPNOTSUPP):
			return fill(f, size)
		default:
			return os.NewSyscallError("fallocate", err)
		}
	}
}

// freeBytes returns what this user may still write below dir.
func freeBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * stat.Bsize, nil
}
