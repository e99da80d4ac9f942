package starter_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
)

// A route may name a namespace while the ingress runs, and starts are under way.
func TestANamespaceThatIsOpenedLaterIsStartedInAndAskedAbout(t *testing.T) {
	asked := make(chan string, 10)
	started := make(chan *workflowservice.StartWorkflowExecutionRequest, 100)
	server := serve(t, &standIn{
		attributes: func(_ context.Context, namespace string) (*operatorservice.ListSearchAttributesResponse, error) {
			asked <- namespace
			return listed(), nil
		},
		start: func(request *workflowservice.StartWorkflowExecutionRequest) error {
			started <- request
			return nil
		},
	}, nil)
	connections := connect(t, server.address, config.Integration{Name: "sentry", Namespace: "own", TaskQueue: "q"})
	s := starter.New(connections, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	go s.Run(ctx)
	awaited := func(namespace string) {
		t.Helper()
		select {
		case got := <-asked:
			if got != namespace {
				t.Errorf("asked about %s, want %s", got, namespace)
			}
		case <-ctx.Done():
			t.Fatalf("nobody asks about %s", namespace)
		}
	}
	awaited("own")
	env := envelope("sentry.issue.created", `{"data":{"issue":{"id":"1"}}}`)
	start := func(namespace string) error {
		begin, err := s.Prepare(env, []routes.Operation{{
			Kind: routes.Start, Workflow: "w", WorkflowID: "w:sentry:" + namespace, Integration: "sentry", Namespace: namespace, TaskQueue: "q",
		}})
		if err != nil {
			return err
		}
		_, err = begin(ctx)
		return err
	}
	if err := start("later"); !errors.Is(err, starter.ErrNotConfigured) {
		t.Errorf("before it is opened: %v", err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := errors.Join(s.Open("sentry", "later"), start("later"), start("own")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	awaited("later")
	for namespaces := (map[string]int{}); len(namespaces) < 2; {
		request := <-started
		namespaces[request.GetNamespace()]++
	}
	if len(asked) != 0 {
		t.Errorf("%s was asked about again: it has two connections", <-asked)
	}
	if err := s.Open("nobody", "later"); !errors.Is(err, starter.ErrNotConfigured) {
		t.Errorf("for an integration nobody has: %v", err)
	}
}
