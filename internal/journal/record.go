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

	"github.com/tidwall/gjson"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/text"
)

// A record is a header and a payload under a checksum:
//
//	CRC-32C of all that follows, 4 bytes big endian | header in JSON, on one line | newline | payload
//
// A pending record has an [arrival] as its header and the delivery's body as
// its payload. A parked one has a [parking] and, byte for byte, the pending
// record that it was: so even one that cannot be read any more is kept as it is.

// arrival is the header of a pending record.
type arrival struct {
	Received   time.Time          `json:"received"`
	Envelope   sentry.Envelope    `json:"envelope"` // Body is empty: it is the payload
	Identity   identity           `json:"identity"`
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

// parking is the header of a parked record.
type parking struct {
	Parked time.Time `json:"parked"`
	Code   Code      `json:"code"`
	Reason string    `json:"reason"`
}

// errDamagedRecord says that a record is not what was once written.
var errDamagedRecord = errors.New("damaged record")

const crcSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal makes a record.
func seal[P string | []byte](header any, payload P) ([]byte, error) {
	text, err := json.Marshal(header) // has no newline
	if err != nil {
		return nil, fmt.Errorf("encode a record's header: %w", err)
	}
	record := make([]byte, crcSize, crcSize+len(text)+1+len(payload))
	record = append(record, text...)
	record = append(record, '\n')
	record = append(record, payload...)
	binary.BigEndian.PutUint32(record, crc32.Checksum(record[crcSize:], castagnoli))
	return record, nil
}

// whole checks the whole record and returns its header.
func whole(record []byte) (header []byte, err error) {
	if len(record) < crcSize || binary.BigEndian.Uint32(record) != crc32.Checksum(record[crcSize:], castagnoli) {
		return nil, fmt.Errorf("%w: wrong checksum", errDamagedRecord)
	}
	header, _, ok := bytes.Cut(record[crcSize:], []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("%w: no header", errDamagedRecord)
	}
	return header, nil
}

// peek is unseal without the checksum, which takes reading all of it: for
// lists.
func peek(record []byte, header any) (payload []byte, err error) {
	text, payload, ok := bytes.Cut(record[min(crcSize, len(record)):], []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("%w: no header", errDamagedRecord)
	}
	if err := json.Unmarshal(text, header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", errDamagedRecord, err)
	}
	return payload, nil
}

// unseal checks the whole record, reads its header and returns its payload.
func unseal(record []byte, header any) (payload []byte, err error) {
	if _, err := whole(record); err != nil {
		return nil, err
	}
	return peek(record, header)
}

// seal makes the pending record of a.
func (a arrival) seal() ([]byte, error) {
	body := a.Envelope.Body
	a.Envelope.Body = ""
	return seal(a, string(body))
}

// unsealArrival returns what [arrival.seal] was given. It keeps no reference to
// record.
func unsealArrival(record []byte) (arrival, error) {
	var a arrival
	body, err := unseal(record, &a)
	if err != nil {
		return arrival{}, err
	}
	a.Envelope.Body = sentry.Body(body)
	return a, nil
}

// entryOf returns what the index keeps of a pending record. It reads no more of
// the header than that, because all records are read like this at once.
func entryOf(record []byte) (entry, error) {
	header, err := whole(record)
	if err != nil {
		return entry{}, err
	}
	fields := gjson.GetManyBytes(header, "received", "envelope.integration_id", "envelope.idempotency_key",
		"identity", "operations.#.namespace", "about.project")
	var namespaces []string
	for _, namespace := range fields[4].Array() {
		namespaces = append(namespaces, namespace.String())
	}
	e := entry{
		delivery: digestOf(fields[1].String(), fields[2].String()),
		received: fields[0].Time(),
		size:     int64(len(record)),
		of:       Group{Integration: fields[1].String(), Namespaces: strings.Join(namespaces, "\n"), Project: fields[5].String()},
	}
	// A zero one is that of no delivery: whatever comes under this key is another.
	_ = e.identity.UnmarshalText([]byte(fields[3].String()))
	return e, nil
}

// parkedEntryOf returns what the index keeps of a parked record. One that was
// damaged has no delivery.
func parkedEntryOf(record []byte) parkedEntry {
	var p parking
	parked := parkedEntry{code: Damaged}
	if pending, err := unseal(record, &p); err == nil {
		parked.code = p.Code
		parked.entry, _ = entryOf(pending) // zero if it is damaged
	}
	parked.size = int64(len(record))
	return parked
}
