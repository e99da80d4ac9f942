// Package destinations says who is told of an issue or an alert: the file, matching.
package destinations

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

// Table are the destinations, in order.
type Table struct{ all []Destination }

// None is a table without destinations.
func None() *Table { return &Table{} }

// For returns the first destination that matches, and false if none does.
func (t *Table) For(Question) (Destination, bool) {
	if len(t.all) == 0 {
		return Destination{}, false
	}
	return t.all[0], true
}

// Empty reports whether there is no destination at all.
func (t *Table) Empty() bool { return len(t.all) == 0 }
