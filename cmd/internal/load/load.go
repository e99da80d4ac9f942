// Package load sends deliveries at a rate that the receiver does not slow down.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sentry-temporal/cmd/internal/hook"
	"sentry-temporal/internal/sentry"
)

// Load says what to send, how fast and for how long.
type Load struct {
	Rate        int           // deliveries a second; 0: as many as the connections carry
	Duration    time.Duration // 0: until ctx is done
	Connections uint16        // at most, at least 1
	Client      *http.Client  // that sends; nil for one that keeps connections and waits for long
}

// Run sends what next returns and calls each for every result, one at a time.
// It returns when all is answered.
func (l Load) Run(ctx context.Context, next vegeta.Targeter, each func(*vegeta.Result)) {
	options := []func(*vegeta.Attacker){
		vegeta.Timeout(15 * time.Second),
		vegeta.Redirects(vegeta.NoFollow),
		vegeta.HTTP2(false),
		vegeta.Connections(int(l.Connections)),
		vegeta.MaxConnections(int(l.Connections)),
		vegeta.Workers(uint64(l.Connections)),
	}
	if l.Rate == 0 {
		options = append(options, vegeta.MaxWorkers(uint64(l.Connections)))
	}
	if l.Client != nil {
		options = append(options, vegeta.Client(l.Client))
	}
	attacker := vegeta.NewAttacker(options...)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	for result := range attacker.Attack(next, vegeta.Rate{Freq: l.Rate, Per: time.Second}, l.Duration, "") {
		each(result)
	}
}

// Mix is samples by name, each with its share of what is sent.
type Mix map[string]int

// ParseMix reads names as in "issue.created" or "issue.created=3", which is
// sent three times as often.
func ParseMix(names []string) (Mix, error) {
	mix := Mix{}
	for _, entry := range names {
		name, share, given := strings.Cut(entry, "=")
		if _, err := sentry.Sample(name); err != nil {
			return nil, err
		}
		n := 1
		if given {
			var err error
			if n, err = strconv.Atoi(share); err != nil || n < 1 || n > 1000 {
				return nil, fmt.Errorf("%s: the share %q is not a number from 1 to 1000", name, share)
			}
		}
		mix[name] += n
	}
	return mix, nil
}

// Samples returns a targeter that signs samples of mix, each with ids of its
// own. A share of them, 0 to 1, repeats a Request-ID and body sent before.
func Samples(url, secret string, mix Mix, retried float64) (vegeta.Targeter, error) {
	type sample struct {
		resource string
		body     []byte
	}
	var deck []sample
	for name, share := range mix {
		body, err := sentry.Sample(name)
		if err != nil {
			return nil, err
		}
		resource, _, _ := strings.Cut(name, ".")
		for range share {
			deck = append(deck, sample{resource, body})
		}
	}
	var mu sync.Mutex
	var recent []vegeta.Target // to repeat
	return func(t *vegeta.Target) error {
		mu.Lock()
		if len(recent) > 0 && rand.Float64() < retried {
			*t = recent[rand.IntN(len(recent))]
			mu.Unlock()
			return nil
		}
		mu.Unlock()
		s := deck[rand.IntN(len(deck))]
		d := hook.Delivery{URL: url, Secret: secret, Resource: s.resource, RequestID: sentry.NewRequestID(), Body: sentry.FreshIDs(s.body)}
		r, err := d.Request(context.Background())
		if err != nil {
			return err
		}
		*t = vegeta.Target{Method: http.MethodPost, URL: url, Body: d.Body, Header: r.Header}
		mu.Lock()
		defer mu.Unlock()
		if len(recent) < maxRecent {
			recent = append(recent, *t)
		} else {
			recent[rand.IntN(maxRecent)] = *t
		}
		return nil
	}, nil
}

// maxRecent bounds the deliveries that are kept to be repeated.
const maxRecent = 1000
