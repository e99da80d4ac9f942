package process_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
)

// stateOf asks GET /api/state.
func stateOf(t *testing.T, address string) admin.StateRecord {
	t.Helper()
	status, text := get(t, address+"/api/state")
	var state admin.StateRecord
	if err := json.Unmarshal([]byte(text), &state); err != nil || status != http.StatusOK {
		t.Fatalf("answered %d %s: %v", status, text, err)
	}
	return state
}

// awaitQueues waits until the task queues are as the levels say, and returns what is
// said of them, and how long that took.
func awaitQueues(t *testing.T, address string, levels ...admin.Level) (admin.WorkersRecord, time.Duration) {
	t.Helper()
	began := time.Now()
	for {
		workers := stateOf(t, address).Workers
		var are []admin.Level
		for _, q := range workers.Queues {
			are = append(are, q.Level)
		}
		if fmt.Sprint(are) == fmt.Sprint(levels) {
			return workers, time.Since(began)
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("never was %v: %+v", levels, workers)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// within is the promise that something is seen within ten seconds.
func within(t *testing.T, what string, took time.Duration) {
	t.Helper()
	t.Logf("%s was seen after %s", what, took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("%s was seen after %s", what, took)
	}
}

// The integration has a task queue of its own, which nobody has polled ever.
func TestARunThatNoWorkerTakesIsSeenWithinTenSeconds(t *testing.T) {
	temporal := devservertest.Server().Address
	lonely := config.Integration{Name: "lonely", Secrets: []config.Secret{"s"}, Namespace: "default", TaskQueue: "lonely-" + sentry.NewRequestID()}
	public, address, _ := runIngressOf(t, temporal, t.TempDir(), 0, lonely)
	if name, port := stateOf(t, address).Instance, public[strings.LastIndex(public, ":"):]; !strings.HasSuffix(name, port) || name == port {
		t.Errorf("the ingress at %s calls itself %s", public, name)
	}
	labels := func(kind string) string {
		return `{connection="",kind="` + kind + `",namespace="default",task_queue="` + lonely.TaskQueue + `"}`
	}

	workers, _ := awaitQueues(t, address, admin.LevelBusy)
	if title, notes := workers.Title, strings.Join(workers.Notes, "\n"); title != "No worker polls" || !strings.Contains(notes, "for 5 min at least") {
		t.Errorf("of a task queue that nobody polls it says %s: %s", title, notes)
	}
	awaitMetric(t, address, "sentry_temporal_task_queue_pollers"+labels("workflow")+" 0")
	awaitMetric(t, address, "sentry_temporal_task_queue_backlog_age_seconds"+labels("workflow")+" 0")

	sendAndWait(t, public, lonely, "issue.created", 10)
	workers, took := awaitQueues(t, address, admin.LevelBad)
	within(t, "the first run", took)
	if workers.Title != "1 run waits and no worker polls" {
		t.Errorf("it says %+v", workers.Verdict)
	}
	awaitMetric(t, address, "sentry_temporal_task_queue_backlog"+labels("workflow")+" 1")

	_, stop := runWorkerOf(t, lonely)
	workers, took = awaitQueues(t, address, admin.LevelGood)
	within(t, "the worker", took)
	if q := workers.Queues[0]; q.Workflow.Pollers != 1 || q.Activity.Pollers != 1 || time.Since(q.Workflow.LastPoll) > time.Minute {
		t.Errorf("it has %+v", q)
	}
	awaitMetric(t, address, "sentry_temporal_task_queue_pollers"+labels("activity")+" 1")
	awaitMetric(t, address, "sentry_temporal_task_queue_backlog"+labels("workflow")+" 0")

	// The server still knows the worker as one that polls.
	stop()
	sendAndWait(t, public, lonely, "issue.created", 10)
	workers, took = awaitQueues(t, address, admin.LevelBad)
	within(t, "the run after the worker was gone", took)
	if q := workers.Queues[0]; workers.Title != "1 run waits and no worker takes any" || q.Workflow.Pollers != 1 {
		t.Errorf("it says %+v of %+v", workers.Verdict, q)
	}

	runWorkerOf(t, lonely)
	_, took = awaitQueues(t, address, admin.LevelGood)
	within(t, "the worker that is back", took)
}

func TestTaskQueuesOfRoutesComeAndGoWithTheFile(t *testing.T) {
	route := func(queues ...string) string {
		file := "routes:\n"
		for i, q := range queues {
			file += fmt.Sprintf("  - {workflow: W%d, events: [sentry.issue.created], namespace: routed, task_queue: %s, integrations: [sentry]}\n", i, q)
		}
		return file
	}
	awaitNames := func(address string, want ...string) {
		t.Helper()
		enough := time.Now().Add(time.Minute)
		for {
			var names []string
			for _, q := range stateOf(t, address).Workers.Queues {
				if q.Level == admin.LevelBusy {
					names = append(names, q.Namespace+" "+q.TaskQueue)
				}
			}
			if fmt.Sprint(names) == fmt.Sprint(want) {
				return
			}
			if time.Now().After(enough) {
				t.Fatalf("there are %v", names)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	file := newRoutesFile(t, route("one", "two"))
	_, address, _ := runIngressWithRoutes(t, devservertest.Server().Address, t.TempDir(), file)
	awaitNames(address, "routed one", "routed two")
	file.replace(t, route("two", "three"))
	awaitNames(address, "routed three", "routed two")
	awaitMetric(t, address, `sentry_temporal_task_queue_pollers{connection="",kind="workflow",namespace="routed",task_queue="three"} 0`)
	if _, text := get(t, address+"/metrics"); strings.Contains(text, `task_queue="one"`) {
		t.Error("a task queue that is in no route any more still is in the metrics")
	}
}

func TestNothingIsClaimedOfTaskQueuesWhileTemporalIsAway(t *testing.T) {
	closed := listen(t)
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	_, address, _ := runIngressOf(t, nobody, t.TempDir(), 0, integrations[0])
	enough := time.Now().Add(time.Minute)
	for stateOf(t, address).Workers.Queues[0].Problem == "" {
		if time.Now().After(enough) {
			t.Fatal("there never was a problem")
		}
		<-time.After(50 * time.Millisecond)
	}
	if workers := stateOf(t, address).Workers; workers.Level != admin.LevelUnknown {
		t.Errorf("it says %+v", workers)
	}
	if _, text := get(t, address+"/metrics"); strings.Contains(text, "sentry_temporal_task_queue_") {
		t.Errorf("the metrics are\n%s", text)
	}
}

// One namespace is missing, and the other is all right.
func TestTheLaneOfANamespaceThatIsMissingIsSeenWithinTenSeconds(t *testing.T) {
	bad := config.Integration{Name: "bad", Secrets: []config.Secret{"s0"}, Namespace: "missing-" + sentry.NewRequestID(), TaskQueue: "sentry"}
	public, address, _ := runIngressOf(t, devservertest.Server().Address, t.TempDir(), 0, bad, integrations[0])
	send(t, public, bad, "issue.created")
	began := time.Now()
	var temporal admin.TemporalRecord
	for temporal = stateOf(t, address).Temporal; temporal.Namespaces[0].Lane.Failing == "" || temporal.Namespaces[1].Level != admin.LevelGood; temporal = stateOf(t, address).Temporal {
		if time.Since(began) > time.Minute {
			t.Fatalf("it says %+v", temporal)
		}
		<-time.After(50 * time.Millisecond)
	}
	within(t, "the lane", time.Since(began))
	said := strings.Join(temporal.Notes, "\n")
	if temporal.Title != "Well for 1 of 2 namespaces" || !strings.Contains(said, bad.Namespace+": refuses") || !strings.Contains(said, "1 delivery waits") || temporal.Level != admin.LevelBad {
		t.Errorf("it says %+v", temporal.Verdict)
	}
}
