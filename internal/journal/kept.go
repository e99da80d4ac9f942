package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sentry-temporal/internal/seglog"
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

// maxReason bounds the reason of a parked delivery, in bytes.
const maxReason = 1 << 10

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
	if e := j.index.lookup(at); e != nil {
		known := Known{State: Pending, ID: e.id, Code: j.index.codes[e.id]}
		if e.parked {
			known.State = Parked
		}
		return known, true
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
func (j *Journal) candidates(f Filter, after uint64) (ids []uint64) {
	asked := make(map[uint64]bool, len(f.IDs))
	for _, id := range f.IDs {
		asked[id] = true
	}
	const some = 4096
	position := after + 1 // none is before its ID
	for more := true; more; {
		more = false
		n := 0
		j.mu.Lock()
		for e := range j.index.from(position) {
			if position, n = e.position, n+1; n > some {
				more = true
				break
			}
			if e.id > after && e.parked == (f.State == Parked) &&
				(len(asked) == 0 || asked[e.id]) &&
				(f.Integration == "" || f.Integration == e.group.Integration) &&
				(f.Project == "" || f.Project == e.group.Project) &&
				(f.OlderThan <= 0 || time.Since(time.Unix(0, e.received)) >= f.OlderThan) {
				ids = append(ids, e.id)
			}
		}
		j.mu.Unlock()
	}
	slices.Sort(ids) // what was put back stands further behind
	return ids
}

// lets reports whether f means an item that is among its candidates.
func (f Filter) lets(item Item) bool {
	return (f.Event == "" || f.Event == item.Event) &&
		(f.Reason == "" || f.Reason == string(item.ReasonCode) || strings.Contains(item.Reason, f.Reason))
}

// List returns up to limit deliveries that f means, with an ID above after, in
// the order of their IDs: 0 for the first ones, then the last ID for more.
func (j *Journal) List(f Filter, after uint64, limit int) ([]Item, error) {
	if err := j.Ready(); errors.Is(err, ErrClosed) {
		return nil, err
	}
	items, err := j.items(f, j.candidates(f, after), limit)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return items, nil
}

// items returns up to limit of those among ids that f means.
func (j *Journal) items(f Filter, ids []uint64, limit int) (items []Item, err error) {
	for _, id := range ids {
		if len(items) == limit {
			break
		}
		item, err := j.item(id)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		case item.State == f.State && f.lets(item):
			items = append(items, item)
		}
	}
	return items, nil
}

// item reads what a delivery is listed with, and not all of a large one.
func (j *Journal) item(id uint64) (Item, error) {
	k, err := j.record(id, 8<<10)
	if errors.Is(err, ErrDamaged) { // or what it says is longer
		k, err = j.record(id, math.MaxInt64)
	}
	j.mu.Lock()
	e := j.index.find(id)
	if e == nil {
		j.mu.Unlock()
		return Item{}, ErrNotFound
	}
	item := Item{ID: id, State: Pending, Size: int(e.at.Size)}
	if e.parked {
		item.State = Parked
	}
	j.mu.Unlock()
	var h head
	if err == nil {
		item.ReasonCode, item.Reason = Code(k.code), string(k.reason)
		if k.parked != 0 {
			item.ParkedAt = time.Unix(0, k.parked).UTC()
		}
		item.Size -= seglog.FrameSize + k.bodyAt()
		if k.body = nil; len(k.head) == 0 {
			return item, nil
		}
		h, err = k.read()
	}
	if errors.Is(err, ErrDamaged) {
		item.ReasonCode, item.Reason = Damaged, err.Error()
		return item, nil
	}
	item.Received = time.Unix(0, k.received).UTC()
	item.Integration, item.Event, item.Key = h.Envelope.IntegrationID, h.Envelope.EventType, h.Envelope.IdempotencyKey
	item.RequestID = h.Envelope.Headers[strings.ToLower(sentry.HeaderRequestID)]
	item.Project, item.IssueID, item.ShortID, item.Title = h.About.Project, h.About.IssueID, h.About.ShortID, h.About.Title
	for _, o := range h.Operations {
		if !slices.Contains(item.Namespaces, o.Namespace) {
			item.Namespaces = append(item.Namespaces, o.Namespace)
		}
		item.WorkflowIDs = append(item.WorkflowIDs, o.WorkflowID)
	}
	return item, err
}

// Export returns a delivery that is kept, which stays where it is.
func (j *Journal) Export(id uint64) (sentry.Envelope, error) {
	_, h, err := j.read(id)
	if err != nil {
		return sentry.Envelope{}, fmt.Errorf("export delivery %d: %w", id, err)
	}
	return h.Envelope, nil
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
// forwarded like new ones, and returns how many those were. Damaged ones stay.
func (j *Journal) PutBack(ctx context.Context, f Filter) (int, error) {
	f.State = Parked
	return j.all(ctx, f, j.puttingBack)
}

// PutBackConfigured puts back what is parked as [NotConfigured] and is configured
// by now in all of its namespaces, and returns how many deliveries that were.
func (j *Journal) PutBackConfigured(ctx context.Context, configured func(integration, namespace string) bool) (int, error) {
	j.mu.Lock()
	var ids []uint64
	for id, code := range j.index.codes {
		e := j.index.find(id)
		missing := func(namespace string) bool { return !configured(e.group.Integration, namespace) }
		if code == NotConfigured && !slices.ContainsFunc(e.group.namespaces, missing) {
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
	passed := func(err error) bool { return n != nil && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged)) }
	var problem error
	for len(ids) > 0 && problem == nil {
		var piece []*change
		for size := int64(0); len(ids) > 0 && problem == nil && size < someBytes && len(piece) < maxBatch; ids = ids[1:] {
			c, err := changeOf(ids[0])
			switch {
			case err == nil:
				piece = append(piece, c)
				size += c.size()
			case !passed(err):
				problem = err
			}
		}
		if err := j.submit(piece...); err != nil {
			return errors.Join(problem, err)
		}
		for _, c := range piece {
			switch err := c.wait(ctx); {
			case err == nil && n != nil:
				*n++
			case err != nil && !passed(err):
				return errors.Join(problem, err)
			}
		}
	}
	return problem
}

// parkingOf returns what makes a change that parks a delivery. Of one that cannot be
// read what is known of it is parked.
func (j *Journal) parkingOf(code Code, reason string) func(id uint64) (*change, error) {
	reason = text.Cut(text.Line(reason), maxReason)
	return func(id uint64) (*change, error) {
		return j.rewriting(id, Pending, func(k *kept) error {
			k.parked, k.code, k.reason = time.Now().UnixNano(), []byte(code), []byte(reason)
			return nil
		})
	}
}

func (j *Journal) puttingBack(id uint64) (*change, error) {
	return j.rewriting(id, Parked, func(k *kept) error {
		k.parked, k.code, k.reason = 0, nil, nil
		_, err := k.read()
		return err
	})
}

// rewriting returns a change that writes a delivery that is in this state again, as
// become makes it. There is room for it.
func (j *Journal) rewriting(id uint64, from State, become func(*kept) error) (*change, error) {
	k, err := j.record(id, math.MaxInt64)
	if errors.Is(err, ErrDamaged) {
		k, err = j.rest(id)
	}
	if err == nil && (k.parked != 0) != (from == Parked) {
		err = ErrNotFound
	}
	if err == nil {
		err = become(&k)
	}
	if err != nil {
		return nil, err
	}
	integration := decodeGroup(k.group).Integration
	c := &change{payload: k.encode(0), id: id, grows: true, enters: from == Parked, pending: 1}
	if from == Pending {
		c.pending = -1
	}
	c.check = func() error {
		if e := j.index.find(id); e == nil || e.parked != (from == Parked) {
			return ErrNotFound // it is done, perhaps
		}
		return nil
	}
	c.done = func(at seglog.Place, err error) error {
		j.reserve(integration, from, -c.size())
		if err != nil {
			return err
		}
		k, err := decodeKept(c.payload) // with its position
		if err == nil && !j.move(k, at) {
			err = ErrNotFound
		}
		if from == Parked {
			j.signal()
		}
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.reserve(integration, from, c.size()) {
		return nil, fmt.Errorf("those that are not %s: %w", from, ErrFull)
	}
	return c, nil
}

// reserve takes room for what comes from those in a state, if there is any; a negative
// size gives it back. The caller holds j.mu.
func (j *Journal) reserve(integration string, from State, size int64) bool {
	switch {
	case from == Pending && size > 0 && j.index.parkedBytes+j.parking+size > j.maxParked():
		return false
	case from == Pending:
		j.parking += size
	case size > 0 && !j.room(integration, size):
		return false
	default:
		j.held[integration] += size
	}
	return true
}

// rest returns what is known of a delivery that cannot be read.
func (j *Journal) rest(id uint64) (kept, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.index.find(id)
	if e == nil {
		return kept{}, ErrNotFound
	}
	return e.rest(j.index.codes[id]), nil
}

// rest is what is known without reading it.
func (e *entry) rest(code Code) kept {
	k := kept{
		id: e.id, position: e.position, received: e.received, identity: e.identity, delivery: e.delivery,
		group: []byte(e.group.key), code: []byte(code),
	}
	if e.parked {
		k.parked = time.Now().UnixNano()
	}
	return k
}

func (j *Journal) discarding(state State, id uint64) *change {
	c := &change{payload: grave(id), id: id}
	if state == Pending {
		c.pending = -1
	}
	c.check = func() error {
		if e := j.index.find(id); e == nil || e.parked != (state == Parked) {
			return ErrNotFound
		}
		return nil
	}
	c.done = func(_ seglog.Place, err error) error {
		if e, ok := j.index.find(id), err == nil; ok && e != nil {
			j.held[e.group.Integration] -= e.held()
			j.index.drop(id)
		}
		return err
	}
	return c
}
