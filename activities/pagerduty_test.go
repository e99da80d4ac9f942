package activities_test

import (
	"strings"
	"testing"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

const routingKey = secretPart + "0123456789abcdef012345"

func init() {
	var duty *activities.PagerDuty
	effects = append(effects, effect{
		name: "PagerDuty: trigger", variable: config.PagerDutyRoutingKey, once: true, late: true, path: "/v2/enqueue",
		serve: servePagerDuty,
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, duty.TriggerPage, activities.Page{
				Variable: config.PagerDutyRoutingKey, Key: activities.EffectKey("sentry", "issue:1", "page", "1"), Severity: "critical",
				Card: activities.Card{Title: "It is broken", Project: "backend"},
			})
			return err
		},
	})
}

func servePagerDuty(t *testing.T) served {
	t.Helper()
	p, err := standin.StartPagerDuty(routingKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return served{
		Server:  p.Server,
		cfg:     config.Outside{PagerDutyURL: p.URL + "/v2/enqueue", Secret: secretsOf(map[string]string{config.PagerDutyRoutingKey: routingKey})},
		effects: func() int { return len(p.Alerts()) },
	}
}

func secretsOf(values map[string]string) func(string) (config.Secret, error) {
	return func(variable string) (config.Secret, error) {
		if value := values[strings.TrimSuffix(variable, "_FILE")]; value != "" {
			return config.Secret(value), nil
		}
		return "", config.ErrNotSet
	}
}
