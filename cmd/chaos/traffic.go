package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// answer is what a delivery was answered, as far as it matters here.
type answer struct {
	Key  string        `json:"idempotency_key"`
	Runs []starter.Run `json:"runs"`
}

// answerOf returns the answer to a delivery that was acknowledged, and false if
// it was not, or the acknowledgement did not arrive whole.
func answerOf(r *vegeta.Result) (a answer, ok bool) {
	return a, r.Code == http.StatusAccepted && json.Unmarshal(r.Body, &a) == nil
}

// traffic numbers what it sends, so that a result tells what was sent, and sends
// a share of it under the Request-ID of another delivery.
type traffic struct {
	next   vegeta.Targeter
	shared float64 // share, 0 to 1, that comes under a Request-ID sent before with another body
	life   atomic.Int64

	mu     sync.Mutex
	sent   []sent
	ids    map[[sha256.Size]byte]string // Request-IDs by body
	recent []recent
}

// sent is a delivery by its number.
type sent struct {
	body [sha256.Size]byte
	life int64 // of the ingress, when it was sent
}

type recent struct {
	path, requestID string
	life            int64
}

// target is a [vegeta.Targeter].
func (f *traffic) target(t *vegeta.Target) error {
	if err := f.next(t); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	this := sent{sha256.Sum256(t.Body), f.life.Load()}
	id, repeats := f.ids[this.body]
	if !repeats {
		id = t.Header.Get(sentry.HeaderRequestID)
		if rand.Float64() < f.shared && len(f.recent) > 0 {
			if other := f.recent[rand.IntN(len(f.recent))]; other.life == this.life && other.path == t.URL {
				id = other.requestID
			}
		}
		f.ids[this.body] = id
	}
	t.Header = t.Header.Clone()
	t.Header.Set(sentry.HeaderRequestID, id) // which is not signed
	again := recent{t.URL, id, this.life}
	if len(f.recent) < maxShared {
		f.recent = append(f.recent, again)
	} else {
		f.recent[rand.IntN(maxShared)] = again
	}
	t.URL += "?n=" + strconv.Itoa(len(f.sent)) // the ingress takes no notice
	f.sent = append(f.sent, this)
	return nil
}

// maxShared bounds the Request-IDs that may be used again.
const maxShared = 200

// of returns what was sent for a result.
func (f *traffic) of(r *vegeta.Result) (sent, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return sent{}, err
	}
	n, err := strconv.Atoi(u.Query().Get("n"))
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || n < 0 || n >= len(f.sent) {
		return sent{}, fmt.Errorf("%s has no number", r.URL)
	}
	return f.sent[n], nil
}

// mixed takes turns at random.
func mixed(targeters ...vegeta.Targeter) vegeta.Targeter {
	return func(t *vegeta.Target) error { return targeters[rand.IntN(len(targeters))](t) }
}
