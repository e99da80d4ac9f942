package keyring

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
)

const (
	// maxHeldBytes bounds what all that is held takes in memory, and with
	// itemBytes, which each takes besides its texts, how many there are.
	maxHeldBytes = 32 << 20
	itemBytes    = 1 << 10
	// maxHeldFor is how long a delivery is held.
	maxHeldFor = time.Hour
)

// Held is a delivery that matches no secret and may match one that comes.
type Held struct {
	Envelope sentry.Envelope
	Received time.Time
	Trace    string // of the request, see [telemetry.TraceParent]
}

// holding is what is held of an integration.
type holding struct {
	items   []*item // in the order of seq
	keys    map[identity]bool
	bytes   int64
	taken   int64
	dropped int64
	failing bool // it could not be taken the last time; of Run alone
}

// identity is the same for repetitions of a delivery.
type identity struct {
	event, key string
	body       [sha256.Size]byte
}

type item struct {
	Held
	signature string
	identity  identity
	seq       uint64
	size      int64
	unlike    *[]string // secrets that it does not match; nil: it was not compared
	taking    bool      // it is not to be dropped
}

// sizeOf is what an item takes in memory, rounded up as the allocator does.
func sizeOf(h Held) int64 {
	size := int64(itemBytes)
	for _, value := range h.Envelope.Headers {
		size += int64(len(value))
	}
	body := int64(len(h.Envelope.Body))
	return size + body + min(body/4, 8<<10)
}

// Hold keeps a delivery for which [Keyring.Verify] has answered
// [ErrKnownInstallation], and reports whether it does: only one of an integration
// whose secrets are in a file. It is given to what [Keyring.Run] takes it with
// once there is a secret that it matches. For want of room those are dropped that
// were held first, of the integration that holds most.
func (k *Keyring) Hold(h Held, signature string) bool {
	r := k.of[h.Envelope.IntegrationID]
	if r == nil || r.file == "" {
		return false
	}
	// The texts may be pieces of larger ones, which would stay with them.
	for name, value := range h.Envelope.Headers {
		h.Envelope.Headers[name] = strings.Clone(value)
	}
	h.Envelope.IdempotencyKey = strings.Clone(h.Envelope.IdempotencyKey)
	it := &item{
		Held: h, signature: strings.Clone(signature), size: sizeOf(h),
		identity: identity{h.Envelope.EventType, h.Envelope.IdempotencyKey, sha256.Sum256([]byte(h.Envelope.Body))},
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.keys[it.identity] {
		return true
	}
	for k.held+it.size > maxHeldBytes {
		if !k.dropOne(r, it.size) {
			r.dropped++
			return false
		}
	}
	k.seq++
	it.seq = k.seq
	if r.keys == nil {
		r.keys = map[identity]bool{}
	}
	r.keys[it.identity] = true
	r.items = append(r.items, it)
	r.bytes += it.size
	k.held += it.size
	return true
}

// dropOne drops the oldest delivery of the integration that holds most, with what
// is coming for one of them. It reports whether there was any.
func (k *Keyring) dropOne(coming *ring, size int64) bool {
	var most *ring
	var bytes int64
	for _, r := range k.rings {
		takes := r.bytes
		if r == coming {
			takes += size
		}
		if r.oldest() != nil && takes > bytes {
			most, bytes = r, takes
		}
	}
	if most == nil {
		return false
	}
	k.remove(most, most.oldest())
	most.dropped++
	return true
}

// oldest returns the oldest item that may be dropped, or nil.
func (h *holding) oldest() *item {
	for _, it := range h.items {
		if !it.taking {
			return it
		}
	}
	return nil
}

func bySeq(it *item, seq uint64) int { return cmp.Compare(it.seq, seq) }

func (k *Keyring) remove(r *ring, it *item) {
	i, there := slices.BinarySearchFunc(r.items, it.seq, bySeq)
	if !there {
		return
	}
	r.items = slices.Delete(r.items, i, i+1)
	delete(r.keys, it.identity)
	r.bytes -= it.size
	k.held -= it.size
}

// expire drops what was held for too long.
func (k *Keyring) expire(r *ring) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(r.items) > 0 && time.Since(r.items[0].Received) > maxHeldFor {
		k.remove(r, r.items[0])
		r.dropped++
	}
}

// takeHeld gives what matches a secret by now to take, the oldest first.
func (k *Keyring) takeHeld(ctx context.Context, r *ring, take func(context.Context, Held) error) {
	taken, failed := 0, 0
	var failure error
	valid := r.valid.Load()
	for it := k.next(r, 0, valid); it != nil && ctx.Err() == nil; it = k.next(r, it.seq, valid) {
		if sentry.Verify(*valid, []byte(it.Envelope.Body), it.signature) != nil {
			k.leave(it, valid)
			continue
		}
		if err := take(ctx, it.Held); err != nil {
			k.leave(it, nil)
			failed, failure = failed+1, err
			continue
		}
		k.mu.Lock()
		k.remove(r, it)
		r.taken++
		k.mu.Unlock()
		taken++
	}
	if taken > 0 {
		r.log.InfoContext(ctx, "deliveries that were held match a Client Secret and are taken", "deliveries", taken)
	}
	if failed > 0 && !r.failing {
		r.log.ErrorContext(ctx, "deliveries that were held cannot be taken, trying again", "deliveries", failed, telemetry.KeyError, failure.Error())
	}
	r.failing = failed > 0
}

// next returns the first item after seq that was not compared with valid, and
// has it not dropped meanwhile. nil: there is none.
func (k *Keyring) next(r *ring, seq uint64, valid *[]string) *item {
	k.mu.Lock()
	defer k.mu.Unlock()
	from, _ := slices.BinarySearchFunc(r.items, seq+1, bySeq)
	for _, it := range r.items[from:] {
		if it.unlike != valid {
			it.taking = true
			return it
		}
	}
	return nil
}

// leave ends what next began: it stays, since it does not match the secrets, or
// with nil to be looked at again.
func (k *Keyring) leave(it *item, unlike *[]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	it.taking, it.unlike = false, unlike
}
