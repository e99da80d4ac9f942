package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeliveriesAreThereAfterReopeningInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "inside")
	j := openJournal(t, dir, Options{})
	sizes := []int{0, 100, 5000, 100_000, 3 << 20, 2000}
	var want []string
	for i, size := range sizes {
		key := fmt.Sprint("key-", i)
		want = append(want, key)
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, size)))
	}
	before := j.Stats()
	equal(t, pendingKeys(t, j), want)
	must(t, j.Close())

	j = openJournal(t, dir, Options{})
	equal(t, pendingKeys(t, j), want)
	after := j.Stats()
	equal(t, after.Pending, len(sizes))
	equal(t, after.PendingBytes, before.PendingBytes)
	within(t, after.OldestAge, before.OldestAge, time.Hour)

	appendAll(t, j, "later")
	equal(t, pendingKeys(t, j), append(want, "later"))
}

func TestPendingDeliveryDoesNotEnterTwice(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	appendAll(t, j, "a", "b", "a")
	equal(t, pendingKeys(t, j), []string{"a", "b"})
	must(t, j.Close())

	j = openJournal(t, dir, Options{})
	appendAll(t, j, "b", "c")
	equal(t, pendingKeys(t, j), []string{"a", "b", "c"})
}

func TestSameKeyOfAnotherIntegrationIsAnotherDelivery(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	env := deliveryOf("a")
	must(t, appendTo(t.Context(), j, env))
	env.IntegrationID = "mobile"
	must(t, appendTo(t.Context(), j, env))
	equal(t, j.Stats().Pending, 2)
}

func TestSameDeliveryManyTimesAtOnceEntersOnceAndIsDurableForAll(t *testing.T) {
	var committed atomic.Int64
	j := openJournal(t, t.TempDir(), Options{OnCommit: func(_ time.Duration, added, _ int) { committed.Add(int64(added)) }})
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			if err := appendTo(t.Context(), j, deliveryOf("a")); err != nil {
				t.Error(err)
			}
			if committed.Load() != 1 {
				t.Error("answered before the commit")
			}
		})
	}
	group.Wait()
	equal(t, pendingKeys(t, j), []string{"a"})
}

// gathered appends n deliveries of size together, all but the first while the
// writer is busy, and returns how many each commit added.
func gathered(t *testing.T, n, size int) (added []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		j := openJournal(t, t.TempDir(), Options{OnCommit: func(_ time.Duration, n, _ int) {
			if added = append(added, n); len(added) == 1 {
				<-release
			}
		}})
		var group sync.WaitGroup
		for i, key := range keys(n) {
			group.Go(func() {
				if err := appendTo(t.Context(), j, deliveryOfSize(key, size)); err != nil {
					t.Error(err)
				}
			})
			if i == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		close(release)
		group.Wait()
	})
	return added
}

func TestAppendsThatComeTogetherShareACommit(t *testing.T) {
	equal(t, gathered(t, 200, 300), []int{1, 199})
}

func TestCommitIsBoundedInDeliveriesAndBytes(t *testing.T) {
	equal(t, gathered(t, 2*maxBatch+2, 300), []int{1, maxBatch, maxBatch, 1})
	equal(t, gathered(t, 4, maxBatchBytes*2/5), []int{1, 2, 1})
	equal(t, gathered(t, 3, maxBatchBytes+1), []int{1, 1, 1})
}

// A quarter of the space is for parked deliveries.
func TestFullJournalRefusesUntilThereIsRoom(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{MaxBytes: 16_000})
	must(t, appendTo(t.Context(), j, deliveryOfSize("a", 3000)))
	must(t, appendTo(t.Context(), j, deliveryOfSize("b", 3000)))
	must(t, appendTo(t.Context(), j, deliveryOfSize("c", 3000)))
	fails(t, appendTo(t.Context(), j, deliveryOfSize("d", 3000)), ErrFull)
	must(t, appendTo(t.Context(), j, deliveryOfSize("a", 3000))) // is there already
	within(t, j.Stats().PendingBytes, 9000, 12_000)

	park(t, j, 1, "reason") // makes room, and fills its own
	must(t, appendTo(t.Context(), j, deliveryOfSize("d", 3000)))
	fails(t, j.ParkFor(t.Context(), 2, Refused, "reason"), ErrFull)
	equal(t, pendingKeys(t, j), []string{"b", "c", "d"})
	_, err := j.PutBack(t.Context(), Filter{})
	fails(t, err, ErrFull)

	_, err = j.Discard(t.Context(), only(Parked, 1))
	must(t, err)
	park(t, j, 2, "reason")
	_, err = j.Discard(t.Context(), only(Pending, 3))
	must(t, err)
	must(t, appendTo(t.Context(), j, deliveryOfSize("e", 3000)))
	must(t, j.Sync())
	equal(t, pendingKeys(t, j), []string{"d", "e"})
}

func TestManyAtOnceDoNotOverfill(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{MaxBytes: 40_000})
	var group sync.WaitGroup
	for _, key := range keys(64) {
		group.Go(func() { _ = appendTo(t.Context(), j, deliveryOfSize(key, 2000)) })
	}
	group.Wait()
	within(t, j.Stats().PendingBytes, 20_000, 30_000)
}

func TestWhatIsAnIntegrationsOwnOthersDoNotFill(t *testing.T) {
	dir := t.TempDir()
	fill := func(j *Journal, integration string) (n int) {
		for ; ; n++ {
			env := deliveryOfSize(fmt.Sprint(integration, n), 1000)
			env.IntegrationID = integration
			if err := appendTo(t.Context(), j, env); err != nil {
				fails(t, err, ErrFull)
				return n
			}
		}
	}
	j := openJournal(t, dir, Options{MaxBytes: 100_000, Integrations: []string{"bad", "good"}})
	within(t, fill(j, "bad"), 30, 70)
	within(t, fill(j, "good"), 4, 9) // an eighth of what is for pending ones
	must(t, j.Close())

	j = openJournal(t, dir, Options{MaxBytes: 100_000, Integrations: []string{"bad", "good"}})
	another := deliveryOfSize("another", 1000)
	another.IntegrationID = "bad"
	fails(t, appendTo(t.Context(), j, another), ErrFull)
}

func init() {
	roles["lock"] = func(dir string) {
		_, err := Open(dir, Options{})
		fmt.Println(err)
	}
}

func TestDirectoryIsLockedAgainstOthers(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	_, err := Open(dir, Options{})
	fails(t, err, ErrLocked)

	answer, err := child(t, "lock", dir).Output()
	must(t, err)
	contains(t, string(answer), ErrLocked.Error())
	contains(t, string(answer), dir)

	appendAll(t, j, "a")
	must(t, j.Close())
	answer, err = child(t, "lock", dir).Output()
	must(t, err)
	equal(t, string(answer), "<nil>\n")
}

func TestWhatIsWrongWithTheDirectoryIsAnErrorAndNoDamage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(file, Options{})
	fails(t, err, nil)
	contains(t, err.Error(), file)

	must(t, openJournal(t, dir, Options{}).Close())
	path := segments(t, dir)[0]
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o700)) // instead of the file
	_, err = Open(dir, Options{})
	fails(t, err, nil)
	equal(t, len(setAside(t, dir)), 0)
	must(t, os.Remove(path))
	must(t, openJournal(t, dir, Options{}).Close())
}

func TestAJournalOfAnEarlierVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "journal.db"), []byte("as it was"), 0o600))
	_, err := Open(dir, Options{})
	fails(t, err, nil)
	contains(t, err.Error(), "journal.db")
	must(t, os.Remove(filepath.Join(dir, "journal.db")))
	must(t, openJournal(t, dir, Options{}).Close())
}

func TestFilesAreForThisUserOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	openJournal(t, dir, Options{})
	for path, mode := range map[string]os.FileMode{dir: os.ModeDir | 0o700, segments(t, dir)[0]: 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		equal(t, info.Mode(), mode)
	}
}

func TestClosedJournalSaysSo(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	appendAll(t, j, "a")
	must(t, j.Close())
	fails(t, appendTo(t.Context(), j, deliveryOf("b")), ErrClosed)
	fails(t, j.ParkFor(t.Context(), 1, Refused, ""), ErrClosed)
	_, err := j.List(Filter{State: Parked}, 0, 10)
	fails(t, err, ErrClosed)
	fails(t, j.Close(), ErrClosed)
}

func TestCloseMakesDurableWhatWasAppendedBefore(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	var acknowledged sync.Map
	var group sync.WaitGroup
	for _, key := range keys(100) {
		group.Go(func() {
			if appendTo(t.Context(), j, deliveryOf(key)) == nil {
				acknowledged.Store(key, true)
			}
		})
	}
	must(t, j.Close())
	group.Wait()

	j = openJournal(t, dir, Options{})
	for _, key := range pendingKeys(t, j) {
		acknowledged.Delete(key)
	}
	acknowledged.Range(func(key, _ any) bool {
		t.Errorf("%v is lost", key)
		return true
	})
}

func TestAppendReturnsWhenItsContextEnds(t *testing.T) {
	inCommit, release := make(chan struct{}, 10), make(chan struct{})
	j := openJournal(t, t.TempDir(), Options{OnCommit: func(time.Duration, int, int) {
		inCommit <- struct{}{}
		<-release
	}})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-inCommit
		cancel()
	}()
	fails(t, appendTo(ctx, j, deliveryOf("a")), context.Canceled)
}

func TestDeletionIsOnDiskSoonWithoutAnyOtherWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deleted []time.Time
		j := openJournal(t, t.TempDir(), Options{OnCommit: func(_ time.Duration, _, n int) {
			for range n {
				deleted = append(deleted, time.Now())
			}
		}})
		appendAll(t, j, "a", "b")
		began := time.Now()
		done(j, 1)
		equal(t, j.Stats().Pending, 1)
		pass(maxLag)
		equal(t, deleted, []time.Time{began.Add(maxLag)})
		equal(t, pendingKeys(t, j), []string{"b"})
	})
}

func TestManyDeletionsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deleted := 0
		j := openJournal(t, t.TempDir(), Options{OnCommit: func(_ time.Duration, _, n int) { deleted += n }})
		appendAll(t, j, keys(maxBatch)...)
		for seq := range maxBatch {
			done(j, uint64(seq+1))
		}
		synctest.Wait()
		equal(t, deleted, maxBatch)
		equal(t, j.Stats().PendingBytes, 0)
	})
}

func TestCloseMakesDeletionsDurable(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	appendAll(t, j, "a", "b")
	done(j, 1)
	must(t, j.Close())
	equal(t, pendingKeys(t, openJournal(t, dir, Options{})), []string{"b"})
}

func TestWhatIsDoneIsNotedOnADiskThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, disk := openFaulty(t, dir, Options{MaxBytes: small})
		appendAll(t, j, keys(20)...)
		disk.full.Store(true)
		want := keys(20)[1:]
		var err error
		for n := 0; err == nil; n++ { // what there is of segments is used
			key := fmt.Sprint("more-", n)
			if err = appendTo(t.Context(), j, deliveryOfSize(key, 100_000)); err == nil {
				want = append(want, key)
			}
		}
		fails(t, err, syscall.ENOSPC)
		within(t, len(want), 25, 45)
		fails(t, appendTo(t.Context(), j, deliveryOf("a")), syscall.ENOSPC)
		fails(t, j.Ready(), syscall.ENOSPC)
		done(j, 1)
		must(t, j.Sync())
		equal(t, pendingKeys(t, j), want)
		equal(t, pendingKeys(t, openJournal(t, copyJournal(t, dir), Options{MaxBytes: small})), want)

		disk.full.Store(false)
		must(t, appendTo(t.Context(), j, deliveryOf("a")))
		must(t, j.Ready())
		equal(t, pendingKeys(t, j), append(want, "a"))
	})
}

func TestWhatIsDoneAndCannotBeNotedIsNotedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, disk := openFaulty(t, dir, Options{MaxBytes: small})
		must(t, appendTo(t.Context(), j, deliveryOfSize("a", 100_000)))
		must(t, appendTo(t.Context(), j, deliveryOfSize("b", 200_000))) // enough for the file to stay
		disk.broken.Store(true)
		done(j, 1)
		fails(t, j.Sync(), nil)
		disk.broken.Store(false)
		pass(retryLag)
		appendAll(t, j, "c") // from here on nobody believes what could not be written
		equal(t, pendingKeys(t, j), []string{"b", "c"})
		equal(t, pendingKeys(t, openJournal(t, copyJournal(t, dir), Options{MaxBytes: small})), []string{"b", "c"})
	})
}

func TestAFailedSyncIsMadeGoodInAnotherFile(t *testing.T) {
	dir := t.TempDir()
	j, disk := openFaulty(t, dir, Options{MaxBytes: small})
	want := keys(3)
	for _, key := range want { // enough for the file to stay
		must(t, appendTo(t.Context(), j, deliveryOfSize(key, 100_000)))
	}
	disk.fails.Store(2)
	fails(t, appendTo(t.Context(), j, deliveryOf("refused")), syscall.EIO)
	appendAll(t, j, "a")
	disk.fails.Store(1)
	appendAll(t, j, "b")
	must(t, j.Ready())
	want = append(want, "a", "b")
	equal(t, pendingKeys(t, j), want)
	j = openJournal(t, copyJournal(t, dir), Options{MaxBytes: small})
	equal(t, pendingKeys(t, j), want) // what was refused is not believed
}

func TestStatsTellTheAgeOfTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		equal(t, j.Stats(), Stats{MaxBytes: 3 << 28, MaxParkedBytes: 1 << 28})
		appendAll(t, j, "a")
		pass(time.Minute)
		appendAll(t, j, "b")
		pass(time.Minute)
		equal(t, j.Stats().OldestAge, 2*time.Minute)
		done(j, 1)
		equal(t, j.Stats().OldestAge, time.Minute)
		done(j, 2)
		equal(t, j.Stats().OldestAge, 0)
		equal(t, j.Stats().Forwarded, uint64(2))
	})
}

func TestASenderThatIsAloneWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), Options{})
		began := time.Now()
		appendAll(t, j, keys(20)...) // one after the other
		equal(t, time.Since(began), 0)
	})
}

func TestAJournalKnowsWhatBecameOfADelivery(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, Options{})
	look := func(key string) Known {
		t.Helper()
		known, ok := j.Look("sentry", key)
		equal(t, ok, known.State != "")
		return known
	}
	ran := []Ran{
		{Namespace: "default", WorkflowID: "triage:sentry:done", RunID: "run-1"},
		{Namespace: "other", WorkflowID: "log:sentry:done", RunID: "run-2", Existing: true},
	}
	done, pending, parked, gone := received(t, j, deliveryOf("done")), received(t, j, deliveryOf("pending")), received(t, j, deliveryOf("parked")), received(t, j, deliveryOf("gone"))
	j.Done(done.ID, ran)
	must(t, j.ParkFor(t.Context(), parked.ID, TooLarge, "as it is"))
	_, err := j.Discard(t.Context(), Filter{State: Pending, IDs: []uint64{gone.ID}})
	must(t, err)
	for range 2 { // and after a restart
		equal(t, look("done"), Known{State: Done, Runs: ran})
		equal(t, look("pending"), Known{State: Pending, ID: pending.ID})
		equal(t, look("parked"), Known{State: Parked, ID: parked.ID, Code: TooLarge})
		for _, key := range []string{"gone", "never"} {
			known, ok := j.Look("sentry", key)
			equal(t, ok, false)
			equal(t, known, Known{})
		}
		_, ok := j.Look("other", "done")
		equal(t, ok, false)
		must(t, j.Close())
		j = openJournal(t, dir, Options{})
	}
}

func TestAJournalSaysWhenItCommittedLast(t *testing.T) {
	j := openJournal(t, t.TempDir(), Options{})
	equal(t, j.Stats().Committed.IsZero(), true)
	before := time.Now()
	received(t, j, deliveryOf("a"))
	first := j.Stats()
	if first.Committed.Before(before) || first.Commit <= 0 {
		t.Errorf("committed at %v in %v", first.Committed, first.Commit)
	}
}
