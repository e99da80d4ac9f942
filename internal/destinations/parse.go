package destinations

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/text"
	"sentry-temporal/internal/yamlfile"
)

// MaxDestinations is how many destinations a file may have, beside the bounds of every
// file.
const MaxDestinations = 500

// Load returns the table of the file at path, see [Parse].
func Load(path string, outside config.Outside) (*Table, error) {
	text, err := yamlfile.Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(text, outside)
}

// Parse returns the table of a file, for what else is configured. The error is a
// [yamlfile.ProblemsError]; neither that nor a warning repeats what stands where a secret
// may have been put by mistake.
//
// It takes bounded memory and time whatever it is given.
func Parse(file []byte, outside config.Outside) (*Table, error) {
	p := &parser{outside: outside, names: map[string]int{}, matches: map[string]int{}, told: map[string]bool{}}
	var rules []Rule
	for _, item := range p.List(file, "destinations", MaxDestinations) {
		rules = append(rules, p.rule(item))
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return &Table{rules: rules, warnings: p.Warnings()}, nil
}

// parser collects what is wrong.
type parser struct {
	yamlfile.Reader
	outside config.Outside
	names   map[string]int  // lines of destinations, by name
	matches map[string]int  // lines of destinations, by what they are for
	told    map[string]bool // variables that are warned of, once each
}

// fields are the keys of a destination, and ways those by which somebody is told.
var (
	ways   = []string{"slack", "slack_webhook", "pagerduty", "github", "webhook"}
	fields = append([]string{"name", "match"}, ways...)
)

// validName is a destination's name, which runs and pages show.
var validName = regexp.MustCompile(`^[\pL\pN]([\pL\pN ._/-]{0,62}[\pL\pN])?$`)

func (p *parser) rule(n *yaml.Node) Rule {
	r := Rule{Line: n.Line}
	before := p.Count()
	at := map[string]*yaml.Node{} // the keys that are there
	p.Mapping(n, "a destination", fields, func(key string, keyAt, value *yaml.Node) {
		at[key] = keyAt
		switch key {
		case "name":
			r.Name = p.name(value)
		case "match":
			r.Match = p.match(value)
		case "slack":
			r.Slack = p.target(value, key, config.IsChannel, `a channel of Slack, as in "#sentry" in quotes, or the ID of one`)
			p.need(keyAt, key, config.SlackToken)
		case "slack_webhook":
			r.SlackWebhook = p.secret(value, key, p.outside.Address)
		case "pagerduty":
			r.PagerDuty = p.secret(value, key, p.outside.RoutingKey)
		case "github":
			r.GitHub = p.target(value, key, config.IsRepository, "a repository of GitHub, as in acme/pay")
			p.need(keyAt, key, config.GitHubToken)
		case "webhook":
			r.Webhook = p.secret(value, key, p.outside.Address)
			p.need(keyAt, key, config.WebhookSecret)
		}
	}, "name")
	if n.Kind == yaml.MappingNode && !hasAny(at, ways) {
		p.Bad(n, "the destination tells nobody: it needs one of %s", strings.Join(ways, ", "))
	}
	if at["slack"] != nil && at["slack_webhook"] != nil {
		p.Bad(at["slack_webhook"], "slack is there, too, and everything would be there twice: leave one of them out")
	}
	if p.Count() == before {
		p.warnOfNever(n, r)
	}
	return r
}

func hasAny(at map[string]*yaml.Node, keys []string) bool {
	for _, key := range keys {
		if at[key] != nil {
			return true
		}
	}
	return false
}

// warnOfNever warns of a destination that can never be told, for those before it.
func (p *parser) warnOfNever(n *yaml.Node, r Rule) {
	everything, same := Match{}.text(), r.Match.text()
	if line, there := p.matches[everything]; there {
		p.Warn(n, "the destination can never match: that in line %d matches everything, and comes first", line)
	} else if line, there := p.matches[same]; there {
		p.Warn(n, "the destination can never match: that in line %d is for the same, and comes first", line)
	} else {
		p.matches[same] = r.Line
	}
}

func (p *parser) name(n *yaml.Node) string {
	name := p.Name(n, "a destination's name", validName, "1 to 64 letters, digits, blanks and . _ / - that begin and end with a letter or digit")
	if name == "" {
		return ""
	}
	if line, there := p.names[name]; there {
		p.Bad(n, "%s is the name of the destination in line %d already", yamlfile.Quoted(name), line)
	} else {
		p.names[name] = n.Line
	}
	return name
}

// match returns what a destination is for.
func (p *parser) match(n *yaml.Node) Match {
	var m Match
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.Bad(n, "match is empty: leave it out, and everything matches")
		return m
	}
	p.Mapping(n, "match", []string{"projects", "environments", "teams", "levels"}, func(key string, at, value *yaml.Node) {
		switch key {
		case "projects":
			m.Projects = p.Slugs(value, key, "project")
		case "environments":
			m.Environments = p.Texts(value, key, checkEnvironment)
			if len(p.outside.Sentry) == 0 {
				p.Warn(at, "no integration has a token of Sentry's API, so the environment of an issue is never known: the destination is for alerts alone")
			}
		case "teams":
			m.Teams = p.Slugs(value, key, "team")
			if len(p.outside.Sentry) == 0 {
				p.Warn(at, "no integration has a token of Sentry's API, so the team is known only where a webhook names it: those of new issues and of alerts mostly name none")
			}
		case "levels":
			m.Levels = p.Levels(value, key)
		}
	})
	return m
}

// validEnvironment is an environment as Sentry takes it, or what it begins with.
var validEnvironment = regexp.MustCompile(`^[^/*]{1,64}\*?$`)

func checkEnvironment(_ *yaml.Node, environment string) error {
	if !validEnvironment.MatchString(environment) || text.Line(environment) != environment {
		return fmt.Errorf("%s is not an environment, or its beginning and a *", yamlfile.Quoted(environment))
	}
	return nil
}

// target returns a text that is of a form. It is not repeated: it may be a token, or an
// address that is a secret.
func (p *parser) target(n *yaml.Node, what string, is func(string) bool, form string) string {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		p.Bad(n, "%s is empty: it takes %s", what, form) // a # without quotes begins a comment
		return ""
	}
	value, ok := p.Text(n, what)
	if ok && !is(value) {
		p.Bad(n, "%s is not %s", what, form)
		return ""
	}
	return value
}

// reference names the variable of a secret.
var reference = regexp.MustCompile(`^\$\{([^}]*)\}$`)

// secret returns the name of a variable whose secret read takes.
func (p *parser) secret(n *yaml.Node, what string, read func(variable string) (config.Secret, error)) string {
	parts := reference.FindStringSubmatch(n.Value)
	if n.Kind == yaml.ScalarNode && (parts == nil || !config.IsVariable(parts[1])) {
		p.Bad(n, "%s takes the variable of a secret, as in ${PAY_SECRET}: one that is written out is not taken", what)
		return ""
	}
	if _, ok := p.Text(n, what); !ok {
		return ""
	}
	variable := parts[1]
	switch _, err := read(variable); {
	case errors.Is(err, config.ErrNotSet):
		p.Bad(n, "%s is not set, nor is %s_FILE", variable, variable)
	case err != nil && !p.told[variable]: // of a file it may be right the next time
		p.told[variable] = true
		p.Warn(n, "%s cannot be used: %s", variable, err)
	}
	return variable
}

// need warns of a variable that has to be there beside a key.
func (p *parser) need(at *yaml.Node, key, variable string) {
	if _, err := p.outside.Secret(variable); errors.Is(err, config.ErrNotSet) && !p.told[variable] {
		p.told[variable] = true
		p.Warn(at, "%s needs %s, which is not set", key, variable)
	}
}
