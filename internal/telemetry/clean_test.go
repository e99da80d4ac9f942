package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"sentry-temporal/internal/telemetry"
)

// A collector refuses a batch with such a text whole.
func TestTextsThatAreNotUTF8CostNoSpans(t *testing.T) {
	const odd = "a\xff\u202eb"
	for name, mark := range map[string]func(trace.Span){
		"a name":       func(s trace.Span) { s.SetName(odd) },
		"an attribute": func(s trace.Span) { s.SetAttributes(attribute.String("x", odd)) },
		"a key":        func(s trace.Span) { s.SetAttributes(attribute.String(odd, "x")) },
		"a list":       func(s trace.Span) { s.SetAttributes(attribute.StringSlice("x", []string{"x", odd})) },
		"a status":     func(s trace.Span) { s.SetStatus(codes.Error, odd) },
		"an error":     func(s trace.Span) { s.RecordError(errors.New(odd)) },
		"an event":     func(s trace.Span) { s.AddEvent(odd, trace.WithAttributes(attribute.String("x", odd))) },
		"a link": func(s trace.Span) {
			s.AddLink(trace.Link{SpanContext: s.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("x", odd)}})
		},
		"the resource": func(trace.Span) {},
	} {
		t.Run(name, func(t *testing.T) {
			collected := &otlp{}
			server := httptest.NewServer(collected)
			defer server.Close()
			vars := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL}
			if name == "the resource" {
				vars = append(vars, "OTEL_RESOURCE_ATTRIBUTES=place=a%FFb")
			}
			environment(t, vars...)
			told := start(t, silent)
			handler := told.TraceRequests(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				mark(trace.SpanFromContext(r.Context()))
			}), "a request", func(*http.Request) bool { return true })
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
			request(t, told, "/wanted")
			told.Shutdown(t.Context())
			if len(collected.spans) != 2 {
				t.Errorf("the collector got %q", collected.spans)
			}
		})
	}
	if text := scrape(t, start(t, silent)); !utf8.ValidString(text) || strings.Contains(text, "\u202e") {
		t.Errorf("the metrics are %q", text)
	}
}

// joined is a value that is no text before it is logged.
type joined []string

func (j joined) LogValue() slog.Value { return slog.StringValue(strings.Join(j, "")) }

func TestALineOfTheLogIsCleanWhoeverWroteIt(t *testing.T) {
	const odd = "a\xff\r\n\x00\u202eb\u200b\U000e0041"
	for format, isJSON := range map[string]bool{"json": true, "text": false} {
		t.Run(format, func(t *testing.T) {
			var written bytes.Buffer
			log := telemetry.NewLogger(&written, isJSON, slog.LevelInfo)
			log.With("with", odd).WithGroup("group").Info(odd, odd, "x", "text", odd, "error", errors.New(odd), "list", []string{odd}, "value", joined{odd}, //nolint:sloglint // not our keys
				"long", strings.Repeat("x", 1<<20))
			line := written.String()
			if !utf8.ValidString(line) || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
				t.Errorf("written was %.1000q", line)
			}
			if len(line) > 32<<10 {
				t.Errorf("the line has %d bytes", len(line))
			}
			if !isJSON {
				if strings.ContainsAny(line, "\r\x00\u202e\u200b\U000e0041") {
					t.Errorf("written was %.1000q", line)
				}
				return
			}
			var fields struct {
				Msg, With string
				Group     struct {
					Text, Error, Value string
					List               []string
				}
			}
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			for _, got := range append(fields.Group.List, fields.Msg, fields.With, fields.Group.Text, fields.Group.Error, fields.Group.Value) {
				if got != "a�\nb" {
					t.Errorf("%q became %q", odd, got)
				}
			}
			if strings.Contains(line, "\u202e") {
				t.Errorf("written was %.1000q", line)
			}
		})
	}
}
