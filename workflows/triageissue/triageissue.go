// Package triageissue triages every new Sentry issue.
package triageissue

import (
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
)

// Workflow runs once for each new issue.
var Workflow = triage.New("triage_sentry_issue", run, triage.On("sentry.issue.created"))

// Result is what the Temporal UI shows as the run's output.
type Result struct {
	IssueID   string `json:"issue_id"`
	Title     string `json:"title"`
	Level     string `json:"level"`
	EventType string `json:"event_type"`
}

func run(ctx workflow.Context, env triage.Envelope) (Result, error) {
	issue, err := triage.Local(ctx, activities.ParseIssue, env)
	if err != nil {
		return Result{}, err
	}
	workflow.GetLogger(ctx).Info("sentry issue created", "title", issue.Title, "level", issue.Level)
	return Result{IssueID: issue.ID, Title: issue.Title, Level: issue.Level, EventType: env.EventType}, nil
}
