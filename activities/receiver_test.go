package activities_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
)

// receiver is the one of docs/integrations.md.
type receiver struct {
	webhook *standardwebhooks.Webhook
	done    sync.Map
	act     func(body []byte)
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 20_000))
	if err != nil || rc.webhook.Verify(body, r.Header) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if _, again := rc.done.LoadOrStore(r.Header.Get("webhook-id"), true); !again {
		rc.act(body)
	}
	w.WriteHeader(http.StatusNoContent)
}

func TestTheReceiverOfTheDocsActsOnceOnWhatIsSigned(t *testing.T) {
	webhook, err := standardwebhooks.NewWebhook(signingSecret)
	require.NoError(t, err)
	acted := 0
	server := httptest.NewServer(&receiver{webhook: webhook, act: func([]byte) { acted++ }})
	defer server.Close()
	call := func(secret string, card activities.Card) error {
		cfg := config.Outside{Secret: secretsOf(map[string]string{config.WebhookURL: server.URL, config.WebhookSecret: secret})}
		called := webhookCall
		called.Card = card
		_, err := others.CallWebhook(outsideContext(t, cfg), called)
		return err
	}
	require.Error(t, call("whsec_"+signingSecret[len("whsec_")+4:], webhookCall.Card), "another secret")
	assert.Zero(t, acted)
	for range 2 {
		require.NoError(t, call(signingSecret, hostileCard(hostileTexts[len(hostileTexts)-1].text)))
	}
	assert.Equal(t, 1, acted)
}
