package sentry

import (
	"strings"

	"github.com/tidwall/gjson"
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

// SubjectOf returns the subject of a body, see [DeliveryOf].
func SubjectOf(body Body) Subject { return DeliveryOf(Envelope{Body: body}).Subject }

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
