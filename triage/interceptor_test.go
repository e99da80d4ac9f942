package triage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.temporal.io/sdk/activity"
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
	if text := logged.String(); !strings.Contains(text, "event=sentry.issue.created") || !strings.Contains(text, "issue=7 short_id=WEB-1") {
		t.Errorf("logged is %s", text)
	}
}

func failing(ctx context.Context, in string) (string, error) {
	activity.GetLogger(ctx).Info("on its way")
	if in == "panic" {
		panic("it panics")
	}
	return "", errors.New("it fails")
}

func TestEachLineOfAnActivityHasEventAndIssue(t *testing.T) {
	calls := map[string]func(workflow.Context, string) (string, error){
		"local": func(ctx workflow.Context, in string) (string, error) { return triage.Local(ctx, failing, in) },
		"remote": func(ctx workflow.Context, in string) (string, error) {
			return triage.Do(ctx, failing, in, triage.Attempts(1))
		},
	}
	for name, call := range calls {
		for in, says := range map[string]string{"fail": `msg="an attempt of an activity fails"`, "panic": `msg="an attempt of an activity panics"`} {
			t.Run(name+" "+in, func(t *testing.T) {
				var logged bytes.Buffer
				var suite testsuite.WorkflowTestSuite
				suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&logged, nil))))
				env := suite.NewTestWorkflowEnvironment()
				env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor(failing)}})
				w := triage.New("calls_something", func(ctx workflow.Context, _ triage.Envelope) (string, error) {
					_, _ = call(ctx, in)
					return "", nil
				}, triage.On("sentry.issue.created"))
				triage.RegisterWorkflows(env, []triage.Workflow{w})
				env.RegisterActivity(failing)
				env.ExecuteWorkflow("calls_something", triage.Envelope{EventType: "sentry.issue.created", Body: `{"data":{"issue":{"id":"7","shortId":"WEB-1"}}}`})
				if err := env.GetWorkflowError(); err != nil {
					t.Fatal(err)
				}
				lines := 0
				for line := range strings.Lines(logged.String()) {
					if !strings.Contains(line, "on its way") && !strings.Contains(line, says) {
						continue
					}
					lines++
					if !strings.Contains(line, " event=sentry.issue.created issue=7 short_id=WEB-1") {
						t.Errorf("logged is %s", line)
					}
				}
				if lines < 2 || !strings.Contains(logged.String(), "it "+in+"s") {
					t.Errorf("logged is %s", &logged)
				}
			})
		}
	}
}
