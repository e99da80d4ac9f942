package process_test

import (
	"testing"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
)

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
