package activities

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// Case is what [Decide] decides on: a delivery, and what Sentry's API says of it.
type Case struct {
	Envelope sentry.Envelope
	Issue    *SentryIssue // nil: it was not read
	Event    *SentryEvent // nil: it was not read
	Unread   []string     // what could not be read, and why
}

// Decision is all that a run does, and why. It is recorded: whatever the configuration
// is later, the run does this.
type Decision struct {
	Severity     string    `json:"severity,omitempty"`
	Why          string    `json:"why"`
	Destination  string    `json:"destination,omitempty"` // name of the rule that matched
	Steps        []Step    `json:"steps,omitempty"`       // in the order of their urgency
	Card         Card      `json:"card"`
	Issue        IssueRef  `json:"issue,omitzero"`
	Installation string    `json:"installation,omitempty"`
	At           time.Time `json:"at,omitzero"` // when it became what it is: see triage.Latest
	Unread       []string  `json:"unread,omitempty"`
	Missing      []string  `json:"missing,omitempty"` // effects that are not configured
	// Untold says that it is urgent and no destination matches.
	Untold bool `json:"untold,omitempty"`
	// Problem says why nothing could be decided, which may be mended: the destinations
	// are not known.
	Problem string `json:"problem,omitempty"`
}

// The effects of a [Step].
const (
	EffectPage      = "page"
	EffectResolve   = "resolve" // a page
	EffectSlack     = "slack"
	EffectSlackHook = "slack webhook"
	EffectWebhook   = "webhook"
	EffectTicket    = "ticket"
	EffectLink      = "link" // from the issue to the run
)

// Step is one effect that a run has, or has not.
type Step struct {
	Effect  string `json:"effect"`
	To      string `json:"to,omitempty"`      // channel, repository, or variable of a secret
	Key     string `json:"key,omitempty"`     // see EffectKey
	Skipped string `json:"skipped,omitempty"` // why it has not
}

// Limits of what a decision tells, in bytes: it is in the history, and so is each step's
// input.
const (
	maxCardText = 1 << 10
	maxCardName = 200
	maxCardURL  = 1 << 10
	maxWords    = 300
)

// maxTime is the first time that JSON cannot hold, in Unix seconds. Milliseconds are later.
const maxTime = 253402300800

// recent is how long a new issue is triage_sentry_issue's to page for.
const recent = time.Hour

// Decide says what is done about a delivery, and why. It asks nobody: what is known of
// the outside is in the case.
func Decide(ctx context.Context, c Case) (Decision, error) {
	systems := outside.From(ctx)
	table, unknown := systems.Destinations()
	if unknown != nil {
		return Decision{Problem: text.Shorten(text.Line("the destinations are not known: "+unknown.Error()), maxWords)}, nil //nolint:nilerr // the run waits for it, see act.Decide
	}
	f := read(c)
	d := &Decision{
		Card:         f.card,
		Issue:        IssueRef{Integration: f.card.Integration, IssueID: f.IssueID},
		Installation: f.installation,
		At:           f.at,
		Unread:       c.Unread,
	}
	if f.resolves {
		d.resolve(f, table)
	} else {
		d.tell(f, table, systems)
	}
	return *d, nil
}

// found is what a case says.
type found struct {
	sentry.Delivery
	facts        Facts
	card         Card
	installation string
	projects     []string
	team         string
	subject      string // of an EffectKey
	episode      string // of an EffectKey: what tells this message from others about the subject
	at           time.Time
	issue        bool   // it is about an issue that is new or back
	resolves     bool   // it is about the end of something
	test         bool   // somebody tries whether it arrives
	pagedBy      string // why another workflow pages, if it does
	was          string // of an alert: what the issue was when that workflow would have paged, New or Regressed
}

// read brings together what the delivery and Sentry's API say. What the API says is newer.
func read(c Case) found {
	body, _ := c.Envelope.Body.Fields()
	issue := body.Object("data.issue", "issue")
	event := errorEvent(body.Object("data.event"))
	f := found{Delivery: sentry.DeliveryOf(c.Envelope), installation: text.Cut(body.ID("installation.uuid"), maxCardName)}
	if len(f.IssueID) > maxCardName {
		f.IssueID = "" // it is none
	}
	f.facts = Facts{Level: f.Level, Priority: f.Priority, Environment: event.Environment}
	users, count, release, frame := issue.ID("userCount"), issue.ID("count"), event.Release, ""
	if assignee := issue.Object("assignedTo"); assignee.Text("type") == "team" {
		f.team = assignee.Text("name")
	}
	if c.Issue != nil {
		f.facts.Level = cmp.Or(c.Issue.Level, f.facts.Level)
		f.facts.Priority = cmp.Or(c.Issue.Priority, f.facts.Priority)
		f.Project = cmp.Or(f.Project, c.Issue.Project)
		f.ShortID = cmp.Or(f.ShortID, c.Issue.ShortID)
		users, count = cmp.Or(c.Issue.Users, users), cmp.Or(c.Issue.Count, count)
		f.FirstSeen = cmp.Or(f.FirstSeen, c.Issue.FirstSeen)
		f.team = c.Issue.Team // nobody's, if it says so
	}
	if c.Event != nil {
		f.facts.Environment = cmp.Or(f.facts.Environment, c.Event.Environment)
		release, frame = cmp.Or(release, c.Event.Release), c.Event.Frame
	}
	if f.Project != "" {
		f.projects = []string{f.Project}
	}
	f.facts.Users = max(number(users), 0)
	f.subject = "issue:" + f.IssueID
	f.card = Card{
		Title: f.Title, URL: f.URL, ShortID: f.ShortID, Project: f.Project,
		Release: release, Users: users, Count: count, FirstSeen: f.FirstSeen, Culprit: f.Culprit, Frame: frame,
	}
	if sent := c.Envelope.Timestamp; sent > 0 && sent < maxTime {
		f.at = time.Unix(sent, 0).UTC()
	}
	switch f.Event {
	case "sentry.issue.created":
		f.issue, f.facts.Change, f.card.Headline = true, New, "New issue"
		// It was there before all that is done to it, however late this comes.
		f.at = earliest(f.at, timeOf(f.FirstSeen))
	case "sentry.issue.unresolved":
		f.issue, f.card.Headline = true, "Issue is back"
		switch substatus := cmp.Or(issue.Text("substatus"), substatusOf(c)); substatus {
		case Regressed:
			f.facts.Change, f.card.Headline = substatus, "Regression"
		case Escalating:
			f.facts.Change, f.card.Headline = substatus, "Issue escalates"
		}
	case "sentry.issue.resolved":
		f.resolves, f.card.Headline = true, "Issue resolved"
	case "sentry.event_alert.triggered":
		f.readIssueAlert(c, body)
	case "sentry.metric_alert.critical", "sentry.metric_alert.warning", "sentry.metric_alert.resolved":
		f.readMetricAlert(body)
	default:
		f.card.Headline = "Event"
	}
	if f.subject == "issue:" || f.subject == "alert:" {
		f.subject = "delivery:" + c.Envelope.IdempotencyKey
	}
	f.episode = f.Event + ":" + c.Envelope.IdempotencyKey
	f.card.Integration, f.card.Event = c.Envelope.IntegrationID, f.Event
	f.card.Level, f.card.Environment = f.facts.Level, f.facts.Environment
	f.card = bounded(f.card)
	return f
}

func substatusOf(c Case) string {
	if c.Issue == nil {
		return ""
	}
	return c.Issue.Substatus
}

// readIssueAlert reads what is in an issue alert alone.
func (f *found) readIssueAlert(c Case, body sentry.Fields) {
	f.card.Headline = "Alert"
	f.card.Rule = body.Object("data").Text("triggered_rule", "issue_alert.title")
	if body.ID("data.issue_alert.id") == "-1" {
		f.test, f.card.Test, f.card.Headline = true, true, "Test notification"
		return
	}
	const pages = "triage_sentry_issue pages for it: "
	switch first, event := timeOf(f.FirstSeen), f.Time; {
	case c.Issue == nil || c.Issue.ID == "":
		f.pagedBy = "whether the issue is new or back is not known, so triage_sentry_issue has to page for it"
	case c.Issue.Substatus == Regressed:
		f.pagedBy, f.was = pages+"the issue was resolved and is back", Regressed
	case first.IsZero() || event.IsZero():
		f.pagedBy = "when the issue was first seen is not known, so triage_sentry_issue has to page for it"
	case event.Sub(first) <= recent:
		f.pagedBy = pages + "the issue is new"
	}
}

// readMetricAlert reads what is in a metric alert alone.
func (f *found) readMetricAlert(body sentry.Fields) {
	data := body.Object("data")
	alert := data.Object("metric_alert")
	rule := alert.Object("alert_rule")
	f.projects = alert.Texts("projects", maxProjects)
	f.facts = Facts{Environment: rule.Text("environment")}
	f.subject = "alert:" + rule.ID("id")
	f.card.Rule = rule.Text("name")
	f.card.Title = cmp.Or(alert.Text("title"), f.card.Rule, f.card.Title)
	f.card.Details = data.Text("description_text")
	began, ended := timeOf(alert.Text("date_created")), timeOf(alert.Text("date_closed"))
	switch f.Event {
	case "sentry.metric_alert.resolved":
		f.resolves, f.card.Headline = true, "Alert resolved"
		// What the next incident of the rule begins with is later.
		if !ended.IsZero() {
			f.at = latest(ended, began)
		}
		return
	case "sentry.metric_alert.critical":
		f.facts.Alert, f.card.Headline = "critical", "Critical alert"
	default:
		f.facts.Alert, f.card.Headline = "warning", "Alert warns"
	}
	f.at = earliest(f.at, began)
}

// resolve decides on what has ended.
func (d *Decision) resolve(f found, table *destinations.Table) {
	key := EffectKey(orNone(f.Integration), f.subject, EffectPage, "1")
	// Whatever matched when it was paged for.
	pagers := table.PagersOf(f.projects)
	for _, variable := range pagers {
		d.Steps = append(d.Steps, Step{Effect: EffectResolve, To: variable, Key: key})
	}
	d.Why = "it is resolved"
	if len(pagers) == 0 {
		d.Steps = append(d.Steps, Step{Effect: EffectResolve, Skipped: "no PagerDuty is configured for it"})
	}
	if f.Event == "sentry.issue.resolved" {
		return // who resolves it knows that, and the issue tells all others
	}
	destination, ok := table.For(f.question())
	if !ok {
		d.Steps = append(d.Steps, Step{Effect: EffectSlack, Skipped: nobody})
		return
	}
	d.Destination = destination.Name
	d.messages(f, destination)
}

const nobody = "no destination matches"

// tell decides on what has begun.
func (d *Decision) tell(f found, table *destinations.Table, systems *outside.Systems) {
	d.Severity, d.Why = Severity(f.facts)
	d.Why = text.Shorten(d.Why, maxWords)
	if f.test {
		d.Severity, d.Why = "", "it is a test"
	}
	if f.pagedBy != "" {
		// Those that it has happened to since may be what makes it severe: then nobody has
		// been woken yet. That both wake somebody is one incident.
		then := f.facts
		then.Users, then.Change = 0, f.was
		if severity, _ := Severity(then); !wakes(severity) {
			f.pagedBy = ""
		}
	}
	d.Card.Severity = d.Severity
	destination, ok := table.For(f.question())
	if ok {
		d.Destination = destination.Name
		d.page(f, destination)
		d.messages(f, destination)
		d.ticket(f, destination)
	} else {
		d.Steps = append(d.Steps, Step{Effect: EffectSlack, Skipped: nobody})
		d.Untold = !table.Empty() && slices.Contains(outside.Urgent, d.Severity)
	}
	switch _, reached := systems.Sentry[f.Integration]; {
	case !f.issue || f.IssueID == "":
	case reached:
		d.Steps = append(d.Steps, Step{Effect: EffectLink, To: cmp.Or(f.card.ShortID, f.IssueID)})
	default:
		d.Missing = append(d.Missing, EffectLink)
	}
}

// QuestionOf returns what [Decide] looks for a destination with.
func QuestionOf(c Case) destinations.Question {
	f := read(c)
	return f.question()
}

// question is what a destination is looked for with. A metric alert has no level: a
// critical one is as urgent as what is fatal, and its end is for those who were told.
func (f *found) question() destinations.Question {
	level := f.facts.Level
	switch f.Event {
	case "sentry.metric_alert.critical", "sentry.metric_alert.resolved":
		level = "fatal"
	case "sentry.metric_alert.warning":
		level = "warning"
	}
	return destinations.Question{Projects: f.projects, Environment: f.facts.Environment, Team: f.team, Level: level}
}

// wakes reports whether somebody is paged for what is so severe.
func wakes(severity string) bool { return severity == Critical || severity == High }

func (d *Decision) page(f found, destination destinations.Destination) {
	if destination.PagerDuty == "" {
		d.Missing = append(d.Missing, EffectPage)
		return
	}
	step := Step{Effect: EffectPage, To: destination.PagerDuty}
	switch {
	case f.test:
		step.Skipped = "a test wakes nobody"
	case !wakes(d.Severity):
		step.Skipped = "it is " + d.Severity + ", and critical and high ones are paged for"
	case f.pagedBy != "":
		step.Skipped = f.pagedBy
	default:
		step.Key = EffectKey(orNone(f.Integration), f.subject, EffectPage, "1")
	}
	d.Steps = append(d.Steps, step)
}

func (d *Decision) messages(f found, destination destinations.Destination) {
	if destination.Slack == "" && destination.SlackWebhook == "" {
		d.Missing = append(d.Missing, EffectSlack)
	}
	if destination.Webhook == "" {
		d.Missing = append(d.Missing, EffectWebhook)
	}
	for _, step := range []Step{
		{Effect: EffectSlack, To: destination.Slack},
		{Effect: EffectSlackHook, To: destination.SlackWebhook},
		{Effect: EffectWebhook, To: destination.Webhook},
	} {
		if step.To == "" {
			continue
		}
		if f.test && step.Effect == EffectWebhook {
			step.Skipped = "a test is for people"
		} else {
			step.Key = EffectKey(orNone(f.Integration), f.subject, step.Effect, f.episode)
		}
		d.Steps = append(d.Steps, step)
	}
}

func (d *Decision) ticket(f found, destination destinations.Destination) {
	switch {
	case !f.issue:
		return
	case destination.GitHub == "":
		d.Missing = append(d.Missing, EffectTicket)
		return
	}
	step := Step{Effect: EffectTicket, To: destination.GitHub}
	switch {
	case f.facts.Change != New:
		step.Skipped = "an issue gets a ticket when it is new"
	case d.Severity == Low:
		step.Skipped = "it is low"
	default:
		step.Key = EffectKey(orNone(f.Integration), f.subject, EffectTicket, "1")
	}
	d.Steps = append(d.Steps, step)
}

// bounded cuts the texts of a card: it travels to each system.
func bounded(c Card) Card {
	for _, field := range []*string{&c.Title, &c.Culprit, &c.Details} {
		*field = text.Shorten(*field, maxCardText)
	}
	for _, field := range []*string{&c.Integration, &c.Event, &c.ShortID, &c.Level, &c.Project, &c.Environment, &c.Release, &c.Users, &c.Count, &c.FirstSeen, &c.Frame, &c.Rule} {
		*field = text.Shorten(text.Line(*field), maxCardName)
	}
	if len(c.URL) > maxCardURL {
		c.URL = "" // a part of one leads elsewhere
	}
	return c
}

// orNone is for an envelope that was made by hand.
func orNone(integration string) string { return cmp.Or(integration, "none") }

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// timeOf reads a time of Sentry's, which is zero if it is none.
func timeOf(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil || at.Unix() <= 0 {
		return time.Time{}
	}
	return at.UTC()
}

// earliest returns the earlier one of two times, of which any may be unknown.
func earliest(at, other time.Time) time.Time {
	if at.IsZero() || !other.IsZero() && other.Before(at) {
		return other
	}
	return at
}

// latest returns the later one of two times, of which any may be unknown.
func latest(at, other time.Time) time.Time {
	if other.After(at) {
		return other
	}
	return at
}
