package activities_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	slackgo "github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

const (
	slackToken = "xoxb-" + secretPart + "-0123456789"
	slackHook  = "/services/T0/B0/" + secretPart
)

var (
	slackDo  *activities.Slack
	slackKey = activities.EffectKey("sentry", "issue:1", "message", "1")
	card     = activities.Card{
		Integration: "sentry", Event: "sentry.issue.created", Headline: "New issue", Title: "TypeError: x is undefined", URL: "https://acme.sentry.io/issues/4711/", ShortID: "BACKEND-1A", Severity: "critical",
		Level: "fatal", Project: "backend", Environment: "production", Release: "1.2.3", Users: "42", Count: "99", FirstSeen: "2026-11-25T17:03:00Z", Culprit: "checkout.views", Frame: "checkout/views.py:17 in pay",
	}
)

func init() {
	var at string // of the message that is there, in the test that runs
	post := func(ctx workflow.Context) error {
		_, err := triage.Do(ctx, slackDo.PostMessage, activities.SlackPost{Channel: "#sentry", Key: slackKey, Card: card})
		return err
	}
	effects = append(effects, effect{
		name: "Slack: post", variable: config.SlackToken, once: true, path: "/api/chat.postMessage",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			return served{Server: s.Server, cfg: cfg, effects: func() int { return len(s.Messages("sentry")) }}
		},
		do: post,
	}, effect{
		name: "Slack: reply", variable: config.SlackToken, once: true, path: "/api/chat.postMessage",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			at = s.Say("sentry", "something").Timestamp
			return served{Server: s.Server, cfg: cfg, effects: func() int { return len(s.Messages("sentry")) - 1 }}
		},
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, slackDo.ReplyInThread, activities.SlackReply{Channel: slackChannel, Timestamp: at, Key: slackKey, Text: "resolved"})
			return err
		},
	}, effect{
		name: "Slack: update", variable: config.SlackToken, once: true, late: true, local: true, path: "/api/chat.update",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			_, o := runOne(t, cfg, slackDo.PostMessage, activities.SlackPost{Channel: "#sentry", Key: slackKey, Card: card})
			require.NoError(t, o.err)
			at = s.Messages("sentry")[0].Timestamp
			return served{Server: s.Server, cfg: cfg, effects: func() int { return min(s.Messages("sentry")[0].Edited, 1) }}
		},
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, slackDo.UpdateMessage, activities.SlackUpdate{Channel: slackChannel, Timestamp: at, Card: card})
			return err
		},
	}, effect{
		name: "Slack: incoming webhook", variable: config.SlackWebhookURL, path: "/services/",
		serve: func(t *testing.T) served {
			t.Helper()
			s, cfg := slack(t, standin.SlackOptions{})
			return served{Server: s.Server, cfg: cfg, effects: func() int { return len(s.Messages("sentry")) }}
		},
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, slackDo.PostToIncomingWebhook, activities.SlackHookPost{Variable: config.SlackWebhookURL, Card: card})
			return err
		},
	})
}

// slackChannel is the ID of the channel sentry.
const slackChannel = "C0SENTRY01"

// slack starts a stand-in with the channel sentry, unless it has others.
func slack(t *testing.T, options standin.SlackOptions) (*standin.Slack, config.Outside) {
	t.Helper()
	options.Token = slackToken
	if options.Channels == nil {
		options.Channels = []standin.SlackChannel{{Name: "general"}, {Name: "sentry", ID: slackChannel}}
	}
	options.Hooks = map[string]string{slackHook: "sentry"}
	s, err := standin.StartSlack(options)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, config.Outside{SlackAPIURL: s.URL + "/api", Secret: secretsOf(map[string]string{config.SlackToken: slackToken, config.SlackWebhookURL: s.URL + slackHook})}
}

// peopleSee is what people see of a stand-in.
func peopleSee(t *testing.T, s *standin.Server) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(text)
}

func postOf(card activities.Card) activities.SlackPost {
	return activities.SlackPost{Channel: "#sentry", Key: slackKey, Card: card}
}

func TestAMessageInSlackTellsWhatBrokeWhere(t *testing.T) {
	s, cfg := slack(t, standin.SlackOptions{})
	posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
	require.NoError(t, o.err)
	message := s.Messages("sentry")[0]
	assert.Equal(t, activities.SlackMessage{
		Channel: slackChannel, Timestamp: message.Timestamp, URL: "https://acme.slack.com/archives/" + slackChannel + "/p" + strings.ReplaceAll(message.Timestamp, ".", ""),
	}, posted)
	assert.Equal(t, "🔴 New issue: TypeError: x is undefined in backend, production", message.Text)
	seen := peopleSee(t, s.Server)
	for _, want := range []string{
		`<b>New issue</b>  ·  BACKEND-1A  ·  critical`,
		`<b><a href="https://acme.sentry.io/issues/4711/" rel="noreferrer">TypeError: x is undefined</a></b>`,
		`Level <b>fatal</b>  ·  Project <b>backend</b>  ·  Environment <b>production</b>  ·  Release <b>1.2.3</b>`,
		`Users <b>42</b>  ·  Events <b>99</b>  ·  First seen <b>Nov 25, 2026 at 17:03</b>`,
		`<code>checkout.views</code>  <code>checkout/views.py:17 in pay</code>`,
	} {
		assert.Contains(t, seen, want)
	}
	assert.Regexp(t, `<a href="https://temporal\.example/namespaces/[^/]+/workflows/[^/]+/[^/"]+" rel="noreferrer">Temporal run</a>`, seen)
	for _, r := range s.Received() {
		if r.Path == "/api/chat.postMessage" {
			assert.Contains(t, r.Body, `"unfurl_links":false`)
			assert.Contains(t, r.Body, `"unfurl_media":false`)
		}
	}
}

func TestAMessageLeavesOutWhatIsNotKnown(t *testing.T) {
	s, cfg := slack(t, standin.SlackOptions{})
	_, o := runOne(t, cfg, slackDo.PostMessage, postOf(activities.Card{FirstSeen: "yesterday"}))
	require.NoError(t, o.err)
	assert.Equal(t, "🟠 Sentry: (no title)", s.Messages("sentry")[0].Text)
	assert.Regexp(t, `(?s)<div class="section"><div class="line"><span class="emoji[^>]*></span> <b>Sentry</b></div><div class="line"><b>\(no title\)</b></div></div>`, peopleSee(t, s.Server))
}

func TestAMessageSaysAtOnceWhatKindItIs(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*activities.Card)
		sign   string
		said   string
	}{
		"a test":          {func(c *activities.Card) { c.Test = true }, "🧪 Test: ", "There is nothing to do."},
		"it is resolved":  {func(c *activities.Card) { c.Event, c.Headline = "sentry.metric_alert.resolved", "Resolved" }, "✅ Resolved", "Resolved"},
		"fatal":           {func(c *activities.Card) { c.Severity = "" }, "🔴", "fatal"},
		"critical":        {func(c *activities.Card) { c.Level = "error" }, "🔴", "critical"},
		"a warning":       {func(c *activities.Card) { c.Severity, c.Level = "", "warning" }, "🟡", "warning"},
		"an information":  {func(c *activities.Card) { c.Severity, c.Level = "", "info" }, "🔵", "info"},
		"an error":        {func(c *activities.Card) { c.Severity, c.Level = "high", "error" }, "🟠", "high"},
		"an alert's rule": {func(c *activities.Card) { c.Rule = "Too many" }, "🔴", "Rule <b>Too many</b>"},
		"the rule is all": {func(c *activities.Card) { c.Rule = c.Title }, "🔴", "Temporal run"},
		"details":         {func(c *activities.Card) { c.Details = "one\n\ntwo" }, "🔴", `<div class="line">one</div><div class="line">two</div>`},
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := slack(t, standin.SlackOptions{})
			changed := card
			tt.change(&changed)
			_, o := runOne(t, cfg, slackDo.PostMessage, postOf(changed))
			require.NoError(t, o.err)
			assert.True(t, strings.HasPrefix(s.Messages("sentry")[0].Text, tt.sign), s.Messages("sentry")[0].Text)
			seen := peopleSee(t, s.Server)
			assert.Contains(t, seen, tt.said)
			assert.Equal(t, 1, strings.Count(seen, changed.Title+"</"), "the title is there once")
		})
	}
}

var hrefs = regexp.MustCompile(`href="([^"]*)"`)

// checkSlack says what somebody hostile has reached in the messages of a stand-in.
func checkSlack(t *testing.T, s *standin.Slack, most int) {
	t.Helper()
	seen := peopleSee(t, s.Server)
	assert.NotContains(t, seen, `class="mention"`)
	for _, found := range hrefs.FindAllStringSubmatch(seen, -1) {
		if !strings.HasPrefix(found[1], "https://temporal.example/") {
			assert.Equal(t, "https://acme.sentry.io/issues/4711/", found[1])
		}
	}
	for _, message := range s.Messages("") {
		assert.True(t, utf8.ValidString(message.Text))
		assert.False(t, strings.ContainsFunc(message.Text, unicode.IsControl))
		assert.NotRegexp(t, `[<>]`, message.Text)
		// The blocks as others read them: nothing but what is meant to be there.
		var blocks slackgo.Blocks
		require.NoError(t, json.Unmarshal(message.Blocks, &blocks))
		require.Len(t, blocks.BlockSet, 1)
		rich, ok := blocks.BlockSet[0].(*slackgo.RichTextBlock)
		require.True(t, ok)
		require.Len(t, rich.Elements, 1)
		section, ok := rich.Elements[0].(*slackgo.RichTextSection)
		require.True(t, ok)
		lines := 1
		for _, element := range section.Elements {
			switch e := element.(type) {
			case *slackgo.RichTextSectionTextElement:
				assert.True(t, e.Text == "\n" || !strings.ContainsFunc(e.Text, unicode.IsControl), e.Text)
				assert.True(t, utf8.ValidString(e.Text))
				assert.NotRegexp(t, `\pM{5}`, e.Text)
				if e.Text == "\n" {
					lines++
				}
			case *slackgo.RichTextSectionLinkElement:
				assert.Regexp(t, `^https://(acme\.sentry\.io/issues/4711/$|temporal\.example/)`, e.URL)
			case *slackgo.RichTextSectionEmojiElement:
				assert.Equal(t, "red_circle", e.Name)
			case *slackgo.RichTextSectionDateElement:
			default:
				t.Errorf("there is a %T", e)
			}
		}
		assert.LessOrEqual(t, lines, most)
	}
}

func TestHostileTextsInSlackMentionNobodyAndLeadNowhere(t *testing.T) {
	for _, h := range hostileTexts {
		t.Run(h.name, func(t *testing.T) {
			s, cfg := slack(t, standin.SlackOptions{})
			posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(hostileCard(h.text)))
			require.NoError(t, o.err)
			_, o = runOne(t, cfg, slackDo.UpdateMessage, activities.SlackUpdate{Channel: slackChannel, Timestamp: posted.Timestamp, Card: hostileCard(h.text)})
			require.NoError(t, o.err)
			_, o = runOne(t, cfg, slackDo.PostToIncomingWebhook, activities.SlackHookPost{Variable: config.SlackWebhookURL, Card: hostileCard(h.text)})
			require.NoError(t, o.err)
			checkSlack(t, s, 18) // 7 of the card, up to 11 of its details
			s, cfg = slack(t, standin.SlackOptions{})
			at := s.Put(standin.SlackPosted{Channel: "sentry", Text: "x", Blocks: []byte(`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[]}]}]`)}).Timestamp
			_, o = runOne(t, cfg, slackDo.ReplyInThread, activities.SlackReply{Channel: slackChannel, Timestamp: at, Key: slackKey, Text: h.text})
			require.NoError(t, o.err)
			checkSlack(t, s, 31)
		})
	}
}

func TestSlackIsGivenNoLinkThatIsNoWebPage(t *testing.T) {
	for _, address := range hostileURLs {
		s, cfg := slack(t, standin.SlackOptions{})
		changed := card
		changed.URL = address
		_, o := runOne(t, cfg, slackDo.PostMessage, postOf(changed))
		require.NoError(t, o.err)
		checkSlack(t, s, 7)
		assert.Equal(t, 1, strings.Count(peopleSee(t, s.Server), "href="), address)
	}
}

func TestSlackIsGivenLinksToWebPages(t *testing.T) {
	for _, address := range []string{"https://sentry.example/~a/b?c=d&e=%20#f", "http://[::1]:9000/issues/1/", "https://sentry.example/" + strings.Repeat("x", 3000-len("https://sentry.example/"))} {
		s, cfg := slack(t, standin.SlackOptions{})
		changed := card
		changed.URL = address
		_, o := runOne(t, cfg, slackDo.PostMessage, postOf(changed))
		require.NoError(t, o.err)
		assert.Contains(t, string(s.Messages("sentry")[0].Blocks), strings.ReplaceAll(address, "&", `\u0026`))
	}
}

// lostPost is an answer that is lost after the effect.
var lostPost = standin.Fault{Path: "/api/chat.postMessage", After: true, Cut: true}

// unclearPost is an answer from which nobody knows whether there was an effect.
var unclearPost = standin.Fault{Path: "/api/chat.postMessage", Status: http.StatusInternalServerError}

// earlierPost is the message that an earlier attempt has posted.
func earlierPost(s *standin.Slack) standin.SlackPosted {
	return standin.SlackPosted{Channel: "sentry", Text: "x", Bot: s.BotID, EventType: "sentry_temporal", Payload: []byte(`{"key":"` + slackKey + `"}`)}
}

// lookedInSlack counts how often the messages of a channel were read.
func lookedInSlack(s *standin.Slack) int {
	n := 0
	for _, r := range s.Received() {
		if strings.HasPrefix(r.Path, "/api/conversations.history") {
			n++
		}
	}
	return n
}

func TestAMessageIsFoundAgainWhereverItIs(t *testing.T) {
	many := []standin.SlackChannel{}
	for i := range 1001 {
		many = append(many, standin.SlackChannel{Name: fmt.Sprint("channel-", i)})
	}
	many = append(many, standin.SlackChannel{Name: "sentry", ID: slackChannel})
	for name, options := range map[string]standin.SlackOptions{
		"behind others":             {Page: 2},
		"in a channel of many":      {Channels: many},
		"in a private channel":      {Channels: []standin.SlackChannel{{Name: "sentry", ID: slackChannel, Private: true}}},
		"without scopes of private": {Scopes: []string{"chat:write", "channels:read", "channels:history"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := slack(t, options)
			mine := s.Put(earlierPost(s))
			for _, payload := range []string{`{"key":5}`, `{"key":["` + slackKey + `"]}`, `{"a":"b"}`} { // of others
				s.Put(standin.SlackPosted{Channel: "sentry", Text: "x", Bot: s.BotID, EventType: "sentry_temporal", Payload: []byte(payload)})
			}
			for i := range 5 {
				s.Say("sentry", fmt.Sprint("later ", i))
			}
			s.Fail(unclearPost)
			posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
			require.NoError(t, o.err)
			assert.Len(t, s.Messages("sentry"), 9)
			assert.Equal(t, mine.Timestamp, posted.Timestamp)
			assert.Empty(t, posted.Note)
			assert.NotEmpty(t, posted.URL)
		})
	}
}

func TestOnlyTheBotsOwnMessageOfTheSameKeyIsFound(t *testing.T) {
	for name, change := range map[string]func(*standin.SlackPosted){
		"another bot has written the key": func(m *standin.SlackPosted) { m.Bot = "B0OTHER" },
		"a person has":                    func(m *standin.SlackPosted) { m.Bot = "" },
		"it has another key":              func(m *standin.SlackPosted) { m.Payload = []byte(`{"key":"` + strings.Repeat("0", 64) + `"}`) },
		"it is another program's":         func(m *standin.SlackPosted) { m.EventType = "other" },
		"it is in another channel":        func(m *standin.SlackPosted) { m.Channel = "general" },
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := slack(t, standin.SlackOptions{})
			other := earlierPost(s)
			change(&other)
			s.Put(other)
			s.Fail(unclearPost)
			posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
			require.NoError(t, o.err)
			assert.Len(t, s.Messages(""), 2)
			assert.Equal(t, s.Messages("")[1].Timestamp, posted.Timestamp)
			assert.Contains(t, posted.Note, "may be there twice")
		})
	}
}

func TestAMessageIsPostedAgainRatherThanNotAtAll(t *testing.T) {
	for name, tt := range map[string]struct {
		options standin.SlackOptions
		channel string
		said    string
	}{
		"the bot is not in the channel":   {standin.SlackOptions{Channels: []standin.SlackChannel{{Name: "sentry", ID: slackChannel, Without: true}}}, "#sentry", "invite the bot to #sentry"},
		"it may not read":                 {standin.SlackOptions{Scopes: []string{"chat:write", "channels:read"}}, "#sentry", "channels:history"},
		"it may not look for the channel": {standin.SlackOptions{Scopes: []string{"chat:write", "channels:history"}}, "#sentry", "channels:read"},
		"it has just the ID":              {standin.SlackOptions{Scopes: []string{"chat:write"}}, slackChannel, "channels:history"},
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := slack(t, tt.options)
			s.Fail(lostPost)
			posted, o := runOne(t, cfg, slackDo.PostMessage, activities.SlackPost{Channel: tt.channel, Key: slackKey, Card: card})
			require.NoError(t, o.err)
			assert.Len(t, s.Messages("sentry"), 2)
			assert.Contains(t, posted.Note, "may be there twice")
			assert.Contains(t, posted.Note, tt.said)
		})
	}
}

func TestAMessageIsLookedForOnlyIfItCanBeThere(t *testing.T) {
	limited := standin.Fault{Path: "/api/chat.postMessage", Times: 3, Status: http.StatusTooManyRequests}
	t.Run("nothing was sent", func(t *testing.T) {
		s, cfg := slack(t, standin.SlackOptions{})
		s.Fail(limited)
		posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.NoError(t, o.err)
		assert.Empty(t, posted.Note)
		assert.Zero(t, lookedInSlack(s))
	})
	t.Run("nothing was sent at first", func(t *testing.T) {
		s, cfg := slack(t, standin.SlackOptions{})
		s.Fail(limited, lostPost, limited)
		_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.NoError(t, o.err)
		assert.Len(t, s.Messages("sentry"), 1)
	})
	t.Run("what is not sent later says nothing of before", func(t *testing.T) {
		s, cfg := slack(t, standin.SlackOptions{})
		s.Fail(unclearPost, limited)
		posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.NoError(t, o.err)
		assert.Equal(t, 5, o.attempts)
		assert.Equal(t, 4, lookedInSlack(s))
		assert.NotEmpty(t, posted.Note)
	})
}

func TestAMessageIsLookedForWhenItCanNoLongerCome(t *testing.T) {
	s, cfg := slack(t, standin.SlackOptions{})
	s.Fail(lostPost)
	_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
	require.NoError(t, o.err)
	assert.GreaterOrEqual(t, o.waited, outside.Timeout)
}

func TestASlackThatIsBusyForHoursGetsItsMessage(t *testing.T) {
	for name, fault := range map[string]standin.Fault{
		"it says to come again in a second": {Path: "/api/chat.postMessage", Times: 30, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}},
		"it says nothing of that":           {Path: "/api/chat.postMessage", Times: 30, Status: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := slack(t, standin.SlackOptions{})
			s.Fail(fault)
			_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
			require.NoError(t, o.err)
			assert.Len(t, s.Messages("sentry"), 1)
			assert.Equal(t, 31, o.attempts)
			assert.Greater(t, o.waited, time.Hour)
		})
	}
}

func TestAMessageNeedsAKeyOfItsOwn(t *testing.T) {
	s, cfg := slack(t, standin.SlackOptions{})
	_, o := runOne(t, cfg, slackDo.PostMessage, activities.SlackPost{Channel: "#sentry", Card: card})
	require.Error(t, o.err)
	assert.Equal(t, 1, o.attempts)
	assert.Empty(t, s.Received())
}

func TestAMessageWaitsUntilItCanBeLookedFor(t *testing.T) {
	for name, fault := range map[string]standin.Fault{
		"Slack is away":       {Path: "/api/conversations.history", Times: 3, Status: http.StatusServiceUnavailable},
		"Slack is busy":       {Path: "/api/auth.test", Times: 3, Status: http.StatusTooManyRequests},
		"something is odd":    {Path: "/api/conversations.list", Status: http.StatusOK, Body: "<html>"},
		"something is broken": {Path: "/api/conversations.history", Status: http.StatusOK, Body: `{"ok":false,"error":"internal_error"}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := slack(t, standin.SlackOptions{})
			s.Fail(lostPost, fault)
			posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
			require.NoError(t, o.err)
			assert.Len(t, s.Messages("sentry"), 1)
			assert.Empty(t, posted.Note)
		})
	}
}

func TestTheSearchForAMessageHasAnEnd(t *testing.T) {
	s, cfg := slack(t, standin.SlackOptions{Page: 1})
	s.Put(earlierPost(s))
	for i := range 30 {
		s.Say("sentry", fmt.Sprint("later ", i))
	}
	s.Fail(unclearPost)
	posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
	require.NoError(t, o.err)
	assert.Equal(t, 20, lookedInSlack(s))
	assert.Contains(t, posted.Note, "too many messages")
}

func TestSlackMayKnowAMessageThatItDoesNotFind(t *testing.T) {
	knows := standin.Fault{Path: "/api/chat.postMessage", Status: http.StatusOK, Body: `{"ok":false,"error":"duplicate_message_not_found"}`}
	for after, note := range map[bool]string{true: "", false: "may be there twice"} {
		s, cfg := slack(t, standin.SlackOptions{})
		fault := knows
		fault.After = after
		s.Fail(fault)
		posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.NoError(t, o.err)
		require.Len(t, s.Messages("sentry"), 1)
		assert.Equal(t, s.Messages("sentry")[0].Timestamp, posted.Timestamp)
		assert.Contains(t, posted.Note, note)
		assert.Equal(t, 1, o.attempts)
	}
	t.Run("and that is not there", func(t *testing.T) {
		s, cfg := slack(t, standin.SlackOptions{})
		s.Fail(unclearPost, knows)
		posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.NoError(t, o.err)
		assert.Len(t, s.Messages("sentry"), 1)
		assert.Contains(t, posted.Note, "may be there twice")
		assert.Equal(t, 1, lookedInSlack(s))
	})
}

func TestSlackMayTakeAMessageOnceByItself(t *testing.T) {
	s, cfg := slack(t, standin.SlackOptions{Deduplicate: true, Scopes: []string{"chat:write"}})
	s.Fail(lostPost)
	_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
	require.NoError(t, o.err)
	assert.Len(t, s.Messages("sentry"), 1)
}

func TestWhatSlackRefusesIsFinalAndTellsWhatToDo(t *testing.T) {
	for name, tt := range map[string]struct {
		options standin.SlackOptions
		said    []string
	}{
		"no scope":            {standin.SlackOptions{Scopes: []string{"channels:read"}}, []string{"missing_scope", "chat:write", config.SlackToken}},
		"not in the channel":  {standin.SlackOptions{Channels: []standin.SlackChannel{{Name: "sentry", Without: true}}, Scopes: []string{"chat:write"}}, []string{"not_in_channel", "invite", "#sentry"}},
		"no such channel":     {standin.SlackOptions{Channels: []standin.SlackChannel{{Name: "other"}}}, []string{"channel_not_found", "#sentry"}},
		"an archived channel": {standin.SlackOptions{Channels: []standin.SlackChannel{{Name: "sentry", Archived: true}}}, []string{"is_archived", "#sentry"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := slack(t, tt.options)
			_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
			require.Error(t, o.err)
			for _, said := range tt.said {
				assert.Contains(t, o.err.Error(), said)
			}
			assert.Equal(t, 1, o.attempts)
			assert.Empty(t, s.Messages(""))
		})
	}
	t.Run("a token that is no longer one", func(t *testing.T) {
		_, cfg := slack(t, standin.SlackOptions{})
		cfg.Secret = secretsOf(map[string]string{config.SlackToken: "xoxb-" + secretPart + "-old"})
		_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.Error(t, o.err)
		assert.Contains(t, o.err.Error(), config.SlackToken)
		assert.Equal(t, 1, o.attempts)
	})
	t.Run("an address of the API that cannot be used", func(t *testing.T) {
		_, cfg := slack(t, standin.SlackOptions{})
		cfg.SlackAPIURL = ""
		_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.Error(t, o.err)
		assert.Contains(t, o.err.Error(), "TRIAGE_SLACK_API_URL")
		assert.Equal(t, 1, o.attempts)
	})
}

func TestSlacksErrorsAreWhatTheySay(t *testing.T) {
	for code, attempts := range map[string]int{
		"internal_error": 2, "fatal_error": 2, "service_unavailable": 2, "request_timeout": 2, "ratelimited": 2, "rate_limited": 2,
		"invalid_blocks": 1, "msg_too_long": 1, "restricted_action": 1, "token_revoked": 1, "something_new": 1,
	} {
		s, cfg := slack(t, standin.SlackOptions{})
		s.Fail(standin.Fault{Path: "/api/chat.postMessage", Status: http.StatusOK, Body: `{"ok":false,"error":"` + code + `"}`})
		_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		assert.Equal(t, attempts, o.attempts, code)
		assert.Len(t, s.Messages("sentry"), attempts-1, code)
		assert.Contains(t, o.seen, code)
	}
}

func TestAnAnswerWithoutAMessageIsNone(t *testing.T) {
	for _, body := range []string{``, `null`, `{}`, `{"ok":true}`, `{"ok":true,"ts":"1.000001"}`, `{"ok":true,"channel":"C1"}`, `{"ok":true,"ts":5}`, `{"ok":"true"}`, `{"ok":false}`, `[]`} {
		s, cfg := slack(t, standin.SlackOptions{})
		s.Fail(standin.Fault{Path: "/api/chat.postMessage", Status: http.StatusOK, Body: body})
		_, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.NoError(t, o.err, body)
		assert.Equal(t, 2, o.attempts, body)
		assert.Len(t, s.Messages("sentry"), 1, body)
	}
}

func TestAMessageIsThereThoughItsAddressIsNot(t *testing.T) {
	for name, fault := range map[string]standin.Fault{
		"none":      {Status: http.StatusInternalServerError},
		"no answer": {Hang: true},
		"no page":   {Status: http.StatusOK, Body: `{"ok":true,"permalink":"javascript:alert(1)"}`},
	} {
		s, cfg := slack(t, standin.SlackOptions{})
		fault.Path = "/api/chat.getPermalink"
		s.Fail(fault)
		posted, o := runOne(t, cfg, slackDo.PostMessage, postOf(card))
		require.NoError(t, o.err, name)
		assert.Empty(t, posted.URL, name)
		assert.NotEmpty(t, posted.Timestamp, name)
	}
}

func TestAnIncomingWebhookIsNotRepeatedIfItMayHaveArrived(t *testing.T) {
	for name, fault := range map[string]standin.Fault{
		"the answer is lost": {After: true, Cut: true},
		"500":                {Status: http.StatusInternalServerError, Body: "rollup_error"},
		"something else":     {Status: http.StatusOK, Body: "<html>"},
		"an empty answer":    {Status: http.StatusNoContent},
	} {
		s, cfg := slack(t, standin.SlackOptions{})
		fault.Path = "/services/"
		s.Fail(fault)
		_, o := runOne(t, cfg, slackDo.PostToIncomingWebhook, activities.SlackHookPost{Variable: config.SlackWebhookURL, Card: card})
		refused, ok := errors.AsType[*temporal.ApplicationError](o.err)
		require.True(t, ok, name)
		assert.Equal(t, activities.TypeUnknown, refused.Type(), name)
		assert.Equal(t, 1, o.attempts, name)
	}
}

func TestAnIncomingWebhookIsNotRepeatedAfterItsWorkerWasKilled(t *testing.T) {
	s, cfg := slack(t, standin.SlackOptions{})
	o := effect{killed: true, do: func(ctx workflow.Context) error {
		_, err := triage.Do(ctx, slackDo.PostToIncomingWebhook, activities.SlackHookPost{Variable: config.SlackWebhookURL, Card: card})
		return err
	}}.run(t, cfg)
	refused, ok := errors.AsType[*temporal.ApplicationError](o.err)
	require.True(t, ok)
	assert.Equal(t, activities.TypeUnknown, refused.Type())
	assert.Contains(t, refused.Message(), "not known")
	assert.Len(t, s.Messages("sentry"), 1)
}

func TestAnIncomingWebhookThatIsGoneNamesItsVariable(t *testing.T) {
	for code, status := range map[string]int{"no_service": 404, "channel_is_archived": 410, "action_prohibited": 403, "invalid_payload": 400} {
		s, cfg := slack(t, standin.SlackOptions{})
		s.Fail(standin.Fault{Path: "/services/", Status: status, Body: code})
		_, o := runOne(t, cfg, slackDo.PostToIncomingWebhook, activities.SlackHookPost{Variable: config.SlackWebhookURL, Card: card})
		require.Error(t, o.err)
		assert.Contains(t, o.err.Error(), code)
		assert.Contains(t, o.err.Error(), config.SlackWebhookURL)
		assert.Equal(t, 1, o.attempts)
	}
	_, cfg := slack(t, standin.SlackOptions{})
	cfg.Secret = secretsOf(map[string]string{"PAY_SLACK": "ftp://x"})
	_, o := runOne(t, cfg, slackDo.PostToIncomingWebhook, activities.SlackHookPost{Variable: "PAY_SLACK", Card: card})
	require.Error(t, o.err)
	assert.Contains(t, o.err.Error(), "PAY_SLACK")
	assert.Equal(t, 1, o.attempts)
}
