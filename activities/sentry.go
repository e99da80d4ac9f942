package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

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

// What is taken of answers, and what Sentry takes.
const (
	maxTags    = 50
	maxShort   = 300  // bytes, of what is shown within a line
	maxComment = 4000 // characters: Sentry takes a few more
	maxRunLink = 200  // characters
)

// ReadIssue reads an issue, by its number or its short id.
func (*Sentry) ReadIssue(ctx context.Context, ref IssueRef) (SentryIssue, error) {
	api, err := sentryOf(ctx, ref)
	if err != nil {
		return SentryIssue{}, err
	}
	answer, err := api.do(ctx, http.MethodGet, api.issue, readScope, nil)
	if err == nil && answer.ID("id") == "" {
		err = unreadable(http.StatusOK)
	}
	if err != nil {
		return SentryIssue{}, failure(ctx, err, true)
	}
	return sentryIssueOf(answer.Fields), nil
}

// ReadLatestEvent reads the latest event of an issue. Of one that is larger than an answer
// may be it does not read the frames.
func (*Sentry) ReadLatestEvent(ctx context.Context, ref IssueRef) (SentryEvent, error) {
	api, err := sentryOf(ctx, ref)
	if err != nil {
		return SentryEvent{}, err
	}
	answer, err := api.do(ctx, http.MethodGet, api.issue+"events/latest/", readScope, nil)
	event := answer.Fields
	if e, ok := errors.AsType[*outside.Error](err); ok && e.Status == http.StatusOK {
		// With local variables it may have megabytes. The list has the outline of it.
		answer, err = api.do(ctx, http.MethodGet, api.issue+"events/?per_page=1", readScope, nil)
		event = answer.Object("rows.0")
	}
	if err == nil && event.ID("eventID", "id") == "" {
		err = unreadable(http.StatusOK)
	}
	if err != nil {
		return SentryEvent{}, failure(ctx, err, true)
	}
	return sentryEventOf(event), nil
}

// UpdateIssue changes an issue. It may be repeated: an attempt that comes later changes
// back what was changed since.
func (*Sentry) UpdateIssue(ctx context.Context, update IssueUpdate) (SentryIssue, error) {
	api, err := sentryOf(ctx, update.IssueRef)
	if err != nil {
		return SentryIssue{}, err
	}
	change := map[string]string{}
	for field, value := range map[string]string{"status": update.Status, "substatus": update.Substatus, "assignedTo": update.AssignedTo} {
		if value != "" {
			change[field] = value
		}
	}
	if len(change) == 0 {
		return SentryIssue{}, failure(ctx, &outside.Error{Kind: outside.Final, System: sentrySystem, Reason: "there is nothing to change"}, false)
	}
	answer, err := api.do(ctx, http.MethodPut, api.issue, writeScope, change)
	if err != nil {
		return SentryIssue{}, failure(ctx, err, true)
	}
	issue := sentryIssueOf(answer.Fields)
	issue.ID = cmp.Or(issue.ID, update.IssueID)
	return issue, nil
}

// CommentOnIssue writes a comment once, however often it is attempted: Sentry refuses the
// same text within an hour, and an attempt that comes later looks for it first. So a text
// that is there since a moment ago is not written again, whoever has written it. A text of
// more than 4,000 characters is cut.
func (*Sentry) CommentOnIssue(ctx context.Context, comment IssueComment) (Noted, error) {
	api, err := sentryOf(ctx, comment.IssueRef)
	if err != nil {
		return Noted{}, err
	}
	said := strings.TrimSpace(text.Clean(comment.Text)) // as Sentry keeps it
	if characters := []rune(said); len(characters) > maxComment {
		said = strings.TrimSpace(string(characters[:maxComment-1])) + "…"
	}
	info := activity.GetInfo(ctx)
	if info.Attempt > 1 {
		if found, err := api.hasComment(ctx, said, info.ScheduledTime.Add(-5*time.Minute)); found || err != nil {
			return Noted{}, failure(ctx, err, true)
		}
	}
	answer, err := api.do(ctx, http.MethodPost, api.issue+"comments/", writeScope, map[string]string{"text": said})
	e, failed := errors.AsType[*outside.Error](err)
	switch {
	case failed && e.Status == http.StatusBadRequest && strings.Contains(answer.Text("detail"), "already posted"):
		if info.Attempt > 1 {
			return Noted{}, nil
		}
		return Noted{Note: "the same comment was there already"}, nil
	case failed && e.Kind == outside.Maybe:
		e.Retry = max(e.Retry, 2*outside.Timeout) // by then it is there, if it comes
	case err == nil && answer.ID("id") == "":
		err = unreadable(http.StatusOK)
	}
	return Noted{}, failure(ctx, err, true)
}

// LinkRun attaches the page of the run that calls it to an issue: one link an issue,
// the latest. If the address is too long for Sentry it leads to the latest run of the
// workflow ID.
func (*Sentry) LinkRun(ctx context.Context, link RunLink) (Linked, error) {
	api, err := sentryOf(ctx, link.IssueRef)
	if err != nil {
		return Linked{}, err
	}
	number, ok := issueNumber(link.IssueID)
	if !ok {
		return Linked{Skipped: "the issue's id is no number"}, nil
	}
	info := activity.GetInfo(ctx)
	pageOf := func(run string) string {
		return outside.From(ctx).RunURL(link.Integration, info.Namespace, info.WorkflowExecution.ID, run)
	}
	page := pageOf(info.WorkflowExecution.RunID)
	if len(page) > maxRunLink {
		page = pageOf("")
	}
	switch {
	case page == "":
		return Linked{Skipped: "where the Temporal UI is, is not known: TEMPORAL_UI_URL"}, nil
	case len(page) > maxRunLink:
		return Linked{Skipped: fmt.Sprintf("the address of the run's page has %d characters, of which Sentry takes %d", len(page), maxRunLink)}, nil
	case !pathPart.MatchString(link.Installation):
		return Linked{Skipped: "the delivery does not say of which installation it is"}, nil
	}
	answer, err := api.do(ctx, http.MethodPost, "sentry-app-installations/"+link.Installation+"/external-issues/", writeScope, map[string]any{
		"issueId": number, "webUrl": page, "project": "triage", "identifier": text.Cut(cmp.Or(text.Line(link.Identifier), link.IssueID), maxShort),
	})
	if err == nil && answer.ID("id") == "" {
		err = unreadable(http.StatusOK)
	}
	if err != nil {
		return Linked{}, failure(ctx, err, true)
	}
	return Linked{URL: page}, nil
}

// issueNumber reads an id, which can be more than a float holds.
func issueNumber(id string) (uint64, bool) {
	number, err := strconv.ParseUint(id, 10, 63)
	return number, err == nil
}

// sentryAPI is Sentry's API for an issue.
type sentryAPI struct {
	config.SentryAPI
	client *outside.Client
	token  config.Secret
	issue  string // its path
}

const (
	sentrySystem = "Sentry"
	readScope    = "Issue & Event: Read (event:read)"
	writeScope   = "Issue & Event: Read & Write (event:write)"
)

// unreadable says that an answer is none of the API.
func unreadable(status int) error {
	return &outside.Error{Kind: outside.Maybe, System: sentrySystem, Status: status, Reason: "it answers something else than its API does"}
}

func sentryOf(ctx context.Context, ref IssueRef) (sentryAPI, error) {
	systems := outside.From(ctx)
	api, ok := systems.Sentry[ref.Integration]
	if !ok {
		prefix := strings.ToUpper(short(ref.Integration))
		return sentryAPI{}, notConfigured(ctx, prefix+"_API_TOKEN", fmt.Errorf("it is not set, or %s_ORGANIZATION or %s_API_URL is wrong", prefix, prefix))
	}
	token, err := systems.Secret(api.TokenVariable)
	if err != nil {
		return sentryAPI{}, notConfigured(ctx, api.TokenVariable, err)
	}
	if !pathPart.MatchString(ref.IssueID) {
		return sentryAPI{}, failure(ctx, &outside.Error{Kind: outside.Final, System: sentrySystem, Reason: "the issue's id is none"}, false)
	}
	return sentryAPI{api, systems.Client, token, "organizations/" + url.PathEscape(api.Organization) + "/issues/" + ref.IssueID + "/"}, nil
}

// pathPart is an id or a uuid, which is from outside, and leads nowhere else in a path.
var pathPart = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// sentryAnswer is an object that the API answers, or a list, which is its rows.
type sentryAnswer struct {
	sentry.Fields
	next string // the cursor of the list's next page, "" if there is none
}

// do sends a request below /api/0/. The answer is there beside an error, too, if there was
// one. permission is what it takes, as people see it in Sentry.
func (a sentryAPI) do(ctx context.Context, method, path, permission string, body any) (sentryAnswer, error) {
	request := outside.Request{
		System: sentrySystem, Variable: a.TokenVariable, Method: method, URL: a.URL + "/api/0/" + path,
		Header: http.Header{"Authorization": {"Bearer " + a.token.Reveal()}, "User-Agent": {"sentry-temporal"}},
	}
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return sentryAnswer{}, err
		}
		request.Body = encoded
		request.Header.Set("Content-Type", "application/json")
	}
	came, err := a.client.Do(ctx, request)
	fields, ok := sentryFields(came.Body)
	answer := sentryAnswer{fields, nextCursor(came.Header)}
	e, failed := errors.AsType[*outside.Error](err)
	switch {
	case err == nil && !ok:
		return answer, unreadable(came.Status)
	case !failed:
		return answer, err
	case e.Status == http.StatusTooManyRequests && e.Retry == 0:
		e.Retry = untilReset(came.Header)
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		e.Reason += ", whose integration needs " + permission
	case e.Status == http.StatusNotFound:
		e.Reason += fmt.Sprintf(": it is not in the organization %s, or not there any more", a.Organization)
	case e.Kind == outside.Final && ok:
		e.Reason += ": " + outside.Quote(cmp.Or(fields.Text("detail"), string(came.Body)), a.token.Reveal())
	}
	return answer, err
}

// sentryFields returns the object that a body has, or a list as rows; false for anything
// else.
func sentryFields(body []byte) (sentry.Fields, bool) {
	said := string(body)
	if strings.HasPrefix(said, "[") {
		said = `{"rows":` + said + "}"
	}
	return sentry.Body(said).Fields()
}

var nextPage = regexp.MustCompile(`rel="next"; results="true"; cursor="([0-9:]+)"`)

// nextCursor reads the header Link, which leads on even where nothing comes: then results
// is false.
func nextCursor(header http.Header) string {
	if found := nextPage.FindStringSubmatch(header.Get("Link")); found != nil {
		return found[1]
	}
	return ""
}

// untilReset is how long it takes until Sentry counts requests anew, 0 if it does not say.
func untilReset(header http.Header) time.Duration {
	seconds, err := strconv.ParseInt(header.Get("X-Sentry-Rate-Limit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return min(max(time.Until(time.Unix(seconds, 0)), time.Second), time.Hour)
}

// hasComment reports whether the issue has a comment since then.
func (a sentryAPI) hasComment(ctx context.Context, said string, since time.Time) (bool, error) {
	const pages = 10 // that have 100 each
	path := a.issue + "comments/"
	for range pages {
		answer, err := a.do(ctx, http.MethodGet, path, readScope, nil)
		if err != nil {
			return false, err
		}
		for row := range answer.Each("rows") {
			written, err := time.Parse(time.RFC3339, row.Text("dateCreated"))
			switch {
			case err == nil && written.Before(since):
				return false, nil // the newest come first
			case row.Text("data.text") == said:
				return true, nil
			}
		}
		if answer.next == "" {
			break
		}
		path = a.issue + "comments/?cursor=" + url.QueryEscape(answer.next)
	}
	return false, nil
}

func sentryIssueOf(fields sentry.Fields) SentryIssue {
	issue := SentryIssue{
		Issue:     issueOf(fields),
		Substatus: short(fields.Text("substatus")),
		Users:     digits(fields.ID("userCount")),
		Count:     digits(fields.ID("count")),
	}
	// Of a team the name is its slug.
	if fields.Text("assignedTo.type") == "team" {
		issue.Team = short(fields.Text("assignedTo.slug", "assignedTo.name"))
	}
	return issue
}

func sentryEventOf(fields sentry.Fields) SentryEvent {
	event := SentryEvent{
		EventID:     short(fields.ID("eventID", "id")),
		Environment: short(fields.Text("environment")),
		Release:     short(fields.Text("release.version")),
		User:        fields.ID("user.id", "user.email", "user.username", "user.ip_address", "user.name") != "",
	}
	for tag := range fields.Each("tags") {
		key, value := short(tag.Text("key")), short(tag.Text("value"))
		switch key {
		case "":
			continue
		case "environment":
			event.Environment = cmp.Or(event.Environment, value)
		case "release":
			event.Release = cmp.Or(event.Release, value)
		}
		if len(event.Tags) < maxTags {
			event.Tags = append(event.Tags, Tag{key, value})
		}
	}
	event.Frame, event.Suspect = ownFrame(fields)
	return event
}

// ownFrame returns the top frame that is the application's own, and its file: of what was
// raised last, or else of the thread that crashed. Sentry has the latest call last, and
// what was raised last, too.
func ownFrame(event sentry.Fields) (frame, file string) {
	frames := map[string]sentry.Fields{} // the last that is the application's own, by the type of the entry
	note := func(kind string, calls iter.Seq[sentry.Fields]) {
		for call := range calls {
			if call.True("inApp") {
				frames[kind] = call
			}
		}
	}
	for entry := range event.Each("entries") {
		switch kind := entry.Text("type"); kind {
		case "exception":
			for raised := range entry.Each("data.values") {
				note(kind, raised.Each("stacktrace.frames"))
			}
		case "threads":
			for thread := range entry.Each("data.values") {
				if thread.True("crashed") {
					note(kind, thread.Each("stacktrace.frames"))
				}
			}
		case "stacktrace":
			note(kind, entry.Each("data.frames"))
		}
	}
	for _, kind := range []string{"exception", "threads", "stacktrace"} {
		call, ok := frames[kind]
		if !ok {
			continue
		}
		file = short(call.Text("filename", "absPath", "module"))
		frame = file
		if line := digits(call.ID("lineNo")); line != "" && file != "" {
			frame += ":" + line
		}
		if function := short(call.Text("function", "rawFunction")); function != "" {
			frame = strings.TrimSpace(frame + " in " + function)
		}
		return frame, file
	}
	return "", ""
}

// short returns a text as one bounded line.
func short(s string) string { return text.Line(text.Cut(s, maxShort)) }

// digits returns a number that is written in digits alone.
func digits(s string) string {
	if len(s) > 20 || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return ""
	}
	return s
}
