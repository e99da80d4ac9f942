package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/telemetry"
)

// One commit costs one sync, whatever is in it, so all that waits shares one. These
// bound it, to bound the memory it takes and how long the next one waits.
const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20 // or one record
	sweepBytes    = 256 << 10
)

const (
	// maxLag is how long what is done waits for a commit to share. One that is
	// lost repeats an idempotent start and no more.
	maxLag = 100 * time.Millisecond
	// retryLag is how long it waits when it could not be written.
	retryLag = time.Second
	// logInterval is how often a disk that cannot be written is in the log.
	logInterval = time.Minute
)

// change is a record to write.
type change struct {
	payload []byte // nil for nothing, only to wait for what was before
	id      uint64 // of the delivery that it changes; 0 for a new one
	enters  bool   // it gets a position in the queue when it is queued
	grows   bool   // it is not for a disk without room
	pending int    // how many more are pending with it

	// Both are called with Journal.mu held. check is called before it is written, and
	// may have it not written. done is called with where it is, or with why it is not
	// durable, before anyone who waits goes on; its error is the change's. Both may be nil.
	check func() error
	done  func(at seglog.Place, err error) error

	committed chan struct{}
	err       error // valid once committed is closed
}

func (c *change) size() int64 {
	if c == nil || c.payload == nil {
		return 0
	}
	return seglog.FrameSize + int64(len(c.payload))
}

// end tells those who wait.
func (c *change) end(at seglog.Place, err error) {
	if c.err = err; c.done != nil {
		c.err = c.done(at, err)
	}
	if c.committed != nil {
		close(c.committed)
	}
}

// submit queues changes.
func (j *Journal) submit(changes ...*change) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range changes {
		if j.closed {
			c.end(seglog.Place{}, ErrClosed)
			return ErrClosed
		}
		j.enqueue(c)
	}
	return nil
}

// enqueue queues a change. The caller holds j.mu, and the journal is not closed.
func (j *Journal) enqueue(c *change) {
	if c.enters {
		j.last++
		if c.id == 0 {
			stamp(c.payload, j.last, j.last)
		} else {
			stamp(c.payload, c.id, j.last)
		}
	}
	c.committed = make(chan struct{})
	j.queue = append(j.queue, c)
	j.work.Signal()
}

// wait returns when c is durable, could not be written, or ctx has ended.
func (c *change) wait(ctx context.Context) error {
	select {
	case <-c.committed:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write is the only writer. While it commits one batch the next one gathers. When
// a commit has failed it tries again from time to time, since nobody may send anything
// to a journal that is not ready.
func (j *Journal) write() {
	defer close(j.stopped)
	broken, logged := false, time.Time{}
	for j.await() {
		err := j.commit()
		switch {
		case err != nil && time.Since(logged) >= logInterval:
			broken, logged = true, time.Now()
			j.log.Error("cannot write the journal", keyPath, j.dir, telemetry.KeyError, err.Error())
		case err == nil && broken:
			broken, logged = false, time.Time{}
			j.log.Info("can write the journal again", keyPath, j.dir)
		}
	}
}

// await waits for something to do, and returns false when the journal is closed and
// there is nothing left.
func (j *Journal) await() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) == 0 && !j.closed && !j.busy && (!j.flush || len(j.forwarded) == 0 && j.broken == nil) {
		j.flush = false
		j.work.Wait()
	}
	j.flush = false
	j.writing = time.Now()
	return !j.closed || len(j.queue)+len(j.forwarded) > 0
}

// commit writes what there is to write.
func (j *Journal) commit() error {
	runtime.Gosched() // those who are about to come save a commit of their own
	runtime.Gosched()
	began := time.Now()
	short := j.store.MakeRoom()
	batch := j.gather(short)
	payloads := make([][]byte, 0, len(batch))
	for _, c := range batch {
		if c.payload != nil {
			payloads = append(payloads, c.payload)
		}
	}
	var places []seglog.Place
	var err error
	if len(payloads) > 0 {
		places, err = j.store.Write(payloads)
	}
	if err == nil && len(batch) > 0 {
		added, deleted := 0, 0
		for _, c := range batch {
			added, deleted = added+max(c.pending, 0), deleted+max(-c.pending, 0)
		}
		j.onCommit(time.Since(began), added, deleted)
	}
	return j.settle(batch, places, err, short)
}

// gather takes what to write next: what is written again to empty a segment, what is
// done, and what somebody waits for. short says why there is no room for the most of it.
func (j *Journal) gather(short error) (batch []*change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	room, size, touched := int64(0), int64(0), map[uint64]bool{}
	add := func(c *change) bool {
		n := c.size()
		switch {
		case n == 0:
		case c.id != 0 && touched[c.id]: // in another commit: one change goes by the other
			return false
		case size > 0:
			if size+n > min(room, maxBatchBytes) {
				return false
			}
		default:
			if room = j.store.Room(n); n > room {
				return false
			}
		}
		size += n
		batch = append(batch, c)
		if c.id != 0 {
			touched[c.id] = true
		}
		return true
	}
	waiting := int64(0)
	for _, c := range j.queue[:min(len(j.queue), maxBatch)] {
		waiting += c.size()
	}
	j.store.Sweep(max(sweepBytes, 4*min(waiting, maxBatchBytes)), func(r seglog.Record) (int64, bool) {
		c := j.copyOf(r, false)
		return c.size(), c == nil || add(c)
	})
	for len(j.forwarded) > 0 {
		c := j.forwarded[0]
		if short != nil { // what is remembered can wait for better times
			c.payload = grave(c.id)
		}
		if !add(c) {
			break
		}
		j.forwarded = j.forwarded[1:]
	}
	for n := 0; len(j.queue) > 0 && n < maxBatch; {
		c := j.queue[0]
		var err error
		switch {
		case short != nil && (c.grows || len(j.forwarded) > 0):
			err = short
		case len(j.forwarded) > 0:
			return batch
		case c.check != nil && !touched[c.id]:
			err = c.check()
		}
		if err == nil && !add(c) {
			if short == nil {
				return batch
			}
			err = short
		}
		j.queue = j.queue[1:]
		if err != nil {
			c.end(seglog.Place{}, err)
		} else {
			n++
		}
	}
	return batch
}

// settle tells what became of a batch.
func (j *Journal) settle(batch []*change, places []seglog.Place, err, short error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("write journal: %w", err)
	} else if len(batch) > 0 {
		j.committed, j.lasted = time.Now(), time.Since(j.writing)
	}
	var again []*change
	for _, c := range batch {
		var at seglog.Place
		if err == nil && c.payload != nil {
			at, places = places[0], places[1:]
		}
		if err != nil && c.id != 0 && c.pending < 0 && c.committed == nil {
			again = append(again, c)
			continue
		}
		c.end(at, err)
	}
	j.forwarded = append(again, j.forwarded...)
	err = errors.Join(err, short)
	j.writing, j.broken = time.Time{}, err
	j.busy = err == nil && !j.closed && j.store.Busy()
	switch {
	case err == nil:
	case j.closed:
		j.forwarded = nil // as if the process had been killed
	default:
		time.AfterFunc(retryLag, j.flushDone)
	}
	return err
}

// flushDone has what is done written.
func (j *Journal) flushDone() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flush = true
	j.work.Signal()
}

// copyOf returns the change that writes a record again, or nil if it is of no use any
// more. A grave is of use only as long as what it takes back is there: with graves.
// The caller holds j.mu.
func (j *Journal) copyOf(r seglog.Record, graves bool) *change {
	c := &change{payload: r.Payload}
	switch r.Payload[0] {
	case keptRecord:
		k, err := decodeKept(r.Payload)
		if e := j.index.find(k.id); err != nil || e == nil || e.at != r.Place {
			return nil
		}
		c.id = k.id
		c.done = func(at seglog.Place, err error) error {
			if err == nil {
				j.move(k, at)
			}
			return err
		}
	case doneRecord:
		id, delivery, _, err := decodeDone(r.Payload)
		if err != nil || j.memory.ran[delivery].at != r.Place && !graves {
			return nil
		}
		c.done = func(at seglog.Place, err error) error {
			if err == nil {
				j.memory.written(delivery, id, at)
			}
			return err
		}
	default:
		if !graves {
			return nil
		}
	}
	return c
}

// move notes that a delivery has been written again, as k, unless it is not kept any
// more. The caller holds j.mu.
func (j *Journal) move(k kept, at seglog.Place) bool {
	e := j.index.find(k.id)
	if e == nil {
		return false
	}
	moved := *e
	moved.at, moved.position, moved.parked = at, k.position, k.parked != 0
	j.held[e.group.Integration] += moved.held() - e.held()
	j.index.put(moved, Code(k.code))
	return true
}

// noRoom reports whether an error says that the disk is full.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
