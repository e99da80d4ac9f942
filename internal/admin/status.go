package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page, its style and its script
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
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// Status is what the status page shows. The page has no secret, signature or
// body on it.
type Status struct {
	Integrations []config.Integration
	Warnings     []config.Problem // of the configuration
	Routes       func() routes.State
	Recent       *Recent // must be an observer of the ingress
	Journal      func() journal.Stats
	Secrets      func() []keyring.State // in the order of Integrations
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

// outcomes are all that there are, in the order of the page.
var outcomes = []string{
	string(starter.Started), string(starter.Existing), string(starter.Accepted), string(starter.Ignored), web.Refused, web.Failed,
}

var (
	//go:embed status/page.html
	pageText string
	//go:embed status/style.css
	styleText string
	//go:embed status/script.js
	scriptText string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"bytes": sizeText, "size": func(n int) string { return sizeText(int64(n)) }, "took": tookText, "age": ageText, "breakable": breakable, "issue": issueOf, "lines": linesOf,
	}).Parse(pageText))

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
}

// page is what the template is filled with.
type page struct {
	Style        template.CSS
	Script       template.JS
	Now          time.Time
	Host         string // that the browser asked
	Guessed      bool
	UI           string // base address of the Temporal UI; empty if unknown
	Warnings     []config.Problem
	Integrations []integrationRow
	Routes       routes.State
	Workflows    []workflowRow
	Temporal     temporalRow
	Journal      journal.Stats
	Parked       []journal.Item
	ParkedFault  string // why Parked could not be listed
	Filter       filter
	Events       []string // to filter by
	Outcomes     []outcomeRow
	Deliveries   []DeliveryRecord
	Total        int // of the deliveries that are remembered
	Unverified   []DeliveryRecord
}

// temporalRow is what the page says of Temporal.
type temporalRow struct {
	Namespaces int
	OK         int
	Asking     bool             // there is one that has not been asked to the end
	Problems   []NamespaceState // of those that do not answer as they should
}

func temporalRowOf(states []NamespaceState) temporalRow {
	row := temporalRow{Namespaces: len(states)}
	for _, state := range states {
		switch state.Status {
		case StatusOK:
			row.OK++
		case StatusUnknown:
			row.Asking = true
		default:
			row.Problems = append(row.Problems, state)
		}
	}
	return row
}

type integrationRow struct {
	config.Integration
	Secrets    keyring.State
	WebhookURL string
	RunsURL    string // in the Temporal UI
	Last       time.Time
}

// mismatchShown is how long the page shows that a delivery of an installation
// that is known has matched no secret.
const mismatchShown = 10 * time.Minute

// Unmatched reports whether there is something to do about the secrets.
func (r integrationRow) Unmatched() bool {
	return r.Secrets.Held > 0 || time.Since(r.Secrets.Mismatched) < mismatchShown
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

type outcomeRow struct {
	Name    string // empty: all of them
	Count   int    // of those that the rest of the filter lets through
	Checked bool
}

// filter says which deliveries to show: those with this event and this outcome,
// where empty means any.
type filter struct{ Event, Outcome string }

func (f filter) lets(d DeliveryRecord) bool {
	return (f.Event == "" || f.Event == d.Event) && (f.Outcome == "" || f.Outcome == d.Outcome)
}

// DeliveryRecord is a delivery as GET /api/deliveries gives it:
//
//	{"deliveries": [DeliveryRecord, ...], "unverified": [DeliveryRecord, ...]}
//
// are the last 200 verified ones at most, the newest first, and the last 50
// others. The parameters event and outcome of the query leave only those of the
// verified ones that have that event and that outcome. Texts are cut at 256 bytes.
type DeliveryRecord struct {
	Number      uint64        `json:"number"` // 1 for the first of its list since the ingress started
	Time        time.Time     `json:"time"`   // of receipt
	DurationMS  float64       `json:"duration_ms"`
	RequestID   string        `json:"request_id"`
	Integration string        `json:"integration"` // as in the URL, whether there is such a one or not
	Event       string        `json:"event"`       // empty if it was refused before it had a name
	IssueID     string        `json:"issue_id"`    // this and the next five are empty where unknown
	ShortID     string        `json:"short_id"`
	Project     string        `json:"project"`
	Level       string        `json:"level"`
	Title       string        `json:"title"`
	IssueURL    string        `json:"issue_url"`         // the page in Sentry
	Outcome     string        `json:"outcome"`           // started, existing, accepted, ignored, refused or failed, as it was answered
	Status      int           `json:"status"`            // of the HTTP answer
	Reason      string        `json:"reason,omitempty"`  // why it was refused or failed, as the sender was told
	Hint        string        `json:"hint,omitempty"`    // what may set that right
	Skipped     []routes.Skip `json:"skipped,omitempty"` // workflows that want the event and do not run for it, and why
	Runs        []starter.Run `json:"runs"`              // as they were answered: of one that was accepted then, url leads to its run by now
}

// Issue is what the page calls the issue.
func (d DeliveryRecord) Issue() string {
	return cmp.Or(d.ShortID, d.IssueID)
}

// NotRun says, line by line, why no workflow runs for the delivery, or which do not
// for a condition.
func (d DeliveryRecord) NotRun() []string {
	if d.Outcome == string(starter.Ignored) && len(d.Skipped) == 0 {
		return []string{"no workflow wants the event"}
	}
	var lines []string
	for _, skip := range d.Skipped {
		switch {
		case skip.Why == routes.WhyCondition:
			lines = append(lines, skip.Workflow+": its condition says no")
		case len(d.Runs) == 0:
			lines = append(lines, skip.Workflow+": its routes are for others")
		}
	}
	return lines
}

// issueOf is what the page calls the issue of a delivery in the journal.
func issueOf(i journal.Item) string { return cmp.Or(i.ShortID, i.IssueID) }

// Duration is that of the answer.
func (d DeliveryRecord) Duration() time.Duration {
	return time.Duration(d.DurationMS * float64(time.Millisecond))
}

func recordOf(d remembered) DeliveryRecord {
	return DeliveryRecord{
		Number: d.number, Time: d.Time.UTC().Round(0), DurationMS: float64(d.Duration.Microseconds()) / 1000,
		RequestID: d.RequestID, Integration: d.Integration, Event: d.Event,
		IssueID: d.Subject.IssueID, ShortID: d.Subject.ShortID, Project: d.Subject.Project, Level: d.Subject.Level, Title: d.Subject.Title,
		IssueURL: webAddress(d.Subject.URL),
		Outcome:  d.Outcome, Status: d.Status, Reason: d.Reason, Hint: d.Hint, Skipped: d.Skipped,
		Runs: append([]starter.Run{}, d.Runs...), // [] in JSON, not null
	}
}

// webAddress returns address if a browser can open it without running it, and
// else "".
func webAddress(address string) string {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return address
}

// records returns the verified deliveries that are remembered, what of them the
// filter of the request lets through, and the others.
func (s *statusPage) records(c *gin.Context) (all, shown, unverified []DeliveryRecord, f filter) {
	f = filter{Event: cut(c.Query("event")), Outcome: cut(c.Query("outcome"))}
	shown, unverified = []DeliveryRecord{}, []DeliveryRecord{}
	verified, others := s.Recent.deliveries()
	for _, d := range verified {
		record := recordOf(d)
		all = append(all, record)
		if f.lets(record) {
			shown = append(shown, record)
		}
	}
	for _, d := range others {
		unverified = append(unverified, recordOf(d))
	}
	return all, shown, unverified, f
}

// listDeliveries answers GET /api/deliveries, see [DeliveryRecord].
func (s *statusPage) listDeliveries(c *gin.Context) {
	_, shown, unverified, _ := s.records(c)
	c.PureJSON(http.StatusOK, gin.H{"deliveries": shown, "unverified": unverified})
}

// show answers GET /.
func (s *statusPage) show(c *gin.Context) {
	all, shown, unverified, f := s.records(c)
	p := page{
		Style: template.CSS(styleText), Script: template.JS(scriptText), //nolint:gosec // our own
		Now: time.Now().UTC(), Host: c.Request.Host, Guessed: s.Guessed, UI: s.admin.UIURL, Warnings: slices.Clip(s.Warnings),
		Filter: f, Deliveries: shown, Total: len(all), Unverified: unverified,
		Events: eventChoices(all, f), Outcomes: outcomeRows(all, f),
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
	p.Temporal = temporalRowOf(s.admin.Temporal())
	p.Journal = s.Journal()
	if p.Journal.Parked > 0 && s.admin.Journal != nil {
		var err error
		if p.Parked, err = s.admin.Journal.List(journal.Filter{State: journal.Parked}, 0, parkedShown); err != nil {
			p.ParkedFault = err.Error()
		}
	}
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, p); err != nil {
		s.admin.fail(c, fmt.Errorf("fill the status page: %w", err))
		return
	}
	c.Data(http.StatusOK, "text/html; charset=utf-8", text.Bytes())
}

// eventChoices returns the events to filter by: those that came, and that of the
// filter.
func eventChoices(all []DeliveryRecord, f filter) []string {
	var events []string
	if f.Event != "" {
		events = append(events, f.Event)
	}
	for _, d := range all {
		if d.Event != "" && !slices.Contains(events, d.Event) {
			events = append(events, d.Event)
		}
	}
	slices.Sort(events)
	return events
}

func outcomeRows(all []DeliveryRecord, f filter) []outcomeRow {
	rows := []outcomeRow{{Name: "", Checked: f.Outcome == ""}}
	for _, name := range outcomes {
		rows = append(rows, outcomeRow{Name: name, Checked: f.Outcome == name})
	}
	for i := range rows {
		for _, d := range all {
			if (filter{Event: f.Event, Outcome: rows[i].Name}).lets(d) {
				rows[i].Count++
			}
		}
	}
	return rows
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

// linesOf returns the first lines of what is wrong with a file.
func linesOf(problem string) []string {
	const most = 10
	lines := strings.Split(problem, "\n")
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most:most], fmt.Sprintf("and %d more, see the log", more))
	}
	return lines
}
