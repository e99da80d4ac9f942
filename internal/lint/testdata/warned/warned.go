package warned

import (
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

var All = triage.List(triage.New("warned", run, triage.On("sentry.issue.create"))) // want "warning: .*did you mean sentry.issue.created"

func run(workflow.Context, triage.Envelope) (string, error) { return "", nil }
