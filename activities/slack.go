package activities

import (
	"context"
	"errors"
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

var errMissing = errors.New("not there yet")

// PostMessage posts a message once, however often it is attempted.
func (*Slack) PostMessage(ctx context.Context, post SlackPost) (SlackMessage, error) {
	return SlackMessage{}, errMissing
}

// UpdateMessage replaces a message.
func (*Slack) UpdateMessage(ctx context.Context, update SlackUpdate) (SlackMessage, error) {
	return SlackMessage{}, errMissing
}

// ReplyInThread replies once to a message, however often it is attempted.
func (*Slack) ReplyInThread(ctx context.Context, reply SlackReply) (SlackMessage, error) {
	return SlackMessage{}, errMissing
}

// PostToIncomingWebhook posts a message at most once: what can have arrived is not repeated.
func (*Slack) PostToIncomingWebhook(ctx context.Context, post SlackHookPost) (Noted, error) {
	return Noted{}, errMissing
}
