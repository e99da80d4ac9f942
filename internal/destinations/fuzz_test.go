package destinations_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
)

// FuzzParse: a file is taken or refused with places in it, and what is taken answers any
// question as it explains it, with names of variables where secrets belong.
func FuzzParse(f *testing.F) {
	for _, file := range []string{
		"", "destinations:", "destinations: []", several, many(3), matching("{}"), one(`slack: "#a"`, "github: acme/pay", "webhook: ${PAY_WEBHOOK}"),
		one("slack_webhook: ${PAY_SLACK_HOOK}", "pagerduty: ${PAY_PAGERDUTY_KEY}", `match: {environments: ["a*"], teams: ["b*"], projects: ["c*"]}`),
		"destinations: &a [*a]", "? [a]: b\n: c", "destinations:\n  - <<: {name: a}", "destinations: [{name: a, webhook: \"${\\u0000}\"}]",
		"destinations: [{name: a, slack: ~, match: ~}]", "destinations: [{name: a, pagerduty: 1e9, github: 2026-01-02}]",
	} {
		f.Add([]byte(file))
	}
	questions := []destinations.Question{
		{},
		{Projects: []string{"pay-api", "shop"}, Environment: "production", Team: "payments", Level: "fatal"},
		{Projects: []string{""}, Environment: "*", Team: "\xff", Level: strings.Repeat("x", 1<<10)},
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		table, problems := parse(string(file), configured)
		if (table == nil) != (len(problems) > 0) {
			t.Fatalf("a table %t beside the problems %v", table != nil, problems)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Text == "" || len(p.Text) > 1000 || !utf8.ValidString(p.Text) || strings.ContainsAny(p.Text, "\n\x00") {
				t.Errorf("a problem is %q", p)
			}
		}
		if table == nil {
			return
		}
		for _, r := range table.Rules() {
			for _, variable := range []string{r.SlackWebhook, r.PagerDuty, r.Webhook} {
				if variable != "" && !config.IsVariable(variable) {
					t.Errorf("a variable is %q", variable)
				}
			}
		}
		for _, q := range questions {
			told, ok := table.For(q)
			found := 0
			for _, v := range table.Explain(q) {
				if v.No == "" {
					found++
					if v.Rule.Destination != told {
						t.Errorf("told is %+v, explained %+v", told, v.Rule)
					}
				}
			}
			if found > 1 || ok != (found == 1) {
				t.Errorf("%t that somebody is told, and %d are explained", ok, found)
			}
		}
	})
}
