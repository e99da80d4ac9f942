package forwarder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// inbox is an Inbox with what it stands on.
type inbox struct {
	*Inbox
	journal   *journal.Journal
	forwarder *Forwarder
	temporal  *temporal
}

func newInbox(t *testing.T, o journal.Options) inbox {
	t.Helper()
	j, f := openJournal(t, t.TempDir(), o), newTemporal()
	forwarder := newForwarder(j, f, Options{})
	return inbox{NewInbox(forwarder, f, planOf), j, forwarder, f}
}

// answer is what Deliver says.
type answer struct {
	key    string
	runID  string
	status starter.Status
	err    error
}

// deliver delivers as the ingress does: Deliver has a second, and wait besides.
func (i inbox) deliver(key string, wait time.Duration) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second+wait)
	defer cancel()
	taken, err := i.Deliver(ctx, deliveryOf(key), sentry.Delivery{Integration: "sentry"}, wait)
	a := answer{key: taken.Key, err: err, status: starter.Overall(taken.Runs)}
	if len(taken.Runs) > 0 {
		a.runID = taken.Runs[0].RunID
	}
	return a
}

// later delivers and returns where the answer will be.
func (i inbox) later(key string, wait time.Duration) chan answer {
	ch := make(chan answer, 1)
	go func() { ch <- i.deliver(key, wait) }()
	synctest.Wait()
	return ch
}

func TestADeliveryIsAcceptedAndStartedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{})
		equal(t, i.deliver("a", 0), answer{key: "a", status: starter.Accepted})
		equal(t, i.deliver("a", 0), answer{key: "a", status: starter.Accepted})
		equal(t, pendingKeys(t, i.journal), []string{"a"})
		run(t, i.forwarder)
		synctest.Wait()
		equal(t, i.temporal.runs(), []string{"a"})
		equal(t, i.deliver("a", 0), answer{key: "a", runID: "run of a", status: starter.Existing})
		equal(t, i.deliver("b", 0).key, "b")
		equal(t, watchers(i.forwarder), 0)
	})
}

func TestWhatNoWorkflowWantsIsNotKept(t *testing.T) {
	i := newInbox(t, journal.Options{})
	none := NewInbox(i.forwarder, i.temporal, func(sentry.Delivery) routes.Plan { return routes.Plan{} })
	taken, err := none.Deliver(t.Context(), deliveryOf("a"), sentry.Delivery{Integration: "sentry"}, time.Second)
	must(t, err)
	equal(t, taken.Key, "a")
	equal(t, len(taken.Runs), 0)
	equal(t, i.journal.Stats().Pending, 0)
}

// One of those that wait for a start has started the run.
func TestOneOfThoseThatWaitHasStartedAndToTheOthersItIsExisting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{})
		first, second := i.later("a", 5*time.Second), i.later("a", 5*time.Second)
		pass(time.Second)
		equal(t, len(first)+len(second), 0)
		run(t, i.forwarder)
		equal(t, <-first, answer{key: "a", runID: "run of a", status: starter.Started})
		equal(t, <-second, answer{key: "a", runID: "run of a", status: starter.Existing})
		equal(t, i.deliver("a", 5*time.Second), answer{key: "a", runID: "run of a", status: starter.Existing})
		equal(t, watchers(i.forwarder), 0)
	})
}

func TestWaitingEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{})
		began := time.Now()
		equal(t, i.deliver("a", 3*time.Second), answer{key: "a", status: starter.Accepted})
		equal(t, time.Since(began), 3*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		taken, err := i.Deliver(ctx, deliveryOf("a"), sentry.Delivery{Integration: "sentry"}, time.Minute)
		must(t, err)
		equal(t, starter.Overall(taken.Runs), starter.Accepted)
		equal(t, time.Since(began), time.Second)
		equal(t, watchers(i.forwarder), 0)
	})
}

func TestWaitingEndsWhenForwardingDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{})
		i.temporal.fail = always(errDown)
		stop := run(t, i.forwarder)
		waiting := i.later("a", 10*time.Second)
		began := time.Now()
		stop()
		equal(t, <-waiting, answer{key: "a", status: starter.Accepted})
		equal(t, i.deliver("b", 10*time.Second), answer{key: "b", status: starter.Accepted})
		equal(t, time.Since(began), 0)
		equal(t, watchers(i.forwarder), 0)
	})
}

func TestWhoWaitsForADeliveryThatIsParkedIsToldThatItIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{})
		i.temporal.fail = always(errRefused)
		run(t, i.forwarder)
		began := time.Now()
		equal(t, i.deliver("a", time.Minute), answer{key: "a", status: starter.Accepted})
		equal(t, time.Since(began), 0)
		equal(t, len(parkedItems(t, i.journal)), 1)
	})
}

func TestWhatCannotBeKeptIsStartedAtOnceOrRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{MaxBytes: 1})
		i.temporal.fail = always(errDown)
		equal(t, errors.Is(i.deliver("a", 0).err, journal.ErrFull), true)
		i.temporal.failWith(func(context.Context, string) error { panic("a bug") })
		equal(t, errors.Is(i.deliver("a", 0).err, journal.ErrFull), true)
		i.temporal.failWith(nil)
		equal(t, i.deliver("a", 0), answer{key: "a", runID: "run of a", status: starter.Started})
		equal(t, i.deliver("a", 0), answer{key: "a", runID: "run of a", status: starter.Existing})
		equal(t, len(i.temporal.tried()), 3)
	})
}

func TestADiskThatIsSlowLeavesTimeForAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := time.Duration(0)
		i := newInbox(t, journal.Options{OnCommit: func(time.Duration, int, int) { <-time.After(slow) }})
		slow = time.Minute
		began := time.Now()
		equal(t, i.deliver("a", 0), answer{key: "a", runID: "run of a", status: starter.Started})
		equal(t, time.Since(began), diskPatience)
	})
}

func TestStartsWithoutTheJournalAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{MaxBytes: 1})
		i.temporal.fail = hang
		answers := make(chan answer, 3*maxDirect)
		for n := range cap(answers) {
			go func() { answers <- i.deliver(fmt.Sprint(n), 0) }()
		}
		synctest.Wait()
		equal(t, i.temporal.atOnce(), maxDirect)
		for range cap(answers) {
			equal(t, errors.Is((<-answers).err, context.DeadlineExceeded), true)
		}
		i.temporal.failWith(nil)
		equal(t, i.deliver("later", 0).status, starter.Started) // each has given its place back
	})
}

// One whose namespace hangs does not take the places of others.
func TestStartsWithoutTheJournalAreBoundedForEachIntegration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInbox(t, journal.Options{MaxBytes: 1})
		i.temporal.fail = func(ctx context.Context, key string) error {
			if strings.HasPrefix(key, "bad") {
				return hang(ctx, key)
			}
			return nil
		}
		for n := range 5 * maxDirect {
			go i.deliver(fmt.Sprint("bad", n), 0)
		}
		synctest.Wait()
		good := deliveryOf("good")
		good.IntegrationID = "good"
		began := time.Now()
		taken, err := i.Deliver(t.Context(), good, sentry.Delivery{Integration: "good"}, 0)
		must(t, err)
		equal(t, taken.Runs[0].Status, starter.Started)
		equal(t, time.Since(began), 0)
		pass(2 * time.Second)
	})
}
