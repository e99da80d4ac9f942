package admin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/text"
)

// QueueState is what Temporal said of a task queue when it was asked last.
type QueueState struct {
	Connection string    `json:"connection"` // "" is the common one
	Namespace  string    `json:"namespace"`
	TaskQueue  string    `json:"task_queue"`
	Workflow   KindState `json:"workflow"`          // what runs are taken from
	Activity   KindState `json:"activity"`          // and their activities
	Asked      time.Time `json:"asked,omitzero"`    // when Temporal answered last, for both kinds
	Problem    string    `json:"problem,omitempty"` // why it does not now; "" while it does
}

// Known reports whether what is said of the backlog and the pollers was true a
// moment ago.
func (q QueueState) Known() bool { return time.Since(q.Asked) <= staleAfter }

// KindState is about the tasks of one kind in a task queue. It is zero before
// Temporal has answered.
type KindState struct {
	// Counted says that the server tells how many tasks wait: older ones do not, and
	// nothing is known of the backlog then.
	Counted           bool    `json:"counted"`
	Backlog           int64   `json:"backlog"`             // tasks that wait for a worker, about
	BacklogAgeSeconds float64 `json:"backlog_age_seconds"` // of the first of them
	// Untaken says that no worker has polled since the first of them came, or that
	// none was given any for half a minute.
	Untaken bool `json:"untaken"`
	// Pollers are the workers that poll: those that have in the last 75 s, for a poll
	// lasts for up to 60 s.
	Pollers int `json:"pollers"`
	// LastPoll is when one did last. The server forgets that after five minutes, and
	// this process does not; it is zero if none has since it began to ask.
	LastPoll time.Time `json:"last_poll,omitzero"`
	// Since is when this process began to ask: of what was more than five minutes
	// before, nothing is known.
	Since time.Time `json:"since,omitzero"`
}

const (
	// queueEvery is between an answer about a task queue and the next question. A server
	// keeps what it says of a backlog for five seconds, so a run that nobody takes is
	// known after seven at most.
	queueEvery = 2 * time.Second
	// queueShare has as many task queues asked about in a second as it goes into one.
	queueShare = 50 * time.Millisecond
	// maxQueues is how many are asked about: each within ten seconds.
	maxQueues = 200
	// pollsKept is how long a server remembers who has polled.
	pollsKept = 5 * time.Minute
	// pollLasts is how long a poll does, and a bit.
	pollLasts = 75 * time.Second
)

// TaskQueue is one that Temporal is asked about.
type TaskQueue struct {
	Connection string // "" is the common one
	Namespace  string
	Name       string
	Ask        func(context.Context) (workflow, activity starter.Tasks, err error)
}

// queueKey names a task queue.
type queueKey struct{ connection, namespace, name string }

// QueueWatch asks Temporal about task queues again and again, like [Watch].
type QueueWatch struct {
	log     *slog.Logger
	changed chan struct{} // has an element after the task queues have changed

	mu     sync.Mutex
	queues map[queueKey]*watchedQueue
}

// watchedQueue is what is known of a task queue.
type watchedQueue struct {
	TaskQueue
	state              QueueState
	workflow, activity kindMemory
	level              Level              // as the log was told
	stop               context.CancelFunc // nil: it is not asked about so far
}

// NewQueueWatch returns a QueueWatch that asks about nothing yet.
func NewQueueWatch(log *slog.Logger) *QueueWatch {
	return &QueueWatch{log: log, changed: make(chan struct{}, 1), queues: map[queueKey]*watchedQueue{}}
}

// Set has Temporal asked about these task queues, and about no others any more. It
// may be called while the QueueWatch runs. Of one that was asked about before, all
// that is known stays so. More than 200 are not asked about.
func (w *QueueWatch) Set(all []TaskQueue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.queues
	w.queues = map[queueKey]*watchedQueue{}
	for _, q := range all {
		key := queueKey{q.Connection, q.Namespace, q.Name}
		switch {
		case w.queues[key] != nil:
		case before[key] != nil:
			w.queues[key] = before[key]
		default:
			w.queues[key] = &watchedQueue{TaskQueue: q, state: QueueState{Connection: q.Connection, Namespace: q.Namespace, TaskQueue: q.Name}}
		}
	}
	for key, q := range before {
		if w.queues[key] == nil && q.stop != nil {
			q.stop()
		}
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// States returns what the last answers were, by connection, namespace and name.
func (w *QueueWatch) States() []QueueState {
	w.mu.Lock()
	defer w.mu.Unlock()
	states := make([]QueueState, 0, len(w.queues))
	for _, q := range w.queues {
		states = append(states, q.state)
	}
	slices.SortFunc(states, func(a, b QueueState) int {
		return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.TaskQueue, b.TaskQueue))
	})
	return states
}

// Run asks until ctx is done. It logs when it gets bad with a task queue, and when
// it is no more.
func (w *QueueWatch) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		for _, q := range w.begin(ctx) {
			group.Go(func() { w.follow(q.asking, q.watchedQueue) })
		}
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		}
	}
}

// beginning is a task queue with the context to ask about it in.
type beginning struct {
	*watchedQueue
	asking context.Context //nolint:containedctx // it is handed over at once
}

// begin returns the task queues that are to be asked about from now on.
func (w *QueueWatch) begin(ctx context.Context) []beginning {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := 0
	for _, q := range w.queues {
		if q.stop != nil {
			asked++
		}
	}
	var all []beginning
	for _, q := range w.queues {
		switch {
		case q.stop != nil:
		case asked == maxQueues:
			q.state.Problem = fmt.Sprintf("there are more than %d task queues, and it is not asked about", maxQueues)
		default:
			asked++
			asking, stop := context.WithCancel(ctx)
			q.stop, q.state.Problem = stop, ""
			all = append(all, beginning{q, asking})
		}
	}
	return all
}

// follow asks about a task queue until ctx is done.
func (w *QueueWatch) follow(ctx context.Context, q *watchedQueue) {
	for ctx.Err() == nil {
		w.ask(ctx, q)
		select {
		case <-ctx.Done():
		case <-time.After(w.pause()):
		}
	}
}

// pause is how long to wait before the next question, so that there are not too
// many of all.
func (w *QueueWatch) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(queueEvery, time.Duration(min(len(w.queues), maxQueues))*queueShare)
}

func (w *QueueWatch) ask(ctx context.Context, q *watchedQueue) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	workflow, activity, err := q.Ask(asking)
	if ctx.Err() != nil {
		return // asked for nothing
	}
	now := time.Now()
	w.mu.Lock()
	if err != nil {
		q.state.Problem = text.Shorten(text.Line(err.Error()), maxProblem)
	} else {
		q.state.Workflow, q.state.Activity = q.workflow.learn(workflow, now), q.activity.learn(activity, now)
		q.state.Asked, q.state.Problem = now, ""
	}
	verdict := queueVerdict(q.state, now)
	before := q.level
	if verdict.Level != LevelUnknown {
		q.level = verdict.Level
	}
	w.mu.Unlock()
	attrs := []any{keyConnection, q.Connection, telemetry.KeyNamespace, q.Namespace, telemetry.KeyTaskQueue, q.Name}
	switch {
	case verdict.Level == LevelBad && before != LevelBad:
		w.log.WarnContext(ctx, "no worker takes what waits in a task queue", append(attrs, telemetry.KeyReason, verdict.Title)...)
	case verdict.Level != LevelBad && verdict.Level != LevelUnknown && before == LevelBad:
		w.log.InfoContext(ctx, "workers take what waits in a task queue", attrs...)
	}
}

// kindMemory is what has to be remembered of answers to understand the next one.
type kindMemory struct {
	since, asked time.Time     // of the first answer and of the last
	polled       time.Time     // when a worker polled last, by our clock
	access       time.Time     // the same by the server's
	count        int64         // of the last answer
	age          time.Duration // of the last answer
	first        time.Time     // when the first task of the backlog came, by our clock
}

// learn takes an answer that came at now.
func (m *kindMemory) learn(t starter.Tasks, now time.Time) KindState {
	if m.since.IsZero() {
		m.since, m.asked = now, now.Add(-pollsKept)
	}
	k := KindState{Counted: t.Counted, Backlog: t.Backlog, Since: m.since}
	for _, poll := range t.Polls {
		if poll.After(m.access) {
			// It was after the last answer and before this one, whatever the clocks say.
			m.access, m.polled = poll, latest(m.asked, earliest(poll, now))
		}
	}
	for _, poll := range t.Polls {
		if now.Sub(m.polled)+m.access.Sub(poll) < pollLasts {
			k.Pollers++
		}
	}
	k.LastPoll = m.polled
	// A server repeats what it has said of a backlog for some seconds: the age of the
	// first task goes on all the same, as long as no worker polls.
	if t.Backlog == 0 {
		m.first = time.Time{}
	} else if m.first.IsZero() || t.Age != m.age || t.Backlog != m.count {
		m.first = now.Add(-t.Age)
	}
	m.asked, m.age, m.count = now, t.Age, t.Backlog
	if t.Backlog > 0 {
		unpolled := m.polled.Before(m.first)
		k.Untaken = unpolled || !t.Dispatched
		k.BacklogAgeSeconds = t.Age.Seconds()
		if unpolled {
			k.BacklogAgeSeconds = now.Sub(m.first).Seconds()
		}
	}
	return k
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
