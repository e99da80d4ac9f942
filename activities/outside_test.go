package activities_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
)

// effect is an activity of an outside system, as the test of all of them needs it. Each
// system's own test file adds its own to effects, in an init function.
type effect struct {
	name     string
	variable string // of the credential
	// serve starts a stand-in, and returns what reaches it.
	serve func(t *testing.T) served
	// do calls the activity in a workflow.
	do func(ctx workflow.Context) error
	// once says that the recipe promises one effect even if an answer is lost after it.
	once bool
	// late says that it promises so even if the effect comes after the next attempt has looked.
	late bool
	// reads says that it has no effect.
	reads bool
	// path is of the request that has the effect, for [standin.Fault].
	path string
}

// served is a stand-in as an effect's test needs it.
type served struct {
	*standin.Server
	cfg     config.Outside
	effects func() int // how many there are by now, by key
}

var effects []effect

// secrets are what the stand-ins of all effects take, and what must be seen nowhere else.
const secretPart = "s3cr3tpart"

// outcome is what a run of an activity came to.
type outcome struct {
	err      error
	attempts []error // those that failed
	waited   time.Duration
}

// run calls an activity in a workflow, while time is skipped.
func (e effect) run(t *testing.T, cfg config.Outside) outcome {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	systems := &outside.Systems{Outside: cfg, Client: outside.NewClient(), Pages: map[string]string{"sentry": "https://temporal.example"}}
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: outside.With(context.Background(), systems)})
	for _, a := range everyActivity() {
		env.RegisterActivity(a)
	}
	var o outcome
	var mu sync.Mutex
	env.SetOnActivityCompletedListener(func(_ *activity.Info, _ converter.EncodedValue, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			o.attempts = append(o.attempts, err)
		}
	})
	began := env.Now()
	env.ExecuteWorkflow(func(ctx workflow.Context) error { return e.do(ctx) })
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow did not complete")
	}
	o.err, o.waited = env.GetWorkflowError(), env.Now().Sub(began)
	return o
}

func everyActivity() []any {
	return []any{&activities.Sentry{}, &activities.Slack{}, &activities.PagerDuty{}, &activities.GitHub{}, &activities.Webhook{}}
}

// What holds for every activity of an outside system.
func TestEveryEffect(t *testing.T) {
	if len(effects) == 0 {
		t.Fatal("there are none")
	}
	for _, e := range effects {
		t.Run(e.name, func(t *testing.T) { e.test(t) })
	}
}

func (e effect) test(t *testing.T) {
	one := func(served) int { // how many effects there are to be
		if e.reads {
			return 0
		}
		return 1
	}
	check := func(t *testing.T, s served, o outcome, effects int) {
		t.Helper()
		if got := s.effects(); got != effects {
			t.Errorf("there are %d effects, not %d; the run ended with %v", got, effects, o.err)
		}
		texts := []string{}
		for _, err := range append(slices.Clone(o.attempts), o.err) {
			if err != nil {
				texts = append(texts, err.Error())
			}
		}
		if all := strings.Join(texts, "\n"); strings.Contains(all, secretPart) {
			t.Errorf("a secret is in the errors: %s", all)
		}
	}
	succeed := func(t *testing.T, o outcome) {
		t.Helper()
		if o.err != nil {
			t.Errorf("the run failed: %v", o.err)
		}
	}
	t.Run("has one effect", func(t *testing.T) {
		s := e.serve(t)
		o := e.run(t, s.cfg)
		succeed(t, o)
		check(t, s, o, one(s))
	})
	t.Run("two answers 500, then success", func(t *testing.T) {
		s := e.serve(t)
		s.Fail(standin.Fault{Path: e.path, Times: 2, Status: http.StatusInternalServerError})
		o := e.run(t, s.cfg)
		if e.once || e.reads {
			succeed(t, o)
			check(t, s, o, one(s))
		} else {
			check(t, s, o, s.effects())
		}
	})
	for name, fault := range map[string]standin.Fault{
		"the answer is lost after the effect":   {After: true, Cut: true},
		"500 after the effect":                  {After: true, Status: http.StatusInternalServerError},
		"HTML after the effect":                 {After: true, Status: http.StatusOK, Body: "<html>hello</html>"},
		"an endless answer after the effect":    {After: true, Endless: true},
		"the effect comes later than no answer": {Late: time.Second, Cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := e.serve(t)
			fault.Path = e.path
			s.Fail(fault)
			o := e.run(t, s.cfg)
			if (e.once && (e.late || fault.Late == 0)) || e.reads {
				succeed(t, o)
				check(t, s, o, one(s))
				return
			}
			check(t, s, o, s.effects())
		})
	}
	t.Run("429 waits as told", func(t *testing.T) {
		s := e.serve(t)
		s.Fail(standin.Fault{Path: e.path, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"600"}}})
		o := e.run(t, s.cfg)
		succeed(t, o)
		check(t, s, o, one(s))
		if o.waited < 10*time.Minute || o.waited > 11*time.Minute {
			t.Errorf("it waited %s", o.waited)
		}
	})
	t.Run("401 is final and names the variable", func(t *testing.T) {
		s := e.serve(t)
		s.Fail(standin.Fault{Path: e.path, Times: -1, Status: http.StatusUnauthorized})
		o := e.run(t, s.cfg)
		check(t, s, o, 0)
		if o.err == nil || !strings.Contains(o.err.Error(), e.variable) || o.waited > time.Second {
			t.Errorf("after %s the error is %v", o.waited, o.err)
		}
	})
	t.Run("a redirect is not followed", func(t *testing.T) {
		s := e.serve(t)
		reached := make(chan string, 10)
		elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.URL.Path }))
		defer elsewhere.Close()
		s.Fail(standin.Fault{Path: e.path, Times: -1, Redirect: elsewhere.URL})
		o := e.run(t, s.cfg)
		check(t, s, o, 0)
		if o.err == nil || len(reached) > 0 {
			t.Errorf("it was followed %d times; the error is %v", len(reached), o.err)
		}
	})
	t.Run("without its credential it is final and names the variable", func(t *testing.T) {
		s := e.serve(t)
		s.cfg.Secret = func(string) (config.Secret, error) { return "", config.ErrNotSet }
		o := e.run(t, s.cfg)
		check(t, s, o, 0)
		if o.err == nil || !strings.Contains(o.err.Error(), e.variable) || o.waited > time.Second {
			t.Errorf("after %s the error is %v", o.waited, o.err)
		}
	})
	t.Run("nobody listens for a while", func(t *testing.T) {
		s := e.serve(t)
		s.Fail(standin.Fault{Path: e.path, Times: 20, Status: http.StatusTooManyRequests})
		o := e.run(t, s.cfg)
		succeed(t, o)
		check(t, s, o, one(s))
	})
}
