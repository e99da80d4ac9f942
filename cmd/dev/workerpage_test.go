package main

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	checks "sentry-temporal/internal/outside"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/workflows"
)

func TestPageOfAWorkerInABrowser(t *testing.T) {
	b := openBrowser(t)
	checked := time.Now()
	var invited atomic.Bool
	status := admin.WorkerStatus{
		Queues:    func() []admin.Queue { return []admin.Queue{{Namespace: "default", TaskQueue: "sentry"}} },
		Workflows: workflows.All,
		Outside: func() []checks.State {
			slack := checks.State{System: "Slack", Status: checks.Ready, Checked: checked}
			if !invited.Load() {
				slack.Status, slack.Missing = checks.NotReady, []string{"the bot is not in the channel #sentry (TRIAGE_SLACK_CHANNEL): invite it there"}
			}
			return []checks.State{
				{System: "Sentry", Integration: "mobile_applications", Status: checks.Ready, Checked: checked}, slack,
				{System: "PagerDuty", Status: checks.WellFormed, Checked: checked}, {System: "GitHub", Status: checks.Unchecked},
				{System: "Webhook", Status: checks.NotConfigured, Checked: checked},
			}
		},
		Destinations: func() destinations.State {
			return destinations.State{File: "/etc/destinations.yaml", Rules: []destinations.Rule{
				{Destination: destinations.Destination{Name: "payments", Slack: "#pay-alerts", PagerDuty: "PAY_PAGERDUTY_KEY", GitHub: "acme/pay"}, Match: destinations.Match{Projects: []string{"pay-*"}, Environments: []string{"production"}, Levels: []string{"fatal", "error"}}},
				{Destination: destinations.Destination{Name: "everyone", Slack: "#sentry"}},
			}}
		},
	}
	page := workerPageOf(t, status)
	t.Run("stays fresh without being loaded again", func(t *testing.T) {
		before := b.t
		b.t = t
		t.Cleanup(func() { b.t = before })
		b.do(chromedp.Navigate(page))
		for _, text := range []string{"1 not ready", "invite it there", "#pay-alerts", "well-formed", "triage_sentry_issue"} {
			b.await(has(text))
		}
		b.do(chromedp.Evaluate[chromedp.Void]("window.same = true"))
		invited.Store(true)
		b.await(has("3 ready") + " && window.same && !" + has("invite it there"))
		b.quiet()
	})

	long := strings.Repeat("long", 60)
	wrong := status
	wrong.Queues = func() []admin.Queue {
		return []admin.Queue{{Connection: "cloud", Namespace: long, TaskQueue: long, Problem: "ask Temporal at temporal.internal:7233: connection refused " + long}}
	}
	wrong.Outside = func() []checks.State {
		return []checks.State{{System: "Sentry", Integration: "mobile_applications", Status: checks.NotReady, Missing: []string{"MOBILE_APPLICATIONS_API_TOKEN lacks the scope event:write " + long, long}, Checked: checked}}
	}
	wrong.Destinations = func() destinations.State {
		return destinations.State{
			File: "/etc/" + long + ".yaml", Problem: "3:5: " + long + strings.Repeat("\n4:1: wrong, too", 20), Unknown: true,
			Rules:    []destinations.Rule{{Destination: destinations.Destination{Name: long, Slack: "#" + long, PagerDuty: strings.ToUpper(long)}, Match: destinations.Match{Projects: []string{long, long}}}},
			Warnings: []yamlfile.Problem{{Line: 3, Column: 4, Text: long}},
		}
	}
	wrong.Warnings = []config.Problem{{Variable: "TRIAGE_SLAK_TOKEN", Text: "is not read; did you mean TRIAGE_SLACK_TOKEN?"}}
	for name, page := range map[string]string{"is accessible": page, "is accessible when all is wrong": workerPageOf(t, wrong)} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				t.Run(fmt.Sprintf("%s, %s, %d pixels wide", name, scheme, width), func(t *testing.T) {
					before := b.t
					b.t = t
					t.Cleanup(func() { b.t = before })
					b.scheme(scheme)
					b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(page))
					b.await("document.querySelectorAll('#outside tr').length > 0")
					if wide := value(b, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > width {
						t.Errorf("the page is %d pixels wide", wide)
					}
					checkAccessibility(b)
					b.quiet()
				})
			}
		}
	}
}

// workerPageOf serves the page of a worker.
func workerPageOf(t *testing.T, status admin.WorkerStatus) (address string) {
	t.Helper()
	server := httptest.NewServer(admin.New(admin.Options{
		Ready: func() error { return nil },
		Temporal: func() []admin.NamespaceState {
			return []admin.NamespaceState{{Namespace: "default", Status: admin.StatusOK, Asked: time.Now()}}
		},
		UIURL:  "http://127.0.0.1:1",
		Worker: &status,
		Log:    slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	return server.URL
}
