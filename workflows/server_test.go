package workflows_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/standin"
	"sentry-temporal/internal/starter"
	"sentry-temporal/triage"
	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows"
	"sentry-temporal/workflows/act"
	"sentry-temporal/workflows/act/acttest"
)

// So long a history has a workflow asked to go on as a new run.
const longHistory = 60

func TestMain(m *testing.M) {
	devservertest.Main(m, devserver.Options{Settings: []string{fmt.Sprintf("limit.historyCount.suggestContinueAsNew=%d", longHistory)}})
}

// dial returns a client of the server.
func dial(t *testing.T) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{
		HostPort: devservertest.Server().Address, Identity: "history", DataConverter: starter.DataConverter(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// works starts a worker of all workflows, and more, that reaches systems, until stop is
// called; nil has nothing configured.
func works(t *testing.T, c client.Client, systems *outside.Systems, more ...triage.Workflow) (stop func()) {
	t.Helper()
	ctx := t.Context()
	if systems != nil {
		ctx = outside.With(ctx, systems)
	}
	w := sdk.New(c, queue(t), sdk.Options{
		Interceptors:              []interceptor.WorkerInterceptor{triage.Interceptor(activities.All...)},
		BackgroundActivityContext: ctx,
	})
	triage.Register(w, slices.Concat(workflows.All, more), activities.All...)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(w.Stop)
	t.Cleanup(stop)
	return stop
}

func queue(t *testing.T) string {
	t.Helper()
	return strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
}

// begin starts the run of a workflow that a delivery has, as an ingress does.
func begin(t *testing.T, c client.Client, workflow, event, body string) client.WorkflowRun {
	t.Helper()
	key := sentry.NewRequestID()
	env := sentry.Envelope{Webhook: true, Source: "sentry", IntegrationID: "sentry", EventType: event, IdempotencyKey: key, Timestamp: time.Now().Unix(), Body: sentry.Body(body)}
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflow + ":sentry:" + key, TaskQueue: queue(t)}, workflow, env)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// end returns what a run has done.
func end(t *testing.T, run client.WorkflowRun) act.Outcome {
	t.Helper()
	var o act.Outcome
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := run.Get(ctx, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func historyOf(t *testing.T, c client.Client, run client.WorkflowRun) []*historypb.HistoryEvent {
	t.Helper()
	var events []*historypb.HistoryEvent
	for all := c.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); all.HasNext(); {
		event, err := all.Next()
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

func count(events []*historypb.HistoryEvent, kind enumspb.EventType) int {
	n := 0
	for _, e := range events {
		if e.GetEventType() == kind {
			n++
		}
	}
	return n
}

// rule returns a body of an alert whose rule no other test has.
func rule(t *testing.T, sample string) string {
	t.Helper()
	return acttest.Body(t, sample, `"alert_rule":{"id":"4412"`, fmt.Sprintf(`"alert_rule":{"id":"%d"`, ruleOf(t)))
}

func ruleOf(t *testing.T) uint32 {
	t.Helper()
	var sum uint32
	for _, c := range []byte(t.Name()) {
		sum = sum*31 + uint32(c)
	}
	return sum
}

func TestEverythingIsDoneOnce(t *testing.T) {
	c, stage := dial(t), acttest.NewStage(t)
	works(t, c, stage.Systems(0))
	run := begin(t, c, "triage_sentry_issue", "sentry.issue.created", acttest.Body(t, "issue.created"))
	o := end(t, run)
	for _, e := range o.Effects {
		if e.Is != act.Done {
			t.Errorf("%s is %s: %s", e.Effect, e.Is, e.Why)
		}
	}
	issue, _ := stage.Sentry.Issue("6702149985")
	if calls := stage.Webhook.Messages(); len(calls) != 1 {
		t.Errorf("the webhook was told %d times", len(calls))
	}
	if pages, posts, tickets, links := len(stage.PagerDuty.Alerts()), len(stage.Slack.Messages("sentry")), len(stage.GitHub.Issues(stage.Config.GitHubRepo)), len(issue.Links); pages != 1 || posts != 1 || tickets != 1 || links != 1 {
		t.Errorf("there are %d pages, %d messages, %d tickets and %d links; the outcome is %+v", pages, posts, tickets, links, o)
	}
	if len(o.Unread) > 0 || o.Severity != activities.High {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestAPageEndsWithWhatItIsFor(t *testing.T) {
	c, stage := dial(t), acttest.NewStage(t)
	works(t, c, stage.Systems(0))
	for _, state := range []string{"critical", "resolved"} {
		end(t, begin(t, c, "page_on_alert", "sentry.metric_alert."+state, rule(t, "metric_alert."+state)))
	}
	if alerts := stage.PagerDuty.Alerts(); len(alerts) != 1 || alerts[0].Status != "resolved" {
		t.Errorf("PagerDuty has %+v", alerts)
	}
}

func TestWhatIsResolvedBeforeItsPageWakesNobody(t *testing.T) {
	c, stage := dial(t), acttest.NewStage(t)
	works(t, c, stage.Systems(0))
	for _, state := range []string{"resolved", "critical"} {
		end(t, begin(t, c, "page_on_alert", "sentry.metric_alert."+state, rule(t, "metric_alert."+state)))
	}
	if alerts := stage.PagerDuty.Alerts(); len(alerts) != 0 {
		t.Errorf("PagerDuty has %+v", alerts)
	}
}

// gate lets requests through to a server, but holds those that have a word in their body.
type gate struct {
	*httptest.Server
	held    chan struct{} // one is
	release chan struct{} // closed: all go through
}

func newGate(t *testing.T, word, to string) *gate {
	t.Helper()
	g := &gate{held: make(chan struct{}, 100), release: make(chan struct{})}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if bytes.Contains(body, []byte(word)) {
			g.held <- struct{}{}
			<-g.release
		}
		response, err := http.Post(to+r.URL.Path, "application/json", bytes.NewReader(body)) //nolint:noctx // it is to arrive
		if err != nil {
			return
		}
		defer response.Body.Close()
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body) // the client may be gone
	}))
	t.Cleanup(g.Close)
	return g
}

// The resolution is all done while the page is on its way: it found nothing to resolve.
func TestAPageThatIsResolvedWhileItIsOnItsWayDoesNotStayOpen(t *testing.T) {
	c, stage := dial(t), acttest.NewStage(t)
	g := newGate(t, `"trigger"`, stage.PagerDuty.URL)
	stage.Config.PagerDutyURL = g.URL + "/v2/enqueue"
	works(t, c, stage.Systems(0))
	critical := begin(t, c, "page_on_alert", "sentry.metric_alert.critical", rule(t, "metric_alert.critical"))
	<-g.held
	resolved := end(t, begin(t, c, "page_on_alert", "sentry.metric_alert.resolved", rule(t, "metric_alert.resolved")))
	if alerts := stage.PagerDuty.Alerts(); len(alerts) != 0 || resolved.Effects[0].Is != act.Done {
		t.Fatalf("PagerDuty has %+v already, and resolved is %+v", alerts, resolved)
	}
	close(g.release)
	o := end(t, critical)
	if alerts := stage.PagerDuty.Alerts(); len(alerts) != 1 || alerts[0].Status != "resolved" || !strings.Contains(o.Effects[0].Note, "resolved") {
		t.Errorf("PagerDuty has %+v; the outcome is %+v", alerts, o)
	}
}

// A workflow in the place of the one that keeps the notes, which nobody runs.
func TestAPageDoesNotWaitForItsNote(t *testing.T) {
	c, stage := dial(t), acttest.NewStage(t)
	key := activities.EffectKey("sentry", fmt.Sprintf("alert:%d", ruleOf(t)), activities.EffectPage, "1")
	stuck, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: triage.LatestID(queue(t), key), TaskQueue: "nobody"}, triage.LatestType, triage.State{})
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, `"trigger"`, stage.PagerDuty.URL)
	stage.Config.PagerDutyURL = g.URL + "/v2/enqueue"
	works(t, c, stage.Systems(0))
	run := begin(t, c, "page_on_alert", "sentry.metric_alert.critical", rule(t, "metric_alert.critical"))
	select {
	case <-g.held:
		close(g.release)
	case <-time.After(20 * time.Second):
		t.Fatal("nobody is paged")
	}
	if err := c.TerminateWorkflow(t.Context(), stuck.GetID(), stuck.GetRunID(), "the test goes on"); err != nil {
		t.Fatal(err)
	}
	if page := end(t, run).Effects[0]; page.Is != act.Done || len(stage.PagerDuty.Alerts()) != 1 {
		t.Errorf("the page is %+v", page)
	}
}

// noteless is a worker on which nothing can be noted.
type noteless struct {
	interceptor.WorkerInterceptorBase
}

func (*noteless) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &notelessInbound{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type notelessInbound struct {
	interceptor.ActivityInboundInterceptorBase
}

func (i *notelessInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	if activity.GetInfo(ctx).ActivityType.Name == triage.LatestType {
		return nil, errDenied
	}
	return i.Next.ExecuteActivity(ctx, in)
}

var errDenied = temporal.NewNonRetryableApplicationError("the namespace takes no updates", "Denied", nil)

func TestAPageOfWhichNothingCanBeNotedIsOpenedAndResolvedAndTheResultSaysWhatIsNotKnown(t *testing.T) {
	c, stage := dial(t), acttest.NewStage(t)
	w := sdk.New(c, queue(t), sdk.Options{
		Interceptors:              []interceptor.WorkerInterceptor{triage.Interceptor(activities.All...), &noteless{}},
		BackgroundActivityContext: outside.With(t.Context(), stage.Systems(0)),
	})
	triage.Register(w, workflows.All, activities.All...)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for _, state := range []string{"critical", "resolved"} {
		page := end(t, begin(t, c, "page_on_alert", "sentry.metric_alert."+state, rule(t, "metric_alert."+state))).Effects[0]
		if page.Is != act.Done || !strings.Contains(page.Note, "not known: the namespace takes no updates") {
			t.Errorf("%s: %+v", state, page)
		}
	}
	if alerts := stage.PagerDuty.Alerts(); len(alerts) != 1 || alerts[0].Status != "resolved" {
		t.Errorf("PagerDuty has %+v", alerts)
	}
}

// What is noted is not lost when the workflow that keeps it goes on as a new run, even if
// notes come just then.
func TestWhatIsNotedOutlivesALongHistory(t *testing.T) {
	c := dial(t)
	const many = 30
	begun := time.Now()
	notes := triage.New("notes", func(ctx workflow.Context, _ triage.Envelope) (int, error) {
		newest, right := triage.State{Name: "resolved", At: begun}, 0
		if _, err := triage.Latest(ctx, "key", newest); err != nil {
			return 0, err
		}
		all := workflow.NewWaitGroup(ctx)
		all.Add(many)
		for range many {
			workflow.Go(ctx, func(ctx workflow.Context) {
				defer all.Done()
				s, err := triage.Latest(ctx, "key", triage.State{Name: "open", At: begun.Add(-time.Minute)})
				if err == nil && s.Name == newest.Name {
					right++
				}
			})
		}
		all.Wait(ctx)
		return right, nil
	}, triage.On("sentry.issue.created"))
	works(t, c, nil, notes)
	var right int
	if err := begin(t, c, "notes", "sentry.issue.created", "{}").Get(t.Context(), &right); err != nil || right != many {
		t.Errorf("%d of %d are right, %v", right, many, err)
	}
	id := triage.LatestID(queue(t), "key")
	first := c.GetWorkflowHistory(t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	event, err := first.Next()
	if err != nil {
		t.Fatal(err)
	}
	if event.GetWorkflowExecutionStartedEventAttributes().GetContinuedExecutionRunId() == "" {
		t.Error("its history was not long")
	}
}

// What keeps the notes is released code, too: runs of it are open for days.
func TestHistoryOfWhatKeepsNotes(t *testing.T) {
	const file = "testdata/history.latest.json"
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && os.Getenv("TRIAGE_RECORD") == "1" {
		c := dial(t)
		notes := triage.New("notes", func(ctx workflow.Context, _ triage.Envelope) (triage.State, error) {
			at := time.Unix(1773745560, 0)
			for _, s := range []triage.State{{Name: "open", At: at}, {Name: "resolved", At: at}, {Name: "open", At: at.Add(-time.Hour)}} {
				if _, err := triage.Latest(ctx, "key", s); err != nil {
					return s, err
				}
			}
			return triage.State{}, nil
		}, triage.On("sentry.issue.created"))
		works(t, c, nil, notes)
		if err := begin(t, c, "notes", "sentry.issue.created", "{}").Get(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		history := &historypb.History{Events: historyOf(t, c, c.GetWorkflow(t.Context(), triage.LatestID(queue(t), "key"), ""))}
		text, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(history)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	triagetest.Replay(t, file)
}

func TestWithNothingConfiguredARunIsAsSmallAsEver(t *testing.T) {
	c := dial(t)
	works(t, c, nil)
	for workflow, sample := range map[string]string{"triage_sentry_issue": "issue.created", "page_on_alert": "event_alert.triggered"} {
		run := begin(t, c, workflow, "sentry."+sample, acttest.Body(t, sample))
		if o := end(t, run); o.Note != act.Unconfigured {
			t.Errorf("the outcome is %+v", o)
		}
		events := historyOf(t, c, run)
		// Started; a workflow task's three; what was parsed; completed.
		if len(events) != 6 || count(events, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED) > 0 {
			t.Errorf("%s has %d events", workflow, len(events))
		}
	}
}

// A body is in the history once, however much is done.
func TestTheHistoryOfARunThatActsIsHardlyLarger(t *testing.T) {
	const most = 1.2
	c, stage := dial(t), acttest.NewStage(t)
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rand.IntN(64)]
	}
	title := string(random[:16<<10])
	body := acttest.Body(t, "issue.created", `"metadata":{`, `"metadata":{"random":"`+string(random)+`",`, `"title":"`, `"title":"`+title)
	size := func() int64 {
		run := begin(t, c, "triage_sentry_issue", "sentry.issue.created", body)
		end(t, run)
		described, err := c.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
		if err != nil {
			t.Fatal(err)
		}
		return described.GetWorkflowExecutionInfo().GetHistorySizeBytes()
	}
	stop := works(t, c, nil)
	parsed := size()
	stop()
	works(t, c, stage.Systems(0))
	acted := size()
	if len(stage.PagerDuty.Alerts()) != 1 || float64(acted) > most*float64(parsed) {
		t.Errorf("it is %d bytes, and %d if the delivery is just read", acted, parsed)
	}
}

// The worker comes back with other destinations, and without what the decision was made by.
func TestARunUnderWayEndsAsDecidedWhateverIsConfiguredThen(t *testing.T) {
	c, stage := dial(t), acttest.NewStage(t)
	g := newGate(t, `"trigger"`, stage.PagerDuty.URL)
	stage.Config.PagerDutyURL = g.URL + "/v2/enqueue"
	stage.Slack.Fail(standin.Fault{Times: -1, Status: http.StatusTooManyRequests})
	stop := works(t, c, stage.Systems(0))
	run := begin(t, c, "triage_sentry_issue", "sentry.issue.created", acttest.Body(t, "issue.created"))
	<-g.held
	stop()
	close(g.release)
	stage.Slack.Heal()
	later := stage.Systems(0)
	later.SlackChannel, later.Sentry = "#elsewhere", map[string]config.SentryAPI{}
	later.Destinations = func() (*destinations.Table, error) { return nil, errors.New("line 7: no such key") }
	works(t, c, later)
	o := end(t, run)
	if len(stage.PagerDuty.Alerts()) != 1 || len(stage.Slack.Messages("sentry")) != 1 {
		t.Errorf("the outcome is %+v", o)
	}
	if events := historyOf(t, c, run); count(events, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED) > 0 {
		t.Error("a workflow task has failed")
	}
}
