package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// damage says that a file is not a sound journal.
type damage struct {
	first  error
	places int // how many, at least 1
}

func (d *damage) Error() string {
	return fmt.Sprintf("damaged in %d places, first: %v", d.places, d.first)
}

func (d *damage) Unwrap() error { return d.first }

// The layout of a bbolt file, as far as it concerns us: two meta pages, of
// which the valid one with the higher transaction counts, and a tree of branch
// and leaf pages whose leaves hold the buckets, each a tree again. Integers are
// in the machine's byte order.
const (
	pageSize = 8192 // three records of 2 KiB fill one; more would make small commits larger

	pageHeader  = 16 // id 8, type 2, count 2, overflow 4
	elementSize = 16 // of a branch: position 4, key size 4, page 8; of a leaf: flags 4, position 4, key size 4, value size 4
	bucketSize  = 16 // root page 8, sequence 8; root page 0 says that the only page follows at once

	branchPage   = 1
	leafPage     = 2
	freelistPage = 16

	bucketFlag = 1

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSum     = 56 // where the FNV-1a sum of all before it stands
	noFreelist  = ^uint64(0)

	maxDepth = 32 // of a tree; three levels hold some ten thousand records
)

var (
	pendingBucket = []byte("pending")
	parkedBucket  = []byte("parked")
	doneBucket    = []byte("done") // what is remembered, see memory
)

// inspect reads a journal's file of size bytes without bbolt's help and calls
// visit for each record it can reach, in the order of their sequences; value is
// valid during the call only. It returns the first error of visit, or else a
// [damage] if the file is not sound, after visiting what is readable in spite
// of that.
//
// This is because bbolt trusts its file: a wrong page makes it panic in a
// goroutine of its own, a missing one is a SIGBUS, and a wrong count may cost
// all memory. A file that passes here is safe for it to open.
func inspect(file io.ReaderAt, size int64, visit func(bucket []byte, seq uint64, value []byte) error) error {
	in := &inspector{file: file, visit: visit}
	m, valid := readMeta(file)
	switch valid {
	case 0:
		return &damage{first: errors.New("no valid meta page"), places: 1}
	case 1: // the last commit may be lost with the other
		in.wrong(errors.New("one of two meta pages is not valid"))
	}
	held := int(size / pageSize)
	if m.pages > held {
		in.wrong(fmt.Errorf("%d pages of %d are missing", m.pages-held, m.pages))
	}
	in.used = make([]bool, min(m.pages, held))
	if err := in.freelist(m.freelist); err != nil {
		in.wrong(err)
	}
	if err := in.tree(m.root, nil, nil, nil, 0); err != nil {
		return err
	}
	if in.damage.places > 0 {
		return &in.damage
	}
	return nil
}

type meta struct {
	root     int
	freelist int // 0 for none
	pages    int
	tx       uint64
}

// readMeta returns the meta page that counts, and how many are valid. A commit
// that was cut short leaves both valid: a meta page changes in one disk sector.
func readMeta(file io.ReaderAt) (newest meta, valid int) {
	for id := range int64(2) {
		var page [pageHeader + metaSum + 8]byte
		if _, err := file.ReadAt(page[:], id*pageSize); err != nil {
			continue
		}
		b := page[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaSum]) // never fails
		if u32(b) != metaMagic || u32(b[4:]) != metaVersion || u32(b[8:]) != pageSize || u64(b[metaSum:]) != sum.Sum64() {
			continue
		}
		m := meta{root: number(b[16:]), pages: number(b[40:]), tx: u64(b[48:])}
		if u64(b[32:]) != noFreelist {
			m.freelist = number(b[32:])
		}
		if valid == 0 || m.tx > newest.tx {
			newest = m
		}
		valid++
	}
	return newest, valid
}

func u16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// number reads the number of a page. One that is beyond any file of ours stays
// beyond it.
func number(b []byte) int { return int(min(u64(b), math.MaxInt32)) }

type inspector struct {
	file   io.ReaderAt
	visit  func(bucket []byte, seq uint64, value []byte) error
	used   []bool           // by page
	pages  [maxDepth][]byte // reused, one for each level
	damage damage
}

func (in *inspector) wrong(err error) {
	if in.damage.places == 0 {
		in.damage.first = err
	}
	in.damage.places++
}

// freelist checks that the file has no list of free pages but the empty one of
// a new file: ours never do, and bbolt would believe it.
func (in *inspector) freelist(id int) error {
	if id == 0 {
		return nil
	}
	p, err := in.load(id, 0)
	if err != nil {
		return err
	}
	if p.kind() != freelistPage || p.count() != 0 {
		return fmt.Errorf("page %d is not an empty freelist", id)
	}
	return nil
}

// tree reads the page id and all below it. Keys must be in [low, high), where
// nil is no bound. bucket is nil in the tree of buckets.
func (in *inspector) tree(id int, bucket, low, high []byte, depth int) error {
	p, err := in.load(id, depth)
	if err != nil {
		in.wrong(err)
		return nil
	}
	return in.read(p, bucket, low, high, depth)
}

// load reads the page id, with those it overflows into.
func (in *inspector) load(id int, depth int) (page, error) {
	if depth == maxDepth {
		return nil, fmt.Errorf("page %d is too deep", id)
	}
	last := len(in.used)
	if id < 2 || id >= last {
		return nil, fmt.Errorf("page %d is not in the file", id)
	}
	p, err := in.readAt(id, 1, depth)
	if err != nil {
		return nil, err
	}
	more := p.overflow()
	if p.id() != id || more >= last-id {
		return nil, fmt.Errorf("page %d says that it is page %d of %d", id, p.id(), more+1)
	}
	for i := id; i <= id+more; i++ {
		if in.used[i] {
			return nil, fmt.Errorf("page %d is in use twice", i)
		}
		in.used[i] = true
	}
	if more == 0 {
		return p, nil
	}
	return in.readAt(id, 1+more, depth)
}

func (in *inspector) readAt(id, count, depth int) (page, error) {
	n := count * pageSize
	if cap(in.pages[depth]) < n {
		in.pages[depth] = make([]byte, n)
	}
	p := page(in.pages[depth][:n])
	if _, err := in.file.ReadAt(p, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	return p, nil
}

// read reads the elements of p.
func (in *inspector) read(p page, bucket, low, high []byte, depth int) error {
	if k := p.kind(); k != leafPage && (k != branchPage || p.count() == 0) {
		in.wrong(fmt.Errorf("page %d is of type %d with %d elements", p.id(), k, p.count()))
		return nil
	}
	previous := low
	for i := range p.count() {
		e, ok := p.element(i)
		if !ok {
			in.wrong(fmt.Errorf("page %d: element %d is not within it", p.id(), i))
			return nil // the rest is likely to be wrong, too
		}
		order := bytes.Compare(previous, e.key)
		if previous != nil && (order > 0 || order == 0 && i > 0) || high != nil && bytes.Compare(e.key, high) >= 0 {
			in.wrong(fmt.Errorf("page %d: element %d is out of order", p.id(), i))
			return nil
		}
		previous = e.key

		var err error
		switch {
		case p.kind() == branchPage:
			end := high
			if next, ok := p.element(i + 1); ok {
				end = next.key
			}
			err = in.tree(e.child, bucket, e.key, end, depth+1)
		case bucket == nil:
			err = in.bucket(p.id(), e, depth)
		case e.flags != 0 || len(e.key) != 8:
			in.wrong(fmt.Errorf("page %d: element %d is not a record", p.id(), i))
		default:
			err = in.visit(bucket, binary.BigEndian.Uint64(e.key), e.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket reads the bucket e, an element of page id.
func (in *inspector) bucket(id int, e element, depth int) error {
	known := bytes.Equal(e.key, pendingBucket) || bytes.Equal(e.key, parkedBucket) || bytes.Equal(e.key, doneBucket)
	if !known || e.flags != bucketFlag || len(e.value) < bucketSize {
		in.wrong(fmt.Errorf("page %d: %q is not one of our buckets", id, e.key))
		return nil
	}
	name := bytes.Clone(e.key)
	if root := number(e.value); root != 0 {
		return in.tree(root, name, nil, nil, depth+1)
	}
	p := page(e.value[bucketSize:])
	if len(p) < pageHeader || p.kind() != leafPage {
		in.wrong(fmt.Errorf("page %d: the page within %q is not a leaf", id, name))
		return nil
	}
	return in.read(p, name, nil, nil, depth+1)
}

// page is a page with those it overflows into, at least its header.
type page []byte

func (p page) id() int       { return number(p) }
func (p page) kind() uint16  { return u16(p[8:]) }
func (p page) count() int    { return int(u16(p[10:])) }
func (p page) overflow() int { return int(u32(p[12:])) }

// element is one element of a page: of a branch page it has a child, of a leaf
// page flags and a value.
type element struct {
	flags      uint32
	key, value []byte
	child      int
}

// element returns the element i. It reports whether there is one, with a key,
// and all of it is within the page.
func (p page) element(i int) (e element, ok bool) {
	at := pageHeader + i*elementSize
	if i >= p.count() || at+elementSize > len(p) {
		return element{}, false
	}
	b := p[at : at+elementSize]
	var position, keySize, valueSize int
	if p.kind() == branchPage {
		position, keySize = int(u32(b)), int(u32(b[4:]))
		e.child = number(b[8:])
	} else {
		e.flags = u32(b)
		position, keySize, valueSize = int(u32(b[4:])), int(u32(b[8:])), int(u32(b[12:]))
	}
	start := at + position // positions count from the element
	if keySize == 0 || start+keySize+valueSize > len(p) {
		return element{}, false
	}
	e.key = p[start : start+keySize]
	e.value = p[start+keySize : start+keySize+valueSize]
	return e, true
}
