package main

import (
	"maps"
	"testing"

	"go.temporal.io/sdk/client"

	"sentry-temporal/activities"
	"sentry-temporal/internal/starter"
)

// From a delivery to what people see: each effect is there once, and the same delivery
// again adds nothing.
func TestAFatalIssueIsPagedPostedTicketedToldAndLinkedOnce(t *testing.T) {
	s := quietStack(t.TempDir())
	systems := standIns(t, "sentry")
	s.outside = systems.Outside
	at := start(t, s)
	issue := story(false)[0]
	if err := systems.seed(issue); err != nil {
		t.Fatal(err)
	}
	delivery := sampleOf(t, at, issue.name)
	delivery.Body = issue.body
	want := map[string]int{
		activities.EffectPage: 1, activities.EffectSlack: 1, activities.EffectTicket: 1, activities.EffectLink: 1, activities.EffectWebhook: 1,
	}
	for _, status := range []starter.Status{starter.Started, starter.Existing} {
		answer := send(t, delivery)
		if answer.Status != status || len(answer.Runs) != 1 {
			t.Fatalf("answered %+v", answer)
		}
		awaitRun(t, at, answer.Runs[0])
		if got := systems.present(); !maps.Equal(got, want) {
			t.Errorf("%s: there are %v, not %v", status, got, want)
		}
	}
}

// awaitRun waits for a run to complete.
func awaitRun(t *testing.T, at addresses, run starter.Run) {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: at.temporal})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.GetWorkflow(t.Context(), run.WorkflowID, run.RunID).Get(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
