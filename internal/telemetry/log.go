// Package telemetry is how the programs tell what they do: logs, metrics and
// traces.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Keys of log attributes, the same everywhere.
const (
	KeyRequestID   = "request_id"
	KeyIntegration = "integration"
	KeyEvent       = "event"
	KeyIssue       = "issue" // id
	KeyOutcome     = "outcome"
	KeyReason      = "reason"
	KeyWorkflowIDs = "workflow_ids"
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

// NewLogger returns a logger that writes lines of JSON or text to w. A line that
// is written during a span names it.
func NewLogger(w io.Writer, json bool, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			a.Key = snake(a.Key)
			return a
		},
	}
	if json {
		return slog.New(spanHandler{slog.NewJSONHandler(w, options)})
	}
	return slog.New(spanHandler{slog.NewTextHandler(w, options)})
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
