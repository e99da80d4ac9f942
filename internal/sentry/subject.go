package sentry

import (
	"cmp"
	"strings"
)

// Subject is what a delivery is about, as far as its body says: what engineers
// look for a run by. Unknown fields are empty. No field holds a name or address
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

// SubjectOf returns the subject of a body. It never fails.
func SubjectOf(body Body) Subject {
	fields, _ := body.Fields()
	data := fields.Object("data")
	issue := fields.Object("data.issue", "issue")
	event := data.Object("error", "event")
	s := Subject{
		IssueID:   cmp.Or(issue.ID("id"), event.ID("issue_id"), data.ID("issue_id", "group_id")),
		ShortID:   issue.Text("shortId", "short_id"),
		Project:   cmp.Or(issue.Text("project.slug"), data.Text("project_slug", "projectSlug"), projectOf(event.Text("url"))),
		Level:     cmp.Or(issue.Text("level"), event.Text("level")),
		Title:     cmp.Or(issue.Text("title"), event.Text("title"), data.Text("description_title", "metric_alert.title")),
		Culprit:   cmp.Or(issue.Text("culprit"), event.Text("culprit")),
		FirstSeen: issue.Text("firstSeen"),
		URL:       cmp.Or(issue.Text("web_url", "permalink"), event.Text("web_url"), data.Text("web_url")),
	}
	if projects := data.Texts("metric_alert.projects", 1); s.Project == "" && len(projects) == 1 {
		s.Project = projects[0]
	}
	return s
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
