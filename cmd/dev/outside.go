package main

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"sentry-temporal/activities"
	"sentry-temporal/cmd/internal/story"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/standin"
	"sentry-temporal/workflows/act"
)

// outside is what workflows act on: stand-ins, whatever the shell that this runs in has
// variables for, unless LIVE=1 says that the real systems are meant.
type outside struct {
	config.Outside
	standins *standin.All // nil: the real ones
}

// openOutside returns it for integrations of Sentry. It has to be closed.
func openOutside(integrations []config.Integration) (outside, error) {
	live, err := isOn("LIVE", "acts on the real Slack, PagerDuty, GitHub and Sentry", "on stand-ins")
	if err != nil {
		return outside{}, err
	}
	if live {
		cfg, err := config.LoadWorker()
		return outside{Outside: cfg.Outside}, err
	}
	all, err := standin.StartAll()
	if err != nil {
		return outside{}, err
	}
	all.Sentry.Unseen = unseen
	var names []string
	for _, integration := range integrations {
		names = append(names, integration.Name)
	}
	return outside{all.Outside(names...), all}, nil
}

// isOn reports whether a variable is 1.
func isOn(variable, on, off string) (bool, error) {
	switch value := os.Getenv(variable); value {
	case "1":
		return true, nil
	case "", "0":
		return false, nil
	default:
		return false, fmt.Errorf("%s is %q: 1 %s; 0, or nothing, %s", variable, value, on, off)
	}
}

func (o outside) close() {
	if o.standins != nil {
		o.standins.Close()
	}
}

// tell says which of the two it is, and of the real ones which.
func (o outside) tell(w io.Writer) {
	if o.standins != nil {
		fmt.Fprintf(w, "Slack, PagerDuty, GitHub and Sentry's API are stand-ins at %s/\nLIVE=1 uses the real ones.\n", o.standins.URL)
		return
	}
	fmt.Fprintln(w, "LIVE=1: workflows act on what is configured, for everybody to see:")
	armed := o.armed()
	for _, line := range armed {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if len(armed) == 0 {
		fmt.Fprintln(w, "  nothing is")
	}
	for _, problem := range o.Problems {
		fmt.Fprintf(w, "  left out: %s\n", problem)
	}
}

// armed returns a line for each real system that is acted on. Addresses that are secrets
// are told by their variables.
func (o outside) armed() []string {
	var lines []string
	add := func(target, format string, args ...any) {
		if target != "" {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Sentry)) {
		api := o.Sentry[name]
		add(name, "Sentry's API: organization %s at %s, for %s", api.Organization, api.URL, name)
	}
	add(o.DestinationsFile, "those whom DESTINATIONS_FILE names: %s", o.DestinationsFile)
	add(o.SlackChannel, "Slack: %s at %s", o.SlackChannel, o.SlackAPIURL)
	add(o.SlackWebhookVariable, "Slack: the incoming webhook in %s", o.SlackWebhookVariable)
	add(o.PagerDutyVariable, "PagerDuty: the service of %s at %s", o.PagerDutyVariable, o.PagerDutyURL)
	add(o.GitHubRepo, "GitHub: %s at %s", o.GitHubRepo, o.GitHubAPIURL)
	add(o.WebhookVariable, "the webhook in %s", o.WebhookVariable)
	return lines
}

// seed has the stand-in for Sentry know the issue of a delivery that makes one.
func (o outside) seed(part story.Part) error {
	if o.standins == nil || part.Name != "issue.created" {
		return nil
	}
	_, err := o.standins.Sentry.Seed(later(part.Body), latest)
	return err
}

// unseen returns what [outside.seed] would have had the stand-in for Sentry know of an
// issue of the samples, and nil for others.
func unseen(id string) ([]byte, standin.Event) {
	return later(sentry.SampleIssue(id)), latest
}

// later returns the issue of a sample that makes it as Sentry has it when it is asked.
func later(body []byte) []byte {
	return bytes.Replace(body, []byte(`"count":"1","userCount":1`), []byte(`"count":"37","userCount":29`), 1)
}

// latest is the latest event of it then.
var latest = standin.Event{
	Environment: "production", Release: "backend@2026.3.17-2", User: "88213",
	File: "checkout/services/totals.py", Function: "assert_totals_match", Line: 23,
}

// find returns what a stand-in has of an effect that a run says it had, and false if that
// is nothing. Of a real system it returns what the run says.
func (o outside) find(e act.Effect) (what string, ok bool) {
	if o.standins == nil {
		return strings.TrimSpace(cmp.Or(e.URL, e.To+" "+e.Name)), true
	}
	switch e.Effect {
	case activities.EffectPage, activities.EffectResolve:
		for _, alert := range slices.Backward(o.standins.PagerDuty.Alerts()) {
			if alert.Key == e.Name {
				return "PagerDuty: " + alert.Summary, e.Effect == activities.EffectPage || alert.Status == "resolved"
			}
		}
		return "PagerDuty: no incident was open", e.Effect == activities.EffectResolve
	case activities.EffectSlack:
		for _, message := range o.standins.Slack.Messages("") {
			if strings.HasSuffix(e.URL, "/p"+strings.Replace(message.Timestamp, ".", "", 1)) {
				return "#" + message.Channel + ": " + html.UnescapeString(message.Text), true
			}
		}
	case activities.EffectTicket:
		for _, ticket := range o.standins.GitHub.Issues(e.To) {
			if e.Name == "#"+strconv.Itoa(ticket.Number) {
				return e.To + e.Name + ": " + ticket.Title, true
			}
		}
	case activities.EffectWebhook: // which of them it is, the result does not say
		return "a receiver of webhooks", len(o.standins.Webhook.Messages()) > 0
	case activities.EffectLink:
		for _, issue := range o.standins.Sentry.Issues() {
			for _, link := range issue.Links {
				if link.URL == e.URL {
					return issue.ShortID + " in Sentry, to this run", true
				}
			}
		}
	}
	return "", false
}

// present returns how many effects the stand-ins have, of the kinds that leave something.
func (o outside) present() map[string]int {
	if o.standins == nil {
		return nil
	}
	n := map[string]int{
		activities.EffectSlack:   len(o.standins.Slack.Messages("")),
		activities.EffectTicket:  len(o.standins.GitHub.Issues(o.GitHubRepo)),
		activities.EffectWebhook: o.standins.Webhook.Deliveries(),
	}
	for _, alert := range o.standins.PagerDuty.Alerts() {
		n[activities.EffectPage] += alert.Events
	}
	for _, issue := range o.standins.Sentry.Issues() {
		for _, link := range issue.Links {
			n[activities.EffectLink] += link.Times
		}
	}
	return n
}
