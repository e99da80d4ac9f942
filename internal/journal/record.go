package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// A segment is a file journal-<number>-<salt>.log of a fixed size, or of the size of
// one record that is larger. It is records, one after the other, and then whatever was
// in the file before. A record is a frame and a payload; integers are little endian:
//
//	salt 8 | CRC-32C of all that follows 4 | size of the payload 4 | synced 4 | payload
//
// The salt is that of the segment, drawn at random when the file gets its name: what
// was written under another name is no record here, nor is anything that a sender can
// write. So the next record after a damaged one is found by its salt, wherever it is.
// What is before synced in this segment was durable when the record was written: a
// record that is missing there is damage, and one after it was cut short.
//
// The first byte of a payload says what it is. Which record counts is decided by their
// order, that of the numbers and then of the places; all of them repeat harmlessly.
//
//	header  the first record of a segment: its number, the last ID given, and where
//	        each segment there is ends, so that nothing behind that is believed
//	kept    a delivery, as it is from now on: pending or parked
//	done    the runs of a delivery are started; a grave as well
//	grave   a delivery is not kept any more. It is of use as long as a segment is there
//	        that has, or may have, a record of the delivery: one from first to last
const (
	frameSize = 8 + 4 + 4 + 4

	headerRecord = 'h'
	keptRecord   = 'k'
	doneRecord   = 'd'
	graveRecord  = 'g'

	version = 1
)

// errDamagedRecord says that a record is not what was once written.
var errDamagedRecord = errors.New("damaged record")

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	order      = binary.LittleEndian
)

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
	if len(b) < frameSize || order.Uint64(b) != salt {
		return nil, 0, false
	}
	size := uint64(order.Uint32(b[12:]))
	if size > uint64(len(b)-frameSize) {
		return nil, 0, false
	}
	end := frameSize + int(size)
	if crc32.Checksum(b[12:end], castagnoli) != order.Uint32(b[8:]) {
		return nil, 0, false
	}
	return b[frameSize:end], int64(order.Uint32(b[16:])), true
}
