package sentry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sentry-temporal/internal/text"
)

// Envelope is a verified delivery on its way: the single input of every
// workflow. Its JSON form has exactly these fields.
type Envelope struct {
	// Webhook is always true: it tells a delivery from other inputs.
	Webhook bool `json:"_webhook"`
	// Source is always "sentry".
	Source string `json:"source"`
	// IntegrationID is the integration's name in our configuration.
	IntegrationID string `json:"integration_id"`
	// EventType is the event's name, as in sentry.issue.created.
	EventType string `json:"event_type"`
	// IdempotencyKey is the same for each repetition of one delivery.
	IdempotencyKey string `json:"idempotency_key"`
	// Timestamp is in unix seconds: Sentry's own for this attempt, or else the
	// time of receipt. It is not signed.
	Timestamp int64 `json:"timestamp"`
	// Headers holds the few request headers worth keeping, names in lower
	// case. The signature is never among them.
	Headers map[string]string `json:"headers"`
	// Body is the verified request body, byte for byte: a JSON text.
	Body Body `json:"body"`
}

// Body is a JSON text that travels as a JSON string, so that not one byte of
// it changes. It also reads from any other JSON value, whose text it then is,
// because engineers start runs by hand with what they have.
type Body string

// UnmarshalJSON accepts a string, null for an empty body, or any other value. Only
// an object has fields.
func (b *Body) UnmarshalJSON(text []byte) error {
	switch {
	case bytes.HasPrefix(text, []byte(`"`)):
		return json.Unmarshal(text, (*string)(b))
	case bytes.Equal(text, []byte("null")):
		*b = ""
	default:
		*b = Body(text)
	}
	return nil
}

// maxHeader bounds each header value that is kept, in bytes.
const maxHeader = 256

// kept are the headers that go into an envelope.
var kept = []string{HeaderResource, HeaderRequestID, HeaderTimestamp, HeaderIdempotencyKey, "User-Agent"}

// NewEnvelope wraps a verified delivery. header is read for the headers worth
// keeping, received stands in for a timestamp that is absent or not a number
// of unix seconds.
func NewEnvelope(integration, event string, header http.Header, body []byte, received time.Time) Envelope {
	env := Envelope{
		Webhook:        true,
		Source:         "sentry",
		IntegrationID:  integration,
		EventType:      event,
		IdempotencyKey: IdempotencyKey(header.Get(HeaderRequestID), body),
		Timestamp:      received.Unix(),
		Headers:        make(map[string]string, len(kept)),
		Body:           Body(body),
	}
	if ts, err := strconv.ParseInt(header.Get(HeaderTimestamp), 10, 64); err == nil && ts > 0 {
		env.Timestamp = ts
	}
	for _, name := range kept {
		if value := header.Get(name); value != "" {
			env.Headers[strings.ToLower(name)] = text.Cut(text.Line(value), maxHeader)
		}
	}
	return env
}

// maxRequestID leaves a workflow ID of <workflow>:<integration>:<key> room
// under Temporal's 255 bytes.
const maxRequestID = 128

// IdempotencyKey returns requestID if it is fit to be part of a workflow ID:
// 1 to 128 bytes of letters, digits, '.', '_' and '-'. Otherwise the key is
// made of the body, "sha256-" and 64 hex digits: a verified delivery is never
// refused for its Request-ID.
func IdempotencyKey(requestID string, body []byte) string {
	if isRequestID(requestID) {
		return requestID
	}
	digest := sha256.Sum256(body)
	return "sha256-" + hex.EncodeToString(digest[:])
}

func isRequestID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '.' && !isNameByte(c) {
			return false
		}
	}
	return true
}
