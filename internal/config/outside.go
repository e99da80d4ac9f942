package config

import (
	"errors"
	"os"
)

// Outside is how to reach the systems that workflows act on. What is not configured is
// empty.
type Outside struct {
	// Sentry is how to reach Sentry's API for an integration, by its name. An
	// integration without a token is missing.
	Sentry           map[string]SentryAPI
	SlackChannel     string // of the bot: a name, as in #sentry, or an ID
	SlackAPIURL      string // base addresses have no slash at the end
	PagerDutyURL     string // of the events API, all of it
	GitHubRepo       string // as in acme/pay
	GitHubAPIURL     string
	DestinationsFile string
	// Secret returns the secret that a variable has, or the file that the same variable
	// with _FILE names: what is there now. Without either the error is [ErrNotSet]. No error
	// repeats any of it.
	Secret func(variable string) (Secret, error)
	// Problems are what of the variables cannot be used, and is left out.
	Problems []Problem
}

// SentryAPI is how to reach Sentry's API.
type SentryAPI struct {
	URL           string // base address, no slash at the end
	Organization  string // slug
	TokenVariable string // for [Outside.Secret]
}

// The variables of secrets, for [Outside.Secret].
const (
	SlackToken          = "TRIAGE_SLACK_TOKEN"
	SlackWebhookURL     = "TRIAGE_SLACK_WEBHOOK_URL"
	PagerDutyRoutingKey = "TRIAGE_PAGERDUTY_ROUTING_KEY"
	GitHubToken         = "TRIAGE_GITHUB_TOKEN"
	WebhookURL          = "TRIAGE_WEBHOOK_URL"
	WebhookSecret       = "TRIAGE_WEBHOOK_SECRET"
)

// ErrNotSet says that a variable is not set, nor its file.
var ErrNotSet = errors.New("is not set")

// NoOutside is where nothing is configured.
func NoOutside() Outside {
	return Outside{Secret: func(string) (Secret, error) { return "", ErrNotSet }}
}

// EnvironmentSecret is the [Outside.Secret] of a program.
func EnvironmentSecret(variable string) (Secret, error) {
	value, file := os.Getenv(variable), os.Getenv(variable+"_FILE")
	switch {
	case value == "" && file == "":
		return "", ErrNotSet
	case value != "" && file != "":
		return "", errors.New("is set, and so is its _FILE: set one of them")
	case file != "":
		text, err := readSmall(file)
		if err != nil {
			return "", withoutValues(err)
		}
		value = string(text)
	}
	return parseSecret(value)
}
