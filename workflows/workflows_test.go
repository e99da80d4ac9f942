package workflows_test

import (
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
)

var record = flag.Bool("record", false, "record the histories that are missing")

// TestHistories replays the stored history of every workflow: a change that
// runs under way could not follow makes it fail. Such a change needs
// workflow.GetVersion; a stored history is only replaced when no run of its
// time can be open any more.
func TestHistories(t *testing.T) {
	for _, w := range workflows.All {
		t.Run(w.Name(), func(t *testing.T) {
			file := historyFile(t, w)
			if _, err := os.Stat(file); err != nil && *record {
				recordHistory(t, w, file)
			}
			if err := replay(file, workflows.All); err != nil {
				t.Errorf("%s: %v (`make histories` records a history that is missing)", file, err)
			}
		})
	}
}

// What replaying is for: the same workflow with its activities in another
// order.
func TestAStoredHistoryRejectsActivitiesInAnotherOrder(t *testing.T) {
	reordered := triage.New("triage_sentry_issue", func(ctx workflow.Context, env sentry.Envelope) (string, error) {
		comment, err := triage.Local(ctx, activities.ParseComment, env)
		if err != nil {
			return "", err
		}
		issue, err := triage.Local(ctx, activities.ParseIssue, env)
		return issue.ID + comment.ID, err
	}, triage.On("sentry.issue.created"))
	if err := replay("triageissue/testdata/history.json", []triage.Workflow{reordered}); err == nil {
		t.Error("the history of triage_sentry_issue replays on other code")
	}
}

func replay(file string, all []triage.Workflow) error {
	replayer := worker.NewWorkflowReplayer()
	triage.RegisterWorkflows(replayer, all)
	return replayer.ReplayWorkflowHistoryFromJSONFile(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), file)
}

// historyFile is testdata/history.json beside the code of w: the one folder
// whose source holds its name.
func historyFile(t *testing.T, w triage.Workflow) string {
	t.Helper()
	sources, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `triage.New("`+w.Name()+`"`) {
			return filepath.Join(filepath.Dir(source), "testdata", "history.json")
		}
	}
	t.Fatalf("no folder holds the workflow %s", w.Name())
	return ""
}

// recordHistory runs w on the sample of an event that it wants, on a real
// server, and stores the history of the run.
func recordHistory(t *testing.T, w triage.Workflow, file string) {
	t.Helper()
	server, err := devserver.Start(t.Context(), devserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	c, err := client.Dial(client.Options{HostPort: server.Address, Identity: "history"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const queue = "sentry"
	running := worker.New(c, queue, worker.Options{})
	triage.Register(running, workflows.All, activities.All...)
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	defer running.Stop()

	integrations := []config.Integration{{Name: "sentry", Namespace: client.DefaultNamespace, TaskQueue: queue}}
	connections, err := starter.Connect(config.Temporal{Client: client.Options{HostPort: server.Address}}, integrations, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer connections.Close()
	env := sampleFor(t, w)
	plan := routes.NewPlanner([]triage.Workflow{w}, integrations, slog.New(slog.DiscardHandler)).Plan(sentry.DeliveryOf(env)).For(env.IdempotencyKey)
	start, err := starter.New(connections, slog.New(slog.DiscardHandler)).Prepare(env, plan)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.GetWorkflow(t.Context(), runs[0].WorkflowID, runs[0].RunID).Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	history := &historypb.History{}
	events := c.GetWorkflowHistory(t.Context(), runs[0].WorkflowID, runs[0].RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history.Events = append(history.Events, event)
	}
	text, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(history)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sampleFor(t *testing.T, w triage.Workflow) sentry.Envelope {
	t.Helper()
	for _, name := range sentry.SampleNames() {
		body, err := sentry.Sample(name)
		if err != nil {
			t.Fatal(err)
		}
		resource, _, _ := strings.Cut(name, ".")
		event, err := sentry.EventName(resource, body)
		if err != nil {
			t.Fatal(err)
		}
		if w.Wants(event) {
			return sentry.NewEnvelope("sentry", event, nil, body, time.Now())
		}
	}
	t.Fatalf("no sample is of an event that %s wants", w.Name())
	return sentry.Envelope{}
}
