package triage

import "strings"

// NoEcho is for [When]: it reports whether a delivery is news, and no echo of what a
// program has done to Sentry by its API, as this one does. Sentry sends that back as it
// sends what people do, so that a workflow which acts on an issue would start itself.
//
// No news is what an integration has done to an issue or a comment, but that it has
// created the issue, and a link on an issue, whoever has made it. What Sentry itself
// does is news, and so is what somebody does of whom nothing is known.
func NoEcho(d Delivery) bool {
	switch {
	case strings.HasPrefix(d.Event, "sentry.issue.external_issue_"):
		return false
	case d.Event == "sentry.issue.created":
		return true
	case Matches("sentry.issue.*", d.Event), Matches("sentry.comment.*", d.Event):
		return d.Actor != ActorIntegration
	}
	return true
}
