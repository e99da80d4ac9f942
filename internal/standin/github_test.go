package standin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/internal/standin"
)

const issuesPath = "/repos/acme/pay/issues"

func gitHub(t *testing.T) *standin.GitHub {
	t.Helper()
	g, err := standin.StartGitHub("token", "acme/pay")
	require.NoError(t, err)
	t.Cleanup(g.Close)
	return g
}

// askGitHub sends a request with a token, and returns the answer's status, header and body.
func askGitHub(t *testing.T, g *standin.GitHub, token, method, path, body string) (status int, header http.Header, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, answer.Header, string(read)
}

func TestGitHubAnswersAsItsAPIDoes(t *testing.T) {
	for name, tt := range map[string]struct {
		token, method, path, body string
		status                    int
		said                      string
	}{
		"a token that is wrong":  {"other", "GET", "/user", "", 401, "Bad credentials"},
		"who it is":              {"token", "GET", "/user", "", 200, standin.GitHubLogin},
		"a repository":           {"token", "GET", "/repos/acme/pay", "", 200, `"has_issues":true`},
		"no such repository":     {"token", "GET", "/repos/acme/other", "", 404, "Not Found"},
		"no such place":          {"token", "GET", "/nowhere", "", 404, "Not Found"},
		"an issue":               {"token", "POST", issuesPath, `{"title":"t","labels":["bug"]}`, 201, `"labels":[]`},
		"no title":               {"token", "POST", issuesPath, `{"body":"b"}`, 422, "missing_field"},
		"a long title":           {"token", "POST", issuesPath, `{"title":"` + strings.Repeat("t", 257) + `"}`, 422, "too long"},
		"a long body":            {"token", "POST", issuesPath, `{"title":"t","body":"` + strings.Repeat("t", 65537) + `"}`, 422, "too long"},
		"no JSON":                {"token", "POST", issuesPath, `x`, 400, "JSON"},
		"an issue that is none":  {"token", "GET", issuesPath + "/7", "", 404, "Not Found"},
		"a number that is none":  {"token", "GET", issuesPath + "/x", "", 404, "Not Found"},
		"another state":          {"token", "PATCH", issuesPath + "/1", `{"state":"gone"}`, 422, "invalid"},
		"closing":                {"token", "PATCH", issuesPath + "/1", `{"state":"closed","state_reason":"completed"}`, 200, `"state":"closed"`},
		"a comment":              {"token", "POST", issuesPath + "/1/comments", `{"body":"b"}`, 201, "issuecomment"},
		"a comment that is none": {"token", "POST", issuesPath + "/1/comments", `{"body":""}`, 422, "missing_field"},
	} {
		t.Run(name, func(t *testing.T) {
			g := gitHub(t)
			g.Add(standin.GitHubIssue{Repo: "acme/pay", Title: "first", Author: "somebody"})
			status, header, text := askGitHub(t, g, tt.token, tt.method, tt.path, tt.body)
			assert.Equal(t, tt.status, status)
			assert.Contains(t, text, tt.said)
			assert.NotEmpty(t, header.Get("X-Ratelimit-Remaining"))
		})
	}
	g := gitHub(t)
	g.IssuesOff("acme/pay")
	status, _, _ := askGitHub(t, g, "token", http.MethodPost, issuesPath, `{"title":"t"}`)
	assert.Equal(t, http.StatusGone, status)
	g.OfApp()
	status, _, _ = askGitHub(t, g, "token", http.MethodGet, "/user", "")
	assert.Equal(t, http.StatusForbidden, status)
}

func TestGitHubHasListsInPages(t *testing.T) {
	g := gitHub(t)
	for i := range 7 {
		g.Add(standin.GitHubIssue{Repo: "acme/pay", Title: strconv.Itoa(i + 1), PullRequest: i == 6})
	}
	var seen []int
	pages, path := 0, issuesPath+"?state=all&sort=created&direction=desc&per_page=3"
	for path != "" {
		_, header, text := askGitHub(t, g, "token", http.MethodGet, path, "")
		var rows []struct {
			Number      int
			PullRequest any `json:"pull_request"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &rows))
		for _, row := range rows {
			seen = append(seen, row.Number)
			assert.Equal(t, row.Number == 7, row.PullRequest != nil)
		}
		pages++
		path = ""
		for link := range strings.SplitSeq(header.Get("Link"), ", ") {
			if address, rel, _ := strings.Cut(link, "; "); rel == `rel="next"` {
				path = strings.TrimPrefix(strings.Trim(address, "<>"), g.URL)
			}
		}
	}
	assert.Equal(t, []int{7, 6, 5, 4, 3, 2, 1}, seen)
	assert.Equal(t, 3, pages)
}

func TestGitHubRefusesWhatIsBeyondItsLimit(t *testing.T) {
	g := gitHub(t)
	reset := time.Now().Add(time.Hour)
	g.Limit(1, reset)
	status, _, _ := askGitHub(t, g, "token", http.MethodGet, "/user", "")
	assert.Equal(t, http.StatusOK, status)
	status, header, text := askGitHub(t, g, "token", http.MethodGet, "/user", "")
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, text, "rate limit")
	assert.Equal(t, "0", header.Get("X-Ratelimit-Remaining"))
	assert.Equal(t, strconv.FormatInt(reset.Unix(), 10), header.Get("X-Ratelimit-Reset"))
	g.Limit(0, time.Now().Add(-time.Second))
	status, _, _ = askGitHub(t, g, "token", http.MethodGet, "/user", "")
	assert.Equal(t, http.StatusOK, status)
}

func TestMarkdownIsShownAsGitHubShowsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		source string
		want   standin.Markdown
	}{
		"people":              {"@user, (@acme/team) me@example.com `@code`", standin.Markdown{Mentions: []string{"@user", "@acme/team"}, Links: []string{"mailto:me@example.com"}}},
		"escaped people":      {`\@a &#64;b &commat;c`, standin.Markdown{Mentions: []string{"@a", "@b", "@c"}}},
		"people who are none": {"@\u200buser x@y", standin.Markdown{}},
		"issues":              {"#1 acme/pay#2 GH-3 `#4` #\u200b5", standin.Markdown{References: []string{"#1", "acme/pay#2", "GH-3"}}},
		"an issue's address":  {"https://github.com/acme/pay/issues/1", standin.Markdown{Links: []string{"https://github.com/acme/pay/issues/1"}, References: []string{"https://github.com/acme/pay/issues/1"}}},
		"links":               {"[a](https://a.example) www.b.example https://c.example", standin.Markdown{Links: []string{"https://a.example", "http://www.b.example", "https://c.example"}}},
		"code that is not":    {"``` @a", standin.Markdown{}},
		"an image":            {"![x](https://a.example/x.png)", standin.Markdown{Images: []string{"https://a.example/x.png"}}},
		"HTML":                {"<!-- a -->\n<b>x</b>", standin.Markdown{RawHTML: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			got := standin.RenderMarkdown(tt.source)
			for _, bad := range []string{"<script", "<img", "javascript:", "<!-- a"} {
				assert.NotContains(t, string(got.HTML), bad)
			}
			got.HTML, got.Text = "", ""
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestGitHubsPageLetsNothingHostileThrough(t *testing.T) {
	g := gitHub(t)
	hostile := "<script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror=alert(1)> ![x](https://a.example/x.png)"
	g.Add(standin.GitHubIssue{Repo: "acme/pay", Title: hostile, Body: hostile, Author: hostile})
	g.AddComment("acme/pay", 1, standin.GitHubComment{Author: hostile, Body: hostile})
	text := get(t, g.URL+"/")
	for _, bad := range []string{"<script", "<img", `href="javascript:`} {
		assert.NotContains(t, text, bad)
	}
}

func TestGitHubRemembersSoMuch(t *testing.T) {
	g := gitHub(t)
	body := `{"title":"t","body":"` + strings.Repeat("b", 65000) + `"}`
	var status int
	for range 1000 {
		if status, _, _ = askGitHub(t, g, "token", http.MethodPost, issuesPath, body); status != http.StatusCreated {
			break
		}
	}
	assert.Equal(t, http.StatusCreated, status)
	for range 100 {
		if status, _, _ = askGitHub(t, g, "token", http.MethodPost, issuesPath+"/1/comments", body); status != http.StatusCreated {
			break
		}
	}
	assert.Equal(t, http.StatusForbidden, status)
}
