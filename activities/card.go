package activities

import (
	"context"
	"strings"
	"unicode"

	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/text"
)

// Card is what a message, a page or a ticket tells of an issue or an alert. Its texts are
// from outside and may be hostile: each system's activities make them harmless there.
// What is not known is empty.
type Card struct {
	Integration string `json:"integration"`
	Event       string `json:"event"`    // as in sentry.issue.created
	Headline    string `json:"headline"` // what happened, in our own words, as in "New issue"
	Title       string `json:"title"`
	URL         string `json:"url,omitempty"` // of the page in Sentry
	ShortID     string `json:"short_id,omitempty"`
	Severity    string `json:"severity,omitempty"` // as Decide says
	Level       string `json:"level,omitempty"`
	Project     string `json:"project,omitempty"`
	Environment string `json:"environment,omitempty"`
	Release     string `json:"release,omitempty"`
	Users       string `json:"users,omitempty"`      // how many, in digits
	Count       string `json:"count,omitempty"`      // of events, in digits
	FirstSeen   string `json:"first_seen,omitempty"` // RFC 3339
	Culprit     string `json:"culprit,omitempty"`
	Frame       string `json:"frame,omitempty"` // the top frame that is the application's own
	Rule        string `json:"rule,omitempty"`  // of an alert
	Details     string `json:"details,omitempty"`
	Test        bool   `json:"test,omitempty"` // somebody tries whether it arrives
}

// lines are the texts of a card that have one line, but for its URL.
func (c *Card) lines() []*string {
	return []*string{
		&c.Integration, &c.Event, &c.Headline, &c.Title, &c.ShortID, &c.Severity, &c.Level, &c.Project, &c.Environment, &c.Release,
		&c.Users, &c.Count, &c.FirstSeen, &c.Culprit, &c.Frame, &c.Rule,
	}
}

// clean returns the card with each text as one line that can be read, Details with lines,
// and without a link that is none of a web page.
func (c Card) clean() Card {
	for _, line := range c.lines() {
		*line = text.Line(*line)
	}
	c.Details = text.Clean(c.Details)
	c.URL = webPage(c.URL)
	return c
}

// cut returns the card with each text of limit bytes at most.
func (c Card) cut(limit int) Card {
	for _, s := range append(c.lines(), &c.Details) {
		*s = text.Shorten(*s, limit)
	}
	return c
}

// fact is one of the things that a card tells.
type fact struct{ name, value string }

// facts returns what is known beyond the title, in the order in which it is read.
func (c Card) facts() []fact {
	var known []fact
	for _, f := range []fact{
		{"severity", c.Severity}, {"level", c.Level}, {"project", c.Project}, {"environment", c.Environment}, {"release", c.Release},
		{"users", c.Users}, {"events", c.Count}, {"first seen", c.FirstSeen}, {"culprit", c.Culprit}, {"top frame", c.Frame},
		{"alert rule", c.Rule}, {"details", c.Details},
	} {
		if f.value != "" {
			known = append(known, f)
		}
	}
	return known
}

// runPage is the page of the run that calls an activity, or "" if that is not known.
func runPage(ctx context.Context, integration string) string {
	if !activity.IsActivity(ctx) {
		return ""
	}
	info := activity.GetInfo(ctx)
	return webPage(outside.From(ctx).RunURL(integration, info.Namespace, info.WorkflowExecution.ID, info.WorkflowExecution.RunID))
}

// maxMarks is how many marks a character may have above and below: more than a script
// needs, and too few to reach the lines around.
const maxMarks = 4

// shown returns s as one line in which everything can be seen, at most limit bytes.
func shown(s string, limit int) string {
	marks := 0
	return text.Shorten(text.Line(strings.Map(func(r rune) rune {
		if !unicode.Is(unicode.Mn, r) && !unicode.Is(unicode.Me, r) {
			marks = 0
		} else if marks++; marks > maxMarks {
			return -1
		}
		return r
	}, text.Cut(s, 16*limit))), limit)
}
