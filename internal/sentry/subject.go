package sentry

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"
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

// SubjectOf returns the subject of a body. It never fails. It is on the way of
// every delivery, so it reads each object once, and takes JSON for granted: what
// it makes of something else is of no use, but harmless.
func SubjectOf(body Body) Subject {
	top := Fields{gjson.Parse(string(body))}.pick("data", "issue")
	data := Fields{top["data"]}.pick("issue", "error", "event", "issue_id", "group_id",
		"project_slug", "projectSlug", "description_title", "metric_alert", "web_url")
	if data["issue"].IsObject() {
		top["issue"] = data["issue"]
	}
	issue := Fields{top["issue"]}.pick("id", "shortId", "short_id", "title", "culprit", "level", "project", "firstSeen", "web_url", "permalink")
	if data["error"].IsObject() {
		data["event"] = data["error"]
	}
	event := Fields{data["event"]}.pick("issue_id", "title", "culprit", "level", "url", "web_url")
	alert := Fields{data["metric_alert"]}
	return Subject{
		IssueID: cmp.Or(idOf(issue["id"]), idOf(event["issue_id"]), idOf(data["issue_id"]), idOf(data["group_id"])),
		ShortID: cmp.Or(textOf(issue["shortId"]), textOf(issue["short_id"])),
		Project: cmp.Or(Fields{issue["project"]}.Text("slug"), textOf(data["project_slug"]), textOf(data["projectSlug"]),
			projectOf(textOf(event["url"])), alert.Text("projects.0")),
		Level:     cmp.Or(textOf(issue["level"]), textOf(event["level"])),
		Title:     cmp.Or(textOf(issue["title"]), textOf(event["title"]), textOf(data["description_title"]), alert.Text("title")),
		Culprit:   cmp.Or(textOf(issue["culprit"]), textOf(event["culprit"])),
		FirstSeen: textOf(issue["firstSeen"]),
		URL:       cmp.Or(textOf(issue["web_url"]), textOf(issue["permalink"]), textOf(event["web_url"]), textOf(data["web_url"])),
	}
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
