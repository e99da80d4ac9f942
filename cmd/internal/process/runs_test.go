package process_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
)

// awaitRun waits until the state of the run of the delivery that came last is so.
func awaitRun(t *testing.T, address, status string) admin.RunRecord {
	t.Helper()
	for began := time.Now(); ; {
		code, text := get(t, address+"/api/deliveries")
		var list struct{ Deliveries []admin.DeliveryRecord }
		if err := json.Unmarshal([]byte(text), &list); err != nil || code != http.StatusOK {
			t.Fatalf("answered %d %s: %v", code, text, err)
		}
		if len(list.Deliveries) > 0 && len(list.Deliveries[0].Runs) == 1 {
			if run := list.Deliveries[0].Runs[0]; run.State != nil && run.State.Status == status {
				return run
			}
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("never was %s: %s", status, text)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestARowShowsTheStateOfItsRunInTemporal(t *testing.T) {
	temporal := devservertest.Server().Address
	lonely := config.Integration{Name: "lonely", Secrets: []config.Secret{"s"}, Namespace: "default", TaskQueue: "lonely-" + sentry.NewRequestID()}
	public, address, _ := runIngressOf(t, temporal, t.TempDir(), 0, lonely)
	sendAndWait(t, public, lonely, "issue.created", 10)
	began := time.Now()
	run := awaitRun(t, address, admin.RunUntaken)
	within(t, "the run that no worker takes", time.Since(began))
	if !strings.Contains(run.State.Reason, lonely.TaskQueue) {
		t.Errorf("it is %+v", run.State)
	}
	runWorkerOf(t, lonely)
	began = time.Now()
	awaitRun(t, address, admin.RunCompleted)
	within(t, "its end", time.Since(began))
}
