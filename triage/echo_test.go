package triage_test

import (
	"testing"

	"sentry-temporal/triage"
)

func TestWhatProgramsDoToSentryIsNoNews(t *testing.T) {
	all := []triage.Actor{triage.ActorPerson, triage.ActorSentry, triage.ActorIntegration, ""}
	people := []triage.Actor{triage.ActorPerson, triage.ActorSentry, ""}
	for event, news := range map[string][]triage.Actor{
		"sentry.issue.created":                all,
		"sentry.issue.resolved":               people,
		"sentry.issue.unresolved":             people,
		"sentry.issue.assigned":               people,
		"sentry.issue.ignored":                people,
		"sentry.issue.what_comes_next":        people,
		"sentry.issue.external_issue_created": nil,
		"sentry.issue.external_issue_linked":  nil,
		"sentry.comment.created":              people,
		"sentry.comment.updated":              people,
		"sentry.comment.deleted":              people,
		"sentry.error.created":                all,
		"sentry.event_alert.triggered":        all,
		"sentry.metric_alert.resolved":        all,
		"sentry.issued.created":               all,
	} {
		for _, actor := range all {
			want := false
			for _, a := range news {
				want = want || a == actor
			}
			if got := triage.NoEcho(triage.Delivery{Event: event, Actor: actor}); got != want {
				t.Errorf("%s by %q is news: %t", event, actor, got)
			}
		}
	}
}
