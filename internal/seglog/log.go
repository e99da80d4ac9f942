// Package seglog is a log of records on disk, in files of one size that are written from
// their beginning to their end, and used again once nothing in them is of use.
//
// A segment is a file journal-<number>-<salt>.log. It has records, one after the other,
// and then whatever was in the file before. A record is a frame and a payload; integers
// are little endian:
//
//	salt 8 | CRC-32C of all that follows 4 | size of the payload 4 | synced 4 | payload
//
// The salt is that of the segment, drawn at random when the file gets its name: what was
// written under another name is no record here, nor is anything that a sender can make
// up. So the next record after a damaged one is found by its salt, wherever it is. What
// is before synced in its segment was durable when the record was written: what is
// missing there is damage, and what is missing after it was cut short.
//
// The first record of a segment says where all the others end: a sync may have failed
// there, and what is behind is not to be believed.
//
// Segments are given up in their order, the first one first, and durably so before the
// next: what takes a record back stands behind it, and so outlives it. What is of use in
// the first one is written again before.
package seglog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// What the names of segments begin and end with.
const (
	prefix    = "journal-"
	extension = ".log"
)

// touched is a file that is made to be taken away.
const touched = "journal.touched"

// ErrNoSpare means that there is no segment that could be written.
var ErrNoSpare = errors.New("no segment to write to")

// Segment is one file of a log.
type Segment struct {
	number uint32
	salt   uint64
	size   int64
	end    int64 // of what is written and durable; 0 for a spare
	file   File  // nil once nothing more is written to it
	open   bool  // where it ends is not said yet
	spoilt bool  // it is damaged, or a write or sync has failed in it: it is not used again
	blank  bool  // nothing but a header was ever in it
	gone   bool  // its file has another name, or none, though perhaps not durably

	// With Options.Lock held:

	Use     int64 // bytes of the records that are of use
	Entries int   // those among them that Options.Left is about
}

func (g *Segment) name() string { return fmt.Sprintf(prefix+"%08x-%016x"+extension, g.number, g.salt) }

func (g *Segment) aside() string { return "damaged-" + g.name() }

// segmentOf returns the segment of a file with this name, if it is one's.
func segmentOf(name string) (*Segment, bool) {
	parts := strings.Split(strings.TrimSuffix(name, extension), "-")
	if len(parts) != 3 {
		return nil, false
	}
	number, err1 := strconv.ParseUint(parts[1], 16, 32)
	salt, err2 := strconv.ParseUint(parts[2], 16, 64)
	g := &Segment{number: uint32(number), salt: salt}
	return g, errors.Join(err1, err2) == nil && g.name() == name
}

// Options are what a [Log] is opened with. All are needed.
type Options struct {
	Disk        Disk
	SegmentSize int64 // in bytes; a large record at the end may make one larger
	MaxUseless  int64 // bytes that may be of no use, and are not written over yet
	// Lock is held by who changes what is of use, and while it is looked at.
	Lock sync.Locker
	// Last gives a number that is kept for as long as there is a segment.
	Last func() uint64
	// Left is called with Lock held. It returns those records of use that a segment
	// should have and does not any more, as they are to be written elsewhere.
	Left func(*Segment) []Record
}

// Log is a log. One goroutine at a time may use it, but for Read.
type Log struct {
	o         Options
	segments  []*Segment // all but spare, ascending by number
	active    *Segment   // the last of them; nil if nothing can be written to it any more
	spare     *Segment   // an empty one, so that there is room for what needs some; may be nil
	number    uint32     // the highest that there is
	last      uint64
	changed   bool // the directory, and that is not durable yet
	unsettled bool // and the last sync of it failed
	stuck     bool // the first segment cannot be read
	short     bool // there is no room for more than what makes some
	buffer    []byte
	sweep     *sweep
}

// next returns a segment that has no file yet.
func (l *Log) next(size int64) *Segment {
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // never fails
	l.number++
	return &Segment{number: l.number, salt: order.Uint64(salt[:]), size: size}
}

// create makes a segment with a file of its own, which has all of its blocks, and has
// them, too, when the power has failed.
func (l *Log) create(size int64) (_ *Segment, err error) {
	g := l.next(size)
	l.changed = true
	if g.file, err = l.o.Disk.Create(g.name(), size); err != nil {
		return nil, err
	}
	if err := g.file.Sync(); err != nil {
		return nil, errors.Join(err, l.discard(g))
	}
	return g, nil
}

// discard takes away a segment that nothing was written to.
func (l *Log) discard(g *Segment) error {
	return errors.Join(g.file.Close(), l.o.Disk.Remove(g.name()))
}

// settle makes durable which files there are. After a sync that failed what was changed
// before counts as written: the directory has to be changed again.
func (l *Log) settle() error {
	if !l.changed {
		return nil
	}
	if l.unsettled {
		f, err := l.o.Disk.Create(touched, 0)
		if err == nil {
			err = f.Close()
		}
		if err == nil || errors.Is(err, os.ErrExist) {
			err = l.o.Disk.Remove(touched)
		}
		if err != nil {
			return err
		}
	}
	err := l.o.Disk.Sync()
	l.unsettled, l.changed = err != nil, err != nil
	return err
}

// header returns the payload of the first record of a segment.
func (l *Log) header(of *Segment) []byte {
	b := order.AppendUint32([]byte{version}, of.number)
	b = order.AppendUint64(b, l.o.Last())
	for _, g := range l.segments {
		if g != of && !g.open {
			b = order.AppendUint32(order.AppendUint32(b, g.number), uint32(g.end))
		}
	}
	return b
}

// headerRecord is the size of the next header's record.
func (l *Log) headerRecord() int64 { return FrameSize + headerSize + 8*int64(len(l.segments)) }

// free returns how many bytes of records fit into the active segment.
func (l *Log) free() int64 {
	if l.active.end == 0 {
		return l.active.size - l.headerRecord()
	}
	return l.active.size - l.active.end
}

// rolls reports whether a record of this size begins another segment. Only a large one
// makes the segment larger that it is the last of: it would leave much of it unused.
func (l *Log) rolls(size int64) bool {
	return l.active == nil || size > l.free() && size <= l.o.SegmentSize/8
}

// Room returns how many bytes of records the next [Log.Write] may write if the first of
// them takes so many; 0 if that cannot be written.
func (l *Log) Room(first int64) int64 {
	switch {
	case l.spare == nil: // what makes room must not need any
		if l.active == nil || first > l.free() {
			return 0
		}
		return l.free()
	case l.rolls(first):
		return l.spare.size - l.headerRecord()
	}
	return max(first, l.free())
}

// roll makes the spare the active segment.
func (l *Log) roll() error {
	if l.spare == nil {
		return ErrNoSpare
	}
	if err := l.settle(); err != nil {
		return err
	}
	l.giveUp()
	l.active, l.spare = l.spare, nil
	l.segments = append(l.segments, l.active)
	return nil
}

// giveUp has the active segment not written any more.
func (l *Log) giveUp() {
	if l.active != nil {
		_ = l.active.file.Close() // what is in it is durable, or is not counted on
		l.active.file, l.active = nil, nil
	}
}

// prepare sees to it that there is an active segment with room for what is not large,
// and a spare. What makes room may roll into the spare when there is no other; nothing
// else does, so that there is one when the log is opened on a disk that is full.
func (l *Log) prepare() error {
	for l.active == nil || l.spare == nil || l.free() < l.o.SegmentSize/8 {
		another := l.spare
		if l.active != nil || l.spare == nil {
			var err error
			if another, err = l.create(l.o.SegmentSize); err != nil {
				return fmt.Errorf("make a segment: %w", err)
			}
		}
		if l.spare == nil {
			l.spare = another
			continue
		}
		if err := l.roll(); err != nil {
			if another != l.spare {
				err = errors.Join(err, l.discard(another))
			}
			return fmt.Errorf("begin a segment: %w", err)
		}
		if another != l.active {
			l.spare = another
		}
	}
	if err := l.settle(); err != nil {
		return fmt.Errorf("make a segment: %w", err)
	}
	return nil
}

// Write makes payloads durable and returns where they are. A segment that a write or
// sync has failed in is never written again, because the next sync would succeed for
// what is lost: all of it goes to another one, once.
func (l *Log) Write(payloads [][]byte) (places []Place, err error) {
	for range 2 {
		if l.rolls(FrameSize + int64(len(payloads[0]))) {
			if rolled := l.roll(); rolled != nil {
				err = errors.Join(err, rolled)
				break
			}
		}
		if places, err = l.append(payloads); err == nil {
			return places, nil
		}
	}
	l.sweep = nil // it begins anew
	return nil, err
}

func (l *Log) append(payloads [][]byte) ([]Place, error) {
	g, b := l.active, l.buffer[:0]
	if g.end == 0 {
		b = frame(b, g.salt, 0, l.header(g))
	}
	places := make([]Place, len(payloads))
	for i, p := range payloads {
		places[i] = Place{g, uint32(g.end) + uint32(len(b)), FrameSize + uint32(len(p))}
		b = frame(b, g.salt, g.end, p)
	}
	const most = 8 << 20
	if l.buffer = b; cap(b) > most {
		l.buffer = nil
	}
	if end := g.end + int64(len(b)); end > g.size {
		if err := g.file.Allocate(end); err != nil {
			return nil, err
		}
		g.size = end
	}
	_, err := g.file.WriteAt(b, g.end)
	if err == nil {
		err = g.file.Sync()
	}
	if err != nil {
		g.spoilt = true
		l.giveUp()
		return nil, err
	}
	g.end += int64(len(b))
	return places, nil
}

// Close begins one more segment, if it can, which says where the last one ends.
func (l *Log) Close() error {
	err := l.roll()
	if err == nil {
		_, err = l.append(nil)
	}
	l.giveUp()
	if l.spare != nil {
		_ = l.spare.file.Close() // nothing was written to it
	}
	return err
}

// Read returns the payload of a record, or what its first bytes have of it, which are
// not checked then. It may be called at any time: if the record has been written
// elsewhere meanwhile, what it returns may be anything.
func (l *Log) Read(at Place, most int64) ([]byte, error) {
	b := make([]byte, min(int64(at.Size), most))
	if err := l.readAt(at.Segment, b, int64(at.Offset)); err != nil {
		return nil, err
	}
	if len(b) < int(at.Size) {
		return b[FrameSize:], nil
	}
	payload, _, ok := unframe(b, at.Segment.salt)
	if !ok || len(payload) != len(b)-FrameSize {
		return nil, fmt.Errorf("%w: %s at %d", ErrDamaged, at.Segment.name(), at.Offset)
	}
	return payload, nil
}

// readAt reads a part of a segment.
func (l *Log) readAt(g *Segment, b []byte, offset int64) error {
	f, err := l.o.Disk.Open(g.name())
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(b, offset); err != nil {
		return fmt.Errorf("read %s at %d: %w", g.name(), offset, err)
	}
	return nil
}

// retire gives up a segment that has nothing of use: it becomes the spare, if there is
// none, and else its file goes.
func (l *Log) retire(g *Segment) (err error) {
	if !g.gone {
		l.changed = true
		if l.spare == nil && g.size == l.o.SegmentSize && !g.spoilt {
			spare := l.next(g.size)
			if err = l.o.Disk.Rename(g.name(), spare.name()); err == nil {
				spare.file, err = l.o.Disk.Open(spare.name())
				l.spare = spare
			}
		} else {
			err = l.o.Disk.Remove(g.name())
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("give up a segment: %w", err)
		}
		g.gone = true
	}
	if err := l.settle(); err != nil {
		return fmt.Errorf("give up a segment: %w", err)
	}
	l.segments = slices.DeleteFunc(l.segments, func(other *Segment) bool { return other == g })
	return nil
}
