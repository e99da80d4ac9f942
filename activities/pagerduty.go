package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/text"
)

// PagerDuty opens and resolves alerts. Its zero value is ready.
type PagerDuty struct{}

// Page is an alert that wakes somebody.
type Page struct {
	Variable string `json:"variable"` // that has the routing key
	Key      string `json:"key"`      // the alert's dedup_key, see EffectKey
	Severity string `json:"severity"` // of PagerDuty: critical, error, warning, info
	Card     Card   `json:"card"`
}

// PageRef names an alert.
type PageRef struct {
	Variable string `json:"variable"`
	Key      string `json:"key"`
}

// Paged is what PagerDuty said: that it took an event. What comes of it, it does not say.
type Paged struct {
	Key  string `json:"key"`
	Note string `json:"note,omitempty"`
}

const (
	maxSummary = 1024             // characters that PagerDuty takes; here bytes, which are no fewer
	maxDetail  = 2000             // bytes of a custom detail
	pageWindow = 10 * time.Minute // in which an alert that is triggered again is surely the same
)

// TriggerPage opens an alert, or adds to the one that is open under the key. It may be
// repeated freely, but somebody may have resolved the alert meanwhile, and then it opens
// another: what is triggered late, after an attempt that may have arrived, says so.
func (*PagerDuty) TriggerPage(ctx context.Context, page Page) (Paged, error) {
	first := neverSent(ctx)
	paged, err := enqueue(ctx, page.Variable, page.Key, trigger(ctx, page))
	failed, ok := errors.AsType[*temporal.ApplicationError](err)
	switch {
	case first && ok && failed.Type() == TypeNotSent:
		remember(ctx, unsent)
	case !first && err == nil && time.Since(activity.GetInfo(ctx).ScheduledTime) > pageWindow:
		paged.Note = "may have paged again: an earlier attempt may have opened an alert that was resolved since"
	}
	return paged, err
}

// AcknowledgePage acknowledges the alert under a key. PagerDuty takes that even if none
// is open, and then drops it.
func (*PagerDuty) AcknowledgePage(ctx context.Context, ref PageRef) (Paged, error) {
	return enqueue(ctx, ref.Variable, ref.Key, pageEvent{Action: "acknowledge"})
}

// ResolvePage resolves the alert under a key. PagerDuty takes that even if none is open,
// and then drops it.
func (*PagerDuty) ResolvePage(ctx context.Context, ref PageRef) (Paged, error) {
	return enqueue(ctx, ref.Variable, ref.Key, pageEvent{Action: "resolve"})
}

// pageEvent is an event of PagerDuty's API, version 2.
type pageEvent struct {
	RoutingKey string       `json:"routing_key"`
	Action     string       `json:"event_action"`
	Key        string       `json:"dedup_key"`
	Client     string       `json:"client,omitempty"`
	ClientURL  string       `json:"client_url,omitempty"`
	Links      []pageLink   `json:"links,omitempty"`
	Payload    *pagePayload `json:"payload,omitempty"`
}

type pageLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type pagePayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Component string            `json:"component,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details,omitempty"`
}

func trigger(ctx context.Context, page Page) pageEvent {
	c := page.Card.clean()
	e := pageEvent{Action: "trigger", Client: "sentry-temporal", ClientURL: runPage(ctx, c.Integration)}
	if c.URL != "" {
		e.Links = append(e.Links, pageLink{c.URL, strings.TrimSpace("Sentry " + text.Cut(c.ShortID, 100))})
	}
	if e.ClientURL != "" {
		e.Links = append(e.Links, pageLink{e.ClientURL, "Triage run"})
	}
	severity := page.Severity
	if !slices.Contains([]string{"critical", "error", "warning", "info"}, severity) {
		severity = "error" // rather than no page at all
	}
	e.Payload = &pagePayload{
		Summary: pageSummary(c), Source: text.Shorten(cmp.Or(c.Project, c.Integration, "sentry"), 255), Severity: severity,
		Component: text.Shorten(c.Project, 255), Class: text.Shorten(c.Event, 255), Details: map[string]string{},
	}
	for _, fact := range c.facts() {
		e.Payload.Details[fact.name] = text.Shorten(fact.value, maxDetail)
	}
	return e
}

// pageSummary tells in one line what broke where, as in "[production] backend: TypeError:
// x is undefined in checkout.views (fatal)".
func pageSummary(c Card) string {
	var before, after string
	if c.Test {
		before = "Test: "
	}
	if c.Environment != "" {
		before += "[" + text.Shorten(c.Environment, 64) + "] "
	}
	if c.Project != "" {
		before += text.Shorten(c.Project, 100) + ": "
	}
	if c.Culprit != "" {
		after = " in " + text.Shorten(c.Culprit, 200)
	}
	if c.Level != "" {
		after += " (" + text.Shorten(c.Level, 32) + ")"
	}
	what := cmp.Or(c.Title, c.Rule, c.Headline, "something that Sentry does not name")
	return before + text.Shorten(what, maxSummary-len(before)-len(after)) + after
}

// enqueue sends an event. Without a key of its own each attempt would be another alert.
func enqueue(ctx context.Context, variable, key string, e pageEvent) (Paged, error) {
	if key == "" || len(key) > 255 {
		return Paged{}, mistaken("PagerDuty: a key has 1 to 255 characters")
	}
	systems := outside.From(ctx)
	routing, err := systems.RoutingKey(variable)
	if err != nil {
		return Paged{}, notConfigured(ctx, variable, err)
	}
	e.RoutingKey, e.Key = routing.Reveal(), key
	body, err := json.Marshal(e)
	if err != nil {
		return Paged{}, err
	}
	answer, err := systems.Client.Do(ctx, outside.Request{
		System: "PagerDuty", Variable: variable, Method: http.MethodPost, URL: systems.PagerDutyURL,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: body,
	})
	var said struct {
		Key     string   `json:"dedup_key"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	wrong := json.Unmarshal(answer.Body, &said)
	switch {
	case err != nil && answer.Status == http.StatusBadRequest:
		why := strings.Join(append([]string{said.Message}, said.Errors...), "; ")
		return Paged{}, failure(ctx, because(err, fmt.Sprintf("%s (the routing key is that of %s)", outside.Quote(why, routing.Reveal()), variable)), true)
	case err != nil:
		return Paged{}, failure(ctx, err, true)
	case wrong != nil || said.Key != key:
		return Paged{}, failure(ctx, strange("PagerDuty", answer), true)
	}
	return Paged{Key: key}, nil
}
