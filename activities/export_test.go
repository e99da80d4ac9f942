package activities

// SentryAnswer is what is read of a body, taken for an issue, an event, and a list of events.
func SentryAnswer(body string) (SentryIssue, []SentryEvent) {
	fields, _ := sentryFields([]byte(body))
	return sentryIssueOf(fields), []SentryEvent{sentryEventOf(fields), sentryEventOf(fields.Object("rows.0"))}
}
