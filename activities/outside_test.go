package activities_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
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
	// local says that do uses what serve has left in this process.
	local bool
	// path is of the request that has the effect, for [standin.Fault].
	path string
	// killed has the worker be gone after the first attempt, before it tells what came of it.
	killed bool
}

// served is a stand-in as an effect's test needs it.
type served struct {
	*standin.Server
	cfg     config.Outside
	effects func() int         // how many there are by now, by key
	after   func(t *testing.T) // what else holds on a real server; nil: nothing
}

var effects []effect

// secrets are what the stand-ins of all effects take, and what must be seen nowhere else.
const secretPart = "s3cr3tpart"

// outcome is what a run of an activity came to.
type outcome struct {
	err      error
	attempts int
	waited   time.Duration
	seen     string // all that is in the log, in errors, inputs and results
}

// run calls an activity in a workflow, while time is skipped.
func (e effect) run(t *testing.T, cfg config.Outside) outcome {
	t.Helper()
	return e.runWithin(t, cfg, outside.Timeout)
}

// runWithin is like run, with requests that may take so long.
func (e effect) runWithin(t *testing.T, cfg config.Outside, patience time.Duration) outcome {
	t.Helper()
	var seen safeBuffer
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&seen, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetDataConverter(recorder{converter.GetDefaultDataConverter(), &seen})
	systems := &outside.Systems{
		Outside: cfg, Client: outside.NewClientWithin(patience), Pages: map[string]string{"sentry": "https://temporal.example"},
		Destinations: func() (*destinations.Table, error) { return destinations.None(), nil },
	}
	attempts := &attempts{now: env.Now, seen: &seen, lose: e.killed}
	env.SetWorkerOptions(worker.Options{
		BackgroundActivityContext: outside.With(context.Background(), systems),
		Interceptors:              []interceptor.WorkerInterceptor{attempts},
	})
	for _, a := range everyActivity() {
		env.RegisterActivity(a)
	}
	var o outcome
	began := env.Now()
	env.ExecuteWorkflow(func(ctx workflow.Context) error { return e.do(ctx) })
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow did not complete")
	}
	o.err, o.waited = env.GetWorkflowError(), env.Now().Sub(began)
	fmt.Fprintln(&seen, o.err)
	o.seen, o.attempts = seen.String(), attempts.n
	return o
}

// patience is how long a request may take that gets no answer: less than in earnest.
const patience = 300 * time.Millisecond

// attempts sees those of all activities. It has them know when they were scheduled first,
// as on a server: where time is skipped, each attempt seems to be the first.
type attempts struct {
	interceptor.WorkerInterceptorBase
	now  func() time.Time
	seen io.Writer

	mu    sync.Mutex
	n     int
	lose  bool                 // what the first attempt came to
	first map[string]time.Time // by activity ID
}

func (a *attempts) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &inbound{interceptor.ActivityInboundInterceptorBase{Next: next}, a}
}

type inbound struct {
	interceptor.ActivityInboundInterceptorBase
	*attempts
}

func (i *inbound) Init(next interceptor.ActivityOutboundInterceptor) error {
	return i.Next.Init(&outbound{interceptor.ActivityOutboundInterceptorBase{Next: next}, i.attempts})
}

func (i *inbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	activity.GetInfo(ctx) // notes when it was scheduled
	result, err := i.Next.ExecuteActivity(ctx, in)
	fmt.Fprintln(i.seen, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.n++
	if i.lose && i.n == 1 {
		return nil, temporal.NewApplicationError("the worker is gone", "Gone")
	}
	return result, err
}

type outbound struct {
	interceptor.ActivityOutboundInterceptorBase
	*attempts
}

func (o *outbound) GetInfo(ctx context.Context) activity.Info {
	info := o.Next.GetInfo(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first == nil {
		o.first = map[string]time.Time{}
	}
	if _, ok := o.first[info.ActivityID]; !ok {
		o.first[info.ActivityID] = o.now()
	}
	info.ScheduledTime = time.Now().Add(-o.now().Sub(o.first[info.ActivityID]))
	return info
}

// recorder writes down what is to be in a history.
type recorder struct {
	converter.DataConverter
	to io.Writer
}

func (r recorder) ToPayload(value any) (*commonpb.Payload, error) {
	payload, err := r.DataConverter.ToPayload(value)
	fmt.Fprintf(r.to, "%s\n", payload.GetData())
	return payload, err
}

func (r recorder) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	payloads, err := r.DataConverter.ToPayloads(values...)
	for _, payload := range payloads.GetPayloads() {
		fmt.Fprintf(r.to, "%s\n", payload.GetData())
	}
	return payloads, err
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
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
		s.Settle()
		if got := s.effects(); got != effects && effects >= 0 {
			t.Errorf("there are %d effects, not %d; the run ended with %v", got, effects, o.err)
		}
		if _, after, found := strings.Cut(o.seen, secretPart); found {
			t.Errorf("a secret is in what can be seen, before %.100q", after)
		}
		if o.attempts == 0 || !strings.Contains(o.seen, "\n") {
			t.Error("nothing was done")
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
			check(t, s, o, -1)
		}
	})
	for name, fault := range map[string]standin.Fault{
		"the answer is lost after the effect":   {After: true, Cut: true},
		"500 after the effect":                  {After: true, Status: http.StatusInternalServerError},
		"HTML after the effect":                 {After: true, Status: http.StatusOK, Body: "<html>hello</html>"},
		"an endless answer after the effect":    {After: true, Endless: true},
		"no answer in time after the effect":    {After: true, Hang: true},
		"the effect comes later than no answer": {Late: patience, Cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := e.serve(t)
			fault.Path = e.path
			within := outside.Timeout
			if fault.Hang {
				within = patience
			}
			s.Fail(fault)
			o := e.runWithin(t, s.cfg, within)
			if (e.once && (e.late || fault.Late == 0)) || e.reads {
				succeed(t, o)
				check(t, s, o, one(s))
				return
			}
			check(t, s, o, -1)
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
	t.Run("a refusal that repeats what it was sent is final", func(t *testing.T) {
		s := e.serve(t)
		secret, err := s.cfg.Secret(e.variable)
		if err != nil {
			t.Fatal(err)
		}
		said := "no " + secret.Reveal() + " here"
		body, err := json.Marshal(map[string]any{"message": said, "error": said, "detail": said, "errors": []any{said, map[string]string{"message": said}}})
		if err != nil {
			t.Fatal(err)
		}
		s.Fail(standin.Fault{Path: e.path, Times: -1, Status: http.StatusBadRequest, Body: string(body)})
		o := e.run(t, s.cfg)
		check(t, s, o, 0)
		if o.err == nil || o.waited > time.Second {
			t.Errorf("after %s the error is %v", o.waited, o.err)
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
	t.Run("a file that has no credential for a moment is read again", func(t *testing.T) {
		s := e.serve(t)
		secret, reads := s.cfg.Secret, atomic.Int32{}
		s.cfg.Secret = func(variable string) (config.Secret, error) {
			if reads.Add(1) <= 2 {
				return "", fmt.Errorf("is empty: %w", config.ErrFile)
			}
			return secret(variable)
		}
		o := e.run(t, s.cfg)
		succeed(t, o)
		check(t, s, o, one(s))
		if o.attempts != 3 {
			t.Errorf("there are %d attempts", o.attempts)
		}
	})
	t.Run("nobody listens for a while", func(t *testing.T) {
		s := e.serve(t)
		s.Fail(standin.Fault{Path: e.path, Times: 20, Status: http.StatusTooManyRequests})
		o := e.run(t, s.cfg)
		succeed(t, o)
		check(t, s, o, one(s))
	})
	t.Run("a second that is said for hours does not use up the attempts of a day", func(t *testing.T) {
		s := e.serve(t)
		s.Fail(standin.Fault{Path: e.path, Times: 20, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}})
		o := e.run(t, s.cfg)
		succeed(t, o)
		check(t, s, o, one(s))
		if o.waited < 30*time.Minute {
			t.Errorf("it waited %s for %d attempts", o.waited, o.attempts)
		}
	})
}
