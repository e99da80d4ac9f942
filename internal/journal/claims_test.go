package journal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
)

// stuck returns a journal whose disk does not answer until release is called.
func stuck(t *testing.T) (j *Journal, release func()) {
	t.Helper()
	hung := make(chan struct{})
	release = sync.OnceFunc(func() { close(hung) })
	began := make(chan struct{}, 100)
	j = openJournal(t, t.TempDir(), Options{OnCommit: func(time.Duration, int, int) {
		began <- struct{}{}
		<-hung
	}})
	t.Cleanup(release) // before the journal is closed
	go func() { _ = appendTo(context.Background(), j, deliveryOf("first")) }()
	<-began
	return j, release
}

func TestARepetitionIsDoneInsteadWhileTheDiskHangs(t *testing.T) {
	for _, key := range []string{"first", "a"} { // being written, and waiting for that
		t.Run(key, func(t *testing.T) {
			j, release := stuck(t)
			away := true
			deliver := func() (Receipt, error) {
				return j.Append(t.Context(), Arrival{
					Envelope: deliveryOf(key), Plan: planOf, Patience: 5 * time.Millisecond,
					Instead: func(context.Context, sentry.Envelope, []routes.Operation) ([]Ran, error) {
						if away {
							return nil, errors.New("Temporal is away")
						}
						return []Ran{{Namespace: "default", WorkflowID: "triage:sentry:a", RunID: "run"}}, nil
					},
				})
			}
			_, err := deliver()
			fails(t, err, nil)
			away = false
			receipt, err := deliver()
			must(t, err)
			equal(t, receipt.Runs[0].RunID, "run")
			release()
			must(t, j.Sync())
			again, err := deliver()
			must(t, err)
			equal(t, again.Runs, receipt.Runs)
		})
	}
}

// Many of the same come while the disk hangs, is late, and is back.
func TestRepetitionsOfWhatIsDoneInsteadAreToldOfIt(t *testing.T) {
	j, release := stuck(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			receipt, err := j.Append(t.Context(), Arrival{
				Envelope: deliveryOf("a"), Plan: planOf, Patience: 5 * time.Millisecond,
				Instead: func(context.Context, sentry.Envelope, []routes.Operation) ([]Ran, error) {
					<-time.After(10 * time.Millisecond)
					return []Ran{{Namespace: "default", WorkflowID: "triage:sentry:a", RunID: "run"}}, nil
				},
			})
			if err != nil || len(receipt.Runs) != 1 && receipt.ID == 0 {
				t.Errorf("%+v, %v", receipt, err)
			}
		})
	}
	<-time.After(12 * time.Millisecond)
	release()
	group.Wait()
}

func TestWhatNobodyWaitsForAnyMoreIsNotHeldInMemory(t *testing.T) {
	j, release := stuck(t)
	for _, key := range keys(20) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		fails(t, appendTo(ctx, j, deliveryOfSize(key, 1<<20)), context.DeadlineExceeded)
		cancel()
	}
	j.mu.Lock()
	queued, held, arriving := len(j.queue), j.held["sentry"], len(j.arriving)
	j.mu.Unlock()
	equal(t, []int{queued, arriving}, []int{0, 1}) // the first is being written
	within(t, held, 0, 10_000)
	release()
	must(t, appendTo(t.Context(), j, deliveryOf(keys(1)[0])))
}

func TestAPlanThatPanicsOrIsEmptyLeavesNobodyWaiting(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		_, err := j.Append(ctx, Arrival{Envelope: deliveryOf("a"), Plan: func(sentry.Envelope) []routes.Operation { return nil }})
		fails(t, err, errNoPlan)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_, _ = j.Append(ctx, Arrival{Envelope: deliveryOf("a"), Plan: func(sentry.Envelope) []routes.Operation { panic("a bug") }})
		}()
	}
	must(t, appendTo(ctx, j, deliveryOf("a")))
	equal(t, j.Stats().Pending, 1)
}

func TestDeliveriesThatAreDoneMeanwhileDoNotEndABulkChange(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	appendAll(t, j, keys(600)...)
	entries := j.Entries(0, 600)
	var group sync.WaitGroup
	group.Go(func() {
		for i, e := range entries {
			if i%2 == 0 {
				j.Done(e.ID, nil)
			}
		}
	})
	_, err := j.Park(t.Context(), Filter{})
	must(t, err)
	group.Wait()
	stats := j.Stats()
	equal(t, stats.Pending, 0)
	within(t, stats.Parked, 300, 600)
}

func TestARepetitionOfWhatCannotBeReadAnyMoreEnters(t *testing.T) {
	for _, state := range []State{Pending, Parked} {
		dir := t.TempDir()
		j := openJournal(t, dir, Options{})
		appendAll(t, j, keys(3)...)
		if state == Parked {
			park(t, j, 2, "reason")
		}
		flip(t, dir, `"key":"key-000001"`)
		receipt := received(t, j, deliveryOf("key-000001"))
		equal(t, receipt.Entered, true)
		equal(t, receipt.Key, "key-000001")
		d, err := j.Read(receipt.ID)
		must(t, err)
		equal(t, d.Envelope, deliveryOf("key-000001"))
	}
}
