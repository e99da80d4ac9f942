package process_test

import (
	"context"
	"log/slog"
	"testing"

	"sentry-temporal/internal/config"
)

func TestAWorkerRunsWithAWrongFileOfDestinationsAndTakesItOnceItIsMended(t *testing.T) {
	file := newRoutesFile(t, "destinations: []\n")
	cfg := config.Worker{Common: common("127.0.0.1:1"), Outside: config.Outside{DestinationsFile: string(file), Secret: config.NoOutside().Secret}}
	a := listen(t)
	inBackground(t, func(ctx context.Context) error { return serveWorker(ctx, cfg, a, slog.New(slog.DiscardHandler)) })
	admin := "http://" + a.Addr().String()
	awaitMetric(t, admin, "sentry_temporal_destinations_file_failing 1")
	file.replace(t, "destinations:\n  - {name: everyone, slack: \"#sentry\"}\n")
	awaitMetric(t, admin, "sentry_temporal_destinations_file_failing 0")
}

func TestAWorkerWithoutAFileOfDestinationsMissesNone(t *testing.T) {
	admin, _ := runWorkerWithAdmin(t, "127.0.0.1:1")
	awaitMetric(t, admin, "sentry_temporal_destinations_file_failing 0")
}
