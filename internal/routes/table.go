package routes

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
)

// Table says which workflows run for which deliveries, and where. It never changes.
type Table struct {
	workflows    []routed
	integrations map[string]config.Integration
	routes       []Route
	unlisted     []triage.Workflow // compiled in, and in no route
	warnings     []yamlfile.Problem
}

// Route is what a file says of a workflow, or, without a file, what the workflow
// says itself. Lists that are empty let everything through.
type Route struct {
	Workflow     string
	Compiled     bool // into this program: its events, condition and key come with it
	Events       []string
	Integrations []string
	Projects     []string // a trailing * is a prefix
	Levels       []string
	Namespace    string // "" is the integration's
	TaskQueue    string // "" is the integration's
	PerIssue     time.Duration
	Uncompressed bool
	Line         int // in the file; 0 without one
}

// routed is a workflow with its routes: the first that is for a delivery counts.
type routed struct {
	name     string
	compiled triage.Workflow // nil: it is from elsewhere, and its run asks its condition
	routes   []route
}

// route is a [Route], ready to be matched.
type route struct {
	Route
	events, projects []pattern
	keying           triage.Keying
}

// pattern is a text, or what a text has to begin with.
type pattern struct {
	text   string
	prefix bool
}

// patternOf takes a text that may have a "*" for all that follows.
func patternOf(text string) pattern {
	start, _, prefix := strings.Cut(text, "*")
	return pattern{text: start, prefix: prefix}
}

func patternsOf(texts []string) []pattern {
	var all []pattern
	for _, text := range texts {
		all = append(all, patternOf(text))
	}
	return all
}

func (p pattern) matches(s string) bool {
	return p.text == s || p.prefix && strings.HasPrefix(s, p.text)
}

func match(patterns []pattern, s string) bool {
	for _, p := range patterns {
		if p.matches(s) {
			return true
		}
	}
	return false
}

// newTable returns a table of routes, in their order.
func newTable(all []Route, workflows []triage.Workflow, integrations []config.Integration) *Table {
	t := &Table{routes: all, integrations: map[string]config.Integration{}}
	for _, integration := range integrations {
		t.integrations[integration.Name] = integration
	}
	compiled := map[string]triage.Workflow{}
	for _, w := range workflows {
		compiled[w.Name()] = w
	}
	at := map[string]int{}
	for _, of := range all {
		i, there := at[of.Workflow]
		if !there {
			i = len(t.workflows)
			at[of.Workflow] = i
			t.workflows = append(t.workflows, routed{name: of.Workflow, compiled: compiled[of.Workflow]})
		}
		r := route{Route: of, events: patternsOf(of.Events), projects: patternsOf(of.Projects)}
		switch w := t.workflows[i].compiled; {
		case w != nil:
			r.keying = w.Keying()
		case of.PerIssue != 0:
			r.keying = triage.PerIssue(of.PerIssue)
		}
		t.workflows[i].routes = append(t.workflows[i].routes, r)
	}
	for _, w := range workflows {
		if _, listed := at[w.Name()]; !listed {
			t.unlisted = append(t.unlisted, w)
		}
	}
	return t
}

// CompiledIn is the table that there is without a file: each of the workflows runs
// for every integration.
func CompiledIn(workflows []triage.Workflow, integrations []config.Integration) *Table {
	var all []Route
	for _, w := range workflows {
		all = append(all, routeOf(w))
	}
	return newTable(all, workflows, integrations)
}

// routeOf is what a workflow that is compiled in says itself.
func routeOf(w triage.Workflow) Route {
	return Route{Workflow: w.Name(), Compiled: true, Events: w.Events(), PerIssue: w.Keying().Window()}
}

// Routes returns the routes, in their order. The caller must not change them.
func (t *Table) Routes() []Route { return t.routes }

// same reports whether both tables say the same.
func (t *Table) same(other *Table) bool {
	return slices.EqualFunc(t.routes, other.routes, func(a, b Route) bool { return reflect.DeepEqual(a, b) })
}

// Unlisted returns the names of the workflows that are compiled in and have no
// route: they do not run.
func (t *Table) Unlisted() []string {
	names := make([]string, len(t.unlisted))
	for i, w := range t.unlisted {
		names[i] = w.Name()
	}
	return names
}

// Warnings returns what may be wrong with the file.
func (t *Table) Warnings() []yamlfile.Problem { return t.warnings }

// Place is where runs of an integration may be planned to live.
type Place struct{ Integration, Namespace string }

// Queue is a task queue that runs of an integration may be planned for.
type Queue struct {
	Place
	TaskQueue string
}

// Queues returns the task queues of all that may be planned.
func (t *Table) Queues() []Queue {
	all := map[Queue]bool{}
	for _, r := range t.routes {
		for name, integration := range t.integrations {
			if lets(r.Integrations, name) {
				all[Queue{Place{name, cmp.Or(r.Namespace, integration.Namespace)}, cmp.Or(r.TaskQueue, integration.TaskQueue)}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b Queue) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.TaskQueue, b.TaskQueue), cmp.Compare(a.Integration, b.Integration))
	})
}

// Places returns the places that routes name, beside the integrations' own.
func (t *Table) Places() []Place {
	all := map[Place]bool{}
	for _, r := range t.routes {
		for name := range t.integrations {
			if r.Namespace != "" && lets(r.Integrations, name) {
				all[Place{Integration: name, Namespace: r.Namespace}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.Integration, b.Integration), cmp.Compare(a.Namespace, b.Namespace))
	})
}

func lets(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }

// No is what says that a workflow does not run for a delivery: a field of a
// route, or one of the others here.
type No string

// What says no, in the order in which they are asked.
const (
	NoEvents       No = "events"
	NoIntegrations No = "integrations"
	NoProjects     No = "projects"
	NoLevels       No = "levels"
	NoEarlier      No = "earlier"   // another route of the workflow comes first, and is for it
	NoCondition    No = "condition" // triage.When
	NoRoute        No = "route"     // the file has none of a workflow that is compiled in
)

// refuses returns the first field that keeps d out, "" if the route is for d.
func (r *route) refuses(d *sentry.Delivery) No {
	switch {
	case !match(r.events, d.Event):
		return NoEvents
	case !lets(r.Integrations, d.Integration):
		return NoIntegrations
	case len(r.projects) > 0 && !match(r.projects, d.Project):
		return NoProjects
	case !lets(r.Levels, d.Level):
		return NoLevels
	}
	return ""
}

// find returns the route that is for d; or nil, and what says no in the first that
// wants its event, "" if none does.
func (w *routed) find(d *sentry.Delivery) (found *route, no No) {
	for i := range w.routes {
		switch field := w.routes[i].refuses(d); field {
		case "":
			return &w.routes[i], ""
		case NoEvents:
		default:
			no = cmp.Or(no, field)
		}
	}
	return nil, no
}

// accepts asks the condition of a workflow that is compiled in. With an error it
// is not known what it says, and the workflow runs.
func (w *routed) accepts(d *sentry.Delivery) (bool, error) {
	if w.compiled == nil {
		return true, nil
	}
	return w.compiled.Accepts(*d)
}

// Plan returns an operation for each workflow with a route for d whose condition
// holds: none is fine. The integration must be one of the table's. unsure is
// called with the workflows of which that is not known, and why; they run.
func (t *Table) Plan(d sentry.Delivery, unsure func(workflow string, err error)) Plan {
	var plan Plan
	var found []asked
	passed := 0
	for i := range t.workflows {
		w := &t.workflows[i]
		r, no := w.find(&d)
		switch {
		case r != nil:
			found = append(found, asked{workflow: w, route: r})
		case no != "" && passed < MaxSkipped:
			passed++
			plan.Skipped = append(plan.Skipped, Skip{Workflow: w.name, Why: WhyRoute, Field: no})
		}
	}
	askAll(found, &d)
	for _, a := range found {
		if a.err != nil {
			unsure(a.workflow.name, a.err)
		}
		if !a.holds {
			plan.Skipped = append(plan.Skipped, Skip{Workflow: a.workflow.name, Why: WhyCondition})
			continue
		}
		plan.Operations = append(plan.Operations, t.operation(a.route, &d))
	}
	return plan
}

// asked is a workflow with a route for a delivery, and what its condition says.
type asked struct {
	workflow *routed
	route    *route
	holds    bool
	err      error
}

// askAll asks the conditions, all at the same time: one that is slow does not hold up
// the answer to Sentry more than another one that is.
func askAll(all []asked, d *sentry.Delivery) {
	var asking sync.WaitGroup
	for i := range all {
		ask := func() { all[i].holds, all[i].err = all[i].workflow.accepts(d) }
		if i == len(all)-1 || all[i].workflow.compiled == nil {
			ask()
			continue
		}
		asking.Go(ask)
	}
	asking.Wait()
}

// operation is the start of a run of r's workflow for d.
func (t *Table) operation(r *route, d *sentry.Delivery) Operation {
	integration := t.integrations[d.Integration]
	o := Operation{
		Kind:         Start,
		Workflow:     r.Workflow,
		Integration:  d.Integration,
		Namespace:    cmp.Or(r.Namespace, integration.Namespace),
		TaskQueue:    cmp.Or(r.TaskQueue, integration.TaskQueue),
		Priority:     priorityOf(d.Level),
		FairnessKey:  fairnessKey(d.Integration, d.Project),
		Condition:    !r.Compiled,
		Uncompressed: r.Uncompressed,
	}
	key, shared := r.keying.Of(*d)
	o.WorkflowID, o.Shared = r.Workflow+":"+d.Integration+":"+key, shared
	return o
}

// Verdict is what becomes of a delivery by a route.
type Verdict struct {
	Route     Route
	No        No         // what says no; "" if it runs
	Operation *Operation // nil if it does not run
	Unsure    error      // why it is not known what the condition says
}

// Explain returns what each route says of d, in the order of [Table.Plan], and
// then the workflows that are compiled in and have no route.
func (t *Table) Explain(d sentry.Delivery) []Verdict {
	var all []Verdict
	for i := range t.workflows {
		w := &t.workflows[i]
		found, _ := w.find(&d)
		for j := range w.routes {
			r := &w.routes[j]
			v := Verdict{Route: r.Route, No: r.refuses(&d)}
			switch {
			case v.No != "":
			case r != found:
				v.No = NoEarlier
			default:
				var holds bool
				if holds, v.Unsure = w.accepts(&d); !holds {
					v.No = NoCondition
					break
				}
				o := t.operation(r, &d)
				v.Operation = &o
			}
			all = append(all, v)
		}
	}
	for _, w := range t.unlisted {
		all = append(all, Verdict{Route: routeOf(w), No: NoRoute})
	}
	return all
}
