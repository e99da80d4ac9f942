package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/sentry"
)

// Arrival is a delivery to be kept.
type Arrival struct {
	Envelope sentry.Envelope
	Subject  sentry.Subject // of its body
	// Plan returns what is to be done for the delivery under the key that it
	// is kept with, at least one operation.
	Plan func(sentry.Envelope) []routes.Operation
	// Entered is called with the ID of a delivery that has entered, before
	// anybody else knows of it. It must be quick. Default nil.
	Entered func(id uint64)
	// Instead is called when the delivery cannot be kept, with Append's context,
	// and may do at once what was planned: with its runs the delivery counts as
	// done. Default nil.
	Instead func(context.Context, sentry.Envelope, []routes.Operation) ([]Ran, error)
	// Patience bounds the wait for the disk, so that there is time left for
	// Instead. Default 0: that of Append's context.
	Patience time.Duration
}

// Receipt says what became of a delivery.
type Receipt struct {
	Key        string             // the idempotency key that it has
	Operations []routes.Operation // as they were planned; none with Runs of a repetition
	Entered    bool               // else it repeats one that was there
	ID         uint64             // while it is pending
	Runs       []Ran              // if it is done
}

// claim is a delivery on its way in. It ends when the delivery is durable or
// done, or once it is certain that it is neither.
type claim struct {
	identity identity
	settled  bool // the writer has nothing to do with it any more
	left     bool // nor has the caller of Append
	over     bool

	ended   chan struct{}
	receipt Receipt // valid once ended is closed, as is err
	err     error
}

// Append makes a delivery durable: without an error it is on disk, or was done
// instead. One that repeats a delivery which is kept, or is among the last that
// were done, does not enter again; Append then returns when that one is durable.
//
// When ctx ends, Append returns its error, and the delivery may be kept or not.
func (j *Journal) Append(ctx context.Context, a Arrival) (Receipt, error) {
	receipt, err := j.append(ctx, a)
	if err != nil {
		return receipt, fmt.Errorf("append to journal: %w", err)
	}
	return receipt, nil
}

func (j *Journal) append(ctx context.Context, a Arrival) (Receipt, error) {
	id := identityOf(a.Envelope)
	again := false // it is kept and cannot be read: it enters once more
	for ctx.Err() == nil {
		j.mu.Lock()
		if j.closed {
			j.mu.Unlock()
			return Receipt{}, ErrClosed
		}
		at, key, known := j.find(id, a.Envelope)
		c := j.arriving[at]
		if c == nil && (!known || again) {
			c = &claim{identity: id, ended: make(chan struct{})}
			j.arriving[at] = c
			j.mu.Unlock()
			a.Envelope.IdempotencyKey = key
			return j.enter(ctx, a, at, c)
		}
		done, isDone := j.memory.ran[at]
		e := j.index.lookup(at)
		var kept uint64
		if e != nil {
			kept = e.id
		}
		j.mu.Unlock()
		switch {
		case c != nil:
			return j.follow(ctx, a, at, key, c)
		case isDone:
			return Receipt{Key: key, Runs: done.unpack()}, nil
		}
		k, h, err := j.read(kept)
		switch {
		case errors.Is(err, ErrNotFound): // it is done or discarded by now
			continue
		case err != nil:
			again = true
			continue
		case k.parked != 0:
			kept = 0
		}
		return Receipt{Key: key, Operations: h.Operations, ID: kept}, nil
	}
	return Receipt{}, ctx.Err()
}

// follow waits for a delivery on its way in that this one repeats. If that takes
// too long it is done instead: the first one may have given up.
func (j *Journal) follow(ctx context.Context, a Arrival, at digest, key string, c *claim) (Receipt, error) {
	waiting := ctx
	if a.Patience > 0 {
		limited, cancel := context.WithTimeout(ctx, a.Patience)
		defer cancel()
		waiting = limited
	}
	select {
	case <-c.ended:
		repeated := c.receipt
		repeated.Entered = false
		return repeated, c.err
	case <-waiting.Done():
	}
	if a.Instead == nil {
		return Receipt{}, waiting.Err()
	}
	a.Envelope.IdempotencyKey = key
	operations := a.Plan(a.Envelope)
	runs, err := a.Instead(ctx, a.Envelope, operations)
	if err != nil {
		return Receipt{}, errors.Join(waiting.Err(), err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.memory.add(at, ran{identity: c.identity, runs: pack(runs)})
	if !c.over {
		c.receipt = Receipt{Key: key, Operations: operations, Runs: runs}
	}
	j.end(at, c, nil)
	return Receipt{Key: key, Operations: operations, Runs: runs}, nil
}

// errNoPlan says that an [Arrival] plans nothing.
var errNoPlan = errors.New("nothing is planned for the delivery")

// find returns under which key env is known or, if it is not, is to be. The
// caller holds j.mu.
func (j *Journal) find(id identity, env sentry.Envelope) (at digest, key string, known bool) {
	keys := id.keys(env.IdempotencyKey)
	free := -1
	for i, key := range keys {
		at := digestOf(env.IntegrationID, key)
		other, taken := j.identityAt(at)
		if taken && other == id {
			return at, key, true
		}
		if !taken && free < 0 {
			free = i
		}
	}
	// The last key belongs to this identity alone.
	return digestOf(env.IntegrationID, keys[max(free, 0)]), keys[max(free, 0)], false
}

func (j *Journal) identityAt(at digest) (identity, bool) {
	if c := j.arriving[at]; c != nil {
		return c.identity, true
	}
	if e := j.index.lookup(at); e != nil {
		return e.identity, true
	}
	done, ok := j.memory.ran[at]
	return done.identity, ok
}

// enter makes the delivery of c durable, or has it done instead.
func (j *Journal) enter(ctx context.Context, a Arrival, at digest, c *claim) (Receipt, error) {
	planned := false
	defer func() {
		if !planned { // a panic, too, must not leave others waiting for ever
			j.mu.Lock()
			defer j.mu.Unlock()
			j.end(at, c, errNoPlan)
		}
	}()
	operations := a.Plan(a.Envelope)
	if len(operations) == 0 {
		return Receipt{}, errNoPlan
	}
	planned = true
	j.mu.Lock()
	c.receipt = Receipt{Key: a.Envelope.IdempotencyKey, Operations: operations, Entered: true}
	j.mu.Unlock()
	waiting := ctx
	if a.Patience > 0 {
		limited, cancel := context.WithTimeout(ctx, a.Patience)
		defer cancel()
		waiting = limited
	}
	err := j.keep(waiting, a, at, c)
	var runs []Ran
	instead := false
	if err != nil && a.Instead != nil {
		var failed error
		if runs, failed = a.Instead(ctx, a.Envelope, operations); failed == nil {
			instead, err = true, nil
		} else {
			err = errors.Join(err, failed)
		}
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	c.left = true
	switch {
	case instead:
		j.memory.add(at, ran{identity: c.identity, runs: pack(runs)})
		if !c.over {
			c.receipt.Runs = runs
		}
		j.end(at, c, nil)
		return Receipt{Key: c.receipt.Key, Operations: operations, Entered: true, Runs: runs}, nil
	case err != nil:
		if c.settled {
			j.end(at, c, err)
		}
		return Receipt{Key: c.receipt.Key, Operations: operations}, err
	}
	return c.receipt, nil
}

// keep has the delivery written and waits for that.
func (j *Journal) keep(ctx context.Context, a Arrival, at digest, c *claim) error {
	body := a.Envelope.Body
	a.Envelope.Body = ""
	h := head{Envelope: a.Envelope, About: aboutOf(a.Subject), Operations: c.receipt.Operations, Trace: j.inject(ctx)}
	text, err := json.Marshal(h)
	integration := a.Envelope.IntegrationID
	k := kept{
		received: time.Now().UnixNano(), identity: c.identity, delivery: at, head: text,
		group: Group{integration, NamespacesOf(h.Operations), h.About.Project}.encode(),
	}
	ch := &change{payload: append(k.encode(len(body)), body...), enters: true, grows: true, pending: 1}
	ch.done = func(at seglog.Place, err error) error {
		c.settled = true
		if err == nil {
			k.id = order.Uint64(ch.payload[1:])
			if a.Entered != nil {
				a.Entered(k.id)
			}
			j.index.put(entry{
				delivery: k.delivery, identity: k.identity, id: k.id, position: k.id, received: k.received,
				group: j.index.groupOf(k.group), at: at,
			}, "")
			j.signal()
		} else {
			j.held[integration] -= ch.size()
		}
		switch {
		case err == nil && !c.over: // else it was done instead, and others read the receipt
			c.receipt.ID = k.id
			j.end(k.delivery, c, nil)
		case c.left:
			j.end(k.delivery, c, err)
		}
		return err
	}

	j.mu.Lock()
	switch {
	case err != nil:
	case j.closed:
		err = ErrClosed
	case !j.room(integration, ch.size()):
		err = ErrFull
	}
	if err != nil {
		c.settled = true
		j.mu.Unlock()
		return err
	}
	j.enqueue(ch)
	j.held[integration] += ch.size()
	j.mu.Unlock()
	if err = ch.wait(ctx); err == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if at := slices.Index(j.queue, ch); at >= 0 { // nobody has begun to write it, and nobody waits for it any more
		j.queue = slices.Delete(j.queue, at, at+1)
		j.held[integration] -= ch.size()
		c.settled = true
	}
	return err
}

// end ends c. The caller holds j.mu.
func (j *Journal) end(at digest, c *claim, err error) {
	if c.over {
		return
	}
	c.over, c.err = true, err
	delete(j.arriving, at)
	close(c.ended)
}

// A quarter of the space is for parked deliveries, and a quarter of the rest is
// divided among the integrations.
func (j *Journal) maxParked() int64  { return j.maxBytes / 4 }
func (j *Journal) maxPending() int64 { return j.maxBytes - j.maxParked() }

// room reports whether there is room for size more bytes of an integration: what
// belongs to others is not for it. The caller holds j.mu.
func (j *Journal) room(integration string, size int64) bool {
	total := j.held[integration] + size
	for other, held := range j.held {
		if other != integration {
			total += held
		}
	}
	for other := range j.own {
		if other != integration {
			total += max(0, j.maxPending()/4/int64(len(j.own))-j.held[other])
		}
	}
	return total <= j.maxPending()
}
