package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
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
		reserved := recordSize(t, "a", 1000) + parkingSize + 2*int64(len(reason))
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
	equal(t, gathered(t, 5, size), []int{1, 2, 2})
	equal(t, gathered(t, 5, size+1), []int{1, 1, 1, 1, 1})
}

// transactions returns how many transactions it took to salvage deliveries that
// take so many bytes each.
func transactions(t *testing.T, n int, each int64) uint64 {
	t.Helper()
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), fileName)
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, dir, Options{})
		for _, key := range keys(n) {
			must(t, appendTo(t.Context(), j, deliveryOfSize(key, sizeOf(t, key, each))))
		}
		must(t, j.Close())
	})
	salvaged, _, err := salvage(filepath.Join(dir, fileName), to)
	must(t, err)
	equal(t, salvaged, n)
	data, err := os.ReadFile(to)
	must(t, err)
	m, _ := readMeta(bytes.NewReader(data))
	return m.tx
}

func TestSalvageHoldsNoMoreThanABatch(t *testing.T) {
	one := transactions(t, 1, 1000)
	equal(t, transactions(t, 4, maxBatchBytes/4), one)
	equal(t, transactions(t, 4, maxBatchBytes/4+1), one+1)
}

func TestAGroupIsForgottenWithItsLast(t *testing.T) {
	x := newIndex()
	for seq := range uint64(6) {
		x.add(seq, entry{delivery: digestOf("", fmt.Sprint(seq)), of: Group{Project: fmt.Sprint(seq % 2)}})
	}
	for seq, left := range []int{2, 2, 2, 2, 1, 0} {
		x.remove(uint64(seq))
		equal(t, len(x.groups), left)
	}
}

// What a page says of itself is not believed.
func TestAPageThatReachesTooFarIsDamage(t *testing.T) {
	sound := journalFile(t, 20)
	last := len(sound) / pageSize
	for name, change := range map[string]func(p page, id int){
		"by one page":   func(p page, id int) { p[12] = byte(last - id) },
		"by many pages": func(p page, id int) { p[12] = byte(last - id + 3) },
		"by its value":  func(p page, _ int) { p[pageHeader+15] = 0x7f },
	} {
		t.Run(name, func(t *testing.T) {
			damaged := 0
			for id := 2; id < last; id++ {
				data := bytes.Clone(sound)
				p := page(data[id*pageSize : (id+1)*pageSize])
				if p.kind() != leafPage || p.count() == 0 {
					continue
				}
				change(p, id)
				if inspect(bytes.NewReader(data), int64(len(data)), func([]byte, uint64, []byte) error { return nil }) != nil {
					damaged++
				}
			}
			within(t, damaged, 5, last) // those that are in use
		})
	}
}

func TestWhatIsNotSalvagedIsNotPending(t *testing.T) {
	data := journalFile(t, 10)
	flip(data, `"key":"key-000004"`)
	dir := t.TempDir()
	write(t, dir, data[:len(data)-1])
	j := openJournal(t, dir, Options{})
	equal(t, len(setAside(t, dir)), 1)
	equal(t, j.Stats().Pending, len(pendingKeys(t, j)))
}
