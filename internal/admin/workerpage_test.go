package admin_test

import (
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
)

var pages = triage.New("pages_people", func(workflow.Context, triage.Envelope) (string, error) { return "", nil },
	triage.On("sentry.issue.created", "sentry.metric_alert.*"))

// workerAdmin is the admin handler of a worker, all of whose texts have evil in them.
func workerAdmin(token config.Secret, evil string) http.Handler {
	return admin.New(admin.Options{
		Ready: func() error { return nil },
		Temporal: func() []admin.NamespaceState {
			return []admin.NamespaceState{{Namespace: "default", Status: admin.StatusOK, Asked: time.Now()}}
		},
		Worker: &admin.WorkerStatus{
			Queues: func() []admin.Queue {
				return []admin.Queue{
					{Namespace: "default", TaskQueue: "sentry"},
					{Connection: "cloud", Namespace: "mobile" + evil, TaskQueue: "urgent" + evil, Problem: "the namespace is missing" + evil},
				}
			},
			Workflows: []triage.Workflow{pages},
			Outside: func() []outside.State {
				return []outside.State{
					{System: "Sentry", Integration: "sentry", Status: outside.Ready, Checked: time.Now()},
					{System: "Slack", Status: outside.NotReady, Missing: []string{"the bot is not in #sentry" + evil, "TRIAGE_SLACK_TOKEN lacks the scope chat:write"}, Checked: time.Now()},
					{System: "PagerDuty", Status: outside.WellFormed, Checked: time.Now()},
					{System: "GitHub", Status: outside.Unchecked},
					{System: "Webhook", Status: outside.NotConfigured, Checked: time.Now()},
				}
			},
			Destinations: func() destinations.State {
				return destinations.State{
					File: "/etc/destinations.yaml" + evil, Problem: "3:5: no such key" + evil,
					Rules: []destinations.Rule{
						{Destination: destinations.Destination{Name: "payments" + evil, Slack: "#pay", PagerDuty: "PAY_KEY", GitHub: "acme/pay"}, Match: destinations.Match{Projects: []string{"pay-*" + evil}, Levels: []string{"fatal", "error"}}},
						{Destination: destinations.Destination{Name: "everyone", SlackWebhook: "ALL_SLACK", Webhook: "ALL_HOOK"}},
					},
					Warnings: []yamlfile.Problem{{Line: 7, Column: 3, Text: "it can never match" + evil}},
				}
			},
			Warnings: []config.Problem{{Variable: "TRIAGE_SLAK_TOKEN", Text: "is not read" + evil}},
		},
		Token: token,
		Hosts: []string{"worker.example.com"},
		Log:   slog.New(slog.DiscardHandler),
	})
}

func TestThePageOfAWorkerShowsWhatItPollsAndReachesAndWhoIsTold(t *testing.T) {
	answer := serve(workerAdmin("", ""), http.MethodGet, "/", "", browser)
	page := textOf(t, answer)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("answered %d %s", answer.StatusCode, page)
	}
	has(t, page,
		"Polls 1 of 2", "not polled", "the namespace is missing", "cloud", "urgent",
		"pages_<wbr>people", "issue.", "metric_alert.", "Answers",
		"1 not ready", "the bot is not in #sentry", "TRIAGE_SLACK_TOKEN lacks the scope chat:write", "well-formed", "being checked", "not configured",
		"payments", "projects pay-*", "levels fatal, error", "Slack #pay", "PagerDuty, by the key in PAY_KEY", "GitHub acme/pay",
		"everyone", "everything", "Slack, by the webhook in ALL_SLACK", "webhook, to the address in ALL_HOOK",
		"/etc/destinations.yaml", "3:5: no such key", "The destinations from before are used",
		"DESTINATIONS_FILE", "7:3: it can never match", "TRIAGE_SLAK_TOKEN", "is not read")
}

func TestWhatIsOnThePageOfAWorkerIsNoMarkup(t *testing.T) {
	evil := `</style></script></title><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "`{{.}}"
	answer := serve(workerAdmin("", evil), http.MethodGet, "/", "", browser)
	page := textOf(t, answer)
	for _, bad := range []string{"<script>alert", "<img", `"'` + "`"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is on the page", bad)
		}
	}
	policy := answer.Header.Get("Content-Security-Policy")
	for _, element := range []string{"style", "script"} {
		_, inside, _ := strings.Cut(page, "<"+element+">")
		inside, _, _ = strings.Cut(inside, "</"+element+">")
		sum := sha256.Sum256([]byte(inside))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want+";") || inside == "" {
			t.Errorf("%s is not in %s", want, policy)
		}
	}
}

func TestThePageOfAWorkerIsGuardedLikeThatOfAnIngress(t *testing.T) {
	handler := workerAdmin(adminToken, "")
	if answer := serve(handler, http.MethodGet, "/", "", browser); answer.StatusCode != http.StatusUnauthorized || !strings.Contains(textOf(t, answer), `action="/login"`) {
		t.Errorf("without the token: answered %d", answer.StatusCode)
	}
	cookie := cookieOf(t, handler)
	for name, test := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"the token":              {bearer(adminToken), http.StatusOK},
		"the cookie":             {with(cookie), http.StatusOK},
		"another token":          {bearer("another-admin-token-that-is-wrong"), http.StatusUnauthorized},
		"the cookie, other site": {func(r *http.Request) { with(cookie)(r); r.Host = "rebound.evil.example" }, http.StatusForbidden},
		"one of its names":       {func(r *http.Request) { with(cookie)(r); r.Host = "worker.example.com" }, http.StatusOK},
	} {
		if answer := serve(handler, http.MethodGet, "/", "", test.change); answer.StatusCode != test.status {
			t.Errorf("with %s: answered %d", name, answer.StatusCode)
		}
	}
	for _, path := range []string{"/api/deliveries", "/api/state", "/journal", "/codec/decode"} {
		if answer := serve(handler, http.MethodGet, path, "", bearer(adminToken)); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: answered %d", path, answer.StatusCode)
		}
	}
}

func TestAWorkerWithNothingConfiguredSaysSo(t *testing.T) {
	handler := admin.New(admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return nil },
		Worker: &admin.WorkerStatus{
			Queues:       func() []admin.Queue { return []admin.Queue{{Namespace: "default", TaskQueue: "sentry"}} },
			Outside:      func() []outside.State { return []outside.State{{System: "Slack", Status: outside.NotConfigured}} },
			Destinations: func() destinations.State { return destinations.State{} },
		},
		Log: slog.New(slog.DiscardHandler),
	})
	has(t, textOf(t, serve(handler, http.MethodGet, "/", "")), "None is configured", "Nobody.", "Polled")
}
