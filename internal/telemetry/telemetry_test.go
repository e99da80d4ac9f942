package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"sentry-temporal/internal/telemetry"
)

// environment makes vars, written NAME=value, the only ones of OpenTelemetry.
func environment(t *testing.T, vars ...string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for _, entry := range vars {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
}

func start(t *testing.T, log *slog.Logger) *telemetry.Telemetry {
	t.Helper()
	told, err := telemetry.Start(t.Context(), "tested", log)
	if err != nil {
		t.Fatal(err)
	}
	return told
}

var silent = slog.New(slog.DiscardHandler)

func scrape(t *testing.T, told *telemetry.Telemetry) string {
	t.Helper()
	answer := httptest.NewRecorder()
	told.Metrics().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("answered %d %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func TestMetricsHaveTheNamesThatPrometheusExpects(t *testing.T) {
	environment(t)
	told := start(t, silent)
	defer told.Shutdown(t.Context())
	counter, err := told.Meter().Int64Counter("deliveries")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 2)
	duration, err := told.Meter().Float64Histogram("temporal_request_latency", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	duration.Record(t.Context(), .02)
	text := scrape(t, told)
	for what, line := range map[string]string{
		"a counter":           `deliveries_total 2`,
		"latency in seconds":  `temporal_request_latency_seconds_bucket\{le="0.025"\} 1`,
		"the build":           `sentry_temporal_build_info\{go="go[^"]+",revision="[^"]+",version="[^"]+"\} 1`,
		"the Go runtime":      `go_goroutines \d+`,
		"the process":         `process_start_time_seconds .+`,
		"what has been built": `go_build_info\{.*\} 1`,
		"the service":         `target_info\{.*service_name="tested".*\} 1`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(text) {
			t.Errorf("%s, %s, is not in\n%s", what, line, text)
		}
	}
}

func TestTwoProgramsInOneProcessHaveTheirOwnMetrics(t *testing.T) {
	environment(t)
	for range 2 {
		told := start(t, silent)
		defer told.Shutdown(t.Context())
		counter, err := told.Meter().Int64Counter("deliveries")
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(t.Context(), 1)
		if text := scrape(t, told); !strings.Contains(text, "\ndeliveries_total 1\n") {
			t.Errorf("the metrics are\n%s", text)
		}
	}
}

// otlp is a collector that takes OTLP over HTTP.
type otlp struct {
	mu       sync.Mutex
	services []string
	spans    []string
}

func (c *otlp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request collector.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, attribute := range resource.GetResource().GetAttributes() {
			if attribute.GetKey() == "service.name" {
				c.services = append(c.services, attribute.GetValue().GetStringValue())
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, span.GetName())
			}
		}
	}
}

// request sends a request to a traced handler and returns the span it is in.
func request(t *testing.T, told *telemetry.Telemetry, path string, headers ...string) trace.SpanContext {
	t.Helper()
	var span trace.SpanContext
	handler := told.TraceRequests(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		span = trace.SpanContextFromContext(r.Context())
	}), "a request", func(r *http.Request) bool { return r.URL.Path == "/wanted" })
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, "=")
		r.Header.Set(name, value)
	}
	handler.ServeHTTP(httptest.NewRecorder(), r)
	return span
}

func TestTracesGoWhereTheEnvironmentSays(t *testing.T) {
	tests := map[string]struct {
		vars    []string // $URL is the collector's
		service string   // "": no traces
	}{
		"nothing set":                     {},
		"an endpoint":                     {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL"}, "tested"},
		"an endpoint of traces":           {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=$URL/v1/traces"}, "tested"},
		"an exporter beside an endpoint":  {[]string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=$URL"}, "tested"},
		"a service name":                  {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL", "OTEL_SERVICE_NAME=other"}, "other"},
		"a service name among attributes": {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL", "OTEL_RESOURCE_ATTRIBUTES=service.name=another"}, "another"},
		"attributes that are malformed":   {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL", "OTEL_RESOURCE_ATTRIBUTES=what"}, "tested"},
		"headers for the collector":       {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL", "OTEL_EXPORTER_OTLP_HEADERS=authorization=secret"}, "tested"},
		"no exporter":                     {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL", "OTEL_TRACES_EXPORTER=none"}, ""},
		"all of it turned off":            {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL", "OTEL_SDK_DISABLED=true"}, ""},
		"no sampling":                     {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=$URL", "OTEL_TRACES_SAMPLER=always_off"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			collected := &otlp{}
			server := httptest.NewServer(collected)
			defer server.Close()
			for i, entry := range test.vars {
				test.vars[i] = strings.Replace(entry, "$URL", server.URL, 1)
			}
			environment(t, test.vars...)
			told := start(t, silent)
			request(t, told, "/wanted")
			request(t, told, "/unwanted")
			told.Shutdown(t.Context())
			got := strings.Join(append(collected.services, collected.spans...), " ")
			want := ""
			if test.service != "" {
				want = test.service + " a request"
			}
			if got != want {
				t.Errorf("the collector got %q, not %q", got, want)
			}
		})
	}
}

func TestAVariableThatIsNotUnderstoodIsAnError(t *testing.T) {
	for _, entry := range []string{"OTEL_TRACES_EXPORTER=zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=udp"} {
		t.Run(entry, func(t *testing.T) {
			environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", entry)
			variable, _, _ := strings.Cut(entry, "=")
			if _, err := telemetry.Start(t.Context(), "tested", silent); err == nil || !strings.Contains(err.Error(), variable) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestASenderDoesNotChooseItsTrace(t *testing.T) {
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1")
	told := start(t, silent)
	theirs := "4bf92f3577b34da6a3ce929d0e0e4736"
	span := request(t, told, "/wanted", "Traceparent=00-"+theirs+"-00f067aa0ba902b7-00", "Sentry-Trace="+theirs+"-00f067aa0ba902b7-0")
	if !span.IsValid() || !span.IsSampled() || span.TraceID().String() == theirs {
		t.Errorf("the span is %v", span)
	}
}

// lines are lines of a log in JSON.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) read(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for text := range strings.Lines(l.all.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	return all
}

func TestACollectorThatIsAwayHoldsNothingUpAndIsLoggedOnce(t *testing.T) {
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY=1")
	written := &lines{}
	told := start(t, telemetry.NewLogger(written, true, slog.LevelInfo))
	began := time.Now()
	for range 5000 { // more than are kept
		request(t, told, "/wanted")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("requests took %s", took)
	}
	began = time.Now()
	told.Shutdown(t.Context())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %s", took)
	}
	for range 10 {
		otel.Handle(errors.New("the collector does not answer"))
	}
	count := map[string]int{}
	for _, line := range written.read(t) {
		count[line["msg"].(string)]++
	}
	if count["telemetry"] != 1 {
		t.Errorf("logged was %v", count)
	}
}

func TestALineDuringASpanNamesIt(t *testing.T) {
	written := &lines{}
	log := telemetry.NewLogger(written, true, slog.LevelInfo)
	const traceID, spanID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	ctx := telemetry.WithTraceParent(t.Context(), "00-"+traceID+"-"+spanID+"-01")
	log.With("a", 1).InfoContext(ctx, "during")
	log.InfoContext(t.Context(), "outside")
	got := written.read(t)
	if got[0]["trace_id"] != traceID || got[0]["span_id"] != spanID || got[0]["a"] != 1.0 {
		t.Errorf("the line is %v", got[0])
	}
	if _, there := got[1]["trace_id"]; there {
		t.Errorf("the line is %v", got[1])
	}
}

func TestTheTemporalSDKsKeysAreSpelledLikeOurs(t *testing.T) {
	written := &lines{}
	log := telemetry.NewLogger(written, true, slog.LevelInfo)
	theirs := []any{"WorkflowID", "w", "ActivityRunID", "r", "LinkURL", "u", "Error", "e", "request_id", "q", "", "nothing"}
	log.InfoContext(t.Context(), "line", theirs...)
	line := written.read(t)[0]
	for key, want := range map[string]string{"workflow_id": "w", "activity_run_id": "r", "link_url": "u", "error": "e", "request_id": "q", "msg": "line"} {
		if line[key] != want {
			t.Errorf("%s is not %q in %v", key, want, line)
		}
	}
}

func TestATraceSurvivesAsText(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := telemetry.WithTraceParent(t.Context(), parent)
	if got := telemetry.TraceParent(ctx); got != parent {
		t.Errorf("%q has become %q", parent, got)
	}
	for _, text := range []string{"", "00-0-0-00", "what", strings.Repeat("f", 1<<16)} {
		if got := telemetry.TraceParent(telemetry.WithTraceParent(context.Background(), text)); got != "" {
			t.Errorf("%.20q has become %q", text, got)
		}
	}
}
