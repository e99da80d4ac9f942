// Package triage is the contract that triage workflows are written against:
// what a workflow is, which events it wants, and how it calls activities
// without a timeout, a retry policy or a type going wrong.
package triage

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/sentry"
)

// Workflow is a triage workflow as the ingress and the worker see it. Values
// come from [New] only.
type Workflow interface {
	// Name is the workflow type, as in triage_sentry_issue.
	Name() string
	// Events are the events that start the workflow, as in [On]: names and
	// patterns. The caller must not change them.
	Events() []string
	// Wants reports whether a delivery of that event starts the workflow.
	Wants(event string) bool

	register(worker.Registry)
}

// Definition is a triage workflow that returns an Out. It is a [Workflow].
type Definition[Out any] struct {
	name     string
	patterns []string
	run      func(workflow.Context, sentry.Envelope) (Out, error)
}

// MaxName bounds a workflow's name, in bytes, so that a workflow ID made of
// name, integration and key stays under Temporal's 255.
const MaxName = 64

var (
	validName    = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	validPattern = regexp.MustCompile(`^sentry(\.[a-z0-9_-]+){2}$|^sentry\.[a-z0-9_-]+\.\*$|^sentry\.\*(\.\*)?$`)
)

// New returns the triage workflow called name, which run carries out once for
// each delivery of the events on. name is the Temporal workflow type: snake
// case, at most [MaxName] bytes, and never changed once released, because runs
// under way are found by it. run is workflow code: it must be deterministic.
//
// New panics on a malformed name or event and when no event is given, so that
// a wrong build cannot start.
func New[Out any](name string, run func(workflow.Context, sentry.Envelope) (Out, error), on Events) *Definition[Out] {
	switch {
	case len(name) > MaxName || !validName.MatchString(name):
		panic(fmt.Sprintf("triage: workflow name %q is not snake case of at most %d bytes", name, MaxName))
	case run == nil:
		panic(fmt.Sprintf("triage: workflow %s has no function", name))
	case len(on) == 0:
		panic(fmt.Sprintf("triage: workflow %s wants no event", name))
	}
	for _, pattern := range on {
		if !validPattern.MatchString(pattern) {
			panic(fmt.Sprintf("triage: workflow %s: %q is no event name, as in sentry.issue.created, sentry.issue.* or sentry.*", name, pattern))
		}
	}
	return &Definition[Out]{name: name, patterns: on, run: run}
}

// Events are the events that a workflow wants, see [On].
type Events []string

// On names the events that start a workflow: exact names, or names whose last
// part or parts are "*" (sentry.issue.*, sentry.*).
func On(events ...string) Events { return events }

// Name implements [Workflow].
func (d *Definition[Out]) Name() string { return d.name }

// Events implements [Workflow].
func (d *Definition[Out]) Events() []string { return d.patterns }

// Wants implements [Workflow].
func (d *Definition[Out]) Wants(event string) bool {
	for _, pattern := range d.patterns {
		if prefix, _, wild := strings.Cut(pattern, "*"); pattern == event || wild && strings.HasPrefix(event, prefix) {
			return true
		}
	}
	return false
}

func (d *Definition[Out]) register(r worker.Registry) {
	r.RegisterWorkflowWithOptions(d.run, workflow.RegisterOptions{Name: d.name})
}

// List returns the workflows. It panics when two of them share a name, so that
// a wrong build cannot start.
func List(workflows ...Workflow) []Workflow {
	seen := map[string]bool{}
	for _, w := range workflows {
		if seen[w.Name()] {
			panic("triage: two workflows are called " + w.Name())
		}
		seen[w.Name()] = true
	}
	return workflows
}

// Wanting returns the workflows of all that want event, in the order of all.
func Wanting(all []Workflow, event string) []Workflow {
	var wanting []Workflow
	for _, w := range all {
		if w.Wants(event) {
			wanting = append(wanting, w)
		}
	}
	return wanting
}

// Register makes a worker able to run all and the activities: functions, or
// pointers to structs whose exported methods are activities. It panics when two
// of either share a name.
func Register(r worker.Registry, all []Workflow, activities ...any) {
	for _, w := range all {
		w.register(r)
	}
	for _, a := range activities {
		r.RegisterActivity(a)
	}
}

// Local runs activity inside the workflow's own task, under [LocalOptions]: for
// work that is quick and reaches nothing outside, such as parsing. It leaves
// only its result in the history.
//
// activity must be a plain function: a method would run on the receiver the
// workflow holds, not on the one the worker has registered.
func Local[In, Out any](ctx workflow.Context, activity func(context.Context, In) (Out, error), in In) (Out, error) {
	var out Out
	options := LocalOptions()
	options.Summary = summary(ctx)
	ctx = workflow.WithLocalActivityOptions(ctx, options)
	err := workflow.ExecuteLocalActivity(ctx, activity, in).Get(ctx, &out)
	return out, err
}

// Do runs activity on the worker's activity side, under [RemoteOptions]: for
// calls to other systems. Engineers see each attempt in the Temporal UI.
//
// activity may be a method of a nil pointer, since only its name travels:
//
//	var chat *activities.Chat
//	posted, err := triage.Do(ctx, chat.PostMessage, message)
func Do[In, Out any](ctx workflow.Context, activity func(context.Context, In) (Out, error), in In) (Out, error) {
	var out Out
	options := RemoteOptions()
	options.Summary = summary(ctx)
	ctx = workflow.WithActivityOptions(ctx, options)
	err := workflow.ExecuteActivity(ctx, activity, in).Get(ctx, &out)
	return out, err
}
