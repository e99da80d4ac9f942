package standin

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// GitHub stands in for its REST API, as far as issues need it. Its zero settings are
// those of a token that may write issues, and no more: labels are dropped.
type GitHub struct {
	*Server

	mu     sync.Mutex
	login  string
	token  string
	repos  map[string]*repository
	last   int // id
	lag    int
	limit  int // requests that are left until reset; -1: no limit
	reset  time.Time
	nobody bool
	text   int // bytes that are remembered
}

type repository struct {
	name    string
	off     bool
	issues  []GitHubIssue // by number
	private bool
}

// GitHubIssue is an issue, or a pull request, which GitHub has in the same lists.
type GitHubIssue struct {
	Repo        string
	Number      int
	Title       string
	Body        string
	Author      string
	State       string // open or closed
	Reason      string // why it is closed
	Labels      []string
	Created     time.Time
	PullRequest bool
	Comments    []GitHubComment

	hidden int // lists that do not have it yet
}

// GitHubComment is a comment on an issue.
type GitHubComment struct {
	ID      int
	Author  string
	Body    string
	Created time.Time
	Updated time.Time

	hidden int
}

// What GitHub takes, in characters, and what is remembered.
const (
	maxIssueTitle     = 256
	maxIssueBody      = 65536
	maxGitHubIssues   = 1000     // of a repository
	maxGitHubComments = 2500     // of an issue
	maxGitHubText     = 64 << 20 // of all, in bytes
)

// GitHubLogin is who a stand-in's token belongs to.
const GitHubLogin = "sentry-temporal-bot"

var githubPage = page("github.html")

// StartGitHub starts one with repositories, whose token is given.
func StartGitHub(token string, repos ...string) (*GitHub, error) {
	g := &GitHub{login: GitHubLogin, token: token, repos: map[string]*repository{}, limit: -1}
	for _, name := range repos {
		g.repos[name] = &repository{name: name}
	}
	router := http.NewServeMux()
	router.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { g.show(w, githubPage, "GitHub", g.shown()) })
	const issues = "/repos/{owner}/{repo}/issues"
	for pattern, handle := range map[string]func(*githubCall){
		"GET /user":                               (*githubCall).user,
		"GET /rate_limit":                         (*githubCall).rateLimit,
		"GET /repos/{owner}/{repo}":               (*githubCall).repository,
		"POST " + issues:                          (*githubCall).create,
		"GET " + issues:                           (*githubCall).list,
		"GET " + issues + "/{number}":             (*githubCall).read,
		"PATCH " + issues + "/{number}":           (*githubCall).edit,
		"POST " + issues + "/{number}/comments":   (*githubCall).comment,
		"GET " + issues + "/{number}/comments":    (*githubCall).comments,
		"GET " + issues + "/{number}/{other...}":  (*githubCall).missing,
		"POST " + issues + "/{number}/{other...}": (*githubCall).missing,
	} {
		router.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { g.call(w, r, handle) })
	}
	router.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { g.call(w, r, (*githubCall).missing) })
	var err error
	g.Server, err = start(router)
	return g, err
}

// Issues returns all of a repository, by number.
func (g *GitHub) Issues(repo string) []GitHubIssue {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.repos[repo]
	if r == nil {
		return nil
	}
	issues := slices.Clone(r.issues)
	for i := range issues {
		issues[i].Comments = slices.Clone(issues[i].Comments)
	}
	return issues
}

// Add adds an issue of somebody's to a repository, and returns its number.
func (g *GitHub) Add(issue GitHubIssue) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.repos[issue.Repo].add(issue).Number
}

// AddComment adds a comment of somebody's to an issue.
func (g *GitHub) AddComment(repo string, number int, comment GitHubComment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addComment(&g.repos[repo].issues[number-1], comment)
}

// Lag has lists not have what is created from now on, until they were asked for it so
// often.
func (g *GitHub) Lag(lists int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lag = lists
}

// IssuesOff turns the issues of a repository off.
func (g *GitHub) IssuesOff(repo string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.repos[repo].off = true
}

// OfApp has the token be one of an app's installation, which is no user.
func (g *GitHub) OfApp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nobody, g.login = true, "sentry-temporal[bot]"
}

// Limit has requests beyond n refused until reset.
func (g *GitHub) Limit(n int, reset time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.reset = n, reset
}

// githubCall is a request with a token.
type githubCall struct {
	*GitHub
	w http.ResponseWriter
	r *http.Request
	u url.URL // as the client has it
}

func (g *GitHub) call(w http.ResponseWriter, r *http.Request, handle func(*githubCall)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &githubCall{GitHub: g, w: w, r: r, u: *r.URL}
	c.u.Scheme, c.u.Host = "http", r.Host
	if g.limit >= 0 && time.Now().After(g.reset) {
		g.limit = -1
	}
	left := 5000
	if g.limit >= 0 {
		left = max(g.limit-1, 0)
	}
	w.Header().Set("X-Ratelimit-Limit", "5000")
	w.Header().Set("X-Ratelimit-Remaining", strconv.Itoa(left))
	w.Header().Set("X-Ratelimit-Reset", strconv.FormatInt(g.reset.Unix(), 10))
	switch {
	case r.UserAgent() == "":
		c.refuse(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header")
	case r.Header.Get("Authorization") != "Bearer "+g.token && r.Header.Get("Authorization") != "token "+g.token:
		c.refuse(http.StatusUnauthorized, "Bad credentials")
	case g.limit == 0:
		c.refuse(http.StatusForbidden, "API rate limit exceeded for user ID 1.")
	default:
		if g.limit > 0 {
			g.limit--
		}
		handle(c)
	}
}

func (c *githubCall) refuse(status int, message string, errors ...map[string]string) {
	body := map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}
	if len(errors) > 0 {
		body["errors"] = errors
	}
	answerJSON(c.w, status, body)
}

func (c *githubCall) missing() { c.refuse(http.StatusNotFound, "Not Found") }

func (c *githubCall) user() {
	if c.nobody {
		c.refuse(http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	answerJSON(c.w, http.StatusOK, githubAccount(c.login))
}

func (c *githubCall) rateLimit() {
	answerJSON(c.w, http.StatusOK, map[string]any{"resources": map[string]any{"core": map[string]any{"limit": 5000}}})
}

func githubAccount(login string) map[string]any {
	kind := "User"
	if strings.HasSuffix(login, "[bot]") {
		kind = "Bot"
	}
	return map[string]any{"login": login, "id": len(login), "type": kind}
}

// repo returns the repository of the request, or answers that there is none.
func (c *githubCall) repo() *repository {
	r := c.repos[c.r.PathValue("owner")+"/"+c.r.PathValue("repo")]
	if r == nil {
		c.missing()
	}
	return r
}

// enabled is like repo, but of one with issues.
func (c *githubCall) enabled() *repository {
	r := c.repo()
	if r != nil && r.off {
		c.refuse(http.StatusGone, "Issues has been disabled in this repository.")
		return nil
	}
	return r
}

// issue returns the issue of the request, or answers that there is none.
func (c *githubCall) issue() *GitHubIssue {
	r := c.enabled()
	if r == nil {
		return nil
	}
	number, err := strconv.Atoi(c.r.PathValue("number"))
	if err != nil || number < 1 || number > len(r.issues) {
		c.missing()
		return nil
	}
	return &r.issues[number-1]
}

func (c *githubCall) repository() {
	if r := c.repo(); r != nil {
		answerJSON(c.w, http.StatusOK, map[string]any{
			"full_name": r.name, "has_issues": !r.off, "archived": false, "private": r.private,
			"permissions": map[string]bool{"admin": false, "maintain": false, "push": false, "triage": true, "pull": true},
		})
	}
}

func (c *githubCall) create() {
	r := c.enabled()
	if r == nil {
		return
	}
	var sent struct {
		Title string `json:"title"`
		Body  string `json:"body"`
	}
	if !c.decode(&sent) || !c.valid("Issue", "title", sent.Title, maxIssueTitle, true) || !c.valid("Issue", "body", sent.Body, maxIssueBody, false) {
		return
	}
	if len(r.issues) >= maxGitHubIssues || !c.room(sent.Title+sent.Body) {
		c.refuse(http.StatusForbidden, "The stand-in is full")
		return
	}
	issue := r.add(GitHubIssue{Title: sent.Title, Body: sent.Body, Author: c.login})
	issue.hidden = c.lag
	answerJSON(c.w, http.StatusCreated, c.shape(*issue))
}

func (r *repository) add(issue GitHubIssue) *GitHubIssue {
	issue.Repo, issue.Number, issue.State = r.name, len(r.issues)+1, "open"
	if issue.Created.IsZero() {
		issue.Created = githubTime()
	}
	r.issues = append(r.issues, issue)
	return &r.issues[len(r.issues)-1]
}

func (g *GitHub) addComment(issue *GitHubIssue, comment GitHubComment) GitHubComment {
	g.last++
	comment.ID = g.last
	if comment.Created.IsZero() {
		comment.Created = githubTime()
	}
	if comment.Updated.IsZero() {
		comment.Updated = comment.Created
	}
	issue.Comments = append(issue.Comments, comment)
	return comment
}

// githubTime returns the time in whole seconds, as GitHub has it.
func githubTime() time.Time { return time.Now().UTC().Truncate(time.Second) }

// room takes room for a text, and reports whether there is any left.
func (g *GitHub) room(text string) bool {
	if g.text+len(text) > maxGitHubText {
		return false
	}
	g.text += len(text)
	return true
}

func (c *githubCall) decode(to any) bool {
	if err := json.NewDecoder(c.r.Body).Decode(to); err != nil {
		c.refuse(http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	return true
}

func (c *githubCall) valid(resource, field, value string, limit int, needed bool) bool {
	switch {
	case needed && strings.TrimSpace(value) == "":
		c.refuse(http.StatusUnprocessableEntity, "Validation Failed", map[string]string{"resource": resource, "field": field, "code": "missing_field"})
	case utf8.RuneCountInString(value) > limit:
		c.refuse(http.StatusUnprocessableEntity, "Validation Failed", map[string]string{
			"resource": resource, "field": field, "code": "custom", "message": fmt.Sprintf("%s is too long (maximum is %d characters)", field, limit),
		})
	default:
		return true
	}
	return false
}

func (c *githubCall) read() {
	if issue := c.issue(); issue != nil {
		answerJSON(c.w, http.StatusOK, c.shape(*issue))
	}
}

func (c *githubCall) edit() {
	issue := c.issue()
	if issue == nil {
		return
	}
	var sent struct {
		State  string `json:"state"`
		Reason string `json:"state_reason"`
	}
	if !c.decode(&sent) {
		return
	}
	if sent.State != "" && sent.State != "open" && sent.State != "closed" {
		c.refuse(http.StatusUnprocessableEntity, "Validation Failed", map[string]string{"resource": "Issue", "field": "state", "code": "invalid"})
		return
	}
	if sent.State != "" {
		issue.State, issue.Reason = sent.State, sent.Reason
	}
	answerJSON(c.w, http.StatusOK, c.shape(*issue))
}

func (c *githubCall) comment() {
	issue := c.issue()
	if issue == nil {
		return
	}
	var sent struct {
		Body string `json:"body"`
	}
	if !c.decode(&sent) || !c.valid("IssueComment", "body", sent.Body, maxIssueBody, true) {
		return
	}
	if len(issue.Comments) == maxGitHubComments {
		c.refuse(http.StatusForbidden, "Commenting is disabled on issues with more than 2500 comments")
		return
	}
	if !c.room(sent.Body) {
		c.refuse(http.StatusForbidden, "The stand-in is full")
		return
	}
	comment := c.addComment(issue, GitHubComment{Author: c.login, Body: sent.Body})
	issue.Comments[len(issue.Comments)-1].hidden = c.lag
	answerJSON(c.w, http.StatusCreated, c.shapeComment(*issue, comment))
}

// list answers with issues, and the pull requests among them.
func (c *githubCall) list() {
	r := c.enabled()
	if r == nil {
		return
	}
	query := c.r.URL.Query()
	state := query.Get("state")
	var rows []any
	for i := range r.issues {
		issue := &r.issues[i]
		switch {
		case issue.hidden > 0:
			issue.hidden--
		case state == "all", state == issue.State, state == "" && issue.State == "open":
			rows = append(rows, c.shape(*issue))
		}
	}
	if query.Get("direction") != "asc" {
		slices.Reverse(rows)
	}
	c.paged(rows)
}

func (c *githubCall) comments() {
	issue := c.issue()
	if issue == nil {
		return
	}
	since, _ := time.Parse(time.RFC3339, c.r.URL.Query().Get("since"))
	var rows []any
	for i := range issue.Comments {
		comment := &issue.Comments[i]
		switch {
		case comment.hidden > 0:
			comment.hidden--
		case !comment.Updated.Before(since):
			rows = append(rows, c.shapeComment(*issue, *comment))
		}
	}
	c.paged(rows)
}

// paged answers with a page of rows, and the links to others.
func (c *githubCall) paged(rows []any) {
	query := c.u.Query()
	number := func(name string, otherwise int) int {
		n, err := strconv.Atoi(query.Get(name))
		if err != nil || n < 1 {
			return otherwise
		}
		return n
	}
	size, at := min(number("per_page", 30), 100), number("page", 1)
	last := max((len(rows)+size-1)/size, 1)
	var links []string
	link := func(page int, rel string) {
		query.Set("page", strconv.Itoa(page))
		c.u.RawQuery = query.Encode()
		links = append(links, fmt.Sprintf(`<%s>; rel=%q`, c.u.String(), rel))
	}
	if at > 1 {
		link(at-1, "prev")
	}
	if at < last {
		link(at+1, "next")
		link(last, "last")
	}
	if len(links) > 0 {
		c.w.Header().Set("Link", strings.Join(links, ", "))
	}
	from, to := min((at-1)*size, len(rows)), min(at*size, len(rows))
	answerJSON(c.w, http.StatusOK, append([]any{}, rows[from:to]...))
}

func (c *githubCall) shape(issue GitHubIssue) map[string]any {
	shape := map[string]any{
		"id": 1000 + issue.Number, "number": issue.Number, "title": issue.Title, "body": issue.Body, "state": issue.State, "state_reason": nil,
		"user": githubAccount(issue.Author), "labels": []any{}, "comments": len(issue.Comments), "created_at": issue.Created.Format(time.RFC3339),
		"html_url": c.address(issue),
	}
	if issue.Reason != "" {
		shape["state_reason"] = issue.Reason
	}
	if issue.PullRequest {
		shape["pull_request"] = map[string]any{"html_url": c.address(issue)}
	}
	return shape
}

func (c *githubCall) shapeComment(issue GitHubIssue, comment GitHubComment) map[string]any {
	return map[string]any{
		"id": comment.ID, "body": comment.Body, "user": githubAccount(comment.Author), "created_at": comment.Created.Format(time.RFC3339),
		"html_url": c.address(issue) + "#issuecomment-" + strconv.Itoa(comment.ID),
	}
}

// address is where a person finds an issue: on the stand-in's own page.
func (c *githubCall) address(issue GitHubIssue) string {
	return fmt.Sprintf("http://%s/#%s-%d", c.r.Host, issue.Repo, issue.Number)
}

// shownIssue is an issue as the page has it.
type shownIssue struct {
	GitHubIssue
	HTML   template.HTML
	Thread []shownComment
}

type shownComment struct {
	GitHubComment
	HTML template.HTML
}

func (g *GitHub) shown() []shownIssue {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []shownIssue
	for _, r := range g.repos {
		for _, issue := range r.issues {
			shown := shownIssue{GitHubIssue: issue, HTML: RenderMarkdown(issue.Body).HTML}
			for _, comment := range issue.Comments {
				shown.Thread = append(shown.Thread, shownComment{comment, RenderMarkdown(comment.Body).HTML})
			}
			all = append(all, shown)
		}
	}
	slices.SortFunc(all, func(a, b shownIssue) int { return b.Created.Compare(a.Created) })
	return all
}
