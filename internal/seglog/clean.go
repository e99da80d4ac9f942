package seglog

// sweep empties the first segment: what is of use in it is written again.
type sweep struct {
	segment *Segment
	records []Record
}

// MakeRoom gives up segments of which nothing is of use, and begins to empty the first
// one when that is worth it. It sees to it that there is a segment to write and a spare:
// the error says why there is none, when only what makes room should be written.
func (l *Log) MakeRoom() error {
	err := l.clean()
	prepared := l.prepare()
	if l.short = prepared != nil; l.short {
		return prepared
	}
	return err
}

func (l *Log) clean() error {
	if l.sweep != nil && len(l.sweep.records) == 0 {
		g := l.sweep.segment
		if l.sweep.records = l.left(g); len(l.sweep.records) > 0 {
			return l.setAside(g)
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
			if err := l.begin(g); err != nil {
				return err
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

// begin reads all of a segment again, to empty it. A page that the disk does not give is
// left out; if it gives none, it is not about single pages, and the segment stays.
func (l *Log) begin(g *Segment) (err error) {
	const page = 4096
	b := make([]byte, g.end)
	if l.readAt(g, b, 0) != nil {
		l.stuck = true
		for at := 0; at < len(b); at += page {
			if l.readAt(g, b[at:min(at+page, len(b))], int64(at)) == nil {
				l.stuck = false
			}
		}
		if l.stuck {
			return nil
		}
		err = l.setAside(g)
	}
	found, _ := g.scan(b)
	l.sweep = &sweep{g, found}
	return err
}

// victim returns the first segment if it is to be emptied, and else nil: if it has next
// to nothing of use, or if too much is of no use in all of them together. Where there is
// no room for more, any is that fits into what there is. The caller holds Options.Lock.
func (l *Log) victim() *Segment {
	if len(l.segments) == 0 || l.segments[0] == l.active || l.stuck {
		return nil
	}
	first, useless := l.segments[0], -2*l.o.SegmentSize
	for _, g := range l.segments {
		useless += g.size - g.Use
	}
	fits := l.active != nil && first.Use <= l.free()/2 || l.spare != nil && first.Use <= l.spare.size/2
	if first.Use == 0 || l.short && fits || !l.short && (first.Use <= first.size/8 || useless > l.o.MaxUseless) {
		return first
	}
	return nil
}

// Busy reports whether there is a segment to empty. The caller holds Options.Lock.
func (l *Log) Busy() bool { return l.sweep != nil || l.victim() != nil }

// Sweep calls take for the next records of the segment that is being emptied, about size
// bytes of those that are written again. take has them written with the next [Log.Write]
// if they are of use, and says how many bytes that are; with false this record has to
// wait, and those after it.
func (l *Log) Sweep(size int64, take func(Record) (n int64, ok bool)) {
	for l.sweep != nil && len(l.sweep.records) > 0 && size > 0 {
		n, ok := take(l.sweep.records[0])
		if !ok {
			return
		}
		size -= n
		l.sweep.records = l.sweep.records[1:]
	}
}
