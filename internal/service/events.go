package service

import (
	"context"
	"log/slog"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/triage"
)

// WarnEvents logs each event of a workflow that Sentry is not known to send, and
// what may have been meant: a misspelled one never comes. It returns the same for a
// page.
func WarnEvents(ctx context.Context, workflows []triage.Workflow, log *slog.Logger) (warnings []config.Problem) {
	for _, w := range workflows {
		for _, event := range w.Events() {
			known, nearest := sentry.KnownEvent(event)
			if known {
				continue
			}
			log.WarnContext(ctx, "a workflow wants an event that Sentry is not known to send, so it may never run",
				telemetry.KeyWorkflow, w.Name(), telemetry.KeyEvent, event, "did_you_mean", nearest)
			text := "wants " + event + ", which Sentry is not known to send"
			if nearest != "" {
				text += "; did you mean " + nearest + "?"
			}
			warnings = append(warnings, config.Problem{Variable: w.Name(), Text: text})
		}
	}
	return warnings
}
