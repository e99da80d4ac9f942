package service

import (
	"context"
	"log/slog"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/triage"
)

// WarnEvents logs each event of a workflow that Sentry is not known to send, and
// what may have been meant: a misspelled one never comes.
func WarnEvents(ctx context.Context, workflows []triage.Workflow, log *slog.Logger) {
	for _, w := range workflows {
		for _, event := range w.Events() {
			if known, nearest := sentry.KnownEvent(event); !known {
				log.WarnContext(ctx, "a workflow wants an event that Sentry is not known to send, so it may never run",
					telemetry.KeyWorkflow, w.Name(), telemetry.KeyEvent, event, "did_you_mean", nearest)
			}
		}
	}
}
