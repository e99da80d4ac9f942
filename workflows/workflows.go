// Package workflows is the one list of triage workflows.
package workflows

import (
	"sentry-temporal/triage"
	"sentry-temporal/workflows/logcomment"
	"sentry-temporal/workflows/pageonalert"
	"sentry-temporal/workflows/triageissue"
)

// All holds every triage workflow: the ingress starts them, the worker runs
// them. A new one is one more line here.
var All = triage.List(
	triageissue.Workflow,
	pageonalert.Workflow,
	logcomment.Workflow,
)
