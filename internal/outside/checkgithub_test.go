package outside_test

import (
	"net/http"
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
)

func TestGitHubIsReadyWhenATicketCouldBeMade(t *testing.T) {
	const create = "POST /repos/acme/pay/issues"
	for name, test := range map[string]struct {
		repo    string
		token   string // "": the right one
		off     bool
		fault   standin.Fault
		missing []string
	}{
		"a repository":                {repo: "acme/pay"},
		"none of our own":             {},
		"none, and another token":     {token: hush, missing: []string{"TRIAGE_GITHUB_TOKEN 401"}},
		"another token":               {repo: "acme/pay", token: hush, missing: []string{"TRIAGE_GITHUB_TOKEN 401"}},
		"no such repository":          {repo: "acme/other", missing: []string{"acme/other TRIAGE_GITHUB_TOKEN 404"}},
		"issues are off":              {repo: "acme/pay", off: true, missing: []string{"acme/pay issues off"}},
		"it is archived":              {repo: "acme/pay", fault: standin.Fault{Status: 200, Body: `{"archived": true}`}, missing: []string{"acme/pay archived"}},
		"it may only read":            {repo: "acme/pay", fault: standin.Fault{Path: create, Status: 403}, missing: []string{"TRIAGE_GITHUB_TOKEN acme/pay Issues: write"}},
		"it may not even know of it":  {repo: "acme/pay", fault: standin.Fault{Path: create, Status: 404}, missing: []string{"TRIAGE_GITHUB_TOKEN acme/pay Issues: write"}},
		"too much was asked":          {repo: "acme/pay", fault: standin.Fault{Path: create, Status: 403, Header: http.Header{"Retry-After": {"60"}}}, missing: []string{"GitHub limit"}},
		"it fails":                    {repo: "acme/pay", fault: standin.Fault{Path: create, Status: 502}, missing: []string{"GitHub 502"}},
		"it is something else":        {repo: "acme/pay", fault: standin.Fault{Times: -1, Status: 200, Body: "<html>" + hush}, missing: []string{"GitHub TRIAGE_GITHUB_API_URL"}},
		"it takes what has no title":  {repo: "acme/pay", fault: standin.Fault{Path: create, Status: 201}, missing: []string{"GitHub TRIAGE_GITHUB_API_URL"}},
		"it is reached by a redirect": {repo: "acme/pay", fault: standin.Fault{Redirect: "https://example.com"}, missing: []string{"GitHub 307"}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := standin.StartGitHub("right-"+hush, "acme/pay")
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if test.off {
				g.IssuesOff("acme/pay")
			}
			if test.fault.Status > 0 || test.fault.Redirect != "" {
				g.Fail(test.fault)
			}
			token := "right-" + hush
			if test.token != "" {
				token = test.token
			}
			o := config.Outside{GitHubAPIURL: g.URL, GitHubRepo: test.repo, Secret: secretsOf(map[string]string{config.GitHubToken: token})}
			status := outside.Ready
			if test.missing != nil {
				status = outside.NotReady
			}
			want(t, checked(t, o, "GitHub"), status, test.missing...)
			if n := len(g.Issues("acme/pay")); n > 0 {
				t.Errorf("%d issues were created", n)
			}
		})
	}
}
