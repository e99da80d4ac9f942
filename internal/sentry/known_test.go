package sentry_test

import (
	"testing"

	"sentry-temporal/internal/sentry"
)

func TestKnownEvents(t *testing.T) {
	for _, event := range []string{
		"sentry.issue.created", "sentry.issue.ignored", "sentry.seer.pr_created", "sentry.issue.*", "sentry.installation.*", "sentry.*", "sentry.*.*",
	} {
		if known, nearest := sentry.KnownEvent(event); !known || nearest != "" {
			t.Errorf("%s: %t, nearest is %q", event, known, nearest)
		}
	}
	for event, want := range map[string]string{
		"sentry.issue.create":          "sentry.issue.created",
		"sentry.issues.created":        "sentry.issue.created",
		"sentry.event_alert.triggerd":  "sentry.event_alert.triggered",
		"sentry.metric-alert.critical": "sentry.metric_alert.critical",
		"sentry.comments.*":            "sentry.comment.*",
		"sentry.issue.archive":         "", // archived is none
		"sentry.release.published":     "",
		"sentry.release.*":             "",
	} {
		known, nearest := sentry.KnownEvent(event)
		if known || nearest != want {
			t.Errorf("%s: %t, nearest is %q, want %q", event, known, nearest, want)
		}
	}
}
