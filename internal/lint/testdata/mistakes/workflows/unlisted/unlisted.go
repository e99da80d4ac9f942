package unlisted

import (
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

var Workflow = triage.New("forgotten", run, triage.On("sentry.issue.created")) // want "workflow forgotten is in no list.*add the line `unlisted.Workflow,` to the list at workflows/workflows.go:11, and import \"sentry-temporal/internal/lint/testdata/mistakes/workflows/unlisted\""

func run(workflow.Context, triage.Envelope) (string, error) { return "", nil }
