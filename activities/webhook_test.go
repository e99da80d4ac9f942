package activities_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage"
)

var (
	others        *activities.Webhook
	signingSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(secretPart, 3)))
	webhookCall   = activities.WebhookCall{
		Variable: config.WebhookURL, Key: activities.EffectKey("sentry", "issue:1", "webhook", "1"),
		Card: activities.Card{Integration: "sentry", Event: "sentry.issue.created", Title: "It is broken"},
	}
)

func init() {
	effects = append(effects, effect{
		name: "Webhook: call", variable: config.WebhookURL, once: true, late: true, path: "POST /hook/",
		serve: func(t *testing.T) served {
			t.Helper()
			wh, cfg := webhookReceiver(t)
			return served{
				Server: wh.Server, cfg: cfg, effects: func() int { return len(wh.Messages()) },
				after: func(t *testing.T) {
					t.Helper()
					assert.Equal(t, 2, wh.Deliveries())
					assert.False(t, wh.Messages()[0].Changed, "an attempt has another body than the first")
				},
			}
		},
		do: func(ctx workflow.Context) error {
			_, err := triage.Do(ctx, others.CallWebhook, webhookCall)
			return err
		},
	})
}

func webhookReceiver(t *testing.T) (*standin.Webhook, config.Outside) {
	t.Helper()
	wh, err := standin.StartWebhook(signingSecret)
	require.NoError(t, err)
	t.Cleanup(wh.Close)
	return wh, config.Outside{Secret: secretsOf(map[string]string{config.WebhookURL: wh.URL + "/hook/" + secretPart, config.WebhookSecret: signingSecret})}
}

func TestAWebhookTellsOfTheCard(t *testing.T) {
	wh, cfg := webhookReceiver(t)
	call := webhookCall
	call.Card = activities.Card{
		Integration: "sentry", Event: "sentry.issue.created", Headline: "New issue", Title: "TypeError: x < y", URL: "https://acme.sentry.io/issues/4711/",
		Severity: "critical", Level: "fatal", Project: "backend",
	}
	noted, o := runOne(t, cfg, others.CallWebhook, call)
	require.NoError(t, o.err)
	assert.Contains(t, noted.Note, "at least once")
	message := wh.Messages()[0]
	assert.Equal(t, call.Key, message.ID)
	assert.Equal(t, "sentry.issue.created", message.Type)
	var body struct {
		Type      string
		Timestamp time.Time
		Data      map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(message.Body), &body))
	assert.WithinDuration(t, time.Now(), body.Timestamp, time.Minute)
	assert.Equal(t, "TypeError: x < y", body.Data["title"])
	assert.Equal(t, call.Card.URL, body.Data["url"])
	assert.Equal(t, "critical", body.Data["severity"])
	assert.Contains(t, body.Data["run_url"], "https://temporal.example/namespaces/")
}

// What others verify with is the library of the specification.
func TestAWebhookIsVerifiedAsTheSpecificationSays(t *testing.T) {
	wh, cfg := webhookReceiver(t)
	wh.Fail(standin.Fault{After: true, Cut: true})
	_, o := runOne(t, cfg, others.CallWebhook, webhookCall)
	require.NoError(t, o.err)
	verifier, err := standardwebhooks.NewWebhook(signingSecret)
	require.NoError(t, err)
	require.Len(t, wh.Received(), 2)
	for _, r := range wh.Received() {
		require.NoError(t, verifier.Verify([]byte(r.Body), r.Header))
		assert.Equal(t, webhookCall.Key, r.Header.Get("webhook-id"))
	}
	assert.Len(t, wh.Messages(), 1)
	assert.Equal(t, 2, wh.Deliveries())
}

func TestAWebhookIsSmallWhateverItTells(t *testing.T) {
	for _, h := range hostileTexts {
		t.Run(h.name, func(t *testing.T) {
			wh, cfg := webhookReceiver(t)
			call := webhookCall
			call.Card = hostileCard(h.text)
			_, err := others.CallWebhook(outsideContext(t, cfg), call)
			require.NoError(t, err)
			body := wh.Messages()[0].Body
			assert.Less(t, len(body), 20_000)
			assert.True(t, json.Valid([]byte(body)))
		})
	}
	wh, cfg := webhookReceiver(t)
	call := webhookCall
	call.Card = hostileCard(strings.Repeat(`\"`, 100_000))
	_, err := others.CallWebhook(outsideContext(t, cfg), call)
	require.NoError(t, err)
	assert.Less(t, len(wh.Messages()[0].Body), 20_000)
}

func TestAReceiverThatIsGoneIsNotCalledAgain(t *testing.T) {
	wh, cfg := webhookReceiver(t)
	wh.Fail(standin.Fault{Times: -1, Status: http.StatusGone})
	_, o := runOne(t, cfg, others.CallWebhook, webhookCall)
	require.Error(t, o.err)
	assert.Contains(t, o.err.Error(), "410")
	assert.Contains(t, o.err.Error(), config.WebhookURL)
	assert.Equal(t, 1, o.attempts)
}

func TestAReceiverThatIsOverloadedIsCalledSlowly(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout} {
		wh, cfg := webhookReceiver(t)
		wh.Fail(standin.Fault{Times: 2, Status: status})
		_, o := runOne(t, cfg, others.CallWebhook, webhookCall)
		require.NoError(t, o.err)
		assert.GreaterOrEqual(t, o.waited, time.Minute, status)
		assert.Len(t, wh.Messages(), 1)
	}
}

func TestAWebhookIsSentToNoOtherAddressThanItShould(t *testing.T) {
	tests := map[string]struct {
		values map[string]string
		said   string
	}{
		"a private network":      {map[string]string{config.WebhookURL: "https://10.1.2.3/" + secretPart, config.WebhookSecret: signingSecret}, "private"},
		"http beyond loopback":   {map[string]string{config.WebhookURL: "http://receiver.example/" + secretPart, config.WebhookSecret: signingSecret}, config.WebhookURL},
		"another secret":         {map[string]string{config.WebhookURL: "xoxb-" + secretPart, config.WebhookSecret: signingSecret}, config.WebhookURL},
		"without a secret":       {map[string]string{config.WebhookURL: "https://receiver.example/" + secretPart}, config.WebhookSecret},
		"with a secret too weak": {map[string]string{config.WebhookURL: "https://receiver.example/" + secretPart, config.WebhookSecret: "whsec_" + secretPart}, config.WebhookSecret},
		"without an address":     {map[string]string{config.WebhookSecret: signingSecret}, config.WebhookURL},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, o := runOne(t, config.Outside{Secret: secretsOf(tt.values)}, others.CallWebhook, webhookCall)
			require.Error(t, o.err)
			assert.Contains(t, o.err.Error(), tt.said)
			assert.Equal(t, 1, o.attempts)
			assert.NotContains(t, o.seen, secretPart)
		})
	}
}

func TestAWebhookNeedsAKeyThatCanBeAnID(t *testing.T) {
	wh, cfg := webhookReceiver(t)
	for _, key := range []string{"", "a.b", "a b", "a\nb"} {
		call := webhookCall
		call.Key = key
		_, err := others.CallWebhook(outsideContext(t, cfg), call)
		require.Error(t, err, key)
	}
	assert.Empty(t, wh.Received())
}
