package starter_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/starter"
)

// panicking is a client with a bug.
type panicking struct{ client.Client }

func (panicking) ExecuteWorkflow(context.Context, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	panic("a bug")
}

func TestAPanicInAStartIsAnErrorAndNotTheEnd(t *testing.T) {
	s := startsOf(starter.ConnectionsTo(panicking{}, "n"), slog.New(slog.DiscardHandler), all...)
	_, err := s.Start(t.Context(), envelope("sentry.issue.created", `{}`))
	if p, ok := errors.AsType[*starter.PanicError](err); !ok || p.Value != "a bug" || p.Stack == "" {
		t.Errorf("the error is %v", err)
	}
}
