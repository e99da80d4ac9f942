package starter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
)

func TestMain(m *testing.M) {
	devservertest.Main(m, devserver.Options{Namespaces: []string{"searchable", "plain", "mistyped", "shrinking", "texts"}})
}

var (
	echo = triage.New("echo_body", func(_ workflow.Context, env sentry.Envelope) (string, error) {
		return string(env.Body), nil
	}, triage.On("sentry.issue.created", "sentry.comment.created"))
	also = triage.New("also_issues", func(workflow.Context, sentry.Envelope) (string, error) {
		return "", nil
	}, triage.On("sentry.issue.*"))
	length = triage.New("length_of_body", func(_ workflow.Context, env sentry.Envelope) (int, error) {
		return len(env.Body), nil
	}, triage.On("sentry.error.created"))
	all = []triage.Workflow{echo, also, length}
)

// runWorker runs all on a task queue of the test's own and returns its name.
func runWorker(t *testing.T, c client.Client) string {
	t.Helper()
	queue := t.Name()
	w := worker.New(c, queue, worker.Options{})
	triage.Register(w, all)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return queue
}

// starts plans and starts, as the ingress and the forwarder do together.
type starts struct {
	*starter.Starter
	planner *routes.Planner
}

func startsOf(connections *starter.Connections, log *slog.Logger, workflows ...triage.Workflow) *starts {
	var integrations []config.Integration
	for name, environment := range connections.Environments() {
		integrations = append(integrations, config.Integration{Name: name, Namespace: environment.Namespace, TaskQueue: environment.TaskQueue})
	}
	return &starts{starter.New(connections, log), routes.NewPlanner(workflows, integrations, log)}
}

// kept keeps a Starter up to date until the test ends, as the ingress does.
func kept(t *testing.T, s *starts) *starts {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return s
}

func (s *starts) plan(env sentry.Envelope) []routes.Operation {
	return s.planner.Plan(sentry.DeliveryOf(env)).For(env.IdempotencyKey)
}

func (s *starts) Start(ctx context.Context, env sentry.Envelope) ([]starter.Run, error) {
	plan := s.plan(env)
	if len(plan) == 0 {
		return nil, nil
	}
	start, err := s.Prepare(env, plan)
	if err != nil {
		return nil, err
	}
	return start(ctx)
}

func newStarter(t *testing.T, _ client.Client, queue string) *starts {
	t.Helper()
	return kept(t, startsOf(connect(t, devservertest.Server().Address,
		config.Integration{Name: "sentry", Namespace: client.DefaultNamespace, TaskQueue: queue},
		config.Integration{Name: "mobile", Namespace: client.DefaultNamespace, TaskQueue: queue},
	), slog.New(slog.DiscardHandler), all...))
}

func envelope(event, body string) sentry.Envelope {
	return sentry.Envelope{
		Webhook: true, Source: "sentry", IntegrationID: "sentry", EventType: event,
		IdempotencyKey: sentry.NewRequestID(), Timestamp: 1733337600, Headers: map[string]string{}, Body: sentry.Body(body),
	}
}

func start(t *testing.T, s *starts, env sentry.Envelope) []starter.Run {
	t.Helper()
	runs, err := s.Start(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func TestConcurrentDeliveriesWithOneRequestIDAreOneRun(t *testing.T) {
	c := devservertest.Client(t)
	s := newStarter(t, c, runWorker(t, c))
	env := envelope("sentry.comment.created", `{}`)

	deliver := func() (statuses map[starter.Status]int, runIDs map[string]int) {
		statuses, runIDs = map[starter.Status]int{}, map[string]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				runs, err := s.Start(t.Context(), env)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				statuses[runs[0].Status]++
				runIDs[runs[0].RunID]++
			})
		}
		wg.Wait()
		return statuses, runIDs
	}

	statuses, runIDs := deliver()
	if statuses[starter.Started] != 1 || statuses[starter.Existing] != 63 || len(runIDs) != 1 {
		t.Errorf("while open: %v, run IDs %v", statuses, runIDs)
	}
	id := s.plan(env)[0].WorkflowID
	if err := c.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	statuses, again := deliver()
	if statuses[starter.Existing] != 64 || len(again) != 1 {
		t.Errorf("once closed: %v, run IDs %v", statuses, again)
	}
	for runID := range runIDs {
		if again[runID] != 64 {
			t.Errorf("once closed the run IDs are %v, not %s", again, runID)
		}
	}
}

func TestOneBodyUnderTwoRequestIDsIsTwoRuns(t *testing.T) {
	c := devservertest.Client(t)
	s := newStarter(t, c, t.Name())
	first := start(t, s, envelope("sentry.comment.created", `{}`))
	second := start(t, s, envelope("sentry.comment.created", `{}`))
	if second[0].Status != starter.Started || first[0].RunID == second[0].RunID {
		t.Errorf("started %+v, then %+v", first, second)
	}
}

func TestOneRequestIDAtTwoIntegrationsIsTwoRuns(t *testing.T) {
	c := devservertest.Client(t)
	s := newStarter(t, c, t.Name())
	env := envelope("sentry.comment.created", `{}`)
	start(t, s, env)
	env.IntegrationID = "mobile"
	if runs := start(t, s, env); runs[0].Status != starter.Started {
		t.Errorf("%+v", runs)
	}
}

func TestEveryWorkflowThatWantsAnEventGetsARun(t *testing.T) {
	c := devservertest.Client(t)
	s := newStarter(t, c, t.Name())
	env := envelope("sentry.issue.created", `{}`)
	runs := start(t, s, env)
	if len(runs) != 2 || starter.Overall(runs) != starter.Started {
		t.Fatalf("%+v", runs)
	}
	for i, name := range []string{"echo_body", "also_issues"} {
		want := fmt.Sprintf("%s:sentry:%s", name, env.IdempotencyKey)
		if runs[i].Workflow != name || runs[i].WorkflowID != want {
			t.Errorf("run %d is %+v", i, runs[i])
		}
		if url := "http://ui/namespaces/default/workflows/" + want + "/" + runs[i].RunID; runs[i].URL != url {
			t.Errorf("the URL is %s, want %s", runs[i].URL, url)
		}
	}
	if runs := start(t, s, envelope("sentry.seer.pr_created", `{}`)); len(runs) != 0 || starter.Overall(runs) != starter.Ignored {
		t.Errorf("an event that nobody wants: %+v", runs)
	}
}

// A partial failure leaves one run of two; repeating the delivery adds the
// other and starts nothing twice.
func TestRepeatingRepairsAPartialFailure(t *testing.T) {
	c := devservertest.Client(t)
	env := envelope("sentry.issue.created", `{}`)
	one := startsOf(connect(t, devservertest.Server().Address), slog.New(slog.DiscardHandler), all[:1]...)
	first := start(t, one, env)
	runs := start(t, newStarter(t, c, t.Name()), env)
	if runs[0].Status != starter.Existing || runs[0].RunID != first[0].RunID || runs[1].Status != starter.Started {
		t.Errorf("%+v", runs)
	}
	if overall := starter.Overall(runs); overall != starter.Existing {
		t.Errorf("the delivery as a whole is %s", overall)
	}
}

func TestBodyReachesTheWorkflowUnchanged(t *testing.T) {
	c := devservertest.Client(t)
	s := newStarter(t, c, runWorker(t, c))
	for name, text := range map[string]string{
		"escapes":         `\u20ac \ud83e\uddfe \u0000 \ud800 \/`,
		"literal UTF-8":   "€ 🧾 é",
		"markup":          `<b>&amp;</b>`,
		"line separators": "\u2028\u2029",
		"nineteen digits": `","n":9007199254740993123,"f":100.0,"s":"`,
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"action":"created", "x":"` + text + `"}`
			runs := start(t, s, envelope("sentry.comment.created", body))
			var got string
			if err := c.GetWorkflow(t.Context(), runs[0].WorkflowID, "").Get(t.Context(), &got); err != nil {
				t.Fatal(err)
			}
			if got != body {
				t.Errorf("the workflow got %q, sent was %q", got, body)
			}
		})
	}
}

// Engineers start runs by hand from the Temporal UI, with the body as an object
// or whatever they have.
func TestARunStartedByHandWithAnyJSONForABody(t *testing.T) {
	c := devservertest.Client(t)
	queue := runWorker(t, c)
	for body, want := range map[string]string{
		`{"action":"created", "n":9007199254740993123}`: `9007199254740993123`,
		`42`:     `42`,
		`true`:   `true`,
		`[1, 2]`: `1`,
		`null`:   ``,
		`"text"`: `text`,
	} {
		input := json.RawMessage(`{"event_type":"sentry.issue.created","body":` + body + `}`)
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: queue}, "echo_body", input)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var got string
		if err := run.Get(ctx, &got); err != nil || !strings.Contains(got, want) {
			t.Errorf("the workflow got %q of %s, %v", got, body, err)
		}
	}
}

// hangingServer accepts connections and never says a word.
func hangingServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return l.Addr().String()
}

func connect(t *testing.T, address string, integrations ...config.Integration) *starter.Connections {
	t.Helper()
	if len(integrations) == 0 {
		integrations = []config.Integration{{Name: "sentry", Namespace: client.DefaultNamespace, TaskQueue: "q"}}
	}
	c, err := starter.Connect(config.Temporal{Client: client.Options{HostPort: address}, UIURL: "http://ui"}, integrations, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAStartObeysItsDeadline(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	for name, address := range map[string]string{
		"while Temporal hangs":          hangingServer(t),
		"while Temporal is unreachable": unused.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connections := connect(t, address)
			s := startsOf(connections, slog.New(slog.DiscardHandler), all...)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			if runs, err := s.Start(ctx, envelope("sentry.issue.created", `{}`)); err == nil {
				t.Errorf("started %+v", runs)
			}
			if took := time.Since(began); took > 800*time.Millisecond {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestReach(t *testing.T) {
	address := devservertest.Server().Address
	if err := connect(t, address).Environments()["sentry"].Reach(t.Context()); err != nil {
		t.Error(err)
	}
	missing := connect(t, address, config.Integration{Name: "sentry", Namespace: "no-such-namespace", TaskQueue: "q"})
	if err := missing.Environments()["sentry"].Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "no-such-namespace") {
		t.Errorf("said %v about a namespace that is not there", err)
	}
}
