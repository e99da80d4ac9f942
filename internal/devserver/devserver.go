// Package devserver runs the Temporal dev server as a child process: for
// cmd/dev and for the tests that need a real Temporal.
//
// The SDK's testsuite.StartDevServer does much the same, but it leaves the
// child behind when it does not become ready, lets a Ctrl-C in the terminal
// reach the child before its clients have stopped, and waits on after the child
// has died.
package devserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// Options say what to start. The zero value is a server in memory on free
// ports.
type Options struct {
	Port       int      // 0: a free one
	UIPort     int      // 0: a free one
	DBFile     string   // SQLite file that keeps everything; "": in memory
	Namespaces []string // besides "default"
	// CodecEndpoint is where the UI has payloads decoded; "": nowhere.
	CodecEndpoint string
	Output        io.Writer // what the server prints; nil: nowhere
}

// Server is a running dev server on the loopback interface.
type Server struct {
	Address string // host:port of the frontend
	UIURL   string // base address of the Temporal UI

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
}

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// Start starts a dev server and returns when it is healthy. A port that is in
// use is an error that names it.
func Start(ctx context.Context, o Options) (*Server, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	port, err := freePort("Temporal", o.Port)
	if err != nil {
		return nil, err
	}
	uiPort, err := freePort("the Temporal UI", o.UIPort)
	if err != nil {
		return nil, err
	}
	args := []string{"server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn",
		"--port", strconv.Itoa(port), "--ui-port", strconv.Itoa(uiPort)}
	if o.DBFile != "" {
		args = append(args, "--db-filename", o.DBFile)
	}
	if o.CodecEndpoint != "" {
		args = append(args, "--ui-codec-endpoint", o.CodecEndpoint)
	}
	for _, namespace := range o.Namespaces {
		args = append(args, "--namespace", namespace)
	}
	s := &Server{
		Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		UIURL:   "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(uiPort)),
		cmd:     exec.Command(binary, args...),
		exited:  make(chan struct{}),
	}
	s.cmd.Stdout, s.cmd.Stderr = o.Output, o.Output
	s.cmd.SysProcAttr = processAttributes()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	go func() {
		_ = s.cmd.Wait() // that it is gone is all there is to know
		close(s.exited)
	}()
	if err := s.awaitHealthy(ctx); err != nil {
		s.Kill()
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	return s, nil
}

func (s *Server) awaitHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := client.NewLazyClient(client.Options{HostPort: s.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		_, err := c.WorkflowService().DescribeNamespace(asking, &workflowservice.DescribeNamespaceRequest{Namespace: client.DefaultNamespace})
		if err == nil {
			err = s.askUI(asking)
		}
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("the server ended: " + s.cmd.ProcessState.String())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// askUI returns nil if the UI shows the namespace.
func (s *Server) askUI(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.UIURL+"/api/v1/namespaces/"+client.DefaultNamespace, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("the Temporal UI answers " + response.Status)
	}
	return nil
}

// Exited is closed when the server has ended, however that came.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Stop asks the server to end, makes it end after 10 s, and returns when it is
// gone.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.Kill()
	}
}

// Kill ends the server with SIGKILL and returns when it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Binary returns the path of the Temporal CLI that `make bin/temporal` builds.
func Binary() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find bin/temporal: this is not inside the project")
		}
		dir = parent
	}
	binary := filepath.Join(dir, "bin", "temporal")
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("%w: `make bin/temporal` builds it", err)
	}
	return binary, nil
}

// freePort returns port if nobody listens there, or any free port for 0.
func freePort(what string, port int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("the port of %s: %w", what, err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
