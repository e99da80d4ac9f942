package activities

import "context"

// Sentry reads and changes issues by Sentry's API. Its zero value is ready.
type Sentry struct{}

// IssueRef names an issue.
type IssueRef struct {
	Integration string `json:"integration"`
	IssueID     string `json:"issue_id"`
}

// SentryIssue is what Sentry says of an issue now. What is not known is empty.
type SentryIssue struct {
	Issue
	Substatus string `json:"substatus,omitempty"` // as in new, regressed, ongoing, escalating
	Team      string `json:"team,omitempty"`      // slug, if it is assigned to a team
	Users     string `json:"users,omitempty"`     // in digits
	Count     string `json:"count,omitempty"`     // of events, in digits
}

// SentryEvent is what Sentry says of an issue's latest event. What is not known is empty.
type SentryEvent struct {
	EventID     string `json:"event_id"`
	Environment string `json:"environment,omitempty"`
	Release     string `json:"release,omitempty"`
	User        bool   `json:"user,omitempty"`    // it happened to somebody
	Frame       string `json:"frame,omitempty"`   // the top frame that is the application's own: file:line in function
	Suspect     string `json:"suspect,omitempty"` // the file of it
	Tags        []Tag  `json:"tags,omitempty"`
}

// Tag is a tag of an event.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// IssueUpdate changes an issue. What is empty stays as it is.
type IssueUpdate struct {
	IssueRef
	Status     string `json:"status,omitempty"`
	Substatus  string `json:"substatus,omitempty"`
	AssignedTo string `json:"assigned_to,omitempty"` // as in team:42 or user:7
}

// IssueComment is a comment to write.
type IssueComment struct {
	IssueRef
	Text string `json:"text"`
}

// RunLink is a link to the run that attaches it.
type RunLink struct {
	IssueRef
	Installation string `json:"installation"` // uuid
	Identifier   string `json:"identifier"`   // what the link is called, as in BACKEND-1A
}

// Linked is the link on the issue.
type Linked struct {
	URL     string `json:"url,omitempty"`
	Skipped string `json:"skipped,omitempty"` // why there is none
}

// ReadIssue reads an issue.
func (*Sentry) ReadIssue(ctx context.Context, ref IssueRef) (SentryIssue, error) {
	return SentryIssue{}, errMissing
}

// ReadLatestEvent reads the latest event of an issue.
func (*Sentry) ReadLatestEvent(ctx context.Context, ref IssueRef) (SentryEvent, error) {
	return SentryEvent{}, errMissing
}

// UpdateIssue changes an issue.
func (*Sentry) UpdateIssue(ctx context.Context, update IssueUpdate) (SentryIssue, error) {
	return SentryIssue{}, errMissing
}

// CommentOnIssue writes a comment once, however often it is attempted.
func (*Sentry) CommentOnIssue(ctx context.Context, comment IssueComment) (Noted, error) {
	return Noted{}, errMissing
}

// LinkRun attaches the page of the run that calls it to an issue: one link an issue,
// the latest.
func (*Sentry) LinkRun(ctx context.Context, link RunLink) (Linked, error) {
	return Linked{}, errMissing
}
