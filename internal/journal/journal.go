// Package journal is the durable inbox: a delivery that [Journal.Append] has
// taken is on disk, together with what is to be done for it, and stays there
// until [Journal.Done] says that Temporal has stored a start for every run.
//
// Nothing is lost, whenever the process is killed or the power fails. A start
// may be repeated, never left out, so what starts the runs must be idempotent.
//
// A delivery is known by its idempotency key, its event and its body while it is
// kept, and as one of the last 100,000 that were done: only a true repetition is
// folded into it. Another one that comes under its key gets a key of its own.
//
// All of it is one bbolt file in a directory of its own. The file grows with the
// most that was ever in it at once, to about twice [Options.MaxBytes] at worst,
// and does not shrink: its space is used again.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
)

var (
	// ErrFull is the answer to a delivery for which [Options.MaxBytes] leaves
	// no room, and to one more that is to be parked.
	ErrFull = errors.New("journal is full")
	// ErrLocked means that the directory is open already, as a rule by another
	// process.
	ErrLocked = errors.New("another process is using it")
	// ErrClosed is the answer after [Journal.Close].
	ErrClosed = errors.New("journal is closed")
	// ErrNotFound means that no delivery that is kept has this ID.
	ErrNotFound = errors.New("no such delivery is kept")
	// ErrDamaged means that a delivery is kept and cannot be read any more.
	ErrDamaged = errDamagedRecord
)

const fileName = "journal.db"

// keyPath is the key of a log attribute that only the journal has.
const keyPath = "path"

// Options are the options of [Open]. The zero value is fine.
type Options struct {
	// MaxBytes bounds what pending and parked deliveries take together, in
	// bytes. A quarter of it is for parked ones alone, so that neither fills it
	// for the other. Default 1 GiB.
	MaxBytes int64
	// Integrations share a quarter of what is for pending deliveries evenly:
	// that much each of them finds, whatever the others keep here.
	Integrations []string
	// OnCommit is called after each commit with the time it took, including
	// fsync, and how many deliveries it added and deleted. Those who wait for
	// this commit, and the next one, wait for it. Default nil.
	OnCommit func(d time.Duration, added, deleted int)
	// Inject returns what is to be kept of the trace that Append's context
	// belongs to, "" for nothing. Default nil.
	Inject func(context.Context) string
	// Log is told of damage and of a disk that cannot be written. Default
	// slog.Default().
	Log *slog.Logger
}

// Journal is the durable inbox. Its methods may be called concurrently.
type Journal struct {
	path     string
	maxBytes int64
	own      map[string]bool // integrations that have a share of their own
	onCommit func(d time.Duration, added, deleted int)
	inject   func(context.Context) string
	log      *slog.Logger
	dir      *os.File      // holds the lock
	arrived  chan struct{} // of capacity 1: there is more to forward

	fileMu sync.Mutex
	file   *bolt.DB // nil while only opening it again can help

	mu        sync.Mutex
	index     index
	memory    memory
	arriving  map[digest]*claim // appends that are not in index yet
	held      map[string]int64  // bytes of pending and arriving ones by integration
	parking   int64             // bytes on their way to the parked ones
	queue     []*change         // what to commit next
	forwarded []completion      // what to delete with it
	flush     bool              // deletions are due even without a queue
	expected  int               // how many senders there were around the last commit
	closed    bool
	work      sync.Cond // queue, flush or closed have changed
	counters  counters
	broken    error         // of the last commit; nil if it succeeded
	writing   time.Time     // since when a commit is under way; zero if none is
	committed time.Time     // when the last one succeeded
	lasted    time.Duration // that it took
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
		own:      make(map[string]bool),
		onCommit: o.OnCommit,
		inject:   o.Inject,
		log:      o.Log,
		arrived:  make(chan struct{}, 1),
		arriving: make(map[digest]*claim),
		held:     make(map[string]int64),
		stopped:  make(chan struct{}),
	}
	for _, integration := range o.Integrations {
		j.own[integration] = true
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

// signal tells the forwarder that there is more to forward.
func (j *Journal) signal() {
	select {
	case j.arrived <- struct{}{}:
	default:
	}
}

// Stats is what a [Journal] holds now, and has done since it was opened.
type Stats struct {
	Pending        int           // deliveries not forwarded yet
	PendingBytes   int64         // that they take
	MaxBytes       int64         // that they may take
	OldestAge      time.Duration // since the first of them was received; 0 without any
	Parked         int           // deliveries that wait for someone to look at them
	ParkedBytes    int64         // that they take
	MaxParkedBytes int64         // that they may take

	Committed time.Time     // when the last commit succeeded; zero before the first one
	Commit    time.Duration // that it took

	Forwarded uint64 // deliveries, since Open
	Retries   uint64 // starts that failed and are to be repeated, since Open
}

// Stats reads no disk and is cheap.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Stats{
		Pending:        len(j.index.pending),
		PendingBytes:   j.index.pendingBytes,
		MaxBytes:       j.maxPending(),
		Parked:         len(j.index.parked),
		ParkedBytes:    j.index.parkedBytes,
		MaxParkedBytes: j.maxParked(),
		Forwarded:      j.counters.forwarded,
		Retries:        j.counters.retries,
		Committed:      j.committed,
		Commit:         j.lasted,
	}
	if received, ok := j.index.oldest(); ok {
		s.OldestAge = max(0, time.Since(received))
	}
	return s
}

// Close makes durable what was appended or forwarded before and closes the
// journal. Stop what forwards first.
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

// Arrived has a value after an entry was added to what [Journal.Entries]
// returns, since the value before was taken.
func (j *Journal) Arrived() <-chan struct{} { return j.arrived }

// Entry is a pending delivery as long as it is not read.
type Entry struct {
	ID         uint64
	Group      Group
	Namespaces []string // of the operations that are planned, in their order; not to be changed
	Size       int64    // of its record, in bytes
}

// Entries returns up to most pending entries with an ID above after, in the order
// of their IDs, which is that of their arrival. It reads no disk.
func (j *Journal) Entries(after uint64, most int) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var entries []Entry
	first, _ := slices.BinarySearch(j.index.order, after+1)
	for _, seq := range j.index.order[first:] {
		if len(entries) == most {
			break
		}
		if p, ok := j.index.pending[seq]; ok {
			entries = append(entries, Entry{ID: seq, Group: p.group.Group, Namespaces: p.group.namespaces, Size: p.size})
		}
	}
	return entries
}

// Delivery is a pending delivery.
type Delivery struct {
	ID         uint64
	Received   time.Time
	Envelope   sentry.Envelope
	Operations []routes.Operation
	Trace      string // that it belongs to, see [Options.Inject]
}

// Read returns the pending delivery id. The error is [ErrNotFound] if it is not
// pending any more, [ErrDamaged] if it can never be read, and else the disk's.
func (j *Journal) Read(id uint64) (Delivery, error) {
	if !j.isPending(id) {
		return Delivery{}, ErrNotFound
	}
	var a arrival
	err := j.view(func(b buckets) (err error) {
		record := b.pending.Get(keyOf(id))
		if record == nil {
			return ErrNotFound
		}
		a, err = unsealArrival(record)
		return err
	})
	if err != nil {
		return Delivery{}, fmt.Errorf("read delivery %d: %w", id, err)
	}
	return Delivery{ID: id, Received: a.Received, Envelope: a.Envelope, Operations: a.Operations, Trace: a.Trace}, nil
}

// Retrying counts a start that is to be repeated.
func (j *Journal) Retrying() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counters.retries++
}

// Sync returns when what was done before is deleted from the file.
func (j *Journal) Sync() error {
	return j.commit(context.Background(), &change{
		do:   func(buckets) error { return nil },
		done: func(bool) {},
	})
}

// Done drops the pending delivery id, whose runs are these: at once for all that
// ask, and from the file with some later commit. It is remembered for a while.
func (j *Journal) Done(id uint64, runs []Ran) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.index.remove(id)
	if !ok {
		return
	}
	j.held[e.of.Integration] -= e.size
	c := completion{id: id, at: e.delivery, ran: ran{identity: e.identity, runs: pack(runs)}}
	c.obsolete = j.memory.add(c.at, c.ran, id)
	j.counters.forwarded++
	j.forwarded = append(j.forwarded, c)
	switch len(j.forwarded) {
	case 1:
		time.AfterFunc(maxLag, j.flushDeletions)
	case maxBatch:
		j.flush = true
		j.work.Signal()
	}
}

// Outcome returns the runs of a delivery that is done, as long as it is
// remembered.
func (j *Journal) Outcome(integration, key string) ([]Ran, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	done, ok := j.memory.ran[digestOf(integration, key)]
	return done.unpack(), ok
}

const (
	// stuckAfter is how long a commit may take before the journal is taken for
	// one that cannot keep anything, and deadAfter before a new process is
	// worth a try.
	stuckAfter = 3 * time.Second
	deadAfter  = 30 * time.Second
	// minRoom is what a journal that is not full has room for, in bytes.
	minRoom = 64 << 10
)

// Ready returns nil if a delivery can be kept, and else why not.
func (j *Journal) Ready() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return ErrClosed
	case j.broken != nil:
		return j.broken
	case !j.writing.IsZero() && time.Since(j.writing) > stuckAfter:
		return fmt.Errorf("write journal: the disk has not answered for %s", time.Since(j.writing).Round(time.Second))
	}
	total := int64(0)
	for _, n := range j.held {
		total += n
	}
	if total+minRoom > j.maxPending() {
		return ErrFull
	}
	return nil
}

// Alive returns an error if the journal's loop does not turn any more.
func (j *Journal) Alive() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.writing.IsZero() && time.Since(j.writing) > deadAfter {
		return fmt.Errorf("write journal: the disk has not answered for %s", time.Since(j.writing).Round(time.Second))
	}
	return nil
}

func (j *Journal) flushDeletions() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flush = true
	j.work.Signal()
}
