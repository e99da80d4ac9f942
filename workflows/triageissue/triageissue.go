// Package triageissue triages every Sentry issue that is new or back, and has its page
// end when it is resolved.
package triageissue

import (
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
	"sentry-temporal/workflows/act"
)

// Workflow runs once for each issue that is new, back or resolved. What other programs
// do to issues by Sentry's API starts nothing.
var Workflow = triage.New("triage_sentry_issue", run,
	triage.On("sentry.issue.created", "sentry.issue.unresolved", "sentry.issue.resolved"),
	triage.When(triage.NoEcho))

// Result is what the Temporal UI shows as the run's output.
type Result struct {
	IssueID   string `json:"issue_id"`
	Title     string `json:"title"`
	Level     string `json:"level"`
	EventType string `json:"event_type"`
	act.Outcome
}

func run(ctx workflow.Context, env triage.Envelope) (Result, error) {
	issue, err := triage.Local(ctx, activities.ParseIssue, env)
	if err != nil {
		return Result{}, err
	}
	workflow.GetLogger(ctx).Info("sentry issue", "title", issue.Title, "sentry_level", issue.Level)
	result := Result{IssueID: issue.ID, Title: issue.Title, Level: issue.Level, EventType: env.EventType}
	switch {
	case issue.Configured == activities.Configured{}:
		result.Note = act.Unconfigured
		return result, nil
	case !isNews(triage.DeliveryOf(env)):
		result.Note = "somebody has set it to unresolved: it is neither back nor escalating"
		return result, nil
	}
	c := activities.Case{Envelope: env}
	if issue.Configured.Sentry && env.EventType != "sentry.issue.resolved" {
		c = act.Enrich(ctx, env, issue.ID)
	}
	decision, err := act.Decide(ctx, c)
	if err != nil {
		return result, err
	}
	result.Outcome, err = act.Carry(ctx, decision)
	return result, err
}

// isNews reports whether a delivery tells what people do not know: an issue that they set
// to unresolved themselves does not.
func isNews(d triage.Delivery) bool {
	if d.Event != "sentry.issue.unresolved" || d.Actor == triage.ActorSentry {
		return true
	}
	substatus := d.Field("data.issue.substatus")
	return substatus == activities.Regressed || substatus == activities.Escalating
}
