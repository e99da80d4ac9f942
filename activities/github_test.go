package activities_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

const (
	gitHubToken = "github_pat_" + secretPart
	repo        = "acme/pay"
	issuesPath  = "/repos/acme/pay/issues"
)

var (
	hub       *activities.GitHub
	ticketKey = activities.EffectKey("sentry", "issue:1", "ticket", "1")
	ticket    = activities.Ticket{Repo: repo, Key: ticketKey, Card: activities.Card{Integration: "sentry", Title: "It is broken", Headline: "New issue"}}
	comment   = activities.TicketComment{Repo: repo, Number: 1, Key: activities.EffectKey("sentry", "issue:1", "comment", "1"), Text: "It was resolved."}
)

func init() {
	effects = append(effects, effect{
		name: "GitHub: create", variable: config.GitHubToken, once: true, path: "POST " + issuesPath,
		serve: serveGitHub(func(g *standin.GitHub) int { return len(g.Issues(repo)) }, false),
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, hub.CreateTicket, ticket)
			return err
		},
	}, effect{
		name: "GitHub: comment", variable: config.GitHubToken, once: true, path: "POST " + issuesPath + "/1/comments",
		serve: serveGitHub(func(g *standin.GitHub) int { return len(g.Issues(repo)[0].Comments) }, true),
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, hub.CommentOnTicket, comment)
			return err
		},
	}, effect{
		name: "GitHub: close", variable: config.GitHubToken, once: true, late: true, path: "PATCH " + issuesPath,
		serve: serveGitHub(func(g *standin.GitHub) int {
			if g.Issues(repo)[0].State == "closed" {
				return 1
			}
			return 0
		}, true),
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, hub.CloseTicket, activities.TicketRef{Repo: repo, Number: 1})
			return err
		},
	})
}

func serveGitHub(effects func(*standin.GitHub) int, issue bool) func(*testing.T) served {
	return func(t *testing.T) served {
		t.Helper()
		g, cfg := gitHub(t)
		if issue {
			g.Add(standin.GitHubIssue{Repo: repo, Title: "open", Author: standin.GitHubLogin})
		}
		return served{Server: g.Server, cfg: cfg, effects: func() int { return effects(g) }}
	}
}

func gitHub(t *testing.T) (*standin.GitHub, config.Outside) {
	t.Helper()
	g, err := standin.StartGitHub(gitHubToken, repo)
	require.NoError(t, err)
	t.Cleanup(g.Close)
	return g, config.Outside{GitHubAPIURL: g.URL, Secret: secretsOf(map[string]string{config.GitHubToken: gitHubToken})}
}

// lost has the next creation take place, and its answer be lost.
var lost = standin.Fault{Path: "POST " + issuesPath, After: true, Cut: true}

func TestATicketTellsWhatIsKnown(t *testing.T) {
	g, cfg := gitHub(t)
	card := activities.Card{
		Integration: "sentry", Event: "sentry.issue.created", Headline: "New issue", Title: "TypeError: x is undefined", URL: "https://acme.sentry.io/issues/4711/",
		ShortID: "BACKEND-1A", Level: "fatal", Project: "backend", Culprit: "checkout.views", Details: "one\ntwo",
	}
	made, o := runOne(t, cfg, hub.CreateTicket, activities.Ticket{Repo: repo, Key: ticketKey, Card: card})
	require.NoError(t, o.err)
	assert.Equal(t, 1, made.Number)
	assert.Contains(t, made.URL, g.URL)
	assert.Empty(t, made.Note)
	issue := g.Issues(repo)[0]
	assert.Equal(t, "BACKEND-1A: TypeError: x is undefined", issue.Title)
	seen := standin.RenderMarkdown(issue.Body)
	assert.Equal(t, 1, seen.RawHTML)
	require.Len(t, seen.Links, 2)
	assert.Equal(t, card.URL, seen.Links[0])
	assert.Contains(t, seen.Links[1], "https://temporal.example/namespaces/")
	for _, text := range []string{"New issue", card.Title, "backend", "fatal", "checkout.views", "one\ntwo", "BACKEND-1A"} {
		assert.Contains(t, seen.Text, text)
	}
}

func TestGitHubTakesHostileTexts(t *testing.T) {
	for _, h := range hostileTexts {
		t.Run(h.name, func(t *testing.T) {
			g, cfg := gitHub(t)
			ctx := outsideContext(t, cfg)
			card := hostileCard(h.text)
			card.Headline = h.text
			_, err := hub.CreateTicket(ctx, activities.Ticket{Repo: repo, Key: ticketKey, Card: card})
			require.NoError(t, err)
			said := comment
			said.Text = h.text
			_, err = hub.CommentOnTicket(ctx, said)
			require.NoError(t, err)
			issue := g.Issues(repo)[0]
			assert.True(t, utf8.ValidString(issue.Title))
			assert.NotRegexp(t, `@\w|#\d|(?i:gh)-\d|://|www\.`, issue.Title)
			assert.LessOrEqual(t, utf8.RuneCountInString(issue.Title), 256)
			for name, source := range map[string]string{"body": issue.Body, "comment": issue.Comments[0].Body} {
				seen := standin.RenderMarkdown(source)
				assert.Empty(t, seen.Mentions, name)
				assert.Empty(t, seen.References, name)
				assert.Empty(t, seen.Images, name)
				assert.Equal(t, 1, seen.RawHTML, "%s: our key is the one comment\n%s", name, source)
				for _, address := range seen.Links {
					assert.Equal(t, card.URL, address, name)
				}
				assert.NotContains(t, source, "\x00")
			}
		})
	}
	for _, address := range hostileURLs {
		g, cfg := gitHub(t)
		_, err := hub.CreateTicket(outsideContext(t, cfg), activities.Ticket{Repo: repo, Key: ticketKey, Card: activities.Card{Title: "x", URL: address}})
		require.NoError(t, err)
		assert.Empty(t, standin.RenderMarkdown(g.Issues(repo)[0].Body).Links, address)
	}
}

func TestATicketIsLookedForTwiceBeforeItIsCreatedAgain(t *testing.T) {
	tests := map[string]struct {
		fault   standin.Fault
		lag     int // lists that do not have it
		open    int
		closed  int
		between [2]time.Duration
	}{
		"it is listed at once":          {lost, 0, 1, 0, [2]time.Duration{10 * time.Second, 12 * time.Second}},
		"it is listed at the second":    {lost, 1, 1, 0, [2]time.Duration{40 * time.Second, 42 * time.Second}},
		"it is listed after both looks": {lost, 2, 1, 1, [2]time.Duration{40 * time.Second, 42 * time.Second}},
		"it is not there":               {standin.Fault{Path: "POST " + issuesPath, Cut: true}, 0, 1, 0, [2]time.Duration{40 * time.Second, 42 * time.Second}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, cfg := gitHub(t)
			g.Lag(tt.lag)
			g.Fail(tt.fault)
			made, o := runOne(t, cfg, hub.CreateTicket, ticket)
			require.NoError(t, o.err)
			assert.Equal(t, 1, made.Number)
			assert.GreaterOrEqual(t, o.waited, tt.between[0])
			assert.LessOrEqual(t, o.waited, tt.between[1])
			states := map[string]int{}
			for _, issue := range g.Issues(repo) {
				states[issue.State]++
			}
			assert.Equal(t, tt.open, states["open"])
			assert.Equal(t, tt.closed, states["closed"])
			assert.Equal(t, tt.closed > 0, strings.Contains(made.Note, "#2"), made.Note)
			assert.Equal(t, name == "it is not there", strings.Contains(made.Note, "may be there twice"), made.Note)
		})
	}
}

func TestATicketIsLookedForWhateverWasBeforeTheLostAnswer(t *testing.T) {
	g, cfg := gitHub(t)
	g.Fail(standin.Fault{Path: "POST " + issuesPath, Times: 2, Status: http.StatusTooManyRequests}, lost)
	made, o := runOne(t, cfg, hub.CreateTicket, ticket)
	require.NoError(t, o.err)
	assert.Equal(t, 1, made.Number)
	assert.Empty(t, made.Note)
	assert.Len(t, g.Issues(repo), 1)
	assert.Equal(t, 4, o.attempts)
}

func TestATicketThatCannotBeLookedForAfterItWasCreatedAgainSaysSo(t *testing.T) {
	g, cfg := gitHub(t)
	g.Fail(standin.Fault{Path: "POST " + issuesPath, Cut: true})
	lists := 0
	g.Watch(func(r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == issuesPath {
			if lists++; lists == 3 {
				g.Fail(standin.Fault{Path: "GET " + issuesPath, Status: http.StatusInternalServerError})
			}
		}
	})
	made, o := runOne(t, cfg, hub.CreateTicket, ticket)
	require.NoError(t, o.err)
	assert.Contains(t, made.Note, "twice")
	assert.Len(t, g.Issues(repo), 1)
}

func TestWhatOthersWroteIsNotOurTicket(t *testing.T) {
	marker := "<!-- sentry-temporal: " + ticketKey + " -->\n"
	for name, issue := range map[string]standin.GitHubIssue{
		"a copied key":              {Repo: repo, Author: "somebody", Body: marker},
		"a pull request of our own": {Repo: repo, Author: standin.GitHubLogin, Body: marker, PullRequest: true},
		"another key":               {Repo: repo, Author: standin.GitHubLogin, Body: strings.Replace(marker, ticketKey, strings.Repeat("a", 64), 1)},
		"a key further down":        {Repo: repo, Author: standin.GitHubLogin, Body: "see\n" + marker},
		"one of long ago":           {Repo: repo, Author: standin.GitHubLogin, Body: marker, Created: time.Now().Add(-time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			g, cfg := gitHub(t)
			g.Add(issue)
			g.Fail(standin.Fault{Path: "POST " + issuesPath, Cut: true})
			if name == "one of long ago" {
				g.Add(standin.GitHubIssue{Repo: repo, Author: "somebody", Created: time.Now().Add(-30 * time.Minute)})
			}
			made, o := runOne(t, cfg, hub.CreateTicket, ticket)
			require.NoError(t, o.err)
			all := g.Issues(repo)
			assert.Equal(t, len(all), made.Number)
			assert.Equal(t, "It is broken", all[len(all)-1].Title)
		})
	}
}

func TestATicketIsFoundAmongMany(t *testing.T) {
	g, cfg := gitHub(t)
	for i := range 250 {
		g.Add(standin.GitHubIssue{Repo: repo, Author: "somebody", Title: strconv.Itoa(i)})
	}
	g.Fail(lost)
	g.Watch(func(r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Query().Get("page") == "1" { // an issue is there by now
			for i := range 250 {
				g.Add(standin.GitHubIssue{Repo: repo, Author: "somebody", Title: strconv.Itoa(i)})
			}
		}
	})
	made, o := runOne(t, cfg, hub.CreateTicket, ticket)
	require.NoError(t, o.err)
	assert.Equal(t, 251, made.Number)
	assert.Len(t, g.Issues(repo), 501)
}

func TestACommentIsFoundOnWhateverPageItIs(t *testing.T) {
	g, cfg := gitHub(t)
	g.Add(standin.GitHubIssue{Repo: repo, Author: "somebody", Title: "open"})
	g.AddComment(repo, 1, standin.GitHubComment{Author: "somebody", Body: "old", Created: time.Now().Add(-time.Hour), Updated: time.Now()})
	for range 250 {
		g.AddComment(repo, 1, standin.GitHubComment{Author: "somebody", Body: "me too"})
	}
	g.AddComment(repo, 1, standin.GitHubComment{Author: "somebody", Body: "<!-- sentry-temporal: " + comment.Key + " -->\ncopied"})
	g.Fail(lost)
	said, o := runOne(t, cfg, hub.CommentOnTicket, comment)
	require.NoError(t, o.err)
	assert.Equal(t, 1, said.Number)
	assert.Contains(t, said.URL, "#")
	assert.Len(t, g.Issues(repo)[0].Comments, 253)
}

func TestACommentThatIsThereTwiceIsSaidToBe(t *testing.T) {
	for lag, noted := range map[int]string{0: "", 1: "", 2: "is there twice", 3: "may be there twice"} {
		g, cfg := gitHub(t)
		g.Add(standin.GitHubIssue{Repo: repo, Author: "somebody", Title: "open"})
		g.Lag(lag)
		g.Fail(lost)
		said, o := runOne(t, cfg, hub.CommentOnTicket, comment)
		require.NoError(t, o.err)
		assert.Len(t, g.Issues(repo)[0].Comments, 1+lag/2)
		assert.Contains(t, said.Note, noted)
		assert.Equal(t, noted == "", said.Note == "", said.Note)
	}
}

func TestATicketIsNotCreatedAgainForWantOfAWordOnWhoseItIs(t *testing.T) {
	for name, fault := range map[string]standin.Fault{
		"no word":                  {Path: "GET /user", Status: http.StatusOK, Body: "{}"},
		"HTML":                     {Path: "GET /user", Status: http.StatusOK, Body: "<html>"},
		"too many requests":        {Path: "GET /user", Status: http.StatusForbidden, Header: http.Header{"Retry-After": {"60"}}},
		"too many requests by 429": {Path: "GET /user", Status: http.StatusTooManyRequests},
		"away":                     {Path: "GET /user", Status: http.StatusBadGateway},
	} {
		t.Run(name, func(t *testing.T) {
			g, cfg := gitHub(t)
			g.Fail(lost, fault, fault, fault)
			made, o := runOne(t, cfg, hub.CreateTicket, ticket)
			require.NoError(t, o.err)
			assert.Equal(t, 1, made.Number)
			assert.Len(t, g.Issues(repo), 1)
			assert.Equal(t, 5, o.attempts)
		})
	}
}

func TestTheTokenOfAnAppFindsItsTicket(t *testing.T) {
	g, cfg := gitHub(t)
	g.OfApp()
	g.Add(standin.GitHubIssue{Repo: repo, Author: "somebody", Body: "<!-- sentry-temporal: " + ticketKey + " -->\n"})
	g.Fail(lost)
	made, o := runOne(t, cfg, hub.CreateTicket, ticket)
	require.NoError(t, o.err)
	assert.Equal(t, 2, made.Number)
	assert.Len(t, g.Issues(repo), 2)
}

func TestGitHubIsAskedAgainWhenItSays(t *testing.T) {
	in := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	tests := map[string]struct {
		status int
		header http.Header
		body   string
		least  time.Duration
	}{
		"after some seconds":               {http.StatusForbidden, http.Header{"Retry-After": {"300"}}, "", 300 * time.Second},
		"when the limit is over":           {http.StatusForbidden, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {in(20 * time.Minute)}}, "", 20*time.Minute - time.Second},
		"when the limit is over, with 429": {http.StatusTooManyRequests, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {in(20 * time.Minute)}}, "", 20*time.Minute - time.Second},
		"it does not say when":             {http.StatusForbidden, nil, `{"message":"You have exceeded a secondary rate limit."}`, time.Minute},
		"it says nothing":                  {http.StatusTooManyRequests, nil, "", time.Minute},
		"a limit that is over tomorrow":    {http.StatusForbidden, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {in(24 * time.Hour)}}, "", time.Hour},
		"a limit that is over already":     {http.StatusForbidden, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {in(-time.Hour)}}, "", time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, cfg := gitHub(t)
			g.Fail(standin.Fault{Path: "POST " + issuesPath, Status: tt.status, Header: tt.header, Body: tt.body})
			made, o := runOne(t, cfg, hub.CreateTicket, ticket)
			require.NoError(t, o.err)
			assert.Len(t, g.Issues(repo), 1)
			assert.GreaterOrEqual(t, o.waited, tt.least)
			assert.LessOrEqual(t, o.waited, tt.least+2*time.Second, "it was not sent, and need not be looked for")
			assert.Empty(t, made.Note)
		})
	}
}

func TestGitHubIsAskedAgainLaterEachTimeItDoesNotSayWhen(t *testing.T) {
	for times, least := range map[int]time.Duration{2: 3 * time.Minute, 3: 7 * time.Minute, 7: 95 * time.Minute} { // 1 + 2 + 4 + 8 + 16 + 32 + 32
		g, cfg := gitHub(t)
		g.Fail(standin.Fault{Path: "POST " + issuesPath, Times: times, Status: http.StatusTooManyRequests})
		_, o := runOne(t, cfg, hub.CreateTicket, ticket)
		require.NoError(t, o.err)
		assert.GreaterOrEqual(t, o.waited, least)
		assert.LessOrEqual(t, o.waited, least+5*time.Second)
	}
}

func TestAListWithoutAnEndIsGivenUp(t *testing.T) {
	var lists atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusInternalServerError)
		case r.URL.Path == "/user":
			_, _ = io.WriteString(w, `{"login":"us"}`)
		default:
			lists.Add(1)
			w.Header().Set("Link", `<http://`+r.Host+`/>; rel="next"`)
			_, _ = io.WriteString(w, `[{"id":1,"number":1,"created_at":"2999-01-01T00:00:00Z"}]`)
		}
	}))
	defer server.Close()
	cfg := config.Outside{GitHubAPIURL: server.URL, Secret: secretsOf(map[string]string{config.GitHubToken: gitHubToken})}
	_, o := runOne(t, cfg, hub.CreateTicket, ticket)
	require.Error(t, o.err)
	assert.Contains(t, o.err.Error(), "not known")
	assert.Equal(t, 2, o.attempts)
	assert.Equal(t, int32(30), lists.Load())
}

func TestWhatGitHubRefusesIsTold(t *testing.T) {
	tests := map[string]struct {
		setup func(*standin.GitHub, *activities.Ticket)
		said  []string
	}{
		"issues are off":     {func(g *standin.GitHub, _ *activities.Ticket) { g.IssuesOff(repo) }, []string{"410", repo, "disabled"}},
		"no such repository": {func(_ *standin.GitHub, t *activities.Ticket) { t.Repo = "acme/other" }, []string{"404", "acme/other", config.GitHubToken}},
		"no repository":      {func(_ *standin.GitHub, t *activities.Ticket) { t.Repo = "acme/../other" }, []string{"acme/pay"}},
		"a key that closes":  {func(_ *standin.GitHub, t *activities.Ticket) { t.Key = "-->" }, []string{"key"}},
		"no key":             {func(_ *standin.GitHub, t *activities.Ticket) { t.Key = "" }, []string{"key"}},
		"a field that is none": {func(g *standin.GitHub, _ *activities.Ticket) {
			g.Fail(standin.Fault{Path: "POST", Status: 422, Body: `{"message":"Validation Failed","errors":[{"field":"title","code":"missing_field"},"and more"]}`})
		}, []string{"422", "missing_field", "and more"}},
		"not understood": {func(g *standin.GitHub, _ *activities.Ticket) {
			g.Fail(standin.Fault{Path: "POST", Status: 400, Body: `{"message":"Problems parsing JSON"}`})
		}, []string{"400", "parsing"}},
		"not allowed": {func(g *standin.GitHub, _ *activities.Ticket) {
			g.Fail(standin.Fault{Path: "POST", Status: 403, Body: `{"message":"Resource not accessible by personal access token"}`})
		}, []string{"403", "not accessible", config.GitHubToken}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, cfg := gitHub(t)
			made := ticket
			tt.setup(g, &made)
			_, o := runOne(t, cfg, hub.CreateTicket, made)
			require.Error(t, o.err)
			for _, said := range tt.said {
				assert.Contains(t, o.err.Error(), said)
			}
			assert.Equal(t, 1, o.attempts)
			assert.Empty(t, g.Issues(repo))
			assert.NotContains(t, o.seen, secretPart)
		})
	}
}

func TestACommentAndAClosingNeedANumber(t *testing.T) {
	_, cfg := gitHub(t)
	ctx := outsideContext(t, cfg)
	for _, number := range []int{0, -1} {
		_, err := hub.CloseTicket(ctx, activities.TicketRef{Repo: repo, Number: number})
		require.Error(t, err)
		_, err = hub.CommentOnTicket(ctx, activities.TicketComment{Repo: repo, Number: number, Key: "k", Text: "x"})
		require.Error(t, err)
	}
}

func TestAnAnswerOfAMillionErrorsIsToldInShort(t *testing.T) {
	g, cfg := gitHub(t)
	g.Fail(standin.Fault{Path: "POST", Status: http.StatusUnprocessableEntity, Body: `{"message":"no","errors":[` + strings.Repeat(`0,`, 1<<20) + `0]}`})
	_, o := runOne(t, cfg, hub.CreateTicket, ticket)
	require.Error(t, o.err)
	assert.Contains(t, o.err.Error(), "no 0 0")
	assert.Less(t, len(o.err.Error()), 1000)
}
