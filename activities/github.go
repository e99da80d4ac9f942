package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/text"
)

// GitHub keeps tickets. Its zero value is ready.
type GitHub struct{}

// Ticket is an issue to create.
type Ticket struct {
	Repo string `json:"repo"` // as in acme/pay
	Key  string `json:"key"`  // see EffectKey
	Card Card   `json:"card"`
}

// TicketRef names an issue.
type TicketRef struct {
	Repo   string `json:"repo"`
	Number int    `json:"number"`
}

// TicketComment is a comment to write.
type TicketComment struct {
	Repo   string `json:"repo"`
	Number int    `json:"number"`
	Key    string `json:"key"`
	Text   string `json:"text"`
}

// Ticketed is an issue that is there.
type Ticketed struct {
	Number int    `json:"number"`
	URL    string `json:"url,omitempty"`
	Note   string `json:"note,omitempty"`
}

// GitHub has no key that makes a request one however often it is sent. So what we write
// carries ours, and an attempt after the first looks for it before it writes. Its lists may
// lag: the first look is firstLook after an attempt whose outcome is not known, and only if
// the second, secondLook later, finds nothing either, it is written again. Two may come of
// it if the lists lag longer. Whoever sees two issues keeps the one with the lowest number
// and closes the others.
const (
	firstLook  = 10 * time.Second
	secondLook = 30 * time.Second
	// Nothing was written before the first attempt by our clock. GitHub's may go differently.
	clockSkew = 5 * time.Minute
	// Of an answer that says no so many errors are told at most.
	maxErrors = 10
	// A look reads so many pages of 100 at most.
	maxPages = 30
)

// CreateTicket creates an issue once, however often it is attempted.
func (*GitHub) CreateTicket(ctx context.Context, ticket Ticket) (Ticketed, error) {
	hub, err := newGitHub(ctx, ticket.Repo, ticket.Key)
	if err != nil {
		return Ticketed{}, err
	}
	body := map[string]string{"title": ticketTitle(ticket.Card), "body": ticketBody(ticket, runPage(ctx, ticket.Card.Integration))}
	list := githubList{"/issues?state=all&sort=created&direction=desc", true}
	return hub.once(ticket.Key, list, "/issues", body, hub.keepFirst)
}

// CommentOnTicket writes a comment once, however often it is attempted.
func (*GitHub) CommentOnTicket(ctx context.Context, comment TicketComment) (Ticketed, error) {
	hub, err := newGitHub(ctx, comment.Repo, comment.Key)
	if err != nil {
		return Ticketed{}, err
	}
	if comment.Number < 1 {
		return Ticketed{}, mistaken("GitHub: a ticket has a number")
	}
	path := "/issues/" + strconv.Itoa(comment.Number) + "/comments"
	body := map[string]string{"body": marker(comment.Key) + "\n" + escapeMarkdown(text.Cut(comment.Text, maxTicketText)) + "\n"}
	list := githubList{path + "?since=" + hub.since.UTC().Format(time.RFC3339), false}
	return hub.once(comment.Key, list, path, body, func(found []githubItem) Ticketed {
		t := Ticketed{Number: comment.Number, URL: webPage(found[0].URL)}
		if len(found) > 1 {
			t.Note = "the comment is there twice"
		}
		return t
	})
}

// CloseTicket closes an issue, which may be closed already.
func (*GitHub) CloseTicket(ctx context.Context, ref TicketRef) (Ticketed, error) {
	hub, err := newGitHub(ctx, ref.Repo, "none")
	if err != nil {
		return Ticketed{}, err
	}
	if ref.Number < 1 {
		return Ticketed{}, mistaken("GitHub: a ticket has a number")
	}
	issue, err := hub.close(ref.Number, "completed")
	return issue, failure(ctx, err, true)
}

// gitHub is a repository, for one attempt.
type gitHub struct {
	ctx     context.Context //nolint:containedctx // of the attempt
	systems *outside.Systems
	token   config.Secret
	repo    string
	attempt int32
	since   time.Time // nothing of the attempts is older
}

// githubItem is what an issue, a pull request or a comment has.
type githubItem struct {
	ID      int64     `json:"id"`
	Number  int       `json:"number"` // not of a comment
	URL     string    `json:"html_url"`
	Body    string    `json:"body"`
	State   string    `json:"state"`
	Created time.Time `json:"created_at"`
	User    struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"user"`
	PullRequest json.RawMessage `json:"pull_request"`
}

// githubList is where items are found that were written since the first attempt.
type githubList struct {
	path        string // with a query
	newestFirst bool   // by when they were created
}

var ticketKey = regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`) // cannot end a comment of HTML

func newGitHub(ctx context.Context, repo, key string) (*gitHub, error) {
	if !config.IsRepository(repo) {
		return nil, mistaken("GitHub: a repository is named as in acme/pay")
	}
	if !ticketKey.MatchString(key) {
		return nil, mistaken("GitHub: a key has 1 to 255 letters and digits")
	}
	hub := &gitHub{ctx: ctx, systems: outside.From(ctx), repo: repo, attempt: 1, since: time.Now().Add(-clockSkew)}
	if activity.IsActivity(ctx) {
		info := activity.GetInfo(ctx)
		hub.attempt, hub.since = info.Attempt, info.ScheduledTime.Add(-clockSkew)
	}
	var err error
	if hub.token, err = hub.systems.Secret(config.GitHubToken); err != nil {
		return nil, notConfigured(ctx, config.GitHubToken, err)
	}
	return hub, nil
}

// once has something written once, over all attempts: body, by a POST to path. The list is
// where it is looked for, by its key. settle says what has come of what was found, which is
// one or more, in the order of their IDs.
func (g *gitHub) once(key string, list githubList, path string, body map[string]string, settle func([]githubItem) Ticketed) (Ticketed, error) {
	first := neverSent(g.ctx)
	if !first {
		found, err := g.find(key, list)
		switch {
		case err != nil:
			return Ticketed{}, failure(g.ctx, err, true)
		case len(found) > 0:
			return settle(found), nil
		case remembered(g.ctx) != looked:
			remember(g.ctx, looked)
			return Ticketed{}, failure(g.ctx, &outside.Error{
				Kind: outside.Maybe, System: "GitHub", Retry: secondLook, Reason: "what an earlier attempt wrote is not listed, and may be later",
			}, true)
		}
	}
	var written githubItem
	_, err := g.call(http.MethodPost, path, body, &written)
	if err == nil && (written.ID == 0 || written.URL == "") {
		err = &outside.Error{Kind: outside.Maybe, System: "GitHub", Reason: "it answers with something else than its API does"}
	}
	switch e, ok := errors.AsType[*outside.Error](err); {
	case ok && e.Kind == outside.Maybe:
		return Ticketed{}, failure(g.ctx, later(err, firstLook), true)
	case ok && e.Kind == outside.NotSent && first:
		remember(g.ctx, unsent)
		return Ticketed{}, failure(g.ctx, err, true)
	case err != nil:
		return Ticketed{}, failure(g.ctx, err, true)
	case first:
		return settle([]githubItem{written}), nil
	}
	// What an earlier attempt wrote may be listed by now, and this may not be yet.
	found, err := g.find(key, list)
	if !slices.ContainsFunc(found, func(i githubItem) bool { return i.ID == written.ID }) {
		found = append(found, written)
	}
	ticketed := settle(found)
	switch {
	case err != nil:
		ticketed.Note = "written again, may be there twice: it could not be seen whether an earlier attempt's is there"
	case len(found) == 1:
		ticketed.Note = "written again, may be there twice: no earlier attempt's was listed, but one may come late"
	}
	return ticketed, nil
}

// later has an error say that the next attempt is after d at the earliest.
func later(err error, d time.Duration) error {
	e, ok := errors.AsType[*outside.Error](err)
	if !ok {
		return err
	}
	told := *e
	told.Retry = max(told.Retry, d)
	return &told
}

// find returns what of a list is ours and has a key, in the order of their IDs.
func (g *gitHub) find(key string, list githubList) ([]githubItem, error) {
	own, err := g.author()
	if err != nil {
		return nil, err
	}
	var found []githubItem
	err = g.pages(list, func(i githubItem) {
		if i.PullRequest == nil && own(i) && carries(i.Body, key) {
			found = append(found, i)
		}
	})
	slices.SortFunc(found, func(a, b githubItem) int { return cmp.Compare(a.ID, b.ID) })
	return found, err
}

// keepFirst returns the first of issues that are the same, and closes the others.
func (g *gitHub) keepFirst(same []githubItem) Ticketed {
	kept := Ticketed{Number: same[0].Number, URL: webPage(same[0].URL)}
	var notes []string
	for _, other := range same[1:] {
		note := fmt.Sprintf("#%d is the same and was closed", other.Number)
		if other.State != "closed" {
			if _, err := g.close(other.Number, "not_planned"); err != nil {
				note = fmt.Sprintf("#%d is the same and could not be closed", other.Number)
			}
		}
		notes = append(notes, note)
	}
	kept.Note = strings.Join(notes, "; ")
	return kept
}

// author returns what reports whether we have written something: a key can be copied.
func (g *gitHub) author() (func(githubItem) bool, error) {
	var user struct {
		Login string `json:"login"`
	}
	_, err := g.request(http.MethodGet, g.systems.GitHubAPIURL+"/user", nil, &user)
	if e, ok := errors.AsType[*outside.Error](err); ok && e.Status == http.StatusForbidden && e.Kind == outside.Final {
		// The token of an app's installation is no user's. Apps are bots.
		return func(i githubItem) bool { return i.User.Type == "Bot" }, nil
	}
	if err == nil && user.Login == "" {
		err = &outside.Error{Kind: outside.Maybe, System: "GitHub", Reason: "it does not say whose token it is"}
	}
	return func(i githubItem) bool { return i.User.Login == user.Login }, err
}

// pages hands each the items of a list, up to those that are older than the attempts.
func (g *gitHub) pages(list githubList, each func(githubItem)) error {
	for page := 1; page <= maxPages; page++ {
		var items []githubItem
		header, err := g.call(http.MethodGet, list.path+"&per_page=100&page="+strconv.Itoa(page), nil, &items)
		if err != nil {
			return err
		}
		for _, item := range items {
			if list.newestFirst && item.Created.Before(g.since) {
				return nil
			}
			each(item)
		}
		if !strings.Contains(header.Get("Link"), `rel="next"`) {
			return nil
		}
	}
	return &outside.Error{Kind: outside.Final, System: "GitHub", Reason: fmt.Sprintf("whether it is there is not known: %d pages do not have it, and there are more", maxPages)}
}

func (g *gitHub) close(number int, reason string) (Ticketed, error) {
	var issue githubItem
	_, err := g.call(http.MethodPatch, "/issues/"+strconv.Itoa(number), map[string]string{"state": "closed", "state_reason": reason}, &issue)
	if err == nil && (issue.Number != number || issue.State != "closed") {
		err = &outside.Error{Kind: outside.Maybe, System: "GitHub", Reason: "it answers with something else than its API does"}
	}
	return Ticketed{Number: issue.Number, URL: webPage(issue.URL)}, err
}

// call sends a request about the repository.
func (g *gitHub) call(method, path string, body, to any) (http.Header, error) {
	owner, name, _ := strings.Cut(g.repo, "/")
	return g.request(method, g.systems.GitHubAPIURL+"/repos/"+url.PathEscape(owner)+"/"+url.PathEscape(name)+path, body, to)
}

func (g *gitHub) request(method, address string, body, to any) (http.Header, error) {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	answer, err := g.systems.Client.Do(g.ctx, outside.Request{
		System: "GitHub", Variable: config.GitHubToken, Method: method, URL: address, Body: encoded,
		Header: http.Header{
			"Authorization": {"Bearer " + g.token.Reveal()}, "Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"},
			"Content-Type": {"application/json"}, "User-Agent": {"sentry-temporal"},
		},
	})
	if err != nil {
		return nil, g.told(answer, err)
	}
	if err := json.Unmarshal(answer.Body, to); err != nil {
		return nil, strange("GitHub", answer)
	}
	return answer.Header, nil
}

// told returns what an answer that is no success says.
func (g *gitHub) told(answer outside.Answer, err error) error {
	e, ok := errors.AsType[*outside.Error](err)
	if !ok || e.Status < 400 {
		return err
	}
	var said struct {
		Message string            `json:"message"`
		Errors  []json.RawMessage `json:"errors"` // texts or objects
	}
	_ = json.Unmarshal(answer.Body, &said) // else it says nothing
	for _, one := range said.Errors[:min(len(said.Errors), maxErrors)] {
		said.Message += " " + string(one)
	}
	known := *e
	left := answer.Header.Get("X-Ratelimit-Remaining")
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusForbidden && (left == "0" || answer.Header.Get("Retry-After") != "" || strings.Contains(said.Message, "rate limit")) {
		known.Kind, known.Reason = outside.NotSent, fmt.Sprintf("it answers %d: too many requests", e.Status)
		if reset, err := strconv.ParseInt(answer.Header.Get("X-Ratelimit-Reset"), 10, 64); e.Retry == 0 && left == "0" && err == nil {
			known.Retry = min(max(time.Until(time.Unix(reset, 0)), time.Second), time.Hour) + time.Second
		}
		if known.Retry == 0 { // GitHub asks for a minute at least, and for more each time
			known.Retry = time.Minute << min(g.attempt-1, 5)
		}
		return &known
	}
	switch e.Status {
	case http.StatusNotFound:
		known.Reason = fmt.Sprintf("it answers 404: is %s there, and may the token of %s write its issues?", g.repo, config.GitHubToken)
	case http.StatusGone:
		known.Reason = fmt.Sprintf("it answers 410: the issues of %s are turned off", g.repo)
	}
	return because(&known, outside.Quote(said.Message, g.token.Reveal()))
}
