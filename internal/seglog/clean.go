package seglog

import "slices"

// sweep empties a segment: what is of use in it is written again.
type sweep struct {
	segment *Segment
	records []Record
}

// Still reports whether a segment is there, other than except, whose number is from
// first to last.
func (l *Log) Still(first, last uint32, except *Segment) bool {
	return slices.ContainsFunc(l.segments, func(g *Segment) bool {
		return g != except && first <= g.number && g.number <= last
	})
}

// Bury notes that a record is of use for as long as there are segments whose number is
// from first to last, because it takes back what they have. The caller holds
// Options.Lock.
func (l *Log) Bury(at Place, first, last uint32) {
	for _, g := range l.segments {
		if g != at.Segment && first <= g.number && g.number <= last {
			if at.Segment.graves == nil {
				at.Segment.graves = map[uint32]int64{}
			}
			at.Segment.graves[g.number] += int64(at.Size)
			at.Segment.Use += int64(at.Size)
		}
	}
}

// MakeRoom gives up segments of which nothing is of use, and begins to empty another
// one when that is worth it. It sees to it that there is a segment to write and a spare:
// the error says why there is none, when only what makes room should be written.
func (l *Log) MakeRoom() error {
	err := l.clean()
	if prepared := l.prepare(); prepared != nil {
		return prepared
	}
	return err
}

func (l *Log) clean() error {
	if l.sweep != nil && len(l.sweep.records) == 0 {
		g := l.sweep.segment
		if l.sweep.records = l.left(g); len(l.sweep.records) > 0 {
			g.damaged = true
			return nil
		}
		l.sweep = nil
		if err := l.retire(g); err != nil {
			return err
		}
	}
	for l.sweep == nil {
		l.o.Lock.Lock()
		g := l.victim()
		empty := g != nil && g.Use == 0
		l.o.Lock.Unlock()
		switch {
		case g == nil:
			return nil
		case empty:
			if err := l.retire(g); err != nil {
				return err
			}
		default:
			if records, ok := l.salvage(g); ok {
				l.sweep = &sweep{g, records}
			} else {
				g.stuck = true
			}
		}
	}
	return nil
}

func (l *Log) left(g *Segment) []Record {
	l.o.Lock.Lock()
	defer l.o.Lock.Unlock()
	if g.Entries == 0 {
		return nil
	}
	return l.o.Left(g)
}

// salvage reads all of a segment again, to empty it. A page that the disk does not give
// is left out; if it gives none, it is not about single pages.
func (l *Log) salvage(g *Segment) (found []Record, ok bool) {
	const page = 4096
	b := make([]byte, g.end)
	if ok = l.readAt(g, b, 0) == nil; !ok {
		for at := 0; at < len(b); at += page {
			if l.readAt(g, b[at:min(at+page, len(b))], int64(at)) == nil {
				ok, g.damaged = true, true
			}
		}
	}
	found, _ = g.scan(b)
	return found, ok
}

// victim returns the segment that is best to be emptied, or nil if none has to be: one
// that is damaged or has next to nothing of use, or any if too much is of no use in all
// of them together, or without a spare if what it has fits in. The caller holds
// Options.Lock.
func (l *Log) victim() (best *Segment) {
	useless := -l.o.MaxUseless - 2*l.o.SegmentSize
	for _, g := range l.segments {
		useless += g.size - g.Use
		better := best == nil || g.damaged && !best.damaged ||
			g.damaged == best.damaged && g.Use*best.size < best.Use*g.size
		if g != l.active && !g.stuck && better {
			best = g
		}
	}
	if best == nil || best.damaged || best.Use <= best.size/8 || useless > 0 && best.Use < best.size*7/8 {
		return best
	}
	if room, _ := l.Room(); l.spare == nil && best.Use <= room/2 {
		return best
	}
	return nil
}

// Busy reports whether there is a segment to empty. The caller holds Options.Lock.
func (l *Log) Busy() bool { return l.sweep != nil || l.victim() != nil }

// Damaged reports whether a segment is there that is to be set aside.
func (l *Log) Damaged() bool {
	return slices.ContainsFunc(l.segments, func(g *Segment) bool { return g.damaged })
}

// Sweep calls take for the next records of the segment that is being emptied, about size
// bytes of those that are written again. take has them written with the next [Log.Write]
// if they are of use, although leaving is about to go, and says how many bytes that are;
// with false this record has to wait, and those after it.
func (l *Log) Sweep(size int64, take func(r Record, leaving *Segment) (n int64, ok bool)) {
	for l.sweep != nil && len(l.sweep.records) > 0 && size > 0 {
		n, ok := take(l.sweep.records[0], l.sweep.segment)
		if !ok {
			return
		}
		size -= n
		l.sweep.records = l.sweep.records[1:]
	}
}
