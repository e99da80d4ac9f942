package seglog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Damage is a part of a segment that a record was in, and is not.
type Damage struct {
	Name     string // of the file
	From, To int64
	Torn     bool   // nobody was told that it was durable: the power failed, as a rule
	Aside    string // what the file is called, too, so that it stays; unless Torn
	Known    bool   // since before: it was set aside then
	Err      error  // why it could not be set aside
}

// New returns a log. [Log.Load] is to be called first, then [Log.Begin].
func New(o Options) *Log { return &Log{o: o} }

// Load reads the log. It calls visit for each record, in their order, and damaged for each
// damage; what they are given is valid until they return. unproven are the records that
// are there but may not be durable: [Log.Begin] has to write them again. A disk that
// cannot be read is an error.
func (l *Log) Load(visit func(Record), damaged func(Damage)) (unproven []Record, err error) {
	names, err := l.o.Disk.List()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if g, ok := segmentOf(name); ok {
			l.segments = append(l.segments, g)
			l.number = max(l.number, g.number)
		}
	}
	slices.SortFunc(l.segments, func(a, b *Segment) int { return cmp.Compare(a.number, b.number) })
	ends := map[uint32]int64{}
	for _, g := range l.segments {
		if err := l.readEnds(g, ends); err != nil {
			return nil, err
		}
	}
	var b []byte
	for _, g := range l.segments {
		end, known := ends[g.number]
		limit := g.size
		if known {
			limit = min(end, limit)
		}
		b = slices.Grow(b[:0], int(limit))[:limit]
		if err := l.readAt(g, b, 0); err != nil {
			return nil, err
		}
		found, bad := g.scan(b)
		last := int64(0)
		for _, r := range found {
			last = r.end()
			if !known {
				end = max(end, r.synced)
			}
		}
		if len(bad) > 0 {
			last = max(last, bad[len(bad)-1].to)
		}
		if last < end { // nothing is left of it
			bad = append(bad, stretch{last, end})
		}
		g.end = end
		for _, where := range bad {
			d := Damage{Name: g.name(), From: where.from, To: where.to, Torn: where.from >= end, Aside: g.aside()}
			if d.Known = slices.Contains(names, d.Aside); !d.Torn {
				d.Err = l.setAside(g)
			}
			damaged(d)
		}
		g.blank = !g.spoilt
		for _, r := range found {
			if r.Offset == 0 && len(r.Payload) >= headerSize { // there is nothing else
				l.last = max(l.last, order.Uint64(r.Payload[headerSize-8:]))
				continue
			}
			g.blank = false
			visit(r)
			if int64(r.Offset) >= end {
				r.Payload = bytes.Clone(r.Payload)
				unproven = append(unproven, r)
				g.open = true
			}
		}
	}
	return unproven, nil
}

// readEnds reads the size of a segment, and what its header says of the others' ends.
func (l *Log) readEnds(g *Segment, ends map[uint32]int64) error {
	f, err := l.o.Disk.Open(g.name())
	if err != nil {
		return err
	}
	defer f.Close()
	if g.size, err = f.Size(); err != nil {
		return err
	}
	b := make([]byte, min(g.size, FrameSize))
	for range 2 { // it says how long it is
		if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(b) < FrameSize || order.Uint64(b) != g.salt {
			return nil // it is empty, or damaged
		}
		b = append(b, make([]byte, min(g.size, FrameSize+int64(order.Uint32(b[12:])))-int64(len(b)))...)
	}
	payload, _, ok := unframe(b, g.salt)
	switch {
	case !ok || len(payload) < headerSize:
		return nil
	case payload[0] != version:
		return fmt.Errorf("%s is of version %d, this program knows %d", g.name(), payload[0], version)
	}
	for rest := payload[headerSize:]; len(rest) >= 8; rest = rest[8:] {
		ends[order.Uint32(rest)] = int64(order.Uint32(rest[4:]))
	}
	return nil
}

// setAside gives the file of a damaged segment a second name, which it keeps.
func (l *Log) setAside(g *Segment) error {
	g.spoilt, l.changed = true, true
	if err := l.o.Disk.Link(g.name(), g.aside()); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// Last is the highest that Options.Last ever gave, as far as it is known.
func (l *Log) Last() uint64 { return l.last }

// Begin begins a segment, because none that was there is written to, and makes payloads
// durable in it. Only then do headers say where the segments end that the unproven
// records are in. On a disk that is full there may be none to begin: the log can be used
// all the same, and will begin one when there is room.
func (l *Log) Begin(payloads [][]byte) ([]Place, error) {
	for _, g := range slices.Clone(l.segments) {
		if g.blank && l.spare == nil {
			if err := l.retire(g); err != nil {
				return nil, err
			}
		}
	}
	if l.spare == nil {
		var err error
		if l.spare, err = l.create(l.o.SegmentSize); err != nil {
			for _, g := range l.segments {
				if g.open { // all of it is read when it is emptied
					g.end = g.size
				}
			}
			return nil, err
		}
	}
	if err := l.roll(); err != nil {
		return nil, err
	}
	places, err := l.append(payloads)
	if err == nil {
		for _, g := range l.segments {
			g.open = false
		}
	}
	return places, err
}
