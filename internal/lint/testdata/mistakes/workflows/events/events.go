package events

import (
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

const created = "sentry.issue.create"

var Workflow = triage.New("Watch-Events", run, triage.On( // want "workflow name \"Watch-Events\" is not snake case"
	"sentry.issue.created",
	"sentry.issue.archived", // want "no delivery has the event sentry.issue.archived: it arrives as sentry.issue.ignored"
	created,                 // want "warning: Sentry is not known to send sentry.issue.create: did you mean sentry.issue.created\\?"
	"sentry.comments.*",     // want "warning: .*did you mean sentry.comment.\\*\\?"
	"sentry.release.made",   // want "warning: Sentry is not known to send sentry.release.made$"
	"issue.created",         // want "\"issue.created\" is no event name"
	"sentry.*",
))

func run(workflow.Context, triage.Envelope) (string, error) { return "", nil }
