package triage_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

func TestALogLineOfAWorkflowHasEventAndIssue(t *testing.T) {
	var logged bytes.Buffer
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor()}})
	w := triage.New("says_something", func(ctx workflow.Context, _ triage.Envelope) (string, error) {
		workflow.GetLogger(ctx).Info("something")
		return "", nil
	}, triage.On("sentry.issue.created"))
	triage.RegisterWorkflows(env, []triage.Workflow{w})
	env.ExecuteWorkflow("says_something", triage.Envelope{EventType: "sentry.issue.created", Body: `{"data":{"issue":{"id":"7","shortId":"WEB-1"}}}`})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if text := logged.String(); !strings.Contains(text, "event=sentry.issue.created") || !strings.Contains(text, "issue=WEB-1") {
		t.Errorf("logged is %s", text)
	}
}
