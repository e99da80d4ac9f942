package process_test

import (
	"net"
	"net/http"
	"strconv"
	"testing"

	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// Temporal is killed while deliveries come and is started again on what it kept.
func TestWhatCameBeforeAndDuringAnOutageIsOneRunEach(t *testing.T) {
	l := listen(t)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	options := devserver.Options{Port: port, DBFile: devservertest.DBFile(t), Namespaces: []string{"mobile"}}
	temporal := devservertest.Start(t, options)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	public, _, _ := runIngressWith(t, address, t.TempDir())
	runWorker(t, address)

	body, err := sentry.Sample("comment.created")
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(requestID string, wait int) hook.Answer {
		t.Helper()
		answer, err := hook.Send(t.Context(), hook.Delivery{
			URL: public + "/webhooks/sentry", Secret: "s1", RequestID: requestID, Body: body, Wait: wait,
		})
		if err != nil || answer.Code != http.StatusAccepted || len(answer.Runs) != 1 {
			t.Fatalf("answered %+v, %v", answer, err)
		}
		return answer
	}
	c, err := client.NewLazyClient(client.Options{HostPort: address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	first := sentry.NewRequestID()
	before := deliver(first, 10)
	if before.Status != starter.Started {
		t.Fatalf("answered %+v", before)
	}
	if err := c.GetWorkflow(t.Context(), before.Runs[0].WorkflowID, "").Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	temporal.Kill()
	requestIDs := make([]string, 10)
	for i := range requestIDs {
		requestIDs[i] = sentry.NewRequestID()
		for range 2 { // Request-IDs come again during the outage, too
			if answer := deliver(requestIDs[i], 0); answer.Status != starter.Accepted {
				t.Errorf("without Temporal a delivery was answered %+v", answer)
			}
		}
	}
	devservertest.Start(t, options)

	for _, requestID := range requestIDs {
		var answer hook.Answer
		for answer = deliver(requestID, 10); answer.Status == starter.Accepted; { // until Temporal is found to be back
			answer = deliver(requestID, 10)
		}
		run := answer.Runs[0]
		if err := c.GetWorkflow(t.Context(), run.WorkflowID, run.RunID).Get(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if again := deliver(requestID, 10); again.Status != starter.Existing || again.Runs[0].RunID != run.RunID {
			t.Errorf("a delivery of the outage is %+v, and once more %+v", run, again)
		}
	}
	again := deliver(first, 10)
	if again.Status != starter.Existing || again.Runs[0].RunID != before.Runs[0].RunID {
		t.Errorf("a delivery from before the outage is %+v, and after it %+v", before, again)
	}
}
