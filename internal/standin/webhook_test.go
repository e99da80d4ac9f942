package standin_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sentry-temporal/internal/standin"
)

var signingSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))

// deliver sends a body, signed at a time with a secret, and returns the status.
func deliver(t *testing.T, wh *standin.Webhook, body, secret string, at time.Time, change func(http.Header)) int {
	t.Helper()
	signer, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	signature, err := signer.Sign("id", at, []byte(body))
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, wh.URL+"/hook", strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Webhook-Id", "id")
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	request.Header.Set("Webhook-Signature", signature)
	if change != nil {
		change(request.Header)
	}
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	return answer.StatusCode
}

func TestAReceiverTakesWhatIsSigned(t *testing.T) {
	const body = `{"type":"x.y","timestamp":"2026-01-01T00:00:00Z","data":{}}`
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("o", 32)))
	now := time.Now()
	for name, tt := range map[string]struct {
		body, secret string
		at           time.Time
		change       func(http.Header)
		want         int
	}{
		"signed":          {body, signingSecret, now, nil, 204},
		"another secret":  {body, other, now, nil, 401},
		"too old":         {body, signingSecret, now.Add(-301 * time.Second), nil, 401},
		"from the future": {body, signingSecret, now.Add(310 * time.Second), nil, 401},
		"no signature":    {body, signingSecret, now, func(h http.Header) { h.Del("Webhook-Signature") }, 401},
		"no id":           {body, signingSecret, now, func(h http.Header) { h.Del("Webhook-Id") }, 401},
		"another id":      {body, signingSecret, now, func(h http.Header) { h.Set("Webhook-Id", "other") }, 401},
		"no time":         {body, signingSecret, now, func(h http.Header) { h.Del("Webhook-Timestamp") }, 401},
		"another version": {body, signingSecret, now, func(h http.Header) {
			h.Set("Webhook-Signature", "v2"+strings.TrimPrefix(h.Get("Webhook-Signature"), "v1"))
		}, 401},
		"one of two is right":       {body, signingSecret, now, func(h http.Header) { h.Set("Webhook-Signature", "v1,AAAA "+h.Get("Webhook-Signature")) }, 204},
		"too large":                 {strings.Replace(body, "{}", `"`+strings.Repeat("x", 256<<10)+`"`, 1), signingSecret, now, nil, 413},
		"nothing that tells a type": {`{}`, signingSecret, now, nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			wh, err := standin.StartWebhook(signingSecret)
			require.NoError(t, err)
			defer wh.Close()
			assert.Equal(t, tt.want, deliver(t, wh, tt.body, tt.secret, tt.at, tt.change))
			assert.Len(t, wh.Messages(), map[int]int{204: 1}[tt.want])
		})
	}
	wh, err := standin.StartWebhook("whsec_")
	require.NoError(t, err)
	defer wh.Close()
	assert.Equal(t, http.StatusUnauthorized, deliver(t, wh, body, "whsec_", now, nil), "an empty secret verifies nothing")
}

func TestAReceiverActsOnceOnAnID(t *testing.T) {
	wh, err := standin.StartWebhook(signingSecret)
	require.NoError(t, err)
	defer wh.Close()
	const body = `{"type":"<script>alert(1)</script>","timestamp":"2026-01-01T00:00:00Z"}`
	for range 2 {
		require.Equal(t, http.StatusNoContent, deliver(t, wh, body, signingSecret, time.Now(), nil))
	}
	require.Len(t, wh.Messages(), 1)
	assert.Equal(t, 2, wh.Messages()[0].Deliveries)
	assert.False(t, wh.Messages()[0].Changed)
	require.Equal(t, http.StatusNoContent, deliver(t, wh, body+" ", signingSecret, time.Now(), nil))
	assert.True(t, wh.Messages()[0].Changed)
	assert.Equal(t, 3, wh.Deliveries())
	assert.NotContains(t, get(t, wh.URL+"/"), "<script")
}
