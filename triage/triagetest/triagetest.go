// Package triagetest runs triage workflows on payloads, with the activities that
// reach outside replaced. [Run] and [Deliver] take milliseconds and no server;
// [History] keeps what runs have done, so that a change which those under way could
// not follow is seen.
package triagetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
)

// Option is what a test says of activities: [Replace], [Activities] or [Calls].
type Option struct {
	stub  *stub
	real  *real
	calls *[]Called
}

// real are activities that run for real.
type real struct {
	ctx        context.Context //nolint:containedctx // what they are called in
	activities []any
}

// stub stands in for an activity.
type stub struct {
	name           string
	activity, fake any
}

// Replace has fake called whenever the workflow calls activity. The two have
// the same type, so a stub that no longer fits does not compile.
//
// An error that fake returns is repeated as in production, while time is skipped:
// what [triage.Do] says of attempts and pauses is what happens.
func Replace[In, Out any](activity, fake func(context.Context, In) (Out, error)) Option {
	return Option{stub: &stub{nameOf(activity), activity, fake}}
}

// Activities has activities, which are those that a worker is given, run for real, in
// ctx: for a test whose outside is a server of its own. Those that [Replace] replaces
// stay replaced, and those of [triage.Local] are called in ctx, too.
func Activities(ctx context.Context, activities ...any) Option {
	return Option{real: &real{ctx, activities}}
}

// Calls fails the test unless the calls of [triage.Do] are want, in that order. A
// call is one however often it was repeated. With several runs, those of the first
// come first.
func Calls(want ...Called) Option { return Option{calls: &want} }

// Called is a call of an activity.
type Called struct{ name, in string }

// Call is a call of activity with in, which are compared as the JSON that travels.
func Call[In, Out any](activity func(context.Context, In) (Out, error), in In) Called {
	return called(nameOf(activity), in)
}

// Run gives the payload file to w as a delivery and returns what w returns.
// Time is skipped while w waits.
//
// The file is called <resource>.<action>.json, or <resource>.<action>.<case>.json,
// and holds a webhook's body; it takes the way of a delivery through naming and
// wrapping. Activities that w calls with [triage.Local] run for real unless
// they are replaced; those it calls with [triage.Do] must be replaced, or be among
// [Activities]. [triage.Latest] knows of the deliveries of the test.
//
// The test fails if the payload would not have been routed to w, by its event or by
// the condition of [triage.When], and if an activity was called that needs a stub and
// has none.
func Run[Out any](t testing.TB, w *triage.Definition[Out], payload string, options ...Option) (Out, error) {
	t.Helper()
	r := runner[Out]{t: t, workflow: w, options: options}
	got := r.deliver(payload)
	switch got.Status {
	case Ignored:
		t.Fatalf("%s is the event %s, which does not start %s", payload, delivery(t, payload, 0).EventType, w.Name())
	case Skipped:
		t.Fatalf("%s does not start %s: its condition does not hold", payload, w.Name())
	}
	r.check()
	return got.Out, got.Err
}

// What becomes of a delivery, in the words of the answer to it.
const (
	Started  = "started"  // it started a run
	Existing = "existing" // it fell into a run that an earlier one had started
	Skipped  = "skipped"  // the condition does not hold
	Ignored  = "ignored"  // the workflow does not want the event
)

// Delivered is what has become of one of several deliveries.
type Delivered[Out any] struct {
	Status string // Started, Existing, Skipped or Ignored
	Run    int    // the number of the run that it started or fell into, from 1
	Out    Out    // what that run returned
	Err    error
}

// Deliver gives each of the payload files to w, in order, as deliveries which Sentry
// has sent once each, and returns what became of them: which have started a run, which
// fell into the same one because of [triage.Key], and which did not pass
// [triage.On] and [triage.When]. Else it is like [Run].
func Deliver[Out any](t testing.TB, w *triage.Definition[Out], payloads []string, options ...Option) []Delivered[Out] {
	t.Helper()
	r := runner[Out]{t: t, workflow: w, options: options}
	var all []Delivered[Out]
	for _, payload := range payloads {
		all = append(all, r.deliver(payload))
	}
	r.check()
	return all
}

// runner runs a workflow on deliveries.
type runner[Out any] struct {
	t        testing.TB
	workflow *triage.Definition[Out]
	options  []Option

	delivered int
	runs      map[string]Delivered[Out] // by key
	latestMu  sync.Mutex
	latest    map[string]triage.State // by key
	calls     []Called
	failed    atomic.Bool
}

// errorf fails the test, which goes on.
func (r *runner[Out]) errorf(format string, args ...any) {
	r.t.Helper()
	r.failed.Store(true)
	r.t.Errorf(format, args...)
}

// deliver gives a payload to the workflow, as an ingress does.
func (r *runner[Out]) deliver(payload string) Delivered[Out] {
	r.t.Helper()
	env := delivery(r.t, payload, r.delivered)
	r.delivered++
	if !r.workflow.Wants(env.EventType) {
		return Delivered[Out]{Status: Ignored}
	}
	d := triage.DeliveryOf(env)
	if holds, err := accepts(r.workflow, d); err != nil {
		r.errorf("%s starts %s whether it is to or not: %v", payload, r.workflow.Name(), err)
	} else if !holds {
		return Delivered[Out]{Status: Skipped}
	}
	key, shared := r.workflow.Keying().Of(d)
	if !shared {
		key = env.IdempotencyKey
	}
	if got, there := r.runs[key]; there {
		got.Status = Existing
		return got
	}
	got := Delivered[Out]{Status: Started, Run: len(r.runs) + 1}
	got.Out, got.Err = r.run(env, r.workflow.Name()+":"+env.IntegrationID+":"+key)
	if r.runs == nil {
		r.runs = map[string]Delivered[Out]{}
	}
	r.runs[key] = got
	return got
}

// accepts asks the condition of w. On a machine that has much to do it may take
// longer than it may, which is no fault of the test.
func accepts(w triage.Workflow, d triage.Delivery) (holds bool, err error) {
	for range 5 {
		if holds, err = w.Accepts(d); err == nil {
			break
		}
	}
	return holds, err
}

// run runs the workflow on env.
func (r *runner[Out]) run(env triage.Envelope, id string) (out Out, err error) {
	r.t.Helper()
	name := r.workflow.Name()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(r.t.Output(), nil))))
	e := suite.NewTestWorkflowEnvironment()
	e.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id})
	options := worker.Options{Interceptors: []interceptor.WorkerInterceptor{triage.Interceptor(), &asInProduction{calls: &r.calls}}}
	options.BackgroundActivityContext = contextOf(r.options)
	e.SetWorkerOptions(options)
	triage.RegisterWorkflows(e, []triage.Workflow{r.workflow})
	e.RegisterActivityWithOptions(r.noteLatest, activity.RegisterOptions{Name: triage.LatestType})
	e.RegisterDynamicActivity(func(ctx context.Context, _ converter.EncodedValues) (any, error) {
		called := activity.GetInfo(ctx).ActivityType.Name
		r.errorf("%s calls the activity %s, which the test does not replace", name, called)
		return nil, temporal.NewNonRetryableApplicationError("not replaced: "+called, "NotReplaced", nil)
	}, activity.DynamicRegisterOptions{})
	for _, o := range r.options {
		if o.stub != nil {
			e.OnActivity(o.stub.activity, mock.Anything, mock.Anything).Return(o.stub.fake)
		}
		if o.real != nil {
			for _, a := range o.real.activities {
				e.RegisterActivity(a)
			}
		}
	}

	e.ExecuteWorkflow(name, env)
	if !e.IsWorkflowCompleted() {
		r.t.Fatalf("%s did not complete", name)
	}
	if err := e.GetWorkflowError(); err != nil {
		return out, err
	}
	if err := e.GetWorkflowResult(&out); err != nil {
		r.t.Fatalf("read the result of %s: %v", name, err)
	}
	return out, nil
}

// noteLatest is the activity of [triage.Latest] without a server.
func (r *runner[Out]) noteLatest(_ context.Context, n triage.Note) (triage.State, error) {
	r.latestMu.Lock()
	defer r.latestMu.Unlock()
	if r.latest == nil {
		r.latest = map[string]triage.State{}
	}
	if n.State.After(r.latest[n.Key]) {
		r.latest[n.Key] = n.State
	}
	return r.latest[n.Key], nil
}

// contextOf returns the context that activities are called in; nil: any.
func contextOf(options []Option) context.Context {
	for _, o := range options {
		if o.real != nil {
			return o.real.ctx
		}
	}
	return nil
}

// check compares the calls with what the test wants.
func (r *runner[Out]) check() {
	r.t.Helper()
	for _, o := range r.options {
		if o.calls == nil {
			continue
		}
		if got, want := list(r.calls), list(*o.calls); got != want {
			r.errorf("the calls are%s\nwant%s", got, want)
		}
	}
}

func list(calls []Called) string {
	if len(calls) == 0 {
		return " none"
	}
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintf(&b, "\n\t%s %s", c.name, c.in)
	}
	return b.String()
}

// delivery is the n-th delivery of a test, from 0.
func delivery(t testing.TB, payload string, n int) sentry.Envelope {
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
	header.Set(sentry.HeaderRequestID, fmt.Sprintf("0123456789abcdef0123%012x", 0x456789abcdef+n))
	return sentry.NewEnvelope("sentry", event, header, body, time.Unix(1733337600, 0))
}

// nameOf returns what the SDK calls an activity.
func nameOf(activity any) string {
	name := runtime.FuncForPC(reflect.ValueOf(activity).Pointer()).Name()
	return strings.TrimSuffix(name[strings.LastIndex(name, ".")+1:], "-fm")
}
