package standin

import (
	"fmt"
	"net/http"
	"strings"

	"sentry-temporal/internal/config"
)

// All is a stand-in for each system that workflows act on. Its own page leads to theirs.
type All struct {
	*Server

	Sentry    *Sentry
	Slack     *Slack
	PagerDuty *PagerDuty
	GitHub    *GitHub
	Webhook   *Webhook

	started []*Server
}

// What the stand-ins of [All] take, and nobody else.
const (
	allOrganization = "acme"
	allSentryToken  = "token-of-the-stand-in"
	allSlackToken   = "xoxb-of-the-stand-in" //nolint:gosec // it opens nothing
	allChannel      = "sentry"
	allGitHubToken  = "ghp_of-the-stand-in" //nolint:gosec // it opens nothing
	allRepo         = "acme/backend"
	allWebhookKey   = "whsec_b2YgdGhlIHN0YW5kLWluOiBpdCBvcGVucyBub3RoaW5n"
	allRoutingKey   = "0123456789ABCDEF0123456789ABCDEF"
)

// StartAll starts all of them. What the one for Sentry does not know, it makes up.
func StartAll() (*All, error) {
	a := &All{}
	if err := a.start(); err != nil {
		a.Close()
		return nil, fmt.Errorf("start what stands in for Slack and others: %w", err)
	}
	return a, nil
}

func (a *All) start() (err error) {
	if a.Sentry, err = StartSentry(allOrganization, allSentryToken, ScopeEventRead, ScopeEventWrite, ScopeOrgRead); err != nil {
		return err
	}
	a.Sentry.Invent = true
	a.started = append(a.started, a.Sentry.Server)
	if a.Slack, err = StartSlack(SlackOptions{Token: allSlackToken, Channels: []SlackChannel{{Name: allChannel}}}); err != nil {
		return err
	}
	a.started = append(a.started, a.Slack.Server)
	if a.PagerDuty, err = StartPagerDuty(allRoutingKey); err != nil {
		return err
	}
	a.started = append(a.started, a.PagerDuty.Server)
	if a.GitHub, err = StartGitHub(allGitHubToken, allRepo); err != nil {
		return err
	}
	a.started = append(a.started, a.GitHub.Server)
	if a.Webhook, err = StartWebhook(allWebhookKey); err != nil {
		return err
	}
	a.started = append(a.started, a.Webhook.Server)
	router := http.NewServeMux()
	router.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		a.show(w, allPage, "Outside systems", a.parts())
	})
	if a.Server, err = start(router); err != nil {
		return err
	}
	a.started = append(a.started, a.Server)
	return nil
}

var allPage = page("all.html")

// part is one of them on the page.
type part struct{ Name, URL, Has string }

func (a *All) parts() []part {
	return []part{
		{"Slack", a.Slack.URL, count(len(a.Slack.Messages("")), "message")},
		{"PagerDuty", a.PagerDuty.URL, count(len(a.PagerDuty.Alerts()), "incident")},
		{"GitHub", a.GitHub.URL, count(len(a.GitHub.Issues(allRepo)), "issue")},
		{"A receiver of webhooks", a.Webhook.URL, count(len(a.Webhook.Messages()), "message")},
		{"Sentry's API", a.Sentry.URL, count(len(a.Sentry.Issues()), "issue")},
	}
}

func count(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return fmt.Sprintf("%d %s", n, of)
}

// Close ends all of them.
func (a *All) Close() {
	for _, s := range a.started {
		s.Close()
	}
}

// Outside is the configuration that reaches them, for integrations of Sentry. Nothing of
// the environment is in it.
func (a *All) Outside(integrations ...string) config.Outside {
	secrets := map[string]config.Secret{
		config.SlackToken:          allSlackToken,
		config.PagerDutyRoutingKey: allRoutingKey,
		config.GitHubToken:         allGitHubToken,
		config.WebhookURL:          config.Secret(a.Webhook.URL + "/triage"),
		config.WebhookSecret:       allWebhookKey,
	}
	apis := map[string]config.SentryAPI{}
	for _, name := range integrations {
		variable := strings.ToUpper(name) + "_API_TOKEN"
		secrets[variable] = allSentryToken
		apis[name] = config.SentryAPI{URL: a.Sentry.URL, Organization: allOrganization, TokenVariable: variable}
	}
	return config.Outside{
		Sentry:            apis,
		SlackAPIURL:       a.Slack.URL + "/api",
		SlackChannel:      "#" + allChannel,
		PagerDutyURL:      a.PagerDuty.URL + "/v2/enqueue",
		PagerDutyVariable: config.PagerDutyRoutingKey,
		GitHubAPIURL:      a.GitHub.URL,
		GitHubRepo:        allRepo,
		WebhookVariable:   config.WebhookURL,
		Secret: func(variable string) (config.Secret, error) {
			secret, ok := secrets[variable]
			if !ok {
				return "", config.ErrNotSet
			}
			return secret, nil
		},
	}
}
