package standin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Webhook stands in for a receiver of Standard Webhooks that verifies what it takes, and
// acts once on each id.
type Webhook struct {
	*Server

	mu       sync.Mutex
	key      []byte
	messages []WebhookMessage
	count    int
}

// WebhookMessage is what was delivered under an id.
type WebhookMessage struct {
	ID         string
	Time       time.Time // of the first delivery
	Type       string
	Body       string // of the first delivery
	Deliveries int
	Changed    bool // a later delivery had another body
}

const (
	maxDelivered = 200       // messages that are remembered
	maxMessage   = 256 << 10 // bytes of a body
)

// tolerance is how far the timestamp of a delivery may be from now.
const tolerance = 5 * time.Minute

var webhookPage = page("webhook.html")

// StartWebhook starts one that has the secret, whsec_ and base64. It takes deliveries at
// any path.
func StartWebhook(secret string) (*Webhook, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return nil, err
	}
	wh := &Webhook{key: key}
	router := http.NewServeMux()
	router.HandleFunc("POST /", wh.deliver)
	router.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		messages := wh.Messages()
		slices.Reverse(messages)
		wh.show(w, webhookPage, "Webhook", messages)
	})
	wh.Server, err = start(router)
	return wh, err
}

// Messages returns what was delivered, each id once, the oldest first.
func (wh *Webhook) Messages() []WebhookMessage {
	wh.mu.Lock()
	defer wh.mu.Unlock()
	return slices.Clone(wh.messages)
}

// Deliveries returns how many were verified, however often each.
func (wh *Webhook) Deliveries() int {
	wh.mu.Lock()
	defer wh.mu.Unlock()
	return wh.count
}

func (wh *Webhook) deliver(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	id := r.Header.Get("Webhook-Id")
	if err != nil || !wh.verified(r.Header, body, time.Now()) {
		answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "the signature is not right"})
		return
	}
	if len(body) > maxMessage {
		answerJSON(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the body is too large"})
		return
	}
	var message struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
	}
	if err := json.Unmarshal(body, &message); err != nil || message.Type == "" || message.Timestamp.IsZero() {
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "type or timestamp is missing"})
		return
	}
	wh.mu.Lock()
	defer wh.mu.Unlock()
	wh.count++
	if at := slices.IndexFunc(wh.messages, func(m WebhookMessage) bool { return m.ID == id }); at >= 0 {
		wh.messages[at].Deliveries++
		wh.messages[at].Changed = wh.messages[at].Changed || wh.messages[at].Body != string(body)
	} else if wh.messages = append(wh.messages, WebhookMessage{ID: id, Time: time.Now(), Type: message.Type, Body: string(body), Deliveries: 1}); len(wh.messages) > maxDelivered {
		wh.messages = wh.messages[1:]
	}
	w.WriteHeader(http.StatusNoContent)
}

// verified reports whether a delivery is signed, lately, with our key.
func (wh *Webhook) verified(header http.Header, body []byte, now time.Time) bool {
	id, timestamp := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" || len(wh.key) < 24 || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, wh.key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	want := mac.Sum(nil)
	for signature := range strings.FieldsSeq(header.Get("Webhook-Signature")) {
		version, encoded, _ := strings.Cut(signature, ",")
		if got, err := base64.StdEncoding.DecodeString(encoded); version == "v1" && err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}
