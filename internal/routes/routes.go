// Package routes plans what Temporal is to do for a delivery. A plan is made
// once, when the delivery is answered, and kept with it: what was planned is
// what starts, whatever is deployed or configured later.
package routes

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/text"
	"sentry-temporal/triage"
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

// Skip is a workflow that wants the event of a delivery and does not run for it.
type Skip struct {
	Workflow string `json:"workflow"`
	Why      Why    `json:"reason"`
}

// Plan is what is to be done for a delivery. The zero value is nothing, for want of
// a workflow.
type Plan struct {
	// Operations are what to do. Their workflow IDs lack the idempotency key,
	// unless they are shared.
	Operations []Operation
	Skipped    []Skip
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

// Planner plans the starts of workflows.
type Planner struct {
	workflows    []triage.Workflow
	integrations map[string]config.Integration
	log          *slog.Logger
}

// NewPlanner returns a Planner of the workflows for the integrations.
func NewPlanner(workflows []triage.Workflow, integrations []config.Integration, log *slog.Logger) *Planner {
	p := &Planner{workflows: workflows, integrations: map[string]config.Integration{}, log: log}
	for _, integration := range integrations {
		p.integrations[integration.Name] = integration
	}
	return p
}

// Plan returns an operation for each workflow that wants d and whose condition
// holds: none is fine. The integration must be one of the Planner's.
func (p *Planner) Plan(d sentry.Delivery) Plan {
	var plan Plan
	integration := p.integrations[d.Integration]
	for _, w := range p.workflows {
		if !w.Wants(d.Event) {
			continue
		}
		holds, err := w.Accepts(d)
		if err != nil {
			p.log.Warn("the condition of a workflow is not known, so it runs", telemetry.KeyWorkflow, w.Name(), telemetry.KeyError, err.Error())
		}
		if !holds {
			plan.Skipped = append(plan.Skipped, Skip{w.Name(), WhyCondition})
			continue
		}
		key, shared := w.Keying().Of(d)
		plan.Operations = append(plan.Operations, Operation{
			Kind:        Start,
			Workflow:    w.Name(),
			WorkflowID:  w.Name() + ":" + d.Integration + ":" + key,
			Integration: d.Integration,
			Namespace:   integration.Namespace,
			TaskQueue:   integration.TaskQueue,
			Priority:    priorityOf(d.Level),
			FairnessKey: fairnessKey(d.Integration, d.Project),
			Shared:      shared,
		})
	}
	return plan
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
