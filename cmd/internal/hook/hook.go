// Package hook sends webhooks the way Sentry does.
package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// DevelopmentSecret is the Client Secret of cmd/dev.
const DevelopmentSecret = config.DevelopmentSecret

// Delivery is one webhook to send.
type Delivery struct {
	URL       string
	Secret    string
	Resource  string // value of Sentry-Hook-Resource; "": no such header
	RequestID string
	Body      []byte
	Wait      int // seconds to wait for the runs to start; 0: do not, like Sentry
}

// Answer is what the ingress said.
type Answer struct {
	Code    int // HTTP status
	Status  starter.Status
	Event   string
	Key     string `json:"idempotency_key"`
	Runs    []starter.Run
	Skipped []routes.Skip
	Error   string
}

// OK reports whether the status is 2xx.
func (a Answer) OK() bool { return a.Code >= 200 && a.Code < 300 }

const maxAnswer = 1 << 20

// Request returns the signed request for d.
func (d Delivery) Request(ctx context.Context) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "triage (sentry-temporal)")
	r.Header.Set(sentry.HeaderRequestID, d.RequestID)
	r.Header.Set(sentry.HeaderTimestamp, strconv.FormatInt(time.Now().Unix(), 10))
	r.Header.Set(sentry.HeaderSignature, sentry.Sign(d.Secret, d.Body))
	if d.Resource != "" {
		r.Header.Set(sentry.HeaderResource, d.Resource)
	}
	if d.Wait > 0 {
		r.Header.Set("Prefer", fmt.Sprintf("wait=%d", d.Wait))
	}
	return r, nil
}

// Send signs d, posts it and reads the answer. Redirects are not followed: to
// Sentry they are an answer like any other.
func Send(ctx context.Context, d Delivery) (Answer, error) {
	r, err := d.Request(ctx)
	if err != nil {
		return Answer{}, err
	}
	return Do(r)
}

var client = &http.Client{
	Timeout:       15 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Do posts a request made by [Delivery.Request] and reads the answer.
func Do(r *http.Request) (Answer, error) {
	response, err := client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer of %s: %w", r.URL, err)
	}
	answer := Answer{Code: response.StatusCode}
	if err := json.Unmarshal(text, &answer); err != nil && answer.OK() {
		return Answer{}, fmt.Errorf("read the answer of %s: %w", r.URL, err)
	}
	return answer, nil
}
