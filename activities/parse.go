// Package activities is what triage workflows do: parse.go takes payloads
// apart, and each outside system has a file of its own.
package activities

import (
	"cmp"
	"context"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/sentry"
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
}

// ParseIssue extracts the issue of an issue or activity alert event. It never
// fails.
func ParseIssue(ctx context.Context, env sentry.Envelope) (Issue, error) {
	body := parse(ctx, env)
	issue := firstObject(body, "data.issue", "issue")
	return Issue{
		ID:        id(issue, "id"),
		ShortID:   text(issue, "shortId", "short_id"),
		Title:     text(issue, "title"),
		Culprit:   text(issue, "culprit"),
		Level:     text(issue, "level"),
		Status:    text(issue, "status"),
		Priority:  text(issue, "priority"),
		Platform:  text(issue, "platform"),
		Project:   text(issue, "project.slug"),
		FirstSeen: text(issue, "firstSeen"),
		LastSeen:  text(issue, "lastSeen"),
		URL:       text(issue, "web_url", "permalink"),
	}, nil
}

// ParseComment extracts the comment of a comment event, as Sentry sends it and
// in the nested forms of other senders and older documents. It never fails.
func ParseComment(ctx context.Context, env sentry.Envelope) (Comment, error) {
	body := parse(ctx, env)
	comment := firstObject(body, "data.comment", "comment")
	issue := firstObject(body, "data.issue", "issue")
	return Comment{
		ID:           cmp.Or(id(body, "data.comment_id"), id(comment, "id")),
		Author:       cmp.Or(text(comment, "author_name", "user.name", "author.name"), text(body, "actor.name"), "unknown"),
		Text:         cmp.Or(text(body, "data.comment"), text(comment, "text", "message"), text(body, "data.text")),
		IssueID:      cmp.Or(id(issue, "id"), id(body, "data.issue_id")),
		IssueShortID: text(issue, "shortId", "short_id"),
		Project:      text(body, "data.project_slug"),
	}, nil
}

// ParseError extracts the event of an error event. It never fails.
func ParseError(ctx context.Context, env sentry.Envelope) (Error, error) {
	return errorEvent(firstObject(parse(ctx, env), "data.error", "data.event")), nil
}

// ParseAlert extracts the alert of an event_alert or metric_alert event. It
// never fails.
func ParseAlert(ctx context.Context, env sentry.Envelope) (Alert, error) {
	body := parse(ctx, env)
	data := firstObject(body, "data")
	alert := Alert{
		Rule:        text(data, "triggered_rule", "issue_alert.title", "metric_alert.alert_rule.name"),
		RuleID:      cmp.Or(id(data, "issue_alert.id"), id(data, "metric_alert.alert_rule.id")),
		Title:       text(data, "event.title", "description_title", "metric_alert.title"),
		Description: text(data, "description_text"),
		State:       text(body, "action"),
		Error:       errorEvent(firstObject(data, "event")),
		URL:         text(data, "event.web_url", "web_url"),
	}
	for _, slug := range data.Get("metric_alert.projects").Array() {
		if slug.Type == gjson.String && slug.Str != "" && len(alert.Projects) < maxProjects {
			alert.Projects = append(alert.Projects, cut(slug.Str, maxSlug))
		}
	}
	return alert, nil
}

func errorEvent(event gjson.Result) Error {
	return Error{
		EventID:     id(event, "event_id"),
		IssueID:     id(event, "issue_id"),
		Title:       text(event, "title"),
		Culprit:     text(event, "culprit"),
		Level:       text(event, "level"),
		Platform:    text(event, "platform"),
		Environment: text(event, "environment"),
		Release:     text(event, "release"),
		ProjectID:   id(event, "project"),
		Time:        text(event, "datetime"),
		URL:         text(event, "web_url"),
	}
}

// What a result may grow to: it is stored in the run's history, where Temporal
// takes 2 MiB, and JSON may write six bytes for one.
const (
	maxField    = 16 << 10 // bytes
	maxProjects = 100
	maxSlug     = 100 // bytes
)

// parse returns the body, or an empty result and a warning when it is not a
// JSON object.
func parse(ctx context.Context, env sentry.Envelope) gjson.Result {
	if !sentry.IsObject([]byte(env.Body)) {
		if activity.IsActivity(ctx) {
			activity.GetLogger(ctx).Warn("body is not a JSON object in UTF-8, every field is empty", "event", env.EventType)
		}
		return gjson.Result{}
	}
	return gjson.Parse(string(env.Body))
}

// firstObject returns the first of paths that holds an object.
func firstObject(from gjson.Result, paths ...string) gjson.Result {
	for _, path := range paths {
		if found := get(from, path); found.IsObject() {
			return found
		}
	}
	return gjson.Result{}
}

// text returns the first of paths that holds a string with something in it.
func text(from gjson.Result, paths ...string) string {
	for _, path := range paths {
		if found := get(from, path); found.Type == gjson.String && found.Str != "" {
			return cut(found.Str, maxField)
		}
	}
	return ""
}

// id returns the id at path, which Sentry sends as a string here and as a
// number there, and which may be too big for a float.
func id(from gjson.Result, path string) string {
	switch found := get(from, path); found.Type {
	case gjson.String:
		return cut(found.Str, maxField)
	case gjson.Number:
		return cut(found.Raw, maxField)
	default:
		return ""
	}
}

// get is from.Get for objects alone: gjson reads a path into a plain string.
func get(from gjson.Result, path string) gjson.Result {
	if !from.IsObject() {
		return gjson.Result{}
	}
	return from.Get(path)
}

// cut returns the first characters of s, at most limit bytes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
