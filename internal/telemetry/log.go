// Package telemetry is how the programs tell what they do.
package telemetry

import (
	"io"
	"log/slog"
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
	KeyNamespace   = "namespace"
	KeyTaskQueue   = "task_queue"
	KeyStack       = "stack"
)

// NewLogger returns a logger that writes lines of JSON or text to w.
func NewLogger(w io.Writer, json bool, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if json {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
