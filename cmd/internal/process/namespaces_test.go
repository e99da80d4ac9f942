package process_test

import (
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// A delivery has a run in a namespace that is not there yet, and one in another.
func TestARunStartsWhileTheNamespaceOfAnotherOfItsDeliveryIsMissing(t *testing.T) {
	late := "late-" + sentry.NewRequestID()
	file := newRoutesFile(t, `routes:
  - workflow: Late
    events: [sentry.issue.created]
    namespace: `+late+`
  - workflow: Healthy
    events: [sentry.issue.created]
`)
	dir := t.TempDir()
	address := devservertest.Server().Address
	public, admin, stop := runIngressWithRoutes(t, address, dir, file)
	c := clientOf(t, "default")
	for range 5 {
		answer := send(t, public, integrations[0], "issue.created")
		if answer.Status != starter.Accepted || len(answer.Runs) != 2 {
			t.Fatalf("answered %+v", answer)
		}
		inputOf(t, c, answer.Runs[1].WorkflowID)
	}
	awaitMetric(t, admin, "sentry_temporal_journal_pending 5")
	awaitMetric(t, admin, `sentry_temporal_lane_failing{connection="",namespace="`+late+`"} 1`)
	awaitMetric(t, admin, `sentry_temporal_lane_failing{connection="",namespace="default"} 0`)

	stop() // and a restart in between
	public, admin, _ = runIngressWithRoutes(t, address, dir, file)
	answer := send(t, public, integrations[0], "issue.created")
	inputOf(t, c, answer.Runs[1].WorkflowID)
	_, err := c.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: late, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitMetric(t, admin, "sentry_temporal_journal_pending 0")
	awaitMetric(t, admin, "sentry_temporal_journal_parked 0")
	inputOf(t, clientOf(t, late), answer.Runs[0].WorkflowID)
}
