//go:build unix

package web

import (
	"math"
	"syscall"
)

// maxFiles returns how many files this process may have open. Go has raised that
// as far as it may be raised.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) //nolint:unconvert // it is signed on some systems
}
