package starter_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
)

// picky is a workflow with a condition, as far as holds is one.
func picky(holds func(triage.Delivery) bool) triage.Workflow {
	options := []triage.Option{triage.On("sentry.issue.created")}
	if holds != nil {
		options = append(options, triage.When(holds))
	}
	return triage.New("picky", func(workflow.Context, triage.Envelope) (string, error) { return "ran", nil }, options...)
}

func fatal(d triage.Delivery) bool { return d.Level == "fatal" }

// routed starts picky for env as a route does, and returns its result in JSON and
// its history.
func routed(t *testing.T, c client.Client, env sentry.Envelope, asked bool) (result string, history []*historypb.HistoryEvent) {
	t.Helper()
	s := starter.New(connect(t, devservertest.Server().Address), slog.New(slog.DiscardHandler))
	begin, err := s.Prepare(env, []routes.Operation{{
		Kind: routes.Start, Workflow: "picky", WorkflowID: "picky:sentry:" + env.IdempotencyKey,
		Integration: "sentry", Namespace: client.DefaultNamespace, TaskQueue: t.Name(), Condition: asked,
	}})
	if err != nil {
		t.Fatal(err)
	}
	runs, err := begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got json.RawMessage
	if err := c.GetWorkflow(t.Context(), runs[0].WorkflowID, runs[0].RunID).Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	events := c.GetWorkflowHistory(t.Context(), runs[0].WorkflowID, runs[0].RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, event)
	}
	return string(got), history
}

func markers(history []*historypb.HistoryEvent) (n int) {
	for _, event := range history {
		if event.GetEventType() == enumspb.EVENT_TYPE_MARKER_RECORDED {
			n++
		}
	}
	return n
}

func TestARunThatHasToAskItsConditionDoes(t *testing.T) {
	c := devservertest.Client(t)
	w := worker.New(c, t.Name(), worker.Options{})
	triage.Register(w, []triage.Workflow{picky(fatal)})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	quiet := envelope("sentry.issue.created", `{"data":{"issue":{"level":"info"}}}`)
	loud := envelope("sentry.issue.created", `{"data":{"issue":{"level":"fatal"}}}`)

	result, skipped := routed(t, c, quiet, true)
	if !strings.Contains(result, "skipped") || markers(skipped) != 1 || len(skipped) != 6 {
		t.Errorf("what the condition is not for: %s, %d events with %d markers", result, len(skipped), markers(skipped))
	}
	result, ran := routed(t, c, loud, true)
	if result != `"ran"` || markers(ran) != 1 {
		t.Errorf("what the condition is for: %s, %d markers", result, markers(ran))
	}
	// Whoever has it compiled in has asked before, and the run is as always.
	quiet.IdempotencyKey = sentry.NewRequestID()
	result, plain := routed(t, c, quiet, false)
	if result != `"ran"` || len(plain) != 5 {
		t.Errorf("without being told to ask: %s, %d events", result, len(plain))
	}

	// Runs are open while a condition is added, changed and taken away.
	for name, now := range map[string]func(triage.Delivery) bool{
		"the same": fatal,
		"another":  func(triage.Delivery) bool { return true },
		"opposite": func(d triage.Delivery) bool { return !fatal(d) },
		"panics":   func(triage.Delivery) bool { panic("a bug") },
		"none":     nil,
	} {
		for what, history := range map[string][]*historypb.HistoryEvent{"skipped": skipped, "ran": ran, "not asked": plain} {
			replayer := worker.NewWorkflowReplayer()
			triage.Register(replaying{WorkflowReplayer: replayer}, []triage.Workflow{picky(now)})
			if err := replayer.ReplayWorkflowHistory(nil, &historypb.History{Events: history}); err != nil {
				t.Errorf("%s, with a condition that is %s by now: %v", what, name, err)
			}
		}
	}
}

// replaying lets a replayer, which needs no activities, be registered with.
type replaying struct {
	worker.WorkflowReplayer
	worker.ActivityRegistry
	worker.NexusServiceRegistry
}

func (replaying) RegisterDynamicActivity(any, activity.DynamicRegisterOptions) {}
func (replaying) RegisterActivityWithOptions(any, activity.RegisterOptions)    {}
