package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/workflows"
)

// runIngressOf runs an ingress of just these integrations.
func runIngressOf(t *testing.T, temporal, journalDir string, maxBytes int64, integrations ...config.Integration) (public, admin string, stop func()) {
	t.Helper()
	p, a := listen(t), listen(t)
	stop = inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(temporal), MaxBodyBytes: 1 << 20, JournalDir: journalDir, JournalMaxBytes: maxBytes}
		cfg.Integrations = integrations
		return process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	})
	return "http://" + p.Addr().String(), "http://" + a.Addr().String(), stop
}

// nowhere is an address where Temporal may be later.
func nowhere(t *testing.T) (address string, port int) {
	t.Helper()
	l := listen(t)
	defer l.Close()
	port = l.Addr().(*net.TCPAddr).Port
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), port
}

func post(t *testing.T, d hook.Delivery) hook.Answer {
	t.Helper()
	answer, err := hook.Send(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func dial(t *testing.T, address, namespace string) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: address, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// inputOf returns the body that a run was started with, once there is one.
func inputOf(t *testing.T, c client.Client, workflowID string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		history := c.GetWorkflowHistory(ctx, workflowID, "", false, 0)
		event, err := history.Next()
		if _, missing := errors.AsType[*serviceerror.NotFound](err); missing {
			<-time.After(20 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var env sentry.Envelope
		input := event.GetWorkflowExecutionStartedEventAttributes().GetInput()
		if err := starter.DataConverter().FromPayloads(input, &env); err != nil {
			t.Fatal(err)
		}
		return string(env.Body)
	}
}

// Nobody has signed the Request-ID, so two different deliveries may come under
// one, and each has to become what its answer said.
func TestEachOfSeveralDeliveriesUnderOneRequestIDBecomesTheRunsThatItsAnswerNamed(t *testing.T) {
	address, port := nowhere(t)
	dir := t.TempDir()
	public, _, stop := runIngressWith(t, address, dir)
	id := sentry.NewRequestID()
	bodies := map[string]string{} // by workflow ID
	send := func(resource, body string) hook.Answer {
		answer := post(t, hook.Delivery{URL: public + "/webhooks/sentry", Secret: "s1", Resource: resource, RequestID: id, Body: []byte(body)})
		if answer.Status != starter.Accepted || len(answer.Runs) == 0 {
			t.Fatalf("%s was answered %+v", body, answer)
		}
		return answer
	}
	for i := range 3 {
		for resource, data := range map[string]string{
			"issue":        fmt.Sprintf(`{"issue":{"id":"%d"}}`, i),
			"comment":      fmt.Sprintf(`{"comment_id":%d,"issue_id":1,"comment":"text"}`, i),
			"installation": fmt.Sprintf(`{"installation":{"uuid":"%d"}}`, i),
		} {
			body := `{"action":"created","data":` + data + `}`
			answer := send(resource, body)
			for _, run := range answer.Runs {
				if other, twice := bodies[run.WorkflowID]; twice {
					t.Errorf("%s is named for %s and for %s", run.WorkflowID, other, body)
				}
				bodies[run.WorkflowID] = body
			}
			if again := send(resource, body); fmt.Sprint(again.Runs) != fmt.Sprint(answer.Runs) {
				t.Errorf("repeated it was answered %+v, first %+v", again.Runs, answer.Runs)
			}
		}
	}
	stop()

	// A build that knows none of the workflows starts them all the same.
	all := workflows.All
	defer func() { workflows.All = all }()
	workflows.All = nil
	_, _, stop = runIngressWith(t, address, dir)
	defer stop() // before the list is put back
	devservertest.Start(t, devserver.Options{Port: port, Namespaces: []string{"mobile"}})
	c := dial(t, address, "default")
	for workflowID, body := range bodies {
		if got := inputOf(t, c, workflowID); got != body {
			t.Errorf("%s was started with %s, not %s", workflowID, got, body)
		}
	}
}

func TestAnIntegrationThatIsConfiguredAgainFindsItsDeliveries(t *testing.T) {
	address, port := nowhere(t)
	dir := t.TempDir()
	public, _, stop := runIngressOf(t, address, dir, 0, integrations...)
	answer := send(t, public, integrations[2], "issue.created") // mobile
	stop()

	devservertest.Start(t, devserver.Options{Port: port, Namespaces: []string{"mobile"}})
	public, admin, stop := runIngressOf(t, address, dir, 0, integrations[:2]...)
	if other := sendAndWait(t, public, integrations[0], "issue.created", 10); other.Status != starter.Started {
		t.Errorf("with one that is not configured another was answered %+v", other)
	}
	awaitMetric(t, admin, "sentry_temporal_journal_parked 1")
	stop()

	runIngressOf(t, address, dir, 0, integrations...)
	inputOf(t, dial(t, address, "mobile"), answer.Runs[0].WorkflowID)
}

func awaitMetric(t *testing.T, admin, line string) {
	t.Helper()
	enough := time.Now().Add(30 * time.Second)
	for {
		if _, text := get(t, admin+"/metrics"); strings.Contains(text, line+"\n") {
			return
		}
		if time.Now().After(enough) {
			t.Fatalf("%s never was in the metrics", line)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// One of two integrations has a namespace that is not there.
func TestAMissingNamespaceIsNotNoticedByAnother(t *testing.T) {
	address := devservertest.Server().Address
	bad := config.Integration{Name: "bad", Secrets: []config.Secret{"s0"}, Namespace: "missing", TaskQueue: "sentry"}
	public, admin, _ := runIngressOf(t, address, t.TempDir(), 0, bad, integrations[0])
	for range 50 {
		if answer := send(t, public, bad, "issue.created"); answer.Status != starter.Accepted {
			t.Fatalf("answered %+v", answer)
		}
	}
	for range 20 {
		if answer := sendAndWait(t, public, integrations[0], "issue.created", 5); answer.Status != starter.Started {
			t.Errorf("beside a missing namespace a delivery was answered %+v", answer)
		}
	}
	if r := ready(t, admin); r.code != 200 {
		t.Errorf("/readyz answered %d", r.code)
	}
}

// Two connections, one of whose servers is killed.
func TestAServerThatIsKilledIsNotNoticedByAnotherConnection(t *testing.T) {
	address, port := nowhere(t)
	other := devservertest.Start(t, devserver.Options{Port: port})
	p, a := listen(t), listen(t)
	elsewhere := config.Integration{Name: "elsewhere", Secrets: []config.Secret{"s0"}, Profile: "other", Namespace: "default", TaskQueue: "sentry"}
	inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(devservertest.Server().Address), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir()}
		cfg.Integrations = []config.Integration{elsewhere, integrations[0]}
		cfg.Temporal.Profiles = map[string]config.Temporal{"other": {Client: client.Options{HostPort: address}}}
		return process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	})
	public, admin := "http://"+p.Addr().String(), "http://"+a.Addr().String()
	if answer := sendAndWait(t, public, elsewhere, "issue.created", 10); answer.Status != starter.Started {
		t.Fatalf("answered %+v", answer)
	}
	other.Kill()
	kept := send(t, public, elsewhere, "issue.created")
	awaitMetric(t, admin, `sentry_temporal_lane_failing{connection="other",namespace="default"} 1`)
	for range 20 {
		if answer := sendAndWait(t, public, integrations[0], "issue.created", 5); answer.Status != starter.Started {
			t.Errorf("beside a dead server a delivery was answered %+v", answer)
		}
	}
	awaitMetric(t, admin, `sentry_temporal_lane_failing{connection="",namespace="default"} 0`)
	if r := ready(t, admin); r.code != 200 {
		t.Errorf("/readyz answered %d", r.code)
	}
	devservertest.Start(t, devserver.Options{Port: port})
	inputOf(t, dial(t, address, "default"), kept.Runs[0].WorkflowID)
}

// The journal is full: what it cannot keep is started at once, and what Temporal
// does not take then is answered 500.
func TestWhatCannotBeKeptIsStartedAtOnce(t *testing.T) {
	address, port := nowhere(t)
	public, admin, _ := runIngressOf(t, address, t.TempDir(), 16<<10, integrations[0])
	full := false
	for range 20 {
		began := time.Now()
		answer := send(t, public, integrations[0], "issue.created")
		if took := time.Since(began); took > time.Second {
			t.Errorf("an answer took %s", took)
		}
		full = full || answer.Code == 500
	}
	if !full {
		t.Fatal("the journal never was full")
	}
	if r := ready(t, admin); r.code != 503 {
		t.Errorf("with a full journal /readyz answered %d", r.code)
	}
	if kept := stateOf(t, admin).Journal; kept.Title != "Full" || kept.Problem == "" || kept.Pending == 0 {
		t.Errorf("of a full journal it says %+v", kept)
	}
	devservertest.Start(t, devserver.Options{Port: port})
	awaitMetric(t, admin, "sentry_temporal_journal_pending 0")
	// A single delivery that is larger than all that the journal holds.
	body := `{"action":"created","data":{"issue":{"id":"1","title":"` + strings.Repeat("x", 32<<10) + `"}}}`
	d := hook.Delivery{URL: public + "/webhooks/sentry", Secret: "s1", Resource: "issue", RequestID: sentry.NewRequestID(), Body: []byte(body)}
	answer := post(t, d)
	if answer.Status != starter.Started || len(answer.Runs) != 1 || answer.Runs[0].RunID == "" {
		t.Fatalf("what cannot be kept was answered %+v", answer)
	}
	if got := inputOf(t, dial(t, address, "default"), answer.Runs[0].WorkflowID); got != body {
		t.Errorf("the run has another body, of %d bytes", len(got))
	}
	if again := post(t, d); again.Status != starter.Existing || again.Runs[0].RunID != answer.Runs[0].RunID {
		t.Errorf("repeated it was answered %+v", again)
	}
}

// What is started is known across restarts.
func TestAnotherDeliveryUnderARequestIDFromBeforeARestartHasARunOfItsOwn(t *testing.T) {
	address := devservertest.Server().Address
	dir := t.TempDir()
	id := sentry.NewRequestID()
	send := func(public, body string) string {
		answer := post(t, hook.Delivery{URL: public + "/webhooks/sentry", Secret: "s1", Resource: "issue", RequestID: id, Body: []byte(body), Wait: 10})
		if len(answer.Runs) != 1 {
			t.Fatalf("answered %+v", answer)
		}
		return answer.Runs[0].WorkflowID
	}
	public, _, stop := runIngressWith(t, address, dir)
	send(public, `{"action":"created","data":{"issue":{"id":"1"}}}`)
	stop()
	public, _, stop = runIngressWith(t, address, dir)
	defer stop()
	second := `{"action":"created","data":{"issue":{"id":"2"}}}`
	if got := inputOf(t, dial(t, address, "default"), send(public, second)); got != second {
		t.Errorf("the run that its answer named was started with %s", got)
	}
}
