package standin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/internal/standin"
)

const (
	slackToken = "xoxb-1"
	slackHook  = "/services/T0/B0/x"
)

// startSlack starts a Slack with the channel sentry, and a client of others for it.
func startSlack(t *testing.T, options standin.SlackOptions) (*standin.Slack, *slack.Client) {
	t.Helper()
	options.Token = slackToken
	if options.Channels == nil {
		options.Channels = []standin.SlackChannel{{Name: "sentry"}}
	}
	options.Hooks = map[string]string{slackHook: "sentry"}
	s, err := standin.StartSlack(options)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, slack.New(slackToken, slack.OptionAPIURL(s.URL+"/api/"))
}

func TestSlackIsWhatItsClientsExpect(t *testing.T) {
	s, api := startSlack(t, standin.SlackOptions{Page: 2})
	ctx := t.Context()
	me, err := api.AuthTestContext(ctx)
	require.NoError(t, err)
	assert.Equal(t, s.BotID, me.BotID)
	channels, next, err := api.GetConversationsContext(ctx, &slack.GetConversationsParameters{Types: []string{"public_channel"}})
	require.NoError(t, err)
	require.Len(t, channels, 1)
	assert.Empty(t, next)
	id := channels[0].ID
	assert.True(t, channels[0].IsMember)

	metadata := slack.SlackMetadata{EventType: "an_event", EventPayload: map[string]any{"key": "k"}}
	section := slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, "*bold*", false, true), nil, nil)
	channel, first, err := api.PostMessageContext(ctx, "#sentry", slack.MsgOptionText("hello", false), slack.MsgOptionBlocks(section), slack.MsgOptionMetadata(metadata))
	require.NoError(t, err)
	assert.Equal(t, id, channel)
	for i := range 4 {
		_, _, err = api.PostMessageContext(ctx, id, slack.MsgOptionText(fmt.Sprint(i), false))
		require.NoError(t, err)
	}
	for i := range 2 {
		_, _, err = api.PostMessageContext(ctx, id, slack.MsgOptionText(fmt.Sprint("reply ", i), false), slack.MsgOptionTS(first))
		require.NoError(t, err)
	}

	var seen []slack.Message
	for cursor := ""; ; {
		page, err := api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: id, IncludeAllMetadata: true, Cursor: cursor})
		require.NoError(t, err)
		assert.LessOrEqual(t, len(page.Messages), 2)
		seen = append(seen, page.Messages...)
		if cursor = page.ResponseMetaData.NextCursor; cursor == "" {
			break
		}
	}
	require.Len(t, seen, 5, "replies are in their thread")
	assert.Equal(t, "3", seen[0].Text, "the newest comes first")
	assert.Equal(t, metadata, seen[4].Metadata)
	assert.Equal(t, s.BotID, seen[4].BotID)
	bare, err := api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: id, Latest: first, Inclusive: true})
	require.NoError(t, err)
	require.Len(t, bare.Messages, 1)
	assert.Empty(t, bare.Messages[0].Metadata.EventPayload, "who does not ask for it gets no payload")
	later, err := api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: id, Oldest: seen[1].Timestamp})
	require.NoError(t, err)
	assert.Len(t, later.Messages, 1)

	thread, more, _, err := api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: id, Timestamp: first})
	require.NoError(t, err)
	assert.True(t, more)
	assert.Equal(t, []string{"hello", "reply 0"}, []string{thread[0].Text, thread[1].Text})

	_, _, _, err = api.UpdateMessageContext(ctx, id, first, slack.MsgOptionText("goodbye", false))
	require.NoError(t, err)
	after := s.Messages("sentry")[0]
	assert.Equal(t, "goodbye", after.Text)
	assert.Equal(t, "an_event", after.EventType, "metadata stays")
	link, err := api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: id, Ts: first})
	require.NoError(t, err)
	assert.Contains(t, link, id)
	about, err := api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: id})
	require.NoError(t, err)
	assert.Equal(t, "sentry", about.Name)

	require.NoError(t, slack.PostWebhookContext(ctx, s.URL+slackHook, &slack.WebhookMessage{Text: "by webhook"}))
	messages := s.Messages("sentry")
	assert.True(t, messages[len(messages)-1].Hook)
}

// say posts a message, and returns what that is answered with.
func say(t *testing.T, s *standin.Slack, args map[string]any) map[string]any {
	t.Helper()
	body, err := json.Marshal(args)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/chat.postMessage", strings.NewReader(string(body)))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("Authorization", "Bearer "+slackToken)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	var said map[string]any
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&said))
	return said
}

func TestSlackRefusesWhatItsAPIRefuses(t *testing.T) {
	block := func(text string) map[string]any {
		return map[string]any{"channel": "#sentry", "blocks": "[" + text + "]"}
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, tt := range map[string]struct {
		args map[string]any
		said string
	}{
		"no channel":        {map[string]any{"channel": "#other", "text": "x"}, "channel_not_found"},
		"archived":          {map[string]any{"channel": "#old", "text": "x"}, "is_archived"},
		"a private one":     {map[string]any{"channel": "#secret", "text": "x"}, "channel_not_found"},
		"no text":           {map[string]any{"channel": "#sentry"}, "no_text"},
		"a long text":       {map[string]any{"channel": "#sentry", "text": long(4001)}, "msg_too_long"},
		"no thread":         {map[string]any{"channel": "#sentry", "text": "x", "thread_ts": "1.000001"}, "thread_not_found"},
		"no blocks":         {block(`1`), "invalid_blocks"},
		"51 blocks":         {block(strings.Repeat(`{"type":"divider"},`, 50) + `{"type":"divider"}`), "invalid_blocks"},
		"another block":     {block(`{"type":"other"}`), "invalid_blocks"},
		"a long block_id":   {block(`{"type":"divider","block_id":"` + long(256) + `"}`), "invalid_blocks"},
		"a long header":     {block(`{"type":"header","text":{"type":"plain_text","text":"` + long(151) + `"}}`), "invalid_blocks"},
		"a marked header":   {block(`{"type":"header","text":{"type":"mrkdwn","text":"x"}}`), "invalid_blocks"},
		"an empty section":  {block(`{"type":"section"}`), "invalid_blocks"},
		"no characters":     {block(`{"type":"section","text":{"type":"mrkdwn","text":""}}`), "invalid_blocks"},
		"a long section":    {block(`{"type":"section","text":{"type":"mrkdwn","text":"` + long(3001) + `"}}`), "invalid_blocks"},
		"a long field":      {block(`{"type":"section","fields":[{"type":"mrkdwn","text":"` + long(2001) + `"}]}`), "invalid_blocks"},
		"11 fields":         {block(`{"type":"section","fields":[` + strings.Repeat(`{"type":"mrkdwn","text":"x"},`, 10) + `{"type":"mrkdwn","text":"x"}]}`), "invalid_blocks"},
		"no context":        {block(`{"type":"context","elements":[]}`), "invalid_blocks"},
		"a long button":     {block(`{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"` + long(76) + `"}}]}`), "invalid_blocks"},
		"a long value":      {block(`{"type":"actions","elements":[{"type":"button","value":"` + long(2001) + `","text":{"type":"plain_text","text":"x"}}]}`), "invalid_blocks"},
		"a long action_id":  {block(`{"type":"actions","elements":[{"type":"button","action_id":"` + long(256) + `","text":{"type":"plain_text","text":"x"}}]}`), "invalid_blocks"},
		"a long address":    {block(`{"type":"actions","elements":[{"type":"button","url":"https://x/` + long(3000) + `","text":{"type":"plain_text","text":"x"}}]}`), "invalid_blocks"},
		"no address":        {block(`{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"link","text":"x"}]}]}`), "invalid_blocks"},
		"an empty text":     {block(`{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":""}]}]}`), "invalid_blocks"},
		"another element":   {block(`{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"other"}]}]}`), "invalid_blocks"},
		"long in all":       {block(strings.Repeat(`{"type":"section","text":{"type":"mrkdwn","text":"`+long(3000)+`"}},`, 5) + `{"type":"divider"}`), "msg_blocks_too_long"},
		"as much as it may": {block(`{"type":"section","block_id":"` + long(255) + `","text":{"type":"mrkdwn","text":"` + long(3000) + `"}},{"type":"header","text":{"type":"plain_text","text":"` + long(150) + `"}}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := startSlack(t, standin.SlackOptions{Channels: []standin.SlackChannel{{Name: "sentry"}, {Name: "old", Archived: true}, {Name: "secret", Private: true, Without: true}}})
			said := say(t, s, tt.args)
			assert.Equal(t, tt.said == "", said["ok"], said)
			if tt.said != "" {
				assert.Equal(t, tt.said, said["error"])
				assert.Empty(t, s.Messages(""))
			}
		})
	}
}

func TestSlackAsksForCredentialsAndScopes(t *testing.T) {
	s, _ := startSlack(t, standin.SlackOptions{Scopes: []string{"chat:write"}, Channels: []standin.SlackChannel{{Name: "sentry", Without: true}, {Name: "in"}}})
	for token, want := range map[string]string{"": "not_authed", "xoxb-2": "invalid_auth"} {
		_, err := slack.New(token, slack.OptionAPIURL(s.URL+"/api/")).AuthTestContext(t.Context())
		require.ErrorContains(t, err, want)
	}
	assert.Equal(t, "not_in_channel", say(t, s, map[string]any{"channel": "#sentry", "text": "x"})["error"])
	api := slack.New(slackToken, slack.OptionAPIURL(s.URL+"/api/"))
	_, _, err := api.GetConversationsContext(t.Context(), &slack.GetConversationsParameters{})
	require.ErrorContains(t, err, "missing_scope")
	_, err = api.GetConversationHistoryContext(t.Context(), &slack.GetConversationHistoryParameters{ChannelID: "C00000002"})
	require.ErrorContains(t, err, "missing_scope")
}

func TestSlackDropsMetadataOfOtherCharacters(t *testing.T) {
	s, _ := startSlack(t, standin.SlackOptions{})
	said := say(t, s, map[string]any{"channel": "#sentry", "text": "x", "metadata": map[string]any{"event_type": "a.b", "event_payload": map[string]any{}}})
	assert.Equal(t, true, said["ok"])
	assert.Equal(t, "invalid_metadata_format", said["warning"])
	assert.Empty(t, s.Messages("sentry")[0].EventType)
}

func TestSlackMayKnowAMessageByItsClientID(t *testing.T) {
	message := map[string]any{"channel": "#sentry", "text": "x", "client_msg_id": "1"}
	for deduplicate, want := range map[bool]int{false: 2, true: 1} {
		s, _ := startSlack(t, standin.SlackOptions{Deduplicate: deduplicate})
		say(t, s, message)
		say(t, s, message)
		assert.Len(t, s.Messages("sentry"), want)
	}
}

func TestSlackHasALimit(t *testing.T) {
	s, api := startSlack(t, standin.SlackOptions{Limited: true})
	_, _, err := api.PostMessageContext(t.Context(), "#sentry", slack.MsgOptionText("x", false))
	require.NoError(t, err)
	_, _, err = api.PostMessageContext(t.Context(), "#sentry", slack.MsgOptionText("x", false))
	limited := &slack.RateLimitedError{}
	require.ErrorAs(t, err, &limited)
	assert.Len(t, s.Messages("sentry"), 1)
}

func TestAnIncomingWebhookSaysOneWord(t *testing.T) {
	s, _ := startSlack(t, standin.SlackOptions{})
	for name, tt := range map[string]struct {
		path, body string
		status     int
		said       string
	}{
		"a message":   {slackHook, `{"text":"x"}`, 200, "ok"},
		"no JSON":     {slackHook, `x`, 400, "invalid_payload"},
		"no text":     {slackHook, `{}`, 400, "no_text"},
		"bad blocks":  {slackHook, `{"blocks":[{"type":"other"}]}`, 400, "invalid_blocks"},
		"no such one": {"/services/T0/B0/y", `{"text":"x"}`, 404, "no_service"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+tt.path, strings.NewReader(tt.body))
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		said, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		answer.Body.Close()
		assert.Equal(t, tt.status, answer.StatusCode, name)
		assert.Equal(t, tt.said, string(said), name)
		assert.Equal(t, "text/html", answer.Header.Get("Content-Type"), name)
	}
}

// What the tests of messages rely on: what is a mention or a link in Slack is one on the
// page.
func TestThePageOfSlackShowsMessagesAsPeopleSeeThem(t *testing.T) {
	for text, want := range map[string]string{
		"<!channel> now":                       `<span class="mention">@channel</span> now`,
		"<@U1> and <!subteam^S1|@oncall>":      `<span class="mention">@U1</span> and <span class="mention">@oncall</span>`,
		"<https://evil.example|ok>":            `<a href="https://evil.example" rel="noreferrer">ok</a>`,
		"see https://evil.example/a now":       `see <a href="https://evil.example/a" rel="noreferrer">https://evil.example/a</a> now`,
		"&lt;!channel&gt; &amp;lt;":            `<div class="line">&lt;!channel&gt; &amp;lt;</div>`,
		"*bold* and `code`":                    `<b>bold</b> and <code>code</code>`,
		"_italic_ ~struck~":                    `<i>italic</i> <s>struck</s>`,
		"<script>alert(1)</script>":            `&lt;script&gt;alert(1)&lt;/script&gt;`,
		"<javascript:alert(1)|ok>":             `href="#ZgotmplZ"`,
		"<!date^1^{date}^https://x.example|d>": `<a href="https://x.example" rel="noreferrer">d</a>`,
		"one\ntwo":                             `<div class="line">one</div><div class="line">two</div>`,
	} {
		s, _ := startSlack(t, standin.SlackOptions{})
		s.Say("sentry", text)
		assert.Contains(t, get(t, s.URL), want, text)
		_, err := json.Marshal(s.Messages("sentry"))
		require.NoError(t, err)
	}
	for blocks, want := range map[string]string{
		`[{"type":"section","text":{"type":"mrkdwn","text":"https://evil.example"}}]`:                                                                      `<a href="https://evil.example"`,
		`[{"type":"section","text":{"type":"mrkdwn","verbatim":true,"text":"https://evil.example"}}]`:                                                      `<div class="line">https://evil.example</div>`,
		`[{"type":"section","text":{"type":"plain_text","text":"*a* https://evil.example"}}]`:                                                              `<div class="line">*a* https://evil.example</div>`,
		`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"broadcast","range":"here"}]}]}]`:                                `<span class="mention">@here</span>`,
		`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"link","url":"https://x","text":"t","style":{"bold":true}}]}]}]`: `<b><a href="https://x" rel="noreferrer">t</a></b>`,
		`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"<!here> *a*\nb"}]}]}]`:                            `<div class="line">&lt;!here&gt; *a*</div><div class="line">b</div>`,
		`[{"type":"actions","elements":[{"type":"button","url":"https://x","text":{"type":"plain_text","text":"b"}}]}]`:                                    `<div class="actions"><div class="line"><a href="https://x"`,
	} {
		s, _ := startSlack(t, standin.SlackOptions{})
		require.Equal(t, true, say(t, s, map[string]any{"channel": "#sentry", "blocks": blocks})["ok"], blocks)
		assert.Contains(t, get(t, s.URL), want, blocks)
	}
}
