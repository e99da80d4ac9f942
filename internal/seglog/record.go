package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// ErrDamaged says that a record is not what was once written.
var ErrDamaged = errors.New("damaged record")

const (
	// FrameSize is what a record has besides its payload, in bytes.
	FrameSize = 8 + 4 + 4 + 4

	// The payload of the first record in a segment is: version 1, number of the
	// segment 4, what Options.Last gave 8, and for each segment number 4 and end 4.
	headerSize = 1 + 4 + 8
	version    = 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	order      = binary.LittleEndian
)

// Place is where a record is.
type Place struct {
	Segment      *Segment
	Offset, Size uint32
}

// Record is a record of a log.
type Record struct {
	Place
	Payload []byte

	synced int64
}

func (r Record) end() int64 { return int64(r.Offset) + int64(r.Size) }

// frame appends a record to b.
func frame(b []byte, salt uint64, synced int64, payload []byte) []byte {
	start := len(b)
	b = order.AppendUint64(b, salt)
	b = order.AppendUint32(b, 0)
	b = order.AppendUint32(b, uint32(len(payload)))
	b = order.AppendUint32(b, uint32(synced))
	b = append(b, payload...)
	order.PutUint32(b[start+8:], crc32.Checksum(b[start+12:], castagnoli))
	return b
}

// unframe returns the record that b begins with, and false if that is none.
func unframe(b []byte, salt uint64) (payload []byte, synced int64, ok bool) {
	if len(b) < FrameSize || order.Uint64(b) != salt {
		return nil, 0, false
	}
	size := uint64(order.Uint32(b[12:]))
	if size > uint64(len(b)-FrameSize) {
		return nil, 0, false
	}
	end := FrameSize + int(size)
	if crc32.Checksum(b[12:end], castagnoli) != order.Uint32(b[8:]) {
		return nil, 0, false
	}
	return b[FrameSize:end], int64(order.Uint32(b[16:])), true
}

// stretch is from where to where in a segment something is that is no record, although
// one was there.
type stretch struct{ from, to int64 }

// scan returns the records among the first bytes of a segment, and what is between them
// or begins like one.
func (g *Segment) scan(b []byte) (found []Record, bad []stretch) {
	mark := order.AppendUint64(nil, g.salt)
	for at := 0; at < len(b); {
		if payload, synced, ok := unframe(b[at:], g.salt); ok {
			r := Record{Place{g, uint32(at), FrameSize + uint32(len(payload))}, payload, synced}
			found = append(found, r)
			at = int(r.end())
			continue
		}
		begun, next := false, at
		for ; ; next++ {
			step := bytes.Index(b[next:], mark)
			if step < 0 {
				next = len(b)
				break
			}
			begun = true
			next += step
			if _, _, ok := unframe(b[next:], g.salt); ok {
				break
			}
		}
		if begun {
			bad = append(bad, stretch{int64(at), int64(next)})
		}
		at = next
	}
	return found, bad
}
