package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"sentry-temporal/internal/seglog"
)

// An index is compared with a map that does the same.
func TestAnIndexKnowsWhatIsKeptInTheOrderOfThePositions(t *testing.T) {
	x, segment := newIndex(), &seglog.Segment{}
	r := rand.New(rand.NewPCG(1, 2))
	kept, last := map[uint64]entry{}, uint64(0)
	group := x.groupOf(Group{Integration: "sentry"}.encode())
	var ids []uint64
	for round := range 40_000 {
		switch what := r.IntN(10); {
		case what < 5 || len(ids) == 0: // it arrives
			last++
			e := entry{id: last, position: last, group: group, at: seglog.Place{Segment: segment, Size: uint32(r.IntN(9))}}
			e.delivery = digestOf("", fmt.Sprint(e.id))
			x.put(e, "")
			kept[e.id] = e
			ids = append(ids, e.id)
		case what < 7: // it is parked, or put back
			e := kept[ids[r.IntN(len(ids))]]
			if e.parked = !e.parked; !e.parked {
				last++
				e.position = last
			}
			x.put(e, Refused)
			kept[e.id] = e
		default:
			at := r.IntN(len(ids))
			if round%1000 < 500 {
				at = 0
			}
			_, ok := x.drop(ids[at])
			equal(t, ok, true)
			delete(kept, ids[at])
			ids = append(ids[:at], ids[at+1:]...)
		}
	}
	var bytes, parkedBytes, before uint64
	n, pending := 0, 0
	for e := range x.from(0) {
		equal(t, *e, kept[e.id])
		equal(t, x.lookup(e.delivery), e)
		within(t, e.position, before+1, last)
		before = e.position
		if n++; e.parked {
			parkedBytes += uint64(e.at.Size)
			equal(t, x.codes[e.id], Refused)
		} else {
			bytes += uint64(e.at.Size)
			pending++
		}
	}
	equal(t, n, len(kept))
	equal(t, []int{x.pending, x.parked, len(x.codes), segment.Entries}, []int{pending, n - pending, n - pending, n})
	equal(t, []int64{x.pendingBytes, x.parkedBytes, segment.Use}, []int64{int64(bytes), int64(parkedBytes), int64(bytes + parkedBytes)})
	for _, id := range ids {
		x.drop(id)
	}
	equal(t, []int{len(x.blocks), len(x.ids), len(x.moved), len(x.codes), len(x.groups)}, []int{0, 0, 0, 0, 0})
}

func TestAnIndexGivesBackWhatItDoesNotNeed(t *testing.T) {
	x, at := newIndex(), seglog.Place{Segment: &seglog.Segment{}}
	group := x.groupOf(Group{}.encode())
	for id := range uint64(100_000) {
		x.put(entry{id: id + 1, position: id + 1, delivery: digestOf("", fmt.Sprint(id)), group: group, at: at}, "")
		if id%100 > 0 {
			x.drop(id + 1)
		}
	}
	room := 0
	for _, b := range x.blocks {
		room += cap(b.entries)
	}
	within(t, room, 1000, 3000)
	equal(t, len(x.ids), 1000)
}
