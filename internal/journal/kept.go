package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// State is whether a delivery that is kept waits for Temporal or for a person.
type State string

// States.
const (
	Pending State = "pending"
	Parked  State = "parked"
	Done    State = "done" // its runs are started; it is remembered for a while, and listed no more
)

// Code says in one word why a delivery is parked.
type Code string

// Codes.
const (
	Refused       Code = "refused"        // Temporal can never take it
	TooLarge      Code = "too_large"      // for Temporal
	NotConfigured Code = "not_configured" // its integration or namespace; goes back by itself
	Damaged       Code = "damaged"        // it cannot be read any more
	Bug           Code = "bug"            // a panic
	GaveUp        Code = "gave_up"        // it failed often while others did not
	ByHand        Code = "by_hand"
)

const (
	// maxReason bounds the reason of a parked delivery, in bytes.
	maxReason = 1 << 10
	// parkingSize is what a parked record has besides its reason and the pending
	// one, in bytes.
	parkingSize = 128
)

// Item is a delivery that is kept. Of a damaged record only ID, State, ParkedAt,
// Reason and Size are known.
type Item struct {
	ID          uint64    `json:"id"`
	State       State     `json:"state"`
	Received    time.Time `json:"received,omitzero"`
	ParkedAt    time.Time `json:"parked_at,omitzero"`
	ReasonCode  Code      `json:"reason_code,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Integration string    `json:"integration"`
	Event       string    `json:"event"`
	RequestID   string    `json:"request_id"` // as it came; empty if none did
	Key         string    `json:"idempotency_key"`
	Project     string    `json:"project"` // this and the next three are empty where unknown
	IssueID     string    `json:"issue_id"`
	ShortID     string    `json:"short_id"`
	Title       string    `json:"title"`
	Namespaces  []string  `json:"namespaces"`   // each once
	WorkflowIDs []string  `json:"workflow_ids"` // of the runs that it is to have
	Size        int       `json:"size"`         // of the body, in bytes
}

// Known is what a journal knows of a delivery without reading it.
type Known struct {
	State State
	ID    uint64 // of one that is pending or parked
	Code  Code   // why it is parked
	Runs  []Ran  // of one that is done
}

// Look returns what is known of the delivery of an integration with an idempotency
// key; false if it is none that is kept or was done lately. It reads no disk.
func (j *Journal) Look(integration, key string) (Known, bool) {
	at := digestOf(integration, key)
	j.mu.Lock()
	defer j.mu.Unlock()
	if id, ok := j.index.sequences[at]; ok {
		return Known{State: Pending, ID: id}, true
	}
	if id, ok := j.index.parkedIDs[at]; ok {
		return Known{State: Parked, ID: id, Code: j.index.parked[id].code}, true
	}
	if done, ok := j.memory.ran[at]; ok {
		return Known{State: Done, Runs: done.unpack()}, true
	}
	return Known{}, false
}

// Filter says which deliveries are meant: those in State that have all of what
// is not zero.
type Filter struct {
	State                       State
	IDs                         []uint64      // one of these
	Integration, Event, Project string        // just this
	Reason                      string        // this Code, or this in the Reason
	OlderThan                   time.Duration // received at least this long ago
}

// candidates returns the IDs above after, ascending, that the index does not rule
// out. It does not hold up others for long, however many there are.
func (j *Journal) candidates(f Filter, after uint64) []uint64 {
	asked := make(map[uint64]bool, len(f.IDs))
	for _, id := range f.IDs {
		asked[id] = true
	}
	means := func(id uint64, e entry, of Group) bool {
		return (len(asked) == 0 || asked[id]) &&
			(f.Integration == "" || f.Integration == of.Integration) &&
			(f.Project == "" || f.Project == of.Project) &&
			(f.OlderThan <= 0 || time.Since(e.received) >= f.OlderThan)
	}
	var ids []uint64
	if f.State == Parked {
		j.mu.Lock()
		for id, e := range j.index.parked {
			if id > after && means(id, e.entry, e.of) {
				ids = append(ids, id)
			}
		}
		j.mu.Unlock()
		slices.Sort(ids)
		return ids
	}
	const some = 4096
	for {
		j.mu.Lock()
		first, _ := slices.BinarySearch(j.index.order, after+1)
		left := j.index.order[first:]
		for _, id := range left[:min(some, len(left))] {
			after = id
			if e, ok := j.index.pending[id]; ok && means(id, e.entry, e.group.Group) {
				ids = append(ids, id)
			}
		}
		j.mu.Unlock()
		if len(left) <= some {
			return ids
		}
	}
}

// lets reports whether f means an item that is among its candidates.
func (f Filter) lets(item Item) bool {
	return (f.Event == "" || f.Event == item.Event) &&
		(f.Reason == "" || f.Reason == string(item.ReasonCode) || strings.Contains(item.Reason, f.Reason))
}

// List returns up to limit deliveries that f means, with an ID above after, in
// the order of their IDs: 0 for the first ones, then the last ID for more.
func (j *Journal) List(f Filter, after uint64, limit int) ([]Item, error) {
	items, err := j.items(f, j.candidates(f, after), limit)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return items, nil
}

// items returns up to limit of those among ids that f means.
func (j *Journal) items(f Filter, ids []uint64, limit int) ([]Item, error) {
	var items []Item
	err := j.view(func(b buckets) error {
		for _, id := range ids {
			if len(items) == limit {
				break
			}
			if item, ok := itemOf(b, f.State, id); ok && f.lets(item) {
				items = append(items, item)
			}
		}
		return nil
	})
	return items, err
}

// itemOf returns the item of a record, and false if there is none.
func itemOf(b buckets, state State, id uint64) (Item, bool) {
	item := Item{ID: id, State: state}
	record := b.pending.Get(keyOf(id))
	if state == Parked {
		record = b.parked.Get(keyOf(id))
	}
	if record == nil {
		return Item{}, false
	}
	item.Size = len(record)
	if state == Parked {
		var p parking
		pending, err := peek(record, &p)
		if err != nil {
			item.ReasonCode, item.Reason = Damaged, err.Error()
			return item, true
		}
		item.ParkedAt, item.ReasonCode, item.Reason = p.Parked, p.Code, p.Reason
		record = pending
	}
	var a arrival
	body, err := peek(record, &a)
	if err != nil {
		if state == Pending {
			item.ReasonCode, item.Reason = Damaged, err.Error()
		}
		return item, true
	}
	item.Received, item.Size = a.Received, len(body)
	item.Integration, item.Event, item.Key = a.Envelope.IntegrationID, a.Envelope.EventType, a.Envelope.IdempotencyKey
	item.RequestID = a.Envelope.Headers[strings.ToLower(sentry.HeaderRequestID)]
	item.Project, item.IssueID, item.ShortID, item.Title = a.About.Project, a.About.IssueID, a.About.ShortID, a.About.Title
	for _, o := range a.Operations {
		if !slices.Contains(item.Namespaces, o.Namespace) {
			item.Namespaces = append(item.Namespaces, o.Namespace)
		}
		item.WorkflowIDs = append(item.WorkflowIDs, o.WorkflowID)
	}
	return item, true
}

// Export returns a delivery that is kept, which stays where it is.
func (j *Journal) Export(id uint64) (sentry.Envelope, error) {
	var a arrival
	err := j.view(func(b buckets) error {
		record := b.pending.Get(keyOf(id))
		if record == nil {
			var err error
			if record, err = parkedRecord(b, id); err != nil {
				return err
			}
		}
		var err error
		a, err = unsealArrival(record)
		return err
	})
	if err != nil {
		return sentry.Envelope{}, fmt.Errorf("export delivery %d: %w", id, err)
	}
	return a.Envelope, nil
}

// readParked returns a parked delivery.
func (j *Journal) readParked(id uint64) (a arrival, err error) {
	err = j.view(func(b buckets) error {
		record, err := parkedRecord(b, id)
		if err != nil {
			return err
		}
		a, err = unsealArrival(record)
		return err
	})
	return a, err
}

// parkedRecord returns the pending record that the parked delivery id was.
func parkedRecord(b buckets, id uint64) ([]byte, error) {
	record := b.parked.Get(keyOf(id))
	if record == nil {
		return nil, ErrNotFound
	}
	return unseal(record, new(parking))
}

// ParkFor moves the pending delivery id to the parked ones. The error is
// [ErrNotFound] if it is not pending any more, and [ErrFull] if there is no room
// among those: then it stays.
func (j *Journal) ParkFor(ctx context.Context, id uint64, code Code, reason string) error {
	if err := j.settleAll(ctx, []uint64{id}, j.parkingOf(code, reason), nil); err != nil {
		return fmt.Errorf("park delivery %d: %w", id, err)
	}
	return nil
}

// Park parks the pending deliveries that f means and returns how many those
// were. One that is being started at this moment may start all the same.
func (j *Journal) Park(ctx context.Context, f Filter) (int, error) {
	f.State = Pending
	return j.all(ctx, f, j.parkingOf(ByHand, "parked by hand"))
}

// PutBack puts the parked deliveries that f means at the end of the queue, to be
// forwarded like new ones, and returns how many those were. Each gets another ID.
// Damaged ones stay.
func (j *Journal) PutBack(ctx context.Context, f Filter) (int, error) {
	f.State = Parked
	return j.all(ctx, f, j.puttingBack)
}

// PutBackConfigured puts back what is parked as [NotConfigured] and is configured
// by now in all of its namespaces, and returns how many deliveries that were.
func (j *Journal) PutBackConfigured(ctx context.Context, configured func(integration, namespace string) bool) (int, error) {
	j.mu.Lock()
	var ids []uint64
	for id, e := range j.index.parked {
		missing := func(namespace string) bool { return !configured(e.of.Integration, namespace) }
		if e.code == NotConfigured && !slices.ContainsFunc(e.of.namespaces(), missing) {
			ids = append(ids, id)
		}
	}
	j.mu.Unlock()
	slices.Sort(ids)
	n := 0
	err := j.settleAll(ctx, ids, j.puttingBack, &n)
	return n, err
}

// Discard deletes the deliveries that f means for good and returns how many those
// were. One that is being started at this moment may start all the same.
func (j *Journal) Discard(ctx context.Context, f Filter) (int, error) {
	return j.all(ctx, f, func(id uint64) (*change, error) { return j.discarding(f.State, id), nil })
}

// all makes and commits a change of each delivery that f means. After an error,
// those before stay changed.
func (j *Journal) all(ctx context.Context, f Filter, changeOf func(id uint64) (*change, error)) (n int, err error) {
	for ids := range slices.Chunk(j.candidates(f, 0), maxBatch) {
		if f.Event != "" || f.Reason != "" { // only the record tells
			items, err := j.items(f, ids, len(ids))
			if err != nil {
				return n, err
			}
			ids = ids[:0]
			for _, item := range items {
				ids = append(ids, item.ID)
			}
		}
		if err := j.settleAll(ctx, ids, changeOf, &n); err != nil {
			return n, err
		}
	}
	return n, nil
}

// settleAll commits a change of each delivery in ids. With n it counts those that
// were made and passes over what is gone or damaged.
func (j *Journal) settleAll(ctx context.Context, ids []uint64, changeOf func(id uint64) (*change, error), n *int) error {
	// Arrivals stand behind what is submitted, so that is little at a time.
	const someBytes = 1 << 20
	var changes []*change
	size := int64(0)
	settle := func() error {
		waiting := changes
		changes, size = nil, 0
		for _, c := range waiting {
			err := c.wait(ctx)
			switch {
			case err == nil && n != nil:
				*n++
			case err != nil && (n == nil || !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged)):
				return err
			}
		}
		return nil
	}
	for _, id := range ids {
		c, err := changeOf(id)
		if err != nil && n != nil && errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			err = j.submit(c)
		}
		if err != nil {
			return errors.Join(settle(), err)
		}
		changes = append(changes, c)
		if size += c.size; size >= someBytes || len(changes) == maxBatch {
			if err := settle(); err != nil {
				return err
			}
		}
	}
	return settle()
}

// parkingOf returns what makes a change that parks a delivery.
func (j *Journal) parkingOf(code Code, reason string) func(id uint64) (*change, error) {
	reason = text.Cut(text.Line(reason), maxReason)
	return func(id uint64) (*change, error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		p, ok := j.index.pending[id]
		if !ok {
			return nil, ErrNotFound
		}
		reserved := p.size + parkingSize + 2*int64(len(reason)) // JSON escapes some of it
		if j.index.parkedBytes+j.parking+reserved > j.maxParked() {
			return nil, fmt.Errorf("those that are parked: %w", ErrFull)
		}
		j.parking += reserved
		e := p.entry
		e.of = p.group.Group
		return &change{
			size: reserved,
			do: func(b buckets) error {
				pending := b.pending.Get(keyOf(id))
				if pending == nil || !j.isPending(id) {
					return ErrNotFound // it is done, and not deleted yet perhaps
				}
				record, err := seal(parking{Parked: time.Now().UTC(), Code: code, Reason: reason}, pending)
				if err != nil {
					return err
				}
				e.size = int64(len(record))
				if err := b.put(b.parked, id, record); err != nil {
					return err
				}
				return b.delete(b.pending, id)
			},
			done: func(kept bool) {
				j.parking -= reserved
				if !kept {
					return
				}
				if before, ok := j.index.remove(id); ok {
					j.held[before.of.Integration] -= before.size
				}
				j.index.park(id, parkedEntry{e, code})
			},
		}, nil
	}
}

func (j *Journal) isPending(id uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.index.pending[id]
	return ok
}

func (j *Journal) puttingBack(id uint64) (*change, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	parked, ok := j.index.parked[id]
	if !ok {
		return nil, ErrNotFound
	}
	integration, reserved := parked.of.Integration, parked.size
	if !j.room(integration, reserved) {
		return nil, ErrFull
	}
	j.held[integration] += reserved
	var seq uint64
	var e entry
	return &change{
		size: reserved,
		do: func(b buckets) error {
			pending, err := parkedRecord(b, id)
			if err != nil {
				return err
			}
			if e, err = entryOf(pending); err != nil {
				return err
			}
			if seq, err = b.pending.NextSequence(); err != nil {
				return err
			}
			if err := b.put(b.pending, seq, bytes.Clone(pending)); err != nil {
				return err
			}
			return b.delete(b.parked, id)
		},
		done: func(kept bool) {
			j.held[integration] -= reserved
			if kept {
				j.index.unpark(id)
				j.index.add(seq, e)
				j.held[e.of.Integration] += e.size
				j.signal()
			}
		},
	}, nil
}

func (j *Journal) discarding(state State, id uint64) *change {
	return &change{
		do: func(b buckets) error {
			bucket := b.pending
			if state == Parked {
				bucket = b.parked
			}
			if bucket.Get(keyOf(id)) == nil {
				return ErrNotFound
			}
			return b.delete(bucket, id)
		},
		done: func(kept bool) {
			switch {
			case !kept:
			case state == Parked:
				j.index.unpark(id)
			default:
				if e, ok := j.index.remove(id); ok {
					j.held[e.of.Integration] -= e.size
				}
			}
		},
	}
}
