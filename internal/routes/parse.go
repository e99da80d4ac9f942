package routes

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
)

// What a file may have at most, beside the bounds of every file.
const (
	// MaxFile is in bytes.
	MaxFile = yamlfile.MaxFile
	// MaxRoutes is in routes.
	MaxRoutes = 1000
	// maxNamespaces is how many namespaces routes name: each is a connection.
	maxNamespaces = 50
)

// Parse returns the table of a file for the workflows that are compiled in and the
// integrations that are configured. The error is a [yamlfile.ProblemsError].
//
// It takes bounded memory and time whatever it is given.
func Parse(file []byte, workflows []triage.Workflow, integrations []config.Integration) (*Table, error) {
	p := &parser{compiled: map[string]triage.Workflow{}, lines: map[string]int{}, namespaces: map[string]bool{}}
	for _, w := range workflows {
		p.compiled[w.Name()] = w
	}
	for _, integration := range integrations {
		p.integrations = append(p.integrations, integration.Name)
	}
	var all []Route
	for _, item := range p.List(file, "routes", MaxRoutes) {
		all = append(all, p.route(item))
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	t := newTable(all, workflows, integrations)
	t.warnings = p.Warnings()
	return t, nil
}

// parser collects what is wrong.
type parser struct {
	yamlfile.Reader
	compiled     map[string]triage.Workflow
	integrations []string
	lines        map[string]int // of routes, by what they are for
	namespaces   map[string]bool
}

// fields are the keys of a route.
var fields = []string{
	"workflow", "events", "integrations", "projects", "levels", "namespace", "task_queue", "per_issue", "compress",
}

// validName is the type of a workflow from elsewhere: fit to be a part of a
// workflow ID.
var validName = regexp.MustCompile(`^[!-9;-~]{1,64}$`)

// validTemporal is the name of a namespace or of a task queue.
var validTemporal = regexp.MustCompile(`^[!-~]{1,200}$`)

func (p *parser) route(n *yaml.Node) Route {
	r := Route{Line: n.Line}
	before := p.Count()
	at := map[string]*yaml.Node{} // the keys that are there
	workflow := n
	p.Mapping(n, "a route", fields, func(key string, keyAt, value *yaml.Node) {
		at[key] = keyAt
		switch key {
		case "workflow":
			workflow = value
			r.Workflow = p.Name(value, "a workflow's name", validName, "1 to 64 printable ASCII characters without blanks and colons")
		case "events":
			r.Events = p.Texts(value, key, p.event)
		case "integrations":
			r.Integrations = p.Texts(value, key, func(_ *yaml.Node, text string) error {
				if !slices.Contains(p.integrations, text) {
					return fmt.Errorf("%s is not in INTEGRATIONS%s", yamlfile.Quoted(text), yamlfile.DidYouMean(text, p.integrations))
				}
				return nil
			})
		case "projects":
			r.Projects = p.Slugs(value, key, "project")
		case "levels":
			r.Levels = p.Levels(value, key)
		case "namespace":
			r.Namespace = p.Name(value, key, validTemporal, "1 to 200 printable ASCII characters without blanks")
			before := len(p.namespaces)
			if p.namespaces[r.Namespace] = true; before == maxNamespaces && len(p.namespaces) > before {
				p.Bad(value, "the routes have more than %d namespaces", maxNamespaces)
			}
		case "task_queue":
			r.TaskQueue = p.Name(value, key, validTemporal, "1 to 200 printable ASCII characters without blanks")
		case "per_issue":
			r.PerIssue = p.window(value)
		case "compress":
			r.Uncompressed = !p.Boolean(value, key)
		}
	}, "workflow")
	if w := p.compiled[r.Workflow]; w != nil {
		for _, key := range []string{"events", "per_issue"} {
			if at[key] != nil {
				p.Bad(at[key], "%s come with %s, which is compiled in: leave them out", key, r.Workflow)
			}
		}
		own := routeOf(w)
		r.Compiled, r.Events, r.PerIssue = true, own.Events, own.PerIssue
	} else if r.Workflow != "" {
		meant := yamlfile.DidYouMean(r.Workflow, slices.Sorted(maps.Keys(p.compiled)))
		switch {
		case at["events"] == nil:
			p.Bad(workflow, "%s is not compiled in, so its route needs events%s", yamlfile.Quoted(r.Workflow), meant)
		case meant != "":
			p.Warn(workflow, "%s is not compiled in%s", yamlfile.Quoted(r.Workflow), meant)
		}
	}
	if p.Count() > before {
		return r
	}
	what := r.matter()
	if line, there := p.lines[what]; there {
		p.Bad(n, "the route in line %d is for the same deliveries and workflow, and comes first", line)
	} else {
		p.lines[what] = r.Line
	}
	return r
}

// matter is which deliveries a route is for, and the workflow.
func (r Route) matter() string {
	parts := []string{r.Workflow}
	for _, list := range [][]string{r.Events, r.Integrations, r.Projects, r.Levels} {
		parts = append(parts, strings.Join(slices.Sorted(slices.Values(list)), " "))
	}
	return strings.Join(parts, "\n")
}

// event checks an event or a pattern of events.
func (p *parser) event(at *yaml.Node, event string) error {
	known, nearest := sentry.KnownEvent(event)
	meant := ""
	if nearest != "" {
		meant = "; did you mean " + nearest + "?"
	}
	if err := triage.CheckEvent(event); err != nil {
		return fmt.Errorf("%s%s", text.Line(text.Shorten(err.Error(), maxEvent)), meant)
	}
	if !known {
		p.Warn(at, "%s is no event that Sentry is known to send%s", yamlfile.Clip(event), meant)
	}
	return nil
}

// maxEvent bounds what is said of a wrong event, in bytes.
const maxEvent = 256

func (p *parser) window(n *yaml.Node) time.Duration {
	value, ok := p.Text(n, "per_issue")
	if !ok {
		return 0
	}
	window, err := time.ParseDuration(value)
	if err != nil {
		p.Bad(n, "per_issue: %s is not a time such as 30m or 1h30m", yamlfile.Quoted(value))
		return 0
	}
	if err := triage.CheckWindow(window); err != nil {
		p.Bad(n, "per_issue: %s", err)
		return 0
	}
	return window
}
