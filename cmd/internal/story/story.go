// Package story tells the life of an issue by deliveries, in the order in which Sentry
// sends them.
package story

import (
	"strings"

	"sentry-temporal/internal/sentry"
)

// Part is a delivery of a story.
type Part struct {
	Name string // of the sample that it is, as in issue.created
	Body []byte
}

// Resource is what the header of the delivery says that it is about.
func (p Part) Resource() string {
	resource, _, _ := strings.Cut(p.Name, ".")
	return resource
}

// issue is what becomes of one: it is new, somebody is alerted, somebody takes it and
// says so, it is resolved, comes back, and is resolved for good.
var issue = []string{
	"issue.created", "event_alert.triggered", "issue.assigned", "comment.created", "issue.resolved", "issue.unresolved", "issue.resolved",
}

// OfIssue returns what becomes of one issue, which has the same ids under the same seed.
func OfIssue(seed string) []Part { return Of(seed, issue...) }

// Of returns the samples of the names, which have to be there, as one story. Its
// ids follow from seed, or are those of the samples if that is "".
func Of(seed string, names ...string) []Part {
	parts := make([]Part, len(names))
	for i, name := range names {
		body, err := sentry.Sample(name)
		if err != nil {
			panic(err) // it is compiled in
		}
		if seed != "" {
			body = sentry.WithIDs(body, seed)
		}
		parts[i] = Part{name, body}
	}
	return parts
}
