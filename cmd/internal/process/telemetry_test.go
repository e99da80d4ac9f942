package process_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	temporallog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/proto"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/triage"
	"sentry-temporal/workflows"
)

// spans collects what is exported to it.
type spans struct {
	mu      sync.Mutex
	all     []*otlp.Span
	refused int           // batches
	arrived chan struct{} // of capacity 1
}

// collect has the programs that start from now on export to the returned spans.
func collect(t *testing.T) *spans {
	t.Helper()
	s := &spans{arrived: make(chan struct{}, 1)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	return s
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request collector.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused++
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			s.all = append(s.all, scope.GetSpans()...)
		}
	}
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// trace waits until there are n spans in the trace of the delivery with the
// request ID and returns them.
func (s *spans) trace(t *testing.T, requestID string, n int) []*otlp.Span {
	t.Helper()
	enough := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		var found []*otlp.Span
		for _, root := range s.all {
			if attribute(root, "sentry.request_id") == requestID {
				for _, span := range s.all {
					if string(span.GetTraceId()) == string(root.GetTraceId()) {
						found = append(found, span)
					}
				}
			}
		}
		s.mu.Unlock()
		if len(found) >= n {
			return found
		}
		select {
		case <-s.arrived:
		case <-enough:
			t.Fatalf("the trace has not become more than\n%s", tree(found, "", ""))
		}
	}
}

func attribute(span *otlp.Span, key string) string {
	for _, a := range span.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// tree draws the spans below parent, those that began first first.
func tree(all []*otlp.Span, parent, indent string) string {
	var below []*otlp.Span
	for _, span := range all {
		if hex.EncodeToString(span.GetParentSpanId()) == parent {
			below = append(below, span)
		}
	}
	slices.SortFunc(below, func(a, b *otlp.Span) int { return strings.Compare(a.GetName(), b.GetName()) })
	var drawn strings.Builder
	for _, span := range below {
		fmt.Fprintf(&drawn, "%s%s %s\n%s", indent, span.GetName(), strings.TrimPrefix(span.GetStatus().GetCode().String(), "STATUS_CODE_"),
			tree(all, hex.EncodeToString(span.GetSpanId()), indent+"  "))
	}
	return drawn.String()
}

// addAttributes does what the setup command does: without, a start may be
// refused before it goes without attributes.
func addAttributes(t *testing.T) {
	t.Helper()
	cfg := common(devservertest.Server().Address)
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer connections.Close()
	if _, err := connections.AddAttributes(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestADeliveryIsOneTraceFromTheRequestToTheActivity(t *testing.T) {
	addAttributes(t)
	const whole = `POST /webhooks/{integration} UNSET
  StartWorkflow:triage_sentry_issue UNSET
    RunWorkflow:triage_sentry_issue UNSET
      StartActivity:ParseIssue UNSET
        RunActivity:ParseIssue UNSET
`
	const repeated = "POST /webhooks/{integration} UNSET\n"
	collected := collect(t)
	address := devservertest.Server().Address
	connections, err := starter.Connect(common(address).Temporal, integrations, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer connections.Close()
	if _, err := connections.AddAttributes(t.Context()); err != nil { // else the first start may be refused
		t.Fatal(err)
	}
	public, _ := runIngress(t, address)
	runWorker(t, address)
	body, err := sentry.Sample("issue.created")
	if err != nil {
		t.Fatal(err)
	}
	delivery := hook.Delivery{
		URL: public + "/webhooks/sentry", Secret: "s1", RequestID: sentry.NewRequestID(), Body: body, Wait: 10,
	}
	if answer, err := hook.Send(t.Context(), delivery); err != nil || answer.Status != starter.Started {
		t.Fatalf("answered %+v, %v", answer, err)
	}
	all := collected.trace(t, delivery.RequestID, 5)
	if got := tree(all, "", ""); got != whole {
		t.Errorf("the trace is\n%s", got)
	}
	for _, span := range all {
		if len(span.GetParentSpanId()) > 0 {
			continue
		}
		for key, want := range map[string]string{
			"http.route": "/webhooks/{integration}", "sentry.integration": "sentry", "sentry.event": "sentry.issue.created", "sentry.outcome": "started",
		} {
			if got := attribute(span, key); got != want {
				t.Errorf("%s is %q", key, got)
			}
		}
	}

	// The same again is a trace of its own, and no error.
	again := delivery
	if answer, err := hook.Send(t.Context(), again); err != nil || answer.Status != starter.Existing {
		t.Fatalf("answered %+v, %v", answer, err)
	}
	seen := string(all[0].GetTraceId())
	for _, span := range collected.trace(t, delivery.RequestID, 6) {
		if string(span.GetTraceId()) != seen {
			all = append(all, span)
		}
	}
	if got := tree(all[5:], "", ""); got != repeated {
		t.Errorf("the trace of the same again is\n%s", got)
	}
}

func get(t *testing.T, url string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// exposed returns the labels of every series that ingress and worker expose, by name.
func exposed(t *testing.T) map[string]map[string]bool {
	t.Helper()
	series := map[string]map[string]bool{}
	for name, all := range atWork(t).named {
		series[name] = map[string]bool{}
		for _, s := range all {
			s.labels.Range(func(l labels.Label) { series[name][l.Name] = true })
		}
	}
	return series
}

// wantQuery wants a query that is well-formed and asks for what is exposed.
func wantQuery(t *testing.T, where, query string, series map[string]map[string]bool) {
	t.Helper()
	selectors, err := askedFor(query)
	if err != nil {
		t.Errorf("%s: %v", where, err)
	}
	for _, selector := range selectors {
		exposed, there := series[selector.Name]
		if !there {
			t.Errorf("%s: nothing exposes %s", where, selector.Name)
			continue
		}
		for _, m := range selector.LabelMatchers {
			if m.Name != labels.MetricName && !exposed[m.Name] {
				t.Errorf("%s: %s has no label %s", where, selector.Name, m.Name)
			}
		}
	}
}

func TestAlertsAndDashboardAskForWhatIsExposed(t *testing.T) {
	series := exposed(t)

	t.Run("alerts", func(t *testing.T) {
		var alerts []string
		for _, r := range rulesOf(t, "deploy/prometheus-rules.yml") {
			alerts = append(alerts, r.Alert)
			wantQuery(t, r.Alert, r.Expr, series)
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s has no severity or no summary", r.Alert)
			}
			if want := "docs/operations.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
				t.Errorf("the runbook of %s is %q", r.Alert, r.Annotations["runbook"])
			}
		}
		if documented := sections(t); !slices.Equal(alerts, documented) {
			t.Errorf("the alerts are %v, the documented ones %v", alerts, documented)
		}
	})

	t.Run("dashboard", func(t *testing.T) {
		for _, panel := range dashboard(t).Panels {
			for _, target := range panel.Targets {
				wantQuery(t, panel.Title, asked(target.Expr), series)
			}
		}
	})

	t.Run("documentation", func(t *testing.T) {
		var ours []string
		for name := range series {
			if strings.HasPrefix(name, "sentry_temporal_") && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
				ours = append(ours, strings.TrimSuffix(name, "_bucket"))
			}
		}
		slices.Sort(ours)
		documented := firstColumn(t, "Metric")
		slices.Sort(documented)
		if !slices.Equal(ours, documented) {
			t.Errorf("exposed are %v, documented %v", ours, documented)
		}
	})
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sections returns the alerts that docs/operations.md has a section about, each of which
// says where to look, what to do and when it is over.
func sections(t *testing.T) []string {
	t.Helper()
	_, text, _ := strings.Cut(string(readFile(t, "docs/operations.md")), "\n### Alerts\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var alerts []string
	for _, section := range strings.Split(text, "\n#### ")[1:] {
		alert, section, _ := strings.Cut(section, "\n")
		alerts = append(alerts, alert)
		if !regexp.MustCompile(`(?s)^\n[^-].*\n\n- \*\*Look\*\* .*\n- \*\*Do\*\* .*\n- \*\*Over\*\* .*`).MatchString(section) {
			t.Errorf("the section about %s lacks something", alert)
		}
	}
	return alerts
}

// firstColumn returns the code spans in the first column of the table in
// docs/operations.md with that heading.
func firstColumn(t *testing.T, heading string) []string {
	t.Helper()
	_, table, _ := strings.Cut(string(readFile(t, "docs/operations.md")), "\n| "+heading+" |")
	table, _, _ = strings.Cut(table, "\n\n")
	var column []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(table, -1) {
		column = append(column, m[1])
	}
	return column
}

func TestAWorkerIsReadyOnceItPolls(t *testing.T) {
	l := listen(t)
	away := l.Addr().String()
	l.Close()
	admin, _ := runWorkerWithAdmin(t, away)
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/metrics": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/codec/decode": http.StatusNotFound, "/journal": http.StatusNotFound,
	} {
		if status, text := get(t, admin+path); status != want {
			t.Errorf("without Temporal %s answered %d %s", path, status, text)
		}
	}

	admin, _ = runWorkerWithAdmin(t, devservertest.Server().Address)
	enough := time.Now().Add(20 * time.Second)
	for ready(t, admin).code != http.StatusOK {
		if time.Now().After(enough) {
			t.Fatal("with Temporal it is not ready")
		}
	}
}

func TestTracesDoNotChangeHistories(t *testing.T) {
	collect(t)
	address := devservertest.Server().Address
	public, _ := runIngress(t, address)
	runWorker(t, address)
	answer := sendAndWait(t, public, integrations[0], "issue.created", 10)
	if answer.Status != starter.Started {
		t.Fatalf("answered %+v", answer)
	}
	c := devservertest.Client(t)
	run := answer.Runs[0]
	if err := c.GetWorkflow(t.Context(), run.WorkflowID, run.RunID).Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	traced := &historypb.History{}
	events := c.GetWorkflowHistory(t.Context(), run.WorkflowID, run.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		traced.Events = append(traced.Events, event)
	}
	told, err := telemetry.Start(t.Context(), "replayer", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var options client.Options
	if err := told.Instrument(&options); err != nil {
		t.Fatal(err)
	}
	tracing, ok := options.Interceptors[0].(interceptor.WorkerInterceptor)
	if !ok {
		t.Fatal("workers are not traced")
	}
	log := temporallog.NewStructuredLogger(slog.New(slog.DiscardHandler))
	for name, interceptors := range map[string][]interceptor.WorkerInterceptor{"without traces": nil, "with traces": {tracing}} {
		t.Run(name, func(t *testing.T) {
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: interceptors})
			if err != nil {
				t.Fatal(err)
			}
			triage.RegisterWorkflows(replayer, workflows.All)
			if err := replayer.ReplayWorkflowHistory(log, traced); err != nil {
				t.Errorf("a traced run: %v", err)
			}
			for _, file := range []string{"triageissue", "logcomment"} {
				if err := replayer.ReplayWorkflowHistoryFromJSONFile(log, "../../../workflows/"+file+"/testdata/history.json"); err != nil {
					t.Errorf("the stored history of %s: %v", file, err)
				}
			}
		})
	}
}

// lines is a log in JSON.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func TestALineOfAWorkflowSaysWhichRunAndWhatItIsAbout(t *testing.T) {
	collect(t)
	address := devservertest.Server().Address
	public, _ := runIngress(t, address)
	written := &lines{}
	admin := listen(t)
	stop := inBackground(t, func(ctx context.Context) error {
		return serveWorker(ctx, config.Worker{Common: common(address)}, admin, telemetry.NewLogger(written, true, slog.LevelInfo))
	})
	answer := sendAndWait(t, public, integrations[0], "issue.created", 10)
	run := answer.Runs[0]
	if err := devservertest.Client(t).GetWorkflow(t.Context(), run.WorkflowID, run.RunID).Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	stop()
	for text := range strings.Lines(written.all.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line["workflow_id"] != run.WorkflowID || line["msg"] != "sentry issue" {
			continue
		}
		if line["run_id"] != run.RunID || line["event"] != "sentry.issue.created" || line["issue"] == "" || line["trace_id"] == nil || line["span_id"] == nil {
			t.Errorf("the line is %s", text)
		}
		return
	}
	t.Errorf("the workflow's line is not in\n%s", written.all.String())
}
