package process_test

import (
	"context"
	"log/slog"
	"net"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/worker"
	"sentry-temporal/workflows"
)

// serveWorker is what cmd/worker runs, with a configuration that is read.
func serveWorker(ctx context.Context, cfg config.Worker, admin net.Listener, log *slog.Logger) error {
	return worker.Serve(ctx, cfg, admin, log, workflows.All, activities.All...)
}
