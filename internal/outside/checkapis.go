package outside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/text"
)

// bearer are the headers of a request with a token.
func bearer(token config.Secret) http.Header {
	return http.Header{"Authorization": {"Bearer " + token.Reveal()}, "User-Agent": {"sentry-temporal"}}
}

// statusOf returns the status of an answer, 0 without one.
func statusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// checkSentry asks which scopes the token has, and reads the issues of the organization.
func (s *Systems) checkSentry(ctx context.Context, integration string) (Status, []string) {
	api, ok := s.Sentry[integration]
	if !ok {
		return NotConfigured, nil
	}
	token, status, missing := s.credential(api.TokenVariable, true)
	if status != Ready {
		return status, missing
	}
	get := func(path string) (Answer, error) {
		return s.Client.Do(ctx, Request{System: "Sentry", Variable: api.TokenVariable, URL: api.URL + "/api/0/" + path, Header: bearer(token)})
	}
	prefix := strings.TrimSuffix(api.TokenVariable, "_API_TOKEN")
	// The index tells what the token may do. Where it does not, that is not known.
	var index struct {
		Auth struct {
			Scopes []string `json:"scopes"`
		} `json:"auth"`
	}
	answer, err := get("")
	if err == nil {
		_ = json.Unmarshal(answer.Body, &index) // then there are no scopes
	}
	if statusOf(err) != http.StatusUnauthorized {
		_, err = get("organizations/" + url.PathEscape(api.Organization) + "/issues/?query=&limit=1&statsPeriod=24h")
	}
	switch statusOf(err) {
	case http.StatusUnauthorized:
		return NotReady, []string{api.TokenVariable + " is not a token that Sentry takes (401)"}
	case http.StatusForbidden:
		return NotReady, []string{api.TokenVariable + " may not read issues (403): it lacks the scope event:read, or is not of the organization " + api.Organization}
	case http.StatusNotFound:
		return NotReady, []string{prefix + "_ORGANIZATION: Sentry knows no organization " + api.Organization + " (404), or " + api.TokenVariable + " is not of it"}
	}
	if err != nil {
		return NotReady, []string{err.Error() + " (" + prefix + "_API_URL is " + api.URL + ")"}
	}
	scopes := index.Auth.Scopes
	if len(scopes) > 0 && !slices.Contains(scopes, "event:write") && !slices.Contains(scopes, "event:admin") {
		missing = append(missing, api.TokenVariable+" lacks the scope event:write: nothing can be written to issues, nor linked")
	}
	return verdict(missing)
}

// slackSaid is what is looked at in Slack's answers.
type slackSaid struct {
	OK       bool           `json:"ok"`
	Error    string         `json:"error"`
	Channel  slackChannel   `json:"channel"`
	Channels []slackChannel `json:"channels"`
	Metadata struct {
		Cursor string `json:"next_cursor"`
	} `json:"response_metadata"`
}

type slackChannel struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Private  bool   `json:"is_private"`
	Archived bool   `json:"is_archived"`
	Member   bool   `json:"is_member"`
}

// slack calls a method that reads. An answer that says no is an error with its code.
func (s *Systems) slack(ctx context.Context, token config.Secret, method string, arguments url.Values) (slackSaid, http.Header, error) {
	answer, err := s.Client.Do(ctx, Request{
		System: "Slack", Variable: config.SlackToken, URL: s.SlackAPIURL + "/" + method + "?" + arguments.Encode(), Header: bearer(token),
	})
	var said slackSaid
	switch {
	case err != nil:
		return said, nil, err
	case json.Unmarshal(answer.Body, &said) != nil:
		return said, nil, &Error{Kind: Maybe, System: "Slack", Status: answer.Status, Reason: "it answers something else than its API does: look at TRIAGE_SLACK_API_URL"}
	case !said.OK:
		code := text.Shorten(text.Line(said.Error), 80)
		return said, answer.Header, &Error{Kind: Final, System: "Slack", Status: answer.Status, Reason: method + " says " + code}
	}
	return said, answer.Header, nil
}

// maxChannels bounds how many pages of a workspace's channels are looked through.
const (
	channelsOfPage = 999
	maxPages       = 10
)

// checkSlack asks whose token it is and what it may do, and looks at each channel.
func (s *Systems) checkSlack(ctx context.Context, all []destinations.Destination) (Status, []string) {
	names, by := used(all, func(d destinations.Destination) string { return d.Slack })
	names = names[:min(len(names), maxLookedAt)]
	token, status, missing := s.credential(config.SlackToken, len(names) > 0)
	if status != Ready {
		return status, missing
	}
	said, header, err := s.slack(ctx, token, "auth.test", nil)
	switch {
	case err != nil && said.Error != "":
		return NotReady, []string{config.SlackToken + " is not a token that Slack takes: " + err.Error()}
	case err != nil:
		return NotReady, []string{err.Error()}
	}
	var scopes []string
	for scope := range strings.SplitSeq(header.Get("X-Oauth-Scopes"), ",") {
		scopes = append(scopes, strings.TrimSpace(scope))
	}
	may := func(scope string) bool { return slices.Contains(scopes, scope) }
	lack := func(scope, so string) {
		line := config.SlackToken + " lacks the scope " + scope + ": " + so
		if !may(scope) && !slices.Contains(missing, line) {
			missing = append(missing, line)
		}
	}
	lack("chat:write", "nothing can be posted")
	if len(names) == 0 {
		return verdict(missing)
	}
	var types []string
	for _, kind := range [][2]string{{"channels:read", "public_channel"}, {"groups:read", "private_channel"}} {
		if may(kind[0]) {
			types = append(types, kind[1])
		}
	}
	if len(types) == 0 {
		lack("channels:read", "its channels cannot be looked at (groups:read for private ones)")
		return verdict(missing)
	}
	channels, err := s.channels(ctx, token, strings.Join(types, ","), names)
	if err != nil {
		return NotReady, append(missing, err.Error())
	}
	for _, name := range names {
		where := " (" + "destination " + by[name] + ")"
		if by[name] == "variables" {
			where = " (TRIAGE_SLACK_CHANNEL)"
		}
		channel, ok := channels[name]
		switch {
		case !ok:
			missing = append(missing, "the bot sees no channel "+name+where+": it has another name, or is private and the bot is not in it")
			continue
		case channel.Archived:
			missing = append(missing, "the channel "+name+where+" is archived")
			continue
		case !channel.Member:
			missing = append(missing, "the bot is not in the channel "+name+where+": invite it there")
		}
		history := "channels:history"
		if channel.Private {
			history = "groups:history"
		}
		lack(history, "after an answer that was lost, a message may be there twice")
	}
	return verdict(missing)
}

// channels returns those that there are of the names and IDs.
func (s *Systems) channels(ctx context.Context, token config.Secret, types string, names []string) (map[string]slackChannel, error) {
	found := map[string]slackChannel{}
	byName := 0
	for _, name := range names {
		if strings.HasPrefix(name, "#") {
			byName++
			continue
		}
		said, _, err := s.slack(ctx, token, "conversations.info", url.Values{"channel": {name}})
		switch {
		case err == nil:
			found[name] = said.Channel
		case said.Error != "channel_not_found":
			return nil, err
		}
	}
	cursor := ""
	for range maxPages {
		if byName == 0 {
			return found, nil
		}
		said, _, err := s.slack(ctx, token, "conversations.list", url.Values{
			"types": {types}, "limit": {fmt.Sprint(channelsOfPage)}, "cursor": {cursor},
		})
		if err != nil {
			return nil, err
		}
		for _, channel := range said.Channels {
			if name := "#" + channel.Name; slices.Contains(names, name) {
				found[name] = channel
				byName--
			}
		}
		if cursor = said.Metadata.Cursor; cursor == "" {
			return found, nil
		}
	}
	return nil, fmt.Errorf("Slack: the first %d channels are not all that there are: name those that are not among them by ID", maxPages*channelsOfPage) //nolint:staticcheck // a name
}

// checkGitHub looks at each repository, and tries to create an issue without a title in it:
// GitHub refuses that, with 422 only to those who may create one.
func (s *Systems) checkGitHub(ctx context.Context, all []destinations.Destination) (Status, []string) {
	names, by := used(all, func(d destinations.Destination) string { return d.GitHub })
	token, status, missing := s.credential(config.GitHubToken, len(names) > 0)
	if status != Ready {
		return status, missing
	}
	header := bearer(token)
	header.Set("Accept", "application/vnd.github+json")
	header.Set("X-Github-Api-Version", "2022-11-28")
	ask := func(method, path string, body []byte) (Answer, error) {
		return s.Client.Do(ctx, Request{System: "GitHub", Variable: config.GitHubToken, Method: method, URL: s.GitHubAPIURL + path, Header: header, Body: body})
	}
	if len(names) == 0 {
		if _, err := ask("", "/rate_limit", nil); err != nil {
			missing = append(missing, err.Error())
		}
		return verdict(missing)
	}
	for _, name := range names[:min(len(names), maxLookedAt)] {
		if line := repository(ask, name); line != "" {
			missing = append(missing, line+named(by[name]))
		}
	}
	return verdict(missing)
}

// repository returns what keeps issues from being created in a repository, "" if nothing does.
func repository(ask func(method, path string, body []byte) (Answer, error), name string) string {
	answer, err := ask("", "/repos/"+name, nil)
	switch statusOf(err) {
	case http.StatusUnauthorized:
		return config.GitHubToken + " is not a token that GitHub takes (401)"
	case http.StatusNotFound:
		return "there is no repository " + name + " that " + config.GitHubToken + " may see (404)"
	}
	if err != nil {
		return err.Error()
	}
	var is struct {
		Issues   *bool `json:"has_issues"`
		Archived bool  `json:"archived"`
	}
	switch wrong := json.Unmarshal(answer.Body, &is); {
	case wrong != nil:
		return "GitHub: it answers something else than its API does: look at TRIAGE_GITHUB_API_URL"
	case is.Archived:
		return "the repository " + name + " is archived"
	case is.Issues != nil && !*is.Issues:
		return "the repository " + name + " has issues turned off"
	}
	answer, err = ask(http.MethodPost, "/repos/"+name+"/issues", []byte("{}"))
	limited := answer.Header.Get("X-Ratelimit-Remaining") == "0" || answer.Header.Get("Retry-After") != ""
	switch status := statusOf(err); {
	case status == http.StatusUnprocessableEntity:
		return ""
	case status == http.StatusForbidden && limited:
		return "GitHub: its rate limit is used up"
	case status == http.StatusForbidden, status == http.StatusNotFound:
		return config.GitHubToken + " may not create issues in " + name + ": it lacks the permission Issues: write (of a classic token, the scope repo)"
	case status == http.StatusGone:
		return "the repository " + name + " has issues turned off"
	}
	if err != nil {
		return err.Error()
	}
	return "GitHub: it takes an issue without a title: look at TRIAGE_GITHUB_API_URL"
}
