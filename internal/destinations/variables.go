package destinations

import "sentry-temporal/internal/config"

// FromVariables returns the table of a worker without a file of destinations: the one that
// the variables name, or none.
func FromVariables(o config.Outside) *Table {
	d := Destination{
		Slack:        o.SlackChannel,
		SlackWebhook: o.SlackWebhookVariable,
		PagerDuty:    o.PagerDutyVariable,
		GitHub:       o.GitHubRepo,
		Webhook:      o.WebhookVariable,
	}
	if d == (Destination{}) {
		return None()
	}
	d.Name = "variables"
	return &Table{rules: []Rule{{Destination: d}}}
}
