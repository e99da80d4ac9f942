// Package destinations says who is told of an issue or an alert: the file, matching.
package destinations

import (
	"slices"
	"strings"

	"sentry-temporal/internal/yamlfile"
)

// Destination is who is told. What is empty is not told. It holds no secret: those are
// named by their variables.
type Destination struct {
	Name         string `json:"name"`
	Slack        string `json:"slack,omitempty"`         // channel: a name, as in #sentry, or an ID
	SlackWebhook string `json:"slack_webhook,omitempty"` // variable of an incoming webhook's address
	PagerDuty    string `json:"pagerduty,omitempty"`     // variable of a routing key
	GitHub       string `json:"github,omitempty"`        // repository, as in acme/pay
	Webhook      string `json:"webhook,omitempty"`       // variable of an address
}

// Question is what a destination is looked for with. What is not known is empty.
type Question struct {
	Projects    []string // slugs: an alert may have several
	Environment string
	Team        string // slug, of the assignee
	Level       string
}

// Rule is a destination, and what it is for.
type Rule struct {
	Destination
	Match Match
	Line  int // in the file; 0 without one
}

// Match is what a destination is for. Lists that are empty let everything through; what
// is not known, the others do not.
type Match struct {
	Projects     []string `json:"projects,omitempty"`     // here and in the next two a trailing * is a prefix
	Environments []string `json:"environments,omitempty"` //
	Teams        []string `json:"teams,omitempty"`
	Levels       []string `json:"levels,omitempty"`
}

// No is what says that a destination is not told: a key of its match, or that another
// one comes first.
type No string

// What says no, in the order in which they are asked.
const (
	NoProjects     No = "projects"
	NoEnvironments No = "environments"
	NoTeams        No = "teams"
	NoLevels       No = "levels"
	NoEarlier      No = "earlier" // another one comes first, and matches
)

// refuses returns the first key that does not match, "" if all do. Of several projects
// one is enough.
func (m Match) refuses(q Question) No {
	switch {
	case !lets(m.Projects, q.Projects...):
		return NoProjects
	case !lets(m.Environments, q.Environment):
		return NoEnvironments
	case !lets(m.Teams, q.Team):
		return NoTeams
	case !lets(m.Levels, q.Level):
		return NoLevels
	}
	return ""
}

// lets reports whether a list is empty or has one of the values.
func lets(list []string, values ...string) bool {
	if len(list) == 0 {
		return true
	}
	for _, entry := range list {
		start, prefix := strings.CutSuffix(entry, "*")
		for _, value := range values {
			if value == entry || prefix && strings.HasPrefix(value, start) {
				return true
			}
		}
	}
	return false
}

// Table are the destinations, in order. It never changes.
type Table struct {
	rules    []Rule
	warnings []yamlfile.Problem
}

// None is a table without destinations.
func None() *Table { return &Table{} }

// For returns the first destination that matches, and false if none does.
func (t *Table) For(q Question) (Destination, bool) {
	i := t.find(q)
	if i < 0 {
		return Destination{}, false
	}
	return t.rules[i].Destination, true
}

// find returns the index of the first rule that matches, -1 if none does.
func (t *Table) find(q Question) int {
	return slices.IndexFunc(t.rules, func(r Rule) bool { return r.Match.refuses(q) == "" })
}

// Verdict is what a rule says of a question.
type Verdict struct {
	Rule Rule
	No   No // what says no; "" if its destination is told
}

// Explain returns what each rule says, in order.
func (t *Table) Explain(q Question) []Verdict {
	found := t.find(q)
	var all []Verdict
	for i, r := range t.rules {
		v := Verdict{Rule: r, No: r.Match.refuses(q)}
		if v.No == "" && i != found {
			v.No = NoEarlier
		}
		all = append(all, v)
	}
	return all
}

// PagersOf returns the variables of the routing keys of all that may be told of what is
// in these projects, whatever its environment, team and level: those may have changed
// since somebody was paged. Without a project it may be any.
func (t *Table) PagersOf(projects []string) []string {
	var all []string
	for _, r := range t.rules {
		if len(projects) > 0 && !lets(r.Match.Projects, projects...) {
			continue
		}
		if r.PagerDuty != "" && !slices.Contains(all, r.PagerDuty) {
			all = append(all, r.PagerDuty)
		}
	}
	return all
}

// Empty reports whether there is no destination at all.
func (t *Table) Empty() bool { return len(t.rules) == 0 }

// Rules returns the destinations with what they are for, in order. The caller must not
// change them.
func (t *Table) Rules() []Rule { return t.rules }

// Warnings returns what may be wrong with the file.
func (t *Table) Warnings() []yamlfile.Problem { return t.warnings }

// same reports whether both tables say the same.
func (t *Table) same(other *Table) bool {
	return slices.EqualFunc(t.rules, other.rules, func(a, b Rule) bool {
		return a.Destination == b.Destination && a.Match.text() == b.Match.text()
	})
}

// text is a match as a text that only one that matches the same has.
func (m Match) text() string {
	var parts []string
	for _, list := range [][]string{m.Projects, m.Environments, m.Teams, m.Levels} {
		parts = append(parts, strings.Join(slices.Sorted(slices.Values(list)), "\n"))
	}
	return strings.Join(parts, "\n\n")
}
