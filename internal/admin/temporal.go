package admin

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"

	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/text"
)

// Namespace is one that Temporal is asked about.
type Namespace struct {
	Connection string // "" is the common one
	Name       string
	Ask        func(context.Context) error // nil if Temporal answers for it
}

// NamespaceState is what is known of a namespace, as GET /readyz gives it.
type NamespaceState struct {
	Connection string `json:"connection"`
	Namespace  string `json:"namespace"`
	Status     string `json:"status"`
	Problem    string `json:"problem,omitempty"`

	Asked time.Time `json:"-"` // when that was known; zero if nothing is so far
}

// The statuses of a namespace.
const (
	StatusOK          = "ok"
	StatusUnreachable = "unreachable" // no answer
	StatusRefused     = "refused"     // an answer, but the namespace is missing, the credential wrong, or the like
	StatusUnknown     = "unknown"     // not asked to the end yet
)

const (
	// askEvery is between an answer of Temporal and the next question.
	askEvery = 5 * time.Second
	// askTimeout bounds a question.
	askTimeout = 2 * time.Second
	// maxProblem bounds what is told of a problem, in bytes.
	maxProblem = 1000
)

// keyConnection is a key of log attributes.
const keyConnection = "connection"

// Watch asks Temporal about namespaces again and again, about each for itself:
// one that hangs delays no other. So whoever wants to know need not wait, and
// Temporal is not asked more often, however many do.
type Watch struct {
	log  *slog.Logger
	more chan struct{} // has an element after one was added

	mu         sync.Mutex
	namespaces []Namespace
	states     []NamespaceState // of namespaces
}

// NewWatch returns a Watch that knows nothing yet.
func NewWatch(namespaces []Namespace, log *slog.Logger) *Watch {
	w := &Watch{log: log, more: make(chan struct{}, 1)}
	for _, n := range namespaces {
		w.Add(n)
	}
	return w
}

// Add has Temporal asked about n, too, unless it is already. It may be called
// while the Watch runs.
func (w *Watch) Add(n Namespace) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.namespaces {
		if other.Connection == n.Connection && other.Name == n.Name {
			return
		}
	}
	w.namespaces = append(w.namespaces, n)
	w.states = append(w.states, NamespaceState{Connection: n.Connection, Namespace: n.Name, Status: StatusUnknown})
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// States returns what the last answers were, in the order of the namespaces.
func (w *Watch) States() []NamespaceState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.states)
}

// Run asks until ctx is done. It logs when the status of a namespace changes.
func (w *Watch) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for asked := 0; ; {
		w.mu.Lock()
		all := w.namespaces
		w.mu.Unlock()
		for ; asked < len(all); asked++ {
			i, n := asked, all[asked]
			group.Go(func() {
				for ctx.Err() == nil {
					w.ask(ctx, i, n)
					select {
					case <-ctx.Done():
					case <-time.After(askEvery):
					}
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-w.more:
		}
	}
}

func (w *Watch) ask(ctx context.Context, i int, n Namespace) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := n.Ask(asking)
	if ctx.Err() != nil {
		return // asked for nothing
	}
	next := namespaceStateOf(n.Connection, n.Name, err)
	w.mu.Lock()
	last := w.states[i]
	w.states[i] = next
	w.mu.Unlock()
	attrs := []any{keyConnection, next.Connection, telemetry.KeyNamespace, next.Namespace}
	switch {
	case last.Status == next.Status:
	case next.Status == StatusUnreachable:
		w.log.WarnContext(ctx, "Temporal does not answer for a namespace", append(attrs, telemetry.KeyError, err.Error())...)
	case err != nil:
		w.log.WarnContext(ctx, "Temporal answers, and a namespace cannot be used", append(attrs, telemetry.KeyError, err.Error())...)
	default:
		w.log.InfoContext(ctx, "Temporal answers for a namespace", attrs...)
	}
}

// namespaceStateOf is what an answer of just now, with err or nil, says of a namespace.
func namespaceStateOf(connection, namespace string, err error) NamespaceState {
	state := NamespaceState{Connection: connection, Namespace: namespace, Status: StatusOK, Asked: time.Now()}
	if err == nil {
		return state
	}
	state.Status, state.Problem = StatusRefused, text.Shorten(text.Line(err.Error()), maxProblem)
	switch serviceerror.ToStatus(err).Code() { //nolint:exhaustive // the others are answers
	case codes.DeadlineExceeded:
		state.Status, state.Problem = StatusUnreachable, fmt.Sprintf("no answer within %s", askTimeout)
	case codes.Unavailable, codes.Unknown:
		state.Status = StatusUnreachable
	}
	return state
}
