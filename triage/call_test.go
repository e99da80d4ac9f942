package triage_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

// here is the place of the line that calls it, as errors name it.
func here() string {
	_, _, line, _ := runtime.Caller(1)
	return fmt.Sprintf("sentry-temporal/triage_test/call_test.go:%d: ", line)
}

func TestACallThatCannotWorkFailsTheRunAndSaysWhere(t *testing.T) {
	var place string
	var c *chat
	for name, tt := range map[string]struct {
		call   call
		naming string
	}{
		"Local with a method": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Local(ctx, c.Post, "in") // the line below that of here
		}, "(*chat).Post"},
		"Local with a method of a value": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Local(ctx, room("a").Enter, "in")
		}, "room.Enter"},
		"Local with a function literal": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Local(ctx, func(context.Context, string) (string, error) { return "", nil }, "in")
		}, "func"},
		"Local with an instance of a generic function": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Local(ctx, generic[string], "in")
		}, "generic"},
		"Local with nothing": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Local[string, string](ctx, nil, "in")
		}, "nil"},
		"Do with nothing": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Do[string, string](ctx, nil, "in")
		}, "no activity"},
		"Do with what is not registered": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Do(ctx, c.Post, "in")
		}, "Post is not registered"},
		"Do without an attempt": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Do(ctx, upper, "in", triage.Attempts(0))
		}, "attempts"},
		"Do without a time": {func(ctx workflow.Context, _ step) (string, error) {
			place = here()
			return triage.Do(ctx, upper, "in", triage.Timeout(0))
		}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			took, err := runToEnd(t, func(ctx workflow.Context) error {
				_, err := tt.call(ctx, nil)
				return err
			})
			file, line, _ := strings.Cut(strings.TrimSuffix(place, ": "), ".go:")
			var n int
			if _, scanErr := fmt.Sscan(line, &n); scanErr != nil {
				t.Fatal(scanErr)
			}
			if want := fmt.Sprintf("%s.go:%d: ", file, n+1); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), tt.naming) {
				t.Errorf("the run's error is %v, want one that names %s and %s", err, want, tt.naming)
			}
			kind := "Mistake"
			if strings.Contains(tt.naming, "registered") {
				kind = "NotRegistered"
			}
			if wrong, ok := errors.AsType[*temporal.ApplicationError](err); !ok || wrong.Type() != kind || !wrong.NonRetryable() {
				t.Errorf("the run's error is of another type: %#v", err)
			}
			if took != 0 {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// What a run does after an error that it passes over, it must not do after a mistake.
func TestAMistakeEndsTheRunAtTheCall(t *testing.T) {
	var c *chat
	went, tidied := false, false
	_, err := runToEnd(t, func(ctx workflow.Context) error {
		defer func() { tidied = true }()
		_, _ = triage.Do(ctx, c.Post, "in")
		went = true
		return nil
	})
	if err == nil || went || !tidied {
		t.Errorf("it went on: %t, it tidied up: %t; the run's error is %v", went, tidied, err)
	}
}

// A panic in a coroutine would hold the run up for ever.
func TestAMistakeInACoroutineFailsTheRunInTheEnd(t *testing.T) {
	var c *chat
	var got error
	_, err := runToEnd(t, func(ctx workflow.Context) error {
		group := workflow.NewWaitGroup(ctx)
		group.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer group.Done()
			_, got = triage.Do(ctx, c.Post, "in")
		})
		group.Wait(ctx)
		return nil
	})
	if err == nil || got == nil || err.Error() == "" {
		t.Errorf("the call's error is %v, the run's %v", got, err)
	}
}

// A panic that is no mistake is not taken for one.
func TestAPanicOfAnotherKindStaysOne(t *testing.T) {
	_, err := runToEnd(t, func(workflow.Context) error { panic("a bug") })
	if p, ok := errors.AsType[*temporal.PanicError](err); !ok || !strings.Contains(p.StackTrace(), "TestAPanicOfAnotherKindStaysOne") {
		t.Errorf("the run's error is %v", err)
	}
}

// While a release is rolled out, the worker that runs the workflow may know an
// activity that the one which gets the call does not know yet.
func TestACallOfWhatTheCallerKnowsIsRepeated(t *testing.T) {
	var c *chat
	for name, a := range map[string]step{"a method": c.Post, "a function": lower} {
		t.Run(name, func(t *testing.T) {
			took, err := runToEnd(t, func(ctx workflow.Context) error {
				_, err := triage.Do(ctx, a, "in", triage.Attempts(3))
				return err
			}, &chat{}, lower)
			if _, ok := errors.AsType[*temporal.ActivityError](err); !ok || took != 3*time.Second {
				t.Errorf("after %s: %v", took, err)
			}
		})
	}
}

func lower(_ context.Context, text string) (string, error) { return strings.ToLower(text), nil }

// runToEnd returns what becomes of a run on a worker that has only upper registered,
// and took known to be.
func runToEnd(t *testing.T, run func(workflow.Context) error, known ...any) (took time.Duration, err error) {
	t.Helper()
	w := triage.New("some_workflow", func(ctx workflow.Context, _ triage.Envelope) (string, error) {
		start := workflow.Now(ctx)
		defer func() { took = workflow.Now(ctx).Sub(start) }()
		return "", run(ctx)
	}, triage.On("sentry.issue.created"))
	e := environment(t)
	known = append(known, upper)
	e.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor(known...)}})
	triage.Register(e, []triage.Workflow{w}, upper)
	e.ExecuteWorkflow("some_workflow", triage.Envelope{})
	return took, e.GetWorkflowError()
}

type room string

func (room) Enter(_ context.Context, text string) (string, error) { return text, nil }

func generic[T any](_ context.Context, in T) (T, error) { return in, nil }
