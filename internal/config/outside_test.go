package config_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sentry-temporal/internal/config"
)

var (
	routingKey    = strings.Repeat("r0", 16)
	signingSecret = "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24))
)

// wantOutside wants the problems, one for each variable, and repeats nothing that is hush.
func wantOutside(t *testing.T, o config.Outside, variables ...string) {
	t.Helper()
	var got []string
	for _, p := range o.Problems {
		got = append(got, p.Variable)
		if strings.Contains(p.String(), hush) {
			t.Errorf("a secret is in: %s", p)
		}
	}
	check(t, fmt.Sprint("variables with problems ", o.Problems), got, variables)
}

func TestNothingOutsideIsConfiguredByItself(t *testing.T) {
	environment(t, "SENTRY_API_TOKEN=", "SENTRY_ORGANIZATION=", "SENTRY_API_URL=https://sentry.io", "TRIAGE_SLACK_TOKEN=", "TRIAGE_WEBHOOK_SECRET=", // as in docker-compose.yml
		"SENTRY_AUTH_TOKEN="+hush, "SENTRY_ORG=acme", "SENTRY_URL=https://evil.example", "SLACK_TOKEN=xoxb-"+hush, "GITHUB_TOKEN="+hush)
	o := loadWorker(t).Outside
	wantOutside(t, o)
	o.Secret = nil
	check(t, "Outside", o, config.Outside{
		Sentry: map[string]config.SentryAPI{}, SlackAPIURL: "https://slack.com/api",
		PagerDutyURL: "https://events.pagerduty.com/v2/enqueue", GitHubAPIURL: "https://api.github.com",
	})
}

func TestEveryOutsideVariableIsHeeded(t *testing.T) {
	environment(t,
		"INTEGRATIONS=backend,mobile,web",
		"BACKEND_API_TOKEN=b", "BACKEND_ORGANIZATION=acme",
		"MOBILE_API_TOKEN_FILE="+file(t, "m\n"), "MOBILE_ORGANIZATION=mobile-team", "MOBILE_API_URL=https://sentry.acme.example/",
		"TRIAGE_SLACK_TOKEN=xoxb-1-a", "TRIAGE_SLACK_CHANNEL=#sentry", "TRIAGE_SLACK_API_URL=http://127.0.0.1:1/api/",
		"TRIAGE_PAGERDUTY_ROUTING_KEY="+routingKey, "TRIAGE_PAGERDUTY_URL=https://events.eu.pagerduty.com/v2/enqueue",
		"TRIAGE_GITHUB_TOKEN=ghp_1", "TRIAGE_GITHUB_REPO=acme/pay", "TRIAGE_GITHUB_API_URL=https://git.acme.example/api/v3",
		"TRIAGE_WEBHOOK_URL=https://hooks.acme.example/sentry?a=b", "TRIAGE_WEBHOOK_SECRET="+signingSecret)
	o := loadWorker(t).Outside
	wantOutside(t, o)
	for variable, want := range map[string]string{"BACKEND_API_TOKEN": "b", "MOBILE_API_TOKEN": "m", config.SlackToken: "xoxb-1-a", config.GitHubToken: "ghp_1"} {
		secret, err := o.Secret(variable)
		if err != nil || secret.Reveal() != want {
			t.Errorf("%s: %v", variable, err)
		}
	}
	o.Secret = nil
	check(t, "Outside", o, config.Outside{
		Sentry: map[string]config.SentryAPI{
			"backend": {URL: "https://sentry.io", Organization: "acme", TokenVariable: "BACKEND_API_TOKEN"},
			"mobile":  {URL: "https://sentry.acme.example", Organization: "mobile-team", TokenVariable: "MOBILE_API_TOKEN"},
		},
		SlackAPIURL: "http://127.0.0.1:1/api", PagerDutyURL: "https://events.eu.pagerduty.com/v2/enqueue", GitHubAPIURL: "https://git.acme.example/api/v3",
		SlackChannel: "#sentry", PagerDutyVariable: config.PagerDutyRoutingKey, GitHubRepo: "acme/pay", WebhookVariable: config.WebhookURL,
	})
}

func TestWhatIsMalformedOrIncompleteIsLeftOutAndToldAndTheWorkerStarts(t *testing.T) {
	const slack, hub = "TRIAGE_SLACK_TOKEN=xoxb-1", "TRIAGE_GITHUB_TOKEN=ghp_1"
	address, key := "TRIAGE_WEBHOOK_URL=https://hooks.acme.example", "TRIAGE_WEBHOOK_SECRET="+signingSecret
	for _, test := range []struct {
		vars    []string
		problem string
	}{
		{[]string{"SENTRY_API_TOKEN=" + hush}, "SENTRY_ORGANIZATION"},
		{[]string{"SENTRY_API_TOKEN=" + hush, "SENTRY_ORGANIZATION=https://acme.sentry.io"}, "SENTRY_ORGANIZATION"},
		{[]string{"SENTRY_API_TOKEN=" + hush, "SENTRY_ORGANIZATION=acme", "SENTRY_API_URL="}, "SENTRY_API_URL"},
		{[]string{"SENTRY_API_TOKEN=" + hush, "SENTRY_ORGANIZATION=acme", "SENTRY_API_URL=http://sentry.acme.example"}, "SENTRY_API_URL"},
		{[]string{"SENTRY_API_TOKEN=" + hush, "SENTRY_ORGANIZATION=acme", "SENTRY_API_URL=https://sentry.io/?a"}, "SENTRY_API_URL"},
		{[]string{"SENTRY_API_TOKEN=two words " + hush, "SENTRY_ORGANIZATION=acme"}, "SENTRY_API_TOKEN"},
		{[]string{"SENTRY_API_TOKEN=a" + hush, "SENTRY_API_TOKEN_FILE=" + file(t, hush), "SENTRY_ORGANIZATION=acme"}, "SENTRY_API_TOKEN"},
		{[]string{"SENTRY_ORGANIZATION=acme"}, "SENTRY_ORGANIZATION"},
		{[]string{"SENTRY_API_URL=https://de.sentry.io"}, "SENTRY_API_URL"},
		{[]string{slack}, "TRIAGE_SLACK_CHANNEL"},
		{[]string{"TRIAGE_SLACK_CHANNEL=#sentry"}, "TRIAGE_SLACK_CHANNEL"},
		{[]string{slack, "TRIAGE_SLACK_CHANNEL=sentry"}, "TRIAGE_SLACK_CHANNEL"},
		{[]string{slack, "TRIAGE_SLACK_CHANNEL=xoxb-" + hush}, "TRIAGE_SLACK_CHANNEL"},
		{[]string{hub, "TRIAGE_GITHUB_REPO=ghp_" + hush}, "TRIAGE_GITHUB_REPO"},
		{[]string{"SENTRY_API_TOKEN=a", "SENTRY_ORGANIZATION=" + hush + strings.Repeat("0", 51)}, "SENTRY_ORGANIZATION"},
		{[]string{slack, "TRIAGE_SLACK_CHANNEL=#Sentry team"}, "TRIAGE_SLACK_CHANNEL"},
		{[]string{slack, "TRIAGE_SLACK_CHANNEL=#sentry", "TRIAGE_SLACK_API_URL=http://slack.com/api"}, "TRIAGE_SLACK_API_URL"},
		{[]string{"TRIAGE_SLACK_TOKEN=xoxp-" + hush, "TRIAGE_SLACK_CHANNEL=#sentry"}, "TRIAGE_SLACK_TOKEN"},
		{[]string{"TRIAGE_SLACK_WEBHOOK_URL=hooks.slack.com/" + hush}, "TRIAGE_SLACK_WEBHOOK_URL"},
		{[]string{"TRIAGE_SLACK_WEBHOOK_URL=http://hooks.slack.com/" + hush}, "TRIAGE_SLACK_WEBHOOK_URL"},
		{[]string{"TRIAGE_PAGERDUTY_ROUTING_KEY=" + hush}, "TRIAGE_PAGERDUTY_ROUTING_KEY"},
		{[]string{"TRIAGE_PAGERDUTY_ROUTING_KEY=" + routingKey, "TRIAGE_PAGERDUTY_URL="}, "TRIAGE_PAGERDUTY_URL"},
		{[]string{hub}, "TRIAGE_GITHUB_REPO"},
		{[]string{"TRIAGE_GITHUB_REPO=acme/pay"}, "TRIAGE_GITHUB_REPO"},
		{[]string{hub, "TRIAGE_GITHUB_REPO=https://github.com/acme/pay"}, "TRIAGE_GITHUB_REPO"},
		{[]string{hub, "TRIAGE_GITHUB_REPO=acme/.."}, "TRIAGE_GITHUB_REPO"},
		{[]string{hub, "TRIAGE_GITHUB_REPO=acme/pay", "TRIAGE_GITHUB_API_URL=ftp://git.acme.example"}, "TRIAGE_GITHUB_API_URL"},
		{[]string{address}, "TRIAGE_WEBHOOK_SECRET"},
		{[]string{key}, "TRIAGE_WEBHOOK_SECRET"},
		{[]string{address, "TRIAGE_WEBHOOK_SECRET=" + hush}, "TRIAGE_WEBHOOK_SECRET"},
		{[]string{address, "TRIAGE_WEBHOOK_SECRET=whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23))}, "TRIAGE_WEBHOOK_SECRET"},
		{[]string{address, "TRIAGE_WEBHOOK_SECRET=whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))}, "TRIAGE_WEBHOOK_SECRET"},
		{[]string{key, "TRIAGE_WEBHOOK_URL=https://" + hush + ":" + hush + "@hooks.acme.example"}, "TRIAGE_WEBHOOK_URL"},
		{[]string{key, "TRIAGE_WEBHOOK_URL=https://hooks.acme.example/" + strings.Repeat("a", 2000)}, "TRIAGE_WEBHOOK_URL"},
	} {
		t.Run(strings.Join(test.vars, " "), func(t *testing.T) {
			environment(t, test.vars...)
			o := loadWorker(t).Outside
			wantOutside(t, o, test.problem)
			usable := func() bool {
				return len(o.Sentry)+len(o.SlackChannel)+len(o.GitHubRepo)+len(o.PagerDutyVariable)+len(o.SlackWebhookVariable)+len(o.WebhookVariable) > 0
			}
			if strings.HasSuffix(test.problem, "_API_URL") || strings.HasSuffix(test.problem, "PAGERDUTY_URL") {
				check(t, "addresses that are left out", map[string]string{
					"TRIAGE_SLACK_API_URL": o.SlackAPIURL, "TRIAGE_GITHUB_API_URL": o.GitHubAPIURL, "TRIAGE_PAGERDUTY_URL": o.PagerDutyURL,
				}[test.problem], "")
			} else if usable() {
				t.Errorf("it is used: %+v", o)
			}
		})
	}
}

func TestWhatIsNotUsedIsAWarning(t *testing.T) {
	const slack, hub = "TRIAGE_SLACK_TOKEN=xoxb-1", "TRIAGE_GITHUB_TOKEN=ghp_1"
	for _, test := range []struct {
		vars []string
		idle string
	}{
		{[]string{slack, "TRIAGE_SLACK_CHANNEL=#sentry", "DESTINATIONS_FILE=x.yaml"}, "TRIAGE_SLACK_CHANNEL"},
		{[]string{hub, "TRIAGE_GITHUB_REPO=acme/pay", "DESTINATIONS_FILE=x.yaml"}, "TRIAGE_GITHUB_REPO"},
		{[]string{"TRIAGE_SLACK_WEBHOOK_URL=https://hooks.slack.com/" + hush, slack, "TRIAGE_SLACK_CHANNEL=#sentry"}, "TRIAGE_SLACK_WEBHOOK_URL"},
	} {
		environment(t, test.vars...)
		cfg := loadWorker(t)
		wantOutside(t, cfg.Outside)
		wantWarnings(t, cfg.Warnings, test.idle)
		check(t, "what the variables name, and is not used", map[string]string{
			"TRIAGE_SLACK_CHANNEL": cfg.Outside.SlackChannel, "TRIAGE_GITHUB_REPO": cfg.Outside.GitHubRepo, "TRIAGE_SLACK_WEBHOOK_URL": cfg.Outside.SlackWebhookVariable,
		}[test.idle], "")
	}
	for _, vars := range [][]string{{slack, hub}, {"TRIAGE_WEBHOOK_SECRET=" + signingSecret}} { // for what the file names
		environment(t, append(vars, "DESTINATIONS_FILE=x.yaml")...)
		wantOutside(t, loadWorker(t).Outside)
	}
}

func TestEveryProblemOfWhatIsOutsideIsToldAtOnce(t *testing.T) {
	environment(t, "INTEGRATIONS=backend,mobile", "BACKEND_API_TOKEN=b", "MOBILE_ORGANIZATION=acme",
		"TRIAGE_SLACK_CHANNEL=sentry", "TRIAGE_PAGERDUTY_ROUTING_KEY="+hush, "TRIAGE_GITHUB_REPO=pay", "TRIAGE_WEBHOOK_URL="+hush)
	wantOutside(t, loadWorker(t).Outside, "BACKEND_ORGANIZATION", "MOBILE_ORGANIZATION",
		"TRIAGE_SLACK_CHANNEL", "TRIAGE_GITHUB_REPO", "TRIAGE_PAGERDUTY_ROUTING_KEY", "TRIAGE_WEBHOOK_URL")
}

func TestASecretOfOurOwnIsOneOnlyIfItLooksLikeIt(t *testing.T) {
	for _, variable := range []string{config.SlackToken, config.SlackWebhookURL, config.PagerDutyRoutingKey, config.WebhookURL, config.WebhookSecret} {
		environment(t, variable+"="+hush)
		if secret, err := config.EnvironmentSecret(variable); err == nil || secret != "" || strings.Contains(err.Error(), hush) {
			t.Errorf("%s: the secret has %d characters: %v", variable, len(secret), err)
		}
	}
}

func TestASecretOfAFileIsThatWhichIsThereWhenItIsUsed(t *testing.T) {
	path := file(t, "half a key")
	environment(t, "TRIAGE_PAGERDUTY_ROUTING_KEY_FILE="+path)
	o := loadWorker(t).Outside
	wantOutside(t, o)
	check(t, "PagerDutyVariable", o.PagerDutyVariable, config.PagerDutyRoutingKey)
	if _, err := o.RoutingKey(o.PagerDutyVariable); !errors.Is(err, config.ErrFile) {
		t.Errorf("half a key: %v", err)
	}
	for _, broken := range []string{file(t, ""), filepath.Join(t.TempDir(), "missing")} {
		environment(t, "PAY_KEY_FILE="+broken)
		if _, err := o.RoutingKey("PAY_KEY"); !errors.Is(err, config.ErrFile) || errors.Is(err, config.ErrNotSet) {
			t.Errorf("a file that has none: %v", err)
		}
	}
	environment(t, "PAY_KEY_FILE="+file(t, "https://pay.example"))
	if _, err := o.RoutingKey("PAY_KEY"); !errors.Is(err, config.ErrFile) {
		t.Errorf("a file that has something else: %v", err)
	}
	environment(t, "LAB_KEY=short")
	if _, err := o.RoutingKey("LAB_KEY"); err == nil || errors.Is(err, config.ErrFile) {
		t.Errorf("a variable is no file: %v", err)
	}
	environment(t, "TRIAGE_PAGERDUTY_ROUTING_KEY_FILE="+path)
	for _, now := range []string{routingKey, strings.Repeat("n", 32)} {
		if err := os.WriteFile(path, []byte(now+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := o.RoutingKey(o.PagerDutyVariable); err != nil || key.Reveal() != now {
			t.Errorf("the key is another one: %v", err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := o.RoutingKey(o.PagerDutyVariable); err == nil || !strings.Contains(err.Error(), "TRIAGE_PAGERDUTY_ROUTING_KEY_FILE") || strings.Contains(err.Error(), path) {
		t.Errorf("of a file that is gone it says %v", err)
	}
}

// Whoever can start a run, or write a rule, names variables: no other secret of the
// environment goes out for that.
func TestAVariableThatSomebodyNamesHasToHaveTheFormOfWhatItIsUsedAs(t *testing.T) {
	environment(t)
	o := loadWorker(t).Outside
	for name, value := range map[string]string{
		"PAGER_ADDRESS": "https://events.example", "PAGER_LOCAL": "http://127.0.0.1:1", "PAGER_LOCAL_6": "http://[::1]:1", "PAGER_NAME": "http://localhost/x",
		"PAGER_KEY": routingKey, "PAGER_PASSWORD": hush, "PAGER_AWAY": "http://events.example/" + hush, "PAGER_USER": "https://" + hush + "@events.example",
		"PAGER_DATABASE": "postgres://" + hush + "@db", "PAGER_FRAGMENT": "https://events.example/#" + hush, "pager_key": routingKey, "PAGER_SHORT": routingKey[1:], "PAGER_LONG": routingKey + "0",
	} {
		t.Setenv(name, value)
		_, keyErr := o.RoutingKey(name)
		check(t, name+" is a routing key", keyErr == nil, name == "PAGER_KEY")
		_, addressErr := o.Address(name)
		check(t, name+" is an address", addressErr == nil, name == "PAGER_ADDRESS" || name == "PAGER_LOCAL" || name == "PAGER_LOCAL_6" || name == "PAGER_NAME")
		for _, err := range []error{keyErr, addressErr} {
			if err != nil && strings.Contains(err.Error(), hush) {
				t.Errorf("a secret is in: %v", err)
			}
		}
	}
	for length, is := range map[int]bool{2000: true, 2001: false} {
		const begin = "https://events.example/"
		t.Setenv("PAGER_LENGTH", begin+strings.Repeat("a", length-len(begin)))
		_, err := o.Address("PAGER_LENGTH")
		check(t, "a long text is an address", err == nil, is)
	}
	if _, err := o.Address("PAGER_NOWHERE"); !errors.Is(err, config.ErrNotSet) {
		t.Errorf("the error is %v", err)
	}
}
