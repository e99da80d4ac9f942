package journal

import (
	"errors"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/telemetry"
)

// formerName is that of the file of a journal before there were segments.
const formerName = "journal.db"

// recover reads the log, and goes on with it.
func (j *Journal) recover(d seglog.Disk) error {
	if names, err := d.List(); err != nil {
		return err
	} else if slices.Contains(names, formerName) {
		return errors.New(formerName + " is the journal of an earlier version, which this one cannot read: have that one empty it, and take it away")
	}
	j.store = seglog.New(seglog.Options{
		Disk: d, SegmentSize: segmentSize(j.maxBytes), MaxUseless: j.maxBytes / 2, Lock: &j.mu, Left: j.leftIn,
		Last: func() uint64 {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.last
		},
	})
	// An index of a million deliveries would have as much garbage beside it.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	unproven, err := j.store.Load(j.replay, j.damaged)
	if err != nil {
		return err
	}
	j.last = max(j.last, j.store.Last())
	for e := range j.index.from(0) {
		j.held[e.group.Integration] += e.held()
	}
	// What may be in memory only is written again before anybody relies on it.
	var payloads [][]byte
	var changes []*change
	for _, r := range unproven {
		if c := j.copyOf(r, true); c != nil {
			changes, payloads = append(changes, c), append(payloads, c.payload)
		}
	}
	places, err := j.store.Begin(payloads)
	if noRoom(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, c := range changes {
		c.end(places[i], nil)
	}
	return nil
}

// segmentSize returns the size of segments where deliveries may take so many bytes. One
// has room for what says that all of them are done.
func segmentSize(maxBytes int64) int64 { return min(max(maxBytes/64, 64<<10), 8<<20) &^ 4095 }

// replay notes what a record says.
func (j *Journal) replay(r seglog.Record) {
	p := r.Payload
	switch p[0] {
	case keptRecord:
		k, err := decodeKept(p)
		if err != nil {
			return
		}
		j.last = max(j.last, k.id, k.position)
		j.index.put(entry{
			delivery: k.delivery, identity: k.identity, id: k.id, position: k.position, received: k.received,
			group: j.index.groupOf(k.group), at: r.Place, parked: k.parked != 0,
		}, Code(k.code))
	default:
		id, at, done, err := decodeDone(p)
		if err != nil {
			return
		}
		j.last = max(j.last, id)
		j.index.drop(id)
		if p[0] == doneRecord {
			j.memory.add(at, done)
			j.memory.written(at, id, r.Place)
		}
	}
}

// damaged says what is wrong with the log.
func (j *Journal) damaged(d seglog.Damage) {
	log := j.log.With(keyPath, filepath.Join(j.dir, d.Name), "damaged_from", d.From, "damaged_to", d.To)
	if d.Torn {
		log.Warn("the end of the journal is cut short, as when the power fails: what was being written is left out")
		return
	}
	switch {
	case d.Err != nil:
		log.Error("the journal is damaged: what was there is lost, and the file cannot be set aside", telemetry.KeyError, d.Err.Error())
	case !d.Known:
		log.Error("the journal is damaged: what was there is lost", "set_aside", filepath.Join(j.dir, d.Aside))
	}
}

// leftIn returns what is kept in a segment and cannot be read there any more, as it is to
// be written elsewhere: what is known of it, parked. The caller holds j.mu.
func (j *Journal) leftIn(g *seglog.Segment) (left []seglog.Record) {
	for e := range j.index.from(0) {
		if e.at.Segment == g {
			k := e.rest(Damaged)
			k.parked, k.reason = time.Now().UnixNano(), []byte(ErrDamaged.Error())
			left = append(left, seglog.Record{Place: e.at, Payload: k.encode(0)})
		}
	}
	return left
}
