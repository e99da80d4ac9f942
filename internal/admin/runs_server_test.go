package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// counted counts the requests about runs by their method.
type counted struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (c *counted) intercept(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	c.mu.Lock()
	name := method[strings.LastIndex(method, "/")+1:]
	c.at[name] = append(c.at[name], time.Now())
	c.mu.Unlock()
	return invoke(ctx, method, request, reply, cc, options...)
}

// most is how many requests of some methods there were at most in any period of d.
func (c *counted) most(d time.Duration, methods ...string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var at []time.Time
	for _, m := range methods {
		at = append(at, c.at[m]...)
	}
	slices.SortFunc(at, time.Time.Compare)
	most, first := 0, 0
	for last := range at {
		for at[last].Sub(at[first]) >= d {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// dial returns a client that counts what it asks, as the ingress has it.
func dial(t *testing.T, address, namespace string, count *counted) client.Client {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{
		HostPort: address, Namespace: namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)), DataConverter: starter.DataConverter(),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(count.intercept)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ways are workflows that go one way each.
type ways struct{}

func (ways) Completes(_ workflow.Context, env sentry.Envelope) (map[string]string, error) {
	return map[string]string{"event": env.EventType}, nil
}

func (ways) Large(workflow.Context, sentry.Envelope) (string, error) {
	return strings.Repeat("x", 1<<20), nil
}

func (ways) Fails(workflow.Context, sentry.Envelope) error { return errors.New("no such project") }

func (ways) FailsByActivity(ctx workflow.Context, _ sentry.Envelope) error {
	return workflow.ExecuteActivity(often(ctx), "Refuses").Get(ctx, nil)
}

func (ways) FailsByChild(ctx workflow.Context, env sentry.Envelope) error {
	return workflow.ExecuteChildWorkflow(ctx, "FailsByActivity", env).Get(ctx, nil)
}

func (ways) Retries(ctx workflow.Context, _ sentry.Envelope) error {
	return workflow.ExecuteActivity(often(ctx), "Breaks").Get(ctx, nil)
}

func (ways) NobodyRegistered(ctx workflow.Context, _ sentry.Envelope) error {
	return workflow.ExecuteActivity(often(ctx), "Nobody").Get(ctx, nil)
}

func (ways) NobodyTakes(ctx workflow.Context, _ sentry.Envelope) error {
	return workflow.ExecuteActivity(workflow.WithTaskQueue(often(ctx), "elsewhere"), "Breaks").Get(ctx, nil)
}

func (ways) Panics(workflow.Context, sentry.Envelope) error { panic("a bug") }

func (ways) Waits(ctx workflow.Context, _ sentry.Envelope) error {
	return workflow.Sleep(ctx, time.Hour)
}

func (ways) Continues(ctx workflow.Context, env sentry.Envelope) (string, error) {
	if env.EventType == "last" {
		return "", workflow.Sleep(ctx, time.Hour)
	}
	env.EventType = "last"
	return "", workflow.NewContinueAsNewError(ctx, "Continues", env)
}

func often(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 1},
	})
}

type acts struct{}

func (acts) Refuses(context.Context) error {
	return temporal.NewNonRetryableApplicationError("401 from the pager", "Refused", nil)
}

func (acts) Breaks(context.Context) error { return errors.New("the pager is away") }

func TestTheStateOfEachRunInTemporalIsTold(t *testing.T) {
	t.Parallel()
	server := devservertest.Start(t, devserver.Options{Namespaces: []string{"mobile"}})
	count := &counted{at: map[string][]time.Time{}}
	c := dial(t, server.Address, "default", count)
	mobile := dial(t, server.Address, "mobile", count)
	w := worker.New(c, "sentry", worker.Options{})
	for _, f := range []any{ways{}.Completes, ways{}.Large, ways{}.Fails, ways{}.FailsByActivity, ways{}.FailsByChild, ways{}.Retries, ways{}.NobodyRegistered, ways{}.NobodyTakes, ways{}.Panics, ways{}.Waits, ways{}.Continues} {
		w.RegisterWorkflow(f)
	}
	w.RegisterActivity(&acts{})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	// Nothing listens there.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	away := dial(t, l.Addr().String(), "away", count)
	clients := map[string]client.Client{"default": c, "mobile": mobile, "away": away}
	r := admin.NewRuns(func(_, namespace string) (admin.RunPlace, bool) {
		return admin.RunPlace{Service: clients[namespace].WorkflowService()}, true
	})
	ctx, stop := context.WithCancel(t.Context())
	var ran sync.WaitGroup
	ran.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		stop()
		ran.Wait()
	})

	env := sentry.Envelope{Webhook: true, Source: "sentry", IntegrationID: "sentry", EventType: "sentry.issue.created", IdempotencyKey: "key", Body: `{"a":1}`}
	start := func(c client.Client, workflowType, queue string, change func(*client.StartWorkflowOptions)) string {
		o := client.StartWorkflowOptions{ID: "w:sentry:" + workflowType + queue, TaskQueue: queue}
		if change != nil {
			change(&o)
		}
		run, err := c.ExecuteWorkflow(t.Context(), o, workflowType, env)
		if err != nil {
			t.Fatal(err)
		}
		return run.GetRunID()
	}
	type expected struct {
		namespace, id, run string
		status             string
		reason             string // a part
		detail             func(admin.RunDetail) bool
	}
	wants := map[string]*expected{
		"completes": {id: "Completes", status: admin.RunCompleted, detail: func(d admin.RunDetail) bool {
			return d.Result == `{"event":"sentry.issue.created"}` && !d.Closed.IsZero() && d.Events > 2
		}},
		"completes at length": {id: "Large", status: admin.RunCompleted, detail: func(d admin.RunDetail) bool { return strings.HasPrefix(d.Result, `"xxx`) && len(d.Result) <= 2<<10 }},
		"fails":               {id: "Fails", status: admin.RunFailed, reason: "no such project", detail: func(d admin.RunDetail) bool { return d.Failure == "no such project" && d.Result == "" }},
		"fails by activity":   {id: "FailsByActivity", status: admin.RunFailed, reason: "activity Refuses: 401 from the pager"},
		"fails by child":      {id: "FailsByChild", status: admin.RunFailed, reason: "workflow FailsByActivity: activity Refuses: 401 from the pager"},
		"retries": {id: "Retries", status: admin.RunRunning, reason: "its activity Breaks fails, attempt ", detail: func(d admin.RunDetail) bool {
			return len(d.Pending) == 1 && d.Pending[0].Activity == "Breaks" && d.Pending[0].Attempt > 1 && d.Pending[0].LastFailure == "the pager is away" && d.Closed.IsZero()
		}},
		"nobody registered the activity": {id: "NobodyRegistered", status: admin.RunStuck, reason: "no worker of task queue sentry has registered its activity Nobody"},
		"nobody takes the activity":      {id: "NobodyTakes", status: admin.RunUntaken, reason: "no worker of task queue elsewhere takes its activity Breaks"},
		"panics":                         {id: "Panics", status: admin.RunStuck, reason: "its workflow task fails: a bug"},
		"runs": {id: "Waits", status: admin.RunRunning, detail: func(d admin.RunDetail) bool {
			return d.Workflow == "Waits" && d.TaskQueue == "sentry" && !d.Started.IsZero()
		}},
		"continues":                      {id: "Continues", status: admin.RunRunning, detail: func(d admin.RunDetail) bool { return d.RunID != "" }},
		"nobody registered the workflow": {id: "Unheard", status: admin.RunStuck, reason: "unable to find workflow type: Unheard"},
	}
	for _, want := range wants {
		want.run, want.id = start(c, want.id, "sentry", nil), "w:sentry:"+want.id+"sentry"
	}
	wants["untaken"] = &expected{id: "w:sentry:Waitsnobody", run: start(c, "Waits", "nobody", nil), status: admin.RunUntaken, reason: "no worker of task queue nobody has taken it"}
	wants["terminated"] = &expected{id: "w:sentry:Waits1", run: start(c, "Waits", "1", nil), status: admin.RunTerminated, reason: "a mistake"}
	wants["canceled"] = &expected{id: "canceled", run: start(c, "Waits", "sentry", func(o *client.StartWorkflowOptions) { o.ID = "canceled" }), status: admin.RunCanceled}
	wants["timed out"] = &expected{id: "w:sentry:Waits2", run: start(c, "Waits", "2", func(o *client.StartWorkflowOptions) { o.WorkflowExecutionTimeout = time.Second }), status: admin.RunTimedOut}
	wants["missing"] = &expected{id: "w:sentry:nothing", run: wants["runs"].run, status: admin.RunMissing}
	wants["in another namespace"] = &expected{namespace: "mobile", id: "w:sentry:Waits3", run: start(mobile, "Waits", "3", nil), status: admin.RunUntaken}
	wants["missing in another namespace"] = &expected{namespace: "mobile", id: wants["runs"].id, run: wants["runs"].run, status: admin.RunMissing}
	wants["away"] = &expected{namespace: "away", id: "w", run: wants["runs"].run}
	if err := errors.Join(
		c.TerminateWorkflow(t.Context(), wants["terminated"].id, "", "a mistake"), c.CancelWorkflow(t.Context(), "canceled", ""),
	); err != nil {
		t.Fatal(err)
	}
	of := func(want *expected) admin.RunOf {
		namespace := want.namespace
		if namespace == "" {
			namespace = "default"
		}
		return admin.RunOf{Integration: "sentry", Namespace: namespace, WorkflowID: want.id, RunID: want.run}
	}
	var all []admin.RunOf
	for _, want := range wants {
		all = append(all, of(want))
	}
	began := time.Now()
	for {
		states, wrong := r.States(all), ""
		for name, want := range wants {
			if state := states[of(want)]; state.Status != want.status || !strings.Contains(state.Reason, want.reason) || len(state.Reason) > 300 {
				wrong += name + ": " + state.Status + ": " + state.Reason + "\n"
			}
		}
		if wrong == "" {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("these are not so:\n%s", wrong)
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Logf("all is known after %s", time.Since(began))
	if p := r.Problems(); len(p) != 1 || p[0].Namespace != "away" || p[0].Status != admin.StatusUnreachable {
		t.Errorf("the problems are %+v", p)
	}
	if n := count.most(4500*time.Millisecond, "ListWorkflowExecutions"); n > 3 {
		t.Errorf("%d lists of three namespaces in 5 s", n)
	}
	if n := count.most(4500*time.Millisecond, "DescribeWorkflowExecution", "GetWorkflowExecutionHistoryReverse"); n > 10 {
		t.Errorf("%d questions about one run in 5 s", n)
	}
	for name, want := range wants {
		if want.namespace == "away" {
			continue
		}
		d, err := describe(t, r, of(want))
		if err != nil || d.Status != want.status || !strings.Contains(d.Reason, want.reason) || want.detail != nil && !want.detail(d) {
			t.Errorf("%s: described as %+v: %v", name, d, err)
		}
	}
	if _, err := r.Describe(t.Context(), of(wants["away"])); err == nil {
		t.Error("what is away is described")
	}
	if got := input(t, r, of(wants["continues"])); got.EventType != env.EventType || got.Body != env.Body {
		t.Errorf("the input is %+v", got)
	}
}

// describe describes a run once that may be.
func describe(t *testing.T, r *admin.Runs, of admin.RunOf) (admin.RunDetail, error) {
	t.Helper()
	for {
		d, err := r.Describe(t.Context(), of)
		if !errors.Is(err, admin.ErrAskedTooMuch) || t.Context().Err() != nil {
			return d, err
		}
		<-time.After(100 * time.Millisecond)
	}
}

func input(t *testing.T, r *admin.Runs, of admin.RunOf) sentry.Envelope {
	t.Helper()
	for {
		env, err := r.Input(t.Context(), of)
		switch {
		case err == nil:
			return env
		case !errors.Is(err, admin.ErrAskedTooMuch):
			t.Fatal(err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// observe has a Recent remember a delivery with a run for each of runs.
func observe(recent *admin.Recent, runs []admin.RunOf) {
	for i, of := range runs {
		key := sentry.NewRequestID()
		recent.Observe(context.Background(), web.Delivery{
			Time: time.Now(), Duration: 5 * time.Millisecond, Verified: true, RequestID: key, Key: key, Integration: "sentry", Known: true,
			Event: "sentry.issue.created", Outcome: string(starter.Started), Status: http.StatusAccepted, Size: 4711,
			Subject: sentry.Subject{IssueID: strconv.Itoa(i), ShortID: "BACKEND-" + strconv.Itoa(i), Project: "backend", Level: "error",
				Title: "TypeError: cannot read properties of undefined", URL: "https://sentry.example.com/issues/" + strconv.Itoa(i)},
			Headers: map[string]string{"sentry-hook-resource": "issue", "request-id": key},
			Runs: []starter.Run{{Workflow: "triage_sentry_issue", WorkflowID: of.WorkflowID, RunID: of.RunID, Namespace: of.Namespace, Status: starter.Started,
				URL: "http://temporal.example:8233/namespaces/default/workflows/" + of.WorkflowID + "/" + of.RunID}},
		})
	}
}

// The rows are of open runs in two namespaces, of which no worker takes one, and of
// some that Temporal does not have.
func TestTwentyWhoLookAtTwoHundredRowsAskTemporalLikeOne(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	server := devservertest.Start(t, devserver.Options{Namespaces: []string{"mobile"}})
	count := &counted{at: map[string][]time.Time{}}
	clients := map[string]client.Client{"default": dial(t, server.Address, "default", count), "mobile": dial(t, server.Address, "mobile", count)}
	var runs []admin.RunOf
	for i := range 200 {
		of := admin.RunOf{Integration: "sentry", Namespace: []string{"default", "mobile"}[i%2], WorkflowID: "w:sentry:" + strconv.Itoa(i), RunID: fmt.Sprintf("01a23182-2099-7185-9ff0-%012d", i)}
		if i%4 < 2 {
			run, err := clients[of.Namespace].ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: of.WorkflowID, TaskQueue: "nobody"}, "w")
			if err != nil {
				t.Fatal(err)
			}
			of.RunID = run.GetRunID()
		}
		runs = append(runs, of)
	}
	r := admin.NewRuns(func(_, namespace string) (admin.RunPlace, bool) {
		return admin.RunPlace{Service: clients[namespace].WorkflowService()}, true
	})
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() { r.Run(ctx) })
	w := newWatched(t, nil, func(o *admin.Options) { o.Status.Runs = r.States })
	observe(w.recent, runs)
	asked := time.Now()
	for range 20 {
		group.Go(func() {
			for ctx.Err() == nil {
				response, err := http.Get(w.admin)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				select {
				case <-ctx.Done():
				case <-time.After(500 * time.Millisecond):
				}
			}
		})
	}
	describes := []string{"DescribeWorkflowExecution", "GetWorkflowExecutionHistoryReverse"}
	for count.most(time.Hour, describes...) < 40 && time.Since(asked) < 2*time.Minute {
		<-time.After(50 * time.Millisecond)
	}
	// What is asked at the same time arrives one after the other.
	if n := count.most(4500*time.Millisecond, "ListWorkflowExecutions"); n != 2 {
		t.Errorf("%d lists of two namespaces in five seconds", n)
	}
	if n := count.most(4500*time.Millisecond, describes...); n != 10 {
		t.Errorf("%d questions about one run in five seconds", n)
	}
	states := map[string]int{}
	for _, state := range r.States(runs) {
		states[state.Status]++
	}
	if states[admin.RunRunning]+states[admin.RunUntaken] != 100 || states[admin.RunUntaken]+states[admin.RunMissing] < 30 {
		t.Errorf("the states are %v", states)
	}
}

// BenchmarkStatusPage is a refresh of the page with 200 rows. All of the process counts,
// as of each refresh: cpu-ms/op is to stay under 5.
func BenchmarkStatusPage(b *testing.B) {
	s := &standIn{}
	all := [][]admin.RunOf{s.add("default", 100, running), s.add("default", 50, completed), s.add("default", 50, failing)}
	runs := slices.Concat(all...)
	s.change(func() {
		for _, run := range s.runs {
			run.last = failed("activity open_incident: 401 from the pager, the routing key is not known there")
		}
	})
	r := admin.NewRuns(func(string, string) (admin.RunPlace, bool) { return admin.RunPlace{Service: s}, true })
	ctx, stop := context.WithCancel(b.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() { r.Run(ctx) })
	for len(r.States(runs)) < len(runs) {
		<-time.After(time.Millisecond)
	}
	integrations := []config.Integration{{Name: "sentry", Secrets: []config.Secret{secret}, Namespace: "default", TaskQueue: "sentry"}}
	recent := admin.NewRecent(integrations)
	observe(recent, runs)
	keys := keyring.New(integrations, "", slog.New(slog.DiscardHandler))
	planner := routes.NewPlanner(nil, integrations, slog.New(slog.DiscardHandler))
	handler := admin.New(admin.Options{
		Ready: func() error { return nil }, Temporal: func() []admin.NamespaceState { return nil }, Log: slog.New(slog.DiscardHandler),
		Status: &admin.Status{
			Integrations: integrations, Routes: planner.State, Recent: recent, Journal: func() journal.Stats { return journal.Stats{} },
			Secrets: keys.States, WebhookURL: "https://hooks.example.com", Runs: r.States,
		},
	})
	request := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
	before := processorTime(b)
	for b.Loop() {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != http.StatusOK || strings.Count(answer.Body.String(), "<tr id=") < len(runs) {
			b.Fatalf("answered %d, %d bytes", answer.Code, answer.Body.Len())
		}
	}
	b.ReportMetric(float64(processorTime(b)-before)/1e6/float64(b.N), "cpu-ms/op")
}

// processorTime is that of the process so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
