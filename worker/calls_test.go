package worker

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
)

type pager struct{ number string }

func (p *pager) Page(_ context.Context, text string) (string, error) {
	return p.number + ": " + text, nil
}

// calling calls the pager by an activity.
var calling = triage.New("pages", func(ctx workflow.Context, env triage.Envelope) (string, error) {
	var p *pager
	return triage.Do(ctx, p.Page, env.EventType)
}, triage.On("sentry.issue.created"))

// dial returns a client of server; each line that its workers log is given to logged.
func dial(t *testing.T, server *devserver.Server, logged func(string)) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: server.Address, Logger: log.NewStructuredLogger(slog.New(noting{logged}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// noting is a log that somebody is told of.
type noting struct{ logged func(string) }

func (noting) Enabled(context.Context, slog.Level) bool { return true }
func (n noting) WithAttrs([]slog.Attr) slog.Handler     { return n }
func (n noting) WithGroup(string) slog.Handler          { return n }
func (n noting) Handle(_ context.Context, r slog.Record) error {
	n.logged(r.Message)
	return nil
}

func unheard(string) {}

// works starts a worker as Run does, until stop is called.
func works(t *testing.T, c client.Client, queue string, workflows []triage.Workflow, activities ...any) (stop func()) {
	t.Helper()
	stop, err := poll(t.Context(), starter.Environment{Client: c, TaskQueue: queue}, func(error) {}, workflows, activities)
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

func start(t *testing.T, c client.Client, queue string, w triage.Workflow) client.WorkflowRun {
	t.Helper()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: w.Name() + ":sentry:" + queue, TaskQueue: queue}, w.Name(),
		triage.Envelope{EventType: "sentry.issue.created"})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestWhatCannotWorkFailsTheRunAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Temporal server")
	}
	server := devservertest.Start(t, devserver.Options{})
	c := dial(t, server, unheard)
	byLocal := triage.New("by_local", func(ctx workflow.Context, env triage.Envelope) (string, error) {
		var p *pager
		return triage.Local(ctx, p.Page, env.EventType)
	}, triage.On("sentry.issue.created"))
	for name, tt := range map[string]struct {
		workflow   triage.Workflow
		activities []any
		naming     string
	}{
		"an activity that is not registered":       {calling, nil, "Page"},
		"one that is not among others":             {calling, []any{other}, "Page"},
		"a method that is to run inside the task":  {byLocal, []any{&pager{}}, "(*pager).Page"},
		"one that the worker has not, inside, too": {byLocal, nil, "(*pager).Page"},
	} {
		t.Run(name, func(t *testing.T) {
			queue := strings.ReplaceAll(name, " ", "-")
			defer works(t, c, queue, []triage.Workflow{tt.workflow}, tt.activities...)()
			run := start(t, c, queue, tt.workflow)
			err := run.Get(t.Context(), nil)
			place := regexp.MustCompile(`sentry-temporal/worker/calls_test\.go:\d+: `)
			if err == nil || !place.MatchString(err.Error()) || !strings.Contains(err.Error(), tt.naming) {
				t.Errorf("the run's error is %v", err)
			}
			if refused, ok := errors.AsType[*temporal.ApplicationError](err); !ok || !refused.NonRetryable() {
				t.Errorf("the run's error is not final: %v", err)
			}
			if n := attempts(t, c, run); n > 1 {
				t.Errorf("it was tried %d times", n)
			}
		})
	}
}

func other(context.Context, string) (string, error) { return "", nil }

// attempts returns how often the one activity of a run was tried.
func attempts(t *testing.T, c client.Client, run client.WorkflowRun) int32 {
	t.Helper()
	var most int32
	events := c.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, event.GetActivityTaskStartedEventAttributes().GetAttempt())
	}
	return most
}

// activitiesOf is a worker that is to run no workflow.
type activitiesOf struct{ sdk.Worker }

func (activitiesOf) RegisterWorkflowWithOptions(any, workflow.RegisterOptions) {}

// While a release is being rolled out, workers of the old one get calls of activities
// that only the new one has.
func TestACallThatAnOldWorkerGetsIsMadeByANewOne(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Temporal server")
	}
	server := devservertest.Start(t, devserver.Options{})
	const queue = "rollout"
	refused := make(chan struct{}, 100)
	old := sdk.New(dial(t, server, func(line string) {
		if line == "Activity error." {
			select {
			case refused <- struct{}{}:
			default: // it has been told
			}
		}
	}), queue, sdk.Options{DisableWorkflowWorker: true, Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor()}})
	triage.Register(activitiesOf{old}, nil)
	c := dial(t, server, unheard)
	// The new worker, as long as the old one gets all calls.
	early := sdk.New(c, queue, sdk.Options{LocalActivityWorkerOnly: true, Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor(&pager{})}})
	triage.Register(early, []triage.Workflow{calling}, &pager{})
	for _, w := range []sdk.Worker{old, early} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
	}
	run := start(t, c, queue, calling)
	select {
	case <-refused:
	case <-t.Context().Done():
	}
	old.Stop()
	early.Stop()

	defer works(t, c, queue, []triage.Workflow{calling}, &pager{number: "112"})()
	var got string
	if err := run.Get(t.Context(), &got); err != nil || got != "112: sentry.issue.created" {
		t.Errorf("the run returned %q, %v", got, err)
	}
	if n := attempts(t, c, run); n < 2 {
		t.Errorf("the old worker was never asked: %d attempts", n)
	}
}
