// Command worker runs the workflows that the ingress starts. Its configuration
// is the environment, see the README.
package main

import (
	"context"
	"os"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/worker"
	"sentry-temporal/workflows"
)

func main() {
	os.Exit(process.Main("worker", os.Args[1:], config.WorkerAdminAddr, run, os.Stdout, os.Stderr))
}

func run(ctx context.Context) error { return worker.Run(ctx, workflows.All, activities.All...) }
