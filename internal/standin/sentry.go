package standin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// The scopes of a token that the stand-in knows.
const (
	ScopeEventRead  = "event:read"
	ScopeEventWrite = "event:write"
	ScopeOrgRead    = "org:read"
)

const (
	maxIssues     = 1000
	maxComments   = 1000 // of an issue
	maxLinks      = 100  // of an issue
	maxCommentLen = 4096
	maxLinkLen    = 200
	pageSize      = 100
	sentryApp     = "triage"
)

// Sentry stands in for Sentry's API: issues, their latest events, comments, links. It
// knows the issues that it is given by [Sentry.Seed].
type Sentry struct {
	*Server
	// Invent has an issue that is asked for by its number, and is not known, made up, and
	// any installation be one.
	Invent bool
	// Unseen, if it is set, returns a delivery about an issue that is asked for by its
	// number, and is not known, and its latest event; a delivery of nil has it made up.
	Unseen func(id string) ([]byte, Event)
	// Rate is how many requests of a kind it takes in a second: 40.
	Rate int
	// Repeats is how long the same comment is refused: an hour.
	Repeats time.Duration
	// Teams are the slugs of teams, by id, that an issue can be assigned to.
	Teams map[string]string

	organization, token string
	scopes              []string

	mu            sync.Mutex
	issues        []*sentryIssue // the oldest first
	installations map[string]bool
	nextID        int64
	second        int64 // that asked counts
	asked         map[string]int
}

// Event is the latest event of an issue. What is empty is not in it.
type Event struct {
	Environment, Release, User string
	File, Function             string // of the top frame that is the application's own
	Line                       int
	Tags                       map[string]string // besides environment, level and release
}

// SentryComment is a comment on an issue.
type SentryComment struct {
	ID   string
	Text string
	Time time.Time
}

// SentryLink is a link on an issue, as an installation has set it last.
type SentryLink struct {
	ID           string
	Installation string
	Name, URL    string
	Times        int // that it was set
}

// SentryState is an issue as it is now.
type SentryState struct {
	ID, ShortID, Title, Level, Project, URL string
	Status, Substatus, AssignedTo           string
	Changes                                 int // requests after which it was another
	Comments                                []SentryComment
	Links                                   []SentryLink
}

type sentryIssue struct {
	SentryState
	fields map[string]any // as the API gives them out
	event  Event
	id     string // of the event
}

// StartSentry starts one that has an organization, and takes a token with scopes.
func StartSentry(organization, token string, scopes ...string) (*Sentry, error) {
	s := &Sentry{Rate: 40, Repeats: time.Hour, organization: organization, token: token, scopes: scopes, installations: map[string]bool{}, nextID: 1_000_000, asked: map[string]int{}}
	router := http.NewServeMux()
	const organizations = "/api/0/organizations/{org}/"
	for pattern, handler := range map[string]struct {
		scopes []string // one of them is needed
		handle func(*http.Request) (int, any)
	}{
		"GET /api/0/{$}":                                      {s.scopes, s.index},
		"GET " + organizations + "{$}":                        {[]string{ScopeOrgRead}, s.readOrganization},
		"GET " + organizations + "issues/{$}":                 {canRead, s.list},
		"GET " + organizations + "issues/{id}/{$}":            {canRead, s.onIssue(s.readIssue)},
		"PUT " + organizations + "issues/{id}/{$}":            {canWrite, s.onIssue(s.update)},
		"GET " + organizations + "issues/{id}/events/{$}":     {canRead, s.onIssue(s.listEvents)},
		"GET " + organizations + "issues/{id}/events/{e}/{$}": {canRead, s.onIssue(s.readEvent)},
		"GET " + organizations + "issues/{id}/comments/{$}":   {canRead, s.onIssue(s.listComments)},
		"GET " + organizations + "issues/{id}/notes/{$}":      {canRead, s.onIssue(s.listComments)},
		// Whoever may read an issue in Sentry may comment on it there; by the API it takes more.
		"POST " + organizations + "issues/{id}/comments/{$}":                       {canWrite, s.onIssue(s.comment)},
		"POST " + organizations + "issues/{id}/notes/{$}":                          {canWrite, s.onIssue(s.comment)},
		"GET " + organizations + "issues/{id}/activities/{$}":                      {canRead, s.onIssue(s.listActivities)},
		"GET " + organizations + "issues/{id}/external-issues/{$}":                 {canRead, s.onIssue(s.listLinks)},
		"POST /api/0/sentry-app-installations/{uuid}/external-issues/{$}":          {canWrite, s.link},
		"DELETE /api/0/sentry-app-installations/{uuid}/external-issues/{link}/{$}": {canWrite, s.unlink},
	} {
		router.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, pattern, handler.scopes, handler.handle) })
	}
	router.HandleFunc("GET /{$}", s.page)
	router.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusNotFound, notThere) })
	var err error
	s.Server, err = start(router)
	return s, err
}

var (
	canRead  = append([]string{ScopeEventRead}, canWrite...)
	canWrite = []string{ScopeEventWrite, "event:admin"}
)

// index tells what the token may do.
func (s *Sentry) index(*http.Request) (int, any) {
	return http.StatusOK, map[string]any{"version": "0", "auth": map[string]any{"scopes": s.scopes}, "user": nil}
}

// detail is the body of most errors.
func detail(text string) any { return map[string]string{"detail": text} }

var notThere = detail("The requested resource does not exist")

// serve answers what comes to the API: rate, token, scope, and what the handler says.
func (s *Sentry) serve(w http.ResponseWriter, r *http.Request, pattern string, scopes []string, handle func(*http.Request) (int, any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.rate(pattern)
	reset := strconv.FormatInt(s.second+1, 10)
	for name, value := range map[string]string{
		"Limit": strconv.Itoa(s.Rate), "Remaining": strconv.Itoa(max(left, 0)), "Reset": reset, "Concurrentlimit": "25", "Concurrentremaining": "24",
	} {
		w.Header().Set("X-Sentry-Rate-Limit-"+name, value)
	}
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	org := r.PathValue("org")
	switch {
	case left < 0:
		writeJSON(w, http.StatusTooManyRequests, detail(fmt.Sprintf("You are attempting to use this endpoint too frequently. Limit is %d requests in 1 seconds", s.Rate)))
	case !isBearer:
		writeJSON(w, http.StatusUnauthorized, detail("Authentication credentials were not provided."))
	case token != s.token:
		writeJSON(w, http.StatusUnauthorized, detail("Invalid token"))
	case org != "" && org != s.organization:
		writeJSON(w, http.StatusNotFound, notThere)
	case !slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(s.scopes, scope) }):
		writeJSON(w, http.StatusForbidden, detail("You do not have permission to perform this action."))
	default:
		status, body := handle(r)
		if page, ok := body.(resultPage); ok {
			w.Header().Set("Link", page.links(s.URL, r.URL))
			body = page.rows
		}
		writeJSON(w, status, body)
	}
}

// rate counts a request, and returns how many are left in this second.
func (s *Sentry) rate(pattern string) int {
	if now := time.Now().Unix(); now != s.second {
		s.second = now
		clear(s.asked)
	}
	s.asked[pattern]++
	return s.Rate - s.asked[pattern]
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		_ = json.NewEncoder(w).Encode(body) // the client may be gone
	}
}

// onIssue finds the issue of a request by its id or short id.
func (s *Sentry) onIssue(handle func(*http.Request, *sentryIssue) (int, any)) func(*http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		issue := s.findOrInvent(r.PathValue("id"))
		if issue == nil {
			return http.StatusNotFound, notThere
		}
		return handle(r, issue)
	}
}

func (s *Sentry) find(id string) *sentryIssue {
	for _, issue := range s.issues {
		if issue.ID == id || issue.ShortID != "" && strings.EqualFold(issue.ShortID, id) {
			return issue
		}
	}
	return nil
}

func (s *Sentry) findOrInvent(id string) *sentryIssue {
	issue := s.find(id)
	if _, err := strconv.ParseUint(id, 10, 63); issue != nil || !s.Invent || err != nil {
		return issue
	}
	if s.Unseen != nil {
		if delivery, event := s.Unseen(id); delivery != nil {
			if known, err := s.seed(delivery, event); err == nil {
				return s.find(known)
			}
		}
	}
	return s.add(map[string]any{
		"id": id, "shortId": "MADE-UP-" + id, "title": "An issue that this stand-in has made up", "level": "error", "status": "unresolved", "substatus": "ongoing",
		"project": map[string]any{"slug": "backend"}, "count": "1", "userCount": json.Number("1"),
	}, Event{Environment: "production"})
}

// Seed gives it the issue that a delivery is about, and an event, which is the latest of
// the issue. It returns the issue's id.
func (s *Sentry) Seed(delivery []byte, event Event) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seed(delivery, event)
}

func (s *Sentry) seed(delivery []byte, event Event) (string, error) {
	var body struct {
		Installation struct {
			UUID string `json:"uuid"`
		} `json:"installation"`
		Data struct {
			Issue   map[string]any `json:"issue"`
			Error   map[string]any `json:"error"`
			Event   map[string]any `json:"event"`
			ID      any            `json:"issue_id"`
			Project string         `json:"project_slug"`
		} `json:"data"`
	}
	decoder := json.NewDecoder(bytes.NewReader(delivery))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil {
		return "", fmt.Errorf("read the delivery: %w", err)
	}
	fields := body.Data.Issue
	if fields == nil {
		of := body.Data.Error
		if of == nil {
			of = body.Data.Event
		}
		fields = map[string]any{
			"id": cmp.Or(textOf(of["issue_id"]), textOf(body.Data.ID)), "title": textOf(of["title"]), "culprit": textOf(of["culprit"]),
			"level": cmp.Or(textOf(of["level"]), "error"), "permalink": textOf(of["web_url"]), "status": "unresolved", "substatus": "ongoing",
			"project": map[string]any{"slug": cmp.Or(body.Data.Project, "backend")}, "count": "1", "userCount": json.Number("1"),
		}
	}
	id := textOf(fields["id"])
	if id == "" {
		return "", errors.New("the delivery is about no issue")
	}
	if body.Installation.UUID != "" {
		s.installations[body.Installation.UUID] = true
	}
	if known := s.find(id); known != nil {
		known.event, known.id = event, eventID(s.number())
		return id, nil
	}
	s.add(fields, event)
	return id, nil
}

func (s *Sentry) add(fields map[string]any, event Event) *sentryIssue {
	project, _ := fields["project"].(map[string]any)
	issue := &sentryIssue{fields: fields, event: event, id: eventID(s.number()), SentryState: SentryState{
		ID: textOf(fields["id"]), ShortID: textOf(fields["shortId"]), Title: textOf(fields["title"]), Level: textOf(fields["level"]),
		Project: textOf(project["slug"]), URL: cmp.Or(textOf(fields["web_url"]), textOf(fields["permalink"])),
		Status: textOf(fields["status"]), Substatus: textOf(fields["substatus"]),
	}}
	if assignee, ok := fields["assignedTo"].(map[string]any); ok {
		issue.AssignedTo = textOf(assignee["type"]) + ":" + textOf(assignee["id"])
	}
	if s.issues = append(s.issues, issue); len(s.issues) > maxIssues {
		s.issues = s.issues[1:]
	}
	return issue
}

func (s *Sentry) number() int64 { s.nextID++; return s.nextID }

func eventID(number int64) string { return fmt.Sprintf("%032x", number) }

func textOf(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	}
	return ""
}

// Issue returns an issue, false if it is not known.
func (s *Sentry) Issue(id string) (SentryState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, issue := range s.issues {
		if issue.ID == id {
			return issue.state(), true
		}
	}
	return SentryState{}, false
}

// Issues returns all issues, the oldest first.
func (s *Sentry) Issues() []SentryState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]SentryState, len(s.issues))
	for i, issue := range s.issues {
		states[i] = issue.state()
	}
	return states
}

func (i *sentryIssue) state() SentryState {
	state := i.SentryState
	state.Comments, state.Links = slices.Clone(i.Comments), slices.Clone(i.Links)
	return state
}

func (s *Sentry) readOrganization(*http.Request) (int, any) {
	return http.StatusOK, map[string]any{"id": "1", "slug": s.organization, "name": s.organization, "status": map[string]string{"id": "active"}}
}

func (*Sentry) readIssue(_ *http.Request, issue *sentryIssue) (int, any) {
	return http.StatusOK, issue.fields
}

// list answers what is asked for by project; of a query it knows is:<status> alone.
func (s *Sentry) list(r *http.Request) (int, any) {
	query := r.URL.Query()
	if !query.Has("query") {
		query.Set("query", "is:unresolved")
	}
	status, _ := strings.CutPrefix(query.Get("query"), "is:")
	var rows []any
	for _, issue := range slices.Backward(s.issues) {
		if status != "" && status != issue.Status || query.Has("project") && query.Get("project") != issue.Project {
			continue
		}
		rows = append(rows, issue.fields)
	}
	return paginate(r, rows, "limit")
}

func (s *Sentry) update(r *http.Request, issue *sentryIssue) (int, any) {
	var change struct {
		Status     *string `json:"status"`
		Substatus  *string `json:"substatus"`
		AssignedTo *string `json:"assignedTo"`
		Priority   *string `json:"priority"`
	}
	if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
		return http.StatusBadRequest, detail("JSON parse error - " + err.Error())
	}
	choices := map[string][]string{
		"status": {"resolved", "unresolved", "ignored", "resolvedInNextRelease"},
		"substatus": {
			"archived_until_escalating", "archived_until_condition_met", "archived_forever", "escalating", "ongoing", "regressed", "new",
		},
		"priority": {"low", "medium", "high"},
	}
	for field, value := range map[string]*string{"status": change.Status, "substatus": change.Substatus, "priority": change.Priority} {
		if value != nil && !slices.Contains(choices[field], *value) {
			return http.StatusBadRequest, map[string][]string{field: {fmt.Sprintf("%q is not a valid choice.", *value)}}
		}
	}
	assignee := any(nil)
	if change.AssignedTo != nil && *change.AssignedTo != "" {
		kind, id, _ := strings.Cut(*change.AssignedTo, ":")
		name := map[string]string{"team": s.Teams[id], "user": "User " + id}[kind]
		if _, err := strconv.ParseUint(id, 10, 63); err != nil || name == "" {
			return http.StatusBadRequest, map[string][]string{"assignedTo": {"Unknown actor input"}}
		}
		assignee = map[string]any{"type": kind, "id": id, "name": name}
	}
	before := issue.SentryState
	set := func(field string, to *string, value *string) {
		if value == nil {
			return
		}
		issue.fields[field] = *value
		if to != nil {
			*to = *value
		}
	}
	if change.Status != nil && *change.Status != issue.Status && change.Substatus == nil {
		issue.fields["substatus"], issue.Substatus = nil, "" // goes with the status
	}
	set("status", &issue.Status, change.Status)
	set("substatus", &issue.Substatus, change.Substatus)
	set("priority", nil, change.Priority)
	if change.AssignedTo != nil {
		issue.fields["assignedTo"], issue.AssignedTo = assignee, *change.AssignedTo
	}
	if before.Status != issue.Status || before.Substatus != issue.Substatus || before.AssignedTo != issue.AssignedTo {
		issue.Changes++
	}
	return http.StatusOK, issue.fields
}

func (*Sentry) listEvents(r *http.Request, issue *sentryIssue) (int, any) {
	return paginate(r, []any{issue.simpleEvent()}, "per_page")
}

func (*Sentry) readEvent(r *http.Request, issue *sentryIssue) (int, any) {
	if which := r.PathValue("e"); !slices.Contains([]string{"latest", "oldest", "recommended", issue.id}, which) {
		return http.StatusNotFound, detail("No matching event")
	}
	event := issue.simpleEvent()
	entries := []any{}
	if issue.event.File != "" {
		frame := func(file, function string, line int, own bool) any {
			return map[string]any{"filename": file, "absPath": "/app/" + file, "module": nil, "function": function, "lineNo": line, "colNo": nil, "inApp": own}
		}
		entries = append(entries, map[string]any{"type": "exception", "data": map[string]any{"values": []any{map[string]any{
			"type": issue.Title, "value": issue.Title,
			// As in Sentry, the call that failed comes last.
			"stacktrace": map[string]any{"frames": []any{
				frame("wsgi/handler.py", "__call__", 80, false), frame(issue.event.File, issue.event.Function, issue.event.Line, true), frame("framework/db.py", "execute", 412, false),
			}},
		}}}})
	}
	event["entries"] = entries
	event["release"] = nil
	if issue.event.Release != "" {
		event["release"] = map[string]any{"version": issue.event.Release}
	}
	return http.StatusOK, event
}

// simpleEvent is an event as lists have it.
func (i *sentryIssue) simpleEvent() map[string]any {
	tags := []any{}
	values := map[string]string{"environment": i.event.Environment, "level": i.Level, "release": i.event.Release}
	maps.Copy(values, i.event.Tags)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if values[key] != "" {
			tags = append(tags, map[string]string{"key": key, "value": values[key]})
		}
	}
	event := map[string]any{
		"id": i.id, "eventID": i.id, "groupID": i.ID, "title": i.Title, "message": i.Title, "culprit": i.fields["culprit"], "platform": i.fields["platform"],
		"tags": tags, "user": nil, "dateCreated": i.fields["lastSeen"],
	}
	if i.event.User != "" {
		event["user"] = map[string]any{"id": i.event.User, "email": nil, "username": nil, "ip_address": nil}
	}
	return event
}

func (c SentryComment) json() map[string]any {
	return map[string]any{
		"id": c.ID, "type": "note", "data": map[string]string{"text": c.Text}, "dateCreated": c.Time.UTC().Format(time.RFC3339Nano),
		"user": map[string]any{"id": "3120999", "name": sentryApp}, "sentry_app": map[string]string{"name": sentryApp},
	}
}

func (*Sentry) listComments(r *http.Request, issue *sentryIssue) (int, any) {
	rows := []any{}
	for _, comment := range slices.Backward(issue.Comments) {
		rows = append(rows, comment.json())
	}
	return paginate(r, rows, "per_page")
}

func (*Sentry) listActivities(_ *http.Request, issue *sentryIssue) (int, any) {
	rows := []any{}
	for _, comment := range slices.Backward(issue.Comments) {
		rows = append(rows, comment.json())
	}
	return http.StatusOK, map[string]any{"activity": rows}
}

func (s *Sentry) comment(r *http.Request, issue *sentryIssue) (int, any) {
	var comment struct {
		Text *string `json:"text"`
	}
	if err := json.NewDecoder(r.Body).Decode(&comment); err != nil {
		return http.StatusBadRequest, detail("JSON parse error - " + err.Error())
	}
	wrong := ""
	text := ""
	switch {
	case comment.Text == nil:
		wrong = "This field is required."
	case strings.Contains(*comment.Text, "\x00"):
		wrong = "Null characters are not allowed."
	default:
		if text = strings.TrimSpace(*comment.Text); text == "" {
			wrong = "This field may not be blank."
		} else if utf8.RuneCountInString(text) > maxCommentLen {
			wrong = fmt.Sprintf("Ensure this field has no more than %d characters.", maxCommentLen)
		}
	}
	if wrong != "" {
		return http.StatusBadRequest, map[string][]string{"text": {wrong}}
	}
	for _, c := range issue.Comments {
		if c.Text == text && time.Since(c.Time) < s.Repeats {
			return http.StatusBadRequest, detail("You have already posted that comment.")
		}
	}
	written := SentryComment{ID: strconv.FormatInt(s.number(), 10), Text: text, Time: time.Now()}
	if issue.Comments = append(issue.Comments, written); len(issue.Comments) > maxComments {
		issue.Comments = issue.Comments[1:]
	}
	return http.StatusCreated, written.json()
}

var webURL = regexp.MustCompile(`^https?://[^\s]+$`)

func (s *Sentry) link(r *http.Request) (int, any) {
	uuid := r.PathValue("uuid")
	if !s.installations[uuid] && !s.Invent {
		return http.StatusNotFound, notThere
	}
	var link struct {
		IssueID    json.RawMessage `json:"issueId"` // as json.Number it could be a string, too
		WebURL     string          `json:"webUrl"`
		Project    string          `json:"project"`
		Identifier string          `json:"identifier"`
	}
	if err := json.NewDecoder(r.Body).Decode(&link); err != nil {
		return http.StatusBadRequest, detail("JSON parse error - " + err.Error())
	}
	if _, err := strconv.ParseUint(string(link.IssueID), 10, 63); err != nil {
		return http.StatusBadRequest, detail("issueId is required, and must be an integer")
	}
	issue := s.findOrInvent(string(link.IssueID))
	if issue == nil {
		return http.StatusNotFound, detail("Could not find issue from given groupId")
	}
	wrong := map[string][]string{}
	if !webURL.MatchString(link.WebURL) {
		wrong["webUrl"] = []string{"URL must start with http[s]://"}
	} else if len(link.WebURL) > maxLinkLen {
		wrong["webUrl"] = []string{fmt.Sprintf("Ensure this field has no more than %d characters.", maxLinkLen)}
	}
	for field, value := range map[string]string{"project": link.Project, "identifier": link.Identifier} {
		if strings.TrimSpace(value) == "" {
			wrong[field] = []string{"This field may not be blank."}
		}
	}
	if len(wrong) > 0 {
		return http.StatusBadRequest, wrong
	}
	found := slices.IndexFunc(issue.Links, func(l SentryLink) bool { return l.Installation == uuid })
	if found < 0 {
		if len(issue.Links) == maxLinks {
			issue.Links = issue.Links[1:]
		}
		found = len(issue.Links)
		issue.Links = append(issue.Links, SentryLink{ID: strconv.FormatInt(s.number(), 10), Installation: uuid})
	}
	set := &issue.Links[found]
	set.Name, set.URL = link.Project+"#"+link.Identifier, link.WebURL
	set.Times++
	return http.StatusOK, set.json(issue)
}

func (l SentryLink) json(issue *sentryIssue) map[string]any {
	return map[string]any{"id": l.ID, "issueId": issue.ID, "serviceType": sentryApp, "displayName": l.Name, "webUrl": l.URL}
}

func (*Sentry) listLinks(_ *http.Request, issue *sentryIssue) (int, any) {
	rows := []any{}
	for _, link := range issue.Links {
		rows = append(rows, link.json(issue))
	}
	return http.StatusOK, rows
}

func (s *Sentry) unlink(r *http.Request) (int, any) {
	for _, issue := range s.issues {
		for i, link := range issue.Links {
			if link.Installation == r.PathValue("uuid") && link.ID == r.PathValue("link") {
				issue.Links = slices.Delete(issue.Links, i, i+1)
				return http.StatusNoContent, nil
			}
		}
	}
	return http.StatusNotFound, notThere
}

// resultPage is a part of a list, with a header that leads to the others.
type resultPage struct {
	rows             []any
	from, size, rest int
}

// paginate returns the page that a request is for.
func paginate(r *http.Request, rows []any, sizeName string) (int, any) {
	size := pageSize
	if asked := r.URL.Query().Get(sizeName); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 1 || n > pageSize {
			return http.StatusBadRequest, detail("Invalid per_page value. Must be between 1 and 100.")
		}
		size = n
	}
	from := 0
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		parts := strings.Split(cursor, ":")
		n, err := strconv.Atoi(parts[min(1, len(parts)-1)])
		if err != nil || len(parts) != 3 || n < 0 {
			return http.StatusBadRequest, detail("Invalid cursor parameter.")
		}
		from = min(n*size, len(rows))
	}
	page := rows[from:min(from+size, len(rows))]
	return http.StatusOK, resultPage{append([]any{}, page...), from, size, len(rows) - from - len(page)}
}

// links is the header: both are always there, and results says what is behind them.
func (p resultPage) links(base string, asked *url.URL) string {
	one := func(rel string, page int, results bool) string {
		query := asked.Query()
		cursor := fmt.Sprintf("0:%d:%d", max(page, 0), map[bool]int{true: 1}[rel == "previous"])
		query.Set("cursor", cursor)
		return fmt.Sprintf("<%s%s?%s>; rel=%q; results=\"%t\"; cursor=%q", base, asked.Path, query.Encode(), rel, results, cursor)
	}
	at := p.from / p.size
	return one("previous", at-1, p.from > 0) + ", " + one("next", at+1, p.rest > 0)
}

var sentryPage = page("sentry.html")

// page shows the issues as people would see them in Sentry, the newest first.
func (s *Sentry) page(w http.ResponseWriter, _ *http.Request) {
	issues := s.Issues()
	slices.Reverse(issues)
	s.show(w, sentryPage, "Sentry", issues)
}
