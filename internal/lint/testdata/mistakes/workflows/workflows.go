package workflows

import (
	"sentry-temporal/internal/lint/testdata/mistakes/workflows/calls"
	"sentry-temporal/internal/lint/testdata/mistakes/workflows/env"
	"sentry-temporal/internal/lint/testdata/mistakes/workflows/events"
	"sentry-temporal/internal/lint/testdata/mistakes/workflows/twin"
	"sentry-temporal/triage"
)

var All = triage.List(
	calls.Workflow,
	events.Workflow,
	env.Workflow,
	env.Mute,
	twin.Workflow,
)
