package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/tidwall/gjson"

	"sentry-temporal/internal/sentry"
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
	Received time.Time       `json:"received"`
	Envelope sentry.Envelope `json:"envelope"`        // Body is empty: it is the payload
	Trace    string          `json:"trace,omitempty"` // what Options.Inject gave
}

// parking is the header of a parked record.
type parking struct {
	Parked time.Time `json:"parked"`
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

// split checks the whole record and returns its two parts.
func split(record []byte) (header, payload []byte, err error) {
	if len(record) < crcSize || binary.BigEndian.Uint32(record) != crc32.Checksum(record[crcSize:], castagnoli) {
		return nil, nil, fmt.Errorf("%w: wrong checksum", errDamagedRecord)
	}
	header, payload, ok := bytes.Cut(record[crcSize:], []byte{'\n'})
	if !ok {
		return nil, nil, fmt.Errorf("%w: no header", errDamagedRecord)
	}
	return header, payload, nil
}

// unseal is split with the header read into header.
func unseal(record []byte, header any) (payload []byte, err error) {
	text, payload, err := split(record)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", errDamagedRecord, err)
	}
	return payload, nil
}

// sealDelivery makes the pending record of env.
func sealDelivery(env sentry.Envelope, received time.Time, trace string) ([]byte, error) {
	body := env.Body
	env.Body = ""
	return seal(arrival{Received: received.UTC(), Envelope: env, Trace: trace}, string(body))
}

// unsealDelivery returns the envelope and the trace that [sealDelivery] was
// given. It keeps no reference to record.
func unsealDelivery(record []byte) (env sentry.Envelope, trace string, err error) {
	var a arrival
	body, err := unseal(record, &a)
	if err != nil {
		return sentry.Envelope{}, "", err
	}
	a.Envelope.Body = sentry.Body(body)
	return a.Envelope, a.Trace, nil
}

// entryOf returns what the index keeps of a pending record. It reads no more of
// the header than that, because all records are read like this at once.
func entryOf(record []byte) (entry, error) {
	header, _, err := split(record)
	if err != nil {
		return entry{}, err
	}
	fields := gjson.GetManyBytes(header, "received", "envelope.integration_id", "envelope.idempotency_key")
	return entry{
		delivery: digestOf(fields[1].String(), fields[2].String()),
		received: fields[0].Time(),
		size:     int64(len(record)),
	}, nil
}
