package admin

import (
	"context"
	"strings"
	"sync"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/web"
)

const (
	// maxRecent is how many deliveries are remembered.
	maxRecent = 200
	// maxText bounds each text of a remembered delivery, in bytes.
	maxText = 256
)

// Recent remembers, in memory, the last 200 deliveries and when the last one
// that was not refused came for each integration. What it holds is bounded,
// whatever is sent.
type Recent struct {
	mu    sync.Mutex
	ring  [maxRecent]remembered
	count uint64               // of all deliveries ever; the next goes to count % maxRecent
	last  map[string]time.Time // by integration; no other keys than at the start
}

// remembered is a delivery with the number that it came as, from 1.
type remembered struct {
	web.Delivery
	number uint64
}

// NewRecent returns a Recent that remembers nothing yet.
func NewRecent(integrations []config.Integration) *Recent {
	r := &Recent{last: map[string]time.Time{}}
	for _, integration := range integrations {
		r.last[integration.Name] = time.Time{}
	}
	return r
}

// Observe is an observer for the ingress. It is as quick as copying some short
// texts.
func (r *Recent) Observe(_ context.Context, d web.Delivery) {
	for _, text := range []*string{
		&d.RequestID, &d.Integration, &d.Event, &d.Subject.IssueID, &d.Subject.ShortID, &d.Subject.Project,
		&d.Subject.Level, &d.Subject.Title, &d.Reason,
	} {
		*text = cut(*text)
	}
	page := ""
	if len(d.Subject.URL) <= maxText { // what is cut leads nowhere
		page = cut(d.Subject.URL)
	}
	d.Subject = sentry.Subject{
		IssueID: d.Subject.IssueID, ShortID: d.Subject.ShortID, Project: d.Subject.Project, Level: d.Subject.Level,
		Title: d.Subject.Title, URL: page,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.ring[r.count%maxRecent] = remembered{Delivery: d, number: r.count}
	if _, known := r.last[d.Integration]; known && d.Outcome != web.Refused {
		r.last[d.Integration] = d.Time
	}
}

// cut returns a copy of the beginning of s, in UTF-8. Without the copy s would
// keep the whole body in memory that it is a part of.
func cut(s string) string {
	if len(s) > maxText {
		s = sentry.Cut(s, maxText-len("…")) + "…"
	}
	return strings.Clone(strings.ToValidUTF8(s, "\uFFFD"))
}

// deliveries returns what is remembered, the newest first.
func (r *Recent) deliveries() []remembered {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]remembered, min(r.count, maxRecent))
	for i := range list {
		list[i] = r.ring[(r.count-uint64(i))%maxRecent]
	}
	return list
}

// lastOf returns when the last delivery that was not refused came for an
// integration, or the zero time.
func (r *Recent) lastOf(integration string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[integration]
}
