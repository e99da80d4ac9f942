package triage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
)

func idle(workflow.Context, sentry.Envelope) (string, error) { return "", nil }

func TestWants(t *testing.T) {
	tests := map[string]struct {
		on    triage.Option
		wants []string
		not   []string
	}{
		"an exact name": {
			on:    triage.On("sentry.issue.created"),
			wants: []string{"sentry.issue.created"},
			not:   []string{"sentry.issue.resolved", "sentry.issue.created_again", "sentry.issue.create", "sentry.comment.created", ""},
		},
		"several names": {
			on:    triage.On("sentry.issue.created", "sentry.seer.pr_created"),
			wants: []string{"sentry.issue.created", "sentry.seer.pr_created"},
			not:   []string{"sentry.seer.created", "sentry.issue.pr_created"},
		},
		"every action of a resource": {
			on:    triage.On("sentry.issue.*"),
			wants: []string{"sentry.issue.created", "sentry.issue.added_next_year"},
			not:   []string{"sentry.issue_x.created", "sentry.issue", "sentry.comment.created", "other.issue.created"},
		},
		"every event": {
			on:    triage.On("sentry.*"),
			wants: []string{"sentry.issue.created", "sentry.release.added_next_year"},
			not:   []string{"sentry_x.issue.created", "sentry", "other.issue.created"},
		},
		"every event, both parts spelled out": {
			on:    triage.On("sentry.*.*"),
			wants: []string{"sentry.issue.created", "sentry.release.added_next_year"},
			not:   []string{"sentry_x.issue.created", "other.issue.created"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := triage.New("some_workflow", idle, tt.on)
			for _, event := range tt.wants {
				if !w.Wants(event) {
					t.Errorf("it does not want %s", event)
				}
			}
			for _, event := range tt.not {
				if w.Wants(event) {
					t.Errorf("it wants %s", event)
				}
			}
		})
	}
}

func TestNewRefusesAWrongDefinition(t *testing.T) {
	longest := strings.Repeat("a", triage.MaxName)
	good := triage.On("sentry.issue.created")

	for _, name := range []string{"triage_sentry_issue", "a", "log2", "on_2nd", longest} {
		t.Run("the name "+name+" is fine", func(t *testing.T) {
			if got := triage.New(name, idle, good).Name(); got != name {
				t.Errorf("Name = %q", got)
			}
		})
	}
	for _, name := range []string{
		"", "TriageIssue", "triageIssue", "triage-issue", "triage.issue", "triage:issue", "triage issue", "triage__issue",
		"_triage", "triage_", "2nd", "tri\u00e4ge", "triage\n", longest + "a",
	} {
		t.Run("the name "+name, func(t *testing.T) {
			panics(t, func() { triage.New(name, idle, good) })
		})
	}
	for _, event := range []string{
		"", "*", "*.*", "*.issue.created", "sentry", "sentry.", "sentry.issue", "sentry.issue.", "sentry.issue.created.", "sentry..created",
		"sentry.iss*", "sentry.issue.cre*", "sentry.issue*", "sentry*", "sentry.*.created", "sentry.**", "sentry.issue.**", "sentry.*.*.*",
		"sentry.issue.created.twice", "sentry.issue.*.*", "Sentry.issue.created", "sentry.Issue.created", "issue.created",
		" sentry.issue.created", "sentry.issue.created\n", "sentry.issue created",
	} {
		t.Run("the event "+event, func(t *testing.T) {
			panics(t, func() { triage.New("some_workflow", idle, triage.On("sentry.issue.created", event)) })
		})
	}
	t.Run("no event", func(t *testing.T) {
		panics(t, func() { triage.New("some_workflow", idle, triage.On()) })
	})
	t.Run("no function", func(t *testing.T) {
		panics(t, func() { triage.New[string]("some_workflow", nil, good) })
	})
}

func TestListRefusesANameTwice(t *testing.T) {
	one := triage.New("one", idle, triage.On("sentry.issue.created"))
	again := triage.New("one", idle, triage.On("sentry.comment.created"))
	two := triage.New("two", idle, triage.On("sentry.issue.created"))

	if list := triage.List(one, two); len(list) != 2 {
		t.Errorf("the list has %d", len(list))
	}
	says := panics(t, func() { triage.List(one, two, again) })
	if !regexp.MustCompile(`triage_test\.go:\d+ and .*triage_test\.go:\d+`).MatchString(says) {
		t.Errorf("it does not say where the two are: %s", says)
	}
}

// It can never match, and is what Sentry calls the event.
func TestNewRefusesAnEventThatArrivesUnderAnotherName(t *testing.T) {
	says := panics(t, func() { triage.New("on_archive", idle, triage.On("sentry.issue.archived")) })
	if !strings.Contains(says, "sentry.issue.ignored") {
		t.Errorf("it does not say which event to name: %s", says)
	}
}

func TestRegisterRefusesAnActivityNameTwice(t *testing.T) {
	c, err := client.NewLazyClient(client.Options{}) // never dials: nothing here calls it
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	newWorker := func() worker.Worker { return worker.New(c, "queue", worker.Options{}) }
	triage.Register(newWorker(), nil, &chat{}, upper)
	panics(t, func() { triage.Register(newWorker(), nil, &chat{}, upper, &mail{}) })
}

func TestRegisteredWorkflowAndActivitiesRunUnderTheirNames(t *testing.T) {
	w := triage.New("post_event", func(ctx workflow.Context, env sentry.Envelope) (string, error) {
		var c *chat // what a workflow has of it: only the method's name travels
		posted, err := triage.Do(ctx, c.Post, env.EventType)
		if err != nil {
			return "", err
		}
		return triage.Do(ctx, upper, posted)
	}, triage.On("sentry.issue.created"))

	e := environment(t)
	triage.Register(e, []triage.Workflow{w}, &chat{room: "#backend"}, upper)
	e.ExecuteWorkflow("post_event", sentry.Envelope{EventType: "sentry.issue.created"})

	var got string
	if err := e.GetWorkflowResult(&got); err != nil || got != "#BACKEND: SENTRY.ISSUE.CREATED" {
		t.Errorf("result = %q, %v", got, err)
	}
}

// chat is an outside system.
type chat struct{ room string }

func (c *chat) Post(_ context.Context, text string) (string, error) { return c.room + ": " + text, nil }

// mail is another one.
type mail struct{}

func (*mail) Post(_ context.Context, text string) (string, error) { return text, nil }

func upper(_ context.Context, text string) (string, error) { return strings.ToUpper(text), nil }

func TestLocalReturnsWhatTheActivityReturns(t *testing.T) {
	got := run(t, upper, local)
	if got.err != nil || got.out != "IN" {
		t.Errorf("Local = %q, %v", got.out, got.err)
	}
}

func TestLocalGivesUpAfterThreeAttempts(t *testing.T) {
	tries.reset(1000)
	got := run(t, tryLocally, local)
	if got.err == nil || tries.made() != 3 {
		t.Errorf("%d attempts, then %v", tries.made(), got.err)
	}
}

func TestLocalSucceedsAtTheThirdAttempt(t *testing.T) {
	tries.reset(2)
	got := run(t, tryLocally, local)
	if got.err != nil || got.out != "in" || tries.made() != 3 {
		t.Errorf("%d attempts, then %q, %v", tries.made(), got.out, got.err)
	}
}

// tries is what tryLocally does: Local takes no method.
var tries flaky

func tryLocally(ctx context.Context, in string) (string, error) { return tries.attempt(ctx, in) }

func TestDoRetriesUntilItSucceeds(t *testing.T) {
	f := flaky{failures: 10}
	got := run(t, f.attempt, do)
	if got.err != nil || got.out != "in" || f.made() != 11 {
		t.Errorf("%d attempts, then %q, %v", f.made(), got.out, got.err)
	}
	// 1 s doubles up to 5 minutes: 1+2+4+8+16+32+64+128+256+300.
	if want := 811 * time.Second; got.took != want {
		t.Errorf("it took %s, want %s", got.took, want)
	}
}

func TestDoOutlastsAnOutageOfADay(t *testing.T) {
	f := flaky{failures: 1000}
	got := run(t, f.attempt, do)
	if got.err == nil || got.took < 24*time.Hour || got.took > 25*time.Hour {
		t.Errorf("after %s and %d attempts: %v", got.took, f.made(), got.err)
	}
}

func TestDoTakesOtherLimits(t *testing.T) {
	f := flaky{failures: 1000}
	got := run(t, f.attempt, func(ctx workflow.Context, a step) (string, error) {
		return triage.Do(ctx, a, "in", triage.Attempts(3))
	})
	if got.err == nil || f.made() != 3 || got.took != 3*time.Second {
		t.Errorf("%d attempts in %s, then %v", f.made(), got.took, got.err)
	}
	f.reset(1000)
	if got = run(t, f.attempt, func(ctx workflow.Context, a step) (string, error) {
		return triage.Do(ctx, a, "in", triage.Attempts(1))
	}); got.err == nil || f.made() != 1 || got.took != 0 {
		t.Errorf("%d attempts in %s, then %v", f.made(), got.took, got.err)
	}
	got = run(t, timeouts, func(ctx workflow.Context, a step) (string, error) {
		return triage.Do(ctx, a, "in", triage.Attempts(3), triage.Timeout(5*time.Minute))
	})
	if want := "local false, an attempt 5m0s, in all " + noEnd; got.out != want || got.err != nil {
		t.Errorf("%q, %v; want %q", got.out, got.err, want)
	}
}

func TestDoStopsAtAnErrorThatIsNotRetryable(t *testing.T) {
	f := flaky{failures: 1000, final: true}
	got := run(t, f.attempt, do)
	var refused *temporal.ApplicationError
	if !errors.As(got.err, &refused) || refused.Type() != "Refused" || f.made() != 1 {
		t.Errorf("%d attempts, then %v", f.made(), got.err)
	}
}

func TestActivitiesRunUnderTheirTimeouts(t *testing.T) {
	for name, tt := range map[string]struct {
		call call
		want string
	}{
		"Local": {local, "local true, an attempt 2s, in all 5s"},
		"Do":    {do, "local false, an attempt 30s, in all " + noEnd},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(t, timeouts, tt.call); got.out != tt.want {
				t.Errorf("%q, %v; want %q", got.out, got.err, tt.want)
			}
		})
	}
}

// noEnd is ten years, within which each run of the test environment ends.
const noEnd = "87600h0m0s"

func timeouts(ctx context.Context, _ string) (string, error) {
	info := activity.GetInfo(ctx)
	return fmt.Sprintf("local %t, an attempt %s, in all %s", info.IsLocalActivity, info.StartToCloseTimeout, info.ScheduleToCloseTimeout), nil
}

// flaky is an activity that fails a few times, and counts its attempts.
type flaky struct {
	failures int32
	final    bool // the errors are not retryable
	count    atomic.Int32
}

func (f *flaky) reset(failures int32) {
	f.failures = failures
	f.count.Store(0)
}

func (f *flaky) made() int32 { return f.count.Load() }

func (f *flaky) attempt(_ context.Context, in string) (string, error) {
	switch n := f.count.Add(1); {
	case n > f.failures:
		return in, nil
	case f.final:
		return "", temporal.NewNonRetryableApplicationError("no such channel", "Refused", nil)
	}
	return "", errors.New("connection refused")
}

type (
	step func(context.Context, string) (string, error)
	call func(workflow.Context, step) (string, error)
)

func local(ctx workflow.Context, a step) (string, error) { return triage.Local(ctx, a, "in") }
func do(ctx workflow.Context, a step) (string, error)    { return triage.Do(ctx, a, "in") }

type outcome struct {
	out  string
	err  error
	took time.Duration // on the workflow's clock
}

// run returns what becomes of activity when a workflow calls it.
func run(t *testing.T, a step, call call) (got outcome) {
	t.Helper()
	w := triage.New("some_workflow", func(ctx workflow.Context, _ sentry.Envelope) (string, error) {
		start := workflow.Now(ctx)
		got.out, got.err = call(ctx, a)
		got.took = workflow.Now(ctx).Sub(start)
		return "", nil
	}, triage.On("sentry.issue.created"))
	e := environment(t)
	triage.Register(e, []triage.Workflow{w}, a)
	e.ExecuteWorkflow("some_workflow", sentry.Envelope{})
	if err := e.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	return got
}

func environment(t *testing.T) *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(t.Output(), nil))))
	return suite.NewTestWorkflowEnvironment()
}

// panics returns what f panics with.
func panics(t *testing.T, f func()) (says string) {
	t.Helper()
	defer func() {
		p := recover()
		if p == nil {
			t.Error("there was no panic")
		}
		says = fmt.Sprint(p)
	}()
	f()
	return ""
}

func TestActivitiesAreRepeatedAsDocumented(t *testing.T) {
	local := triage.LocalOptions().RetryPolicy
	if local.InitialInterval != 100*time.Millisecond || local.BackoffCoefficient != 2 || local.MaximumInterval != time.Second || local.MaximumAttempts != 3 {
		t.Errorf("Local repeats with %+v", local)
	}
	remote := triage.RemoteOptions().RetryPolicy
	if remote.InitialInterval != time.Second || remote.BackoffCoefficient != 2 || remote.MaximumInterval != 5*time.Minute || remote.MaximumAttempts != 300 {
		t.Errorf("Do repeats with %+v", remote)
	}
}
