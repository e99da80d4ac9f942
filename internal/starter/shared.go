package starter

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.temporal.io/sdk/client"
)

const (
	// maxKnown is how many shared runs are remembered, and knownFor for how long: less
	// than any namespace retains a closed run.
	maxKnown = 10_000
	knownFor = 10 * time.Minute
)

// lately knows which shared runs were started lately, so that whatever else falls
// into one costs no request, and has those who want to start the same run at the
// same time ask one after the other: the second one knows by then.
type lately struct {
	runs *lru.Cache[sharedRun, knownRun]

	mu     sync.Mutex
	asking map[sharedRun]*turn
}

// sharedRun names a run.
type sharedRun struct {
	client     client.Client // of its connection and namespace
	workflowID string
}

type knownRun struct {
	runID string
	since time.Time
}

// turn is whose it is to ask for a run.
type turn struct {
	free  chan struct{} // holds a value while it is nobody's
	users int           // who have it or wait for it
}

func newLately() *lately {
	runs, err := lru.New[sharedRun, knownRun](maxKnown)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &lately{runs: runs, asking: map[sharedRun]*turn{}}
}

// know remembers a run.
func (l *lately) know(run sharedRun, runID string) {
	l.runs.Add(run, knownRun{runID, time.Now()})
}

// runID returns the ID of a run, as long as it is remembered.
func (l *lately) runID(run sharedRun) (string, bool) {
	known, ok := l.runs.Get(run)
	if !ok || time.Since(known.since) >= knownFor {
		return "", false
	}
	return known.runID, true
}

// take waits until nobody else asks for the run, and returns what ends that this one
// does. How it goes for one says nothing about the next: it has to look.
func (l *lately) take(ctx context.Context, run sharedRun) (leave func(), err error) {
	l.mu.Lock()
	t := l.asking[run]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		l.asking[run] = t
	}
	t.users++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(l.asking, run)
		}
	}
	select {
	case <-t.free:
		return func() {
			t.free <- struct{}{}
			gone()
		}, nil
	case <-ctx.Done():
		gone()
		return nil, ctx.Err()
	}
}
