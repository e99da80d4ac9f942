// Package acttest has what tests of workflows need that act on the outside.
package acttest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	wire "sentry-temporal/internal/sentry"
	"sentry-temporal/triage/triagetest"
)

// Everything is a worker with all that variables can say, but for what the addresses and
// secrets are.
func Everything() config.Outside {
	o := config.NoOutside()
	o.Sentry = map[string]config.SentryAPI{"sentry": {Organization: "acme", TokenVariable: "SENTRY_API_TOKEN"}} //nolint:gosec // a variable's name
	o.SlackChannel, o.PagerDutyVariable, o.GitHubRepo, o.WebhookVariable = "#sentry", config.PagerDutyRoutingKey, "acme/pay", config.WebhookURL
	return o
}

// With returns a context for activities, in which o is configured.
func With(ctx context.Context, o config.Outside) context.Context {
	table := destinations.FromVariables(o)
	return outside.With(ctx, &outside.Systems{
		Outside: o, Client: outside.NewClient(),
		Destinations: func() (*destinations.Table, error) { return table, nil },
	})
}

var (
	sentry *activities.Sentry
	slack  *activities.Slack
	duty   *activities.PagerDuty
	github *activities.GitHub
	hook   *activities.Webhook
)

// World stands in for all that activities reach, and notes what is called: "read" and
// "read event" of Sentry, "page", "resolve", "post", "call", "ticket" and "link".
type World struct {
	// Fail says by its name how a call fails, for the first time and so on.
	Fail map[string]func(time int) error
	// Issue is what Sentry says of any issue.
	Issue activities.SentryIssue

	mu    sync.Mutex
	calls []string
}

func (w *World) called(call string) error {
	w.mu.Lock()
	w.calls = append(w.calls, call)
	w.mu.Unlock()
	if fail := w.Fail[call]; fail != nil {
		return fail(w.Count(call))
	}
	return nil
}

// Always is for [World], a call that fails each time.
func Always(err error) func(int) error { return func(int) error { return err } }

// Calls returns what was called, in order.
func (w *World) Calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// Acts returns what was called beside what reads, sorted, since all is done at once.
func (w *World) Acts() string {
	acts := slices.DeleteFunc(w.Calls(), func(call string) bool { return strings.HasPrefix(call, "read") })
	slices.Sort(acts)
	return strings.Join(acts, " ")
}

// Count returns how often something was called.
func (w *World) Count(call string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c == call {
			n++
		}
	}
	return n
}

// Options replace all activities by w, with o configured.
func (w *World) Options(t testing.TB, o config.Outside) []triagetest.Option {
	t.Helper()
	return []triagetest.Option{
		triagetest.Activities(With(t.Context(), o)),
		triagetest.Replace(sentry.ReadIssue, func(context.Context, activities.IssueRef) (activities.SentryIssue, error) {
			return w.Issue, w.called("read")
		}),
		triagetest.Replace(sentry.ReadLatestEvent, func(context.Context, activities.IssueRef) (activities.SentryEvent, error) {
			return activities.SentryEvent{Environment: "production"}, w.called("read event")
		}),
		triagetest.Replace(sentry.LinkRun, func(context.Context, activities.RunLink) (activities.Linked, error) {
			return activities.Linked{URL: "https://temporal.example/run"}, w.called("link")
		}),
		triagetest.Replace(slack.PostMessage, func(context.Context, activities.SlackPost) (activities.SlackMessage, error) {
			return activities.SlackMessage{URL: "https://slack.example/p1"}, w.called("post")
		}),
		triagetest.Replace(duty.TriggerPage, func(_ context.Context, p activities.Page) (activities.Paged, error) {
			return activities.Paged{Key: p.Key}, w.called("page")
		}),
		triagetest.Replace(duty.ResolvePage, func(_ context.Context, p activities.PageRef) (activities.Paged, error) {
			return activities.Paged{Key: p.Key, Note: "accepted"}, w.called("resolve")
		}),
		triagetest.Replace(github.CreateTicket, func(context.Context, activities.Ticket) (activities.Ticketed, error) {
			return activities.Ticketed{Number: 7, URL: "https://github.example/7"}, w.called("ticket")
		}),
		triagetest.Replace(hook.CallWebhook, func(context.Context, activities.WebhookCall) (activities.Noted, error) {
			return activities.Noted{Note: "delivered, at least once"}, w.called("call")
		}),
	}
}

// Body returns a sample in which texts are replaced, each by the one that follows it. It
// is of 2024, since triagetest delivers at the end of that year.
func Body(t testing.TB, name string, replacements ...string) string {
	t.Helper()
	body, err := wire.Sample(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range even(replacements) {
		if !strings.Contains(string(body), old) {
			t.Fatalf("%s has no %s", name, old)
		}
	}
	return strings.ReplaceAll(strings.NewReplacer(replacements...).Replace(string(body)), `"2026-`, `"2024-`)
}

// Payload is [Body] as a file for triagetest.
func Payload(t testing.TB, name string, replacements ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".json")
	if err := os.WriteFile(file, []byte(Body(t, name, replacements...)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func even(all []string) []string {
	var found []string
	for i := 0; i < len(all); i += 2 {
		found = append(found, all[i])
	}
	return found
}
