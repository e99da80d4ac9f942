package devserver

import "syscall"

// processAttributes keep a Ctrl-C in the terminal from the server, so that its
// clients stop first, and end it when this process is killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
