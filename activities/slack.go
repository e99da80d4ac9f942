package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
)

// Slack posts messages. Its zero value is ready: what it needs is in the context that a
// worker calls activities in.
type Slack struct{}

// SlackPost is a message to a channel.
type SlackPost struct {
	Channel string `json:"channel"` // a name, as in #sentry, or an ID
	Key     string `json:"key"`     // the same in all attempts, and nowhere else, see EffectKey
	Card    Card   `json:"card"`
}

// SlackUpdate is a message in the place of one that was posted.
type SlackUpdate struct {
	Channel   string `json:"channel"` // ID
	Timestamp string `json:"ts"`
	Card      Card   `json:"card"`
}

// SlackReply is a reply in the thread of a message.
type SlackReply struct {
	Channel   string `json:"channel"` // ID
	Timestamp string `json:"ts"`      // of the message
	Key       string `json:"key"`
	Text      string `json:"text"`
}

// SlackMessage is a message that is there.
type SlackMessage struct {
	Channel   string `json:"channel"` // ID
	Timestamp string `json:"ts"`
	URL       string `json:"url,omitempty"`
	Note      string `json:"note,omitempty"` // what else is to be known, as that it may be there twice
}

// SlackHookPost is a message to an incoming webhook.
type SlackHookPost struct {
	Variable string `json:"variable"` // that has its address
	Card     Card   `json:"card"`
}

// Noted is what is to be known of an effect for which the system gives no name.
type Noted struct {
	Note string `json:"note,omitempty"`
}

// PostMessage posts a message once, however often it is attempted. Where the channel
// cannot be read to see whether an earlier attempt's message is there, or that one comes
// late, it may be there twice, which the note says.
func (*Slack) PostMessage(ctx context.Context, post SlackPost) (SlackMessage, error) {
	return postOnce(ctx, post.Key, slackMessage{Channel: post.Channel, slackContent: slackCard(post.Card, runPage(ctx, post.Card.Integration))})
}

// ReplyInThread replies once to a message, however often it is attempted, with the same
// exceptions as [Slack.PostMessage].
func (*Slack) ReplyInThread(ctx context.Context, reply SlackReply) (SlackMessage, error) {
	return postOnce(ctx, reply.Key, slackMessage{Channel: reply.Channel, Thread: reply.Timestamp, slackContent: slackText(reply.Text)})
}

// UpdateMessage replaces a message. That it is done twice makes no difference.
func (*Slack) UpdateMessage(ctx context.Context, update SlackUpdate) (SlackMessage, error) {
	bot, err := newSlackBot(ctx)
	if err != nil {
		return SlackMessage{}, err
	}
	message := slackMessage{Channel: update.Channel, Timestamp: update.Timestamp, slackContent: slackCard(update.Card, runPage(ctx, update.Card.Integration))}
	posted, err := bot.send(ctx, "chat.update", message)
	return posted, failure(ctx, err, true)
}

// PostToIncomingWebhook posts a message at most once: what can have arrived is not
// repeated, and the run fails to know.
func (*Slack) PostToIncomingWebhook(ctx context.Context, post SlackHookPost) (Noted, error) {
	if !neverSent(ctx) { // its worker is gone, without a word of what came of it
		return Noted{}, failure(ctx, &outside.Error{Kind: outside.Maybe, System: "Slack", Reason: "an earlier attempt ended with its worker"}, false)
	}
	systems := outside.From(ctx)
	address, err := systems.Address(post.Variable)
	if err != nil {
		return Noted{}, notConfigured(ctx, post.Variable, err)
	}
	body, err := json.Marshal(slackCard(post.Card, runPage(ctx, post.Card.Integration)))
	if err != nil {
		return Noted{}, err
	}
	answer, err := systems.Client.Do(ctx, outside.Request{
		System: "Slack", Variable: post.Variable, Method: http.MethodPost, URL: address.Reveal(),
		Header: http.Header{"Content-Type": {slackJSON}}, Body: body,
	})
	said := strings.TrimSpace(string(answer.Body))
	if e, ok := errors.AsType[*outside.Error](err); ok && e.Kind == outside.Final && answer.Status >= 400 && slackCode.MatchString(said) {
		e.Reason = fmt.Sprintf("it answers %d, %s: look at %s", answer.Status, said, post.Variable)
	}
	if err == nil && said != "ok" {
		err = strange("Slack", answer)
	}
	if e, ok := errors.AsType[*outside.Error](err); ok && e.Kind == outside.NotSent {
		remember(ctx, unsent)
	}
	return Noted{}, failure(ctx, err, false)
}

const (
	slackJSON = "application/json; charset=utf-8" // Slack warns without a charset
	// slackEvent is the type of the metadata by which a message is found again. Slack drops
	// all of it if there are other characters than letters, digits, _ and -.
	slackEvent = "sentry_temporal"
	// slackLook bounds how long a message is looked for, so that an attempt has time left
	// to post it.
	slackLook = 15 * time.Second
	// slackLink bounds how long a message's address is waited for.
	slackLink = 2 * time.Second
	// slackPages bounds how many pages of channels or messages are looked through.
	slackPages = 20
	// slackBefore is how long before its first attempt a message is looked for: clocks differ.
	slackBefore = 5 * time.Minute
)

// slackIDs is where client_msg_id are made of keys.
var slackIDs = uuid.MustParse("8d9c1b57-5e1a-4d0f-9d7d-6b0f5d5c2a41")

var (
	slackCode = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
	slackID   = regexp.MustCompile(`^[CGD][A-Z0-9]{7,}$`) // names are lower case
)

// slackMessage are the arguments of chat.postMessage and chat.update.
type slackMessage struct {
	Channel   string         `json:"channel"`
	Timestamp string         `json:"ts,omitempty"`
	Thread    string         `json:"thread_ts,omitempty"`
	ClientID  string         `json:"client_msg_id,omitempty"`
	Metadata  *slackMetadata `json:"metadata,omitempty"`
	slackContent
}

type slackMetadata struct {
	EventType string `json:"event_type"`
	Payload   struct {
		Key string `json:"key"`
	} `json:"event_payload"`
}

// is reports whether a text is the same metadata.
func (m slackMetadata) is(text []byte) bool {
	var other slackMetadata
	return json.Unmarshal(text, &other) == nil && other == m
}

// slackBot calls Slack's Web API.
type slackBot struct {
	systems *outside.Systems
	token   config.Secret
}

func newSlackBot(ctx context.Context) (slackBot, error) {
	systems := outside.From(ctx)
	token, err := systems.Secret(config.SlackToken)
	if err != nil {
		return slackBot{}, notConfigured(ctx, config.SlackToken, err)
	}
	if systems.SlackAPIURL == "" { // it was malformed
		return slackBot{}, notConfigured(ctx, "TRIAGE_SLACK_API_URL", errors.New("look at what the worker's page says of it"))
	}
	return slackBot{systems, token}, nil
}

// postOnce posts a message, unless an earlier attempt has.
func postOnce(ctx context.Context, key string, message slackMessage) (SlackMessage, error) {
	if key == "" {
		return SlackMessage{}, mistaken("Slack: a message without a key would be taken for any other without one")
	}
	bot, err := newSlackBot(ctx)
	if err != nil {
		return SlackMessage{}, err
	}
	metadata := &slackMetadata{EventType: slackEvent}
	metadata.Payload.Key = key
	message.Metadata, message.ClientID = metadata, uuid.NewSHA1(slackIDs, []byte(key)).String()

	first, note := neverSent(ctx), ""
	if !first {
		var found SlackMessage
		if found, note, err = bot.look(ctx, message); err != nil || found.Timestamp != "" {
			return found, failure(ctx, err, true)
		}
	}
	posted, err := bot.send(ctx, "chat.postMessage", message)
	e, _ := errors.AsType[*outside.Error](err)
	if e != nil && strings.HasPrefix(e.Code, "duplicate_") {
		// It knows the client_msg_id, and not which message it is of.
		if first {
			var found SlackMessage
			if found, note, err = bot.look(ctx, message); err != nil || found.Timestamp != "" {
				return found, failure(ctx, err, true)
			}
		}
		message.ClientID = ""
		posted, err = bot.send(ctx, "chat.postMessage", message)
		e, _ = errors.AsType[*outside.Error](err)
	}
	switch {
	case err == nil:
		posted.Note, posted.URL = note, bot.link(ctx, posted)
		return posted, nil
	case e != nil && e.Kind == outside.NotSent && first:
		remember(ctx, unsent)
	case e != nil && e.Kind == outside.Maybe:
		// The next attempt looks for the message, and does not find it before it is there.
		e.Retry = max(e.Retry, outside.Timeout)
	}
	return SlackMessage{}, failure(ctx, err, true)
}

// look looks for a message that an earlier attempt posted. If there is none, or that
// cannot be known, note is what to say of another one. An error is one to try again after.
func (b slackBot) look(ctx context.Context, message slackMessage) (found SlackMessage, note string, err error) {
	found, err = b.find(ctx, message)
	e, ok := errors.AsType[*outside.Error](err)
	switch {
	case err == nil && found.Timestamp != "":
		found.URL = b.link(ctx, found)
		return found, "", nil
	case err == nil:
		return found, "sent again, may be there twice: no earlier attempt's message was there, but one may have come late", nil
	case ok && e.Kind == outside.Final:
		return found, "sent again, may be there twice: whether an earlier attempt's message is there is not known. " + e.Error(), nil
	}
	return found, "", err
}

// find returns the bot's own message that has the same key, with no timestamp if there is none.
func (b slackBot) find(ctx context.Context, message slackMessage) (SlackMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, slackLook)
	defer cancel()
	var me struct {
		BotID string `json:"bot_id"`
	}
	if err := b.read(ctx, "auth.test", "", url.Values{}, &me); err != nil {
		return SlackMessage{}, err
	}
	if me.BotID == "" { // anybody may have written a key
		return SlackMessage{}, &outside.Error{Kind: outside.Final, System: "Slack", Reason: config.SlackToken + " is not of a bot"}
	}
	channel, err := b.channelID(ctx, message.Channel)
	if err != nil {
		return SlackMessage{}, err
	}
	since := activity.GetInfo(ctx).ScheduledTime.Add(-slackBefore)
	args := url.Values{"channel": {channel}, "oldest": {fmt.Sprintf("%d.%06d", since.Unix(), since.Nanosecond()/1000)}, "include_all_metadata": {"true"}, "limit": {"200"}}
	method := "conversations.history"
	if message.Thread != "" {
		method = "conversations.replies"
		args.Set("ts", message.Thread)
	}
	for range slackPages {
		var page struct {
			slackCursor
			Messages []struct {
				Timestamp string          `json:"ts"`
				BotID     string          `json:"bot_id"`
				Metadata  json.RawMessage `json:"metadata"` // of any app, so of any form
			} `json:"messages"`
		}
		if err := b.read(ctx, method, message.Channel, args, &page); err != nil {
			return SlackMessage{}, err
		}
		for _, m := range page.Messages {
			if m.BotID == me.BotID && message.Metadata.is(m.Metadata) {
				return SlackMessage{Channel: channel, Timestamp: m.Timestamp}, nil
			}
		}
		if !page.next(args) {
			return SlackMessage{}, nil
		}
	}
	return SlackMessage{}, &outside.Error{Kind: outside.Final, System: "Slack", Reason: "too many messages have come since"}
}

// channelID returns the ID of a channel: only posting takes a name.
func (b slackBot) channelID(ctx context.Context, channel string) (string, error) {
	if slackID.MatchString(channel) {
		return channel, nil
	}
	args := url.Values{"types": {"public_channel,private_channel"}, "exclude_archived": {"true"}, "limit": {"1000"}}
	for range slackPages {
		var page struct {
			slackCursor
			Channels []struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"channels"`
		}
		err := b.read(ctx, "conversations.list", channel, args, &page)
		if e, ok := errors.AsType[*outside.Error](err); ok && e.Code == "missing_scope" && args.Get("types") != "public_channel" {
			// Private ones need a scope of their own.
			args.Set("types", "public_channel")
			continue
		}
		if err != nil {
			return "", err
		}
		for _, c := range page.Channels {
			if c.Name == strings.TrimPrefix(channel, "#") {
				return c.ID, nil
			}
		}
		if !page.next(args) {
			break
		}
	}
	return "", &outside.Error{Kind: outside.Final, System: "Slack", Reason: "the ID of " + shown(channel, slackShort) + " is not known: write it instead of the name"}
}

type slackCursor struct {
	Metadata struct {
		Next string `json:"next_cursor"`
	} `json:"response_metadata"`
}

// next sets the cursor to the next page, if there is one.
func (c slackCursor) next(args url.Values) bool {
	args.Set("cursor", c.Metadata.Next)
	return c.Metadata.Next != ""
}

// link returns the address of a message, "" if Slack does not say it soon.
func (b slackBot) link(ctx context.Context, message SlackMessage) string {
	ctx, cancel := context.WithTimeout(ctx, slackLink)
	defer cancel()
	var said struct {
		Permalink string `json:"permalink"`
	}
	if b.read(ctx, "chat.getPermalink", message.Channel, url.Values{"channel": {message.Channel}, "message_ts": {message.Timestamp}}, &said) != nil {
		return ""
	}
	return webPage(said.Permalink)
}

// send calls a method that posts or changes a message.
func (b slackBot) send(ctx context.Context, method string, message slackMessage) (SlackMessage, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return SlackMessage{}, err
	}
	var said SlackMessage
	answer, err := b.call(ctx, outside.Request{Method: http.MethodPost, URL: method, Header: http.Header{"Content-Type": {slackJSON}}, Body: body}, message.Channel, &said)
	if err == nil && (said.Timestamp == "" || said.Channel == "") {
		err = strange("Slack", answer)
	}
	if err != nil {
		return SlackMessage{}, err
	}
	return SlackMessage{Channel: said.Channel, Timestamp: said.Timestamp}, nil
}

// read calls a method that changes nothing. Those take no JSON.
func (b slackBot) read(ctx context.Context, method, channel string, args url.Values, into any) error {
	_, err := b.call(ctx, outside.Request{URL: method + "?" + args.Encode(), Header: http.Header{}}, channel, into)
	return err
}

// call calls a method, and reads what it says into a value if that is no error.
func (b slackBot) call(ctx context.Context, r outside.Request, channel string, into any) (outside.Answer, error) {
	r.System, r.Variable = "Slack", config.SlackToken
	r.URL = b.systems.SlackAPIURL + "/" + r.URL
	r.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	answer, err := b.systems.Client.Do(ctx, r)
	if err != nil {
		return answer, err
	}
	var said struct {
		OK     bool   `json:"ok"`
		Error  string `json:"error"`
		Needed string `json:"needed"`
	}
	if err := json.Unmarshal(answer.Body, &said); err != nil || !said.OK && !slackCode.MatchString(said.Error) {
		return answer, strange("Slack", answer)
	}
	if !said.OK {
		return answer, slackRefused(answer, said.Error, said.Needed, channel)
	}
	if err := json.Unmarshal(answer.Body, into); err != nil {
		return answer, strange("Slack", answer)
	}
	return answer, nil
}

// slackRefused is the error for an answer that says no, of status 200.
func slackRefused(a outside.Answer, code, needed, channel string) *outside.Error {
	e := &outside.Error{Kind: outside.Final, System: "Slack", Status: a.Status, Code: code, Reason: "it says " + code}
	where := shown(channel, slackShort)
	switch code {
	case "internal_error", "fatal_error", "service_unavailable", "request_timeout":
		e.Kind = outside.Maybe
	case "ratelimited", "rate_limited", "message_limit_exceeded", "team_added_to_org":
		e.Kind = outside.NotSent
	case "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission", "org_login_required", "not_allowed_token_type", "access_denied", "ekm_access_denied":
		e.Reason += ": look at " + config.SlackToken
	case "missing_scope":
		e.Reason += ": the bot of " + config.SlackToken + " needs the scope " + shown(needed, slackShort)
	case "not_in_channel":
		e.Reason += ": invite the bot to " + where
	case "channel_not_found":
		e.Reason += ": " + where + " is not there, or is private and the bot not in it"
	case "is_archived":
		e.Reason += ": " + where
	}
	return e
}
