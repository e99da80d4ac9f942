package activities_test

import (
	"fmt"
	"testing"

	"sentry-temporal/activities"
	"sentry-temporal/internal/destinations"
)

func TestADestinationIsLookedForWithWhatIsKnown(t *testing.T) {
	const nobody, team = `"assignedTo":null`, `"assignedTo":{"type":"team","id":"7","name":"pay"}`
	api := &activities.SentryIssue{Issue: activities.Issue{ID: "1", Level: "fatal"}, Team: "search"}
	event := &activities.SentryEvent{Environment: "staging"}
	for name, tt := range map[string]struct {
		c    activities.Case
		want destinations.Question
	}{
		"an issue":                {activities.Case{Envelope: delivered(t, "issue.created")}, destinations.Question{Projects: []string{"backend"}, Level: "error"}},
		"one that the API knows":  {activities.Case{Envelope: delivered(t, "issue.created"), Issue: api, Event: event}, destinations.Question{Projects: []string{"backend"}, Environment: "staging", Team: "search", Level: "fatal"}},
		"one of a team":           {activities.Case{Envelope: delivered(t, "issue.created", nobody, team)}, destinations.Question{Projects: []string{"backend"}, Team: "pay", Level: "error"}},
		"an alert about an issue": {activities.Case{Envelope: delivered(t, "event_alert.triggered"), Event: event}, destinations.Question{Projects: []string{"backend"}, Environment: "production", Level: "error"}},
		"a critical alert":        {activities.Case{Envelope: delivered(t, "metric_alert.critical")}, destinations.Question{Projects: []string{"web"}, Environment: "production", Level: "fatal"}},
		"its end":                 {activities.Case{Envelope: delivered(t, "metric_alert.resolved")}, destinations.Question{Projects: []string{"web"}, Environment: "production", Level: "fatal"}},
		"an alert that warns":     {activities.Case{Envelope: delivered(t, "metric_alert.warning")}, destinations.Question{Projects: []string{"web"}, Environment: "production", Level: "warning"}},
		"of no project":           {activities.Case{Envelope: delivered(t, "issue.created", `"project":{`, `"projects":{`)}, destinations.Question{Level: "error"}},
	} {
		if got := activities.QuestionOf(tt.c); fmt.Sprintf("%+q", got) != fmt.Sprintf("%+q", tt.want) {
			t.Errorf("%s: it is %+v, want %+v", name, got, tt.want)
		}
	}
}
