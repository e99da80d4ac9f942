package main

import (
	"context"
	"log"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
	"sentry-temporal/worker"
)

// All that a team has is here, but for the activities that come with triage.
func main() {
	if err := worker.Run(context.Background(), triage.List(ours), append([]any{&Chat{}}, activities.All...)...); err != nil {
		log.Fatal(err)
	}
}

var ours = triage.New("ours", run, triage.On("sentry.issue.created"))

var theirs = triage.New("theirs", run, triage.On("sentry.issue.created")) // want "workflow theirs is in no list.*add the line `theirs,` to the list at main.go:16$"

func run(ctx workflow.Context, env triage.Envelope) (string, error) {
	var chat *Chat
	_, _ = triage.Do(ctx, chat.Post, "")
	_, _ = triage.Do(ctx, activities.ParseIssue, env)
	return triage.Do(ctx, page, "") // want "activity page is not registered.*add `page,`"
}

type Chat struct{}

func (*Chat) Post(context.Context, string) (string, error) { return "", nil }

func page(context.Context, string) (string, error) { return "", nil }
