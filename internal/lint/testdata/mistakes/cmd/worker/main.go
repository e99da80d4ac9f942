package main

import (
	"context"
	"os"

	"sentry-temporal/internal/lint/testdata/mistakes/activities"
	"sentry-temporal/internal/lint/testdata/mistakes/workflows"
	"sentry-temporal/worker"
)

func main() {
	if os.Getenv("OFF") != "" {
		return
	}
	_ = worker.Run(context.Background(), workflows.All, activities.All...)
}
