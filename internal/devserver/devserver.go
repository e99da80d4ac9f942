// Package devserver runs a Temporal server as a child process, for cmd/dev and
// for the tests that need a real Temporal: the dev server, or what
// docker-compose.yml runs.
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
	DBFile     string   // SQLite file, or folder of PostgreSQL, that keeps everything; "": nothing is kept
	Namespaces []string // besides "default"
	// CodecEndpoint is where the UI has payloads decoded; "": nowhere.
	CodecEndpoint string
	// Settings are dynamic configuration of the dev server, each as in KEY=JSON.
	Settings []string
	Output   io.Writer // what the server prints; nil: nowhere
}

// Server is a running dev server on the loopback interface.
type Server struct {
	Address string // host:port of the frontend
	UIURL   string // base address of the Temporal UI; "": there is none

	cmd          *exec.Cmd
	exited       chan struct{} // closed when the process is gone
	stopDatabase func()        // nil: it has none of its own
}

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// Start starts a dev server and returns when it is healthy. A port that is in
// use is an error that names it. A free one may be somebody else's by the time that the
// server listens there, and then another one is tried.
func Start(ctx context.Context, o Options) (*Server, error) {
	const tries = 3
	for try := 1; ; try++ {
		s, err := start(ctx, o)
		if !errors.Is(err, errEnded) || o.Port != 0 && o.UIPort != 0 || try == tries {
			return s, err
		}
	}
}

// errEnded says that a server has ended before it was healthy.
var errEnded = errors.New("the server ended")

func start(ctx context.Context, o Options) (*Server, error) {
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
	for _, setting := range o.Settings {
		args = append(args, "--dynamic-config-value", setting)
	}
	s, err := run(exec.Command(binary, args...), o.Output)
	if err != nil {
		return nil, err
	}
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s.UIURL = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(uiPort))
	err = s.await(ctx, func(ctx context.Context, c client.Client) error {
		_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: client.DefaultNamespace})
		if err != nil {
			return err
		}
		return s.askUI(ctx)
	})
	if err != nil {
		s.Kill()
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	return s, nil
}

// run starts the server's process.
func run(cmd *exec.Cmd, output io.Writer) (*Server, error) {
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = processAttributes(syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	s := &Server{cmd: cmd, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // that it is gone is all there is to know
		close(s.exited)
	}()
	return s, nil
}

// await returns nil once healthy does, asking again and again.
func (s *Server) await(ctx context.Context, healthy func(context.Context, client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := client.NewLazyClient(client.Options{HostPort: s.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		err := healthy(asking, c)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("%w: %s", errEnded, s.cmd.ProcessState)
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
	}
	s.Kill()
}

// Kill ends the server with SIGKILL and returns when it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.exited
	if s.stopDatabase != nil {
		s.stopDatabase()
	}
}

// Binary returns the path of the Temporal CLI: that which `make bin/temporal` puts
// there, else, as in another module, the one on PATH.
func Binary() (string, error) {
	dir, err := projectDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "bin", "temporal")
	if _, err := os.Stat(binary); err != nil {
		onPath, lookErr := exec.LookPath("temporal")
		if lookErr != nil {
			return "", fmt.Errorf("%w, nor is temporal on PATH: `make bin/temporal` builds it", err)
		}
		return onPath, nil
	}
	return binary, nil
}

// projectDir returns the folder of the project that this runs in.
func projectDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find bin: this is not inside the project")
		}
		dir = parent
	}
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
