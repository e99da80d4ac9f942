//go:build !linux

package devserver

import "syscall"

// processAttributes keep a Ctrl-C in the terminal from the server, so that its
// clients stop first.
func processAttributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
