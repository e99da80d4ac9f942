package triagetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
	"sentry-temporal/triage/triagetest"
)

// chat is an outside system, which a test must not reach.
type chat struct{}

func (*chat) Post(context.Context, string) (string, error) { panic("reached the outside") }

func lookup(context.Context, string) (string, error) { panic("reached the outside") }

func fake(_ context.Context, in string) (string, error) { return "fake " + in, nil }

func eventType(_ context.Context, env sentry.Envelope) (string, error) { return env.EventType, nil }

func define(run func(workflow.Context, sentry.Envelope) (string, error)) *triage.Definition[string] {
	return triage.New("some_workflow", run, triage.On("sentry.issue.*"))
}

var (
	parses = define(func(ctx workflow.Context, env sentry.Envelope) (string, error) {
		return triage.Local(ctx, eventType, env)
	})
	looksUp = define(func(ctx workflow.Context, env sentry.Envelope) (string, error) {
		return triage.Do(ctx, lookup, env.EventType)
	})
	posts = define(func(ctx workflow.Context, env sentry.Envelope) (string, error) {
		var c *chat
		return triage.Do(ctx, c.Post, env.EventType)
	})
)

func TestRunReturnsTheResult(t *testing.T) {
	var c *chat
	tests := map[string]struct {
		workflow *triage.Definition[string]
		stubs    []triagetest.Option
		want     string
	}{
		"a local activity runs for real": {parses, nil, "sentry.issue.created"},
		"a local activity can be replaced": {parses, []triagetest.Option{
			triagetest.Replace(eventType, func(context.Context, sentry.Envelope) (string, error) { return "fake", nil }),
		}, "fake"},
		"a function is replaced":                {looksUp, []triagetest.Option{triagetest.Replace(lookup, fake)}, "fake sentry.issue.created"},
		"a method of a nil pointer is replaced": {posts, []triagetest.Option{triagetest.Replace(c.Post, fake)}, "fake sentry.issue.created"},
		"a stub that is not called is no fault": {looksUp, []triagetest.Option{triagetest.Replace(c.Post, fake), triagetest.Replace(lookup, fake)}, "fake sentry.issue.created"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := triagetest.Run(t, tt.workflow, payload(t, "issue.created.json"), tt.stubs...)
			if got != tt.want || err != nil {
				t.Errorf("Run = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestRunReturnsTheWorkflowsError(t *testing.T) {
	refused := temporal.NewNonRetryableApplicationError("no such channel", "Refused", nil)
	var app *temporal.ApplicationError

	_, err := triagetest.Run(t, define(func(workflow.Context, sentry.Envelope) (string, error) {
		return "", refused
	}), payload(t, "issue.created.json"))
	if !errors.As(err, &app) || app.Type() != "Refused" {
		t.Errorf("the workflow's own error came out as %v", err)
	}

	_, err = triagetest.Run(t, looksUp, payload(t, "issue.created.json"),
		triagetest.Replace(lookup, func(context.Context, string) (string, error) { return "", refused }))
	if !errors.As(err, &app) || app.Type() != "Refused" {
		t.Errorf("a stub's error came out as %v", err)
	}
}

func TestRunSkipsTime(t *testing.T) {
	sleeps := define(func(ctx workflow.Context, _ sentry.Envelope) (string, error) {
		start := workflow.Now(ctx)
		err := workflow.Sleep(ctx, 24*time.Hour)
		return workflow.Now(ctx).Sub(start).String(), err
	})
	if got, err := triagetest.Run(t, sleeps, payload(t, "issue.created.json")); got != "24h0m0s" || err != nil {
		t.Errorf("Run = %q, %v", got, err)
	}
}

func TestRunTakesTheWayOfADelivery(t *testing.T) {
	var got sentry.Envelope
	keeps := define(func(_ workflow.Context, env sentry.Envelope) (string, error) {
		got = env
		return "", nil
	})
	// The file may tell its case, and name an event as old subscriptions do.
	path := payload(t, "issue.archived.by_hand.json")
	if _, err := triagetest.Run(t, keeps, path); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.EventType != "sentry.issue.ignored" || got.Headers["sentry-hook-resource"] != "issue" || string(got.Body) != string(body) || !got.Webhook {
		t.Errorf("the workflow's input = %+v", got)
	}
}

func TestRunFailsTheTest(t *testing.T) {
	issue := sample(t, "issue.created")
	var c *chat
	tests := map[string]struct {
		workflow *triage.Definition[string]
		payload  string
		stubs    []triagetest.Option
		naming   string // what the failure has to name
	}{
		"when the payload starts another workflow":  {parses, payload(t, "comment.created.json"), nil, "sentry.comment.created"},
		"when a function is not replaced":           {looksUp, payload(t, "issue.created.json"), nil, "lookup"},
		"when a method is not replaced":             {posts, payload(t, "issue.created.json"), nil, "Post"},
		"when another activity is replaced":         {looksUp, payload(t, "issue.created.json"), []triagetest.Option{triagetest.Replace(c.Post, fake)}, "lookup"},
		"when the file's name is of another action": {parses, file(t, "issue.resolved.json", issue), nil, "sentry.issue.created"},
		"when it is of an action that was renamed":  {parses, file(t, "issue.archived.json", issue), nil, "sentry.issue.created"},
		"when it is of another resource":            {parses, file(t, "comment.created.json", issue), nil, "comment.created.json"},
		"when it is of no event":                    {parses, file(t, "issue.json", issue), nil, "issue.json"},
		"when the payload would have been refused":  {parses, file(t, "issue.created.json", []byte(`{"data":{}}`)), nil, "issue.created.json"},
		"when there is no such file":                {parses, "testdata/issue.created.json", nil, "testdata/issue.created.json"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			failures := record(t, func(t testing.TB) { _, _ = triagetest.Run(t, tt.workflow, tt.payload, tt.stubs...) })
			if len(failures) != 1 || !strings.Contains(failures[0], tt.naming) {
				t.Errorf("the failures %q, want one that names %s", failures, tt.naming)
			}
		})
	}
}

// record returns the failures that f reports to the test it is given.
func record(t *testing.T, f func(testing.TB)) []string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // because a fatal failure ends its goroutine
		defer close(done)
		f(r)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

// recorder is a test that notes its failures instead of failing.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

// payload returns the path of a file called name that holds a sample of its event.
func payload(t *testing.T, name string) string {
	t.Helper()
	parts := strings.SplitN(name, ".", 3)
	return file(t, name, sample(t, parts[0]+"."+parts[1]))
}

// file returns the path of a file called name that holds body.
func file(t *testing.T, name string, body []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	body, err := sentry.Sample(name)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
