//go:build !linux

package main

import "os"

// datasync makes durable what was written.
func datasync(file *os.File) error { return file.Sync() }
