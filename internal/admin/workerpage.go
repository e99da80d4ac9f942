package admin

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/triage"
)

// WorkerStatus is what the page of a worker shows. It has no secret on it. Its
// functions must be quick.
type WorkerStatus struct {
	Queues       func() []Queue
	Workflows    []triage.Workflow
	Outside      func() []outside.State
	Destinations func() destinations.State
	Warnings     []config.Problem // of the configuration
}

// Queue is a task queue that a worker is to poll.
type Queue struct {
	Connection string // "" is the common one
	Namespace  string
	TaskQueue  string
	Problem    string // why it is not polled; "" while it is
}

// destinationsShown is how many destinations the page lists.
const destinationsShown = 100

var (
	//go:embed status/worker.html
	workerText     string
	workerTemplate = template.Must(template.Must(pageTemplate.Clone()).New("worker").Parse(workerText))
)

// workerPage is what the template is filled with.
type workerPage struct {
	Style        template.CSS
	Script       template.JS
	Now          time.Time
	Temporal     tile
	Warnings     []config.Problem
	Queues       []Queue
	Polled       int
	Workflows    []triage.Workflow
	Outside      []outsideRow
	Ready        int // systems; well-formed ones are among them
	NotReady     int
	Checking     int
	Destinations destinations.State
	Told         []toldRow
}

type outsideRow struct{ outside.State }

// Badge is the class that the status is shown by.
func (r outsideRow) Badge() string {
	switch r.Status {
	case outside.Ready:
		return "started"
	case outside.WellFormed:
		return "existing"
	case outside.Unchecked:
		return "accepted"
	case outside.NotReady:
		return "failed"
	case outside.NotConfigured:
	}
	return "ignored"
}

// Note is what the status means, where its name does not tell.
func (r outsideRow) Note() string {
	if r.Status == outside.WellFormed {
		return "It cannot be asked for more without an effect."
	}
	return ""
}

// toldRow is a destination.
type toldRow struct{ destinations.Rule }

// For returns what the destination is for, line by line, none if that is everything.
func (r toldRow) For() []string {
	return named(
		"projects", strings.Join(r.Match.Projects, ", "),
		"environments", strings.Join(r.Match.Environments, ", "),
		"teams", strings.Join(r.Match.Teams, ", "),
		"levels", strings.Join(r.Match.Levels, ", "))
}

// Ways returns how somebody is told, line by line.
func (r toldRow) Ways() []string {
	return named(
		"Slack", r.Slack,
		"Slack, by the webhook in", r.SlackWebhook,
		"PagerDuty, by the key in", r.PagerDuty,
		"GitHub", r.GitHub,
		"webhook, to the address in", r.Webhook)
}

// named returns a line for each pair of a name and a value that is not empty.
func named(pairs ...string) []string {
	var lines []string
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			lines = append(lines, pair[0]+" "+pair[1])
		}
	}
	return lines
}

// showWorker answers GET / of a worker.
func (a *admin) showWorker(c *gin.Context) {
	p := workerPage{
		Style: template.CSS(styleText), Script: template.JS(scriptText), //nolint:gosec // our own
		Now: time.Now().UTC(), Temporal: temporalTile(temporalRecordOf(a.Temporal(), nil, time.Now()).Verdict, a.UIURL),
		Warnings: slices.Clip(a.Worker.Warnings), Queues: a.Worker.Queues(), Workflows: a.Worker.Workflows, Destinations: a.Worker.Destinations(),
	}
	for _, q := range p.Queues {
		if q.Problem == "" {
			p.Polled++
		}
	}
	for _, state := range a.Worker.Outside() {
		p.Outside = append(p.Outside, outsideRow{state})
		switch state.Status {
		case outside.Ready, outside.WellFormed:
			p.Ready++
		case outside.NotReady:
			p.NotReady++
		case outside.Unchecked:
			p.Checking++
		case outside.NotConfigured:
		}
	}
	for _, w := range p.Destinations.Warnings {
		p.Warnings = append(p.Warnings, config.Problem{Variable: destinations.Variable, Text: w.String()})
	}
	for _, rule := range p.Destinations.Rules[:min(len(p.Destinations.Rules), destinationsShown)] {
		p.Told = append(p.Told, toldRow{rule})
	}
	var text bytes.Buffer
	if err := workerTemplate.Execute(&text, p); err != nil {
		a.fail(c, fmt.Errorf("fill the page of the worker: %w", err))
		return
	}
	c.Data(http.StatusOK, "text/html; charset=utf-8", text.Bytes())
}
