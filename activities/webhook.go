package activities

import "context"

// Webhook tells other programs, by Standard Webhooks. Its zero value is ready.
type Webhook struct{}

// WebhookCall is a message to a program.
type WebhookCall struct {
	Variable string `json:"variable"` // that has the address
	Key      string `json:"key"`      // the message's webhook-id, see EffectKey
	Card     Card   `json:"card"`
}

// CallWebhook delivers a message at least once, under the same id in all attempts.
func (*Webhook) CallWebhook(ctx context.Context, call WebhookCall) (Noted, error) {
	return Noted{}, errMissing
}
