package triage_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
)

// In the tests here a condition has its time however much else the machine does:
// they are in a synctest bubble, whose time passes only when all wait.

// when is a workflow with a condition.
func when(holds func(triage.Delivery) bool) *triage.Definition[string] {
	return triage.New("some_workflow", idle, triage.On("sentry.issue.created"), triage.When(holds))
}

func TestAConditionSeesTheDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := when(func(d triage.Delivery) bool { return d.IssueID == "1" && d.Field("data.issue.lastSeen") != "" })
		for issue, want := range map[string]bool{"1": true, "2": false} {
			if got, err := w.Accepts(about(issue, "2026-11-25T12:34:56Z")); got != want || err != nil {
				t.Errorf("issue %s: %t, %v", issue, got, err)
			}
		}
		if got, err := triage.New("some_workflow", idle, triage.On("sentry.issue.created")).Accepts(triage.Delivery{}); !got || err != nil {
			t.Errorf("without a condition: %t, %v", got, err)
		}
	})
}

func TestAConditionThatPanicsHoldsAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := when(func(triage.Delivery) bool { panic("no such project") })
		for range 10 { // none is used up
			if got, err := w.Accepts(triage.Delivery{}); !got || err == nil || !strings.Contains(err.Error(), "no such project") {
				t.Errorf("it says %t, %v", got, err)
			}
		}
	})
}

func TestAConditionThatIsTooSlowHoldsAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := when(func(triage.Delivery) bool { <-time.After(101 * time.Millisecond); return false })
		start := time.Now()
		got, err := w.Accepts(triage.Delivery{})
		if took := time.Since(start); !got || err == nil || !strings.Contains(err.Error(), "100ms") || took != 100*time.Millisecond {
			t.Errorf("after %s it says %t, %v", took, got, err)
		}
		<-time.After(time.Second) // it ends
	})
	synctest.Test(t, func(t *testing.T) {
		w := when(func(triage.Delivery) bool { <-time.After(99 * time.Millisecond); return false })
		if got, err := w.Accepts(triage.Delivery{}); got || err != nil {
			t.Errorf("one that is just quick enough says %t, %v", got, err)
		}
	})
}

func TestAConditionThatNeverEndsTakesNoMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		hangs := when(func(triage.Delivery) bool { <-end; return false })
		before := runtime.NumGoroutine()
		for range 20 {
			if got, err := hangs.Accepts(triage.Delivery{}); !got || err == nil {
				t.Errorf("it says %t, %v", got, err)
			}
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 4 {
			t.Errorf("%d goroutines are left", n)
		}
		if got, err := when(func(triage.Delivery) bool { return false }).Accepts(triage.Delivery{}); got || err != nil {
			t.Errorf("the condition of another workflow says %t, %v", got, err)
		}
		close(end)
		synctest.Wait()
		if got, err := hangs.Accepts(triage.Delivery{}); got || err != nil {
			t.Errorf("when it ends after all, it says %t, %v", got, err)
		}
	})
}

func TestNobodyWaitsForAConditionThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := when(func(triage.Delivery) bool { <-release; return false })
		took := func(n int) time.Duration {
			began := time.Now()
			for range n {
				if holds, err := w.Accepts(triage.Delivery{}); !holds || err == nil {
					t.Errorf("it says %t, %v", holds, err)
				}
			}
			return time.Since(began)
		}
		if d := took(4); d != 400*time.Millisecond {
			t.Errorf("four were waited for in %s", d)
		}
		if d := took(1000); d != 0 {
			t.Errorf("when none of them has ended, a thousand more were waited for in %s", d)
		}
		close(release)
		synctest.Wait()
		if holds, err := w.Accepts(triage.Delivery{}); holds || err != nil {
			t.Errorf("once all have ended it says %t, %v", holds, err)
		}
	})
}

// One that is slow has as many evaluations at once as ever, however long that goes on.
func TestALateAnswerFreesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := true
		w := when(func(triage.Delivery) bool {
			if slow {
				<-time.After(150 * time.Millisecond)
			}
			return false
		})
		for range 20 {
			if holds, err := w.Accepts(triage.Delivery{}); !holds || err == nil {
				t.Errorf("it says %t, %v", holds, err)
			}
		}
		synctest.Wait()
		<-time.After(time.Second)
		slow = false
		if holds, err := w.Accepts(triage.Delivery{}); holds || err != nil {
			t.Errorf("it says %t, %v", holds, err)
		}
	})
}

func TestManyMayAskAQuickConditionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := when(func(triage.Delivery) bool { <-time.After(time.Millisecond); return false })
		var asking sync.WaitGroup
		for range 64 {
			asking.Go(func() {
				if holds, err := w.Accepts(triage.Delivery{}); holds || err != nil {
					t.Errorf("it says %t, %v", holds, err)
				}
			})
		}
		asking.Wait()
	})
}

func TestLittleIsToldOfAPanicInACondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := when(func(triage.Delivery) bool { panic("a bug\n" + strings.Repeat("x", 1<<20)) })
		holds, err := w.Accepts(triage.Delivery{})
		if !holds || err == nil {
			t.Fatalf("it says %t, %v", holds, err)
		}
		if text := err.Error(); len(text) > 400 || strings.Contains(text, "\n") || !strings.Contains(text, "a bug") {
			t.Errorf("%d bytes are told: %.80q", len(text), text)
		}
	})
}

func TestWhenNeedsAFunction(t *testing.T) {
	panics(t, func() { triage.When(nil) })
}

func TestAnOptionThatIsThereTwiceIsRefused(t *testing.T) {
	on, holds := triage.On("sentry.issue.created"), func(triage.Delivery) bool { return true }
	hourly := triage.Key(triage.PerIssue(time.Hour))
	for name, options := range map[string][]triage.Option{
		"On":   {on, on},
		"When": {on, triage.When(holds), triage.When(holds)},
		"Key":  {on, hourly, hourly},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p, ok := recover().(string); !ok || !strings.Contains(p, name) || !strings.Contains(p, "some_workflow") {
					t.Errorf("the panic is %q", p)
				}
			}()
			triage.New("some_workflow", idle, options...)
		})
	}
	triage.New("some_workflow", idle, on, triage.When(holds), hourly)
}

// What started it could not ask: for a workflow that is not compiled in.
func TestARunAsksItsConditionItselfIfItIsToldTo(t *testing.T) {
	ran := func(workflow.Context, triage.Envelope) (string, error) { return "ran", nil }
	fatal := triage.When(func(d triage.Delivery) bool { return d.Level == "fatal" })
	on := triage.On("sentry.issue.created")
	for name, tt := range map[string]struct {
		options []triage.Option
		body    string
		asks    bool
		want    string // what the result has
	}{
		"it holds":                  {[]triage.Option{on, fatal}, `{"data":{"issue":{"level":"fatal"}}}`, true, "ran"},
		"it does not":               {[]triage.Option{on, fatal}, `{"data":{"issue":{"level":"info"}}}`, true, "the condition of some_workflow does not hold"},
		"it does not, and is known": {[]triage.Option{on, fatal}, `{"data":{"issue":{"level":"info"}}}`, false, "ran"},
		"there is none":             {[]triage.Option{on}, `{}`, true, "ran"},
		"it panics":                 {[]triage.Option{on, triage.When(func(triage.Delivery) bool { panic("no") })}, `{}`, true, "ran"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logged bytes.Buffer
				var suite testsuite.WorkflowTestSuite
				suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&logged, nil))))
				e := suite.NewTestWorkflowEnvironment()
				triage.Register(e, []triage.Workflow{triage.New("some_workflow", ran, tt.options...)})
				if tt.asks {
					if err := e.SetMemoOnStart(map[string]any{triage.MemoCondition: true}); err != nil {
						t.Fatal(err)
					}
				}
				env := triage.Envelope{EventType: "sentry.issue.created"}
				if err := env.Body.UnmarshalJSON([]byte(tt.body)); err != nil {
					t.Fatal(err)
				}
				e.ExecuteWorkflow("some_workflow", env)
				var got any
				if err := e.GetWorkflowResult(&got); err != nil {
					t.Fatal(err)
				}
				text, _ := got.(string)
				if skipped, ok := got.(map[string]any); ok {
					text, _ = skipped["skipped"].(string)
				}
				if text != tt.want {
					t.Errorf("the result is %v, want %s", got, tt.want)
				}
				if said := strings.Contains(logged.String(), "condition is not known"); said != (name == "it panics") {
					t.Errorf("logged is %s", logged.String())
				}
			})
		})
	}
}

// Whatever its condition says by now.
func TestARunThatContinuesAsNewDoesNotAskAgain(t *testing.T) {
	w := triage.New("some_workflow", func(workflow.Context, triage.Envelope) (string, error) { return "ran", nil },
		triage.On("sentry.issue.created"), triage.When(func(triage.Delivery) bool { return false }))
	for name, want := range map[string]string{"": "does not hold", "the-run-before": "ran"} {
		e := environment(t)
		triage.Register(e, []triage.Workflow{w})
		if err := e.SetMemoOnStart(map[string]any{triage.MemoCondition: true}); err != nil {
			t.Fatal(err)
		}
		e.SetContinuedExecutionRunID(name)
		e.ExecuteWorkflow("some_workflow", triage.Envelope{EventType: "sentry.issue.created"})
		var got any
		if err := e.GetWorkflowResult(&got); err != nil || !strings.Contains(fmt.Sprint(got), want) {
			t.Errorf("after %q the result is %v, %v", name, got, err)
		}
	}
}
