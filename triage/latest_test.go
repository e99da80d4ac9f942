package triage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

var day = time.Date(2026, 3, 17, 10, 0, 0, 0, time.UTC)

func TestOfTwoStatesTheLaterOneIsNewer(t *testing.T) {
	open := triage.State{Name: "open", At: day}
	for name, tt := range map[string]struct {
		s    triage.State
		want bool
	}{
		"later":                                {triage.State{Name: "open", At: day.Add(time.Second)}, true},
		"earlier":                              {triage.State{Name: "resolved", At: day.Add(-time.Second)}, false},
		"the same":                             {open, false},
		"within the second, by name":           {triage.State{Name: "resolved", At: day}, true},
		"within the second, by name all alike": {triage.State{Name: "new", At: day.Add(999 * time.Millisecond)}, false},
		"within the second, by no fraction":    {triage.State{Name: "open", At: day.Add(999 * time.Millisecond)}, false},
		"than none":                            {open, false},
	} {
		if got := tt.s.After(open); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !open.After(triage.State{}) {
		t.Error("none is as new as one")
	}
}

// noting is the workflow that keeps states, with what is noted at which time after its
// start. It returns what each note was answered.
func noting(t *testing.T, e *testsuite.TestWorkflowEnvironment, notes map[time.Duration]triage.State) map[time.Duration]triage.State {
	t.Helper()
	triage.RegisterWorkflows(e, nil)
	answers := map[time.Duration]triage.State{}
	for after, note := range notes {
		e.RegisterDelayedCallback(func() {
			e.UpdateWorkflow("note", "", &testsuite.TestUpdateCallback{
				OnAccept: func() {},
				OnReject: func(err error) { t.Errorf("a note is refused: %v", err) },
				OnComplete: func(answer any, err error) {
					s, ok := answer.(triage.State)
					if err != nil || !ok {
						t.Errorf("a note is answered %v, %v", answer, err)
					}
					answers[after] = s
				},
			}, note)
		}, after)
	}
	return answers
}

func TestTheNewestStateIsKeptUntilNobodyAsksForTwoDays(t *testing.T) {
	e := environment(t)
	const late = 47 * time.Hour
	resolved := triage.State{Name: "resolved", At: day.Add(time.Minute)}
	open, again := triage.State{Name: "open", At: day}, triage.State{Name: "open", At: day.Add(time.Hour)}
	answers := noting(t, e, map[time.Duration]triage.State{0: resolved, time.Hour: open, late: open, 2 * late: again})
	began := e.Now()
	e.ExecuteWorkflow(triage.LatestType, triage.State{})
	var kept triage.State
	if err := e.GetWorkflowResult(&kept); err != nil || kept != again {
		t.Errorf("kept is %+v, %v", kept, err)
	}
	if took := e.Now().Sub(began); took != 2*late+48*time.Hour {
		t.Errorf("it ended after %s", took)
	}
	if answers[0] != resolved || answers[time.Hour] != resolved || answers[late] != resolved || answers[2*late] != again {
		t.Errorf("answered is %+v", answers)
	}
}

func TestAStateOutlivesALongHistory(t *testing.T) {
	e := environment(t)
	resolved := triage.State{Name: "resolved", At: day}
	noting(t, e, map[time.Duration]triage.State{time.Hour: resolved})
	e.RegisterDelayedCallback(func() { e.SetContinueAsNewSuggested(true) }, 30*time.Minute)
	e.ExecuteWorkflow(triage.LatestType, triage.State{})
	again, ok := errors.AsType[*workflow.ContinueAsNewError](e.GetWorkflowError())
	if !ok {
		t.Fatalf("it ended with %v", e.GetWorkflowError())
	}
	var kept triage.State
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &kept); err != nil || kept != resolved || again.WorkflowType.Name != triage.LatestType {
		t.Errorf("it goes on with %+v, %v", kept, err)
	}
}

func TestANoteThatSaysNothingFailsTheRunAndSaysWhere(t *testing.T) {
	for name, tt := range map[string]struct {
		key string
		s   triage.State
	}{
		"no key":     {"", triage.State{Name: "open", At: day}},
		"a long key": {strings.Repeat("k", 201), triage.State{Name: "open", At: day}},
		"no name":    {"key", triage.State{At: day}},
		"a long one": {"key", triage.State{Name: strings.Repeat("n", 201), At: day}},
		"no time":    {"key", triage.State{Name: "open"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runToEnd(t, func(ctx workflow.Context) error {
				_, err := triage.Latest(ctx, tt.key, tt.s)
				return err
			})
			if err == nil || !strings.Contains(err.Error(), "triage.Latest") || !strings.Contains(err.Error(), "latest_test.go:") {
				t.Errorf("the run's error is %v", err)
			}
		})
	}
}

func TestTheIDOfWhatKeepsAStateFitsWhateverTheQueueIsCalled(t *testing.T) {
	long := triage.LatestID(strings.Repeat("q", 1000), strings.Repeat("k", 200))
	if len(long) > 255 || !strings.HasPrefix(long, "latest:kkk") {
		t.Errorf("%d bytes: %s", len(long), long)
	}
	if triage.LatestID("a", "k") == triage.LatestID("b", "k") {
		t.Error("two queues share one, which the workers of the one may leave for ever")
	}
}

func TestACallEndsInTheTimeThatItHas(t *testing.T) {
	slow := func(ctx workflow.Context, limits ...triage.Limit) (time.Duration, error) {
		began := workflow.Now(ctx)
		_, err := triage.Do(ctx, lower, "in", limits...)
		return workflow.Now(ctx).Sub(began), err
	}
	var took time.Duration
	_, err := runToEnd(t, func(ctx workflow.Context) (err error) {
		took, err = slow(ctx, triage.Within(10*time.Second))
		return err
	}, lower)
	if err == nil || took > 10*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	_, err = runToEnd(t, func(ctx workflow.Context) error {
		_, err := slow(ctx, triage.Within(0))
		return err
	}, lower)
	if err == nil || !strings.Contains(err.Error(), "latest_test.go:") {
		t.Errorf("no time at all: %v", err)
	}
}

// A team's activities do not hide it, nor it theirs.
func TestTheActivityOfLatestIsRegisteredWithEveryWorker(t *testing.T) {
	e := environment(t)
	called := false
	w := triage.New("asks", func(ctx workflow.Context, _ triage.Envelope) (triage.State, error) {
		return triage.Latest(ctx, "key", triage.State{Name: "open", At: day})
	}, triage.On("sentry.issue.created"))
	triage.Register(e, []triage.Workflow{w})
	e.OnActivity(triage.LatestType, mock.Anything, mock.Anything).Return(func(_ context.Context, n triage.Note) (triage.State, error) {
		called = n.Key == "key"
		return n.State, nil
	})
	e.ExecuteWorkflow("asks", triage.Envelope{})
	if err := e.GetWorkflowError(); err != nil || !called {
		t.Errorf("called: %t, %v", called, err)
	}
}
