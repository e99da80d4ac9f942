package activities_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

// With this in its environment the test binary is a worker that a test kills.
const workerVariable = "ACTIVITIES_TEST_WORKER"

func TestMain(m *testing.M) {
	if told := os.Getenv(workerVariable); told != "" {
		fmt.Fprintln(os.Stderr, work(told))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killable is what a worker of another process is told.
type killable struct {
	Temporal string
	Secrets  string // where it asks for those of an effect
	Effects  map[string]reachable
}

// reachable is how a worker reaches the stand-in of an effect.
type reachable struct {
	config.Outside
	Secret string // takes the place of the function
}

// work runs workers of all effects that it is told of, each on a task queue of its name.
func work(told string) error {
	var k killable
	if err := json.Unmarshal([]byte(told), &k); err != nil {
		return err
	}
	c, err := client.Dial(client.Options{HostPort: k.Temporal, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	for _, e := range effects {
		reach, ok := k.Effects[e.name]
		if !ok {
			continue
		}
		cfg := reach.Outside
		cfg.Secret = func(variable string) (config.Secret, error) { return ask(k.Secrets, e.name, variable) }
		systems := &outside.Systems{
			Outside: cfg, Client: outside.NewClient(), Pages: map[string]string{"sentry": "https://temporal.example"},
			Destinations: func() (*destinations.Table, error) { return destinations.None(), nil },
		}
		w := worker.New(c, e.name, worker.Options{
			BackgroundActivityContext: outside.With(context.Background(), systems),
			Interceptors:              []interceptor.WorkerInterceptor{&impatient{}},
		})
		for _, a := range everyActivity() {
			w.RegisterActivity(a)
		}
		w.RegisterWorkflowWithOptions(e.do, workflow.RegisterOptions{Name: e.name})
		if err := w.Start(); err != nil {
			return err
		}
	}
	select {}
}

// ask returns a secret of an effect.
func ask(address, effect, variable string) (config.Secret, error) {
	answer, err := http.PostForm(address, url.Values{"effect": {effect}, "variable": {variable}}) //nolint:noctx // the process ends anyway
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	secret, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return "", config.ErrNotSet
	}
	return config.Secret(secret), nil
}

// impatient has attempts take less time than 30 seconds, after which that of a worker
// that was killed is repeated.
type impatient struct {
	interceptor.WorkerInterceptorBase
}

func (*impatient) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &impatientInbound{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type impatientInbound struct {
	interceptor.WorkflowInboundInterceptorBase
}

func (i *impatientInbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&impatientOutbound{interceptor.WorkflowOutboundInterceptorBase{Next: next}})
}

type impatientOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (o *impatientOutbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	options := workflow.GetActivityOptions(ctx)
	options.StartToCloseTimeout = 3 * time.Second
	return o.Next.ExecuteActivity(workflow.WithActivityOptions(ctx, options), name, args...)
}

func TestOnARealServer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds, and a Temporal server")
	}
	server := devservertest.Start(t, devserver.Options{})
	c, err := client.DialContext(t.Context(), client.Options{HostPort: server.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	t.Run("a worker that is killed after the effect leaves one effect", func(t *testing.T) { killWorker(t, server, c) })
	t.Run("an attempt tells the next one that it sent nothing", func(t *testing.T) { sendLater(t, c) })
}

// sendLater has GitHub refuse a ticket for now, which need not be looked for then.
func sendLater(t *testing.T, c client.Client) {
	g, cfg := gitHub(t)
	g.Fail(standin.Fault{Path: "POST", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}})
	w := worker.New(c, t.Name(), worker.Options{BackgroundActivityContext: outsideContext(t, cfg)})
	w.RegisterActivity(&activities.GitHub{})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) (activities.Ticketed, error) {
		return triage.Do(ctx, hub.CreateTicket, ticket)
	}, workflow.RegisterOptions{Name: "ticket"})
	require.NoError(t, w.Start())
	defer w.Stop()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: t.Name()}, "ticket")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var made activities.Ticketed
	require.NoError(t, run.Get(ctx, &made))
	assert.Empty(t, made.Note)
	var methods []string
	for _, r := range g.Received() {
		methods = append(methods, r.Method)
	}
	assert.Equal(t, []string{"POST", "POST"}, methods)
}

// killWorker kills the worker of all effects when each is there, and before any answer has
// come to it.
func killWorker(t *testing.T, server *devserver.Server, c client.Client) {
	standins := map[string]served{}
	secrets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, err := standins[r.FormValue("effect")].cfg.Secret(r.FormValue("variable"))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, secret.Reveal()) // the worker may be gone
	}))
	defer secrets.Close()
	told := killable{Temporal: server.Address, Secrets: secrets.URL, Effects: map[string]reachable{}}
	for _, e := range effects {
		if e.once && !e.reads && !e.local {
			s := e.serve(t)
			s.Fail(standin.Fault{Path: e.path, After: true, Hang: true})
			standins[e.name], told.Effects[e.name] = s, reachable{Outside: s.cfg}
		}
	}
	runs := map[string]client.WorkflowRun{}
	for name := range standins {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: name}, name)
		require.NoError(t, err)
		runs[name] = run
	}
	first := startWorker(t, told)
	for name, s := range standins {
		require.Eventually(t, func() bool { return s.effects() == 1 }, 20*time.Second, 20*time.Millisecond, name)
	}
	require.NoError(t, first.Process.Kill())
	_ = first.Wait() // it was killed
	startWorker(t, told)
	for name, s := range standins {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		require.NoError(t, runs[name].Get(ctx, nil), name)
		cancel()
		s.Settle()
		assert.Equal(t, 1, s.effects(), name)
		if s.after != nil {
			s.after(t)
		}
	}
}

// startWorker starts a worker in a process of its own, which ends with the test.
func startWorker(t *testing.T, told killable) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(told)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0]) //nolint:noctx // it is killed below
	cmd.Env = append(os.Environ(), workerVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // or was already
		_ = cmd.Wait()
	})
	return cmd
}
