package outside_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
)

const (
	hush       = "hush-4c1d0a7e"
	routingKey = "0123456789abcdef0123456789abcdef"
)

var signingSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(hush+hush+hush))

// secretsOf is an environment.
func secretsOf(values map[string]string) func(string) (config.Secret, error) {
	return func(variable string) (config.Secret, error) {
		if values[variable] == "" {
			return "", config.ErrNotSet
		}
		return config.Secret(values[variable]), nil
	}
}

// systemsOf are those of a worker without a file of destinations.
func systemsOf(o config.Outside) *outside.Systems {
	table := destinations.FromVariables(o)
	return &outside.Systems{Outside: o, Client: outside.NewClient(), Destinations: func() (*destinations.Table, error) { return table, nil }}
}

// checked returns what is known of a system after its first check.
func checked(t *testing.T, o config.Outside, system string) outside.State {
	t.Helper()
	var log bytes.Buffer
	w := outside.NewWatch(systemsOf(o), []config.Integration{{Name: "sentry"}}, slog.New(slog.NewTextHandler(&log, nil)))
	states := w.Once(t.Context())
	state := states[slices.IndexFunc(states, func(s outside.State) bool { return s.System == system })]
	if state.Checked.IsZero() {
		t.Error("it was not checked")
	}
	for _, said := range []string{log.String(), strings.Join(state.Missing, "\n")} {
		if strings.Contains(said, hush) {
			t.Errorf("a secret is in %s", said)
		}
	}
	if logged := strings.Contains(log.String(), `system="`+system+`"`) || strings.Contains(log.String(), "system="+system+" "); logged != (state.Status != outside.NotConfigured) {
		t.Errorf("%s is %s, and the log: %s", system, state.Status, log.String())
	}
	return state
}

// want wants a status, and one line for each text, which it has in it.
func want(t *testing.T, got outside.State, status outside.Status, missing ...string) {
	t.Helper()
	if got.Status != status || len(got.Missing) != len(missing) {
		t.Fatalf("it is %s: %q", got.Status, got.Missing)
	}
	if strings.Contains(strings.Join(got.Missing, "\n"), "(destination") {
		t.Errorf("there is no file, and it says %q", got.Missing)
	}
	for i, part := range missing {
		for word := range strings.FieldsSeq(part) {
			if !strings.Contains(got.Missing[i], word) {
				t.Errorf("%q has no %q", got.Missing[i], word)
			}
		}
	}
}

func TestNothingIsConfigured(t *testing.T) {
	for _, system := range []string{"Sentry", "Slack", "Slack webhook", "PagerDuty", "GitHub", "Webhook"} {
		want(t, checked(t, config.NoOutside(), system), outside.NotConfigured)
	}
}

func TestWhatIsMalformedIsNotReady(t *testing.T) {
	for variable, system := range map[string]string{
		"SENTRY_ORGANIZATION": "Sentry", "SENTRY_API_TOKEN": "Sentry", "TRIAGE_SLACK_TOKEN": "Slack", "TRIAGE_SLACK_CHANNEL": "Slack", "TRIAGE_SLACK_API_URL": "Slack",
		"TRIAGE_SLACK_WEBHOOK_URL": "Slack webhook", "TRIAGE_PAGERDUTY_ROUTING_KEY": "PagerDuty", "TRIAGE_PAGERDUTY_URL": "PagerDuty",
		"OTHER": "", "TRIAGE_GITHUB_REPO": "GitHub", "TRIAGE_WEBHOOK_URL": "Webhook", "TRIAGE_WEBHOOK_SECRET": "Webhook",
	} {
		o := config.NoOutside()
		o.Problems = []config.Problem{{Variable: variable, Text: "is wrong"}}
		for _, other := range []string{"Sentry", "Slack", "Slack webhook", "PagerDuty", "GitHub", "Webhook"} {
			if other == system {
				want(t, checked(t, o, other), outside.NotReady, variable)
			} else {
				want(t, checked(t, o, other), outside.NotConfigured)
			}
		}
	}
}

func TestWhatTheVariablesAndTheCheckBothSayIsSaidOnce(t *testing.T) {
	o := config.NoOutside()
	o.Secret = func(string) (config.Secret, error) { return "", errors.New("is not a token") }
	o.Problems = []config.Problem{{Variable: config.GitHubToken, Text: "is not a token"}}
	want(t, checked(t, o, "GitHub"), outside.NotReady, config.GitHubToken)
}

func TestSentryIsReadyWithATokenThatReadsAndWritesIssues(t *testing.T) {
	for name, test := range map[string]struct {
		scopes       []string
		token        string // "": the right one
		organization string
		fault        standin.Fault
		missing      []string
	}{
		"both":                 {scopes: []string{standin.ScopeEventRead, standin.ScopeEventWrite}},
		"no index":             {scopes: []string{standin.ScopeEventRead}, fault: standin.Fault{Path: "GET /api/0/", Status: 404}}, // once
		"it may not write":     {scopes: []string{standin.ScopeEventRead}, missing: []string{"SENTRY_API_TOKEN event:write"}},
		"it may not read":      {scopes: []string{standin.ScopeOrgRead}, missing: []string{"SENTRY_API_TOKEN event:read"}},
		"another token":        {scopes: []string{standin.ScopeEventRead}, token: hush, missing: []string{"SENTRY_API_TOKEN 401"}},
		"another organization": {scopes: []string{standin.ScopeEventRead}, organization: "other", missing: []string{"SENTRY_ORGANIZATION other 404"}},
		"it fails":             {scopes: []string{standin.ScopeEventRead}, fault: standin.Fault{Times: -1, Status: 500}, missing: []string{"Sentry 500 SENTRY_API_URL"}},
		"it is another server": {scopes: []string{standin.ScopeEventRead}, fault: standin.Fault{Times: -1, Redirect: "https://example.com"}, missing: []string{"Sentry 307 SENTRY_API_URL"}},
		"it hangs up":          {scopes: []string{standin.ScopeEventRead}, fault: standin.Fault{Times: -1, Cut: true}, missing: []string{"Sentry SENTRY_API_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := standin.StartSentry("acme", "right-"+hush, test.scopes...)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if test.fault.Status+len(test.fault.Redirect) > 0 || test.fault.Cut {
				s.Fail(test.fault)
			}
			o := config.Outside{
				Sentry: map[string]config.SentryAPI{"sentry": {URL: s.URL, Organization: "acme", TokenVariable: "SENTRY_API_TOKEN"}},
				Secret: secretsOf(map[string]string{"SENTRY_API_TOKEN": "right-" + hush}),
			}
			if test.token != "" {
				o.Secret = secretsOf(map[string]string{"SENTRY_API_TOKEN": test.token})
			}
			if test.organization != "" {
				o.Sentry["sentry"] = config.SentryAPI{URL: s.URL, Organization: test.organization, TokenVariable: "SENTRY_API_TOKEN"}
			}
			got := checked(t, o, "Sentry")
			status := outside.Ready
			if test.missing != nil {
				status = outside.NotReady
			}
			want(t, got, status, test.missing...)
			for _, r := range s.Received() {
				if r.Method != http.MethodGet {
					t.Errorf("it sent %s %s", r.Method, r.Path)
				}
			}
		})
	}
}

func TestWhatCannotBeAskedIsCheckedForItsForm(t *testing.T) {
	for name, test := range map[string]struct {
		system  string
		values  map[string]string
		status  outside.Status
		missing []string
	}{
		"a routing key":            {"PagerDuty", map[string]string{config.PagerDutyRoutingKey: routingKey}, outside.WellFormed, nil},
		"another text":             {"PagerDuty", map[string]string{config.PagerDutyRoutingKey: hush}, outside.NotReady, []string{"TRIAGE_PAGERDUTY_ROUTING_KEY 32"}},
		"a key that is gone":       {"PagerDuty", nil, outside.NotReady, []string{"TRIAGE_PAGERDUTY_ROUTING_KEY set"}},
		"an address of Slack":      {"Slack webhook", map[string]string{config.SlackWebhookURL: "https://hooks.slack.com/" + hush}, outside.WellFormed, nil},
		"no address":               {"Slack webhook", map[string]string{config.SlackWebhookURL: hush}, outside.NotReady, []string{"TRIAGE_SLACK_WEBHOOK_URL https"}},
		"an address and a secret":  {"Webhook", map[string]string{config.WebhookURL: "https://acme.example/" + hush, config.WebhookSecret: signingSecret}, outside.WellFormed, nil},
		"an address, and no more":  {"Webhook", map[string]string{config.WebhookURL: "https://acme.example/" + hush}, outside.NotReady, []string{"TRIAGE_WEBHOOK_SECRET set"}},
		"neither of them is right": {"Webhook", map[string]string{config.WebhookURL: hush, config.WebhookSecret: hush}, outside.NotReady, []string{"TRIAGE_WEBHOOK_URL https", "TRIAGE_WEBHOOK_SECRET whsec_"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := config.Outside{
				PagerDutyVariable: config.PagerDutyRoutingKey, SlackWebhookVariable: config.SlackWebhookURL, WebhookVariable: config.WebhookURL,
				Secret: secretsOf(test.values),
			}
			want(t, checked(t, o, test.system), test.status, test.missing...)
		})
	}
}

// noted is a log that is read while it is written.
type noted struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *noted) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *noted) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// watched are systems that a Watch has checked, of which only the routing key matters.
type watched struct {
	*outside.Watch
	log    noted
	key    atomic.Value
	asked  atomic.Int64
	tables atomic.Pointer[destinations.Table]
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{}
	w.key.Store("")
	o := config.Outside{PagerDutyVariable: config.PagerDutyRoutingKey, Secret: func(variable string) (config.Secret, error) {
		if variable != config.PagerDutyRoutingKey {
			return "", config.ErrNotSet
		}
		w.asked.Add(1)
		return config.Secret(w.key.Load().(string)), nil
	}}
	systems := systemsOf(o)
	w.tables.Store(destinations.FromVariables(o))
	systems.Destinations = func() (*destinations.Table, error) {
		if table := w.tables.Load(); table != nil {
			return table, nil
		}
		return nil, errors.New("the file is wrong")
	}
	w.Watch = outside.NewWatch(systems, nil, slog.New(slog.NewTextHandler(&w.log, nil)))
	go w.Run(t.Context())
	synctest.Wait()
	return w
}

func (*watched) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *watched) pagerDuty() outside.Status {
	states := w.States()
	return states[slices.IndexFunc(states, func(s outside.State) bool { return s.System == "PagerDuty" })].Status
}

func TestWhatIsMissingIsLookedAtAgainWithinMinutesAndAllElseEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		if w.pagerDuty() != outside.NotReady || w.asked.Load() != 1 {
			t.Fatalf("it is %s", w.pagerDuty())
		}
		if w.pass(10 * time.Minute); w.asked.Load() != 4 {
			t.Errorf("in ten minutes it was checked %d times", w.asked.Load())
		}
		if n := strings.Count(w.log.String(), "not ready"); n != 1 {
			t.Errorf("nothing has changed, and the log: %s", w.log.String())
		}
		if w.pass(2 * time.Hour); strings.Count(w.log.String(), "not ready") != 3 {
			t.Errorf("the log tells it so often in two hours: %s", w.log.String())
		}
		w.key.Store(routingKey)
		if w.pass(3 * time.Minute); w.pagerDuty() != outside.WellFormed || !strings.Contains(w.log.String(), "can be used") {
			t.Errorf("it is %s, and the log: %s", w.pagerDuty(), w.log.String())
		}
		before := w.asked.Load()
		if w.pass(56 * time.Minute); w.asked.Load() != before {
			t.Errorf("nothing is missing, and it was checked %d times", w.asked.Load()-before)
		}
		w.key.Store("")
		if w.pass(5 * time.Minute); w.pagerDuty() != outside.NotReady {
			t.Errorf("it is %s", w.pagerDuty())
		}
	})
}

func TestOtherDestinationsAreCheckedWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.tables.Store(destinations.None())
		if w.pass(10 * time.Second); w.pagerDuty() != outside.NotConfigured {
			t.Errorf("it is %s", w.pagerDuty())
		}
		w.tables.Store(nil)
		if w.pass(10 * time.Second); w.pagerDuty() != outside.NotConfigured {
			t.Errorf("with a file that is wrong it is %s", w.pagerDuty())
		}
	})
}

func TestTheStandInsThatMakeDevUsesAreReady(t *testing.T) {
	all, err := standin.StartAll()
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	w := outside.NewWatch(systemsOf(all.Outside("sentry")), []config.Integration{{Name: "sentry"}}, slog.New(slog.DiscardHandler))
	ready := 0
	for _, state := range w.Once(t.Context()) {
		if state.Status == outside.NotReady {
			t.Errorf("%s: %q", state.System, state.Missing)
		}
		if state.Status == outside.Ready {
			ready++
		}
	}
	if ready < 3 {
		t.Errorf("only %d are ready", ready)
	}
}

// lines is a log whose lines are handed on.
type lines chan slog.Record

func (lines) Enabled(context.Context, slog.Level) bool { return true }
func (l lines) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l lines) WithGroup(string) slog.Handler          { return l }
func (l lines) Handle(_ context.Context, r slog.Record) error {
	l <- r
	return nil
}

func TestASystemThatHangsHoldsUpNoOther(t *testing.T) {
	all, err := standin.StartAll()
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	all.Sentry.Fail(standin.Fault{Times: -1, Hang: true})
	told := make(lines, 10)
	w := outside.NewWatch(systemsOf(all.Outside("sentry")), []config.Integration{{Name: "sentry"}}, slog.New(told))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	for range 4 { // Slack, PagerDuty, GitHub, Webhook
		<-told
	}
	for _, state := range w.States() {
		if hangs := state.Status == outside.Unchecked; hangs != (state.System == "Sentry") {
			t.Errorf("%s is %s: %q", state.System, state.Status, state.Missing)
		}
	}
	stop()
	<-ended
	if state := w.States()[0]; state.Status != outside.Unchecked {
		t.Errorf("it stops, and Sentry is %s", state.Status)
	}
}

func TestWhatIsToldOfASystemIsBounded(t *testing.T) {
	for n, last := range map[int]string{20: strings.Repeat("x", 19), 21: "and 1 more", 100: "and 80 more"} {
		o := config.NoOutside()
		for i := range n {
			o.Problems = append(o.Problems, config.Problem{Variable: "TRIAGE_SLACK_TOKEN", Text: strings.Repeat("x", i)})
		}
		if state := checked(t, o, "Slack"); len(state.Missing) != min(n, 21) || !strings.HasSuffix(state.Missing[len(state.Missing)-1], last) {
			t.Errorf("of %d lines there are %q", n, state.Missing)
		}
	}
}
