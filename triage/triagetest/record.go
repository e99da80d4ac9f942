package triagetest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
)

// maxRecording bounds a recording, which mostly takes a few seconds.
const maxRecording = 2 * time.Minute

// recordHistory stores the history of a run of w on payload, unless the test fails. Since timers are
// shortened, an activity may lose a race that it wins in production: so the run has
// to make the calls that it makes in the test environment, where time is exact, and has
// a second try with timers that are not as short.
func recordHistory[Out any](t testing.TB, w *triage.Definition[Out], file, payload string, options []Option) (recorded bool) {
	t.Helper()
	r := runner[Out]{t: t, workflow: w, options: options}
	want := r.deliver(payload)
	if want.Status != Started {
		t.Fatalf("%s does not start %s", payload, w.Name())
	}
	if r.check(); r.failed.Load() {
		return false
	}
	ctx, cancel := context.WithTimeout(t.Context(), maxRecording)
	defer cancel()
	// Else no timer of the server, and no pause, would take less than a second.
	server, err := devserver.Start(ctx, devserver.Options{Settings: []string{`history.timerProcessorMaxTimeShift="1ms"`}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	logger := log.NewStructuredLogger(slog.New(slog.NewTextHandler(t.Output(), nil)))
	c, err := client.Dial(client.Options{HostPort: server.Address, Identity: "history", DataConverter: starter.DataConverter(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	env := delivery(t, payload, 0)
	var same bool
	var history *historypb.History
	for _, least := range []time.Duration{100 * time.Millisecond, time.Second} {
		s := &shortening{least: least, replaced: map[string]bool{}}
		var failed error
		if history, failed, err = runOnServer(ctx, c, s, w, env, options); err != nil {
			t.Fatalf("record %s: %v", file, err)
		}
		if same = slices.Equal(names(s.calls), names(r.calls)) && (failed == nil) == (want.Err == nil); same {
			s.restore(history)
			break
		}
		t.Logf("with timers from %s on the calls are%s", least, list(s.calls))
	}
	if !same {
		t.Fatalf("record %s: with shortened timers the workflow does not do what it does in the test: store the history of a real run, see triagetest.Replay", file)
	}
	text, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(history)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // for all who read the source
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil { //nolint:gosec // for all who read the source
		t.Fatal(err)
	}
	t.Logf("recorded %s", file)
	return true
}

func names(calls []Called) []string {
	var all []string
	for _, c := range calls {
		all = append(all, c.name)
	}
	return all
}

// runOnServer returns the history of a run, and the error that it has failed with.
func runOnServer(ctx context.Context, c client.Client, s *shortening, w triage.Workflow, env triage.Envelope, options []Option) (_ *historypb.History, failed, err error) {
	const queue = "sentry"
	var real, all []any
	for _, o := range options {
		if o.stub != nil {
			all = append(all, o.stub.activity)
		}
		if o.real != nil {
			real = append(real, o.real.activities...)
		}
	}
	running := worker.New(c, queue, worker.Options{
		Interceptors:              []interceptor.WorkerInterceptor{triage.Interceptor(append(all, real...)...), s},
		BackgroundActivityContext: contextOf(options),
	})
	triage.Register(running, []triage.Workflow{w}, real...)
	for _, o := range options {
		if o.stub != nil {
			s.replaced[o.stub.name] = true
			running.RegisterActivityWithOptions(o.stub.fake, activity.RegisterOptions{Name: o.stub.name, DisableAlreadyRegisteredCheck: true})
		}
	}
	if err := running.Start(); err != nil {
		return nil, nil, err
	}
	defer running.Stop()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: w.Name() + ":" + env.IntegrationID + ":" + env.IdempotencyKey, TaskQueue: queue,
	}, w.Name(), env)
	if err != nil {
		return nil, nil, err
	}
	failed = run.Get(ctx, nil)
	if _, ofWorkflow := errors.AsType[*temporal.WorkflowExecutionError](failed); failed != nil && !ofWorkflow {
		return nil, nil, failed
	}
	history := &historypb.History{}
	events := c.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, nil, err
		}
		history.Events = append(history.Events, event)
	}
	return history, failed, nil
}

// later returns text, what a marker has of a local activity, with its time moved.
func later(text []byte, by time.Duration) []byte {
	var fields map[string]json.RawMessage
	var at time.Time
	if json.Unmarshal(text, &fields) != nil || json.Unmarshal(fields["ReplayTime"], &at) != nil {
		return text
	}
	moved, err := json.Marshal(at.Add(by))
	if err != nil {
		return text
	}
	fields["ReplayTime"] = moved
	if changed, err := json.Marshal(fields); err == nil {
		return changed
	}
	return text
}
