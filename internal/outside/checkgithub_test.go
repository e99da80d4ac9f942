package outside_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
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

func TestAFileWithManyDestinationsIsNoBurden(t *testing.T) {
	g, err := standin.StartGitHub("right", "acme/0")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	s, err := standin.StartSlack(standin.SlackOptions{Token: "xoxb-right", Channels: []standin.SlackChannel{{ID: "C00000000", Name: "sentry"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var file strings.Builder
	file.WriteString("destinations:\n")
	for i := range 200 {
		fmt.Fprintf(&file, "  - {name: d%d, match: {projects: [p%d]}, slack: C%08d, github: acme/%d}\n", i, i, i, i)
	}
	o := config.Outside{
		GitHubAPIURL: g.URL, SlackAPIURL: s.URL + "/api",
		Secret: secretsOf(map[string]string{config.GitHubToken: "right", config.SlackToken: "xoxb-right"}),
	}
	table, err := destinations.Parse([]byte(file.String()), o)
	if err != nil {
		t.Fatal(err)
	}
	systems := systemsOf(o)
	systems.Destinations = func() (*destinations.Table, error) { return table, nil }
	for _, state := range outside.NewWatch(systems, nil, slog.New(slog.DiscardHandler)).Once(t.Context()) {
		if state.System == "GitHub" || state.System == "Slack" {
			if state.Status != outside.NotReady || !strings.Contains(state.Missing[0], "destination d1)") {
				t.Errorf("%s is %s: %q", state.System, state.Status, state.Missing)
			}
		}
	}
	for name, received := range map[string][]standin.Received{"GitHub": g.Received(), "Slack": s.Received()} {
		if len(received) < 40 || len(received) > 50 {
			t.Errorf("%s was asked %d times", name, len(received))
		}
	}
}
