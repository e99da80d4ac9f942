package main

import (
	"context"
	"os"

	"sentry-temporal/activities"
	ours "sentry-temporal/internal/lint/testdata/fine/activities"
	"sentry-temporal/internal/lint/testdata/fine/flows"
	"sentry-temporal/triage"
	"sentry-temporal/worker"
)

func main() {
	_ = serve(context.Background(), flows.All, append(ours.All(os.Getenv("TOKEN")), activities.All...)...)
}

func serve(ctx context.Context, all []triage.Workflow, steps ...any) error {
	return worker.Run(ctx, all, steps...)
}
