// Package triage is the contract that triage workflows are written against:
// what a workflow is, which events it wants, and how it calls activities
// without a timeout, a retry policy or a type going wrong.
package triage

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/sentry"
)

// What a workflow of triage is given, and what is known of a delivery before it.
type (
	// Envelope is a verified delivery: the single input of every workflow.
	Envelope = sentry.Envelope
	// Delivery is the typed view of an envelope.
	Delivery = sentry.Delivery
	// Subject is the part of a Delivery that says what it is about.
	Subject = sentry.Subject
	// Body is a webhook's body in an Envelope.
	Body = sentry.Body
	// Actor is who has brought a delivery about.
	Actor = sentry.Actor
)

// Who has brought a delivery about.
const (
	ActorPerson      = sentry.ActorPerson
	ActorSentry      = sentry.ActorSentry      // itself: all that is new, alerts, regressions
	ActorIntegration = sentry.ActorIntegration // any, ours included
)

// DeliveryOf returns the typed view of env. It is pure, and safe on any body.
func DeliveryOf(env Envelope) Delivery { return sentry.DeliveryOf(env) }

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
	// Accepts reports whether the condition of [When] holds for a delivery. With
	// an error, which says why that is not known, it is true.
	Accepts(Delivery) (bool, error)
	// Keying is what makes two deliveries one run.
	Keying() Keying

	register(worker.WorkflowRegistry)
	place() string
}

// Definition is a triage workflow that returns an Out. It is a [Workflow].
type Definition[Out any] struct {
	settings
	name string
	run  func(workflow.Context, Envelope) (Out, error)
	at   string // the file and line of New
}

// settings are what options set.
type settings struct {
	patterns  []string
	condition *condition
	keying    *Keying
	twice     string // an option that is there twice
}

// MaxName bounds a workflow's name, in bytes, so that a workflow ID made of
// name, integration and key stays under Temporal's 255.
const MaxName = 64

var (
	validName    = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	validPattern = regexp.MustCompile(`^sentry(\.[a-z0-9_-]+){2}$|^sentry\.[a-z0-9_-]+\.\*$|^sentry\.\*(\.\*)?$`)
)

// Option says when a workflow runs: [On], [When] or [Key].
type Option func(*settings)

// New returns the triage workflow called name, which run carries out once for
// each delivery of the events of [On]. name is the Temporal workflow type: snake
// case, at most [MaxName] bytes, and never changed once released, because runs
// under way are found by it. run is workflow code: it must be deterministic.
//
// New panics on a malformed name or event, when no event is given, and when an
// option is given twice, so that a wrong build cannot start.
func New[Out any](name string, run func(workflow.Context, Envelope) (Out, error), options ...Option) *Definition[Out] {
	d := &Definition[Out]{name: name, run: run}
	if _, file, line, ok := runtime.Caller(1); ok {
		d.at = fmt.Sprintf("%s:%d", file, line)
	}
	if err := CheckName(name); err != nil {
		panic(fmt.Sprintf("triage: %v", err))
	}
	if run == nil {
		panic(fmt.Sprintf("triage: workflow %s has no function", name))
	}
	for _, option := range options {
		option(&d.settings)
	}
	switch {
	case d.twice != "":
		panic(fmt.Sprintf("triage: workflow %s has two options %s", name, d.twice))
	case len(d.patterns) == 0:
		panic(fmt.Sprintf("triage: workflow %s wants no event", name))
	}
	for _, pattern := range d.patterns {
		if err := CheckEvent(pattern); err != nil {
			panic(fmt.Sprintf("triage: workflow %s: %v", name, err))
		}
	}
	return d
}

// CheckName returns an error if name is not one that [New] takes.
func CheckName(name string) error {
	if len(name) > MaxName || !validName.MatchString(name) {
		return fmt.Errorf("workflow name %q is not snake case of at most %d bytes", name, MaxName)
	}
	return nil
}

// On names the events that start a workflow: exact names, or names whose last
// part or parts are "*" (sentry.issue.*, sentry.*).
func On(events ...string) Option {
	return func(s *settings) {
		if s.patterns != nil {
			s.twice = "On"
		}
		s.patterns = events
	}
}

// CheckEvent returns an error if pattern is not what [On] takes. That is the event
// sentry.issue.archived, too, which no delivery has.
func CheckEvent(pattern string) error {
	if event, ok := sentry.Renamed(pattern); ok {
		return fmt.Errorf("no delivery has the event %s: it arrives as %s", pattern, event)
	}
	if !validPattern.MatchString(pattern) {
		return fmt.Errorf("%q is no event name, as in sentry.issue.created, sentry.issue.* or sentry.*", pattern)
	}
	return nil
}

// Matches reports whether pattern, which is one that [On] takes, is for event.
func Matches(pattern, event string) bool {
	prefix, _, wild := strings.Cut(pattern, "*")
	return pattern == event || wild && strings.HasPrefix(event, prefix)
}

// Name implements [Workflow].
func (d *Definition[Out]) Name() string { return d.name }

// Events implements [Workflow].
func (d *Definition[Out]) Events() []string { return d.patterns }

// Wants implements [Workflow].
func (d *Definition[Out]) Wants(event string) bool {
	return slices.ContainsFunc(d.patterns, func(pattern string) bool { return Matches(pattern, event) })
}

// Accepts implements [Workflow].
func (d *Definition[Out]) Accepts(delivery Delivery) (bool, error) {
	return d.condition.holds(delivery)
}

// Keying implements [Workflow].
func (d *Definition[Out]) Keying() Keying {
	if d.keying == nil {
		return Keying{}
	}
	return *d.keying
}

func (d *Definition[Out]) place() string { return d.at }

func (d *Definition[Out]) register(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(d.execute, workflow.RegisterOptions{Name: d.name})
}

// Skipped is the result of a run whose own condition did not hold: see [When].
type Skipped struct {
	Skipped string `json:"skipped"` // the reason
}

// MemoCondition is the memo of a run that has to ask the condition of [When]
// itself, because what started it could not.
const MemoCondition = "SentryCondition"

// execute is the workflow as Temporal knows it.
func (d *Definition[Out]) execute(ctx workflow.Context, env Envelope) (any, error) {
	info := workflow.GetInfo(ctx)
	// A run that goes on as a new one hands its memo on, and was let through long ago.
	if _, asks := info.Memo.GetFields()[MemoCondition]; asks && info.ContinuedExecutionRunID == "" {
		// What it says is recorded, with or without a condition: so one can be
		// added, changed and taken away while runs are open.
		var said answer
		if err := workflow.SideEffect(ctx, func(workflow.Context) any { return d.condition.asked(env) }).Get(&said); err != nil {
			return nil, err
		}
		if said.Problem != "" {
			workflow.GetLogger(ctx).Warn("the condition is not known, so the run goes on", "reason", said.Problem)
		}
		if !said.Holds {
			return Skipped{Skipped: "the condition of " + d.name + " does not hold"}, nil
		}
	}
	return d.runToMistake(ctx, env)
}

// runToMistake runs d until it is done or a call shows that its code is wrong.
func (d *Definition[Out]) runToMistake(ctx workflow.Context, env Envelope) (out any, err error) {
	m := &mistake{}
	defer func() {
		if m.thrown {
			_ = recover()
		}
		if m.err != nil {
			out, err = nil, m.err // whatever the run made of it
		}
	}()
	return d.run(workflow.WithValue(ctx, mistakeKey{}, m), env)
}

// List returns the workflows. It panics when two of them share a name, so that
// a wrong build cannot start.
func List(workflows ...Workflow) []Workflow {
	seen := map[string]Workflow{}
	for _, w := range workflows {
		if other, ok := seen[w.Name()]; ok {
			panic(fmt.Sprintf("triage: two workflows are called %s, those of %s and %s: give one of them another name", w.Name(), other.place(), w.place()))
		}
		seen[w.Name()] = w
	}
	return workflows
}

// RegisterWorkflows makes a worker, or what replays histories, able to run all, and
// the one that [Latest] needs.
func RegisterWorkflows(r worker.WorkflowRegistry, all []Workflow) {
	for _, w := range all {
		w.register(r)
	}
	r.RegisterWorkflowWithOptions(keepLatest, workflow.RegisterOptions{Name: LatestType})
}

// Register makes a worker able to run all and the activities: functions, or
// pointers to structs whose exported methods are activities. Any other activity that
// a workflow calls fails there, see [Interceptor], which is given the same. It panics
// when two of either share a name.
func Register(r worker.Registry, all []Workflow, activities ...any) {
	RegisterWorkflows(r, all)
	for _, a := range activities {
		r.RegisterActivity(a)
	}
	r.RegisterActivityWithOptions(noteLatest, activity.RegisterOptions{Name: LatestType})
	r.RegisterDynamicActivity(unregistered, activity.DynamicRegisterOptions{})
}
