package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
	"sentry-temporal/workflows/logcomment"
	"sentry-temporal/workflows/triageissue"
)

// slow is an activity that is under way for as long as a test wants.
type slow struct{ began, finish chan struct{} }

func (s *slow) TakeItsTime(context.Context, string) (string, error) {
	close(s.began)
	<-s.finish
	return "finished", nil
}

var slowActivity = &slow{began: make(chan struct{}), finish: make(chan struct{})}

// held is an activity that ends when its worker stops and a test lets it.
type held struct{ began, stopping, finish chan struct{} }

func (h *held) WaitForTheEnd(ctx context.Context, _ string) (string, error) {
	h.began <- struct{}{}
	<-activity.GetWorkerStopChannel(ctx)
	h.stopping <- struct{}{}
	<-h.finish
	return "finished", nil
}

var heldActivity = &held{began: make(chan struct{}), stopping: make(chan struct{}), finish: make(chan struct{})}

var stumbled atomic.Bool

func TestMain(m *testing.M) {
	slowWorkflow := triage.New("take_its_time", func(ctx workflow.Context, _ sentry.Envelope) (string, error) {
		return triage.Do(ctx, slowActivity.TakeItsTime, "")
	}, triage.On("sentry.installation.created"))
	stumbling := triage.New("stumble", func(workflow.Context, sentry.Envelope) (string, error) {
		if stumbled.CompareAndSwap(false, true) {
			panic("the first task fails")
		}
		return "", errors.New("the run fails")
	}, triage.On("sentry.installation.deleted"))
	holding := triage.New("wait_for_the_end", func(ctx workflow.Context, _ sentry.Envelope) (string, error) {
		return triage.Do(ctx, heldActivity.WaitForTheEnd, "")
	}, triage.On("sentry.installation.held"))
	// Whatever else is in the list, these are those that the tests count.
	workflows.All = triage.List(triageissue.Workflow, logcomment.Workflow, slowWorkflow, stumbling, holding, asTold)
	activities.All = append(activities.All, slowActivity, heldActivity)
	devservertest.Main(m, devserver.Options{Namespaces: []string{"mobile", "bare", "routed"}})
}

var integrations = []config.Integration{
	{Name: "sentry", Secrets: []config.Secret{"s1"}, Namespace: "default", TaskQueue: "sentry"},
	{Name: "backend", Secrets: []config.Secret{"s2"}, Namespace: "default", TaskQueue: "sentry"},
	{Name: "mobile", Secrets: []config.Secret{"s3"}, Namespace: "mobile", TaskQueue: "triage"},
}

func common(address string) config.Common {
	return config.Common{
		Integrations: integrations,
		Temporal:     config.Temporal{Client: client.Options{HostPort: address}, UIURL: "http://ui"},
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runIngress runs an ingress for as long as the test and returns its addresses.
func runIngress(t *testing.T, temporal string) (public, admin string) {
	t.Helper()
	public, admin, _ = runIngressWith(t, temporal, t.TempDir())
	return public, admin
}

func runIngressWith(t *testing.T, temporal, journalDir string) (public, admin string, stop func()) {
	t.Helper()
	p, a := listen(t), listen(t)
	stop = inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(temporal), MaxBodyBytes: 1 << 20, JournalDir: journalDir}
		return process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	})
	return "http://" + p.Addr().String(), "http://" + a.Addr().String(), stop
}

func runWorker(t *testing.T, temporal string) (stop func()) {
	t.Helper()
	_, stop = runWorkerWithAdmin(t, temporal)
	return stop
}

func runWorkerWithAdmin(t *testing.T, temporal string) (admin string, stop func()) {
	t.Helper()
	a := listen(t)
	stop = inBackground(t, func(ctx context.Context) error {
		cfg := config.Worker{Common: common(temporal)}
		// What is left out is measured, and does nothing else.
		cfg.Outside.Problems = []config.Problem{{Variable: "SENTRY_ORGANIZATION", Text: "is needed"}}
		return serveWorker(ctx, cfg, a, slog.New(slog.DiscardHandler))
	})
	return "http://" + a.Addr().String(), stop
}

// inBackground runs f until the returned stop is called or the test ends.
func inBackground(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func send(t *testing.T, public string, integration config.Integration, sample string) hook.Answer {
	t.Helper()
	return sendAndWait(t, public, integration, sample, 0)
}

// sendAndWait waits so many seconds for the runs to start.
func sendAndWait(t *testing.T, public string, integration config.Integration, sample string, wait int) hook.Answer {
	t.Helper()
	body, err := sentry.Sample(sample)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := hook.Send(t.Context(), hook.Delivery{
		URL:       public + "/webhooks/" + integration.Name,
		Secret:    integration.Secrets[0].Reveal(),
		RequestID: sentry.NewRequestID(),
		Body:      body,
		Wait:      wait,
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// readiness is what a program says of itself.
type readiness struct {
	code     int
	Temporal []struct{ Namespace, Status string }
}

func ready(t *testing.T, admin string) readiness {
	t.Helper()
	response, err := http.Get(admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	r := readiness{code: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// awaitStatus waits until all is said of both namespaces that there are.
func awaitStatus(t *testing.T, admin, status string) {
	t.Helper()
	enough := time.Now().Add(30 * time.Second)
	for {
		r := ready(t, admin)
		if len(r.Temporal) == 2 && r.Temporal[0].Status == status && r.Temporal[1].Status == status {
			return
		}
		if time.Now().After(enough) {
			t.Fatalf("not all is %s: %+v", status, r)
		}
	}
}

func TestADeliveryOfEachIntegrationRunsInItsEnvironment(t *testing.T) {
	address := devservertest.Server().Address
	public, admin := runIngress(t, address)
	runWorker(t, address)
	awaitStatus(t, admin, "ok")
	if r := ready(t, admin); r.code != http.StatusOK {
		t.Errorf("/readyz answered %+v", r)
	}
	for _, integration := range integrations {
		t.Run(integration.Name, func(t *testing.T) {
			answer := sendAndWait(t, public, integration, "issue.created", 10)
			if answer.Code != http.StatusAccepted || answer.Status != starter.Started {
				t.Fatalf("answered %+v", answer)
			}
			c, err := client.Dial(client.Options{HostPort: address, Namespace: integration.Namespace})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var result map[string]string
			if err := c.GetWorkflow(t.Context(), answer.Runs[0].WorkflowID, answer.Runs[0].RunID).Get(t.Context(), &result); err != nil {
				t.Fatal(err)
			}
			if result["event_type"] != "sentry.issue.created" || result["issue_id"] == "" {
				t.Errorf("the result is %v", result)
			}
		})
	}
}

func TestConcurrentDeliveriesWithOneRequestIDAreOneRun(t *testing.T) {
	address := devservertest.Server().Address
	c := devservertest.Client(t)
	runWorker(t, address)
	public, _ := runIngress(t, address)
	body, err := sentry.Sample("comment.created")
	if err != nil {
		t.Fatal(err)
	}
	delivery := hook.Delivery{
		URL: public + "/webhooks/sentry", Secret: "s1", RequestID: sentry.NewRequestID(), Body: body, Wait: 10,
	}
	deliver := func() (statuses map[starter.Status]int, runIDs map[string]int) {
		statuses, runIDs = map[starter.Status]int{}, map[string]int{}
		var mu sync.Mutex
		var group sync.WaitGroup
		for range 64 {
			group.Go(func() {
				answer, err := hook.Send(context.Background(), delivery)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || len(answer.Runs) != 1 {
					t.Errorf("answered %+v, %v", answer, err)
					return
				}
				statuses[answer.Status]++
				runIDs[answer.Runs[0].RunID]++
			})
		}
		group.Wait()
		return statuses, runIDs
	}
	statuses, first := deliver()
	if statuses[starter.Started] != 1 || statuses[starter.Existing] != 63 || len(first) != 1 {
		t.Errorf("at first: %v, run IDs %v", statuses, first)
	}
	if err := c.GetWorkflow(t.Context(), "log_sentry_comment:sentry:"+delivery.RequestID, "").Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	statuses, again := deliver()
	if statuses[starter.Existing] != 64 || !maps.Equal(first, again) {
		t.Errorf("once the run is closed: %v, run IDs %v, before %v", statuses, again, first)
	}
}

// Deliveries come while Temporal is away, and the ingress is restarted before it
// is back.
func TestWhatIsKeptBecomesRunsOnceTemporalIsThere(t *testing.T) {
	l := listen(t)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	dir := t.TempDir()
	public, _, stop := runIngressWith(t, address, dir)
	var ids []string
	for range 10 {
		answer := send(t, public, integrations[0], "issue.created")
		if answer.Code != http.StatusAccepted || answer.Status != starter.Accepted {
			t.Fatalf("without Temporal a delivery was answered %+v", answer)
		}
		ids = append(ids, answer.Runs[0].WorkflowID)
	}
	if answer := send(t, public, integrations[0], "seer.pr_created"); answer.Status != starter.Ignored {
		t.Errorf("an event that nobody wants was answered %+v", answer)
	}
	stop()
	runIngressWith(t, address, dir)
	runWorker(t, address)
	devservertest.Start(t, devserver.Options{Port: port, Namespaces: []string{"mobile"}})
	c, err := client.Dial(client.Options{HostPort: address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, id := range ids {
		for { // until the forwarder has started it
			err := c.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil)
			if _, missing := errors.AsType[*serviceerror.NotFound](err); missing {
				continue
			}
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
}

// The ingress and the worker come up before Temporal does. A balancer goes by the
// status of the probe, which has to stay what it is.
func TestAnIngressIsReadyWhereverTemporalIs(t *testing.T) {
	l := listen(t)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	public, admin := runIngress(t, address)
	runWorker(t, address)

	awaitStatus(t, admin, "unreachable")
	if r := ready(t, admin); r.code != http.StatusOK {
		t.Errorf("without Temporal /readyz answered %+v", r)
	}
	answer := send(t, public, integrations[0], "comment.created")
	if answer.Code != http.StatusAccepted || answer.Status != starter.Accepted {
		t.Errorf("without Temporal a delivery was answered %+v", answer)
	}

	devservertest.Start(t, devserver.Options{Port: port, Namespaces: []string{"mobile"}})
	awaitStatus(t, admin, "ok")
	if r := ready(t, admin); r.code != http.StatusOK {
		t.Errorf("with Temporal /readyz answered %+v", r)
	}
}

// Temporal is away, and a person decides what becomes of what waits for it.
func TestADeliveryInTheJournalIsListedParkedPutBackAndDiscarded(t *testing.T) {
	l := listen(t)
	away := l.Addr().String()
	l.Close()
	public, admin := runIngress(t, away)
	answer := send(t, public, integrations[0], "issue.created")
	send(t, public, integrations[2], "issue.created")

	type kept struct {
		ID          uint64
		State       string
		Integration string
		Event       string
		Title       string
		IssueID     string   `json:"issue_id"`
		RequestID   string   `json:"request_id"`
		ReasonCode  string   `json:"reason_code"`
		WorkflowIDs []string `json:"workflow_ids"`
	}
	list := func(query string) []kept {
		t.Helper()
		status, text := get(t, admin+"/journal"+query)
		var list struct{ Deliveries []kept }
		if err := json.Unmarshal([]byte(text), &list); err != nil || status != http.StatusOK {
			t.Fatalf("%s answered %d %s: %v", query, status, text, err)
		}
		return list.Deliveries
	}
	change := func(request, want string) {
		t.Helper()
		response, err := http.Post(admin+"/journal/"+request, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if text, err := io.ReadAll(response.Body); err != nil || strings.TrimSpace(string(text)) != want {
			t.Fatalf("%s answered %s, %v", request, text, err)
		}
	}

	pending := list("?state=pending&integration=sentry")
	if len(pending) != 1 || len(list("?state=pending")) != 2 || len(list("")) != 0 {
		t.Fatalf("pending are %+v", list("?state=pending"))
	}
	d := pending[0]
	if d.State != "pending" || d.Event != "sentry.issue.created" || d.Title == "" || d.IssueID == "" || d.RequestID == "" ||
		len(d.WorkflowIDs) != 1 || d.WorkflowIDs[0] != answer.Runs[0].WorkflowID || !strings.HasSuffix(d.WorkflowIDs[0], d.RequestID) {
		t.Errorf("pending is %+v", d)
	}
	change("park?integration=sentry", `{"parked":1}`)
	if parked := list("?reason=by_hand"); len(parked) != 1 || parked[0].RequestID != d.RequestID || parked[0].ReasonCode != "by_hand" {
		t.Fatalf("parked are %+v", list(""))
	}
	if status, text := get(t, fmt.Sprintf("%s/journal/%d", admin, list("")[0].ID)); status != http.StatusOK || !strings.Contains(text, d.RequestID) {
		t.Errorf("the export answered %d %s", status, text)
	}
	if status, page := get(t, admin+"/"); status != http.StatusOK || !strings.Contains(page, d.RequestID) {
		t.Errorf("the page answered %d, without the parked delivery", status)
	}
	change("retry?event=sentry.issue.created", `{"retried":1}`)
	change("discard?all=true&state=pending", `{"discarded":2}`)
	if left := append(list(""), list("?state=pending")...); len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
}

func TestAStoppingWorkerLetsActivitiesUnderWayFinish(t *testing.T) {
	address := devservertest.Server().Address
	public, _ := runIngress(t, address)
	stop := runWorker(t, address)
	answer := sendAndWait(t, public, integrations[0], "installation.created", 10)
	<-slowActivity.began
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	select {
	case <-stopped:
		t.Fatal("the worker stopped with an activity under way")
	case <-time.After(200 * time.Millisecond):
	}
	close(slowActivity.finish)
	<-stopped

	// The activity was reported before the worker went: the next worker goes on
	// behind it, and would panic if it began again.
	runWorker(t, address)
	c := devservertest.Client(t)
	var result string
	if err := c.GetWorkflow(t.Context(), answer.Runs[0].WorkflowID, "").Get(t.Context(), &result); err != nil || result != "finished" {
		t.Errorf("the run ended with %q, %v", result, err)
	}
}

// clientOf returns a client of a namespace of the dev server.
func clientOf(t *testing.T, namespace string) client.Client {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{
		HostPort: devservertest.Server().Address, Namespace: namespace, Logger: temporallog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// begin starts a run on a task queue, once its namespace takes one.
func begin(t *testing.T, c client.Client, queue, workflow string) client.WorkflowRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: queue}, workflow, sentry.Envelope{Body: sentry.Body(`{}`)})
		if err == nil {
			return run
		}
		if _, missing := errors.AsType[*serviceerror.NamespaceNotFound](err); !missing {
			t.Fatal(err)
		}
	}
}

// runWorkerOf runs a worker of integrations at addresses of their own.
func runWorkerOf(t *testing.T, of ...config.Integration) (admin string, stop func()) {
	t.Helper()
	cfg := common(devservertest.Server().Address)
	cfg.Integrations = of
	nobody := listen(t)
	nobody.Close()
	cfg.Temporal.Profiles = map[string]config.Temporal{"away": {Client: client.Options{HostPort: nobody.Addr().String()}}}
	a := listen(t)
	stop = inBackground(t, func(ctx context.Context) error {
		return serveWorker(ctx, config.Worker{Common: cfg}, a, slog.New(slog.DiscardHandler))
	})
	return "http://" + a.Addr().String(), stop
}

func TestAWorkerRunsWhatItCanAndTheRestOnceItIsThere(t *testing.T) {
	const queue = "what-it-can"
	lateNamespace := "late-" + sentry.NewRequestID() // not of an earlier run of the test
	admin, _ := runWorkerOf(t,
		config.Integration{Name: "away", Profile: "away", Namespace: "default", TaskQueue: queue},
		config.Integration{Name: "late", Namespace: lateNamespace, TaskQueue: queue},
		config.Integration{Name: "sentry", Namespace: "default", TaskQueue: queue},
	)
	if err := begin(t, clientOf(t, "default"), queue, "triage_sentry_issue").Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if status := ready(t, admin).code; status != http.StatusOK {
		t.Errorf("with one that polls /readyz answered %d", status)
	}
	late := clientOf(t, lateNamespace)
	_, err := late.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: lateNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := begin(t, late, queue, "triage_sentry_issue").Get(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Each activity learns that its worker stops while the other is still under way.
func TestAllWorkersStopAtTheSameTime(t *testing.T) {
	const queue = "same-time"
	_, stop := runWorkerOf(t,
		config.Integration{Name: "sentry", Namespace: "default", TaskQueue: queue},
		config.Integration{Name: "mobile", Namespace: "mobile", TaskQueue: queue},
	)
	begin(t, clientOf(t, "default"), queue, "wait_for_the_end")
	begin(t, clientOf(t, "mobile"), queue, "wait_for_the_end")
	<-heldActivity.began
	<-heldActivity.began
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	for range 2 {
		select {
		case <-heldActivity.stopping:
		case <-stopped:
			t.Fatal("the worker stopped with activities under way")
		case <-time.After(15 * time.Second):
			close(heldActivity.finish)
			t.Fatal("a worker waits for the other to stop")
		}
	}
	for range 2 {
		heldActivity.finish <- struct{}{}
	}
	<-stopped
}
