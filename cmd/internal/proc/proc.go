// Package proc runs our programs as processes of their own, for tools that measure
// or kill them.
package proc

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Build builds the ingress and the worker into dir/bin, which it returns.
func Build(ctx context.Context, dir string) (string, error) {
	binaries := filepath.Join(dir, "bin")
	if err := os.MkdirAll(binaries, 0o700); err != nil {
		return "", err
	}
	output, err := exec.CommandContext(ctx, "go", "build", "-o", binaries, "sentry-temporal/cmd/ingress", "sentry-temporal/cmd/worker").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return binaries, nil
}

// Program is one that can be started again and again.
type Program struct {
	Binary  string
	Args    []string
	Environ []string // besides PATH and HOME
	Log     string   // file that its output is appended to
	Socket  *os.File // that it is to listen on, passed as systemd does; nil for none

	process *os.Process
}

// Start starts the program.
func (p *Program) Start() error {
	output, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close() // the process has its own
	cmd := exec.Command(p.Binary, p.Args...)
	environ := append(slices.Clone(p.Environ), "PATH="+os.Getenv("PATH"), "HOME="+os.Getenv("HOME"))
	if p.Socket != nil { // it is for the process with the number LISTEN_PID only
		cmd = exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, p.Binary}, p.Args...)...)
		environ = append(environ, "LISTEN_FDS=1")
		cmd.ExtraFiles = []*os.File{p.Socket}
	}
	cmd.Env = environ
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return err
	}
	p.process = cmd.Process
	return nil
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (p *Program) Kill() {
	if p.process == nil {
		return
	}
	_ = p.process.Kill() // it may be gone already
	_, _ = p.process.Wait()
	p.process = nil
}

// Stop ends the process with SIGTERM and returns when it is gone, with an error if
// it did not end well.
func (p *Program) Stop() error {
	defer func() { p.process = nil }()
	if err := p.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	state, err := p.process.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s: %s (its log is %s)", p.Binary, state, p.Log)
	}
	return err
}

// PID returns the number of the process, which is running.
func (p *Program) PID() int { return p.process.Pid }

// Wait returns when the process is gone.
func (p *Program) Wait() error {
	_, err := p.process.Wait()
	p.process = nil
	return err
}

// Memory returns a value of /proc/<pid>/status in bytes, such as VmRSS, or 0
// where there is none.
func (p *Program) Memory(name string) int64 {
	if p.process == nil {
		return 0
	}
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(p.process.Pid) + "/status") // elsewhere than on Linux there is none
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// AwaitListening returns when somebody listens at address.
func AwaitListening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", address, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// FreePorts returns n ports of the loopback interface that nobody listens on.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
