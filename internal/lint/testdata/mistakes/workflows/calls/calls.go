package calls

import (
	"context"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/lint/testdata/mistakes/activities"
	"sentry-temporal/triage"
)

// The first of its name, and of what is wrong with activities.
var Workflow = triage.New("call_out", run, triage.On("sentry.issue.created")) // want "another workflow is called call_out, at workflows/twin/twin.go:11: give one"

func run(ctx workflow.Context, env triage.Envelope) (string, error) {
	var chat *activities.Chat
	var pager *activities.Pager
	step := chat.Post
	closure := func(context.Context, string) (string, error) { return env.EventType, nil }

	_, _ = triage.Local(ctx, activities.ParseTags, "") // is not registered, and needs not be
	_, _ = triage.Local(ctx, chat.Post, "")            // want "Local is given the method Post, .*give it a function of the package, or call the method with Do"
	_, _ = triage.Local(ctx, step, "")                 // want "Local is given the method Post"
	_, _ = triage.Local(ctx, closure, "")              // want "Local is given a closure, .*give it a function of the package"
	_, _ = triage.Local(ctx, made(env), "")            // want "Local is given a closure"

	_, _ = triage.Do(ctx, activities.ParseIssue, "")
	_, _ = triage.Do(ctx, chat.Post, "")
	_, _ = triage.Do(ctx, activities.ParseTags, "") // want "activity ParseTags is not registered.*add `ParseTags,` to the list at activities/activities.go:5"
	_, _ = triage.Do(ctx, pager.Page, "")           // want "activity Page is not registered.*add `&Pager{...},` to the list at activities/activities.go:5"
	_, _ = triage.Do(ctx, closure, "")              // want "Do is given a closure, which no worker can have registered"

	_, _ = twice(ctx, pager.Page)
	workflow.ExecuteActivity(ctx, pager.Page, "") // want "activity Page is not registered"
	return "", nil
}

func twice(ctx workflow.Context, activity func(context.Context, string) (string, error)) (string, error) {
	_, _ = triage.Do(ctx, activity, "")    // want "activity Page is not registered"
	return triage.Local(ctx, activity, "") // want "Local is given the method Page"
}

func made(env triage.Envelope) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return env.EventType, nil }
}
