package triagetest

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"testing"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
)

// recordVariable has [History] record what is missing when it is 1.
const recordVariable = "TRIAGE_RECORD"

// History replays file, the stored history of a run of w, as in
// testdata/history.json or, where a workflow has several, testdata/history.paged.json.
// The test fails if a run that was under way when it was recorded could not follow the
// workflow as it is now.
//
// With TRIAGE_RECORD=1 in the environment a file that is missing is recorded: payload
// is given to w as by [Run], and then on a Temporal dev server, with what options
// replace, and nothing else is reached. Timers and the pauses between attempts take no
// time, and are in the file as they are in production. The server is the program
// temporal, in the folder bin of the module or on PATH.
func History[Out any](t testing.TB, w *triage.Definition[Out], file, payload string, options ...Option) {
	t.Helper()
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv(recordVariable) != "1" {
			t.Fatalf("%s is missing: %s=1 in the environment of `go test` records it", file, recordVariable)
		}
		if !recordHistory(t, w, file, payload, options) {
			return
		}
	}
	Replay(t, file, w)
}

// Replay replays file, the history of a run of one of the workflows, as a worker does:
// one that [History] has recorded, or that of any run, as `temporal workflow show
// --output json` prints it. See [History] for what fails.
func Replay(t testing.TB, file string, workflows ...triage.Workflow) {
	t.Helper()
	if err := replay(file, workflows); err != nil {
		t.Errorf("%s: %v\nRuns that are open could not go on with this change. Let them go on the old way, by workflow.GetVersion. "+
			"Only if no run of that time can be open any more: delete the file, and record it again with %s=1 in the environment of `go test`.",
			file, err, recordVariable)
	}
}

func replay(file string, workflows []triage.Workflow) error {
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: starter.DataConverter(),
		Interceptors:  []interceptor.WorkerInterceptor{triage.Interceptor()},
	})
	if err != nil {
		return err
	}
	triage.RegisterWorkflows(replayer, workflows)
	if err := replayer.ReplayWorkflowHistoryFromJSONFile(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), file); err != nil {
		return fmt.Errorf("it does not replay: %w", err)
	}
	return nil
}
