package sentry

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"sentry-temporal/internal/text"
)

// Subject is what a delivery is about, as far as its body says: what engineers
// look for a run by, each text one line. Unknown fields are empty. No field holds a name or address
// of a person.
type Subject struct {
	IssueID   string
	ShortID   string // as in BACKEND-1A
	Project   string // slug
	Level     string // fatal, error, warning, info, debug
	Title     string
	Culprit   string
	FirstSeen string // RFC 3339
	URL       string // of the page in Sentry
}

// SubjectOf returns the subject of a body. It never fails. It is on the way of
// every delivery, so it reads each object once, and takes JSON for granted: what
// it makes of something else is of no use, but harmless.
func SubjectOf(body Body) Subject {
	top := Fields{gjson.Parse(string(body))}.pick("data", "issue")
	data := Fields{top.get("data")}.pick("issue", "error", "event", "issue_id", "group_id",
		"project_slug", "projectSlug", "description_title", "metric_alert", "web_url")
	issue := Fields{firstObject(data.get("issue"), top.get("issue"))}.pick("id", "shortId", "short_id",
		"title", "culprit", "level", "project", "firstSeen", "web_url", "permalink")
	event := Fields{firstObject(data.get("error"), data.get("event"))}.pick("issue_id", "title", "culprit", "level", "url", "web_url")
	alert := Fields{data.get("metric_alert")}
	s := Subject{
		IssueID: cmp.Or(issue.id("id"), event.id("issue_id"), data.id("issue_id"), data.id("group_id")),
		ShortID: cmp.Or(issue.text("shortId"), issue.text("short_id")),
		Project: cmp.Or(Fields{issue.get("project")}.Text("slug"), data.text("project_slug"), data.text("projectSlug"),
			projectOf(event.text("url")), alert.Text("projects.0")),
		Level:     cmp.Or(issue.text("level"), event.text("level")),
		Title:     cmp.Or(issue.text("title"), event.text("title"), data.text("description_title"), alert.Text("title")),
		Culprit:   cmp.Or(issue.text("culprit"), event.text("culprit")),
		FirstSeen: issue.text("firstSeen"),
		URL:       cmp.Or(issue.text("web_url"), issue.text("permalink"), event.text("web_url"), data.text("web_url")),
	}
	for _, field := range []*string{&s.IssueID, &s.ShortID, &s.Project, &s.Level, &s.Title, &s.Culprit, &s.FirstSeen, &s.URL} {
		*field = text.Line(*field)
	}
	return s
}

func firstObject(first, second gjson.Result) gjson.Result {
	if first.IsObject() {
		return first
	}
	return second
}

// projectOf returns the slug in the API address of an event, which carries its
// project as a number only: .../api/0/projects/<organisation>/<project>/events/...
func projectOf(url string) string {
	_, path, _ := strings.Cut(url, "/api/0/projects/")
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}
