package journal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// The first byte of a record's payload says what it is. Integers are little endian.
// Which record of a delivery counts is decided by their order; all of them repeat
// harmlessly.
const (
	keptRecord  = 'k' // a delivery, as it is from now on: pending or parked
	doneRecord  = 'd' // the runs of a delivery are started; a grave as well
	graveRecord = 'g' // a delivery is not kept any more
)

var order = binary.LittleEndian

// kept is a delivery as a record has it.
type kept struct {
	id, position     uint64
	received, parked int64 // Unix nanoseconds; parked is 0 for one that is pending
	identity         identity
	delivery         digest
	group            []byte // a Group, see its encode
	code, reason     []byte // for which it is parked
	head             []byte // in JSON; empty for what is left of a damaged record
	body             []byte
}

// head is what a record has that is not needed without reading it.
type head struct {
	Envelope   sentry.Envelope    `json:"envelope"` // without its body
	About      about              `json:"about"`
	Operations []routes.Operation `json:"operations"`
	Trace      string             `json:"trace,omitempty"` // what Options.Inject gave
}

// about is what a delivery is listed with, cut to what a line shows.
type about struct {
	Project string `json:"project"`
	IssueID string `json:"issue_id"`
	ShortID string `json:"short_id"`
	Title   string `json:"title"`
}

// maxAbout bounds each text of an [about], in bytes.
const maxAbout = 200

func aboutOf(s sentry.Subject) about {
	short := func(s string) string { return text.Cut(text.Line(s), maxAbout) }
	return about{Project: short(s.Project), IssueID: short(s.IssueID), ShortID: short(s.ShortID), Title: short(s.Title)}
}

// keptSize is the size of what is in a kept payload before its texts.
const keptSize = 1 + 4*8 + len(identity{}) + len(digest{})

// encode returns the payload of k, with room for a body that is not in k.
func (k kept) encode(room int) []byte {
	b := append(make([]byte, 0, k.bodyAt()+len(k.body)+room), keptRecord)
	for _, n := range []uint64{k.id, k.position, uint64(k.received), uint64(k.parked)} {
		b = order.AppendUint64(b, n)
	}
	b = append(append(b, k.identity[:]...), k.delivery[:]...)
	for _, text := range [][]byte{k.group, k.code, k.reason, k.head} {
		b = appendText(b, text)
	}
	return append(b, k.body...)
}

// stamp gives an encoded delivery its numbers, which are 0 until it has a turn.
func stamp(payload []byte, id, position uint64) {
	order.PutUint64(payload[1:], id)
	order.PutUint64(payload[9:], position)
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(order.AppendUint32(b, uint32(len(text))), text...)
}

// cutText returns the text that b begins with, and the rest of b.
func cutText(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 4 || uint64(order.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, false
	}
	end := 4 + int(order.Uint32(b))
	return b[4:end], b[end:], true
}

// decodeKept returns what encode was given. It refers to payload, of which the body
// may be missing.
func decodeKept(payload []byte) (k kept, err error) {
	if len(payload) < keptSize || payload[0] != keptRecord {
		return kept{}, fmt.Errorf("%w: not a delivery", ErrDamaged)
	}
	k.id, k.position = order.Uint64(payload[1:]), order.Uint64(payload[9:])
	k.received, k.parked = int64(order.Uint64(payload[17:])), int64(order.Uint64(payload[25:]))
	k.identity, k.delivery = identity(payload[33:]), digest(payload[33+len(identity{}):])
	k.body = payload[keptSize:]
	for _, text := range []*[]byte{&k.group, &k.code, &k.reason, &k.head} {
		var ok bool
		if *text, k.body, ok = cutText(k.body); !ok {
			return kept{}, fmt.Errorf("%w: cut short", ErrDamaged)
		}
	}
	return k, nil
}

// bodyAt is where the body is in the payload of k.
func (k kept) bodyAt() int {
	return keptSize + 4*4 + len(k.group) + len(k.code) + len(k.reason) + len(k.head)
}

// read returns all that k is. It keeps no reference to what k refers to.
func (k kept) read() (h head, err error) {
	if len(k.head) == 0 {
		return head{}, fmt.Errorf("%w: only this is left of it", ErrDamaged)
	}
	if err := json.Unmarshal(k.head, &h); err != nil {
		return head{}, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	h.Envelope.Body = sentry.Body(k.body)
	return h, nil
}

// Group is what deliveries are told apart by when they are forwarded.
type Group struct {
	Integration string
	Namespaces  string // those of the operations, see [NamespacesOf]; empty for a record without a plan
	Project     string // slug; empty where unknown
}

// NamespacesOf returns the namespaces of operations, in their order and a line each:
// a [Group] has to be comparable.
func NamespacesOf(operations []routes.Operation) string {
	namespaces := make([]string, len(operations))
	for i, o := range operations {
		namespaces[i] = o.Namespace
	}
	return strings.Join(namespaces, "\n")
}

func (g Group) encode() []byte {
	return appendText(appendText(appendText(nil, g.Integration), g.Namespaces), g.Project)
}

// decodeGroup returns the group that b, of a kept, is.
func decodeGroup(b []byte) Group {
	integration, b, _ := cutText(b)
	namespaces, b, _ := cutText(b)
	project, _, _ := cutText(b)
	return Group{string(integration), string(namespaces), string(project)}
}

// graveSize is the size of what says that a delivery is not kept any more.
const graveSize = 1 + 8

func grave(id uint64) []byte { return order.AppendUint64([]byte{graveRecord}, id) }

// encodeDone returns the payload of a delivery whose runs are started.
func encodeDone(at digest, r ran) []byte {
	b := order.AppendUint64([]byte{doneRecord}, r.id)
	return append(append(append(b, r.identity[:]...), at[:]...), r.runs...)
}

// decodeDone returns what encodeDone was given, or of a grave the ID alone.
func decodeDone(payload []byte) (id uint64, at digest, r ran, err error) {
	b := payload[min(graveSize, len(payload)):]
	switch {
	case len(payload) >= graveSize && payload[0] == graveRecord:
	case len(payload) >= graveSize && payload[0] == doneRecord && len(b) >= len(identity{})+len(digest{}):
		at = digest(b[len(identity{}):])
		r = ran{id: order.Uint64(payload[1:]), identity: identity(b), runs: string(b[len(identity{})+len(digest{}):])}
	default:
		return 0, digest{}, ran{}, fmt.Errorf("%w: cut short", ErrDamaged)
	}
	return order.Uint64(payload[1:]), at, r, nil
}
