package main

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// lock has a file for this process alone, until it ends: whatever way that is. The file
// says who that is. If another has it, that is the error.
func lock(path, who string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		const most = 1000 // bytes
		if other, readErr := io.ReadAll(io.LimitReader(file, most)); readErr == nil && len(other) > 0 {
			err = errors.New(string(other))
		}
		_ = file.Close()
		return nil, err
	}
	// Nothing but words depend on it.
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(who), 0)
	return file, nil
}
