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
// All of it is a log of records in files that are written from their beginning to their
// end and then used again, see [seglog]. A page that goes bad
// costs the records in it; a file that a sync has failed in is not written again. The
// files take half of [Options.MaxBytes] more than the deliveries in them, and a little.
package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/sentry"
)

var (
	// ErrFull is the answer to a delivery for which [Options.MaxBytes] leaves
	// no room, and to one more that is to be parked.
	ErrFull = errors.New("journal is full")
	// ErrLocked means that the directory is open already, as a rule by another
	// process.
	ErrLocked = seglog.ErrLocked
	// ErrClosed is the answer after [Journal.Close].
	ErrClosed = errors.New("journal is closed")
	// ErrNotFound means that no delivery that is kept has this ID.
	ErrNotFound = errors.New("no such delivery is kept")
	// ErrDamaged means that a delivery is kept and cannot be read any more.
	ErrDamaged = seglog.ErrDamaged
)

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

	disk seglog.Disk // default the directory itself
}

// Journal is the durable inbox. Its methods may be called concurrently.
type Journal struct {
	dir      string
	maxBytes int64
	own      map[string]bool // integrations that have a share of their own
	onCommit func(d time.Duration, added, deleted int)
	inject   func(context.Context) string
	log      *slog.Logger
	lock     io.Closer
	arrived  chan struct{} // of capacity 1: there is more to forward
	store    *seglog.Log   // of the writer
	stopped  chan struct{} // closed when the writer has ended

	mu        sync.Mutex
	index     index
	memory    memory
	last      uint64            // the highest ID or position given
	arriving  map[digest]*claim // appends that are not in index yet
	held      map[string]int64  // bytes of pending and arriving ones by integration
	parking   int64             // bytes on their way to the parked ones
	queue     []*change         // what to commit next
	forwarded []*change         // what is done, to be noted with it
	flush     bool              // that is due even without a queue
	busy      bool              // the writer has a segment to empty
	closed    bool
	work      sync.Cond // queue, flush or closed have changed
	counters  counters
	broken    error         // of the last commit; nil if it succeeded
	writing   time.Time     // since when a commit is under way; zero if none is
	committed time.Time     // when the last one succeeded
	lasted    time.Duration // that it took
}

type counters struct {
	forwarded, retries uint64
}

// Open opens the journal in dir. A directory that is missing is created, for this user
// only. A disk that cannot be read is an error.
//
// Where something is damaged, an error in the log says in which bytes of which file.
// What can still be read is kept, and the file set aside in the same directory.
func Open(dir string, o Options) (*Journal, error) {
	j := &Journal{
		dir:      dir,
		maxBytes: cmp.Or(max(o.MaxBytes, 0), 1<<30),
		own:      make(map[string]bool),
		onCommit: o.OnCommit,
		inject:   o.Inject,
		log:      cmp.Or(o.Log, slog.Default()),
		arrived:  make(chan struct{}, 1),
		index:    newIndex(),
		memory:   memory{ran: make(map[digest]ran)},
		arriving: make(map[digest]*claim),
		held:     make(map[string]int64),
		stopped:  make(chan struct{}),
	}
	for _, integration := range o.Integrations {
		j.own[integration] = true
	}
	j.work.L = &j.mu
	if j.onCommit == nil {
		j.onCommit = func(time.Duration, int, int) {}
	}
	if j.inject == nil {
		j.inject = func(context.Context) string { return "" }
	}
	if err := j.open(o.disk); err != nil {
		return nil, fmt.Errorf("open journal in %s: %w", dir, err)
	}
	j.signal()
	go j.write()
	return j, nil
}

func (j *Journal) open(d seglog.Disk) error {
	if d == nil {
		locked, err := seglog.OpenDirectory(j.dir)
		if err != nil {
			return err
		}
		d, j.lock = locked, locked
	}
	if err := j.recover(d); err != nil {
		return errors.Join(err, j.unlock())
	}
	if j.broken = j.store.MakeRoom(); j.broken != nil && !noRoom(j.broken) {
		return errors.Join(j.broken, j.unlock())
	}
	return nil
}

// unlock lets others open the journal.
func (j *Journal) unlock() error {
	if j.lock == nil {
		return nil
	}
	return j.lock.Close()
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
		Pending:        j.index.pending,
		PendingBytes:   j.index.pendingBytes,
		MaxBytes:       j.maxPending(),
		Parked:         j.index.parked,
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

	err := j.store.Close()
	if errors.Is(err, seglog.ErrNoSpare) || noRoom(err) {
		err = nil // it would only say that nothing is missing
	}
	if err := errors.Join(err, j.unlock()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// Arrived has a value after an entry was added to what [Journal.Entries]
// returns, since the value before was taken.
func (j *Journal) Arrived() <-chan struct{} { return j.arrived }

// Entry is a pending delivery as long as it is not read.
type Entry struct {
	ID         uint64 // of the delivery, for as long as it is kept
	Position   uint64 // in the queue, which ends with the highest; another one once it was parked
	Group      Group
	Namespaces []string // of the operations that are planned, in their order; not to be changed
	Size       int64    // of its record, in bytes
}

// Entries returns up to most pending entries with a Position above after, in their
// order. It reads no disk.
func (j *Journal) Entries(after uint64, most int) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var entries []Entry
	for e := range j.index.from(max(after+1, j.index.begin)) {
		if len(entries) == most {
			break
		}
		if !e.parked {
			entries = append(entries, Entry{
				ID: e.id, Position: e.position, Group: e.group.Group, Namespaces: e.group.namespaces, Size: int64(e.at.Size),
			})
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
	k, h, err := j.read(id)
	if err == nil && k.parked != 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("read delivery %d: %w", id, err)
	}
	return Delivery{ID: id, Received: time.Unix(0, k.received).UTC(), Envelope: h.Envelope, Operations: h.Operations, Trace: h.Trace}, nil
}

func (j *Journal) read(id uint64) (k kept, h head, err error) {
	if k, err = j.record(id, math.MaxInt64); err == nil {
		h, err = k.read()
	}
	return k, h, err
}

// record returns the record of a delivery, or what its first bytes have of it, which
// are not checked then. It is read without a lock: if it was written elsewhere meanwhile,
// what was read may be anything.
func (j *Journal) record(id uint64, most int64) (k kept, err error) {
	for before := (seglog.Place{}); ; {
		j.mu.Lock()
		e, closed := j.index.find(id), j.closed
		at := seglog.Place{}
		if e != nil {
			at = e.at
		}
		j.mu.Unlock()
		switch {
		case closed:
			return kept{}, ErrClosed
		case e == nil:
			return kept{}, ErrNotFound
		case at == before:
			return k, err
		}
		before = at
		var payload []byte
		if payload, err = j.store.Read(at, most); err == nil {
			k, err = decodeKept(payload)
		}
	}
}

// Retrying counts a start that is to be repeated.
func (j *Journal) Retrying() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counters.retries++
}

// Sync returns when what was done before is durably so.
func (j *Journal) Sync() error {
	c := &change{}
	if err := j.submit(c); err != nil {
		return err
	}
	return c.wait(context.Background())
}

// Done drops the pending delivery id, whose runs are these: at once for all that
// ask, and durably with some later commit. It is remembered for a while.
func (j *Journal) Done(id uint64, runs []Ran) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.index.find(id); e == nil || e.parked {
		return
	}
	e, _ := j.index.drop(id)
	j.held[e.group.Integration] -= e.held()
	r := ran{id: id, identity: e.identity, runs: pack(runs)}
	j.memory.add(e.delivery, r)
	j.counters.forwarded++
	c := &change{id: id, pending: -1, payload: encodeDone(e.delivery, r)}
	c.done = func(at seglog.Place, err error) error {
		if err == nil && c.payload[0] == doneRecord {
			j.memory.written(e.delivery, id, at)
		}
		return err
	}
	j.forwarded = append(j.forwarded, c)
	switch len(j.forwarded) {
	case 1:
		time.AfterFunc(maxLag, j.flushDone)
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

// CheckDisk is [seglog.CheckDisk], for a journal.
func CheckDisk(dir string) (bytes int64, err error) { return seglog.CheckDisk(dir) }
