package activities_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

const routingKey = secretPart + "0123456789abcdef012345"

var (
	duty    *activities.PagerDuty
	pageKey = activities.EffectKey("sentry", "issue:1", "page", "1")
	pageRef = activities.PageRef{Variable: config.PagerDutyRoutingKey, Key: pageKey}
)

func init() {
	status := func(want string) func(*standin.PagerDuty) int {
		return func(p *standin.PagerDuty) int {
			n := 0
			for _, a := range p.Alerts() {
				if a.Status == want {
					n++
				}
			}
			return n
		}
	}
	effects = append(effects, effect{
		name: "PagerDuty: trigger", variable: config.PagerDutyRoutingKey, once: true, late: true, path: "/v2/enqueue",
		serve: servePagerDuty(false, func(p *standin.PagerDuty) int { return len(p.Alerts()) }),
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, duty.TriggerPage, pageOf(activities.Card{Integration: "sentry", Title: "It is broken", Project: "backend"}))
			return err
		},
	}, effect{
		name: "PagerDuty: acknowledge", variable: config.PagerDutyRoutingKey, once: true, late: true, path: "/v2/enqueue",
		serve: servePagerDuty(true, status("acknowledged")),
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, duty.AcknowledgePage, pageRef)
			return err
		},
	}, effect{
		name: "PagerDuty: resolve", variable: config.PagerDutyRoutingKey, once: true, late: true, path: "/v2/enqueue",
		serve: servePagerDuty(true, status("resolved")),
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, duty.ResolvePage, pageRef)
			return err
		},
	})
}

func pageOf(card activities.Card) activities.Page {
	return activities.Page{Variable: config.PagerDutyRoutingKey, Key: pageKey, Severity: "critical", Card: card}
}

// servePagerDuty starts a stand-in, if told with an alert that is open.
func servePagerDuty(open bool, effects func(*standin.PagerDuty) int) func(*testing.T) served {
	return func(t *testing.T) served {
		t.Helper()
		p, cfg := pagerDuty(t)
		if open {
			_, err := duty.TriggerPage(outsideContext(t, cfg), pageOf(activities.Card{Title: "open"}))
			require.NoError(t, err)
		}
		return served{Server: p.Server, cfg: cfg, effects: func() int { return effects(p) }}
	}
}

func pagerDuty(t *testing.T) (*standin.PagerDuty, config.Outside) {
	t.Helper()
	p, err := standin.StartPagerDuty(routingKey)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p, config.Outside{PagerDutyURL: p.URL + "/v2/enqueue", Secret: secretsOf(map[string]string{config.PagerDutyRoutingKey: routingKey})}
}

// outsideContext is one to call activities in as functions.
func outsideContext(t *testing.T, cfg config.Outside) context.Context {
	t.Helper()
	return outside.With(t.Context(), &outside.Systems{Outside: cfg, Client: outside.NewClient()})
}

func secretsOf(values map[string]string) func(string) (config.Secret, error) {
	return func(variable string) (config.Secret, error) {
		if value := values[variable]; value != "" {
			return config.Secret(value), nil
		}
		return "", config.ErrNotSet
	}
}

// runOne runs an activity in a workflow, while time is skipped.
func runOne[In, Out any](t *testing.T, cfg config.Outside, call func(context.Context, In) (Out, error), in In) (Out, outcome) {
	t.Helper()
	var out Out
	o := effect{do: func(ctx workflow.Context) error {
		var err error
		out, err = triage.Do(ctx, call, in)
		return err
	}}.run(t, cfg)
	return out, o
}

func TestAPageTellsWhatBrokeWhere(t *testing.T) {
	p, cfg := pagerDuty(t)
	card := activities.Card{
		Integration: "sentry", Event: "sentry.issue.created", Title: "TypeError: x is undefined", URL: "https://acme.sentry.io/issues/4711/", ShortID: "BACKEND-1A",
		Level: "fatal", Project: "backend", Environment: "production", Release: "1.2.3", Users: "42", Count: "99", Culprit: "checkout.views", Frame: "checkout/views.py:17 in pay",
	}
	_, o := runOne(t, cfg, duty.TriggerPage, pageOf(card))
	require.NoError(t, o.err)
	a := p.Alerts()[0]
	assert.Equal(t, "[production] backend: TypeError: x is undefined in checkout.views (fatal)", a.Summary)
	assert.Equal(t, "critical", a.Severity)
	assert.Equal(t, "backend", a.Source)
	assert.Equal(t, pageKey, a.Key)
	require.Len(t, a.Links, 2)
	assert.Equal(t, standin.AlertLink{Href: card.URL, Text: "Sentry BACKEND-1A"}, a.Links[0])
	assert.Equal(t, a.ClientURL, a.Links[1].Href)
	assert.Regexp(t, `^https://temporal\.example/namespaces/[^/]+/workflows/[^/]+/[^/]+$`, a.ClientURL)
	assert.Contains(t, a.Details, standin.AlertDetail{Name: "top frame", Value: card.Frame})
	assert.Contains(t, a.Details, standin.AlertDetail{Name: "users", Value: "42"})
}

func TestAPageIsOneLineWhateverIsKnown(t *testing.T) {
	tests := map[string]struct {
		card activities.Card
		want string
	}{
		"nothing":               {activities.Card{}, "something that Sentry does not name"},
		"only what happened":    {activities.Card{Headline: "Alert"}, "Alert"},
		"the rule of an alert":  {activities.Card{Headline: "Alert", Rule: "Too many"}, "Too many"},
		"no environment":        {activities.Card{Title: "x", Project: "web"}, "web: x"},
		"somebody tries it":     {activities.Card{Title: "x", Test: true}, "Test: x"},
		"lines are one":         {activities.Card{Title: "x\r\ny\x00\u202ez"}, "x yz"},
		"a level, and no place": {activities.Card{Title: "x", Level: "error"}, "x (error)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, cfg := pagerDuty(t)
			_, err := duty.TriggerPage(outsideContext(t, cfg), pageOf(tt.card))
			require.NoError(t, err)
			assert.Equal(t, tt.want, p.Alerts()[0].Summary)
		})
	}
}

func TestPagerDutyTakesHostileTexts(t *testing.T) {
	for _, h := range hostileTexts {
		t.Run(h.name, func(t *testing.T) {
			p, cfg := pagerDuty(t)
			_, err := duty.TriggerPage(outsideContext(t, cfg), pageOf(hostileCard(h.text)))
			require.NoError(t, err)
			a := p.Alerts()[0]
			assert.LessOrEqual(t, len(a.Summary), 1024)
			for _, text := range []string{a.Summary, a.Source, a.Component, a.Class} {
				assert.True(t, utf8.ValidString(text))
				assert.NotContains(t, text, "\n")
				assert.False(t, strings.ContainsFunc(text, unicode.IsControl))
			}
			require.Len(t, a.Links, 1)
			assert.Equal(t, "https://acme.sentry.io/issues/4711/", a.Links[0].Href)
		})
	}
	for _, address := range hostileURLs {
		p, cfg := pagerDuty(t)
		_, err := duty.TriggerPage(outsideContext(t, cfg), pageOf(activities.Card{Title: "x", URL: address}))
		require.NoError(t, err)
		assert.Empty(t, p.Alerts()[0].Links, address)
	}
}

func TestAPageGoesOutWhateverItsSeverityIsCalled(t *testing.T) {
	p, cfg := pagerDuty(t)
	page := pageOf(activities.Card{Title: "x"})
	page.Severity = "catastrophic"
	_, err := duty.TriggerPage(outsideContext(t, cfg), page)
	require.NoError(t, err)
	assert.Equal(t, "error", p.Alerts()[0].Severity)
}

func TestAPageNeedsAKeyOfItsOwn(t *testing.T) {
	for name, key := range map[string]string{"none": "", "too long": strings.Repeat("k", 256)} {
		p, cfg := pagerDuty(t)
		page := pageOf(activities.Card{Title: "x"})
		page.Key = key
		_, o := runOne(t, cfg, duty.TriggerPage, page)
		require.Error(t, o.err, name)
		assert.Equal(t, 1, o.attempts, name)
		assert.Empty(t, p.Received(), name)
	}
	p, cfg := pagerDuty(t)
	page := pageOf(activities.Card{Title: "x"})
	page.Key = strings.Repeat("k", 255)
	_, err := duty.TriggerPage(outsideContext(t, cfg), page)
	require.NoError(t, err)
	assert.Len(t, p.Alerts(), 1)
}

func TestWhatPagerDutyRefusesIsTold(t *testing.T) {
	p, cfg := pagerDuty(t)
	other := secretPart + "abcdefabcdefabcdefabcd"
	cfg.Secret = secretsOf(map[string]string{config.PagerDutyRoutingKey: other})
	_, o := runOne(t, cfg, duty.TriggerPage, pageOf(activities.Card{Title: "x"}))
	require.Error(t, o.err)
	assert.Contains(t, o.err.Error(), "Invalid routing key")
	assert.Contains(t, o.err.Error(), config.PagerDutyRoutingKey)
	assert.NotContains(t, o.seen, secretPart)
	assert.Equal(t, 1, o.attempts)
	assert.Empty(t, p.Alerts())
}

func TestAPageThatIsTriggeredLateSaysSo(t *testing.T) {
	after := func(status int, wait time.Duration) standin.Fault {
		return standin.Fault{Status: status, Header: http.Header{"Retry-After": {fmt.Sprint(wait.Seconds())}}}
	}
	for name, tt := range map[string]struct {
		faults []standin.Fault
		noted  bool
	}{
		"soon":                            {[]standin.Fault{after(503, 9*time.Minute)}, false},
		"late":                            {[]standin.Fault{after(503, 11*time.Minute)}, true},
		"late, and never sent before":     {[]standin.Fault{after(429, 11*time.Minute), after(429, time.Minute)}, false},
		"late, and sent before the last":  {[]standin.Fault{after(503, 11*time.Minute), after(429, time.Minute)}, true},
		"late, and sent after not at all": {[]standin.Fault{after(429, 11*time.Minute), after(503, time.Minute)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, cfg := pagerDuty(t)
			p.Fail(tt.faults...)
			paged, o := runOne(t, cfg, duty.TriggerPage, pageOf(activities.Card{Title: "x"}))
			require.NoError(t, o.err)
			assert.Equal(t, tt.noted, strings.Contains(paged.Note, "may have paged again"), paged.Note)
		})
	}
}

func TestAnAnswerForAnotherPageIsNone(t *testing.T) {
	p, cfg := pagerDuty(t)
	p.Fail(standin.Fault{Status: http.StatusAccepted, Body: `{"status":"success","dedup_key":"another"}`})
	_, o := runOne(t, cfg, duty.TriggerPage, pageOf(activities.Card{Title: "x"}))
	require.NoError(t, o.err)
	assert.Equal(t, 2, o.attempts)
	assert.Len(t, p.Alerts(), 1)
}

func TestOnePageIsOpenForAKeyUntilItIsResolved(t *testing.T) {
	p, cfg := pagerDuty(t)
	ctx := outsideContext(t, cfg)
	do := func(_ activities.Paged, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	page := pageOf(activities.Card{Title: "x"})
	do(duty.ResolvePage(ctx, pageRef)) // is dropped
	do(duty.TriggerPage(ctx, page))
	do(duty.TriggerPage(ctx, page))
	do(duty.AcknowledgePage(ctx, pageRef))
	do(duty.TriggerPage(ctx, page))
	require.Len(t, p.Alerts(), 1)
	assert.Equal(t, "acknowledged", p.Alerts()[0].Status)
	assert.Equal(t, 3, p.Alerts()[0].Events)
	do(duty.ResolvePage(ctx, pageRef))
	do(duty.TriggerPage(ctx, page))
	require.Len(t, p.Alerts(), 2)
	assert.Equal(t, "resolved", p.Alerts()[0].Status)
	assert.Equal(t, "triggered", p.Alerts()[1].Status)
}

func TestAnotherSecretIsNotSentToPagerDuty(t *testing.T) {
	p, cfg := pagerDuty(t)
	cfg.Secret = secretsOf(map[string]string{"OTHER_TOKEN": "xoxb-" + secretPart})
	page := pageOf(activities.Card{Title: "x"})
	page.Variable = "OTHER_TOKEN"
	_, o := runOne(t, cfg, duty.TriggerPage, page)
	require.Error(t, o.err)
	assert.Contains(t, o.err.Error(), "OTHER_TOKEN")
	assert.NotContains(t, o.seen, secretPart)
	assert.Empty(t, p.Received())
}
