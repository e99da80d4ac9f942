package activities

// Card is what a message, a page or a ticket tells of an issue or an alert. Its texts are
// from outside and may be hostile: each system's activities make them harmless there.
// What is not known is empty.
type Card struct {
	Integration string `json:"integration"`
	Event       string `json:"event"`    // as in sentry.issue.created
	Headline    string `json:"headline"` // what happened, in our own words, as in "New issue"
	Title       string `json:"title"`
	URL         string `json:"url,omitempty"` // of the page in Sentry
	ShortID     string `json:"short_id,omitempty"`
	Severity    string `json:"severity,omitempty"` // as Decide says
	Level       string `json:"level,omitempty"`
	Project     string `json:"project,omitempty"`
	Environment string `json:"environment,omitempty"`
	Release     string `json:"release,omitempty"`
	Users       string `json:"users,omitempty"`      // how many, in digits
	Count       string `json:"count,omitempty"`      // of events, in digits
	FirstSeen   string `json:"first_seen,omitempty"` // RFC 3339
	Culprit     string `json:"culprit,omitempty"`
	Frame       string `json:"frame,omitempty"` // the top frame that is the application's own
	Rule        string `json:"rule,omitempty"`  // of an alert
	Details     string `json:"details,omitempty"`
	Test        bool   `json:"test,omitempty"` // somebody tries whether it arrives
}
