// Package devservertest gives the tests of a package one real Temporal server:
// the dev server, or with TEST_TEMPORAL=postgres in the environment the server of
// docker-compose.yml on PostgreSQL.
package devservertest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"sentry-temporal/internal/devserver"
)

var server *devserver.Server

// Main is a package's TestMain: it runs the tests, a [testing.M], beside a server.
func Main(m interface{ Run() int }, o devserver.Options) {
	os.Exit(run(m, o))
}

func run(m interface{ Run() int }, o devserver.Options) int {
	s, err := startServer(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Kill()
	server = s
	return m.Run()
}

func startServer(ctx context.Context, o devserver.Options) (*devserver.Server, error) {
	switch which := os.Getenv("TEST_TEMPORAL"); which {
	case "":
		return devserver.Start(ctx, o)
	case "postgres":
		return devserver.StartOnPostgres(ctx, o)
	default:
		return nil, fmt.Errorf("TEST_TEMPORAL is %q, and can be postgres", which)
	}
}

// Start starts a server for one test.
func Start(t testing.TB, o devserver.Options) *devserver.Server {
	t.Helper()
	s, err := startServer(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// DBFile returns where a server can keep everything until the test ends, so that
// it outlives the server.
func DBFile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "temporal-") //nolint:usetesting // PostgreSQL's user cannot enter t's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // others may go through, and not look
		t.Fatal(err)
	}
	return filepath.Join(dir, "temporal.db")
}

// Server returns the server that [Main] has started.
func Server() *devserver.Server { return server }

// Client returns a client of the namespace "default" that logs nothing.
func Client(t testing.TB) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: server.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
