package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/cmd/internal/process"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
	"sentry-temporal/worker"
	"sentry-temporal/workflows"
	"sentry-temporal/workflows/act"
	"sentry-temporal/workflows/triageissue"
)

// broken is whether the code of the runs that are told to panic is.
var broken atomic.Bool

// asTold does what the delivery that it is started for says.
var asTold = triage.New("do_as_told", func(ctx workflow.Context, env sentry.Envelope) (string, error) {
	var body struct{ Do string }
	if err := json.Unmarshal([]byte(env.Body), &body); err != nil {
		return "", err
	}
	switch body.Do {
	case "fail":
		return "", errors.New("the run fails")
	case "panic":
		if broken.Load() {
			panic("the code is wrong")
		}
	case "call":
		ctx = workflow.WithActivityOptions(ctx, triage.RemoteOptions())
		return "", workflow.ExecuteActivity(ctx, "GoMissing").Get(ctx, nil)
	case "act":
		urgent := activities.Decision{Untold: true, Steps: []activities.Step{{Effect: activities.EffectSlack, To: "#sentry", Key: "k"}}}
		_, _ = act.Carry(ctx, urgent)
	}
	return "", nil
}, triage.On("sentry.installation.told"))

// scene is a stack in which something happens, and a Prometheus that looks.
type scene struct {
	*testing.T
	*prometheus
	integration   config.Integration
	public, admin string
	before        int      // the last scrape before it happens
	during        int      // and while it does
	hidden        []string // what is another name each time, and what it is called here
}

// newScene has a task queue of its own, so that no run of another is in it.
func newScene(t *testing.T) *scene {
	t.Helper()
	queue := "alerts-" + sentry.NewRequestID()
	return &scene{T: t, prometheus: watch(), hidden: []string{queue, "queue"}, integration: config.Integration{
		Name: "sentry", Secrets: []config.Secret{"s1"}, Namespace: "default", TaskQueue: queue,
	}}
}

// hide has a name that is another one each time be called as.
func (s *scene) hide(name, as string) { s.hidden = append(s.hidden, name, as) }

// common is the configuration of both programs.
func (s *scene) common() config.Common {
	of := common(devservertest.Server().Address)
	of.Integrations = []config.Integration{s.integration}
	return of
}

// ingress runs one, in the place of the one before, if there was one and it is stopped.
func (s *scene) ingress(change ...func(*config.Ingress)) (stop func()) {
	s.Helper()
	p, a := listen(s.T), listen(s.T)
	cfg := config.Ingress{Common: s.common(), MaxBodyBytes: 1 << 20, JournalDir: s.TempDir()}
	for _, c := range change {
		c(&cfg)
	}
	stop = inBackground(s.T, func(ctx context.Context) error {
		return process.Ingress(ctx, cfg, p, a, slog.New(slog.DiscardHandler))
	})
	s.public, s.admin = "http://"+p.Addr().String(), "http://"+a.Addr().String()
	s.targets["ingress"] = s.admin
	return stop
}

// worker runs one, in the place of the one before, if there was one and it is stopped.
func (s *scene) worker(change func(*config.Worker)) (stop func()) {
	s.Helper()
	return s.workerOf(change, workflows.All)
}

func (s *scene) workerOf(change func(*config.Worker), of []triage.Workflow) (stop func()) {
	s.Helper()
	a := listen(s.T)
	cfg := config.Worker{Common: s.common()}
	if change != nil {
		change(&cfg)
	}
	stop = inBackground(s.T, func(ctx context.Context) error {
		return worker.Serve(ctx, cfg, a, slog.New(slog.DiscardHandler), of, activities.All...)
	})
	s.targets["worker"] = "http://" + a.Addr().String()
	for enough := time.Now().Add(time.Minute); ready(s.T, s.targets["worker"]).code != http.StatusOK; {
		if time.Now().After(enough) {
			s.Fatal("the worker does not poll")
		}
		<-time.After(20 * time.Millisecond)
	}
	return stop
}

// tell sends a delivery whose run does as it is told.
func (s *scene) tell(do string) hook.Answer {
	s.Helper()
	body := fmt.Sprintf(`{"action":"told","do":%q,"installation":{"uuid":"7a485448-a9e2-4c85-8a3c-4f44175783c9"},"data":{}}`, do)
	return s.post(body, s.integration.Secrets[0].Reveal())
}

func (s *scene) post(body, secret string) hook.Answer {
	s.Helper()
	return post(s.T, hook.Delivery{
		URL: s.public + "/webhooks/" + s.integration.Name, Secret: secret, Resource: "installation", RequestID: sentry.NewRequestID(), Body: []byte(body),
	})
}

// await waits until a line of the metrics of an instance is like the expression, and
// returns what is in its parentheses.
func (s *scene) await(instance, expression string) string {
	s.Helper()
	line := regexp.MustCompile("(?m)^" + expression + "$")
	for enough := time.Now().Add(time.Minute); ; {
		text, err := metricsOf(s.targets[instance])
		if err != nil {
			s.Fatal(err)
		}
		if m := line.FindSubmatch(text); m != nil {
			return string(m[len(m)-1])
		}
		if time.Now().After(enough) {
			s.Fatalf("%s never was in the metrics of the %s:\n%s", expression, instance, text)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// taskFails has a minute pass in which the task of a run fails, once more or for the first
// time.
func (s *scene) taskFails() {
	s.Helper()
	const counter = `temporal_workflow_task_execution_failed_total\{.*\}`
	s.so(s.every)
	text, err := metricsOf(s.targets["worker"])
	if err != nil {
		s.Fatal(err)
	}
	now := 0
	if m := regexp.MustCompile("(?m)^" + counter + " (.*)$").FindSubmatch(text); m != nil {
		now, _ = strconv.Atoi(string(m[1]))
	}
	for n := now; n <= now; {
		n, _ = strconv.Atoi(s.await("worker", counter+" (.*)"))
	}
}

// slow is how many answers were.
func (s *scene) slow() int {
	s.Helper()
	count := func(series string) int {
		n, err := strconv.Atoi(s.await("ingress", "sentry_temporal_ack_duration_seconds_"+series+" (.*)"))
		if err != nil {
			s.Fatal(err)
		}
		return n
	}
	return count("count") - count(`bucket\{le="0.7"\}`)
}

// change asks the ingress to change what it has in its journal.
func (s *scene) change(request string) {
	s.Helper()
	response, err := http.Post(s.admin+"/journal/"+request, "", nil)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		s.Fatalf("%s answered %d", request, response.StatusCode)
	}
}

// register makes a namespace.
func (s *scene) register(namespace string) {
	s.Helper()
	_, err := clientOf(s.T, namespace).WorkflowService().RegisterNamespace(s.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		s.Fatal(err)
	}
}

// settled waits until nothing waits, neither for Temporal nor for a worker.
func (s *scene) settled() {
	s.Helper()
	s.await("ingress", "sentry_temporal_journal_pending 0")
	s.await("ingress", `sentry_temporal_task_queue_pollers\{.*kind="workflow".*\} [1-9].*`)
	s.await("ingress", `sentry_temporal_task_queue_backlog_age_seconds\{.*kind="workflow".*\} 0`)
}

// calm is how it is before anything happens, once nothing waits.
func (s *scene) calm() {
	s.Helper()
	s.settled()
	s.begin()
}

// begin is calm where Temporal says nothing.
func (s *scene) begin() {
	s.Helper()
	s.pass(s.T, 30*time.Minute)
	s.before = s.scrapes - 1
}

// so is how it is while it happens.
func (s *scene) so(while time.Duration) {
	s.Helper()
	s.pass(s.T, while)
	s.during = s.scrapes - 1
}

// TestEachAlertFiresWhenWhatItIsForHappensAndOnlyThen has the rules look at the metrics
// of real programs.
func TestEachAlertFiresWhenWhatItIsForHappensAndOnlyThen(t *testing.T) {
	rules := rulesOf(t, "deploy/prometheus-rules.yml")
	var brought []string
	for name, tt := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			tt.play(s)
			s.settled()
			s.pass(t, 40*time.Minute)
			all := s.firing(t, rules, s.hidden)
			for n, firing := range all {
				for alert, summary := range firing {
					if strings.Contains(summary, "  ") || strings.Contains(summary, "no value") {
						t.Errorf("the summary of %s is %q", alert, summary)
					}
					if n <= s.before {
						t.Fatalf("before anything happens: %s %s", alert, summary)
					}
					if !slices.Contains(tt.fire, alert) {
						t.Fatalf("%d minutes after it happened: %s %s", n-s.before, alert, summary)
					}
				}
			}
			for _, alert := range tt.fire {
				if !slices.ContainsFunc(all[:s.during+1], func(f fired) bool { return f[alert] != "" }) {
					t.Errorf("while it is so, there is no %s, but %v", alert, all[s.during])
				}
			}
			if last := slices.Sorted(maps.Keys(all[s.during])); tt.last != nil && !slices.Equal(last, tt.last) {
				t.Errorf("at last there are %v", last)
			}
			for alert := range all[len(all)-1] {
				t.Errorf("in the end there still is %s", alert)
			}
		})
		for _, alert := range tt.fire {
			name, _, _ := strings.Cut(alert, "{")
			brought = append(brought, name)
		}
	}
	for _, rule := range rules {
		if !slices.Contains(brought, rule.Alert) {
			t.Errorf("nothing brings about %s", rule.Alert)
		}
	}
}

var scenes = map[string]struct {
	fire []string // some time while it is so
	play func(*scene)
	last []string // to the end of what is so; nil: not looked at
}{
	"a run fails": {
		fire: []string{`SentryWorkflowsFail{namespace="default", task_queue="queue", workflow_type="do_as_told"}`},
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			s.calm()
			s.tell("fail")
			s.await("worker", `temporal_workflow_failed_total\{.*workflow_type="do_as_told".*\} 1`)
			s.so(10 * time.Minute)
		},
	},
	"the code of a workflow is wrong": {
		fire: []string{`SentryWorkflowTasksFail{namespace="default", task_queue="queue", workflow_type="do_as_told"}`},
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			s.calm()
			broken.Store(true)
			s.tell("panic")
			s.taskFails()
			s.taskFails()
			s.so(10 * time.Minute)
			broken.Store(false)
			s.await("worker", `temporal_workflow_completed_total\{.*workflow_type="do_as_told".*\} 1`)
		},
	},
	"runs of another program fail": {
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			var failed atomic.Int64
			program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for _, counter := range []string{"workflow_failed", "workflow_task_execution_failed", "unregistered_activity_invocation"} {
					fmt.Fprintf(w, "temporal_%s_total{namespace=\"default\"} %d\n", counter, failed.Load())
				}
			}))
			s.Cleanup(program.Close)
			s.targets[another] = program.URL
			s.calm()
			failed.Store(7)
			s.so(10 * time.Minute)
		},
	},
	"an ingress is new": {
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			s.calm()
			s.so(3 * time.Hour)
		},
	},
	"a workflow is not registered": {
		fire: []string{`SentryWorkflowTasksFail{namespace="default", task_queue="queue", workflow_type="do_as_told"}`},
		play: func(s *scene) {
			s.ingress()
			stop := s.workerOf(nil, triage.List(triageissue.Workflow))
			s.calm()
			s.tell("end")
			s.taskFails()
			s.taskFails()
			s.so(10 * time.Minute)
			stop()
			s.worker(nil)
			s.await("worker", `temporal_workflow_completed_total\{.*workflow_type="do_as_told".*\} 1`)
		},
	},
	"an activity is registered nowhere": {
		fire: []string{
			`SentryActivityMissing{activity_type="GoMissing", namespace="default", task_queue="queue", workflow_type="do_as_told"}`,
			`SentryWorkflowsFail{namespace="default", task_queue="queue", workflow_type="do_as_told"}`,
		},
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			s.calm()
			s.tell("call")
			s.await("worker", `temporal_unregistered_activity_invocation_total\{.*\} 1`)
			s.await("worker", `temporal_workflow_failed_total\{.*workflow_type="do_as_told".*\} 1`)
			s.so(5 * time.Minute)
		},
	},
	"no worker is there": {
		fire: []string{`SentryWorkerMissing{namespace="default", task_queue="queue"}`, `SentryTasksWait{kind="workflow", namespace="default", task_queue="queue"}`},
		play: func(s *scene) {
			stop, stopWorker := s.ingress(), s.worker(nil)
			s.calm()
			stop()
			stopWorker()
			s.integration.TaskQueue = "alerts-" + sentry.NewRequestID() // Temporal remembers those of the other
			s.hide(s.integration.TaskQueue, "queue")
			s.ingress()
			s.tell("end")
			s.await("ingress", `sentry_temporal_task_queue_backlog\{.*kind="workflow".*\} 1`)
			s.so(10 * time.Minute)
			s.worker(nil)
		},
	},
	"a namespace is missing": {
		fire: []string{
			`SentryStartsFail{instance="ingress", job="sentry-temporal", namespace="later"}`,
			`SentryLaneWaits{namespace="later"}`,
			`SentryJournalWaits{instance="ingress", job="sentry-temporal"}`,
		},
		play: func(s *scene) {
			namespace := "later-" + sentry.NewRequestID()
			s.hide(namespace, "later")
			stop := s.worker(nil)
			s.integration.Namespace = namespace
			s.ingress()
			s.begin()
			s.tell("end")
			s.await("ingress", `sentry_temporal_lane_failing\{.*\} 1`)
			s.so(10 * time.Minute)
			s.register(namespace)
			stop()
			s.worker(nil)
			s.await("ingress", `sentry_temporal_journal_pending 0`)
			s.await("ingress", `sentry_temporal_lane_failing\{.*\} 0`)
		},
	},
	"a namespace is missing, and what is for it is discarded": {
		fire: []string{
			`SentryStartsFail{instance="ingress", job="sentry-temporal", namespace="never"}`,
			`SentryLaneWaits{namespace="never"}`,
			`SentryJournalWaits{instance="ingress", job="sentry-temporal"}`,
		},
		play: func(s *scene) {
			namespace := "never-" + sentry.NewRequestID()
			s.hide(namespace, "never")
			s.worker(nil)
			s.integration.Namespace = namespace
			stop := s.ingress()
			s.begin()
			for range 3 {
				s.tell("end")
			}
			s.await("ingress", `sentry_temporal_lane_failing\{.*\} 1`)
			s.so(10 * time.Minute)
			s.change("discard?all=true&state=pending")
			s.await("ingress", `sentry_temporal_lane_waiting\{.*\} 0`)
			s.so(10 * time.Minute)
			stop()
			s.integration.Namespace = "default"
			s.ingress()
		},
		last: []string{},
	},
	"an integration may start less than comes": {
		fire: []string{`SentryLaneWaits{namespace="default"}`, `SentryJournalWaits{instance="ingress", job="sentry-temporal"}`},
		play: func(s *scene) {
			s.integration.MaxStartsPerSecond = 0.1
			dir := s.TempDir()
			stop := s.ingress(func(cfg *config.Ingress) { cfg.JournalDir = dir })
			s.worker(nil)
			s.calm()
			for range 10 {
				s.tell("end")
			}
			s.so(10 * time.Minute)
			stop()
			s.integration.MaxStartsPerSecond = 0
			s.ingress(func(cfg *config.Ingress) { cfg.JournalDir = dir })
			s.await("ingress", `sentry_temporal_journal_pending 0`)
		},
	},
	"an integration is not configured any more": {
		fire: []string{
			`SentryDeliveriesParked{instance="ingress", job="sentry-temporal"}`,
			`SentryParkedGrows{instance="ingress", job="sentry-temporal"}`,
		},
		play: func(s *scene) {
			dir, away := s.TempDir(), "127.0.0.1:1"
			at := func(temporal string) func(*config.Ingress) {
				return func(cfg *config.Ingress) { cfg.JournalDir, cfg.Temporal.Client.HostPort = dir, temporal }
			}
			here, gone := s.integration, s.integration
			gone.Name = "gone"
			stop := s.ingress(at(devservertest.Server().Address))
			s.worker(nil)
			s.calm()
			stop()
			s.integration = gone
			stop = s.ingress(at(away))
			s.tell("end")
			stop()
			s.integration = here
			s.ingress(at(devservertest.Server().Address)) // which does not know the other integration
			s.await("ingress", "sentry_temporal_journal_parked 1")
			s.so(5 * time.Minute)
			s.so(15 * time.Minute)
			s.change("discard?all=true")
			s.await("ingress", "sentry_temporal_journal_parked 0")
		},
		last: []string{`SentryDeliveriesParked{instance="ingress", job="sentry-temporal"}`},
	},
	"the journal is full, and Temporal hangs": {
		fire: []string{
			`SentryDeliveriesFail{integration="sentry"}`,
			`SentryDeliveriesSlow{}`,
			`SentryJournalNearlyFull{instance="ingress", job="sentry-temporal"}`,
			`SentryJournalWaits{instance="ingress", job="sentry-temporal"}`,
			`SentryLaneWaits{namespace="default"}`,
			`SentryStartsFail{instance="ingress", job="sentry-temporal", namespace="default"}`,
		},
		play: func(s *scene) {
			hangs := listen(s.T)
			s.Cleanup(func() { hangs.Close() })
			dir := s.TempDir()
			stop := s.ingress(func(cfg *config.Ingress) {
				cfg.Temporal.Client.HostPort, cfg.JournalDir, cfg.JournalMaxBytes = hangs.Addr().String(), dir, 16<<10
			})
			s.worker(nil)
			s.begin()
			for s.tell("end").Code != http.StatusInternalServerError {
				s.so(s.every)
			}
			s.await("ingress", `sentry_temporal_lane_failing\{.*\} 1`)
			for range 8 {
				for slow := s.slow(); s.slow() == slow; {
					s.tell("end")
				}
				s.so(s.every)
			}
			s.so(10 * time.Minute)
			stop()
			s.ingress(func(cfg *config.Ingress) { cfg.JournalDir = dir })
			s.await("ingress", "sentry_temporal_journal_pending 0")
		},
	},
	"what comes is no webhook": {
		fire: []string{`SentryDeliveriesRefused{integration="sentry"}`},
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			s.tell("end")
			s.calm()
			s.post("none", "s1")
			s.so(12 * time.Minute)
			s.tell("end")
		},
	},
	"the Client Secret is another one": {
		fire: []string{`SentrySignaturesFail{instance="ingress", integration="sentry", job="sentry-temporal"}`, `SentryNothingVerifies{integration="sentry"}`},
		play: func(s *scene) {
			file := newRoutesFile(s.T, "s1\n")
			s.integration.SecretFile = string(file)
			s.ingress()
			s.worker(nil)
			s.tell("end")
			s.calm()
			s.integration.Secrets = []config.Secret{"s2"}
			s.tell("end")
			s.so(6 * time.Minute) // while SentrySignaturesFail looks back for 5 minutes
			file.replace(s.T, "s2\ns1\n")
			s.await("ingress", `sentry_temporal_held_taken_total\{.*\} 1`)
		},
	},
	"files are wrong": {
		fire: []string{
			`SentryClientSecretFileFails{instance="ingress", integration="sentry", job="sentry-temporal"}`,
			`SentryRoutesFileFails{instance="ingress", job="sentry-temporal"}`,
			`SentryDestinationsFileFails{instance="worker", job="sentry-temporal"}`,
		},
		play: func(s *scene) {
			const route = "routes:\n  - {workflow: do_as_told}\n"
			systems, err := standin.StartAll()
			if err != nil {
				s.Fatal(err)
			}
			s.Cleanup(systems.Close)
			outside := systems.Outside()
			destination := "destinations:\n  - {name: everyone, slack: \"" + outside.SlackChannel + "\"}\n"
			secrets, routes, destinations := newRoutesFile(s.T, "s1\n"), newRoutesFile(s.T, route), newRoutesFile(s.T, destination)
			outside.DestinationsFile = string(destinations)
			s.integration.SecretFile = string(secrets)
			s.ingress(func(cfg *config.Ingress) { cfg.RoutesFile = string(routes) })
			s.worker(func(cfg *config.Worker) { cfg.Outside = outside })
			s.calm()
			for _, file := range []routesFile{secrets, routes, destinations} {
				file.replace(s.T, "wrong: \xff\n")
			}
			s.await("ingress", `sentry_temporal_client_secret_file_failing\{.*\} 1`)
			s.await("ingress", `sentry_temporal_routes_file_failing 1`)
			s.await("worker", `sentry_temporal_destinations_file_failing 1`)
			s.so(5 * time.Minute)
			secrets.replace(s.T, "s1\n")
			routes.replace(s.T, route)
			destinations.replace(s.T, destination)
			s.await("ingress", `sentry_temporal_client_secret_file_failing\{.*\} 0`)
			s.await("ingress", `sentry_temporal_routes_file_failing 0`)
			s.await("worker", `sentry_temporal_destinations_file_failing 0`)
		},
	},
	"strangers take all the memory": {
		fire: []string{`SentrySendersTurnedAway{reason="busy"}`},
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			s.calm()
			var group sync.WaitGroup
			for range 80 {
				group.Go(func() {
					const size = 1 << 20
					body, write := io.Pipe() // whose end does not come
					go func() { _, _ = write.Write(make([]byte, size-1)) }()
					defer body.Close()
					r, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.public+"/webhooks/sentry", body)
					if err != nil {
						s.Error(err)
						return
					}
					r.ContentLength = size
					r.Header.Set(sentry.HeaderSignature, sentry.Sign("another", nil))
					if response, err := http.DefaultClient.Do(r); err == nil {
						response.Body.Close()
					}
				})
			}
			group.Wait()
			s.await("ingress", `sentry_temporal_unverified_total\{.*reason="busy".*\} [1-9].*`)
			s.so(3 * time.Minute)
		},
	},
	"nothing comes for a day": {
		fire: []string{`SentryDeliveriesMissing{integration="sentry"}`},
		play: func(s *scene) {
			s.every = 5 * time.Minute // there would be very many
			s.ingress()
			s.worker(nil)
			s.calm()
			s.tell("end")
			s.settled()
			s.so(26 * time.Hour)
			s.tell("end")
		},
	},
	"nobody is told, and effects fail": {
		fire: []string{`SentryNobodyTold{}`, `SentryEffectsFail{effect="slack"}`},
		play: func(s *scene) {
			s.ingress()
			s.worker(nil)
			s.calm()
			s.tell("act")
			s.await("worker", `sentry_temporal_nobody_told_total\{.*do_as_told.*\} 1`)
			s.await("worker", `sentry_temporal_effects_failed_total\{.*do_as_told.*\} 1`)
			s.so(5 * time.Minute)
		},
	},
	"an outside system cannot be used": {
		fire: []string{`SentryOutsideNotReady{integration="sentry", system="Sentry"}`},
		play: func(s *scene) {
			s.ingress()
			stop := s.worker(nil)
			s.calm()
			stop()
			stop = s.worker(func(cfg *config.Worker) {
				cfg.Outside.Problems = []config.Problem{{Variable: "SENTRY_ORGANIZATION", Text: "is needed"}}
			})
			s.await("worker", `sentry_temporal_outside_ready\{.*\} 0`)
			s.so(20 * time.Minute)
			stop()
			s.worker(nil)
		},
	},
}
