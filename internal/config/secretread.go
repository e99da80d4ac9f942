package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// DevelopmentSecret is the Client Secret of make dev. It is no secret.
const DevelopmentSecret = "development-only-not-a-secret"

// sentrySecret is the form of the secrets that Sentry makes.
var sentrySecret = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// secrets reads secrets from a variable or its file, and returns which of the
// two it was; what is wrong with them is a problem of that.
func (l *loader) secrets(variable, value, file string) (all []Secret, from string) {
	var err error
	switch {
	case value != "" && file != "":
		err = fmt.Errorf("is set, and so is %s_FILE: set one of them", variable)
	case file != "":
		variable += "_FILE"
		all, err = ReadSecrets(file)
	default:
		all, err = parseSecrets(value)
	}
	if err != nil {
		l.bad(variable, "%w", err)
	}
	for _, secret := range all {
		if known := secret.known(); known != "" {
			l.warn(variable, "is %s", known)
		}
	}
	return all, variable
}

// clientSecrets reads the secrets of an integration, and warns of those that
// Sentry cannot have made.
func (l *loader) clientSecrets(variable, value, file string) []Secret {
	if value == "" && file == "" {
		l.bad(variable, "is not set: it takes the Client Secret that Sentry shows with the integration, under Credentials, or several, separated by commas; "+
			"or set %s_FILE to the path of a file with that", variable)
		return nil
	}
	all, from := l.secrets(variable, value, file)
	for i, secret := range all {
		if secret.known() == "" && !secret.MadeBySentry() {
			l.warn(from, "is not 64 hex digits, as what Sentry shows is (secret %d of %d)", i+1, len(all))
		}
	}
	return all
}

// MadeBySentry reports whether s has the form of a Client Secret.
func (s Secret) MadeBySentry() bool { return sentrySecret.MatchString(string(s)) }

// warnOfShared warns of a secret that two integrations have: in Sentry each has
// its own.
func (l *loader) warnOfShared(integrations []Integration) {
	first := map[Secret]string{}
	for _, integration := range integrations {
		variable := strings.ToUpper(integration.Name) + "_CLIENT_SECRET"
		for _, secret := range integration.Secrets {
			if other, there := first[secret]; there && other != variable {
				l.warn(variable, "has a secret that %s has, too: in Sentry each integration has its own", other)
			}
			first[secret] = variable
		}
	}
}

// An admin token is long enough that nobody guesses it, and short enough for a
// header.
const (
	minToken = 16
	maxToken = 256
)

// adminToken reads the token for the admin address, which may be none.
func (l *loader) adminToken(vars raw) Secret {
	if vars.AdminToken == "" && vars.AdminFile == "" {
		return ""
	}
	all, from := l.secrets("ADMIN_TOKEN", vars.AdminToken, vars.AdminFile)
	switch {
	case len(all) == 0: // a problem already
		return ""
	case len(all) > 1 || len(all[0]) < minToken || len(all[0]) > maxToken:
		l.bad(from, "is not one token of %d to %d characters", minToken, maxToken)
		return ""
	}
	return all[0]
}

// ReadSecrets returns the secrets that are in a file, newest first. No error
// repeats any of it.
func ReadSecrets(path string) ([]Secret, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, withoutValues(err)
	}
	return parseSecrets(string(text))
}

// parseSecrets returns the secrets in a text, at least one: printable ASCII
// without blanks and quotes, separated by commas or line ends. A known one is
// refused, but for development. No error repeats any of the text.
func parseSecrets(text string) ([]Secret, error) {
	if err := encoding(text); err != nil {
		return nil, err
	}
	var all []Secret
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if part = strings.Trim(part, " \t"); part != "" {
			all = append(all, Secret(part))
		}
	}
	if len(all) == 0 {
		return nil, errors.New("is empty: it takes a secret, or several separated by commas or line ends")
	}
	for i, secret := range all {
		err := secret.check()
		switch {
		case err == nil:
		case len(all) == 1:
			return nil, err
		default:
			return nil, fmt.Errorf("secret %d of %d %w", i+1, len(all), err)
		}
	}
	return all, nil
}

// parseSecret returns the only secret in a text, see [parseSecrets].
func parseSecret(text string) (Secret, error) {
	all, err := parseSecrets(text)
	switch {
	case err != nil:
		return "", err
	case len(all) > 1:
		return "", fmt.Errorf("has %d values, but only one belongs there", len(all))
	}
	return all[0], nil
}

// encoding returns what is wrong with the text as a whole, as editors and shells
// on Windows write it.
func encoding(text string) error {
	nul := strings.IndexByte(text, 0)
	switch {
	case strings.HasPrefix(text, "\xef\xbb\xbf"):
		return errors.New("begins with a byte order mark: save it as UTF-8 without one")
	case strings.HasPrefix(text, "\xff\xfe"), strings.HasPrefix(text, "\xfe\xff"), nul == 0, nul == 1:
		return errors.New("is UTF-16: save it as UTF-8")
	}
	return nil
}

// assignment is a line of a file with variables, where only the value belongs.
// What base64 ends with is none.
var assignment = regexp.MustCompile(`^(export\s+)?([A-Z][A-Z0-9_]*=($|[^=])|[A-Za-z0-9]+(_[A-Za-z0-9]+)+=[^=])`)

// check returns what is odd about a secret, without any of it.
func (s Secret) check() error {
	text := string(s)
	if assignment.MatchString(text) {
		return errors.New("looks like KEY=value: only the value belongs there")
	}
	if strings.ContainsAny(text[:1]+text[len(text)-1:], "\"'`") {
		return errors.New("is in quotes: they do not belong there")
	}
	place := 0
	for _, r := range text {
		place++
		switch {
		case r == ' ', r == '\t':
			return fmt.Errorf("has a blank at place %d", place)
		case strings.ContainsRune("\"'`", r):
			return fmt.Errorf("has a quote at place %d", place)
		case !unicode.IsPrint(r):
			return fmt.Errorf("has an invisible character at place %d", place)
		case r > unicode.MaxASCII:
			return fmt.Errorf("has a character at place %d that is not ASCII", place)
		}
	}
	if known := s.known(); known != "" && !development() {
		return fmt.Errorf("is %s; only DEVELOPMENT=1, where nothing can be harmed, allows that", known)
	}
	return nil
}

// known says what a secret is that everybody knows, "" if it may be one.
func (s Secret) known() string {
	text := strings.ToLower(string(s))
	wrapped := slices.ContainsFunc([]string{"<>", "[]", "{}", "()"}, func(pair string) bool {
		return strings.HasPrefix(strings.TrimLeft(text, "$"), pair[:1]) && strings.HasSuffix(text, pair[1:])
	})
	words := strings.NewReplacer("-", "", "_", "", ".", "").Replace(text)
	switch {
	case text == DevelopmentSecret:
		return "the secret of make dev, which everybody knows"
	case wrapped, strings.Trim(text, ".x*_-?0") == "" && len(text) > 1, slices.Contains(placeholders, words):
		return "a placeholder, not a secret"
	}
	return ""
}

// placeholders are what stands in examples, without what separates words.
var placeholders = []string{
	"changeme", "changeit", "replaceme", "todo", "placeholder", "example", "password", "secret", "mysecret", "yoursecret", "topsecret",
	"clientsecret", "yourclientsecret", "sentryclientsecret", "token", "yourtoken", "admintoken", "apikey", "yourapikey", "redacted", "none", "null",
}

// development reports whether known secrets are allowed. Being reached on this
// machine only would not do: a proxy beside it may pass the public on.
func development() bool { return os.Getenv("DEVELOPMENT") == "1" }
