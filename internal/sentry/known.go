package sentry

import (
	"slices"
	"strings"

	"sentry-temporal/internal/text"
)

// archived is what some old subscriptions send; [EventName] gives it another name.
const archived, ignored = "sentry.issue.archived", "sentry.issue.ignored"

// Renamed returns the event that a delivery has which others call event, and
// false if nothing else is called so: no delivery has the event
// sentry.issue.archived.
func Renamed(event string) (string, bool) { return ignored, event == archived }

// KnownEvent reports whether Sentry is known to send event, or something that a
// pattern such as sentry.issue.* is for. If it is not, nearest is what was meant,
// "" if it is like nothing that is known. Sentry may send it all the same: it has
// new events within months.
func KnownEvent(event string) (known bool, nearest string) {
	name := strings.TrimPrefix(event, "sentry.")
	names := SampleNames()
	if strings.HasSuffix(name, "*") {
		for i := range names {
			resource, _, _ := strings.Cut(names[i], ".")
			names[i] = resource + ".*"
		}
	} else {
		names = slices.DeleteFunc(names, func(name string) bool { return "sentry."+name == archived })
	}
	if name == "*" || name == "*.*" || slices.Contains(names, name) {
		return true, ""
	}
	if found := text.Nearest(name, names, max(len(name)/3, 2)); found != "" {
		nearest = "sentry." + found
	}
	return false, nearest
}
