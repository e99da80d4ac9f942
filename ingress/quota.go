package ingress

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// Lines a second, and at once, that strangers can have logged.
	linesPerSecond, linesAtOnce = 10, 50
	// leftOutEvery is how often it is told how many lines were left out.
	leftOutEvery = 10 * time.Second
)

// quota bounds what strangers can have logged.
type quota struct {
	log     *slog.Logger
	limiter *rate.Limiter

	mu      sync.Mutex
	leftOut int // lines that nothing was told of yet
}

func newQuota(log *slog.Logger) *quota {
	return &quota{log: log, limiter: rate.NewLimiter(linesPerSecond, linesAtOnce)}
}

// allow reports whether there may be another line. If not, that is counted, and
// told of soon.
func (q *quota) allow() bool {
	if q.limiter.Allow() {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.leftOut == 0 {
		time.AfterFunc(leftOutEvery, q.tell)
	}
	q.leftOut++
	return false
}

func (q *quota) tell() {
	q.mu.Lock()
	leftOut := q.leftOut
	q.leftOut = 0
	q.mu.Unlock()
	q.log.Warn("unverified deliveries are left out of the log", "deliveries", leftOut)
}
