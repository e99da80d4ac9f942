// Package journal is the durable inbox: a delivery that [Journal.Append] has
// taken is on disk, and stays there until the [Forwarder] knows that Temporal
// has stored a start for every run of it.
//
// Nothing is lost, whenever the process is killed or the power fails. A start
// may be repeated, never left out, so what starts the runs must be idempotent.
//
// All of it is one bbolt file in a directory of its own. The file grows with the
// most that was ever in it at once, to about twice [Options.MaxBytes] at worst,
// and does not shrink: its space is used again.
package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"sentry-temporal/internal/sentry"
)

var (
	// ErrFull is the answer to a delivery for which [Options.MaxBytes] leaves
	// no room.
	ErrFull = errors.New("journal is full")
	// ErrLocked means that the directory is open already, as a rule by another
	// process.
	ErrLocked = errors.New("another process is using it")
	// ErrClosed is the answer after [Journal.Close].
	ErrClosed = errors.New("journal is closed")
	// ErrNotParked means that no parked delivery has this ID.
	ErrNotParked = errors.New("no such parked delivery")
)

const fileName = "journal.db"

// Keys of log attributes that only the journal has.
const (
	keyPath       = "path"
	keyDeliveryID = "delivery_id"
	keyPending    = "pending"
)

// Options are the options of [Open]. The zero value is fine.
type Options struct {
	// MaxBytes bounds what pending and parked deliveries take together, in
	// bytes. Default 1 GiB.
	MaxBytes int64
	// OnCommit is called after each commit with the time it took, including
	// fsync, and how many deliveries it added and deleted. Those who wait for
	// this commit, and the next one, wait for it. Default nil.
	OnCommit func(d time.Duration, added, deleted int)
	// Inject returns what is to be kept of the trace that Append's context
	// belongs to, "" for nothing. Extract gives it to the context of the start.
	// Default nil, both.
	Inject  func(context.Context) string
	Extract func(ctx context.Context, trace string) context.Context
	// Log is told of damage and of a disk that cannot be written. Default
	// slog.Default().
	Log *slog.Logger
}

// Journal is the durable inbox. Its methods may be called concurrently.
type Journal struct {
	path     string
	maxBytes int64
	onCommit func(d time.Duration, added, deleted int)
	inject   func(context.Context) string
	extract  func(context.Context, string) context.Context
	log      *slog.Logger
	dir      *os.File      // holds the lock
	arrived  chan struct{} // of capacity 1: there is more to forward

	fileMu sync.Mutex
	file   *bolt.DB // nil while only opening it again can help

	mu        sync.Mutex
	index     index
	arriving  map[digest]*change // appends that are not in index yet
	reserved  int64              // their bytes
	queue     []*change          // what to commit next
	forwarded []uint64           // what to delete with it
	flush     bool               // deletions are due even without a queue
	expected  int                // how many senders there were around the last commit
	closed    bool
	work      sync.Cond // queue, flush or closed have changed
	counters  counters
	stopped   chan struct{} // closed when the writer has ended
}

type counters struct {
	forwarded, retries uint64
}

// Open opens the journal in dir. A directory or file that is missing is
// created, for this user only.
//
// A damaged file is set aside, in the same directory, with all that can still
// be read copied into a new one, and an error in the log.
func Open(dir string, o Options) (*Journal, error) {
	j := &Journal{
		path:     filepath.Join(dir, fileName),
		maxBytes: o.MaxBytes,
		onCommit: o.OnCommit,
		inject:   o.Inject,
		extract:  o.Extract,
		log:      o.Log,
		arrived:  make(chan struct{}, 1),
		arriving: make(map[digest]*change),
		stopped:  make(chan struct{}),
	}
	j.work.L = &j.mu
	if j.maxBytes <= 0 {
		j.maxBytes = 1 << 30
	}
	if j.onCommit == nil {
		j.onCommit = func(time.Duration, int, int) {}
	}
	if j.inject == nil {
		j.inject = func(context.Context) string { return "" }
	}
	if j.extract == nil {
		j.extract = func(ctx context.Context, _ string) context.Context { return ctx }
	}
	if j.log == nil {
		j.log = slog.Default()
	}
	if err := j.open(dir); err != nil {
		return nil, fmt.Errorf("open journal in %s: %w", dir, err)
	}
	go j.write()
	return j, nil
}

func (j *Journal) open(dir string) (err error) {
	if j.dir, err = lock(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.dir.Close())
		}
	}()
	err = j.load()
	if broken := (*damage)(nil); errors.As(err, &broken) {
		if err := j.replace(broken); err != nil {
			return err
		}
		err = j.load()
	}
	if err != nil {
		return err
	}
	if j.file, err = openFile(j.path, j.maxBytes); err != nil {
		return err
	}
	if err := j.dir.Sync(); err != nil {
		return errors.Join(err, j.file.Close())
	}
	j.signal()
	return nil
}

// Append makes env durable: nil means that it is on disk and will be forwarded.
// A delivery with the integration and idempotency key of one that is pending
// does not enter again; Append then returns when that one is durable.
//
// When ctx ends, Append returns its error, and the delivery may be kept or not.
func (j *Journal) Append(ctx context.Context, env sentry.Envelope) error {
	_, err := j.enter(ctx, env)
	return err
}

// enter is Append. It reports whether env has entered, or else repeats a
// delivery that is pending.
func (j *Journal) enter(ctx context.Context, env sentry.Envelope) (entered bool, err error) {
	received := time.Now()
	record, err := sealDelivery(env, received, j.inject(ctx))
	if err == nil {
		entered, err = j.append(ctx, env, received, record)
	}
	if err != nil {
		return false, fmt.Errorf("append to journal: %w", err)
	}
	return entered, nil
}

func (j *Journal) append(ctx context.Context, env sentry.Envelope, received time.Time, record []byte) (entered bool, err error) {
	e := entry{
		delivery: digestOf(env.IntegrationID, env.IdempotencyKey),
		received: received,
		size:     int64(len(record)),
	}
	j.mu.Lock()
	if _, ok := j.index.sequences[e.delivery]; ok {
		j.mu.Unlock()
		return false, nil
	}
	c := j.arriving[e.delivery]
	switch {
	case c != nil: // wait for it, too
	case j.index.pendingBytes+j.index.parkedBytes+j.reserved+e.size > j.maxBytes:
		j.mu.Unlock()
		return false, ErrFull
	default:
		entered = true
		var seq uint64
		c = &change{
			size: e.size,
			do: func(b buckets) (err error) {
				if seq, err = b.pending.NextSequence(); err != nil {
					return err
				}
				return b.put(b.pending, seq, record)
			},
			done: func(kept bool) {
				delete(j.arriving, e.delivery)
				j.reserved -= e.size
				if kept {
					if c.err != nil { // in the file, but perhaps not on disk: a repetition enters, too
						e.delivery = digest{}
					}
					j.index.add(seq, e)
					j.signal()
				}
			},
		}
		if err := j.enqueue(c); err != nil {
			j.mu.Unlock()
			return false, err
		}
		j.arriving[e.delivery] = c
		j.reserved += e.size
	}
	j.mu.Unlock()
	return entered, c.wait(ctx)
}

// signal tells the forwarder that there is more to forward.
func (j *Journal) signal() {
	select {
	case j.arrived <- struct{}{}:
	default:
	}
}

// Stats is what a [Journal] holds now, and has done since it was opened.
type Stats struct {
	Pending      int           // deliveries not forwarded yet
	PendingBytes int64         // that they take
	OldestAge    time.Duration // since the first of them was received; 0 without any
	Parked       int           // deliveries that wait for someone to look at them
	ParkedBytes  int64         // that they take
	MaxBytes     int64         // that both may take together

	Forwarded uint64 // deliveries, since Open
	Retries   uint64 // starts that failed and are to be repeated, since Open
}

// Stats reads no disk and is cheap.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Stats{
		Pending:      len(j.index.pending),
		PendingBytes: j.index.pendingBytes,
		Parked:       len(j.index.parked),
		ParkedBytes:  j.index.parkedBytes,
		MaxBytes:     j.maxBytes,
		Forwarded:    j.counters.forwarded,
		Retries:      j.counters.retries,
	}
	if received, ok := j.index.oldest(); ok {
		s.OldestAge = max(0, time.Since(received))
	}
	return s
}

// Close makes durable what was appended or forwarded before and closes the
// journal. Stop the [Forwarder] first.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closed = true
	j.work.Signal()
	j.mu.Unlock()
	<-j.stopped

	var err error
	j.fileMu.Lock()
	if j.file != nil {
		err = j.file.Close()
		j.file = nil
	}
	j.fileMu.Unlock()
	if err := errors.Join(err, j.dir.Close()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// read returns the pending deliveries after the sequence after, the oldest
// first, and at least one if there is any. The file may have more for a moment,
// which are committed and not in the index yet.
func (j *Journal) read(after uint64) ([]*delivery, error) {
	j.mu.Lock()
	last := j.index.last
	j.mu.Unlock()
	var window []*delivery
	err := j.view(func(b buckets) error {
		size := 0
		c := b.pending.Cursor()
		for key, record := c.Seek(keyOf(after + 1)); key != nil && len(window) < maxWindow; key, record = c.Next() {
			seq := binary.BigEndian.Uint64(key)
			if size += len(record); seq > last || len(window) > 0 && size > maxWindowBytes {
				break
			}
			d := &delivery{seq: seq}
			d.env, d.trace, d.damaged = unsealDelivery(record)
			window = append(window, d)
		}
		return nil
	})
	return window, err
}

// retrying counts a start that is to be repeated.
func (j *Journal) retrying() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counters.retries++
}

// sync returns when what was removed before is deleted from the file.
func (j *Journal) sync() error {
	return j.commit(context.Background(), &change{
		do:   func(buckets) error { return nil },
		done: func(bool) {},
	})
}

// remove drops the pending delivery seq, which is forwarded: at once for all
// that ask, and from the file with some later commit.
func (j *Journal) remove(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.index.remove(seq) {
		return
	}
	j.counters.forwarded++
	j.forwarded = append(j.forwarded, seq)
	switch len(j.forwarded) {
	case 1:
		time.AfterFunc(maxLag, j.flushDeletions)
	case maxBatch:
		j.flush = true
		j.work.Signal()
	}
}

func (j *Journal) flushDeletions() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flush = true
	j.work.Signal()
}
