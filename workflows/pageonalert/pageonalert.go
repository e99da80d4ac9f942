// Package pageonalert pages or tells somebody of an alert, and has the page end with it.
package pageonalert

import (
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
	"sentry-temporal/workflows/act"
)

// Workflow runs once for each alert.
//
// For one issue only one workflow pages: for an issue that is new or back that is
// triage_sentry_issue, and this one for what alerts tell of others. Both have the same
// incident in mind, so there is one even if both did.
var Workflow = triage.New("page_on_alert", run, triage.On("sentry.event_alert.triggered",
	"sentry.metric_alert.critical", "sentry.metric_alert.warning", "sentry.metric_alert.resolved"))

// Result is what the Temporal UI shows as the run's output.
type Result struct {
	Rule      string `json:"rule"`
	Title     string `json:"title"`
	State     string `json:"state"`
	EventType string `json:"event_type"`
	act.Outcome
}

func run(ctx workflow.Context, env triage.Envelope) (Result, error) {
	alert, err := triage.Local(ctx, activities.ParseAlert, env)
	if err != nil {
		return Result{}, err
	}
	workflow.GetLogger(ctx).Info("sentry alert", "rule", alert.Rule, "alert_state", alert.State)
	result := Result{Rule: alert.Rule, Title: alert.Title, State: alert.State, EventType: env.EventType}
	if !alert.Configured.Destinations {
		result.Note = act.Unconfigured
		return result, nil
	}
	c := activities.Case{Envelope: env}
	if alert.Configured.Sentry && alert.Error.IssueID != "" {
		c = act.Enrich(ctx, env, alert.Error.IssueID)
	}
	decision, err := act.Decide(ctx, c)
	if err != nil {
		return result, err
	}
	result.Outcome, err = act.Carry(ctx, decision)
	return result, err
}
