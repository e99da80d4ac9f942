package acttest

import (
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
)

// Stage has stand-ins for what activities reach, over HTTP.
type Stage struct {
	Slack     *standin.Slack
	PagerDuty *standin.PagerDuty
	GitHub    *standin.GitHub
	Sentry    *standin.Sentry
	Config    config.Outside
}

// The secrets that the stand-ins take.
const (
	slackToken  = "xoxb-for-tests" //nolint:gosec // of a stand-in
	routingKey  = "0123456789abcdef0123456789abcdef"
	githubToken = "github-for-tests" //nolint:gosec // of a stand-in
	sentryToken = "sentry-for-tests" //nolint:gosec // of a stand-in
)

// NewStage starts stand-ins until the test ends. Sentry knows the issue of the samples.
func NewStage(t testing.TB) *Stage {
	t.Helper()
	s := &Stage{}
	var err error
	if s.Slack, err = standin.StartSlack(standin.SlackOptions{Token: slackToken, Channels: []standin.SlackChannel{{Name: "sentry"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Slack.Close)
	if s.PagerDuty, err = standin.StartPagerDuty(routingKey); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.PagerDuty.Close)
	if s.GitHub, err = standin.StartGitHub(githubToken, "acme/pay"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.GitHub.Close)
	if s.Sentry, err = standin.StartSentry("acme", sentryToken, standin.ScopeEventRead, standin.ScopeEventWrite); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Sentry.Close)
	event := standin.Event{Environment: "production", Release: "backend@2026.3.17-2", File: "checkout/services/totals.py", Function: "assert_totals_match", Line: 23}
	if _, err := s.Sentry.Seed([]byte(Body(t, "issue.created")), event); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]config.Secret{
		config.SlackToken: slackToken, config.PagerDutyRoutingKey: routingKey, config.GitHubToken: githubToken, "SENTRY_API_TOKEN": sentryToken,
	}
	s.Config = config.Outside{
		Sentry:       map[string]config.SentryAPI{"sentry": {URL: s.Sentry.URL, Organization: "acme", TokenVariable: "SENTRY_API_TOKEN"}},
		SlackAPIURL:  s.Slack.URL + "/api",
		PagerDutyURL: s.PagerDuty.URL + "/v2/enqueue",
		GitHubAPIURL: s.GitHub.URL,
		SlackChannel: "#sentry", PagerDutyVariable: config.PagerDutyRoutingKey, GitHubRepo: "acme/pay",
		Secret: func(variable string) (config.Secret, error) {
			if secret := secrets[variable]; secret != "" {
				return secret, nil
			}
			return "", config.ErrNotSet
		},
	}
	return s
}

// Systems is how a worker reaches the stand-ins.
func (s *Stage) Systems() *outside.Systems {
	table := destinations.FromVariables(s.Config)
	return &outside.Systems{
		Outside: s.Config, Client: outside.NewClient(), Pages: map[string]string{"sentry": "https://temporal.example"},
		Destinations: func() (*destinations.Table, error) { return table, nil },
	}
}
