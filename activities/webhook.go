package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.temporal.io/sdk/activity"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/outside"
)

// Webhook tells other programs, by Standard Webhooks. Its zero value is ready.
type Webhook struct{}

// WebhookCall is a message to a program.
type WebhookCall struct {
	Variable string `json:"variable"` // that has the address
	Key      string `json:"key"`      // the message's webhook-id, see EffectKey
	Card     Card   `json:"card"`
}

const (
	maxCall = 20_000           // bytes of a body, as the specification advises
	slowly  = 30 * time.Second // at least between attempts, for a receiver that is overloaded
)

// webhookMessage is the body of a call: the same in all attempts.
type webhookMessage struct {
	Type      string      `json:"type"`      // as in sentry.issue.created
	Timestamp time.Time   `json:"timestamp"` // when it was to be sent first
	Data      webhookData `json:"data"`
}

type webhookData struct {
	Card
	RunURL string `json:"run_url,omitempty"`
}

// CallWebhook delivers a message at least once, under the same id in all attempts. The
// address must not be one of a private network.
func (*Webhook) CallWebhook(ctx context.Context, call WebhookCall) (Noted, error) {
	if call.Key == "" || strings.ContainsAny(call.Key, ". \r\n") {
		return Noted{}, mistaken("Webhook: a key has a character at least, and no dot or space")
	}
	systems := outside.From(ctx)
	address, err := systems.Address(call.Variable)
	if err != nil {
		return Noted{}, notConfigured(ctx, call.Variable, err)
	}
	secret, err := systems.SigningSecret()
	if err != nil {
		return Noted{}, notConfigured(ctx, config.WebhookSecret, err)
	}
	body, err := webhookBody(ctx, call.Card)
	if err != nil {
		return Noted{}, err
	}
	now := time.Now()
	signature, err := sign(secret, call.Key, now, body)
	if err != nil {
		return Noted{}, notConfigured(ctx, config.WebhookSecret, errors.New("is no secret to sign with"))
	}
	answer, err := systems.Client.Do(ctx, outside.Request{
		System: "Webhook", Variable: call.Variable + " and " + config.WebhookSecret, Method: http.MethodPost, URL: address.Reveal(), Body: body, Public: true,
		Header: http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"sentry-temporal"},
			"Webhook-Id": {call.Key}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {signature},
		},
	})
	switch answer.Status {
	case http.StatusGone:
		err = because(err, "the receiver wants no more of these: take its address out of "+call.Variable)
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		err = later(err, slowly)
	}
	if err != nil {
		return Noted{}, failure(ctx, err, true)
	}
	return Noted{Note: "delivered, at least once"}, nil
}

// sign returns the signature of a message at a time. The library takes an empty secret,
// which config does not.
func sign(secret config.Secret, id string, at time.Time, body []byte) (string, error) {
	webhook, err := standardwebhooks.NewWebhook(secret.Reveal())
	if err != nil {
		return "", err
	}
	return webhook.Sign(id, at, body)
}

// webhookBody is the message that tells of a card, with its texts cut as far as needed.
func webhookBody(ctx context.Context, card Card) ([]byte, error) {
	message := webhookMessage{Type: card.Event, Timestamp: time.Now().UTC()}
	if activity.IsActivity(ctx) {
		message.Timestamp = activity.GetInfo(ctx).ScheduledTime.UTC()
	}
	message.Data.RunURL = runPage(ctx, card.Integration)
	for limit := 4 << 10; limit > 0; limit /= 2 {
		message.Data.Card = card.clean().cut(limit)
		message.Type = message.Data.Event
		var body bytes.Buffer
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(message); err != nil {
			return nil, err
		}
		if body.Len() < maxCall {
			return body.Bytes(), nil
		}
	}
	return nil, fmt.Errorf("a message of less than %d bytes cannot be made", maxCall)
}
