// Package telemetry is how the programs tell what they do: logs, metrics and
// traces.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"sentry-temporal/internal/text"
)

// Keys of log attributes, the same everywhere.
const (
	KeyRequestID   = "request_id"
	KeyIntegration = "integration"
	KeyEvent       = "event"
	KeyIssue       = "issue"    // id
	KeyShortID     = "short_id" // of the issue
	KeyOutcome     = "outcome"
	KeyReason      = "reason"
	KeyWorkflowIDs = "workflow_ids"
	KeyWorkflow    = "workflow"
	KeySkipped     = "skipped"
	KeyStatus      = "status" // of the HTTP answer
	KeyDuration    = "duration_ms"
	KeyError       = "error"
	KeyAddress     = "address"
	KeyVariable    = "variable"
	KeyConnection  = "connection" // profile of the Temporal connection, if it is not the common one
	KeyNamespace   = "namespace"
	KeyTaskQueue   = "task_queue"
	KeyStack       = "stack"
	KeyTraceID     = "trace_id"
	KeySpanID      = "span_id"
)

// NewLogger returns a logger that writes lines of JSON or text to w, all of it
// clean, see [text.Clean]. A line that is written during a span names it.
func NewLogger(w io.Writer, json bool, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			return slog.Attr{Key: snake(text.Line(a.Key)), Value: readable(a.Value)}
		},
	}
	if json {
		return slog.New(spanHandler{slog.NewJSONHandler(w, options)})
	}
	return slog.New(spanHandler{slog.NewTextHandler(w, options)})
}

// maxLogged bounds a text in a line, in bytes. A stack has less.
const maxLogged = 16 << 10

// readable returns v with its texts clean and bounded, whoever wrote them.
func readable(v slog.Value) slog.Value {
	short := func(s string) string { return text.Shorten(text.Clean(s), maxLogged) }
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(short(v.String()))
	case slog.KindAny:
	default:
		return v // as an any it would take memory
	}
	switch value := v.Any().(type) {
	case error:
		return slog.StringValue(short(value.Error()))
	case []string:
		all := make([]string, len(value))
		for i, s := range value {
			all[i] = short(s)
		}
		return slog.AnyValue(all)
	}
	return v
}

// snake makes the Temporal SDK's keys like ours: workflow_id of WorkflowID.
func snake(key string) string {
	if key == "" || !isUpper(key[0]) {
		return key
	}
	var b strings.Builder
	for i := range len(key) {
		if i > 0 && isUpper(key[i]) && !isUpper(key[i-1]) {
			b.WriteByte('_')
		}
		b.WriteByte(key[i])
	}
	return strings.ToLower(b.String())
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// spanHandler adds the trace and the span that the context has, if it has one.
type spanHandler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h spanHandler) Handle(ctx context.Context, line slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		line.AddAttrs(slog.String(KeyTraceID, span.TraceID().String()), slog.String(KeySpanID, span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, line)
}

// WithAttrs implements [slog.Handler].
func (h spanHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return spanHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h spanHandler) WithGroup(name string) slog.Handler {
	return spanHandler{h.Handler.WithGroup(name)}
}
