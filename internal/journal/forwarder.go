package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

// Start starts all runs of env. It must be idempotent: it is repeated until
// the journal knows that it succeeded, also by another process.
type Start func(ctx context.Context, env sentry.Envelope) ([]starter.Run, error)

// ForwarderOptions are the options of [NewForwarder]. The zero value is fine.
type ForwarderOptions struct {
	// Parallel is how many starts run at once. Default 16.
	Parallel int
	// AttemptTimeout bounds one start. Default 10 s.
	AttemptTimeout time.Duration
	// DrainTimeout is how long Run goes on with what is pending when it is to
	// end. Default 5 s.
	DrainTimeout time.Duration
	// MinBackoff and MaxBackoff are the first and the longest time to wait
	// after a start that failed. Default 100 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration
	// Permanent reports whether repeating a start that failed with err is no
	// use. Default: never.
	Permanent func(err error) bool
	// Log is told of parked deliveries and of outages. Default slog.Default().
	Log *slog.Logger
}

// Forwarder starts the runs of what is in a journal, the oldest delivery first,
// and deletes it when all of them are started. A journal has one.
//
// A start that fails for good, or panics, parks the delivery. After any other
// failure everything waits, longer each time, and then tries with one delivery
// until a start succeeds. Nothing is given up. A few deliveries that fail while
// others would not, up to Parallel of them, do not hold up the rest.
type Forwarder struct {
	journal *Journal
	start   Start
	o       ForwarderOptions

	mu      sync.Mutex
	watches map[digest][]chan outcome // each of capacity 1
}

type outcome struct {
	runs []starter.Run
	err  error
}

// NewForwarder returns a Forwarder that waits for [Forwarder.Run].
func NewForwarder(j *Journal, start Start, o ForwarderOptions) *Forwarder {
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.AttemptTimeout <= 0 {
		o.AttemptTimeout = 10 * time.Second
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 5 * time.Second
	}
	if o.MinBackoff <= 0 {
		o.MinBackoff = 100 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 10 * time.Second
	}
	if o.Permanent == nil {
		o.Permanent = func(error) bool { return false }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Forwarder{journal: j, start: start, o: o, watches: make(map[digest][]chan outcome)}
}

// Watch prepares to wait for the outcome of a delivery that is about to be
// appended: call Watch, then [Journal.Append], then wait. So it is not missed,
// however soon it comes.
//
// wait returns the runs that were started, or the error for which the delivery
// is parked, or that of ctx when it ends before. ctx must end some time, also
// if wait is never called.
func (f *Forwarder) Watch(ctx context.Context, env sentry.Envelope) (wait func() ([]starter.Run, error)) {
	key := digestOf(env.IntegrationID, env.IdempotencyKey)
	ch := make(chan outcome, 1)
	f.mu.Lock()
	f.watches[key] = append(f.watches[key], ch)
	f.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { f.unwatch(key, ch) })
	return func() ([]starter.Run, error) {
		select {
		case o := <-ch:
			stop()
			return o.runs, o.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *Forwarder) unwatch(key digest, ch chan outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := slices.DeleteFunc(f.watches[key], func(c chan outcome) bool { return c == ch })
	if len(left) == 0 {
		delete(f.watches, key)
		return
	}
	f.watches[key] = left
}

// announce tells the outcome to those who watch for it.
func (f *Forwarder) announce(env sentry.Envelope, o outcome) {
	key := digestOf(env.IntegrationID, env.IdempotencyKey)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ch := range f.watches[key] {
		ch <- o
	}
	delete(f.watches, key)
}

// Run forwards until ctx ends. Then it goes on for up to DrainTimeout with what
// is pending, unless starts fail just now, and makes sure of the deletions. What
// is left is for the next Run, in this process or another.
func (f *Forwarder) Run(ctx context.Context) {
	starts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// Results must not wait for a Run that gave them up.
	results := make(chan result, f.o.Parallel)
	pending := func() int { return f.journal.Stats().Pending }
	q := &queue{o: f.o, read: f.journal.read, pending: pending}

	stopping := ctx.Done()
	var enough <-chan time.Time // set while draining
	draining := false
drain:
	for {
		d, wait := q.next(time.Now())
		if d != nil {
			go func() {
				forwarded, err := f.attempt(starts, d)
				results <- result{d, forwarded, err}
			}()
			continue
		}
		if draining && q.running == 0 && (wait > 0 || pending() == 0) {
			break drain
		}
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		select {
		case r := <-results:
			f.settle(q, r)
		case <-f.journal.arrived:
			q.exhausted = false
		case <-again:
		case <-stopping:
			draining, stopping = true, nil
			enough = time.After(f.o.DrainTimeout)
		case <-enough:
			break drain
		}
	}
	if err := f.journal.sync(); err != nil {
		f.o.Log.WarnContext(ctx, "some deliveries will be forwarded again", telemetry.KeyError, err.Error())
	}
}

type result struct {
	delivery  *delivery
	forwarded bool
	err       error
}

// attempt forwards d, or else parks it. An error is temporary.
func (f *Forwarder) attempt(ctx context.Context, d *delivery) (forwarded bool, err error) {
	if d.damaged != nil {
		return false, f.park(ctx, d, d.damaged)
	}
	limited, cancel := context.WithTimeout(ctx, f.o.AttemptTimeout)
	defer cancel()
	if d.trace != "" {
		limited = f.journal.extract(limited, d.trace)
	}
	runs, err := f.call(limited, d.env)
	var panicked *panicError
	switch {
	case err == nil:
		f.journal.remove(d.seq) // before the announcement: the next of this key is another
		f.announce(d.env, outcome{runs: runs})
		return true, nil
	case errors.As(err, &panicked), f.o.Permanent(err):
		if err := f.park(ctx, d, err); err != nil {
			return false, err
		}
		f.announce(d.env, outcome{err: err})
		return false, nil
	}
	return false, err
}

func (f *Forwarder) park(ctx context.Context, d *delivery, cause error) error {
	if err := f.journal.park(ctx, d.seq, cause.Error()); err != nil {
		return err
	}
	f.o.Log.ErrorContext(ctx, "delivery parked", keyDeliveryID, d.seq, telemetry.KeyRequestID, d.env.IdempotencyKey,
		telemetry.KeyIntegration, d.env.IntegrationID, telemetry.KeyEvent, d.env.EventType, telemetry.KeyError, cause.Error())
	return nil
}

// panicError is a panic in a [Start]: a bug, which repeating does not mend.
type panicError struct{ value any }

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func (f *Forwarder) call(ctx context.Context, env sentry.Envelope) (runs []starter.Run, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
			f.o.Log.ErrorContext(ctx, "panic while starting runs", telemetry.KeyRequestID, env.IdempotencyKey,
				telemetry.KeyError, err.Error(), telemetry.KeyStack, string(debug.Stack()))
		}
	}()
	return f.start(ctx, env)
}

// settle takes note of a result.
func (f *Forwarder) settle(q *queue, r result) {
	q.ended(r.delivery)
	switch {
	case r.err != nil:
		f.journal.retrying()
		q.failed(r.delivery, r.err, time.Now())
	case r.forwarded: // that one was parked says nothing about the rest
		q.succeeded()
	}
}

// delivery is a pending delivery in memory.
type delivery struct {
	seq     uint64
	env     sentry.Envelope
	trace   string // that it belongs to, see Options.Inject
	damaged error  // why env could not be read

	attempts int       // that failed
	due      time.Time // when to repeat it, while others succeed
	level    int       // of the queue when it was last started
}

const (
	// The window is what is read of the backlog at once, to bound memory.
	maxWindow      = 64
	maxWindowBytes = 1 << 20 // or one delivery

	logInterval = time.Minute
)

// queue decides what to start next. Only [Forwarder.Run] uses it.
type queue struct {
	o       ForwarderOptions
	read    func(after uint64) ([]*delivery, error)
	pending func() int

	running   int
	window    []*delivery // read and not started yet, the oldest first
	last      uint64      // the sequence read last
	exhausted bool        // nothing more was pending after that
	repeat    []*delivery // failed

	level    int       // 0 while starts succeed, and one more with each probe that fails
	probing  bool      // a probe is running
	resume   time.Time // when to probe next
	reported bool      // this outage is in the log
	logged   time.Time // when a failure was last in the log
}

// next returns a delivery to start now, or nil. Then wait is how long until
// there may be one, even if nothing happens; 0 means that something must.
func (q *queue) next(now time.Time) (d *delivery, wait time.Duration) {
	if q.level > 0 {
		if q.probing {
			return nil, 0
		}
		if wait := q.resume.Sub(now); wait > 0 {
			return nil, wait
		}
	}
	if q.running >= q.o.Parallel {
		return nil, 0
	}

	again := -1
	for i, d := range q.repeat {
		if left := d.due.Sub(now); q.level == 0 && left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		if again < 0 || before(d, q.repeat[again]) {
			again = i
		}
	}
	// Those that failed come first. But when it is only for them that nothing
	// succeeds, another one must show it.
	if again < 0 || q.level > 0 && q.repeat[again].attempts > 1 {
		d, err := q.fresh()
		if err != nil {
			q.backOff(err, now)
			return nil, q.resume.Sub(now)
		}
		if d != nil {
			return q.take(d), 0
		}
	}
	if again < 0 {
		return nil, wait
	}
	d = q.repeat[again]
	q.repeat = slices.Delete(q.repeat, again, again+1)
	return q.take(d), 0
}

// take notes that d is started now.
func (q *queue) take(d *delivery) *delivery {
	q.running++
	q.probing = q.level > 0
	d.level = q.level
	return d
}

// ended notes that d is not running any more.
func (q *queue) ended(d *delivery) {
	q.running--
	if d.level > 0 {
		q.probing = false
	}
}

// before reports whether a is to be repeated before b.
func before(a, b *delivery) bool {
	return cmp.Or(cmp.Compare(a.attempts, b.attempts), cmp.Compare(a.seq, b.seq)) < 0
}

// fresh returns the oldest delivery that was not started yet, if there is one
// and memory is bounded with it.
func (q *queue) fresh() (*delivery, error) {
	if len(q.repeat)+q.running >= 2*q.o.Parallel {
		return nil, nil
	}
	if len(q.window) == 0 && !q.exhausted {
		window, err := q.read(q.last)
		if err != nil {
			return nil, err
		}
		q.window = window
		q.exhausted = len(window) == 0
		if !q.exhausted {
			q.last = window[len(window)-1].seq
		}
	}
	if len(q.window) == 0 {
		return nil, nil
	}
	d := q.window[0]
	q.window[0] = nil
	q.window = q.window[1:]
	return d, nil
}

// succeeded notes that starts succeed.
func (q *queue) succeeded() {
	if q.reported {
		q.o.Log.Info("forwarding again", keyPending, q.pending())
	}
	q.level, q.probing, q.reported = 0, false, false
}

// failed notes that d must be repeated.
func (q *queue) failed(d *delivery, err error, now time.Time) {
	d.attempts++
	d.due = now.Add(q.backoff(d.attempts))
	q.repeat = append(q.repeat, d)
	if d.level == q.level { // else it was under way with the one that failed first
		q.backOff(err, now)
	}
}

// backOff makes everything wait.
func (q *queue) backOff(err error, now time.Time) {
	q.level++
	wait := q.backoff(q.level)
	q.resume = now.Add(wait)
	if now.Sub(q.logged) >= logInterval {
		q.logged, q.reported = now, true
		q.o.Log.Warn("cannot forward deliveries, will go on trying", keyPending, q.pending(), telemetry.KeyError, err.Error())
	}
}

// backoff is how long to wait after n failures: doubling, between half of it
// and all of it at random.
func (q *queue) backoff(n int) time.Duration {
	d := q.o.MinBackoff
	for i := 1; i < n && d < q.o.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, q.o.MaxBackoff)
	return d/2 + rand.N(d/2+1)
}
