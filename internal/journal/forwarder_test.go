package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// temporal starts each run once, however often it is asked, and can fail.
type temporal struct {
	mu       sync.Mutex
	started  []string // run IDs in the order of their start
	attempts []attempt
	running  int
	most     int // attempts at once
	fail     func(ctx context.Context, key string) error
}

type attempt struct {
	key string
	at  time.Time
}

func newTemporal() *temporal { return &temporal{} }

func (f *temporal) start(ctx context.Context, env sentry.Envelope) ([]starter.Run, error) {
	key := env.IdempotencyKey
	f.mu.Lock()
	f.attempts = append(f.attempts, attempt{key, time.Now()})
	f.running++
	f.most = max(f.most, f.running)
	fail := f.fail
	f.mu.Unlock()
	var err error
	if fail != nil {
		err = fail(ctx, key)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	if err != nil {
		return nil, err
	}
	run := starter.Run{Workflow: "triage", WorkflowID: "triage:" + key, Status: starter.Existing}
	if !slices.Contains(f.started, key) {
		f.started = append(f.started, key)
		run.Status = starter.Started
	}
	return []starter.Run{run}, nil
}

func (f *temporal) runs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

func (f *temporal) tried() []attempt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.attempts)
}

func (f *temporal) failWith(fail func(ctx context.Context, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// runForwarder runs a forwarder until stop is called or the test ends.
func runForwarder(t testing.TB, j *Journal, start Start, o ForwarderOptions) (stop func()) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return run(t, NewForwarder(j, start, o))
}

func run(t testing.TB, f *Forwarder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}

var errDown = errors.New("temporal is down")

func always(err error) func(context.Context, string) error {
	return func(context.Context, string) error { return err }
}

func slow(d time.Duration) func(context.Context, string) error {
	return func(context.Context, string) error {
		<-time.After(d)
		return nil
	}
}

func TestForwardsEveryDeliveryOnceOldestFirstAndDeletesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, Options{})
		want := keys(200) // several windows
		appendAll(t, j, want...)
		f := newTemporal()
		stop := runForwarder(t, j, f.start, ForwarderOptions{Parallel: 1})
		synctest.Wait()
		equal(t, f.runs(), want)
		equal(t, len(f.tried()), len(want))
		equal(t, j.Stats().Pending, 0)
		equal(t, j.Stats().Forwarded, uint64(200))
		stop()
		must(t, j.Close())
		equal(t, len(pendingKeys(t, openJournal(t, dir, Options{}))), 0)
	})
}

func TestForwardsWhatIsAppendedWithoutDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		runForwarder(t, j, f.start, ForwarderOptions{})
		for _, key := range keys(5) {
			pass(time.Hour)
			appended := time.Now()
			appendAll(t, j, key)
			synctest.Wait()
			tried := f.tried()
			equal(t, tried[len(tried)-1], attempt{key, appended})
		}
	})
}

func TestDeliveryIsNotForwardedBeforeItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j *Journal
		j = openJournal(t, t.TempDir(), Options{OnCommit: func(_ time.Duration, added, _ int) {
			if added > 0 { // it can be read, and Append has not returned
				j.signal()
				<-time.After(time.Second)
			}
		}})
		f := newTemporal()
		runForwarder(t, j, f.start, ForwarderOptions{})
		for range 2 { // the first one is not taken for pending for ever
			appendAll(t, j, "a")
			acknowledged := time.Now()
			synctest.Wait()
			tried := f.tried()
			equal(t, tried[len(tried)-1], attempt{"a", acknowledged})
			equal(t, j.Stats().Pending, 0)
		}
		equal(t, len(f.tried()), 2)
	})
}

func TestSlowStartDoesNotIdleTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		appendAll(t, j, keys(100)...)
		f := newTemporal()
		release := make(chan struct{})
		f.fail = func(_ context.Context, key string) error {
			if key == "key-000000" {
				<-release
			}
			return nil
		}
		runForwarder(t, j, f.start, ForwarderOptions{Parallel: 4})
		synctest.Wait()
		equal(t, len(f.runs()), 99)
		equal(t, j.Stats().Pending, 1)
		close(release)
		synctest.Wait()
		equal(t, len(f.runs()), 100)
	})
}

func TestStartsAsManyAtOnceAsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		appendAll(t, j, keys(50)...)
		f := newTemporal()
		f.fail = slow(time.Second)
		runForwarder(t, j, f.start, ForwarderOptions{Parallel: 10})
		pass(5*time.Second + time.Millisecond)
		equal(t, len(f.runs()), 50)
		equal(t, f.most, 10)
	})
}

func TestOutageMakesTheQueueWaitAndProbeUntilItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendAll(t, j, keys(100)...)
		runForwarder(t, j, f.start, ForwarderOptions{Parallel: 4, Log: slog.New(slog.NewTextHandler(&log, nil))})
		pass(10 * time.Minute)

		tried := f.tried()
		order := make([]string, len(tried))
		for i, a := range tried {
			order[i] = a.key
		}
		equal(t, sorted(order[:4]), keys(4))
		equal(t, order[4:8], keys(4)) // those that failed are repeated first, one by one
		longest := time.Duration(0)
		for i := 4; i < len(tried); i++ {
			wait := tried[i].at.Sub(tried[i-1].at)
			within(t, wait, 50*time.Millisecond, 10*time.Second)
			longest = max(longest, wait)
		}
		within(t, longest, 5*time.Second, 10*time.Second)
		equal(t, j.Stats().Pending, 100)
		equal(t, j.Stats().Retries, uint64(len(tried)))
		within(t, strings.Count(log.String(), "cannot forward"), 9, 10)
		equal(t, strings.Count(log.String(), "forwarding again"), 0)

		f.failWith(nil)
		pass(10 * time.Second)
		equal(t, len(f.runs()), 100)
		equal(t, j.Stats().Pending, 0)
		equal(t, strings.Count(log.String(), "forwarding again"), 1)
	})
}

func TestDeliveryThatAlwaysFailsDoesNotHoldUpTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = func(_ context.Context, key string) error {
			if key <= "key-000002" {
				return errDown
			}
			return nil
		}
		appendAll(t, j, keys(200)...)
		runForwarder(t, j, f.start, ForwarderOptions{Parallel: 4})
		pass(time.Minute)
		equal(t, len(f.runs()), 197)
		equal(t, j.Stats().Pending, 3)
		within(t, j.Stats().Retries, 3, 100) // and those are not tried all the time
		f.failWith(nil)
		pass(10 * time.Second)
		equal(t, len(f.runs()), 200)
	})
}

func TestProbeDoesNotWaitForAStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = func(ctx context.Context, key string) error {
			switch key {
			case "key-000000":
				<-ctx.Done()
				return ctx.Err()
			case "key-000001":
				return errDown
			}
			return nil
		}
		appendAll(t, j, keys(20)...)
		runForwarder(t, j, f.start, ForwarderOptions{Parallel: 2})
		pass(time.Second)
		equal(t, len(f.runs()), 18)
	})
}

func TestStartThatHangsIsCutOffAndRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		appendAll(t, j, "a")
		runForwarder(t, j, f.start, ForwarderOptions{})
		pass(time.Minute)
		tried := f.tried()
		within(t, tried[1].at.Sub(tried[0].at), 10*time.Second, 10*time.Second+100*time.Millisecond)
	})
}

var errRefused = fmt.Errorf("refused: %s\xff", strings.Repeat("x", 2*maxReason))

func isRefused(err error) bool { return errors.Is(err, errRefused) }

func TestPermanentFailureParksTheDeliveryOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		j := openJournal(t, dir, Options{})
		f := newTemporal()
		f.fail = func(_ context.Context, key string) error {
			if key == "key-000001" {
				return fmt.Errorf("start: %w", errRefused)
			}
			return nil
		}
		received := time.Now()
		appendAll(t, j, keys(3)...)
		pass(time.Hour)
		stop := runForwarder(t, j, f.start, ForwarderOptions{Permanent: isRefused, Log: slog.New(slog.NewTextHandler(&log, nil))})
		synctest.Wait()
		equal(t, sorted(f.runs()), []string{"key-000000", "key-000002"})
		equal(t, j.Stats().Pending, 0)
		equal(t, j.Stats().Retries, 0)
		stop()
		contains(t, log.String(), "key-000001")
		must(t, j.Close())

		j = openJournal(t, dir, Options{})
		equal(t, j.Stats().Parked, 1)
		parked, err := j.Parked(0, 10)
		must(t, err)
		within(t, len(parked[0].Reason), maxReason-1, maxReason)
		contains(t, parked[0].Reason, "start: refused: xxx")
		parked[0].Reason = ""
		equal(t, parked, []Parked{{
			ID: 2, Received: received.UTC(), ParkedAt: received.Add(time.Hour).UTC(), Event: "sentry.issue.created",
			Integration: "sentry", Key: "key-000001", Size: len(deliveryOf("key-000001").Body),
		}})
		env, err := j.Export(2)
		must(t, err)
		equal(t, env, deliveryOf("key-000001"))
	})
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func TestPanicInStartParksTheDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		start := func(ctx context.Context, env sentry.Envelope) ([]starter.Run, error) {
			if env.IdempotencyKey == "key-000000" {
				panic("a bug")
			}
			return f.start(ctx, env)
		}
		appendAll(t, j, keys(2)...)
		runForwarder(t, j, start, ForwarderOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
		synctest.Wait()
		equal(t, f.runs(), []string{"key-000001"})
		parked, err := j.Parked(0, 10)
		must(t, err)
		equal(t, parked[0].Reason, "panic: a bug")
		contains(t, log.String(), "forwarder_test.go")
	})
}

func TestParkedDeliveriesCanBePutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = always(errRefused)
		appendAll(t, j, keys(5)...)
		runForwarder(t, j, f.start, ForwarderOptions{Permanent: isRefused})
		pass(time.Second) // the journal may linger
		equal(t, j.Stats().Parked, 5)

		first, err := j.Parked(0, 2)
		must(t, err)
		rest, err := j.Parked(first[1].ID, 10)
		must(t, err)
		equal(t, []int{len(first), len(rest)}, []int{2, 3})
		equal(t, rest[0].ID > first[1].ID, true)

		must(t, j.Unpark(t.Context(), first[0].ID)) // too early
		pass(time.Second)                           // the journal may linger
		equal(t, j.Stats().Parked, 5)
		fails(t, j.Unpark(t.Context(), first[0].ID), ErrNotParked)

		f.failWith(nil)
		must(t, j.Discard(t.Context(), rest[0].ID))
		fails(t, j.Discard(t.Context(), rest[0].ID), ErrNotParked)
		_, err = j.Export(rest[0].ID)
		fails(t, err, ErrNotParked)
		n, err := j.UnparkAll(t.Context())
		must(t, err)
		equal(t, n, 4)
		pass(time.Second) // the journal may linger
		equal(t, len(f.runs()), 4)
		stats := j.Stats()
		equal(t, stats.Parked, 0)
		equal(t, stats.ParkedBytes, 0)
		equal(t, stats.PendingBytes, 0)
	})
}

func TestPutBackDeliveryIsPendingLikeAnyOther(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	appendAll(t, j, "a", "b")
	must(t, j.park(t.Context(), 1, "reason"))
	appendAll(t, j, "a") // that one is not pending
	equal(t, pendingKeys(t, j), []string{"b", "a"})
	must(t, j.Unpark(t.Context(), 1))
	equal(t, pendingKeys(t, j), []string{"b", "a", "a"})
	j.remove(3)
	appendAll(t, j, "a")
	must(t, j.Close())
	equal(t, pendingKeys(t, openJournal(t, dir, Options{})), []string{"b", "a"})
}

func TestStopDrainsForABoundedTimeAndLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, Options{})
		f := newTemporal()
		f.fail = slow(3 * time.Second)
		appendAll(t, j, keys(10)...)
		stop := runForwarder(t, j, f.start, ForwarderOptions{Parallel: 4, DrainTimeout: 6 * time.Second})
		pass(time.Second)
		began := time.Now()
		stop() // while the first four are under way; two rounds of four fit
		equal(t, time.Since(began), 6*time.Second)
		equal(t, sorted(f.runs()), keys(8))

		// Killed now: the deletions are on disk already.
		j2 := openJournal(t, copyJournal(t, dir), Options{})
		equal(t, pendingKeys(t, j2), keys(10)[8:])
		runForwarder(t, j2, f.start, ForwarderOptions{})
		pass(10 * time.Second)
		equal(t, sorted(f.runs()), keys(10))
	})
}

func TestStopEndsAsSoonAsNothingIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, Options{})
		f := newTemporal()
		f.fail = slow(time.Second)
		appendAll(t, j, keys(3)...)
		stop := runForwarder(t, j, f.start, ForwarderOptions{Parallel: 1})
		synctest.Wait()
		began := time.Now()
		stop()
		equal(t, time.Since(began), 3*time.Second)
		equal(t, j.Stats().Pending, 0)

		// Killed now: the deletions are on disk already.
		equal(t, len(pendingKeys(t, openJournal(t, copyJournal(t, dir), Options{}))), 0)
	})
}

func TestStopDuringAnOutageDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendAll(t, j, keys(3)...)
		stop := runForwarder(t, j, f.start, ForwarderOptions{})
		pass(time.Minute)
		began := time.Now()
		stop()
		equal(t, time.Since(began), 0)
		equal(t, j.Stats().Pending, 3)
	})
}

func TestStopDoesNotWaitForAStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		release := make(chan struct{})
		f.fail = func(context.Context, string) error { <-release; return nil } // does not even look at its context
		appendAll(t, j, "a")
		stop := runForwarder(t, j, f.start, ForwarderOptions{DrainTimeout: time.Second})
		synctest.Wait()
		began := time.Now()
		stop()
		equal(t, time.Since(began), time.Second)
		equal(t, j.Stats().Pending, 1)
		close(release)
	})
}

func TestRunGoesOnAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendAll(t, j, keys(10)...)
		forwarder := NewForwarder(j, f.start, ForwarderOptions{Log: slog.New(slog.DiscardHandler)})
		stop := run(t, forwarder)
		pass(time.Second)
		stop()
		f.failWith(nil)
		run(t, forwarder)
		synctest.Wait()
		equal(t, sorted(f.runs()), keys(10))
	})
}

func TestWatchGetsTheOutcomeHoweverSoonItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		forwarder := NewForwarder(j, f.start, ForwarderOptions{Permanent: isRefused, Log: slog.New(slog.DiscardHandler)})
		run(t, forwarder)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait := forwarder.Watch(ctx, deliveryOf("fast"))
		appendAll(t, j, "fast")
		synctest.Wait() // it is over before anyone waits
		runs, err := wait()
		must(t, err)
		equal(t, runs, []starter.Run{{Workflow: "triage", WorkflowID: "triage:fast", Status: starter.Started}})

		wait = forwarder.Watch(ctx, deliveryOf("fast"))
		appendAll(t, j, "fast")
		runs, err = wait()
		must(t, err)
		equal(t, runs[0].Status, starter.Existing)

		f.failWith(slow(500 * time.Millisecond))
		wait, both := forwarder.Watch(ctx, deliveryOf("slow")), forwarder.Watch(ctx, deliveryOf("slow"))
		appendAll(t, j, "slow")
		_, err = wait()
		must(t, err)
		_, err = both()
		must(t, err)

		f.failWith(always(errRefused))
		wait = forwarder.Watch(ctx, deliveryOf("refused"))
		appendAll(t, j, "refused")
		_, err = wait()
		fails(t, err, errRefused)
	})
}

func TestWatchEndsWithItsContextAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		f := newTemporal()
		f.fail = always(errDown)
		forwarder := NewForwarder(j, f.start, ForwarderOptions{Log: slog.New(slog.DiscardHandler)})
		run(t, forwarder)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait := forwarder.Watch(ctx, deliveryOf("a"))
		forwarder.Watch(ctx, deliveryOf("a")) // and never waits
		appendAll(t, j, "a")
		began := time.Now()
		_, err := wait()
		fails(t, err, context.DeadlineExceeded)
		equal(t, time.Since(began), time.Second)
		synctest.Wait()
		equal(t, len(forwarder.watches), 0)
		equal(t, j.Stats().Pending, 1)
	})
}

func TestEveryWatcherOfManyDuplicatesIsServed(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	f := newTemporal()
	forwarder := NewForwarder(j, f.start, ForwarderOptions{Log: slog.New(slog.DiscardHandler)})
	run(t, forwarder)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for i := range 300 {
		group.Go(func() {
			env := deliveryOf(fmt.Sprint("key-", i%7))
			wait := forwarder.Watch(ctx, env)
			if err := j.Append(ctx, env); err != nil {
				t.Error(err)
			}
			if runs, err := wait(); err != nil || len(runs) != 1 {
				t.Error(runs, err)
			}
			runtime.Gosched()
		})
	}
	group.Wait()
	equal(t, len(f.runs()), 7)
}

// At each point where the process can be killed, what it leaves is what the
// next one needs: nothing is lost, and nothing runs twice.
func TestKilledAtAnyStepNothingIsLostAndNothingRunsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTemporal() // outlives the processes
		dir := t.TempDir()
		var before, written, started string // dir as it was then
		j := openJournal(t, dir, Options{OnCommit: func(_ time.Duration, added, _ int) {
			if added > 0 {
				written = copyJournal(t, dir) // durable, and not answered yet
			}
		}})
		before = copyJournal(t, dir)
		appendAll(t, j, "a")
		stop := runForwarder(t, j, func(ctx context.Context, env sentry.Envelope) ([]starter.Run, error) {
			defer func() { started = copyJournal(t, dir) }() // Temporal has it, and we do not know
			return f.start(ctx, env)
		}, ForwarderOptions{})
		synctest.Wait()
		stop()
		must(t, j.Close())

		resume := func(dir string) (found []string) {
			j := openJournal(t, dir, Options{})
			found = pendingKeys(t, j)
			runForwarder(t, j, f.start, ForwarderOptions{})
			synctest.Wait()
			equal(t, j.Stats().Pending, 0)
			return found
		}
		equal(t, len(resume(before)), 0) // nothing was promised
		equal(t, resume(written), []string{"a"})
		equal(t, resume(started), []string{"a"})
		equal(t, len(resume(dir)), 0) // it is deleted
		equal(t, f.runs(), []string{"a"})
		equal(t, len(f.tried()), 3)
	})
}
