package journal

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"sentry-temporal/internal/seglog"
)

// entry is what is known of a delivery without reading it.
type entry struct {
	delivery digest
	identity identity
	id       uint64 // of the delivery; 0 for one that is not kept any more
	position uint64 // in the queue
	received int64  // Unix nanoseconds
	group    *group
	at       seglog.Place
	parked   bool
}

// held is what it takes of the room for pending ones.
func (e *entry) held() int64 {
	if e.parked {
		return 0
	}
	return int64(e.at.Size)
}

// group is a Group with the number of entries that have it.
type group struct {
	Group
	key        string
	namespaces []string // once for all entries
	entries    int
}

// block is some entries, ascending by position.
type block struct {
	entries []entry
	kept    int
}

const (
	blockSize  = 256  // entries of a block that is full; some more where others were put between
	fewEntries = 4096 // for which it is not worth making maps anew
)

// index knows the deliveries that are kept, in about 120 bytes each, and no more than
// twice that while they go in any order.
type index struct {
	blocks []block           // none is empty
	moved  map[uint64]uint64 // position by ID, where those differ
	ids    map[uint64]uint64 // by the first half of the delivery; of two that share it the later one is known
	codes  map[uint64]Code   // by ID, of parked ones
	groups map[string]*group // by its key
	begin  uint64            // none before this position is pending
	most   int               // entries there were since the maps were made

	pending, parked           int
	pendingBytes, parkedBytes int64
}

func newIndex() index {
	return index{moved: map[uint64]uint64{}, ids: map[uint64]uint64{}, codes: map[uint64]Code{}, groups: map[string]*group{}}
}

// locate returns where the entry with this position is, or belongs.
func (x *index) locate(position uint64) (b, i int) {
	b, _ = slices.BinarySearchFunc(x.blocks, position, func(b block, position uint64) int {
		return cmp.Compare(b.entries[len(b.entries)-1].position, position)
	})
	if b < len(x.blocks) {
		i, _ = slices.BinarySearchFunc(x.blocks[b].entries, position, func(e entry, position uint64) int { return cmp.Compare(e.position, position) })
	}
	return b, i
}

// find returns the entry of a delivery, or nil. It is valid until the next change.
func (x *index) find(id uint64) *entry {
	position, ok := x.moved[id]
	if !ok {
		position = id
	}
	b, i := x.locate(position)
	if b == len(x.blocks) || id == 0 || x.blocks[b].entries[i].id != id {
		return nil
	}
	return &x.blocks[b].entries[i]
}

// lookup is find by integration and key.
func (x *index) lookup(delivery digest) *entry {
	if e := x.find(x.ids[order.Uint64(delivery[:])]); e != nil && e.delivery == delivery {
		return e
	}
	return nil
}

// from returns the entries from a position on, in their order.
func (x *index) from(position uint64) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for b, i := x.locate(position); b < len(x.blocks); b, i = b+1, 0 {
			for ; i < len(x.blocks[b].entries); i++ {
				if e := &x.blocks[b].entries[i]; e.id != 0 && !yield(e) {
					return
				}
			}
		}
	}
}

// groupOf returns the group that key, of a kept, stands for.
func (x *index) groupOf(key []byte) *group {
	g := x.groups[string(key)]
	if g == nil {
		g = &group{Group: decodeGroup(key), key: string(key)}
		g.namespaces = strings.Split(g.Namespaces, "\n")
		x.groups[g.key] = g
	}
	return g
}

// put adds an entry, or puts it in the place of that of the same delivery.
func (x *index) put(e entry, code Code) {
	if x.find(e.id) != nil {
		x.groups[e.group.key] = e.group // should it have been the last of them
		e.group.entries++
		x.drop(e.id)
		e.group.entries--
	}
	x.groups[e.group.key] = e.group
	e.group.entries++
	e.at.Segment.Entries++
	e.at.Segment.Use += int64(e.at.Size)
	x.ids[order.Uint64(e.delivery[:])] = e.id
	if e.position != e.id {
		x.moved[e.id] = e.position
	}
	if e.parked {
		x.codes[e.id] = code
		x.parked++
		x.parkedBytes += int64(e.at.Size)
	} else {
		x.begin = min(x.begin, e.position)
		x.pending++
		x.pendingBytes += int64(e.at.Size)
	}
	x.most = max(x.most, x.pending+x.parked)
	x.insert(e)
}

func (x *index) insert(e entry) {
	b, i := x.locate(e.position)
	if last := len(x.blocks) - 1; b > last {
		if last < 0 || len(x.blocks[last].entries) >= blockSize {
			x.blocks = append(x.blocks, block{})
			last++
		}
		b, i = last, len(x.blocks[last].entries)
	}
	at := &x.blocks[b]
	at.kept++
	if i < len(at.entries) && at.entries[i].position == e.position { // that is not kept any more
		at.entries[i] = e
		return
	}
	if n := len(at.entries); n == cap(at.entries) && n < blockSize {
		at.entries = append(make([]entry, 0, min(2*n+4, blockSize)), at.entries...)
	}
	at.entries = slices.Insert(at.entries, i, e)
	if len(at.entries) >= 2*blockSize {
		second := compact(at.entries[blockSize:])
		*at = compact(at.entries[:blockSize])
		x.blocks = slices.Insert(x.blocks, b+1, second)
		x.blocks = slices.DeleteFunc(x.blocks, func(b block) bool { return b.kept == 0 })
	}
}

// compact returns a block of those among entries that are kept.
func compact(entries []entry) block {
	left := make([]entry, 0, len(entries))
	for _, e := range entries {
		if e.id != 0 {
			left = append(left, e)
		}
	}
	return block{slices.Clip(slices.Clone(left)), len(left)}
}

// drop removes a delivery and returns its entry, if there was one.
func (x *index) drop(id uint64) (e entry, ok bool) {
	found := x.find(id)
	if found == nil {
		return entry{}, false
	}
	e = *found
	*found = entry{position: e.position}
	e.at.Segment.Entries--
	e.at.Segment.Use -= int64(e.at.Size)
	if half := order.Uint64(e.delivery[:]); x.ids[half] == id {
		delete(x.ids, half)
	}
	delete(x.moved, id)
	delete(x.codes, id)
	if e.parked {
		x.parked--
		x.parkedBytes -= int64(e.at.Size)
	} else {
		x.pending--
		x.pendingBytes -= int64(e.at.Size)
	}
	if e.group.entries--; e.group.entries == 0 {
		delete(x.groups, e.group.key)
	}
	b, _ := x.locate(e.position)
	at := &x.blocks[b]
	switch at.kept--; {
	case at.kept == 0:
		x.blocks = slices.Delete(x.blocks, b, b+1)
	case at.kept < len(at.entries)/2:
		*at = compact(at.entries)
	}
	if len(x.blocks) == 0 && x.most > fewEntries { // maps do not shrink
		*x = newIndex()
	}
	return e, true
}

// oldest returns when the first in the queue was received.
func (x *index) oldest() (received time.Time, ok bool) {
	for e := range x.from(x.begin) {
		x.begin = e.position
		if !e.parked {
			return time.Unix(0, e.received), true
		}
	}
	return time.Time{}, false
}
