package workflows_test

import (
	"context"
	"testing"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
	"sentry-temporal/triage/triagetest"
)

func tell(ctx workflow.Context, env triage.Envelope) (string, error) {
	issue, err := triage.Local(ctx, activities.ParseIssue, env)
	if err != nil {
		return "", err
	}
	card := activities.Card{
		Integration: env.IntegrationID, Event: env.EventType, Headline: "Look at this",
		Title: issue.Title, URL: issue.URL, ShortID: issue.ShortID, Level: issue.Level, Project: issue.Project,
	}
	info := workflow.GetInfo(ctx)
	key := func(effect string) string {
		return activities.EffectKey(info.WorkflowType.Name, info.WorkflowExecution.ID, effect, "1")
	}
	var slack *activities.Slack // only the names of its methods are used
	post := activities.SlackPost{Channel: "#backend", Key: key("post"), Card: card}
	if _, err := triage.Do(ctx, slack.PostMessage, post, triage.Attempts(5)); err != nil {
		workflow.GetLogger(ctx).Warn("there will be a ticket without a message", "error", err)
	}
	var github *activities.GitHub
	ticket, err := triage.Do(ctx, github.CreateTicket, activities.Ticket{Repo: "acme/backend", Key: key("ticket"), Card: card})
	return ticket.URL, err
}

// This is what docs/integrations.md shows.
func TestTheWorkflowThatTheDocumentsShow(t *testing.T) {
	var slack *activities.Slack
	var github *activities.GitHub
	w := triage.New("tell", tell, triage.On("sentry.issue.created"))
	var post activities.SlackPost
	var ticket activities.Ticket
	got, err := triagetest.Run(t, w, "triageissue/testdata/issue.created.json",
		triagetest.Replace(slack.PostMessage, func(_ context.Context, p activities.SlackPost) (activities.SlackMessage, error) {
			post = p
			return activities.SlackMessage{}, nil
		}),
		triagetest.Replace(github.CreateTicket, func(_ context.Context, t activities.Ticket) (activities.Ticketed, error) {
			ticket = t
			return activities.Ticketed{URL: "https://github.example/1"}, nil
		}))
	if err != nil || got != "https://github.example/1" {
		t.Errorf("%q, %v", got, err)
	}
	if post.Card.Title == "" || post.Card != ticket.Card || post.Key == ticket.Key {
		t.Errorf("posted is %+v, the ticket is %+v", post, ticket)
	}
}
