// Package forwarder brings deliveries from the journal to Temporal, so that what
// is wrong with one integration, namespace, project or delivery is not noticed by
// the others.
//
// There is a lane for each connection and namespace, with slots, memory and a
// back-off of its own. Within a lane the integrations take turns, and within an
// integration its projects, the oldest delivery of a project first.
package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

// Keys of log attributes that only the forwarder has.
const (
	keyDeliveryID = "delivery_id"
	keyPending    = "pending"
	keyConnection = "connection"
)

// Prepare makes ready to start what is planned for env, and returns what starts
// it. That must be idempotent: it is repeated until the journal knows that it
// succeeded, also by another process.
type Prepare func(env sentry.Envelope, plan []routes.Operation) (start func(context.Context) ([]starter.Run, error), err error)

// Lane names a lane.
type Lane struct {
	Connection string
	Namespace  string
}

// Options are the options of [New]. The zero value is fine.
type Options struct {
	// Connection names the connection of an integration; false if there is
	// none. Default: the integration's name.
	Connection func(integration string) (name string, ok bool)
	// MaxStartsPerSecond caps the starts of an integration. Default: none.
	MaxStartsPerSecond map[string]float64
	// Parallel is how many deliveries of a lane are started at once. Default 16.
	Parallel int
	// MaxBytes is about how many bytes of all lanes are on their way to Temporal,
	// compressed. Each lane has an even share of it, at least one delivery, and
	// at most one more than its share. Default 32 MiB.
	MaxBytes int64
	// AttemptTimeout bounds one start. Default 10 s.
	AttemptTimeout time.Duration
	// StopTimeout is what starts under way get when Run is to end. Default
	// 200 ms.
	StopTimeout time.Duration
	// MinBackoff and MaxBackoff are the first and the longest time to wait
	// after a start that failed. Default 100 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration
	// GiveUpAfter and GiveUpAttempts are for how long and how often a delivery
	// has to fail, while others of its lane do not, until it is parked. Default
	// 15 min and 20.
	GiveUpAfter    time.Duration
	GiveUpAttempts int
	// OnStarts is called with what became of the runs that an integration has planned
	// in a namespace, n of them: a [starter.Status], or [Parked] of those for which
	// their delivery was. It must be quick, and may be called concurrently. Default nil.
	OnStarts func(integration, namespace, outcome string, n int)
	// Extract gives the trace that a delivery was kept with to the context of
	// its start. Default nil.
	Extract func(ctx context.Context, trace string) context.Context
	// Log is told of parked deliveries and of outages. Default slog.Default().
	Log *slog.Logger
}

// Forwarder starts what is planned for the deliveries in a journal and drops each
// when all of it is started. A journal has one.
//
// What becomes of a delivery whose start fails is in one table, see dispose.
type Forwarder struct {
	journal *journal.Journal
	prepare Prepare
	o       Options
	large   *semaphore.Weighted // bytes of large deliveries that are being read and encoded
	turned  atomic.Int64        // when the loop turned last, in unix nanoseconds; 0 while there is none

	mu      sync.Mutex
	watches map[uint64][]chan outcome // by delivery; each of capacity 1
	ended   bool                      // Run has: nothing more has an outcome here
	lanes   map[Lane]LaneStats
}

// Parked is what became of planned runs that cannot be started without help.
const Parked = "parked"

type outcome struct {
	runs []starter.Run
	err  error
}

// errEnded is the outcome of what is left for the next Run.
var errEnded = errors.New("the forwarder has ended")

const (
	// maxLarge bounds the large deliveries that are read and encoded at once, in
	// bytes of the journal's records. Encoding takes several times that in
	// memory, but waits for nobody.
	maxLarge = 8 << 20
	// small is what waits for no large one, in bytes.
	small = 256 << 10
)

// New returns a Forwarder that waits for [Forwarder.Run].
func New(j *journal.Journal, prepare Prepare, o Options) *Forwarder {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&o.AttemptTimeout, 10*time.Second)
	set(&o.StopTimeout, 200*time.Millisecond)
	set(&o.MinBackoff, 100*time.Millisecond)
	set(&o.MaxBackoff, 10*time.Second)
	set(&o.GiveUpAfter, 15*time.Minute)
	if o.GiveUpAttempts <= 0 {
		o.GiveUpAttempts = 20
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 32 << 20
	}
	if o.Connection == nil {
		o.Connection = func(integration string) (string, bool) { return integration, true }
	}
	if o.OnStarts == nil {
		o.OnStarts = func(string, string, string, int) {}
	}
	if o.Extract == nil {
		o.Extract = func(ctx context.Context, _ string) context.Context { return ctx }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Forwarder{
		journal: j, prepare: prepare, o: o, large: semaphore.NewWeighted(maxLarge),
		watches: make(map[uint64][]chan outcome), lanes: make(map[Lane]LaneStats),
	}
}

// watch returns where the outcome of the pending delivery id will be.
func (f *Forwarder) watch(id uint64) chan outcome {
	ch := make(chan outcome, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		ch <- outcome{err: errEnded}
		return ch
	}
	f.watches[id] = append(f.watches[id], ch)
	return ch
}

func (f *Forwarder) unwatch(id uint64, ch chan outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := slices.DeleteFunc(f.watches[id], func(c chan outcome) bool { return c == ch })
	if len(left) == 0 {
		delete(f.watches, id)
		return
	}
	f.watches[id] = left
}

// announce tells the outcome to those who wait for it.
func (f *Forwarder) announce(id uint64, o outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ch := range f.watches[id] {
		ch <- o
	}
	delete(f.watches, id)
}

// end says whether there is no Run any more, and then tells those who wait for
// an outcome.
func (f *Forwarder) end(ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = ended
	if !ended {
		return
	}
	for _, watching := range f.watches {
		for _, ch := range watching {
			ch <- outcome{err: errEnded}
		}
	}
	clear(f.watches)
}

// LaneStats is how a lane is.
type LaneStats struct {
	Lane
	Waiting int       // deliveries that are not started
	Running int       // of them: being started
	Failing string    // the error for which they wait; empty if they do not
	Since   time.Time // when that began
}

// Lanes returns how the lanes are that have, or had, deliveries.
func (f *Forwarder) Lanes() []LaneStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats := make([]LaneStats, 0, len(f.lanes))
	for _, s := range f.lanes {
		stats = append(stats, s)
	}
	slices.SortFunc(stats, func(a, b LaneStats) int { return compareLanes(a.Lane, b.Lane) })
	return stats
}

// Failing returns the error for which the lane of a namespace waits, "" if it does
// not.
func (f *Forwarder) Failing(connection, namespace string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lanes[Lane{Connection: connection, Namespace: namespace}].Failing
}

const (
	// turnEvery is how often the loop turns even when there is nothing to do,
	// and deadAfter how long it may not.
	turnEvery = 5 * time.Second
	deadAfter = 30 * time.Second
)

// Alive returns an error if the loop of Run does not turn any more.
func (f *Forwarder) Alive() error {
	turned := f.turned.Load()
	if since := time.Since(time.Unix(0, turned)); turned != 0 && since > deadAfter {
		return fmt.Errorf("the forwarder has not turned for %s", since.Round(time.Second))
	}
	return nil
}

// Run forwards until ctx ends. Then it starts nothing more, gives the starts under
// way up to StopTimeout, and makes sure of the deletions. What is left is for the
// next Run, in this process or another.
func (f *Forwarder) Run(ctx context.Context) {
	f.end(false)
	defer f.end(true)
	starts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	results := make(chan result)
	gone := make(chan struct{})
	defer close(gone)
	begin := func(do func(context.Context) result) {
		go func() {
			r := do(starts)
			select {
			case results <- r:
			case <-gone:
			}
		}()
	}
	q := newQueue(f.o)
	turn := time.NewTicker(turnEvery)
	defer turn.Stop()
	defer f.turned.Store(0)

	var read uint64 // the last entry
	arrived := func() {
		for {
			entries := f.journal.Entries(read, 1024)
			if len(entries) == 0 {
				return
			}
			for _, e := range entries {
				read = e.Position
				q.add(e)
			}
		}
	}
	arrived()
	stopping := ctx.Done()
	var enough <-chan time.Time // set once it is to end
forward:
	for enough == nil || q.running > 0 {
		f.turned.Store(time.Now().UnixNano())
		var again <-chan time.Time
		if enough == nil {
			item, wait := q.next(time.Now())
			switch {
			case item == nil:
			case item.cause != nil:
				f.giveUp(q, item, journal.GaveUp, item.cause, begin)
				continue
			default:
				begin(func(ctx context.Context) result { return f.attempt(ctx, item) })
				continue
			}
			if wait > 0 {
				again = time.After(wait)
			}
		}
		f.report(q)
		select {
		case r := <-results:
			f.settle(q, r, begin)
		case <-f.journal.Arrived():
			arrived()
		case <-again:
		case <-turn.C:
		case <-stopping:
			stopping = nil
			enough = time.After(f.o.StopTimeout)
		case <-enough:
			break forward
		}
	}
	if err := f.journal.Sync(); err != nil {
		f.o.Log.WarnContext(ctx, "some deliveries will be forwarded again", telemetry.KeyError, err.Error())
	}
}

// report publishes how the lanes are.
func (f *Forwarder) report(q *queue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.lanes)
	for _, l := range q.lanes {
		f.lanes[l.name] = l.stats()
	}
}

// result is what became of an item.
type result struct {
	item   *item
	runs   []starter.Run // if they are started
	parked bool          // the whole delivery is
	err    error         // else
}

// attempt starts the runs of an item.
func (f *Forwarder) attempt(ctx context.Context, i *item) result {
	runs, err := f.forward(ctx, i)
	return result{item: i, runs: runs, err: err}
}

// park parks the delivery of an item. While there is no room it stays.
func (f *Forwarder) park(ctx context.Context, i *item, code journal.Code, cause error) result {
	switch err := f.journal.ParkFor(ctx, i.id, code, cause.Error()); {
	case err == nil:
		f.o.Log.ErrorContext(ctx, "delivery parked", keyDeliveryID, i.id, telemetry.KeyIntegration, i.source.name,
			telemetry.KeyNamespace, i.lane.name.Namespace, telemetry.KeyReason, string(code), telemetry.KeyError, brief(cause))
	case errors.Is(err, journal.ErrNotFound):
		return result{item: i, err: err}
	default:
		return result{item: i, err: fmt.Errorf("%w (%s)", err, cause.Error())} // err alone says what happens
	}
	f.announce(i.id, outcome{err: cause})
	return result{item: i, parked: true}
}

// forward starts what is planned for a delivery in the lane of i. While it waits for Temporal it
// holds what is sent and no more.
func (f *Forwarder) forward(ctx context.Context, i *item) ([]starter.Run, error) {
	if _, ok := f.o.Connection(i.source.name); !ok && i.source.name != "" { // "" is that of a damaged record
		return nil, fmt.Errorf("integration %s: %w", i.source.name, starter.ErrNotConfigured)
	}
	trace, start, err := f.ready(ctx, i)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.AttemptTimeout)
	defer cancel()
	if trace != "" {
		ctx = f.o.Extract(ctx, trace)
	}
	return recovered(ctx, f.o.Log, func() ([]starter.Run, error) { return start(ctx) })
}

// ready reads a delivery and prepares its start.
func (f *Forwarder) ready(ctx context.Context, i *item) (trace string, start func(context.Context) ([]starter.Run, error), err error) {
	start, err = f.encode(ctx, i.size, func() (func(context.Context) ([]starter.Run, error), error) {
		d, err := f.journal.Read(i.id)
		if err != nil {
			return nil, err
		}
		trace = d.Trace
		var plan []routes.Operation
		i.places = nil
		for place, o := range d.Operations {
			if f.o.laneOf(i.source.name, o.Namespace) == i.lane.name {
				plan, i.places = append(plan, o), append(i.places, place)
			}
		}
		return recovered(ctx, f.o.Log, func() (func(context.Context) ([]starter.Run, error), error) {
			return f.prepare(d.Envelope, plan)
		})
	})
	return trace, start, err
}

// encode calls do, which takes several times size in memory: for large ones one
// after the other.
func (f *Forwarder) encode(ctx context.Context, size int64, do func() (func(context.Context) ([]starter.Run, error), error)) (func(context.Context) ([]starter.Run, error), error) {
	if size > small {
		weight := min(size, maxLarge)
		if err := f.large.Acquire(ctx, weight); err != nil {
			return nil, err
		}
		defer f.large.Release(weight)
	}
	return do()
}

// recovered calls do, and makes an error of a panic, which the log has, too.
func recovered[T any](ctx context.Context, log *slog.Logger, do func() (T, error)) (result T, err error) {
	err = starter.Recovered(func() (err error) {
		result, err = do()
		return err
	})
	if p, panicked := errors.AsType[*starter.PanicError](err); panicked {
		log.ErrorContext(ctx, "panic while starting runs", telemetry.KeyError, brief(err), telemetry.KeyStack, p.Stack)
	}
	return result, err
}

func ranOf(runs []starter.Run) []journal.Ran {
	ran := make([]journal.Ran, len(runs))
	for i, run := range runs {
		ran[i] = journal.Ran{
			Namespace: run.Namespace, WorkflowID: run.WorkflowID, RunID: run.RunID,
			Existing: run.Status == starter.Existing,
		}
	}
	return ran
}

// counted tells what became of runs.
func (o Options) counted(integration, namespace string, runs []starter.Run) {
	for _, run := range runs {
		o.OnStarts(integration, namespace, string(run.Status), 1)
	}
}

// remembered returns how many of the runs Temporal was not asked for.
func remembered(runs []starter.Run) (n int) {
	for _, run := range runs {
		if run.Remembered {
			n++
		}
	}
	return n
}

// settle takes note of a result, and has begin do what follows from it.
func (f *Forwarder) settle(q *queue, r result, begin func(func(context.Context) result)) {
	i, w := r.item, r.item.whole
	switch {
	case r.parked:
		for _, lost := range w.lost {
			f.o.OnStarts(lost.item.source.name, lost.item.lane.name.Namespace, Parked, lost.item.starts)
		}
		q.withdrawn(i)
		return
	case errors.Is(r.err, journal.ErrNotFound): // somebody has parked or discarded it
		f.announce(i.id, outcome{err: r.err})
		q.withdrawn(i)
		return
	case r.err == nil:
		if n := remembered(r.runs); n == len(r.runs) { // which says nothing about Temporal
			q.withdrawn(i)
		} else {
			q.succeeded(i)
			i.source.giveBack(n)
		}
		f.o.counted(i.source.name, i.lane.name.Namespace, r.runs)
		w.won(i, r.runs)
		switch {
		case !w.over():
		case len(w.lost) > 0: // what is wrong there is to be the burden of that lane alone
			w.lost[0].item.comeBack(time.Now())
		default:
			runs := w.runs()
			f.journal.Done(i.id, ranOf(runs))
			f.announce(i.id, outcome{runs: runs})
		}
		return
	}
	if d, code := dispose(r.err); d == parked {
		f.giveUp(q, i, code, r.err, begin)
		return
	}
	w.forget(i)
	f.journal.Retrying()
	now := time.Now()
	if q.failed(i, r.err, now) && i.cause == nil {
		i.giveUp(r.err, now)
	}
}

// giveUp notes that an item will not start. Its delivery is parked when the others
// are over, too.
func (f *Forwarder) giveUp(q *queue, i *item, code journal.Code, cause error, begin func(func(context.Context) result)) {
	w := i.whole
	w.lose(i, code, cause)
	if !w.over() {
		q.withdrawn(i)
		return
	}
	code, cause = w.why()
	begin(func(ctx context.Context) result { return f.park(ctx, i, code, cause) })
}
