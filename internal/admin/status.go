package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
)

// Status is what the status page shows. The page has no secret, signature or
// body on it.
type Status struct {
	Integrations []config.Integration
	Warnings     []config.Problem // of the configuration
	Routes       func() routes.State
	Recent       *Recent // must be an observer of the ingress
	Journal      func() journal.Stats
	// Look says what became of a delivery that was taken, see [journal.Journal.Look].
	Look func(integration, key string) (journal.Known, bool)
	// URL is the page of a run in the Temporal UI, see [starter.Starter.URL].
	URL func(integration, namespace, workflowID, runID string) string
	// Runs says what is known of runs in Temporal, see [Runs.States]. Nil knows nothing.
	Runs func([]RunOf) map[RunOf]RunState
	// RunProblems says which namespaces do not tell of their runs, and why, see
	// [Runs.Problems]. Nil knows nothing.
	RunProblems func() []NamespaceState
	// Describe asks Temporal about one run, and Input for the delivery that it began
	// with, see [Runs.Describe] and [Runs.Input]. Nil: it cannot be asked.
	Describe func(context.Context, RunOf) (RunDetail, error)
	Input    func(context.Context, RunOf) (sentry.Envelope, error)
	// Queues says what is known of the task queues that runs go to. Nil knows nothing.
	Queues func() []QueueState
	// Lanes says what waits for each namespace. Nil knows nothing.
	Lanes func() []LaneState
	// JournalReady returns why no delivery can be kept, nil if one can, see
	// [journal.Journal.Ready]. Nil knows of nothing.
	JournalReady func() error
	// Send sends a sample to the ingress for an integration and returns its Request-ID.
	// It is nil but in a development stack.
	Send func(ctx context.Context, integration, sample string) (requestID string, err error)
	// Instance names the process among several.
	Instance string
	Secrets  func() []keyring.State // in the order of Integrations
	// WebhookURL is the base address that Sentry posts to, as far as it is
	// known, and Guessed whether it is but this machine's own.
	WebhookURL string
	Guessed    bool
}

// parkedShown is how many parked deliveries the page lists, and routesShown how
// many routes.
const (
	parkedShown = 20
	routesShown = 100
)

var (
	//go:embed status
	statusFiles embed.FS
	//go:embed status/style.css
	styleText string
	//go:embed status/script.js
	scriptText string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"bytes": sizeText, "size": func(n int) string { return sizeText(int64(n)) }, "took": tookText, "age": ageText, "breakable": breakable, "words": wordsOf, "pageOf": pageOf, "placeName": nameOf, "issue": issueOf, "lines": linesOf,
	}).ParseFS(statusFiles, "status/shared.html", "status/page.html", "status/tiles.html", "status/integrations.html", "status/kept.html", "status/keptpage.html", "status/develop.html", "status/deliveries.html", "status/delivery.html", "status/unverified.html"))

	// pagePolicy lets the page use its own style and script and ask where it
	// is from, and nothing else.
	pagePolicy = "default-src 'none'; style-src " + hashOf(styleText) + "; script-src " + hashOf(scriptText) +
		"; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// statusPage serves a [Status].
type statusPage struct {
	Status
	admin *admin
	wait  glance
	rows  rows
}

// page is what the template is filled with.
type page struct {
	Style        template.CSS
	Script       template.JS
	Now          time.Time
	Host         string // that the browser asked
	Guessed      bool
	Warnings     []config.Problem
	Integrations []integrationRow
	Routes       routes.State
	Workflows    []workflowRow
	Tiles        []tile
	Journal      journal.Stats
	Parked       []journal.Item
	ParkedFault  string         // why Parked could not be listed
	Waiting      []journal.Item // the oldest of those that are pending
	Develop      *develop       // nil but in a development stack
	Told         *told          // of a change that was just made; nil if none was
	Found        found
	Rows         []template.HTML  // of the deliveries that are found
	Untold       []NamespaceState // of the runs there nothing is told
	Outcomes     []Meaning        // the legend
	RunStates    []Meaning
	Instance     string
}

type integrationRow struct {
	config.Integration
	Secrets    keyring.State
	WebhookURL string
	RunsURL    string // in the Temporal UI
	Last       time.Time
}

// workflowRow is a route.
type workflowRow struct {
	routes.Route
	RunsURL string // in the Temporal UI; empty if unknown or in several namespaces
}

// Restrictions returns which deliveries the route is for beside its events, and
// what it does with them, line by line.
func (r workflowRow) Restrictions() []string {
	var lines []string
	list := func(name string, all []string) {
		if len(all) > 0 {
			lines = append(lines, name+" "+strings.Join(all, ", "))
		}
	}
	list("integrations", r.Integrations)
	list("projects", r.Projects)
	list("levels", r.Levels)
	if r.PerIssue > 0 {
		lines = append(lines, "an issue has one run in "+r.PerIssue.String())
	}
	if r.Namespace != "" {
		lines = append(lines, "namespace "+r.Namespace)
	}
	if r.TaskQueue != "" {
		lines = append(lines, "task queue "+r.TaskQueue)
	}
	if r.Uncompressed {
		lines = append(lines, "not compressed")
	}
	return lines
}

// show answers GET /.
func (s *statusPage) show(c *gin.Context) {
	p := page{
		Style: template.CSS(styleText), Script: template.JS(scriptText), //nolint:gosec // our own
		Now: time.Now().UTC(), Host: c.Request.Host, Guessed: s.Guessed, Warnings: slices.Clip(s.Warnings),
		Found: s.find(deliveryFilter(c.Request.URL.Query())), Outcomes: Outcomes, RunStates: RunStates, Instance: s.Instance,
	}
	secrets := s.Secrets()
	for i, integration := range s.Integrations {
		p.Integrations = append(p.Integrations, integrationRow{
			Integration: integration,
			Secrets:     secrets[i],
			WebhookURL:  s.WebhookURL + "/webhooks/" + integration.Name,
			RunsURL:     s.runsURL(integration.Namespace, ""),
			Last:        s.Recent.lastOf(integration.Name),
		})
	}
	if s.RunProblems != nil {
		p.Untold = s.RunProblems()
	}
	p.Routes = s.Routes()
	for _, w := range p.Routes.Warnings {
		p.Warnings = append(p.Warnings, config.Problem{Variable: "ROUTES_FILE", Text: w.String()})
	}
	for _, route := range p.Routes.Routes[:min(len(p.Routes.Routes), routesShown)] {
		row := workflowRow{Route: route}
		if namespaces := s.namespaces(); route.Namespace != "" {
			row.RunsURL = s.runsURL(route.Namespace, route.Workflow)
		} else if len(namespaces) == 1 {
			row.RunsURL = s.runsURL(namespaces[0], route.Workflow)
		}
		p.Workflows = append(p.Workflows, row)
	}
	p.Tiles = s.tiles(s.state())
	p.Journal = s.Journal()
	if p.Journal.Parked > 0 && s.admin.Journal != nil {
		var err error
		if p.Parked, err = s.admin.Journal.List(journal.Filter{State: journal.Parked}, 0, parkedShown); err != nil {
			p.ParkedFault = err.Error()
		}
	}
	p.Develop = s.develop()
	p.Told = toldOf(c.Request.URL.Query())
	if p.Journal.Pending > 0 && s.admin.Journal != nil {
		p.Waiting = s.waiting()
	}
	var err error
	if p.Rows, err = s.rows.of(p.Found.Deliveries); err != nil {
		s.admin.fail(c, err)
		return
	}
	var text bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&text, "page.html", p); err != nil {
		s.admin.fail(c, fmt.Errorf("fill the status page: %w", err))
		return
	}
	c.Data(http.StatusOK, "text/html; charset=utf-8", text.Bytes())
}

func (s *statusPage) namespaces() []string {
	var all []string
	for _, integration := range s.Integrations {
		if !slices.Contains(all, integration.Namespace) {
			all = append(all, integration.Namespace)
		}
	}
	return all
}

// runsURL is the page of the runs in a namespace in the Temporal UI, of one
// workflow or of all; "" if it is not known where the UI is.
func (s *statusPage) runsURL(namespace, workflow string) string {
	if s.admin.UIURL == "" {
		return ""
	}
	address := s.admin.UIURL + "/namespaces/" + url.PathEscape(namespace) + "/workflows"
	if workflow != "" {
		address += "?query=" + url.QueryEscape("WorkflowType=\""+workflow+"\"")
	}
	return address
}

// sizeText returns a number of bytes for people.
func sizeText(n int64) string {
	value, units := float64(n), []string{"B", "KiB", "MiB", "GiB"}
	for value >= 1024 && len(units) > 1 {
		value, units = value/1024, units[1:]
	}
	if units[0] == "B" || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, units[0])
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

// tookText returns how long an answer took, for people.
func tookText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "< 1 ms"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// ageText returns how long ago something was, for people.
func ageText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// breakable returns the parts of the name of an event or a workflow between which a line
// may break.
func breakable(name string) []string {
	if strings.Contains(name, ".") {
		return strings.SplitAfter(name, ".")
	}
	return strings.SplitAfter(name, "_")
}

// wordsOf returns a word of the API for people.
func wordsOf(name string) string { return strings.ReplaceAll(name, "_", " ") }

// linesOf returns the first lines of what is wrong with a file.
func linesOf(problem string) []string {
	const most = 10
	lines := strings.Split(problem, "\n")
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most:most], fmt.Sprintf("and %d more, see the log", more))
	}
	return lines
}
