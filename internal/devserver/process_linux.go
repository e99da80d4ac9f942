package devserver

import "syscall"

// processAttributes keep a Ctrl-C in the terminal from the server, so that its
// clients stop first, and end it by the
// signal death when this process is killed.
func processAttributes(death syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death}
}
