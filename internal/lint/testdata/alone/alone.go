package alone

import (
	"context"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

// Where there is no list and no worker, they are elsewhere.
var Workflow = triage.New("alone", run, triage.On("sentry.issue.created"))

func run(ctx workflow.Context, env triage.Envelope) (string, error) {
	return triage.Do(ctx, step, env.EventType)
}

func step(_ context.Context, in string) (string, error) { return in, nil }
