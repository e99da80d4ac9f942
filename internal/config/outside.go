package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// Outside is how to reach the systems that workflows act on. What is not configured,
// or malformed, is empty.
type Outside struct {
	// Sentry is how to reach Sentry's API for an integration, by its name. An
	// integration without a token is missing.
	Sentry           map[string]SentryAPI
	SlackAPIURL      string // base addresses have no slash at the end
	PagerDutyURL     string // of the events API, all of it
	GitHubAPIURL     string
	DestinationsFile string
	// Who is told by the variables alone, without a DestinationsFile. Of a secret it is
	// the variable.
	SlackChannel         string // of the bot: a name, as in #sentry, or an ID
	SlackWebhookVariable string // for Address
	PagerDutyVariable    string // for RoutingKey
	GitHubRepo           string // as in acme/pay
	WebhookVariable      string // for Address
	// Secret returns the secret that a variable has, or the file that the same variable
	// with _FILE names: what is there now. Without either the error is [ErrNotSet], and for
	// what is wrong with a file [ErrFile]. No error repeats any of it.
	//
	// For a variable that somebody else names, as a run's input does, there are
	// [Outside.RoutingKey] and [Outside.Address].
	Secret func(variable string) (Secret, error)
	// Problems are what of the variables cannot be used, and is left out. What is wrong
	// with a file of a secret is none of them: it may be right the next time.
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
	GitHubToken         = "TRIAGE_GITHUB_TOKEN" //nolint:gosec // its name
	WebhookURL          = "TRIAGE_WEBHOOK_URL"
	WebhookSecret       = "TRIAGE_WEBHOOK_SECRET" //nolint:gosec // its name
)

// ErrNotSet says that a variable is not set, nor its file.
var ErrNotSet = errors.New("is not set")

// ErrFile says that the file of a secret has none that can be used. It may be written at
// the moment, and have one soon.
var ErrFile = errors.New("its file cannot be used")

// NoOutside is where nothing is configured.
func NoOutside() Outside {
	return Outside{Secret: func(string) (Secret, error) { return "", ErrNotSet }}
}

// EnvironmentSecret is the [Outside.Secret] of a program. What one of our own variables has
// is a secret only if it looks like what it is for.
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
			return "", fileError{fmt.Errorf("is read from %s_FILE: %w", variable, withoutValues(err))}
		}
		value = string(text)
	}
	secret, err := parseSecret(value)
	if check := forms[variable]; err == nil && check != nil {
		err = check(secret.Reveal())
	}
	if err != nil {
		return "", ofFile(variable, err)
	}
	return secret, nil
}

// ofFile returns what is wrong with the secret of a variable as an [ErrFile], if it is in
// a file.
func ofFile(variable string, err error) error {
	if os.Getenv(variable+"_FILE") == "" {
		return err
	}
	return fileError{err}
}

// fileError is an [ErrFile].
type fileError struct{ error }

// Is reports whether target is [ErrFile], for [errors.Is].
func (fileError) Is(target error) bool { return target == ErrFile }

// Unwrap returns what is wrong.
func (e fileError) Unwrap() error { return e.error }

// forms are what the secrets in our own variables have to look like.
var forms = map[string]func(string) error{
	SlackToken:          checkBotToken,
	SlackWebhookURL:     CheckAddress,
	PagerDutyRoutingKey: checkRoutingKey,
	WebhookURL:          CheckAddress,
	WebhookSecret:       checkSigningSecret,
}

// RoutingKey returns the routing key of PagerDuty that a variable has now, see
// [Outside.Secret]. A variable that has anything else is an error: whoever can start a run
// can name any variable, and must not have another secret sent out.
func (o Outside) RoutingKey(variable string) (Secret, error) {
	return o.secretOf(variable, checkRoutingKey)
}

// Address returns the address, a secret, that a variable has now: https, or http on
// loopback. Anything else is an error, as for [Outside.RoutingKey].
func (o Outside) Address(variable string) (Secret, error) {
	return o.secretOf(variable, CheckAddress)
}

// SigningSecret returns the secret that webhooks are signed with now: whsec_ and base64.
func (o Outside) SigningSecret() (Secret, error) {
	return o.secretOf(WebhookSecret, checkSigningSecret)
}

var variableName = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,127}$`)

// IsVariable reports whether a text can be the name of a variable with a secret.
func IsVariable(name string) bool { return variableName.MatchString(name) }

func (o Outside) secretOf(variable string, check func(string) error) (Secret, error) {
	if !IsVariable(variable) {
		return "", errors.New("is not the name of a variable")
	}
	secret, err := o.Secret(variable)
	if err != nil {
		return "", err
	}
	if err := check(secret.Reveal()); err != nil {
		return "", ofFile(variable, err)
	}
	return secret, nil
}

var (
	routingKey   = regexp.MustCompile(`^[A-Za-z0-9]{32}$`)
	botToken     = regexp.MustCompile(`^(xoxe\.)?xoxb-[A-Za-z0-9-]+$`)
	channelName  = regexp.MustCompile(`^#[^\s#@,:/\\.A-Z]{1,80}$`)
	channelID    = regexp.MustCompile(`^[CG][A-Z0-9]{7,19}$`)
	repository   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}$`)
	organization = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,49}$`) // a token is longer
)

// IsChannel reports whether a text is a channel of Slack: a name, as in #sentry, or an ID.
func IsChannel(s string) bool { return channelName.MatchString(s) || channelID.MatchString(s) }

// IsRepository reports whether a text is a repository of GitHub, as in acme/pay.
func IsRepository(s string) bool {
	return repository.MatchString(s) && !strings.HasSuffix(s, "/.") && !strings.HasSuffix(s, "/..")
}

func checkRoutingKey(s string) error {
	if !routingKey.MatchString(s) {
		return errors.New("is not a routing key of PagerDuty, which has 32 letters and digits")
	}
	return nil
}

func checkBotToken(s string) error {
	if !botToken.MatchString(s) {
		return errors.New("is not the token of a bot, which begins with xoxb-")
	}
	return nil
}

func checkSigningSecret(s string) error {
	const prefix = "whsec_"
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, prefix))
	if !strings.HasPrefix(s, prefix) || err != nil || len(key) < 24 || len(key) > 64 {
		return fmt.Errorf("is not %s with base64 of 24 to 64 bytes after it", prefix)
	}
	return nil
}

// maxAddress bounds an address, in bytes.
const maxAddress = 2000

// CheckAddress returns what is wrong with an address that requests with a secret are sent
// to, without any of it: it is https, or http on loopback, and has no user in it.
func CheckAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http", len(address) > maxAddress:
		return errors.New("is not an https address")
	case u.User != nil:
		return errors.New("is an address with a user in it")
	case u.Fragment != "":
		return errors.New("is an address with # in it")
	case u.Scheme == "http" && !loopback(u.Hostname()+":0") && !loopback("["+u.Hostname()+"]:0"):
		return errors.New("is an http address of another machine: whoever is on the way could read what is sent")
	}
	return nil
}

// outside reads what workflows act on. Its problems keep no worker from starting.
func (l *loader) outside(vars raw, integrations []Integration) Outside {
	before := l.problems
	l.problems = nil
	o := Outside{
		Sentry:           map[string]SentryAPI{},
		DestinationsFile: vars.DestinationsFile,
		Secret:           EnvironmentSecret,
	}
	for _, integration := range integrations {
		if api, ok := l.sentryAPI(strings.ToUpper(integration.Name)); ok {
			o.Sentry[integration.Name] = api
		}
	}
	o.SlackAPIURL = l.service("TRIAGE_SLACK_API_URL", vars.SlackAPI)
	o.PagerDutyURL = l.service("TRIAGE_PAGERDUTY_URL", vars.PagerDutyURL)
	o.GitHubAPIURL = l.service("TRIAGE_GITHUB_API_URL", vars.GitHubAPI)

	o.SlackChannel = l.target("TRIAGE_SLACK_CHANNEL", vars.SlackChannel, IsChannel, "the name of a channel, as in #sentry, or its ID",
		SlackToken, l.secret(SlackToken), vars.DestinationsFile)
	o.GitHubRepo = l.target("TRIAGE_GITHUB_REPO", vars.GitHubRepo, IsRepository, "a repository, as in acme/pay",
		GitHubToken, l.secret(GitHubToken), vars.DestinationsFile)
	if l.secret(PagerDutyRoutingKey) {
		o.PagerDutyVariable = PagerDutyRoutingKey
	}
	if l.secret(SlackWebhookURL) {
		o.SlackWebhookVariable = SlackWebhookURL
	}
	if o.SlackWebhookVariable != "" && o.SlackChannel != "" && vars.DestinationsFile == "" {
		o.SlackWebhookVariable = ""
		l.warn(SlackWebhookURL, "is not used: the bot posts to TRIAGE_SLACK_CHANNEL, and everything would be there twice")
	}
	hasAddress, hasSecret := l.secret(WebhookURL), l.secret(WebhookSecret)
	switch {
	case hasAddress && hasSecret:
		o.WebhookVariable = WebhookURL
	case hasAddress && !isSet(WebhookSecret):
		l.bad(WebhookSecret, "is needed with %s: what is sent is signed with it", WebhookURL)
	case hasSecret && !isSet(WebhookURL) && vars.DestinationsFile == "":
		l.bad(WebhookSecret, "is of no use without %s", WebhookURL)
	}
	o.Problems, l.problems = l.problems, before
	return o
}

// sentryAPI reads how to reach Sentry's API for the integration with the prefix.
func (l *loader) sentryAPI(prefix string) (api SentryAPI, ok bool) {
	var vars rawIntegration
	if err := envconfig.Process(prefix, &vars); err != nil {
		l.bad(prefix, "%w", err)
	}
	token := prefix + "_API_TOKEN"
	if !isSet(token) {
		for _, variable := range []string{prefix + "_ORGANIZATION", prefix + "_API_URL"} {
			// Samples have the usual address there, also without a token.
			if value := os.Getenv(variable); value != "" && value != "https://sentry.io" {
				l.bad(variable, "is of no use without %s", token)
			}
		}
		return SentryAPI{}, false
	}
	before := len(l.problems)
	l.secret(token)
	switch {
	case vars.Organization == "":
		l.bad(prefix+"_ORGANIZATION", "is needed with %s: the slug of the organization, as in its address https://<slug>.sentry.io", token)
	case !organization.MatchString(vars.Organization):
		l.bad(prefix+"_ORGANIZATION", "is not the slug of an organization") // but maybe the token
	}
	api = SentryAPI{URL: l.service(prefix+"_API_URL", vars.APIUrl), Organization: vars.Organization, TokenVariable: token}
	return api, len(l.problems) == before
}

// target checks where a token acts by the variables alone, and that there is both.
func (l *loader) target(variable, value string, is func(string) bool, form, token string, hasToken bool, file string) string {
	switch {
	case value != "" && !is(value):
		l.bad(variable, "is not %s", form) // but maybe the token
	case value != "" && !isSet(token):
		l.bad(variable, "is of no use without %s", token)
	case value != "" && file != "":
		l.warn(variable, "is not used: DESTINATIONS_FILE says who is told")
	case value == "" && hasToken && file == "":
		l.bad(variable, "is needed with %s: %s", token, form)
	case hasToken:
		return value
	}
	return ""
}

// secret reports whether a variable with a secret, or its file, is configured. What is
// wrong with the variable is a problem; a file may be right when it is read next.
func (l *loader) secret(variable string) bool {
	_, err := EnvironmentSecret(variable)
	ofFile := os.Getenv(variable) == "" && os.Getenv(variable+"_FILE") != ""
	switch {
	case ofFile:
		return true
	case errors.Is(err, ErrNotSet):
		return false
	case err != nil:
		l.bad(variable, "%w", err)
		return false
	}
	return true
}

// isSet reports whether a variable or its file is set, whatever to.
func isSet(variable string) bool {
	return os.Getenv(variable) != "" || os.Getenv(variable+"_FILE") != ""
}

// service checks the base address of an API, and returns it without a slash at the
// end, or "" if it cannot be used.
func (l *loader) service(variable, value string) string {
	err := CheckAddress(value)
	if err == nil && strings.Contains(value, "?") {
		err = errors.New("is an address with ? in it")
	}
	if err != nil {
		l.bad(variable, "%w", err)
		return ""
	}
	return strings.TrimRight(value, "/")
}
