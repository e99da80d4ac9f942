package destinations_test

import (
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
)

func TestTheVariablesAreTheOneDestination(t *testing.T) {
	if got, ok := destinations.FromVariables(config.NoOutside()).For(destinations.Question{}); ok {
		t.Errorf("without any there is %+v", got)
	}
	o := config.Outside{
		SlackChannel: "#sentry", SlackWebhookVariable: config.SlackWebhookURL, PagerDutyVariable: config.PagerDutyRoutingKey,
		GitHubRepo: "acme/pay", WebhookVariable: config.WebhookURL,
	}
	want := destinations.Destination{
		Name: "variables", Slack: "#sentry", SlackWebhook: "TRIAGE_SLACK_WEBHOOK_URL", PagerDuty: "TRIAGE_PAGERDUTY_ROUTING_KEY",
		GitHub: "acme/pay", Webhook: "TRIAGE_WEBHOOK_URL",
	}
	if got, ok := destinations.FromVariables(o).For(destinations.Question{Level: "error"}); !ok || got != want {
		t.Errorf("it is %+v, %v", got, ok)
	}
}
