package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

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

// MarshalText implements [encoding.TextMarshaler].
func (i identity) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, i[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (i *identity) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(i) {
		return fmt.Errorf("identity of %d digits", len(text))
	}
	_, err := hex.Decode(i[:], text)
	return err
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
	identity identity
	runs     string // packed: 100,000 of them stay in memory
	place    int    // in the order of the memory
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

// doneRecord is the record of a delivery that is done, so that it is known after a restart.
type doneRecord struct {
	At       identity `json:"at"` // a digest
	Identity identity `json:"identity"`
	Runs     string   `json:"runs"`
}

func (r ran) seal(at digest) ([]byte, error) {
	return seal(doneRecord{At: identity(at), Identity: r.identity, Runs: r.runs}, "")
}

func unsealDone(record []byte) (at digest, r ran, err error) {
	var d doneRecord
	if _, err := unseal(record, &d); err != nil {
		return digest{}, ran{}, err
	}
	return digest(d.At), ran{identity: d.Identity, runs: d.Runs}, nil
}

// memory knows the deliveries that were done last.
type memory struct {
	ran   map[digest]ran
	order []remembered // a ring once it is full
	next  int
}

// remembered is a delivery in a memory: the record with this ID says so in the
// file, 0 for none.
type remembered struct {
	at digest
	id uint64
}

// add remembers r, of which the record id is, and returns the ID of a record that
// is of no use any more, or 0.
func (m *memory) add(at digest, r ran, id uint64) (obsolete uint64) {
	before, there := m.ran[at]
	switch {
	case there:
		r.place = before.place
		obsolete = m.order[r.place].id
	case len(m.order) < maxMemory:
		r.place = len(m.order)
		m.order = append(m.order, remembered{})
	default:
		r.place = m.next
		m.next = (m.next + 1) % maxMemory
		obsolete = m.order[r.place].id
		delete(m.ran, m.order[r.place].at)
	}
	m.order[r.place] = remembered{at, id}
	m.ran[at] = r
	return obsolete
}
