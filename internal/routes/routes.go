// Package routes plans what Temporal is to do for a delivery. A plan is made
// once, when the delivery is answered, and kept with it: what was planned is
// what starts, whatever is deployed or configured later.
package routes

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
	"sentry-temporal/internal/triage"
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
}

// Planner plans the starts of workflows.
type Planner struct {
	workflows    []triage.Workflow
	integrations map[string]config.Integration
}

// NewPlanner returns a Planner of the workflows for the integrations.
func NewPlanner(workflows []triage.Workflow, integrations []config.Integration) *Planner {
	p := &Planner{workflows: workflows, integrations: map[string]config.Integration{}}
	for _, integration := range integrations {
		p.integrations[integration.Name] = integration
	}
	return p
}

// Plan returns an operation for each workflow that wants a delivery of env,
// which is about subject: none is fine. The integration must be one of the
// Planner's.
func (p *Planner) Plan(env sentry.Envelope, subject sentry.Subject) []Operation {
	var plan []Operation
	integration := p.integrations[env.IntegrationID]
	for _, w := range triage.Wanting(p.workflows, env.EventType) {
		plan = append(plan, Operation{
			Kind:        Start,
			Workflow:    w.Name(),
			WorkflowID:  w.Name() + ":" + env.IntegrationID + ":" + env.IdempotencyKey,
			Integration: env.IntegrationID,
			Namespace:   integration.Namespace,
			TaskQueue:   integration.TaskQueue,
			Priority:    priorityOf(subject.Level),
			FairnessKey: fairnessKey(env.IntegrationID, subject.Project),
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
