// Package routes plans what Temporal is to do for a delivery. A plan is made
// once, when the delivery is answered, and kept with it: what was planned is
// what starts, whatever is deployed or configured later.
package routes

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"sentry-temporal/internal/text"
)

// Kind is what an [Operation] does.
type Kind string

// Start starts a run, or finds the one of its ID that is there.
const Start Kind = "start"

// Operation is one thing that Temporal is to do for a delivery. It says all
// that there is to know: what carries it out plans nothing anew.
type Operation struct {
	Kind        Kind   `json:"kind"`
	Workflow    string `json:"workflow"` // type
	WorkflowID  string `json:"workflow_id"`
	Integration string `json:"integration"` // whose connection is used
	Namespace   string `json:"namespace"`
	TaskQueue   string `json:"task_queue"`
	Priority    int    `json:"priority"`     // 1, the most urgent, to 5
	FairnessKey string `json:"fairness_key"` // at most 64 bytes
	// Shared says that other deliveries fall into the same run.
	Shared bool `json:"shared,omitempty"`
	// Condition says that the run has to ask its condition itself.
	Condition bool `json:"condition,omitempty"`
	// Uncompressed says that the run's worker reads no compressed payloads.
	Uncompressed bool `json:"uncompressed,omitempty"`
}

// Why says why a workflow that wants the event of a delivery does not run for it.
type Why string

// The reasons that there are.
const (
	WhyCondition Why = "condition" // triage.When says no
	WhyRoute     Why = "route"     // its routes are for other deliveries
)

// MaxSkipped bounds what a [Plan] tells of routes that are for other deliveries:
// a team's delivery passes by those of all others.
const MaxSkipped = 10

// Skip is a workflow that wants the event of a delivery and does not run for it.
type Skip struct {
	Workflow string `json:"workflow"`
	Why      Why    `json:"reason"`
	// Field is what says no in the first of its routes that has the event, where
	// that is why.
	Field No `json:"field,omitempty"`
}

// Plan is what is to be done for a delivery. The zero value is nothing, for want of
// a workflow.
type Plan struct {
	// Operations are what to do. Their workflow IDs lack the idempotency key,
	// unless they are shared.
	Operations []Operation
	// Skipped are the workflows that want the event and do not run for it: all
	// whose condition says no, and of those whose routes do [MaxSkipped].
	Skipped []Skip
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Operations) == 0 }

// For returns what is to be done for the delivery under the idempotency key that it
// has, which may be known after the plan only.
func (p Plan) For(idempotencyKey string) []Operation {
	operations := slices.Clone(p.Operations)
	for i := range operations {
		if !operations[i].Shared {
			operations[i].WorkflowID += idempotencyKey
		}
	}
	return operations
}

// priorityOf returns Temporal's priority for an issue's level. What has none,
// such as a comment, has Temporal's default.
func priorityOf(level string) int {
	switch level {
	case "fatal":
		return 1
	case "error":
		return 2
	case "info":
		return 4
	case "debug":
		return 5
	}
	return 3
}

// maxFairnessKey is Temporal's bound, in bytes: it refuses a start with a
// longer one.
const maxFairnessKey = 64

// fairnessKey is what Temporal divides a task queue's work by. One that is too
// long is cut and ends in a digest, so that two projects do not share it.
func fairnessKey(integration, project string) string {
	key := text.Line(integration + "/" + project)
	if len(key) <= maxFairnessKey {
		return key
	}
	digest := sha256.Sum256([]byte(key))
	end := "~" + hex.EncodeToString(digest[:4])
	return text.Cut(key, maxFairnessKey-len(end)) + end
}

// WorkflowOf returns the workflow type that a workflow ID of a plan begins with.
func WorkflowOf(workflowID string) string {
	workflow, _, _ := strings.Cut(workflowID, ":")
	return workflow
}
