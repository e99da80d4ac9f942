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
	w := team{activities: append(ours.All(os.Getenv("TOKEN")), activities.All...)}
	w.activities = append(w.activities, ours.InAField)
	for _, a := range []any{ours.InARange} {
		w.activities = append(w.activities, a)
	}
	_ = w.serve(context.Background())
}

type team struct{ activities []any }

func (t team) serve(ctx context.Context) error { return serve(ctx, flows.All, t.activities...) }

func serve(ctx context.Context, all []triage.Workflow, steps ...any) error {
	return worker.Run(ctx, all, steps...)
}
