// Command worker runs the workflows that the ingress starts. Its configuration
// is the environment, see the README.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
)

func main() {
	os.Exit(process.Main("worker", os.Args[1:], config.WorkerAdminAddr, run, os.Stdout, os.Stderr))
}

func run(ctx context.Context) error {
	cfg, err := config.LoadWorker()
	if err != nil {
		return err
	}
	admin, err := net.Listen("tcp", cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("WORKER_ADMIN_ADDR: %w", err)
	}
	return process.Worker(ctx, cfg, admin, telemetry.NewLogger(os.Stderr, cfg.Log.JSON, cfg.Log.Level))
}
