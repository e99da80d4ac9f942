package twin

import (
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

const name = "call_out"

var Workflow = triage.New(name, run, triage.On("sentry.issue.created")) // want "another workflow is called call_out, at workflows/calls/calls.go:13: give one"

func run(workflow.Context, triage.Envelope) (string, error) { return "", nil }
