package journal

import (
	"fmt"
	"testing"
	"testing/synctest"

	"sentry-temporal/internal/seglog"
)

// recordSize is what a delivery of this key and size takes, on the clock of a
// test's bubble: it writes times of one length.
func recordSize(t *testing.T, key string, size int) int64 {
	t.Helper()
	j := openJournal(t, t.TempDir(), Options{})
	must(t, appendTo(t.Context(), j, deliveryOfSize(key, size)))
	return j.Stats().PendingBytes
}

// sizeOf returns the size of a delivery that takes so many bytes.
func sizeOf(t *testing.T, key string, bytes int64) int {
	t.Helper()
	return int(bytes - (recordSize(t, key, 1000) - 1000))
}

func TestAJournalTakesExactlyWhatItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := sizeOf(t, "a", 3000)
		j := openJournal(t, t.TempDir(), Options{MaxBytes: 4000})
		must(t, appendTo(t.Context(), j, deliveryOfSize("a", size)))
		equal(t, j.Stats().PendingBytes, j.Stats().MaxBytes)
		j = openJournal(t, t.TempDir(), Options{MaxBytes: 4000})
		fails(t, appendTo(t.Context(), j, deliveryOfSize("a", size+1)), ErrFull)
	})
}

func TestAJournalIsReadyWithExactlyTheRoomThatItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 3 * minRoom
		size := sizeOf(t, "a", room-minRoom)
		j := openJournal(t, t.TempDir(), Options{MaxBytes: room / 3 * 4})
		must(t, appendTo(t.Context(), j, deliveryOfSize("a", size)))
		must(t, j.Ready())
		j = openJournal(t, t.TempDir(), Options{MaxBytes: room / 3 * 4})
		must(t, appendTo(t.Context(), j, deliveryOfSize("a", size+1)))
		fails(t, j.Ready(), ErrFull)
	})
}

func TestAParkedDeliveryReservesExactlyWhatItMayTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const reason = "reason"
		reserved := recordSize(t, "a", 1000) + int64(len(Refused)+len(reason))
		for room, want := range map[int64]error{reserved: nil, reserved - 1: ErrFull} {
			j := openJournal(t, t.TempDir(), Options{MaxBytes: 4 * room})
			must(t, appendTo(t.Context(), j, deliveryOfSize("a", 1000)))
			if err := j.ParkFor(t.Context(), 1, Refused, reason); want == nil {
				must(t, err)
			} else {
				fails(t, err, want)
			}
		}
	})
}

func TestACommitTakesExactlyWhatItMay(t *testing.T) {
	var size int
	synctest.Test(t, func(t *testing.T) { size = sizeOf(t, keys(1)[0], maxBatchBytes/2) })
	equal(t, gathered(t, 3, size), []int{1, 2})
	equal(t, gathered(t, 3, size+1), []int{1, 1, 1})
}

func TestAGroupIsForgottenWithItsLast(t *testing.T) {
	x, at := newIndex(), seglog.Place{Segment: &seglog.Segment{}}
	for id := range uint64(6) {
		group := x.groupOf(Group{Project: fmt.Sprint(id % 2)}.encode())
		x.put(entry{id: id + 1, position: id + 1, delivery: digestOf("", fmt.Sprint(id)), group: group, at: at}, "")
	}
	for id, left := range []int{2, 2, 2, 2, 1, 0} {
		x.drop(uint64(id) + 1)
		equal(t, len(x.groups), left)
	}
}
