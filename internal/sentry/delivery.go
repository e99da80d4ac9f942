package sentry

import (
	"cmp"
	"math"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"sentry-temporal/internal/text"
)

// Delivery is the typed view of a delivery: what its signed body says, and how it
// was named. Every text is one line, and what is missing, null or of another type
// is empty. Only Event depends on something that Sentry does not sign: a header.
type Delivery struct {
	Event       string // as in sentry.issue.created
	Integration string // its name in our configuration
	Subject
	Priority string    // of the issue: high, medium, low
	Time     time.Time // of the event, in UTC; zero if the body has none
	Actor    Actor     // who acted
	body     Body
}

// Actor is who has brought a delivery about.
type Actor string

// The actors that there are. An empty one is not known.
const (
	ActorPerson      Actor = "person"
	ActorSentry      Actor = "sentry"      // itself: all that is new, alerts, regressions
	ActorIntegration Actor = "integration" // any, ours included: Sentry sends what was done by its API, too
)

// DeliveryOf returns the typed view of env. It never fails. It is on the way of
// every delivery, so it reads each object once, and takes JSON for granted: what
// it makes of something else is of no use, but harmless.
func DeliveryOf(env Envelope) Delivery {
	top := Fields{gjson.Parse(string(env.Body))}.pick("data", "issue", "comment", "actor")
	data := Fields{top.get("data")}.pick("issue", "error", "event", "comment", "issue_id", "group_id", "timestamp",
		"project_slug", "projectSlug", "description_title", "metric_alert", "web_url")
	issue := Fields{firstObject(data.get("issue"), top.get("issue"))}.pick("id", "shortId", "short_id",
		"title", "culprit", "level", "project", "firstSeen", "lastSeen", "priority", "web_url", "permalink")
	event := Fields{firstObject(data.get("error"), data.get("event"))}.pick("issue_id", "title", "culprit", "level", "url", "web_url", "received", "datetime")
	comment := Fields{firstObject(data.get("comment"), top.get("comment"))}
	alert := Fields{data.get("metric_alert")}
	actor := Fields{top.get("actor")}.pick("type", "id")
	d := Delivery{
		Event:       env.EventType,
		Integration: env.IntegrationID,
		Subject: Subject{
			IssueID: cmp.Or(issue.id("id"), event.id("issue_id"), data.id("issue_id"), data.id("group_id")),
			ShortID: cmp.Or(issue.text("shortId"), issue.text("short_id")),
			Project: cmp.Or(Fields{issue.get("project")}.Text("slug"), data.text("project_slug"), data.text("projectSlug"),
				projectOf(event.text("url")), alert.Text("projects.0")),
			Level:     cmp.Or(issue.text("level"), event.text("level")),
			Title:     cmp.Or(issue.text("title"), event.text("title"), data.text("description_title"), alert.Text("title")),
			Culprit:   cmp.Or(issue.text("culprit"), event.text("culprit")),
			FirstSeen: issue.text("firstSeen"),
			URL:       cmp.Or(issue.text("web_url"), issue.text("permalink"), event.text("web_url"), data.text("web_url")),
		},
		Priority: text.Line(issue.text("priority")),
		Time: firstTime(event.get("received"), event.get("datetime"), issue.get("lastSeen"),
			data.get("timestamp"), comment.get("timestamp")),
		Actor: actorOf(actor.text("type"), actor.id("id")),
		body:  env.Body,
	}
	for _, field := range []*string{&d.IssueID, &d.ShortID, &d.Project, &d.Level, &d.Title, &d.Culprit, &d.FirstSeen, &d.URL} {
		*field = text.Line(*field)
	}
	return d
}

// Field returns what the body has at a path of gjson, as in
// "data.issue.userCount": a text, cut at [MaxField] bytes and clean, or a number,
// true or false as they stand there. What is missing, null, an object or a list is
// empty.
func (d Delivery) Field(path string) string {
	switch found := (Fields{gjson.Parse(string(d.body))}).get(path); found.Type { //nolint:exhaustive // the others have no text
	case gjson.String:
		return textOf(found)
	case gjson.Number, gjson.True, gjson.False:
		return rawOf(found)
	}
	return ""
}

// actorOf knows who acted by the type and the id that Sentry gives.
func actorOf(kind, id string) Actor {
	switch {
	case kind == "user":
		return ActorPerson
	case kind == "application" && id == "sentry":
		return ActorSentry
	case kind == "application":
		return ActorIntegration
	}
	return ""
}

// firstTime returns the first of values that is a time: a text of RFC 3339, which
// may lack the zone of UTC, or unix seconds.
func firstTime(values ...gjson.Result) time.Time {
	for _, value := range values {
		if t, ok := timeOf(value); ok {
			return t
		}
	}
	return time.Time{}
}

func timeOf(value gjson.Result) (time.Time, bool) {
	switch value.Type { //nolint:exhaustive // the others are no time
	case gjson.Number:
		// Of a number that is no time, such as a year far away, nothing follows.
		const least, most = 0, 1 << 33
		if value.Num <= least || value.Num >= most {
			return time.Time{}, false
		}
		seconds, fraction := math.Modf(value.Num)
		return time.Unix(int64(seconds), int64(fraction*1e6)*1e3).UTC(), true
	case gjson.String:
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
			t, err := time.Parse(layout, strings.TrimSpace(value.Str))
			if err == nil && t.Unix() > 0 {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}
