// Command worker runs the workflows that the ingress starts. Its configuration
// is the environment, see the README.
package main

import (
	"sentry-temporal/activities"
	"sentry-temporal/worker"
	"sentry-temporal/workflows"
)

func main() { worker.Main(workflows.All, activities.All...) }
