// Package devservertest gives the tests of a package one real Temporal server.
package devservertest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"sentry-temporal/internal/devserver"
)

var server *devserver.Server

// Main is a package's TestMain: it runs the tests beside a dev server.
func Main(m *testing.M, o devserver.Options) {
	os.Exit(run(m, o))
}

func run(m *testing.M, o devserver.Options) int {
	s, err := devserver.Start(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Kill()
	server = s
	return m.Run()
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
