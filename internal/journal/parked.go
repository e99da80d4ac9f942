package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sentry-temporal/internal/sentry"
)

// maxReason bounds the reason of a parked delivery, in bytes.
const maxReason = 1 << 10

// Parked is a delivery that cannot be forwarded and waits for someone to put
// it back or to discard it. Of a damaged record only ID, ParkedAt, Reason and
// Size are known.
type Parked struct {
	ID          uint64    `json:"id"`
	Received    time.Time `json:"received,omitzero"`
	ParkedAt    time.Time `json:"parked"`
	Event       string    `json:"event"`
	Integration string    `json:"integration"`
	Key         string    `json:"idempotency_key"`
	Reason      string    `json:"reason"`
	Size        int       `json:"size"` // of the body, in bytes
}

// park moves the pending delivery seq to the parked ones.
func (j *Journal) park(ctx context.Context, seq uint64, reason string) error {
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	j.mu.Lock()
	size := j.index.pending[seq].size
	j.mu.Unlock()
	err := j.commit(ctx, &change{
		size: size,
		do: func(b buckets) error {
			pending := b.pending.Get(keyOf(seq))
			if pending == nil {
				return fmt.Errorf("delivery %d is not pending", seq)
			}
			record, err := seal(parking{Parked: time.Now().UTC(), Reason: reason}, pending)
			if err != nil {
				return err
			}
			size = int64(len(record))
			if err := b.put(b.parked, seq, record); err != nil {
				return err
			}
			return b.delete(b.pending, seq)
		},
		done: func(kept bool) {
			if kept {
				j.index.remove(seq)
				j.index.park(seq, size)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("park delivery %d: %w", seq, err)
	}
	return nil
}

// Parked returns up to limit parked deliveries with an ID above after, in the
// order of their IDs: 0 for the first ones, then the last ID for more.
func (j *Journal) Parked(after uint64, limit int) ([]Parked, error) {
	var list []Parked
	err := j.view(func(b buckets) error {
		c := b.parked.Cursor()
		for key, record := c.Seek(keyOf(after + 1)); key != nil && len(list) < limit; key, record = c.Next() {
			list = append(list, describe(binary.BigEndian.Uint64(key), record))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list parked deliveries: %w", err)
	}
	return list, nil
}

func describe(id uint64, record []byte) Parked {
	var p parking
	pending, err := unseal(record, &p)
	if err != nil {
		return Parked{ID: id, Reason: err.Error(), Size: len(record)}
	}
	parked := Parked{ID: id, ParkedAt: p.Parked, Reason: p.Reason, Size: len(pending)}
	var a arrival
	if body, err := unseal(pending, &a); err == nil {
		parked.Received = a.Received
		parked.Event = a.Envelope.EventType
		parked.Integration = a.Envelope.IntegrationID
		parked.Key = a.Envelope.IdempotencyKey
		parked.Size = len(body)
	}
	return parked
}

// Export returns a parked delivery, which stays where it is.
func (j *Journal) Export(id uint64) (sentry.Envelope, error) {
	var env sentry.Envelope
	err := j.view(func(b buckets) error {
		pending, err := parkedRecord(b, id)
		if err != nil {
			return err
		}
		env, _, err = unsealDelivery(pending)
		return err
	})
	if err != nil {
		return sentry.Envelope{}, fmt.Errorf("export parked delivery %d: %w", id, err)
	}
	return env, nil
}

// parkedRecord returns the pending record that the parked delivery id was.
func parkedRecord(b buckets, id uint64) ([]byte, error) {
	record := b.parked.Get(keyOf(id))
	if record == nil {
		return nil, ErrNotParked
	}
	return unseal(record, new(parking))
}

// Unpark puts a parked delivery at the end of the queue, to be forwarded like
// a new one. Should it be parked again it has another ID.
func (j *Journal) Unpark(ctx context.Context, id uint64) error {
	if err := j.commit(ctx, j.unparking(id)); err != nil {
		return fmt.Errorf("put back parked delivery %d: %w", id, err)
	}
	return nil
}

// UnparkAll puts all parked deliveries but damaged ones back, like
// [Journal.Unpark], and returns how many that were. After an error, those stay
// put back.
func (j *Journal) UnparkAll(ctx context.Context) (int, error) {
	j.mu.Lock()
	ids := make([]uint64, 0, len(j.index.parked))
	for id := range j.index.parked {
		ids = append(ids, id)
	}
	j.mu.Unlock()
	slices.Sort(ids)

	n := 0
	for some := range slices.Chunk(ids, maxBatch) {
		changes := make([]*change, len(some))
		for i, id := range some {
			changes[i] = j.unparking(id)
			if err := j.submit(changes[i]); err != nil {
				return n, fmt.Errorf("put back parked delivery %d: %w", id, err)
			}
		}
		for i, c := range changes {
			err := c.wait(ctx)
			switch {
			case err == nil:
				n++
			case !errors.Is(err, ErrNotParked) && !errors.Is(err, errDamagedRecord):
				return n, fmt.Errorf("put back parked delivery %d: %w", some[i], err)
			}
		}
	}
	return n, nil
}

func (j *Journal) unparking(id uint64) *change {
	j.mu.Lock()
	size := j.index.parked[id]
	j.mu.Unlock()
	var seq uint64
	var e entry
	return &change{
		size: size,
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
			if kept {
				j.index.unpark(id)
				j.index.add(seq, e)
				j.signal()
			}
		},
	}
}

// Discard deletes a parked delivery for good.
func (j *Journal) Discard(ctx context.Context, id uint64) error {
	err := j.commit(ctx, &change{
		do: func(b buckets) error {
			if b.parked.Get(keyOf(id)) == nil {
				return ErrNotParked
			}
			return b.delete(b.parked, id)
		},
		done: func(kept bool) {
			if kept {
				j.index.unpark(id)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("discard parked delivery %d: %w", id, err)
	}
	return nil
}
