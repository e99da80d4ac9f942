// Command setup adds the search attributes by which engineers find runs to the
// Temporal namespace of each integration. It can be repeated. Its configuration
// is the worker's.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

// timeout bounds all of it: new attributes can be used after some seconds.
const timeout = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) error {
	cfg, err := config.LoadWorker()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	log := telemetry.NewLogger(os.Stderr, cfg.Log.JSON, cfg.Log.Level)
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()
	added, err := connections.AddAttributes(ctx)
	for _, a := range added {
		what := "nothing was missing"
		if len(a.Names) > 0 {
			what = "added " + strings.Join(a.Names, ", ")
		}
		of := ""
		if a.Connection != "" {
			of = " of profile " + a.Connection
		}
		fmt.Fprintf(stdout, "namespace %s%s: %s\n", a.Namespace, of, what)
	}
	return err
}
