package journal

import (
	"slices"
	"strings"
	"time"

	"sentry-temporal/internal/routes"
)

// Group is what deliveries are told apart by when they are forwarded.
type Group struct {
	Integration string
	Namespaces  string // those of the operations, see [NamespacesOf]; empty for a record without a plan
	Project     string // slug; empty where unknown
}

// NamespacesOf returns the namespaces of operations, in their order and a line each:
// a [Group] has to be comparable.
func NamespacesOf(operations []routes.Operation) string {
	namespaces := make([]string, len(operations))
	for i, o := range operations {
		namespaces[i] = o.Namespace
	}
	return strings.Join(namespaces, "\n")
}

// namespaces returns the namespaces of the operations, "" if there is none.
func (g Group) namespaces() []string { return strings.Split(g.Namespaces, "\n") }

// group is a Group with the number of pending entries that have it.
type group struct {
	Group
	namespaces []string // once for all entries
	entries    int
}

// entry is what is known of a record without reading it.
type entry struct {
	delivery digest // zero for a damaged record
	identity identity
	received time.Time
	size     int64
	of       Group
	unsure   bool // in the file, but perhaps not on disk
}

// pendingEntry is an entry whose group is shared.
type pendingEntry struct {
	entry
	group *group
}

// parkedEntry is an entry of the whole parked record.
type parkedEntry struct {
	entry
	code Code
}

// index knows the records in the file by their sequence numbers, in about 250
// bytes each. It lacks those that are forwarded and not deleted yet.
type index struct {
	pending      map[uint64]pendingEntry
	sequences    map[digest]uint64 // of pending ones
	order        []uint64          // ascending; all of pending, and some that were
	last         uint64            // the highest ever added
	pendingBytes int64
	groups       map[Group]*group

	parked      map[uint64]parkedEntry
	parkedIDs   map[digest]uint64
	parkedBytes int64
}

func newIndex() index {
	return index{
		pending:   make(map[uint64]pendingEntry),
		sequences: make(map[digest]uint64),
		groups:    make(map[Group]*group),
		parked:    make(map[uint64]parkedEntry),
		parkedIDs: make(map[digest]uint64),
	}
}

// add adds a pending record; seq is higher than those before.
func (x *index) add(seq uint64, e entry) {
	g := x.groups[e.of]
	if g == nil {
		g = &group{Group: e.of, namespaces: e.of.namespaces()}
		x.groups[e.of] = g
	}
	g.entries++
	e.of = Group{} // that of g, once for all
	x.pending[seq] = pendingEntry{e, g}
	x.sequences[e.delivery] = seq
	x.order = append(x.order, seq)
	x.last = seq
	x.pendingBytes += e.size
}

// remove removes a pending record and returns it, if there was one.
func (x *index) remove(seq uint64) (e entry, ok bool) {
	p, ok := x.pending[seq]
	if !ok {
		return entry{}, false
	}
	delete(x.pending, seq)
	if x.sequences[p.delivery] == seq {
		delete(x.sequences, p.delivery)
	}
	x.pendingBytes -= p.size
	if p.group.entries--; p.group.entries == 0 {
		delete(x.groups, p.group.Group)
	}

	for len(x.order) > 0 && x.gone(x.order[0]) {
		x.order = x.order[1:]
	}
	if len(x.order) > 2*len(x.pending)+1024 { // one that stays must not hold the rest
		x.order = slices.DeleteFunc(slices.Clone(x.order), x.gone)
	}
	p.of = p.group.Group
	return p.entry, true
}

func (x *index) gone(seq uint64) bool {
	_, ok := x.pending[seq]
	return !ok
}

// oldest returns when the first in the queue was received.
func (x *index) oldest() (received time.Time, ok bool) {
	if len(x.order) == 0 {
		return time.Time{}, false
	}
	return x.pending[x.order[0]].received, true
}

// park adds a parked record. Its size is that of the parked record.
func (x *index) park(seq uint64, e parkedEntry) {
	x.parked[seq] = e
	x.parkedIDs[e.delivery] = seq
	x.parkedBytes += e.size
}

// unpark removes a parked record.
func (x *index) unpark(seq uint64) {
	e := x.parked[seq]
	delete(x.parked, seq)
	if x.parkedIDs[e.delivery] == seq {
		delete(x.parkedIDs, e.delivery)
	}
	x.parkedBytes -= e.size
}
