package process_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/worker"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/journal"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
	"sentry-temporal/workflows/logcomment"
)

// An ingress that knows a workflow is deployed before the worker that does.
func TestARunThatTheWorkerDoesNotKnowWaitsForOneThatDoes(t *testing.T) {
	address := devservertest.Server().Address
	c := devservertest.Client(t)
	const queue = "upgrade"
	upgraded := []config.Integration{{Name: "sentry", Secrets: []config.Secret{"s1"}, Namespace: "default", TaskQueue: queue}}
	p := listen(t)
	inBackground(t, func(ctx context.Context) error {
		of := common(address)
		of.Integrations = upgraded
		cfg := config.Ingress{Common: of, MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		return process.Ingress(ctx, cfg, p, listen(t), slog.New(slog.DiscardHandler))
	})

	run := func(known []triage.Workflow) worker.Worker {
		w := worker.New(c, queue, worker.Options{})
		triage.Register(w, known, activities.All...)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		return w
	}
	old := run([]triage.Workflow{logcomment.Workflow})
	answer := sendAndWait(t, "http://"+p.Addr().String(), upgraded[0], "issue.created", 10)
	if !answer.OK() || len(answer.Runs) != 1 {
		t.Fatalf("answered %+v", answer)
	}
	id := answer.Runs[0].WorkflowID
	failed := false
	for history := c.GetWorkflowHistory(t.Context(), id, "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); !failed && history.HasNext(); {
		event, err := history.Next()
		if err != nil {
			t.Fatal(err)
		}
		failed = event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_FAILED
	}
	old.Stop()
	if !failed {
		t.Error("a worker took what it does not know")
	}
	defer run(workflows.All).Stop()
	if err := c.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestACopyOfTheJournalThatIsOutOfDateStartsNothingTwice(t *testing.T) {
	address := devservertest.Server().Address
	c := devservertest.Client(t)
	dir := t.TempDir()
	public, _, stop := runIngressWith(t, "127.0.0.1:1", dir) // Temporal is away
	answer := send(t, public, integrations[0], "comment.created")
	if !answer.OK() || len(answer.Runs) != 1 {
		t.Fatalf("answered %+v", answer)
	}
	stop()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	kept, err := journal.Open(backup, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if pending := kept.Stats().Pending; pending != 1 {
		t.Fatalf("in the copy are %d deliveries", pending)
	}
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}

	forward := func(dir string) (runID string) {
		_, admin, stop := runIngressWith(t, address, dir)
		defer stop()
		awaitMetric(t, admin, "sentry_temporal_journal_pending 0")
		described, err := c.DescribeWorkflowExecution(t.Context(), answer.Runs[0].WorkflowID, "")
		if err != nil {
			t.Fatal(err)
		}
		return described.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	}
	first := forward(dir)
	runWorker(t, address)
	if err := c.GetWorkflow(t.Context(), answer.Runs[0].WorkflowID, first).Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if again := forward(backup); again != first {
		t.Errorf("the run was %s, and after the copy was put back it is %s", first, again)
	}
}
