package flows

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/lint/testdata/fine/activities"
	"sentry-temporal/triage"
)

var All = triage.List(append(other(), listed, made("made"))...)

func init() {
	for _, w := range []triage.Workflow{ranged} {
		add(w)
	}
	add(triage.New("added", run, triage.On("sentry.issue.created")), triage.New("added_too", run, triage.On("sentry.issue.created")))
}

func add(more ...triage.Workflow) { All = append(All, more...) }

var ranged = triage.New("ranged", run, triage.On("sentry.issue.created"))

var listed = triage.New("listed", run, triage.On("sentry.issue.created", "sentry.*"), triage.When(isOurs))

func made(name string) triage.Workflow {
	w := triage.New(name, run, triage.On("sentry.comment.*"))
	return w
}

func other() []triage.Workflow {
	return []triage.Workflow{triage.New("other", new(flow).run, triage.On("sentry.issue.ignored"))}
}

type pages interface {
	Page(context.Context, string) (string, error)
}

type flow struct{ pager pages }

func (f *flow) run(ctx workflow.Context, env triage.Envelope) (string, error) {
	return triage.Do(ctx, f.pager.Page, "")
}

// A variable that nothing of a workflow uses.
var Address = os.Getenv("ADDRESS")

var timeout = 5 * time.Second

func run(ctx workflow.Context, env triage.Envelope) (string, error) {
	var chat *activities.Chat
	var mail activities.Mail
	_, _ = triage.Local(ctx, activities.ParseIssue, "")
	_, _ = triage.Local(ctx, activities.Generic[string], "")
	_, _ = triage.Do(ctx, activities.Generic[string], "")
	_, _ = triage.Do(ctx, activities.ParseIssue, net.JoinHostPort("host", "1"))
	_, _ = triage.Do(ctx, chat.Post, "")
	_, _ = triage.Do(ctx, mail.Send, "")
	_, _ = triage.Local(parsing(ctx))
	_, _ = triage.Do(parsing(ctx))
	_, _ = step(ctx, chat.Post)
	_, _ = step(ctx, activities.InAField)
	_, _ = step(ctx, activities.InARange)
	seeded := rand.New(rand.NewPCG(1, 2))
	_ = workflow.SideEffect(ctx, func(workflow.Context) any { return os.Getenv("RECORDED") })
	if errors.Is(workflow.Sleep(ctx, timeout+time.Duration(seeded.IntN(3))), os.ErrNotExist) {
		return "", nil
	}
	return "", nil
}

func parsing(ctx workflow.Context) (workflow.Context, func(context.Context, string) (string, error), string) {
	return ctx, activities.ParseIssue, ""
}

// step is given what is looked at where it is called.
func step(ctx workflow.Context, activity func(context.Context, string) (string, error)) (string, error) {
	if activity == nil {
		return step(ctx, activity)
	}
	return triage.Do(ctx, activity, "")
}

func isOurs(d triage.Delivery) bool { return d.Time.After(time.Time{}) && d.Level == "fatal" }
