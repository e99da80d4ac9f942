package journal

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
)

func TestAJournalThatCannotWriteIsNotReadyUntilItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, disk := openFaulty(t, t.TempDir(), Options{})
		must(t, j.Ready())
		disk.broken.Store(true)
		fails(t, appendTo(t.Context(), j, deliveryOf("a")), nil)
		fails(t, j.Ready(), nil)
		pass(10 * retryLag)
		fails(t, j.Ready(), nil)

		disk.broken.Store(false)
		pass(retryLag) // and nobody has sent anything
		must(t, j.Ready())
		must(t, j.Close())
		fails(t, j.Ready(), ErrClosed)
	})
}

// What was there would still be written to.
func TestAJournalIsNotReadyAgainBeforeTheDiskHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, disk := openFaulty(t, t.TempDir(), Options{})
		disk.broken.Store(true)
		fails(t, appendTo(t.Context(), j, deliveryOf("a")), nil)
		disk.full.Store(true)
		disk.broken.Store(false)
		pass(10 * retryLag)
		fails(t, j.Ready(), syscall.ENOSPC)
		disk.full.Store(false)
		pass(retryLag)
		must(t, j.Ready())
	})
}

func TestAFullJournalIsNotReadyUntilThereIsRoom(t *testing.T) {
	const room = 4 * minRoom // of which a quarter is for parked ones
	j := openJournal(t, t.TempDir(), Options{MaxBytes: room})
	must(t, appendTo(t.Context(), j, deliveryOfSize("a", room*3/4-minRoom-1000)))
	must(t, j.Ready())
	must(t, appendTo(t.Context(), j, deliveryOfSize("b", 2000)))
	fails(t, j.Ready(), ErrFull)
	done(j, 2)
	must(t, j.Ready())
}

func TestADiskThatDoesNotAnswerIsNotReadyAndInTheEndNotAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{OnCommit: func(time.Duration, int, int) {
			<-time.After(deadAfter + time.Minute)
		}})
		pass(time.Hour)
		must(t, j.Ready()) // idle is fine
		must(t, j.Alive())
		written := make(chan error)
		go func() { written <- appendTo(context.Background(), j, deliveryOf("a")) }()
		pass(stuckAfter)
		must(t, j.Ready())
		pass(1)
		fails(t, j.Ready(), nil)
		pass(deadAfter - stuckAfter - 1)
		must(t, j.Alive())
		pass(1)
		fails(t, j.Alive(), nil)
		must(t, <-written)
		synctest.Wait()
		must(t, j.Alive())
		must(t, j.Ready())
	})
}

// instead is a delivery that is done by do when it cannot be kept.
func instead(key string, do func() error) Arrival {
	return Arrival{
		Envelope: deliveryOfSize(key, 1<<20), Plan: planOf,
		Instead: func(context.Context, sentry.Envelope, []routes.Operation) ([]Ran, error) {
			return []Ran{{Namespace: "default", WorkflowID: "triage:sentry:" + key, RunID: "run"}}, do()
		},
	}
}

// What repeats a delivery waits for what is done instead of keeping it: a second
// start could only follow it.
func TestARepetitionWaitsForWhatIsDoneInstead(t *testing.T) {
	for name, o := range map[string]struct {
		maxBytes int64
		broken   bool
	}{
		"while there is no room":        {maxBytes: 1000},
		"while the disk takes no write": {broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, disk := openFaulty(t, t.TempDir(), Options{MaxBytes: o.maxBytes})
				disk.broken.Store(o.broken)
				calls, release := 0, make(chan struct{})
				var group sync.WaitGroup
				entered := 0
				var mu sync.Mutex
				for range 3 {
					group.Go(func() {
						receipt, err := j.Append(context.Background(), instead("a", func() error {
							mu.Lock()
							calls++
							mu.Unlock()
							<-release
							return nil
						}))
						mu.Lock()
						defer mu.Unlock()
						if err != nil || len(receipt.Runs) != 1 {
							t.Errorf("receipt %+v, error %v", receipt, err)
						}
						if receipt.Entered {
							entered++
						}
					})
					synctest.Wait()
				}
				equal(t, calls, 1)
				close(release)
				group.Wait()
				equal(t, []int{calls, entered}, []int{1, 1})
				equal(t, j.Stats().Pending, 0)
			})
		})
	}
}

// The disk has answered in time for nobody, and in the end it has kept the
// delivery: then it is done twice, which is harmless, but never lost.
func TestADeliveryThatTheDiskKeepsTooLateIsDoneInsteadAndPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow time.Duration
		j := openJournal(t, t.TempDir(), Options{OnCommit: func(time.Duration, int, int) { <-time.After(slow) }})
		slow = time.Minute
		a := instead("a", func() error { return nil })
		a.Patience = time.Second
		began := time.Now()
		receipt, err := j.Append(t.Context(), a)
		must(t, err)
		equal(t, time.Since(began), time.Second)
		equal(t, len(receipt.Runs), 1)
		pass(time.Minute)
		equal(t, j.Stats().Pending, 1)

		a.Instead = func(context.Context, sentry.Envelope, []routes.Operation) ([]Ran, error) {
			return nil, errors.New("Temporal is away")
		}
		a.Envelope = deliveryOf("b")
		_, err = j.Append(t.Context(), a)
		fails(t, err, context.DeadlineExceeded)
		pass(time.Minute)
		equal(t, pendingKeys(t, j)[1], "b")
	})
}

// What is on its way to the parked ones takes room there already.
func TestManyParkedAtOnceDoNotOverfill(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{MaxBytes: 120_000})
	appendUntilFull := func() {
		for _, key := range keys(100) {
			if err := appendTo(t.Context(), j, deliveryOfSize(key, 1000)); err != nil {
				fails(t, err, ErrFull)
				return
			}
		}
	}
	appendUntilFull()
	_, err := j.Park(t.Context(), Filter{})
	fails(t, err, ErrFull)
	within(t, j.Stats().ParkedBytes, 25_000, 30_000)
	equal(t, j.parking, 0)

	// And so it is on the way back.
	appendUntilFull()
	done(j, j.Entries(0, 1)[0].ID)
	n, err := j.PutBack(t.Context(), Filter{})
	fails(t, err, ErrFull)
	within(t, n, 0, 2)
	within(t, j.Stats().PendingBytes, 85_000, 90_000)
}

func TestADeliveryThatIsDoneWhileItIsBeingParkedIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		hold := make(chan chan struct{}, 1) // in the middle of a commit
		j := openJournal(t, dir, Options{OnCommit: func(time.Duration, int, int) {
			select {
			case release := <-hold:
				<-release
			default:
			}
		}})
		appendAll(t, j, "a", "b", "c")
		parked := make(chan error, 1)
		parking := func(id uint64) {
			go func() { parked <- j.ParkFor(context.Background(), id, Refused, "too late") }()
			synctest.Wait()
		}
		first, second := make(chan struct{}), make(chan struct{})
		hold <- first
		parking(3)
		parking(1) // which waits
		j.Done(1, nil)
		close(first)
		must(t, <-parked)
		fails(t, <-parked, ErrNotFound)
		must(t, j.Sync())
		hold <- second
		parking(2) // which is written
		j.Done(2, nil)
		close(second)
		fails(t, <-parked, ErrNotFound)
		equal(t, []int{j.Stats().Parked, j.Stats().Pending}, []int{1, 0})
		must(t, j.Close())
		j = openJournal(t, dir, Options{})
		equal(t, []int{j.Stats().Parked, j.Stats().Pending}, []int{1, 0})
	})
}

func TestARepetitionIsNotAnsweredBeforeTheFirstIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		j := openJournal(t, t.TempDir(), Options{OnCommit: func(time.Duration, int, int) { <-release }})
		answers := make(chan error, 2)
		for range 2 {
			go func() { answers <- appendTo(context.Background(), j, deliveryOf("a")) }()
			synctest.Wait()
		}
		equal(t, len(answers), 0)
		close(release)
		must(t, <-answers)
		must(t, <-answers)
		equal(t, j.Stats().Pending, 1)
	})
}

func TestALongReasonIsCut(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	appendAll(t, j, "a", "b")
	park(t, j, 1, strings.Repeat("x", maxReason)+"y")
	park(t, j, 2, strings.Repeat("x", maxReason-1)+"é")
	items := parkedItems(t, j)
	equal(t, items[0].Reason, strings.Repeat("x", maxReason))
	equal(t, items[1].Reason, strings.Repeat("x", maxReason-1))
}
