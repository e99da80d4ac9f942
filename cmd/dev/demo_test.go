package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/standin"
	"sentry-temporal/internal/starter"
)

// What a run says it did is looked for where it should be.
func TestTheDemoNoticesWhatIsNotSo(t *testing.T) {
	for name, result := range map[string]string{
		"a page that is not there":      `{"effect":"page","to":"X","is":"done","name":"key"}`,
		"a message that is not there":   `{"effect":"slack","to":"#sentry","is":"done","url":"https://acme.slack.com/archives/C1/p1"}`,
		"a webhook that did not arrive": `{"effect":"webhook","to":"X","is":"done"}`,
		"a ticket that is not there":    `{"effect":"ticket","to":"acme/backend","is":"done","name":"#1"}`,
		"a link that is not there":      `{"effect":"link","to":"BACKEND-1A","is":"done","url":"http://127.0.0.1/"}`,
		"what failed":                   `{"effect":"slack","to":"#sentry","is":"failed","why":"not_in_channel"}`,
	} {
		t.Run(name, func(t *testing.T) {
			d := demonstration{outside: standIns(t), out: io.Discard, had: map[string]int{}}
			if d.tellResult(json.RawMessage(`{"effects":[` + result + `]}`)); len(d.wrong) != 1 {
				t.Errorf("it noticed %v", d.wrong)
			}
		})
	}
	t.Run("a message that no run speaks of", func(t *testing.T) {
		d := demonstration{outside: standIns(t), out: io.Discard, had: map[string]int{}}
		d.outside.standins.Slack.Say("sentry", "hello")
		if d.compare(); len(d.wrong) != 1 {
			t.Errorf("it noticed %v", d.wrong)
		}
	})
}

// With LIVE=1 it is the environment that says what is acted on.
func TestTheDemoActsOnWhatIsConfiguredIfItIsToldSo(t *testing.T) {
	real, err := standin.StartAll()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(real.Close)
	o := real.Outside("sentry")
	for variable, value := range map[string]string{
		"LIVE":                "1",
		"SENTRY_ORGANIZATION": o.Sentry["sentry"].Organization, "SENTRY_API_URL": o.Sentry["sentry"].URL,
		"TRIAGE_SLACK_CHANNEL": o.SlackChannel, "TRIAGE_SLACK_API_URL": o.SlackAPIURL, "TRIAGE_PAGERDUTY_URL": o.PagerDutyURL,
		"TRIAGE_GITHUB_REPO": o.GitHubRepo, "TRIAGE_GITHUB_API_URL": o.GitHubAPIURL,
	} {
		t.Setenv(variable, value)
	}
	for _, variable := range []string{"SENTRY_API_TOKEN", config.SlackToken, config.PagerDutyRoutingKey, config.GitHubToken, config.WebhookURL, config.WebhookSecret} {
		secret, err := o.Secret(variable)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(variable, secret.Reveal())
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"demo"}, &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for effect, n := range (outside{o, real}).present() {
		if n == 0 {
			t.Errorf("it did not have the effect %s:\n%s", effect, &out)
		}
	}
}

// The demo waits for a run only as long as it may, names it, and goes on.
func TestTheDemoSaysWhatStillRuns(t *testing.T) {
	ingress := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"started","runs":[{"workflow_id":"triage_sentry_issue:sentry:1","run_id":"2","status":"started"}]}`)
	}))
	defer ingress.Close()
	for name, over := range map[string]bool{"the time of a run": false, "all of the time": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out bytes.Buffer
			d := demonstration{temporal: unfinished{over: func() {
				if over {
					cancel()
				}
			}}, outside: standIns(t), out: &out, had: map[string]int{}, patience: time.Millisecond}
			for range 2 { // the second time it comes again
				_, err := d.send(ctx, "sentry.issue.created", hook.Delivery{URL: ingress.URL, Body: []byte("{}")}, starter.Started)
				if (err != nil) != over || over && !strings.Contains(err.Error(), "triage_sentry_issue:sentry:1") {
					t.Errorf("the error is %v", err)
				}
				if over {
					break
				}
			}
			if !slices.Equal(d.going, []string{"triage_sentry_issue:sentry:1"}) || len(d.wrong) > 0 {
				t.Errorf("it takes %v for going on, and %v for wrong", d.going, d.wrong)
			}
			if !strings.Contains(out.String(), "triage_sentry_issue:sentry:1") || !strings.Contains(out.String(), "still runs") {
				t.Errorf("it told\n%s", &out)
			}
			// What that run has done is not known.
			d.outside.standins.Slack.Say("sentry", "hello")
			if d.compare(); len(d.wrong) > 0 {
				t.Errorf("it noticed %v", d.wrong)
			}
		})
	}
}

// standIns are those that dev and demo have, for integrations of Sentry.
func standIns(t *testing.T, integrations ...string) outside {
	t.Helper()
	var all []config.Integration
	for _, name := range integrations {
		all = append(all, config.Integration{Name: name})
	}
	o, err := openOutside(all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	return o
}

// unfinished is a Temporal whose runs do not end as long as they are waited for.
type unfinished struct {
	client.Client
	client.WorkflowRun

	over func() // is called when it is asked
}

func (u unfinished) GetWorkflow(context.Context, string, string) client.WorkflowRun { return u }

func (u unfinished) Get(ctx context.Context, _ any) error {
	u.over()
	<-ctx.Done()
	return ctx.Err()
}
