package main

import (
	"os"
	"syscall"
)

// datasync makes durable what was written, as the journal does.
func datasync(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) }
