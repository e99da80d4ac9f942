package process_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// routesFile is a ROUTES_FILE that a test changes.
type routesFile string

func newRoutesFile(t *testing.T, text string) routesFile {
	t.Helper()
	f := routesFile(filepath.Join(t.TempDir(), "routes.yaml"))
	f.replace(t, text)
	return f
}

// replace puts another file in its place.
func (f routesFile) replace(t *testing.T, text string) {
	t.Helper()
	beside := string(f) + ".new"
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, string(f)); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes into the file itself, line by line.
func (f routesFile) overwrite(t *testing.T, text string) {
	t.Helper()
	file, err := os.Create(string(f))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for line := range strings.Lines(text) {
		if _, err := file.WriteString(line); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// runIngressWithRoutes runs an ingress of all integrations with the routes of a file.
func runIngressWithRoutes(t *testing.T, temporal, journalDir string, file routesFile) (public, admin string, stop func()) {
	t.Helper()
	p, a := listen(t), listen(t)
	stop = inBackground(t, func(ctx context.Context) error {
		cfg := config.Ingress{Common: common(temporal), MaxBodyBytes: 1 << 20, JournalDir: journalDir, RoutesFile: string(file)}
		return process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	})
	return "http://" + p.Addr().String(), "http://" + a.Addr().String(), stop
}

// routeTo is a file with a route for new issues to PayTriage in a namespace.
func routeTo(namespace string) string {
	return "routes:\n  - workflow: PayTriage\n    events: [sentry.issue.created]\n    namespace: " + namespace + "\n    task_queue: pay-node\n"
}

func TestARouteLeadsToANamespaceOfItsOwnAlsoWhenItComesLater(t *testing.T) {
	file := newRoutesFile(t, routeTo("bare"))
	public, admin, _ := runIngressWithRoutes(t, devservertest.Server().Address, t.TempDir(), file)
	if answer := sendAndWait(t, public, integrations[0], "comment.created", 1); answer.Status != starter.Ignored {
		t.Errorf("what is in no route was answered %+v", answer)
	}
	for _, namespace := range []string{"bare", "routed"} {
		file.replace(t, routeTo(namespace))
		enough := time.Now().Add(30 * time.Second)
		for {
			answer := sendAndWait(t, public, integrations[0], "issue.created", 10)
			if answer.Status != starter.Started || len(answer.Runs) != 1 || answer.Runs[0].Workflow != "PayTriage" {
				t.Fatalf("answered %+v", answer)
			}
			if strings.Contains(answer.Runs[0].URL, "/namespaces/"+namespace+"/") {
				described, err := clientOf(t, namespace).DescribeWorkflowExecution(t.Context(), answer.Runs[0].WorkflowID, answer.Runs[0].RunID)
				if err != nil {
					t.Fatal(err)
				}
				if queue := described.GetExecutionConfig().GetTaskQueue().GetName(); queue != "pay-node" {
					t.Errorf("the run in %s is on the task queue %s", namespace, queue)
				}
				break
			}
			if time.Now().After(enough) {
				t.Fatalf("no run comes to %s: %+v", namespace, answer)
			}
			<-time.After(100 * time.Millisecond)
		}
		awaitMetric(t, admin, `sentry_temporal_namespace_answers{connection="",namespace="`+namespace+`"} 1`)
	}
}

func TestAWrongRoutesFileIsAConfigurationProblemAtTheStart(t *testing.T) {
	file := newRoutesFile(t, "routes:\n  - workflow: nobody\n")
	t.Setenv("ROUTES_FILE", string(file))
	t.Setenv("SENTRY_CLIENT_SECRET", "")
	_, err := process.LoadIngress()
	if text := fmt.Sprint(err); !strings.Contains(text, "ROUTES_FILE: "+string(file)+":2:15: ") || !strings.Contains(text, "SENTRY_CLIENT_SECRET: ") {
		t.Errorf("the configuration has the problems %v", err)
	}
	cfg := config.Ingress{Common: common("127.0.0.1:1"), MaxBodyBytes: 1 << 20, JournalDir: t.TempDir(), RoutesFile: string(file)}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := process.Ingress(ctx, cfg, listen(t), listen(t), slog.New(slog.DiscardHandler)); err == nil || ctx.Err() != nil {
		t.Errorf("an ingress with a wrong file ran until %v: %v", ctx.Err(), err)
	}
}

// A restart with a wrong file is no reason to lose what comes.
func TestAnIngressThatHadRoutesStartsWithThemWhereTheFileIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := newRoutesFile(t, routeTo("default"))
	_, _, stop := runIngressWithRoutes(t, devservertest.Server().Address, dir, file)
	stop()
	file.replace(t, "routes:\n  - workflow: nobody\n")
	t.Setenv("ROUTES_FILE", string(file))
	t.Setenv("JOURNAL_DIR", dir)
	t.Setenv("SENTRY_CLIENT_SECRET", "a-secret-that-is-long-enough")
	if _, err := process.LoadIngress(); err != nil {
		t.Errorf("the configuration has the problems %v", err)
	}
	public, admin, _ := runIngressWithRoutes(t, devservertest.Server().Address, dir, file)
	awaitMetric(t, admin, "sentry_temporal_routes_file_failing 1")
	if answer := send(t, public, integrations[0], "issue.created"); len(answer.Runs) != 1 || answer.Runs[0].Workflow != "PayTriage" {
		t.Errorf("answered %+v", answer)
	}
}

// What waited for a namespace that no route named any more is started once one does.
func TestWhatIsParkedForAMissingRouteIsStartedOnceThereIsOne(t *testing.T) {
	dir := t.TempDir()
	away, _ := nowhere(t)
	file := newRoutesFile(t, routeTo("bare"))
	public, _, stop := runIngressWithRoutes(t, away, dir, file)
	answer := send(t, public, integrations[0], "issue.created")
	if answer.Status != starter.Accepted || len(answer.Runs) != 1 {
		t.Fatalf("answered %+v", answer)
	}
	stop()

	file.replace(t, routeTo("default"))
	_, admin, _ := runIngressWithRoutes(t, devservertest.Server().Address, dir, file)
	awaitMetric(t, admin, "sentry_temporal_journal_parked 1")
	file.replace(t, routeTo("bare"))
	awaitMetric(t, admin, "sentry_temporal_journal_parked 0")
	inputOf(t, clientOf(t, "bare"), answer.Runs[0].WorkflowID)
}

// counting is a Temporal that takes every start. Asked for one again, as for a
// delivery that the disk did not keep in time and kept after all, it has no other
// run.
type counting struct {
	denying
	mu   sync.Mutex
	runs map[string]bool // by namespace and workflow ID
}

func (c *counting) StartWorkflowExecution(_ context.Context, r *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[r.GetNamespace()+" "+r.GetWorkflowId()] = true
	return &workflowservice.StartWorkflowExecutionResponse{RunId: "a-run", Started: true}, nil
}

// pair is a file of two routes with another workflow, namespace and task queue
// each. Half of it is a file, too.
func pair(name string) string {
	return fmt.Sprintf(`routes:
  - workflow: %[1]s_one
    events: [sentry.issue.created]
    namespace: %[1]s-first
  - workflow: %[1]s_two
    events: ["sentry.issue.*"]
    namespace: %[1]s-second
`, name)
}

// Right and wrong files come in turn while 500 deliveries a second do.
func TestWhileRoutesChangeNoDeliveryIsLostOrDoubledOrPlannedByHalfAFile(t *testing.T) {
	temporal := &counting{runs: map[string]bool{}}
	l := listen(t)
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, temporal)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	file := newRoutesFile(t, pair("a"))
	public, admin, _ := runIngressWithRoutes(t, l.Addr().String(), t.TempDir(), file)

	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	answered := map[string]int{} // runs by namespace and workflow ID
	byPair := map[string]int{}
	refused := map[string]bool{}    // Request-IDs that a disk which is busy has had answered 500
	var last atomic.Pointer[string] // the pair of an answer that came lately
	none := ""
	last.Store(&none)
	sending, enough := context.WithCancel(t.Context())
	defer enough()
	var senders sync.WaitGroup
	ticks := make(chan struct{})
	senders.Go(func() {
		defer close(ticks)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-sending.Done():
				return
			case <-ticker.C:
			}
			for range 10 {
				ticks <- struct{}{}
			}
		}
	})
	for range 16 {
		senders.Go(func() {
			for range ticks {
				id := sentry.NewRequestID()
				answer, err := hook.Send(t.Context(), hook.Delivery{
					URL: public + "/webhooks/sentry", Secret: integrations[0].Secrets[0].Reveal(), Resource: "issue", RequestID: id, Body: body,
				})
				if err == nil && answer.Code == http.StatusInternalServerError {
					mu.Lock()
					refused[id] = true
					mu.Unlock()
					continue
				}
				if err != nil || answer.Code != http.StatusAccepted {
					t.Errorf("answered %+v, %v", answer, err)
					continue
				}
				var workflows []string
				mu.Lock()
				for _, run := range answer.Runs {
					workflows = append(workflows, run.Workflow)
					name, which, _ := strings.Cut(run.Workflow, "_")
					answered[name+map[string]string{"one": "-first", "two": "-second"}[which]+" "+run.WorkflowID]++
				}
				planned := strings.Join(workflows, " ")
				byPair[planned]++
				mu.Unlock()
				last.Store(&planned)
			}
		})
	}
	used := func(name string) {
		t.Helper()
		want := name + "_one " + name + "_two"
		for end := time.Now().Add(30 * time.Second); *last.Load() != want; <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the routes of %s are not used: %s", name, *last.Load())
			}
		}
	}
	const wrong = "routes:\n  - workflow: c_one\n    events: [sentry.issue.created]\n  - workflow: c_two\n    event: [sentry.issue.created]\n"
	used("a")
	for _, next := range []string{"b", "a", "b"} {
		file.replace(t, wrong)
		awaitMetric(t, admin, "sentry_temporal_routes_file_failing 1")
		if next == "a" {
			file.overwrite(t, pair(next))
		} else {
			file.replace(t, pair(next))
		}
		awaitMetric(t, admin, "sentry_temporal_routes_file_failing 0")
		used(next)
	}
	enough()
	senders.Wait()
	awaitMetric(t, admin, "sentry_temporal_journal_pending 0")

	if got := slices.Sorted(maps.Keys(byPair)); !slices.Equal(got, []string{"a_one a_two", "b_one b_two"}) {
		t.Errorf("deliveries have the runs %v", byPair)
	}
	temporal.mu.Lock()
	defer temporal.mu.Unlock()
	for run, n := range answered {
		if n != 1 || !temporal.runs[run] {
			t.Errorf("%s was answered %d times, and is started: %t", run, n, temporal.runs[run])
		}
	}
	for run := range temporal.runs {
		if id := run[strings.LastIndex(run, ":")+1:]; answered[run] == 0 && !refused[id] {
			t.Errorf("%s is started, and was not answered", run)
		}
	}
	t.Logf("%v, and %d answered 500", byPair, len(refused))
}
