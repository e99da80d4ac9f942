// Package triagetest runs one triage workflow on one payload, with the
// activities that reach outside replaced. It takes milliseconds and no server.
package triagetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
)

// A Stub stands in for one activity during [Run].
type Stub struct {
	replace func(*testsuite.TestWorkflowEnvironment)
}

// Replace has fake called whenever the workflow calls activity. The two have
// the same type, so a stub that no longer fits does not compile.
func Replace[In, Out any](activity, fake func(context.Context, In) (Out, error)) Stub {
	return Stub{func(e *testsuite.TestWorkflowEnvironment) {
		e.OnActivity(activity, mock.Anything, mock.Anything).Return(fake)
	}}
}

// Run gives the payload file to w as a delivery and returns what w returns.
// Time is skipped while w waits.
//
// The file is called <resource>.<action>.json, or <resource>.<action>.<case>.json,
// and holds a webhook's body; it takes the way of a delivery through naming and
// wrapping. Activities that w calls with [triage.Local] run for real unless
// they are replaced; those it calls with [triage.Do] must be replaced.
//
// The test fails if the payload would not have been routed to w, and if an
// activity was called that needs a stub and has none.
func Run[Out any](t testing.TB, w *triage.Definition[Out], payload string, stubs ...Stub) (Out, error) {
	t.Helper()
	env := delivery(t, payload)
	if !w.Wants(env.EventType) {
		t.Fatalf("%s is the event %s, which does not start %s", payload, env.EventType, w.Name())
	}

	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(t.Output(), nil))))
	e := suite.NewTestWorkflowEnvironment()
	e.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor()}})
	triage.Register(e, []triage.Workflow{w})
	e.RegisterDynamicActivity(func(ctx context.Context, _ converter.EncodedValues) (any, error) {
		name := activity.GetInfo(ctx).ActivityType.Name
		t.Errorf("%s calls the activity %s, which the test does not replace", w.Name(), name)
		return nil, temporal.NewNonRetryableApplicationError("not replaced: "+name, "NotReplaced", nil)
	}, activity.DynamicRegisterOptions{})
	for _, s := range stubs {
		s.replace(e)
	}

	e.ExecuteWorkflow(w.Name(), env)
	var out Out
	if !e.IsWorkflowCompleted() {
		t.Fatalf("%s did not complete", w.Name())
	}
	if err := e.GetWorkflowError(); err != nil {
		return out, err
	}
	if err := e.GetWorkflowResult(&out); err != nil {
		t.Fatalf("read the result of %s: %v", w.Name(), err)
	}
	return out, nil
}

func delivery(t testing.TB, payload string) sentry.Envelope {
	t.Helper()
	body, err := os.ReadFile(payload)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(filepath.Base(payload), ".")
	if len(parts) < 3 {
		t.Fatalf("%s is not called <resource>.<action>.json", payload)
	}
	resource, action := parts[0], parts[1]
	event, err := sentry.EventName(resource, body)
	if err != nil {
		t.Fatalf("%s would have been refused: %v", payload, err)
	}
	named, err := sentry.EventName(resource, fmt.Appendf(nil, `{"action":%q}`, action))
	if err != nil || named != event {
		t.Fatalf("%s holds the event %s", payload, event)
	}
	header := http.Header{}
	header.Set(sentry.HeaderResource, resource)
	header.Set(sentry.HeaderRequestID, "0123456789abcdef0123456789abcdef")
	return sentry.NewEnvelope("sentry", event, header, body, time.Unix(1733337600, 0))
}
