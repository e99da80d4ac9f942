// Package activities is what triage workflows do: parse.go takes payloads
// apart, and each outside system has a file of its own.
package activities

import (
	"cmp"
	"context"

	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// Issue is what a body says about an issue. An unknown field is empty.
type Issue struct {
	ID        string `json:"id"`
	ShortID   string `json:"short_id"` // as in BACKEND-1A
	Title     string `json:"title"`
	Culprit   string `json:"culprit"`
	Level     string `json:"level"` // fatal, error, warning, info, debug
	Status    string `json:"status"`
	Priority  string `json:"priority"`
	Platform  string `json:"platform"`
	Project   string `json:"project"` // slug
	FirstSeen string `json:"first_seen"`
	LastSeen  string `json:"last_seen"`
	URL       string `json:"url"` // of the page in Sentry
	// Configured is what the worker that read the body can act on.
	Configured Configured `json:"configured,omitzero"`
}

// Configured is which outside systems a worker can act on. It is recorded with what was
// parsed, because a workflow must not ask that itself: see [Decide].
type Configured struct {
	Sentry       bool `json:"sentry,omitempty"`       // the API, for the integration
	Destinations bool `json:"destinations,omitempty"` // somebody is told
}

// Comment is what a body says about a comment on an issue. An unknown field is
// empty, but for Author.
type Comment struct {
	ID           string `json:"id"`
	Author       string `json:"author"` // "unknown" when nothing names one
	Text         string `json:"text"`
	IssueID      string `json:"issue_id"`
	IssueShortID string `json:"issue_short_id"` // not in what Sentry sends today
	Project      string `json:"project"`        // slug
}

// Error is what a body says about an error event. An unknown field is empty.
type Error struct {
	EventID     string `json:"event_id"`
	IssueID     string `json:"issue_id"`
	Title       string `json:"title"`
	Culprit     string `json:"culprit"`
	Level       string `json:"level"`
	Platform    string `json:"platform"`
	Environment string `json:"environment"`
	Release     string `json:"release"`
	ProjectID   string `json:"project_id"`
	Time        string `json:"time"` // RFC 3339
	URL         string `json:"url"`  // of the page in Sentry
}

// Alert is what a body says about an issue alert (event_alert) or a metric
// alert. An unknown field is empty.
type Alert struct {
	Rule        string   `json:"rule"`    // name of the alert rule
	RuleID      string   `json:"rule_id"` // stable, where Sentry sends it
	Title       string   `json:"title"`
	Description string   `json:"description"`
	State       string   `json:"state"`    // triggered; of a metric alert: critical, warning, resolved, open
	Projects    []string `json:"projects"` // slugs, of a metric alert
	Error       Error    `json:"error"`    // the event that set off an issue alert
	URL         string   `json:"url"`      // of the page in Sentry
	// Configured is what the worker that read the body can act on.
	Configured Configured `json:"configured,omitzero"`
}

// ParseIssue extracts the issue of an issue or activity alert event. It never
// fails.
func ParseIssue(ctx context.Context, env sentry.Envelope) (Issue, error) {
	issue := issueOf(parse(ctx, env).Object("data.issue", "issue"))
	issue.Configured = configured(ctx, env)
	return issue, nil
}

// issueOf reads an issue, which has one form in bodies and in the API's answers.
func issueOf(issue sentry.Fields) Issue {
	return Issue{
		ID:        issue.ID("id"),
		ShortID:   issue.Text("shortId", "short_id"),
		Title:     issue.Text("title"),
		Culprit:   issue.Text("culprit"),
		Level:     issue.Text("level"),
		Status:    issue.Text("status"),
		Priority:  issue.Text("priority"),
		Platform:  issue.Text("platform"),
		Project:   issue.Text("project.slug"),
		FirstSeen: issue.Text("firstSeen"),
		LastSeen:  issue.Text("lastSeen"),
		URL:       issue.Text("web_url", "permalink"),
	}
}

// ParseComment extracts the comment of a comment event, as Sentry sends it and
// in the nested forms of other senders and older documents. It never fails.
func ParseComment(ctx context.Context, env sentry.Envelope) (Comment, error) {
	body := parse(ctx, env)
	comment := body.Object("data.comment", "comment")
	issue := body.Object("data.issue", "issue")
	return Comment{
		ID:           cmp.Or(body.ID("data.comment_id"), comment.ID("id")),
		Author:       cmp.Or(comment.Text("author_name", "user.name", "author.name"), body.Text("actor.name"), "unknown"),
		Text:         cmp.Or(body.Text("data.comment"), comment.Text("text", "message"), body.Text("data.text")),
		IssueID:      cmp.Or(issue.ID("id"), body.ID("data.issue_id")),
		IssueShortID: issue.Text("shortId", "short_id"),
		Project:      body.Text("data.project_slug"),
	}, nil
}

// ParseError extracts the event of an error event. It never fails.
func ParseError(ctx context.Context, env sentry.Envelope) (Error, error) {
	return errorEvent(parse(ctx, env).Object("data.error", "data.event")), nil
}

// ParseAlert extracts the alert of an event_alert or metric_alert event. It
// never fails.
func ParseAlert(ctx context.Context, env sentry.Envelope) (Alert, error) {
	body := parse(ctx, env)
	data := body.Object("data")
	alert := Alert{
		Rule:        data.Text("triggered_rule", "issue_alert.title", "metric_alert.alert_rule.name"),
		RuleID:      data.ID("issue_alert.id", "metric_alert.alert_rule.id"),
		Title:       data.Text("event.title", "description_title", "metric_alert.title"),
		Description: data.Text("description_text"),
		State:       body.Text("action"),
		Projects:    data.Texts("metric_alert.projects", maxProjects),
		Error:       errorEvent(data.Object("event")),
		URL:         data.Text("event.web_url", "web_url"),
		Configured:  configured(ctx, env),
	}
	for i, slug := range alert.Projects {
		alert.Projects[i] = text.Cut(slug, maxSlug)
	}
	return alert, nil
}

// configured returns what can be acted on for a delivery.
func configured(ctx context.Context, env sentry.Envelope) Configured {
	systems := outside.From(ctx)
	_, reached := systems.Sentry[env.IntegrationID]
	table, err := systems.Destinations()
	// Where the destinations are not known there may be some, once that is mended.
	return Configured{Sentry: reached, Destinations: err != nil || !table.Empty()}
}

func errorEvent(event sentry.Fields) Error {
	return Error{
		EventID:     event.ID("event_id"),
		IssueID:     event.ID("issue_id"),
		Title:       event.Text("title"),
		Culprit:     event.Text("culprit"),
		Level:       event.Text("level"),
		Platform:    event.Text("platform"),
		Environment: event.Text("environment"),
		Release:     event.Text("release"),
		ProjectID:   event.ID("project"),
		Time:        event.Text("datetime"),
		URL:         event.Text("web_url"),
	}
}

// A result is stored in the run's history, where Temporal takes 2 MiB, and JSON
// may write six bytes for one. So lists are bounded, too.
const (
	maxProjects = 100
	maxSlug     = 100 // bytes
)

// parse returns the fields of the body, none of them and a warning when it is
// not a JSON object.
func parse(ctx context.Context, env sentry.Envelope) sentry.Fields {
	fields, ok := env.Body.Fields()
	if !ok && activity.IsActivity(ctx) {
		activity.GetLogger(ctx).Warn("body is not a JSON object in UTF-8, every field is empty", "event", env.EventType)
	}
	return fields
}
