package journal

import (
	"crypto/sha256"
	"slices"
	"time"
)

// digest stands for an integration and an idempotency key.
type digest [16]byte

// digestOf hashes because a key can be long, and the memory that a backlog
// takes must not depend on it.
func digestOf(integration, key string) digest {
	sum := sha256.Sum256([]byte(integration + "\x00" + key))
	return digest(sum[:])
}

// entry is what is known of a pending record without reading it.
type entry struct {
	delivery digest // zero for a damaged record
	received time.Time
	size     int64
}

// index knows the records in the file by their sequence numbers, in about 200
// bytes each. It lacks those that are forwarded and not deleted yet.
type index struct {
	pending      map[uint64]entry
	sequences    map[digest]uint64
	order        []uint64 // ascending; all of pending, and some that were
	last         uint64   // the highest ever added
	pendingBytes int64

	parked      map[uint64]int64 // to the size
	parkedBytes int64
}

func newIndex() index {
	return index{
		pending:   make(map[uint64]entry),
		sequences: make(map[digest]uint64),
		parked:    make(map[uint64]int64),
	}
}

// add adds a pending record; seq is higher than those before.
func (x *index) add(seq uint64, e entry) {
	x.pending[seq] = e
	x.sequences[e.delivery] = seq
	x.order = append(x.order, seq)
	x.last = seq
	x.pendingBytes += e.size
}

// remove removes a pending record and reports whether there was one.
func (x *index) remove(seq uint64) bool {
	e, ok := x.pending[seq]
	if !ok {
		return false
	}
	delete(x.pending, seq)
	if x.sequences[e.delivery] == seq {
		delete(x.sequences, e.delivery)
	}
	x.pendingBytes -= e.size

	for len(x.order) > 0 && x.gone(x.order[0]) {
		x.order = x.order[1:]
	}
	if len(x.order) > 2*len(x.pending)+1024 { // one that stays must not hold the rest
		x.order = slices.DeleteFunc(slices.Clone(x.order), x.gone)
	}
	return true
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

func (x *index) park(seq uint64, size int64) {
	x.parked[seq] = size
	x.parkedBytes += size
}

func (x *index) unpark(seq uint64) {
	x.parkedBytes -= x.parked[seq]
	delete(x.parked, seq)
}
