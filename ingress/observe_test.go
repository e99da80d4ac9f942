package ingress_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
)

// measured is an ingress that counts its deliveries, and their metrics.
func measured(t testing.TB, s *starts) (webhooks, metrics http.Handler) {
	t.Helper()
	told := start(t)
	integrations := []config.Integration{{Name: "sentry", Secrets: []config.Secret{secret}}}
	count, err := ingress.Count(told.Meter(), integrations, []string{"sentry.issue.created"})
	if err != nil {
		t.Fatal(err)
	}
	return ingress.New(ingress.Options{
		Keyring:      keys(integrations...),
		MaxBodyBytes: maxBody,
		Inbox:        s,
		Log:          slog.New(slog.DiscardHandler),
		Observers:    []func(context.Context, web.Delivery){count, ingress.Describe},
	}), told.Metrics()
}

func start(t testing.TB) *telemetry.Telemetry {
	t.Helper()
	told, err := telemetry.Start(t.Context(), "tested", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { told.Shutdown(context.Background()) })
	return told
}

// series returns the lines of metrics that begin with the name.
func series(t *testing.T, metrics http.Handler, name string) []string {
	t.Helper()
	answer := httptest.NewRecorder()
	metrics.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return regexp.MustCompile(`(?m)^`+name+`.*$`).FindAllString(answer.Body.String(), -1)
}

func deliver(t testing.TB, webhooks http.Handler, integration, body string, change ...func(*http.Request)) {
	t.Helper()
	r := (&server{Server: &httptest.Server{}}).signed(t, integration, body, change...)
	r.RequestURI = r.URL.Path
	webhooks.ServeHTTP(httptest.NewRecorder(), r)
}

func TestFailuresCountFromZero(t *testing.T) {
	_, metrics := measured(t, &starts{})
	want := `sentry_temporal_deliveries_total{event="sentry.issue.created",integration="sentry",outcome="failed"} 0`
	if got := strings.Join(series(t, metrics, "sentry_temporal_deliveries_total"), "\n"); !strings.Contains(got, want) {
		t.Errorf("%s is not in\n%s", want, got)
	}
}

func TestDeliveriesAreCountedByIntegrationEventAndOutcome(t *testing.T) {
	s := &starts{}
	webhooks, metrics := measured(t, s)
	deliver(t, webhooks, "sentry", issueBody)
	deliver(t, webhooks, "sentry", issueBody)
	deliver(t, webhooks, "sentry", "no JSON")
	s.start = func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, nil }
	deliver(t, webhooks, "sentry", `{"action":"invented"}`)
	s.start = func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, context.DeadlineExceeded }
	deliver(t, webhooks, "sentry", issueBody)

	got := strings.Join(series(t, metrics, "sentry_temporal_deliveries_total"), "\n")
	for _, want := range []string{
		`{event="sentry.issue.created",integration="sentry",outcome="started"} 2`,
		`{event="none",integration="sentry",outcome="refused"} 1`,
		`{event="other",integration="sentry",outcome="ignored"} 1`,
		`{event="sentry.issue.created",integration="sentry",outcome="failed"} 1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

// To wait was the sender's wish: it says nothing of how fast the ingress is.
func TestAnAnswerThatWaitedIsNotMeasured(t *testing.T) {
	webhooks, metrics := measured(t, &starts{})
	for n, wait := range []string{"", "wait=5"} {
		deliver(t, webhooks, "sentry", issueBody, header("Prefer", wait))
		got := strings.Join(series(t, metrics, "sentry_temporal_ack_duration_seconds_count"), "\n")
		if !strings.HasSuffix(got, " 1") {
			t.Errorf("after %d answers: %s", n+1, got)
		}
	}
}

func TestWhatIsNotVerifiedIsCountedApart(t *testing.T) {
	webhooks, metrics := measured(t, &starts{})
	counted := func() string {
		return strings.Join(append(series(t, metrics, "sentry_temporal_deliveries_total"), series(t, metrics, "sentry_temporal_ack_duration_seconds_count")...), "\n")
	}
	deliver(t, webhooks, "sentry", issueBody)
	before := counted()
	deliver(t, webhooks, "sentry", issueBody, header(sentry.HeaderSignature, ""))
	deliver(t, webhooks, "sentry", issueBody, header(sentry.HeaderSignature, "wrong"))
	deliver(t, webhooks, "sentry", issueBody, header(sentry.HeaderSignature, sentry.Sign("another", []byte(issueBody))))
	deliver(t, webhooks, "sentry", strings.Repeat(" ", maxBody+1))
	deliver(t, webhooks, "sentry", issueBody, brokenBody)
	deliver(t, webhooks, "nobody", issueBody)
	deliver(t, webhooks, "nobody", issueBody, path("/webhooks/sentry/"))
	if after := counted(); after != before {
		t.Errorf("what is verified was\n%s\nand is\n%s", before, after)
	}
	got := strings.Join(series(t, metrics, "sentry_temporal_unverified_total"), "\n")
	for _, want := range []string{
		`{integration="sentry",reason="missing"} 1`,
		`{integration="sentry",reason="malformed"} 1`,
		`{integration="sentry",reason="mismatch"} 1`,
		`{integration="sentry",reason="too_large"} 1`,
		`{integration="sentry",reason="incomplete"} 1`,
		`{integration="sentry",reason="late"} 0`,
		`{integration="sentry",reason="busy"} 0`,
		`{integration="unknown",reason="unknown"} 2`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

// brokenBody hangs up in the middle.
func brokenBody(r *http.Request) {
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)))
}

func TestTheAckDurationLeavesOutThoseThatWait(t *testing.T) {
	webhooks, metrics := measured(t, &starts{})
	deliver(t, webhooks, "sentry", issueBody)
	deliver(t, webhooks, "sentry", issueBody, header("Prefer", "wait=10"))
	got := series(t, metrics, "sentry_temporal_ack_duration_seconds_count")
	if len(got) != 1 || !strings.HasSuffix(got[0], " 1") {
		t.Errorf("the durations are %v", got)
	}
}

func TestSendersCannotMakeUpMetrics(t *testing.T) {
	webhooks, metrics := measured(t, &starts{})
	deliver(t, webhooks, "sentry", issueBody)
	deliver(t, webhooks, "sentry", `{"action":"made-up"}`)
	deliver(t, webhooks, "made-up", issueBody)
	before := series(t, metrics, `[a-z]`)
	for i := range 10_000 {
		deliver(t, webhooks, "sentry", fmt.Sprintf(`{"action":"made-up-%d"}`, i), header(sentry.HeaderResource, fmt.Sprintf("resource-%d", i)))
		deliver(t, webhooks, fmt.Sprintf("made-up-%d", i), issueBody)
	}
	if after := series(t, metrics, `[a-z]`); len(after) != len(before) {
		t.Errorf("%d series have become %d", len(before), len(after))
	}
	want := `sentry_temporal_deliveries_total{event="other",integration="sentry",outcome="started"} 10001`
	if got := strings.Join(series(t, metrics, "sentry_temporal_deliveries_total"), "\n"); !strings.Contains(got, want) {
		t.Errorf("%s is not in\n%s", want, got)
	}
}

func TestARefusalIsExplainedInWords(t *testing.T) {
	for name, test := range map[string]struct {
		body   string
		change func(*http.Request)
		hint   string
	}{
		"another secret":     {issueBody, header(sentry.HeaderSignature, sentry.Sign("another", []byte(issueBody))), "integration's Client Secret"},
		"the legacy plugin":  {issueBody, header(sentry.HeaderSignature, ""), "legacy WebHooks plugin"},
		"with a prefix":      {issueBody, header(sentry.HeaderSignature, "sha256="+sentry.Sign(secret, []byte(issueBody))), "64 hex digits"},
		"of another name":    {issueBody, path("/webhooks/desktop"), "INTEGRATIONS"},
		"too large":          {strings.Repeat(" ", maxBody+1), header("X", "y"), "MAX_BODY_BYTES"},
		"not JSON":           {"hello", header("X", "y"), "who else has the secret"},
		"no action":          {"{}", header("X", "y"), "who else has the secret"},
		"an odd action":      {`{"action":"a b"}`, header("X", "y"), "who else has the secret"},
		"no resource":        {`{"action":"a"}`, header(sentry.HeaderResource, ""), "drop the header"},
		"a changed resource": {issueBody, header(sentry.HeaderResource, "comment"), "change the header"},
		"of a UI component": {issueBody, func(r *http.Request) {
			r.Header.Set("Sentry-App-Signature", r.Header.Get(sentry.HeaderSignature))
			r.Header.Del(sentry.HeaderSignature)
		}, "Sentry-App-Signature only"},
	} {
		t.Run(name, func(t *testing.T) {
			var told web.Delivery
			webhooks := ingress.New(ingress.Options{
				Keyring:      keys(config.Integration{Name: "sentry", Secrets: []config.Secret{secret}}),
				MaxBodyBytes: maxBody,
				Inbox:        &starts{},
				Log:          slog.New(slog.DiscardHandler),
				Observers:    []func(context.Context, web.Delivery){func(_ context.Context, d web.Delivery) { told = d }},
			})
			deliver(t, webhooks, "sentry", test.body, test.change)
			if !strings.Contains(told.Hint, test.hint) || told.Reason == "" || told.Outcome != web.Refused {
				t.Errorf("told is %+v", told)
			}
		})
	}
}
