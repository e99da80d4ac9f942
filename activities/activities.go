package activities

// All holds every activity: the worker registers them. A function is itself an
// activity, of a pointer to a struct each exported method is one.
var All = []any{
	ParseIssue,
	ParseComment,
	ParseError,
	ParseAlert,
	Decide,
	&Sentry{},
	&Slack{},
	&PagerDuty{},
	&GitHub{},
	&Webhook{},
}
