package main

import (
	"context"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
	"sentry-temporal/worker"
)

var plugins = map[string][]any{}

func main() {
	_ = worker.Run(context.Background(), triage.List(ours), plugins["ours"]...) // want "warning: which activities these are is only known when the program runs"
}

var ours = triage.New("ours", run, triage.On("sentry.issue.created"))

func run(ctx workflow.Context, env triage.Envelope) (string, error) {
	return triage.Do(ctx, page, "")
}

func page(context.Context, string) (string, error) { return "", nil }
