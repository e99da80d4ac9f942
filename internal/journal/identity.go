package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/sentry"
)

// identity stands for a delivery's event and body. Together with integration
// and idempotency key it tells a repetition from another delivery that came
// under the same Request-ID, which nobody has signed.
type identity [16]byte

func identityOf(env sentry.Envelope) identity {
	h := sha256.New()
	_, _ = h.Write([]byte(env.EventType)) // a hash never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(env.Body))
	return identity(h.Sum(nil)[:len(identity{})])
}

// keys returns the idempotency keys that a delivery may have, the first free
// one first: that which it came with, that with 16 digits of its identity, and,
// should somebody have sent just this as a Request-ID, a digest of all.
func (i identity) keys(key string) [3]string {
	all := sha256.Sum256([]byte(key + "\x00" + string(i[:])))
	return [3]string{key, key + "-" + hex.EncodeToString(i[:8]), "sha256-" + hex.EncodeToString(all[:])}
}

// digest stands for an integration and an idempotency key.
type digest [16]byte

// digestOf hashes because a key can be long, and the memory that a backlog
// takes must not depend on it.
func digestOf(integration, key string) digest {
	sum := sha256.Sum256([]byte(integration + "\x00" + key))
	return digest(sum[:])
}

// maxMemory is how many deliveries are remembered whose runs are started.
const maxMemory = 100_000

// Ran is a run that a delivery has.
type Ran struct {
	Namespace  string
	WorkflowID string
	RunID      string
	Existing   bool // it was there before the delivery was forwarded
}

// ran is a delivery whose runs are started.
type ran struct {
	id       uint64 // 0 for one that was never kept
	identity identity
	runs     string       // packed: 100,000 of them stay in memory
	turn     int          // in the order of the memory
	at       seglog.Place // of its record; zero before it is written
}

func pack(runs []Ran) string {
	parts := make([]string, 0, 4*len(runs))
	for _, r := range runs {
		existing := ""
		if r.Existing {
			existing = "existing"
		}
		parts = append(parts, r.Namespace, r.WorkflowID, r.RunID, existing)
	}
	return strings.Join(parts, "\n")
}

func (r ran) unpack() []Ran {
	parts := strings.Split(r.runs, "\n")
	var runs []Ran
	for part := range slices.Chunk(parts, 4) {
		if len(part) == 4 {
			runs = append(runs, Ran{part[0], part[1], part[2], part[3] != ""})
		}
	}
	return runs
}

// memory knows the deliveries that were done last.
type memory struct {
	ran   map[digest]ran
	order []digest // a ring once it is full
	next  int
}

// add remembers r. Its record, or that of one that is forgotten for it, is of no use
// any more.
func (m *memory) add(at digest, r ran) {
	before, there := m.ran[at]
	switch {
	case there:
		r.turn = before.turn
	case len(m.order) < maxMemory:
		r.turn = len(m.order)
		m.order = append(m.order, at)
	default:
		r.turn = m.next
		m.next = (m.next + 1) % maxMemory
		before = m.ran[m.order[r.turn]]
		delete(m.ran, m.order[r.turn])
		m.order[r.turn] = at
	}
	release(before.at)
	m.ran[at] = r
}

// written notes where the record of a delivery is, if that is still remembered.
func (m *memory) written(at digest, id uint64, record seglog.Place) {
	if r, ok := m.ran[at]; ok && r.id == id {
		release(r.at)
		r.at = record
		record.Segment.Use += int64(record.Size)
		m.ran[at] = r
	}
}

// release notes that a record is of no use any more.
func release(p seglog.Place) {
	if p.Segment != nil {
		p.Segment.Use -= int64(p.Size)
	}
}
