package standin_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/standin"
)

func all(t *testing.T) *standin.All {
	t.Helper()
	a, err := standin.StartAll()
	require.NoError(t, err)
	t.Cleanup(a.Close)
	return a
}

func TestThePageOfAllLeadsToEach(t *testing.T) {
	a := all(t)
	text := get(t, a.URL+"/")
	links := regexp.MustCompile(`href="([^"]+)"`).FindAllStringSubmatch(text, -1)
	var shown []string
	for _, link := range links {
		shown = append(shown, strings.TrimSuffix(link[1], "/"))
		get(t, link[1])
	}
	assert.ElementsMatch(t, []string{a.Slack.URL, a.PagerDuty.URL, a.GitHub.URL, a.Webhook.URL, a.Sentry.URL}, shown)
}

// Whatever the environment has, none of it is in what reaches the stand-ins.
func TestAllAreReachedWithoutTheEnvironment(t *testing.T) {
	for _, variable := range []string{config.SlackToken, config.PagerDutyRoutingKey, config.GitHubToken, config.WebhookURL, config.WebhookSecret, config.SlackWebhookURL, "BACKEND_API_TOKEN"} {
		t.Setenv(variable, "of-the-environment")
	}
	a := all(t)
	o := a.Outside("backend", "mobile")
	for _, variable := range []string{config.SlackToken, config.GitHubToken, "BACKEND_API_TOKEN", "MOBILE_API_TOKEN"} {
		secret, err := o.Secret(variable)
		require.NoError(t, err, variable)
		assert.NotEqual(t, "of-the-environment", secret.Reveal(), variable)
	}
	_, err := o.RoutingKey(o.PagerDutyVariable)
	require.NoError(t, err)
	address, err := o.Address(o.WebhookVariable)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(address.Reveal(), a.Webhook.URL))
	_, err = o.SigningSecret()
	require.NoError(t, err)
	_, err = o.Secret(config.SlackWebhookURL)
	require.ErrorIs(t, err, config.ErrNotSet)
	for _, url := range []string{o.SlackAPIURL, o.PagerDutyURL, o.GitHubAPIURL, o.Sentry["backend"].URL, o.Sentry["mobile"].URL} {
		assert.True(t, strings.HasPrefix(url, "http://127.0.0.1:"), url)
	}
	assert.Empty(t, o.DestinationsFile)
}

func TestOfALongRequestThePartThatIsRememberedIsShort(t *testing.T) {
	p := pagerDuty(t)
	answer, err := http.Post(p.URL+"/v2/enqueue", "application/json", strings.NewReader(strings.Repeat("x", 1<<20)))
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Len(t, p.Received(), 1)
	assert.Less(t, len(p.Received()[0].Body), 64<<10)
}
