package journal

import (
	"fmt"
	"io"
	"maps"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sentry-temporal/internal/seglog"
)

const (
	sectorSize   = 512 // what a disk writes whole
	ramPageSize  = 4096
	wholePage    = uint8(0xff) // a bit for each of its sectors
	sectorsAPage = ramPageSize / sectorSize
)

// ramDisk is a disk in memory that records what is done to it and knows what a power
// cut leaves: what was synced, and of the rest any part. As with Linux, what a Sync
// that failed was to write counts as written from then on: no later one writes it.
type ramDisk struct {
	mu    sync.Mutex
	files map[string]*ramNode // as a process sees them
	safe  map[string]*ramNode // as they are after a power cut, but for what is in names
	names []ramName           // what was done to names since
	nodes []*ramNode          // all there ever were

	calls    []ramCall                         // all that changed something, in order
	before   func(ramCall) (done int, _ error) // makes a call fail, of a write after done bytes
	delay    time.Duration                     // of each Sync
	written  int64                             // bytes of all writes
	capacity int64                             // that all files may take; 0 for any number
	most     int64                             // that they ever took
}

// ramCall is a call that changes a disk.
type ramCall struct {
	op       string // create, allocate, write, sync, rename, link, remove, sync names; and, not recorded, list, open, read
	node     int
	name, to string
	at       int64
	data     []byte // that was written, in the end
	size     int64
	failed   bool
}

func (c ramCall) String() string {
	return fmt.Sprintf("%s %s%d %s at %d, %d bytes, failed %t", c.op, c.name, c.node, c.to, c.at, max(c.size, int64(len(c.data))), c.failed)
}

// ramName is a name that was given or taken.
type ramName struct {
	from, to string // "" for none
	node     *ramNode
	sure     bool // it is synced
	lost     bool // its sync failed
}

// ramNode is a file, whatever its name.
type ramNode struct {
	id    int
	name  string
	now   []byte // as a process sees it
	safe  []byte // as it is after a power cut, but for what is in loose
	sized bool   // its size is synced
	loose []ramWrite
	lost  bool // the sync of its size failed
	open  int  // by how many
}

// ramWrite is a part of a write within a page, as the sectors were after it.
type ramWrite struct {
	at   int64
	data []byte
	lost bool // its sync failed
}

func newRAMDisk() *ramDisk {
	return &ramDisk{files: map[string]*ramNode{}, safe: map[string]*ramNode{}}
}

// fault asks before whether a call is to fail. The caller holds d.mu.
func (d *ramDisk) fault(c ramCall) (int, error) {
	if d.before == nil {
		return 0, nil
	}
	return d.before(c)
}

func (d *ramDisk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.fault(ramCall{op: "list"}); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(d.files))
	for name := range d.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (d *ramDisk) Create(name string, size int64) (seglog.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := ramCall{op: "create", name: name, size: size, node: len(d.nodes)}
	if _, err := d.fault(c); err != nil {
		return nil, err
	}
	if d.files[name] != nil {
		return nil, os.ErrExist
	}
	if d.capacity > 0 && d.used()+size > d.capacity {
		return nil, syscall.ENOSPC
	}
	d.do(c)
	d.most = max(d.most, d.used())
	n := d.nodes[c.node]
	n.open++
	return &ramFile{disk: d, ramNode: n}, nil
}

// used returns the bytes of all files. The caller holds d.mu.
func (d *ramDisk) used() (bytes int64) {
	seen := map[*ramNode]bool{}
	for _, n := range d.files {
		if !seen[n] {
			bytes += int64(len(n.now))
		}
		seen[n] = true
	}
	return bytes
}

func (d *ramDisk) Open(name string) (seglog.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.fault(ramCall{op: "open", name: name}); err != nil {
		return nil, err
	}
	n := d.files[name]
	if n == nil {
		return nil, os.ErrNotExist
	}
	n.open++
	return &ramFile{disk: d, ramNode: n}, nil
}

func (d *ramDisk) Rename(from, to string) error {
	return d.renamed(ramCall{op: "rename", name: from, to: to})
}

// Link gives a file a second name.
func (d *ramDisk) Link(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := ramCall{op: "link", name: from, to: to}
	if _, err := d.fault(c); err != nil {
		return err
	}
	switch {
	case d.files[from] == nil:
		return os.ErrNotExist
	case d.files[to] != nil:
		return os.ErrExist
	}
	d.do(c)
	return nil
}

func (d *ramDisk) Remove(name string) error {
	return d.renamed(ramCall{op: "remove", name: name})
}

func (d *ramDisk) renamed(c ramCall) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.fault(c); err != nil {
		return err
	}
	if d.files[c.name] == nil {
		return os.ErrNotExist
	}
	d.do(c)
	return nil
}

func (d *ramDisk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := ramCall{op: "sync names"}
	_, err := d.fault(c)
	c.failed = err != nil
	d.do(c)
	return err
}

// do does a call and records it. The caller holds d.mu.
func (d *ramDisk) do(c ramCall) {
	d.calls = append(d.calls, c)
	switch c.op {
	case "create":
		n := &ramNode{id: c.node, name: c.name, now: make([]byte, c.size)}
		d.nodes = append(d.nodes, n)
		d.files[c.name] = n
		d.names = append(d.names, ramName{to: c.name, node: n})
	case "rename":
		n := d.files[c.name]
		delete(d.files, c.name)
		d.files[c.to] = n
		n.name = c.to
		d.names = append(d.names, ramName{from: c.name, to: c.to, node: n})
	case "link":
		d.files[c.to] = d.files[c.name]
		d.names = append(d.names, ramName{to: c.to, node: d.files[c.to]})
	case "allocate":
		n := d.nodes[c.node]
		n.now = append(n.now, make([]byte, c.size-int64(len(n.now)))...)
		n.sized = false
	case "remove":
		d.names = append(d.names, ramName{from: c.name, node: d.files[c.name]})
		delete(d.files, c.name)
	case "sync names":
		// They are in one block, of which the next change has all written again.
		dirty := slices.ContainsFunc(d.names, func(n ramName) bool { return !n.sure && !n.lost })
		for i := range d.names {
			if n := &d.names[i]; c.failed {
				n.lost = n.lost || !n.sure
			} else {
				n.sure = n.sure || dirty
			}
		}
		for len(d.names) > 0 && d.names[0].sure {
			d.names[0].apply(d.safe)
			d.names = d.names[1:]
		}
	case "write":
		d.written += int64(len(c.data))
		d.nodes[c.node].write(c.at, c.data)
	case "sync":
		d.nodes[c.node].sync(c.failed)
	}
}

func (n ramName) apply(files map[string]*ramNode) {
	if n.from != "" && files[n.from] == n.node {
		delete(files, n.from)
	}
	if n.to != "" {
		files[n.to] = n.node
	}
}

func (n *ramNode) write(at int64, data []byte) {
	n.lost = false // its size is written with whatever else is new in it
	end := at + int64(len(data))
	if end > int64(len(n.now)) {
		n.now = append(n.now, make([]byte, end-int64(len(n.now)))...)
		n.sized = false
	}
	copy(n.now[at:], data)
	from, to := at/sectorSize*sectorSize, min((end+sectorSize-1)/sectorSize*sectorSize, int64(len(n.now)))
	for from < to {
		next := min(to, (from/ramPageSize+1)*ramPageSize)
		n.loose = append(n.loose, ramWrite{at: from, data: slices.Clone(n.now[from:next])})
		from = next
	}
}

func (n *ramNode) sync(failed bool) {
	if failed {
		n.lost = n.lost || !n.sized
		for i := range n.loose {
			n.loose[i].lost = true
		}
		return
	}
	if !n.sized && !n.lost {
		n.sized = true
		n.safe = append(n.safe, make([]byte, len(n.now)-len(n.safe))...)
	}
	dirty := map[int64]bool{} // pages
	for _, w := range n.loose {
		if !w.lost {
			dirty[w.at/ramPageSize] = true
		}
	}
	for page := range dirty {
		if at := page * ramPageSize; at < int64(len(n.safe)) {
			copy(n.safe[at:], n.now[at:min(at+ramPageSize, int64(len(n.now)))])
		}
	}
	n.loose = slices.DeleteFunc(n.loose, func(w ramWrite) bool { return dirty[w.at/ramPageSize] && n.sized })
}

// ramFile is a file that is open.
type ramFile struct {
	disk *ramDisk
	*ramNode
	closed bool
}

func (f *ramFile) WriteAt(b []byte, at int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	c := ramCall{op: "write", node: f.id, name: f.name, at: at, data: b}
	done, err := d.fault(c)
	if err == nil {
		done = len(b)
	}
	if c.data, c.failed = slices.Clone(b[:min(done, len(b))]), err != nil; len(c.data) > 0 {
		d.do(c)
	}
	return len(c.data), err
}

// Allocate makes the file larger.
func (f *ramFile) Allocate(size int64) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	c := ramCall{op: "allocate", node: f.id, name: f.name, size: size}
	if _, err := d.fault(c); err != nil {
		return err
	}
	if d.capacity > 0 && d.used()+size-int64(len(f.now)) > d.capacity {
		return syscall.ENOSPC
	}
	d.do(c)
	d.most = max(d.most, d.used())
	return nil
}

func (f *ramFile) ReadAt(b []byte, at int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	if _, err := d.fault(ramCall{op: "read", node: f.id, name: f.name, at: at, size: int64(len(b))}); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	if at >= int64(len(f.now)) {
		return 0, io.EOF
	}
	n := copy(b, f.now[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *ramFile) Sync() error {
	if f.disk.delay > 0 {
		<-time.After(f.disk.delay)
	}
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	c := ramCall{op: "sync", node: f.id, name: f.name}
	_, err := d.fault(c)
	c.failed = err != nil
	d.do(c)
	return err
}

func (f *ramFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.now)), nil
}

func (f *ramFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.closed = true
	f.open--
	return nil
}

// ramLoose is something that a power cut may take: a name, a size, or a page of a
// write, which it may also tear.
type ramLoose struct {
	name int // its index in names, or -1
	node *ramNode
	page int // its index in loose, or -1
}

// unsure returns what a power cut may take. The caller holds d.mu.
func (d *ramDisk) unsure() (all []ramLoose) {
	reachable := map[*ramNode]bool{}
	for _, n := range d.files {
		reachable[n] = true
	}
	for _, n := range d.safe {
		reachable[n] = true
	}
	for i, n := range d.names {
		reachable[n.node] = true
		if !n.sure {
			all = append(all, ramLoose{name: i, page: -1})
		}
	}
	for _, n := range d.nodes {
		if !reachable[n] {
			continue
		}
		if !n.sized {
			all = append(all, ramLoose{name: -1, node: n, page: -1})
		}
		for i := range n.loose {
			all = append(all, ramLoose{name: -1, node: n, page: i})
		}
	}
	return all
}

// image returns the disk as a power cut leaves it that keeps of each one that is
// unsure the sectors in kept, or all of it if that is not 0.
func (d *ramDisk) image(unsure []ramLoose, kept []uint8) *ramDisk {
	names := maps.Clone(d.safe)
	there := make([]bool, len(d.names))
	sized := map[*ramNode]bool{}
	pages := map[*ramNode]map[int]uint8{}
	for i, u := range unsure {
		switch {
		case u.name >= 0:
			there[u.name] = kept[i] != 0
		case u.page < 0:
			sized[u.node] = kept[i] != 0
		default:
			if pages[u.node] == nil {
				pages[u.node] = map[int]uint8{}
			}
			pages[u.node][u.page] = kept[i]
		}
	}
	for i, n := range d.names {
		if n.sure || there[i] {
			n.apply(names)
		}
	}
	image := newRAMDisk()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		n := names[name]
		data := n.safe
		if len(n.loose) > 0 || !n.sized {
			size := len(n.safe)
			if sized[n] {
				size = len(n.now)
			}
			data = make([]byte, size)
			copy(data, n.safe)
			for i, w := range n.loose {
				w.keep(data, pages[n][i])
			}
		}
		image.put(name, data)
	}
	return image
}

// keep puts those sectors of w on a disk that are in kept.
func (w ramWrite) keep(data []byte, kept uint8) {
	for at := w.at; at < w.at+int64(len(w.data)); at += sectorSize {
		if kept>>(at/sectorSize%sectorsAPage)&1 == 1 && at < int64(len(data)) {
			copy(data[at:], w.data[at-w.at:min(at-w.at+sectorSize, int64(len(w.data)))])
		}
	}
}

// sectors returns those that w has something of.
func (w ramWrite) sectors() (touched uint8) {
	for at := w.at; at < w.at+int64(len(w.data)); at += sectorSize {
		touched |= 1 << (at / sectorSize % sectorsAPage)
	}
	return touched
}

// put adds a file that is synced, as is its name.
func (d *ramDisk) put(name string, data []byte) {
	n := &ramNode{id: len(d.nodes), name: name, now: slices.Clone(data), safe: slices.Clone(data), sized: true}
	d.nodes = append(d.nodes, n)
	d.files[name], d.safe[name] = n, n
}

// contents returns all files as a process sees them.
func (d *ramDisk) contents() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string][]byte{}
	for name, n := range d.files {
		files[name] = slices.Clone(n.now)
	}
	return files
}

// ramOf returns a disk with these files.
func ramOf(files map[string][]byte) *ramDisk {
	d := newRAMDisk()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		d.put(name, files[name])
	}
	return d
}

// powerCuts calls yield with what a power cut at this moment may leave: nothing of
// what is unsure, all of it, each alone, all but each, and parts of pages.
func (d *ramDisk) powerCuts(r *rand.Rand, yield func(what string, image *ramDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	unsure := d.unsure()
	all := func(kept uint8) []uint8 { return slices.Repeat([]uint8{kept}, len(unsure)) }
	yield("nothing unsynced", d.image(unsure, all(0)))
	if len(unsure) == 0 {
		return
	}
	yield("all unsynced", d.image(unsure, all(wholePage)))
	some := make([]int, len(unsure))
	for i := range some {
		some[i] = i
	}
	const many = 8
	if len(some) > many { // the first, the last, and some between
		r.Shuffle(len(some)-2, func(a, b int) { some[a+1], some[b+1] = some[b+1], some[a+1] })
		some = append(some[:many-1], len(unsure)-1)
	}
	if len(unsure) > 1 {
		for _, i := range some {
			kept := all(0)
			kept[i] = wholePage
			yield(fmt.Sprintf("only %d of %d", i, len(unsure)), d.image(unsure, kept))
			kept = all(wholePage)
			kept[i] = 0
			yield(fmt.Sprintf("all but %d of %d", i, len(unsure)), d.image(unsure, kept))
		}
	}
	for _, i := range some {
		if unsure[i].page < 0 {
			continue
		}
		touched := unsure[i].node.loose[unsure[i].page].sectors()
		if bits.OnesCount8(touched) == 1 {
			continue
		}
		for _, sectors := range []uint8{1<<(1+r.IntN(sectorsAPage-1)) - 1, wholePage << (1 + r.IntN(sectorsAPage-1)), uint8(r.Uint32())} {
			if sectors &= touched; sectors == 0 || sectors == touched {
				continue
			}
			kept := all(uint8(r.IntN(2)) * wholePage)
			kept[i] = sectors
			yield(fmt.Sprintf("%08b of %08b of page %d of %d", sectors, touched, i, len(unsure)), d.image(unsure, kept))
		}
	}
	for range 3 {
		kept := all(0)
		for i := range kept {
			kept[i] = [...]uint8{0, wholePage, uint8(r.Uint32())}[r.IntN(3)]
		}
		yield(fmt.Sprintf("at random %08b", kept), d.image(unsure, kept))
	}
}
