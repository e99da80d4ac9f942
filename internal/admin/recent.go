package admin

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
	"sentry-temporal/internal/web"
)

const (
	// maxRecent is how many verified deliveries are remembered, and maxUnverified
	// how many others.
	maxRecent     = 200
	maxUnverified = 50
	// maxText bounds each text of a remembered delivery, in bytes.
	maxText = 256
)

// Recent remembers, in memory, the last 200 verified deliveries, the last 50
// others, and when the last verified one that was not refused came for each
// integration. What it holds is bounded, whatever is sent.
type Recent struct {
	began time.Time

	mu         sync.Mutex
	verified   ring
	unverified ring                 // apart, so that strangers push nothing out
	last       map[string]time.Time // by integration; no other keys than at the start
}

// ring is the last deliveries of a kind.
type ring struct {
	slots []remembered
	count uint64 // of all ever; the next goes to count % len(slots)
}

func (r *ring) add(d web.Delivery) {
	r.count++
	r.slots[r.count%uint64(len(r.slots))] = remembered{Delivery: d, number: r.count}
}

// list returns what is remembered, the newest first.
func (r *ring) list() []remembered {
	size := uint64(len(r.slots))
	list := make([]remembered, min(r.count, size))
	for i := range list {
		list[i] = r.slots[(r.count-uint64(i))%size]
	}
	return list
}

// remembered is a delivery with the number that it came as among its kind, from 1.
type remembered struct {
	web.Delivery
	number uint64
}

// NewRecent returns a Recent that remembers nothing yet.
func NewRecent(integrations []config.Integration) *Recent {
	r := &Recent{
		began:      time.Now(),
		verified:   ring{slots: make([]remembered, maxRecent)},
		unverified: ring{slots: make([]remembered, maxUnverified)},
		last:       map[string]time.Time{},
	}
	for _, integration := range integrations {
		r.last[integration.Name] = time.Time{}
	}
	return r
}

// Observe is an observer for the ingress. It is as quick as copying some short
// texts.
func (r *Recent) Observe(_ context.Context, d web.Delivery) {
	for _, text := range []*string{
		&d.RequestID, &d.Key, &d.Integration, &d.Event, &d.Subject.IssueID, &d.Subject.ShortID, &d.Subject.Project,
		&d.Subject.Level, &d.Subject.Title, &d.Reason,
	} {
		*text = cut(*text)
	}
	headers := make(map[string]string, len(d.Headers)) // of an envelope, which has a few
	for name, value := range d.Headers {
		headers[cut(name)] = cut(value)
	}
	d.Headers = headers
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
	if !d.Verified {
		r.unverified.add(d)
		return
	}
	r.verified.add(d)
	// One that was held is taken long after it came.
	if last, known := r.last[d.Integration]; known && d.Outcome != web.Refused && d.Time.After(last) {
		r.last[d.Integration] = d.Time
	}
}

// cut returns a copy of the beginning of s, as one line. Without the copy s would
// keep the whole body in memory that it is a part of.
func cut(s string) string {
	return strings.Clone(text.Shorten(text.Line(s), maxText))
}

// deliveries returns what is remembered, the newest first.
func (r *Recent) deliveries() (verified, unverified []remembered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verified.list(), r.unverified.list()
}

// knows reports whether a delivery is remembered.
func (r *Recent) knows(integration, key string) bool {
	verified, _ := r.deliveries()
	return slices.ContainsFunc(verified, func(d remembered) bool { return d.Integration == integration && d.Key == key })
}

// lastOf returns when the last verified delivery that was not refused came for an
// integration, or the zero time.
func (r *Recent) lastOf(integration string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[integration]
}
