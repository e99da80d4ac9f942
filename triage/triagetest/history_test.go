package triagetest_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/triage/triagetest"
)

// patient looks something up, waits, asks until a deadline, and posts.
func patient(limits ...triage.Limit) *triage.Definition[string] {
	return define(func(ctx workflow.Context, env triage.Envelope) (string, error) { return wait(ctx, env, limits) })
}

func wait(ctx workflow.Context, env triage.Envelope, limits []triage.Limit) (string, error) {
	event, err := triage.Local(ctx, eventType, env)
	if err != nil {
		return "", err
	}
	found, err := triage.Do(ctx, lookup, event, limits...)
	if err != nil {
		return "", err
	}
	if err := workflow.Sleep(ctx, 30*time.Minute); err != nil {
		return "", err
	}
	for deadline := workflow.Now(ctx).Add(3 * time.Hour); workflow.Now(ctx).Before(deadline); {
		if _, err := triage.Local(ctx, eventType, env); err != nil {
			return "", err
		}
		if err := workflow.Sleep(ctx, time.Hour); err != nil {
			return "", err
		}
	}
	enough, cancel := workflow.WithCancel(ctx)
	timeout := workflow.NewTimer(enough, 24*time.Hour)
	_ = workflow.NewTimer(ctx, time.Minute).Get(ctx, nil)
	cancel()
	if err := timeout.Get(ctx, nil); err == nil {
		return "", errors.New("the longer timer fired first")
	}
	var c *chat
	return triage.Do(ctx, c.Post, found)
}

func TestHistoryIsRecordedWithoutTheOutsideAndReplayed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Temporal server")
	}
	t.Setenv("TRIAGE_RECORD", "1")
	w := patient(triage.Attempts(5))
	var c *chat
	failing := 2
	lookedUp := func(_ context.Context, in string) (string, error) {
		if failing--; failing >= 0 {
			return "", temporal.NewApplicationErrorWithOptions("too many requests", "Limited", temporal.ApplicationErrorOptions{NextRetryDelay: time.Hour})
		}
		failing = 2 // for the next run
		return "found " + in, nil
	}
	local := triagetest.Replace(eventType, func(context.Context, triage.Envelope) (string, error) { return "replaced", nil })
	// A folder that does not exist yet.
	path := filepath.Join(t.TempDir(), "testdata", "history.patient.json")
	issue := payload(t, "issue.created.json")
	triagetest.History(t, w, path, issue, local,
		triagetest.Replace(lookup, lookedUp), triagetest.Replace(c.Post, fake),
		triagetest.Calls(triagetest.Call(lookup, "replaced"), triagetest.Call(c.Post, "found replaced")))

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"the first wait":        `"1800s"`,
		"the hours":             `"3600s"`,
		"the long one":          `"86400s"`,
		"the pauses":            `"300s"`,
		"the attempts it took":  `"attempt": 3`,
		"the limit of attempts": `"maximumAttempts": 5`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s are not in the history as they are in production: %s", what, want)
		}
	}
	if n := strings.Count(string(text), `"EVENT_TYPE_TIMER_FIRED"`); n != 5 {
		t.Errorf("%d timers fired, want that of 30 minutes, three of an hour, one of a minute", n)
	}

	t.Run("it is not recorded again", func(t *testing.T) {
		triagetest.History(t, w, path, issue)
	})
	t.Run("limits may change", func(t *testing.T) {
		triagetest.History(t, patient(triage.Attempts(7), triage.Timeout(time.Hour)), path, issue)
	})
	t.Run("other code does not replay on it", func(t *testing.T) {
		other := define(func(ctx workflow.Context, env triage.Envelope) (string, error) {
			return triage.Do(ctx, lookup, env.EventType)
		})
		failures := record(t, func(t testing.TB) { triagetest.History(t, other, path, issue) })
		if len(failures) != 1 || !strings.Contains(failures[0], path) || !strings.Contains(failures[0], "workflow.GetVersion") || !strings.Contains(failures[0], "TRIAGE_RECORD=1") {
			t.Errorf("the failures are %q", failures)
		}
	})
}

func TestAHistoryThatIsMissingFailsTheTestAndSaysHowToRecordIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.json")
	issue := payload(t, "issue.created.json")
	failures := record(t, func(t testing.TB) { triagetest.History(t, parses, path, issue) })
	if len(failures) != 1 || !strings.Contains(failures[0], path) || !strings.Contains(failures[0], "TRIAGE_RECORD=1") {
		t.Errorf("the failures are %q", failures)
	}
	t.Setenv("TRIAGE_RECORD", "1")
	failures = record(t, func(t testing.TB) { triagetest.History(t, looksUp, path, issue) })
	if len(failures) != 1 || !strings.Contains(failures[0], "lookup") {
		t.Errorf("of an activity that the test does not replace: %q", failures)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it was recorded nevertheless")
	}
}

// What the command prints is what the documents tell to store.
func TestTheHistoryOfARealRunIsReplayed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Temporal server")
	}
	server := devservertest.Start(t, devserver.Options{})
	logger := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.Dial(client.Options{HostPort: server.Address, DataConverter: starter.DataConverter(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	waits := define(func(ctx workflow.Context, env triage.Envelope) (string, error) {
		title, err := triage.Local(ctx, eventType, env)
		if err != nil {
			return "", err
		}
		return title, workflow.Sleep(ctx, time.Hour)
	})
	running := worker.New(c, "queue", worker.Options{Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor()}})
	triage.Register(running, []triage.Workflow{waits})
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	defer running.Stop()
	// So large that it travels compressed.
	env := triage.Envelope{EventType: "sentry.issue.created", Body: sentry.Body(`{"data":"` + strings.Repeat("a", 300<<10) + `"}`)}
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "some_workflow:sentry:1", TaskQueue: "queue"}, waits.Name(), env)
	if err != nil {
		t.Fatal(err)
	}
	awaitTimer(t, c, run)

	cli, err := devserver.Binary()
	if err != nil {
		t.Fatal(err)
	}
	printed, err := exec.CommandContext(t.Context(), cli, "workflow", "show", "--address", server.Address, "--workflow-id", run.GetID(), "--output", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, "history.json", printed)
	triagetest.Replay(t, path, waits)
	if !strings.Contains(string(printed), "TIMER_STARTED") {
		t.Errorf("the history is %s", printed)
	}
	failures := record(t, func(t testing.TB) { triagetest.Replay(t, path, parses) })
	if len(failures) != 1 {
		t.Errorf("on other code the failures are %q", failures)
	}
}

// awaitTimer returns when a run waits for a timer.
func awaitTimer(t *testing.T, c client.Client, run client.WorkflowRun) {
	t.Helper()
	events := c.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetEventType() == enumspb.EVENT_TYPE_TIMER_STARTED {
			return
		}
	}
	t.Fatal("it does not wait")
}
