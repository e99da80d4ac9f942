package outside_test

import (
	"fmt"
	"slices"
	"testing"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
)

func TestSlackIsReadyWhenTheBotIsInItsChannel(t *testing.T) {
	scopes := []string{"chat:write", "channels:read", "channels:history", "groups:read", "groups:history"}
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(names, s) })
	}
	for name, test := range map[string]struct {
		channel string
		scopes  []string
		token   string // "": the right one
		fault   standin.Fault
		missing []string
	}{
		"a public channel":                 {channel: "#sentry", scopes: scopes},
		"by its ID":                        {channel: "C00000001", scopes: scopes},
		"a private channel":                {channel: "#secret", scopes: scopes},
		"a private channel by its ID":      {channel: "C00000002", scopes: scopes},
		"a public channel, public scopes":  {channel: "#sentry", scopes: without("groups:read", "groups:history")},
		"a private channel, public scopes": {channel: "#secret", scopes: without("groups:read", "groups:history"), missing: []string{"#secret TRIAGE_SLACK_CHANNEL private"}},
		"another token":                    {channel: "#sentry", scopes: scopes, token: "xoxb-" + hush, missing: []string{"TRIAGE_SLACK_TOKEN invalid_auth"}},
		"it may not post":                  {channel: "#sentry", scopes: without("chat:write"), missing: []string{"TRIAGE_SLACK_TOKEN chat:write"}},
		"it sees no channels":              {channel: "#sentry", scopes: []string{"chat:write"}, missing: []string{"TRIAGE_SLACK_TOKEN channels:read"}},
		"it may read no history":           {channel: "#sentry", scopes: without("channels:history"), missing: []string{"TRIAGE_SLACK_TOKEN channels:history"}},
		"nor a private one":                {channel: "#secret", scopes: without("groups:history"), missing: []string{"TRIAGE_SLACK_TOKEN groups:history"}},
		"the bot is not in it":             {channel: "#alone", scopes: scopes, missing: []string{"#alone TRIAGE_SLACK_CHANNEL invite"}},
		"it is archived":                   {channel: "C00000004", scopes: scopes, missing: []string{"C00000004 TRIAGE_SLACK_CHANNEL archived"}},
		"there is no such channel":         {channel: "#nowhere", scopes: scopes, missing: []string{"#nowhere TRIAGE_SLACK_CHANNEL"}},
		"there is no such ID":              {channel: "C99999999", scopes: scopes, missing: []string{"C99999999 TRIAGE_SLACK_CHANNEL"}},
		"it fails":                         {channel: "#sentry", scopes: scopes, fault: standin.Fault{Times: -1, Status: 503}, missing: []string{"Slack 503"}},
		"too much is asked":                {channel: "#sentry", scopes: scopes, fault: standin.Fault{Path: "GET /api/conversations.list", Status: 429}, missing: []string{"Slack 429"}},
		"it is something else":             {channel: "#sentry", scopes: scopes, fault: standin.Fault{Times: -1, Status: 200, Body: "<html>" + hush}, missing: []string{"Slack TRIAGE_SLACK_API_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := standin.StartSlack(standin.SlackOptions{
				Token: "xoxb-right-" + hush, Scopes: test.scopes,
				Channels: []standin.SlackChannel{{ID: "C00000001", Name: "sentry"}, {ID: "C00000002", Name: "secret", Private: true}, {ID: "C00000003", Name: "alone", Without: true}, {ID: "C00000004", Name: "old", Archived: true}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if test.fault.Status > 0 {
				s.Fail(test.fault)
			}
			token := "xoxb-right-" + hush
			if test.token != "" {
				token = test.token
			}
			o := config.Outside{SlackAPIURL: s.URL + "/api", SlackChannel: test.channel, Secret: secretsOf(map[string]string{config.SlackToken: token})}
			status := outside.Ready
			if test.missing != nil {
				status = outside.NotReady
			}
			want(t, checked(t, o, "Slack"), status, test.missing...)
			if n := len(s.Messages("")); n > 0 {
				t.Errorf("%d messages were posted", n)
			}
		})
	}
	t.Run("a destination of the file needs a token that is not there", func(t *testing.T) {
		o := config.Outside{SlackChannel: "#sentry", Secret: config.NoOutside().Secret}
		want(t, checked(t, o, "Slack"), outside.NotReady, "TRIAGE_SLACK_TOKEN set")
	})
}

func TestAChannelIsFoundOnAnyPageOfAWorkspace(t *testing.T) {
	channels := func(n int) (all []standin.SlackChannel) {
		for i := range n {
			all = append(all, standin.SlackChannel{Name: fmt.Sprint("other-", i)})
		}
		return append(all, standin.SlackChannel{Name: "sentry"})
	}
	for n, missing := range map[int][]string{2500: nil, 9989: nil, 9990: {"9990 ID"}} {
		s, err := standin.StartSlack(standin.SlackOptions{Token: "xoxb-right", Channels: channels(n)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		o := config.Outside{SlackAPIURL: s.URL + "/api", SlackChannel: "#sentry", Secret: secretsOf(map[string]string{config.SlackToken: "xoxb-right"})}
		status := outside.Ready
		if missing != nil {
			status = outside.NotReady
		}
		want(t, checked(t, o, "Slack"), status, missing...)
	}
	t.Run("and no further", func(t *testing.T) {
		all := channels(2500)
		slices.Reverse(all)
		s, err := standin.StartSlack(standin.SlackOptions{Token: "xoxb-right", Channels: all})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		o := config.Outside{SlackAPIURL: s.URL + "/api", SlackChannel: "#sentry", Secret: secretsOf(map[string]string{config.SlackToken: "xoxb-right"})}
		want(t, checked(t, o, "Slack"), outside.Ready)
		if n := len(s.Received()); n != 2 { // with auth.test
			t.Errorf("Slack was asked %d times", n)
		}
	})
}
