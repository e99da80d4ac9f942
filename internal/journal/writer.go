package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"sentry-temporal/internal/telemetry"
)

// One commit costs two fsyncs, whatever is in it, so all that waits shares one.
// These bound it, to bound the memory it takes and how long the next one waits.
const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20 // or one record
)

const (
	// maxLag is how long a deletion waits for a commit to share. One that is
	// lost repeats an idempotent start and no more.
	maxLag = 100 * time.Millisecond
	// retryLag is how long deletions wait that could not be written.
	retryLag = time.Second
	// logInterval is how often a disk that cannot be written is in the log.
	logInterval = time.Minute
)

// change is something to write that somebody waits for.
type change struct {
	size int64 // about how many bytes it writes
	// do writes it. An error is this change's alone, and do must not have
	// written anything then.
	do func(b buckets) error
	// done is called with Journal.mu held, before anyone who waits goes on.
	// kept reports whether the file has the change: it does if err is nil, and
	// may do otherwise.
	done func(kept bool)

	committed chan struct{}
	err       error // valid in done, and once committed is closed
}

// completion is a delivery that is done: to be deleted, and remembered in its
// place.
type completion struct {
	id       uint64
	at       digest
	ran      ran
	obsolete uint64 // what is not remembered any more; 0 for none
}

func (c completion) write(b buckets, remember bool) error {
	if err := b.delete(b.pending, c.id); err != nil {
		return err
	}
	if c.obsolete != 0 {
		if err := b.done.Delete(keyOf(c.obsolete)); err != nil {
			return err
		}
	}
	if !remember || c.at == (digest{}) {
		return nil
	}
	record, err := c.ran.seal(c.at)
	if err != nil {
		return err
	}
	return b.done.Put(keyOf(c.id), record)
}

// submit queues c.
func (j *Journal) submit(c *change) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.enqueue(c)
}

// enqueue is submit for a caller that holds j.mu.
func (j *Journal) enqueue(c *change) error {
	if j.closed {
		return ErrClosed
	}
	c.committed = make(chan struct{})
	j.queue = append(j.queue, c)
	j.work.Signal()
	return nil
}

// commit submits c and waits for it.
func (j *Journal) commit(ctx context.Context, c *change) error {
	if err := j.submit(c); err != nil {
		return err
	}
	return c.wait(ctx)
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
// a commit has failed it tries an empty one from time to time, since nobody may
// send anything to a journal that is not ready.
func (j *Journal) write() {
	defer close(j.stopped)
	broken, logged := false, time.Time{}
	for {
		changes, deletions, ok := j.gather()
		if !ok {
			return
		}
		j.begin()
		if len(changes)+len(deletions) == 0 { // an empty commit proves little on a full disk
			if err := j.tryDisk(); err != nil {
				j.settle(nil, nil, false, err)
				continue
			}
		}
		kept, err := j.transact(changes, deletions, true)
		if err != nil && len(changes) > 0 && len(deletions) > 0 && !kept {
			// Deletions need little room, and make some, as long as nothing is remembered.
			if _, err := j.transact(nil, deletions, false); err == nil {
				deletions = nil
			}
		}
		switch {
		case err != nil && time.Since(logged) >= logInterval:
			broken, logged = true, time.Now()
			j.log.Error("cannot write the journal", keyPath, j.path, telemetry.KeyError, err.Error())
		case err == nil && broken:
			broken, logged = false, time.Time{}
			j.log.Info("can write the journal again", keyPath, j.path)
		}
		j.settle(changes, deletions, kept, err)
	}
}

// tryDisk returns an error if the disk does not take what a delivery needs.
func (j *Journal) tryDisk() error {
	path := j.path + ".try"
	defer os.Remove(path)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, minRoom))
	return errors.Join(err, file.Sync(), file.Close())
}

// gather waits for work and returns the next batch, or false when the journal
// is closed and nothing is left to do.
func (j *Journal) gather() (changes []*change, deletions []completion, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) == 0 && !j.closed && (!j.flush || len(j.forwarded) == 0 && j.broken == nil) {
		j.flush = false
		j.work.Wait()
	}
	j.linger()
	n, size := 0, int64(0)
	for n < len(j.queue) && n < maxBatch && (n == 0 || size+j.queue[n].size <= maxBatchBytes) {
		size += j.queue[n].size
		n++
	}
	changes, j.queue = j.queue[:n:n], j.queue[n:]
	deletions, j.forwarded = j.forwarded, nil
	j.flush = false
	return changes, deletions, !j.closed || len(changes)+len(deletions) > 0
}

// begin notes that a commit begins.
func (j *Journal) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = time.Now()
}

// lingerTime is about what a commit takes at the least.
const lingerTime = time.Millisecond

// linger waits a moment for as many senders as there were around the last commit:
// those that it answered and those that came meanwhile. The next commit would
// otherwise begin with the first of them to come again, and all the others would
// have to wait for it. A sender that is alone waits for nobody.
func (j *Journal) linger() {
	if j.expected <= 1 || len(j.queue) == 0 || len(j.queue) >= min(j.expected, maxBatch) {
		return
	}
	over := false
	timer := time.AfterFunc(lingerTime, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		over = true
		j.work.Signal()
	})
	defer timer.Stop()
	for len(j.queue) < min(j.expected, maxBatch) && !over && !j.closed {
		j.work.Wait()
	}
}

// settle tells what became of a batch.
func (j *Journal) settle(changes []*change, deletions []completion, kept bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		j.committed, j.lasted = time.Now(), time.Since(j.writing)
	}
	j.writing, j.broken = time.Time{}, err
	j.expected = len(changes) + len(j.queue)
	for _, c := range changes {
		written := kept && c.err == nil
		if c.err == nil {
			c.err = err
		}
		c.done(written)
		close(c.committed)
	}
	if err != nil && !j.closed {
		if !kept {
			j.forwarded = append(deletions, j.forwarded...)
		}
		time.AfterFunc(retryLag, j.flushDeletions)
	}
}

// transact commits a batch. It is durable if err is nil. Otherwise the batch is
// in the file if kept, as when the very last fsync failed, and else not at all.
func (j *Journal) transact(changes []*change, deletions []completion, remember bool) (kept bool, err error) {
	db, err := j.handle()
	if err != nil {
		return false, err
	}
	var (
		began = time.Now()
		count written
		id    int
	)
	err = db.Update(func(tx *bolt.Tx) error {
		defer release(tx)
		id = tx.ID()
		b := bucketsOf(tx)
		b.written = &count
		return guard(func() error { // a page that the disk does not give must not end the process
			for _, c := range deletions {
				if err := c.write(b, remember); err != nil {
					return fmt.Errorf("delete: %w", err)
				}
			}
			for _, c := range changes {
				c.err = c.do(b)
			}
			return nil
		})
	})
	if err == nil {
		j.onCommit(time.Since(began), count.added, count.deleted)
		return true, nil
	}
	// bbolt has rolled back, from the file itself, so that the last complete
	// transaction tells. When it has no memory map any more it reads nothing,
	// and only opening it again helps; nothing was written then.
	if e := db.View(func(tx *bolt.Tx) error { kept = id > 0 && tx.ID() >= id; return nil }); e != nil {
		j.giveUp(db)
		err = errors.Join(err, e)
	}
	return kept, fmt.Errorf("write journal: %w", err)
}
