package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sentry-temporal/internal/seglog"
	"sentry-temporal/internal/sentry"
)

// fates are what may have become of a delivery, a bit for each.
type fates uint8

const (
	absent fates = 1 << iota
	isPending
	isParked
	isDone
)

func (f fates) String() string {
	var names []string
	for i, name := range []string{"absent", "pending", "parked", "done"} {
		if f>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// actor is a delivery in a scene.
type actor struct {
	env   sentry.Envelope
	id    uint64 // 0 as long as nobody was told
	place int    // in the queue, of one that was told of; those of one batch share it
	can   fates
}

// mark says what may have become of a delivery once so many calls had been made of the disk.
type mark struct {
	calls int
	key   string
	actor
}

var errKilled = errors.New("the process is killed")

// ramProcess is a disk as one process has it: once that is killed it changes nothing.
type ramProcess struct {
	*ramDisk
	killed bool
}

func (p *ramProcess) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errKilled
	}
	return nil
}

func (p *ramProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
}

func (p *ramProcess) Create(name string, size int64) (seglog.File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	f, err := p.ramDisk.Create(name, size)
	if err != nil {
		return nil, err
	}
	return processFile{f, p}, nil
}

func (p *ramProcess) Open(name string) (seglog.File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	f, err := p.ramDisk.Open(name)
	if err != nil {
		return nil, err
	}
	return processFile{f, p}, nil
}

func (p *ramProcess) Rename(from, to string) error {
	if err := p.check(); err != nil {
		return err
	}
	return p.ramDisk.Rename(from, to)
}

func (p *ramProcess) Link(from, to string) error {
	if err := p.check(); err != nil {
		return err
	}
	return p.ramDisk.Link(from, to)
}

func (p *ramProcess) Remove(name string) error {
	if err := p.check(); err != nil {
		return err
	}
	return p.ramDisk.Remove(name)
}

func (p *ramProcess) Sync() error {
	if err := p.check(); err != nil {
		return err
	}
	return p.ramDisk.Sync()
}

type processFile struct {
	seglog.File
	process *ramProcess
}

func (f processFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.process.check(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

func (f processFile) Allocate(size int64) error {
	if err := f.process.check(); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f processFile) Sync() error {
	if err := f.process.check(); err != nil {
		return err
	}
	return f.File.Sync()
}

// scene is a journal on a recorded disk, and what its users were told.
type scene struct {
	t       testing.TB
	r       *rand.Rand
	disk    *ramDisk
	process *ramProcess
	options Options
	faulty  bool // calls of the disk fail
	j       *Journal

	mu      sync.Mutex
	actors  map[string]*actor
	names   []string // of all actors, in their order
	marks   []mark
	place   int
	undone  []string // done, and that is not synced for sure
	refused int      // appends that failed
}

func newScene(t testing.TB, seed uint64, o Options) *scene {
	t.Helper()
	s := prepareScene(t, seed, o)
	s.open()
	return s
}

// prepareScene returns a scene whose journal is not open yet.
func prepareScene(t testing.TB, seed uint64, o Options) *scene {
	t.Helper()
	s := &scene{t: t, r: rand.New(rand.NewPCG(seed, 1)), disk: newRAMDisk(), options: o, actors: map[string]*actor{}}
	s.disk.delay = time.Millisecond
	if s.options.Log == nil {
		s.options.Log = slog.New(slog.DiscardHandler)
	}
	return s
}

func (s *scene) open() {
	s.t.Helper()
	for try := 1; ; try++ {
		s.process = &ramProcess{ramDisk: s.disk}
		s.options.disk = s.process
		j, err := Open("scene", s.options)
		if err == nil {
			s.j = j
			break
		}
		if s.process.kill(); !s.faulty || try == 20 {
			s.t.Fatal(err)
		}
	}
	// What it found it answers for.
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, a := range s.actors {
		found := s.look(key)
		if found&a.can == 0 {
			s.t.Errorf("after %d calls %s, delivery %d, is %v, and not %v", len(s.disk.calls), key, a.id, found, a.can)
		}
		s.set(key, found)
	}
	s.undone = nil
}

// set records what may have become of a delivery. The caller holds s.mu.
func (s *scene) set(key string, can fates) {
	a := s.actors[key]
	a.can = can
	s.disk.mu.Lock()
	calls := len(s.disk.calls)
	s.disk.mu.Unlock()
	s.marks = append(s.marks, mark{calls, key, *a})
}

// may adds to what may have become of a delivery.
func (s *scene) may(key string, can fates) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, s.actors[key].can|can)
}

// is says what has become of a delivery.
func (s *scene) is(key string, can fates) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, can)
}

// look returns what the journal says has become of a delivery.
func (s *scene) look(key string) fates {
	known, _ := s.j.Look("sentry", key)
	return map[State]fates{"": absent, Pending: isPending, Parked: isParked, Done: isDone}[known.State]
}

// cast adds a delivery that is not appended yet.
func (s *scene) cast(env sentry.Envelope) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := env.IdempotencyKey
	s.actors[key] = &actor{env: env, can: absent}
	s.names = append(s.names, key)
	return key
}

// castSome adds deliveries of sizes that journals see.
func (s *scene) castSome(n int) []string {
	cast := make([]string, n)
	for i := range cast {
		size := 200 + s.r.IntN(3000)
		switch s.r.IntN(30) {
		case 0:
			size = 120_000 // more than a segment
		case 1, 2:
			size = 40_000
		}
		env := deliveryOfSize(fmt.Sprintf("key-%06d", len(s.actors)), size)
		if s.r.IntN(4) == 0 {
			env.Body = s.forged(env)
		}
		cast[i] = s.cast(env)
	}
	return cast
}

// forged returns a body with records of other deliveries in it, under the salts of segments
// that are there, but for that which is written to, and of none.
func (s *scene) forged(env sentry.Envelope) sentry.Body {
	segments := slices.DeleteFunc(walk(s.disk.contents()), func(w walked) bool { return len(w.records) == 0 })
	body := bytes.NewBufferString(string(env.Body))
	for _, segment := range segments[:max(len(segments)-1, 0)] {
		for j, record := range segment.records {
			if j == 0 || len(record.payload) > 2000 || j > 2 {
				continue
			}
			other := bytes.ReplaceAll(record.payload, []byte("key-0"), []byte("key-9")) // that nobody has sent
			body.Write(framed(segment.salt, other))
			body.Write(framed(0, record.payload))
			body.Write(framed(segment.salt, record.payload))
		}
		if body.Len() > 10_000 {
			break
		}
	}
	return sentry.Body(body.String())
}

func runsOf(key string) []Ran {
	return []Ran{{Namespace: "default", WorkflowID: "triage:sentry:" + key, RunID: "run-of-" + key}}
}

func reasonOf(key string) string { return "reason of " + key }

// append appends deliveries together.
func (s *scene) append(keys ...string) {
	s.mu.Lock()
	s.place++
	place := s.place
	s.mu.Unlock()
	var group sync.WaitGroup
	for _, key := range keys {
		s.mu.Lock()
		if a := s.actors[key]; a.can&absent != 0 { // it will be another one
			a.id, a.place = 0, 0
		}
		s.mu.Unlock()
		s.may(key, isPending)
		group.Go(func() {
			receipt, err := s.j.Append(context.Background(), Arrival{Envelope: s.actors[key].env, Plan: planOf})
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case err != nil:
				s.refused++
			case receipt.Key != key:
				s.t.Errorf("%s is kept as %s", key, receipt.Key)
			case receipt.Runs != nil: // as it remembers, durably or not
			case receipt.ID == 0:
				s.set(key, isParked)
			default:
				if before := s.actors[key].id; before != 0 && before != receipt.ID {
					s.t.Errorf("%s was %d and is %d", key, before, receipt.ID)
				}
				if s.actors[key].id = receipt.ID; s.actors[key].place == 0 {
					s.actors[key].place = place
				}
				s.set(key, isPending)
			}
		})
	}
	group.Wait()
}

// any returns a delivery that is surely this and that the journal says so of.
func (s *scene) any(is fates) (key string, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []string
	for _, key := range s.names {
		if s.actors[key].can == is && s.look(key) == is && s.actors[key].id != 0 {
			some = append(some, key)
		}
	}
	if len(some) == 0 {
		return "", false
	}
	return some[s.r.IntN(len(some))], true
}

// done may be forgotten until it is synced, since its runs are started.
func (s *scene) done(key string) {
	s.may(key, isDone|absent)
	s.mu.Lock()
	s.undone = append(s.undone, key)
	s.mu.Unlock()
	s.j.Done(s.actors[key].id, runsOf(key))
}

// over is what a delivery is that is done for good: on a disk that takes little, that is
// noted without its runs, which are forgotten with the process.
func (s *scene) over() fates {
	if s.faulty {
		return isDone | absent
	}
	return isDone
}

// sync syncs what is done.
func (s *scene) sync() error {
	undone := s.undone
	err := s.j.Sync()
	if err == nil {
		for _, key := range undone {
			s.is(key, s.over())
		}
		s.undone = s.undone[len(undone):]
	}
	return err
}

func (s *scene) park(key string) {
	s.may(key, isParked)
	if s.j.ParkFor(context.Background(), s.actors[key].id, Refused, reasonOf(key)) == nil {
		s.is(key, isParked)
	}
}

func (s *scene) putBack(key string) {
	s.may(key, isPending)
	if n, err := s.j.PutBack(context.Background(), only(Parked, s.actors[key].id)); err == nil && n == 1 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.place++
		s.actors[key].place = s.place
		s.set(key, isPending)
	}
}

func (s *scene) discard(key string, state State) {
	s.may(key, absent)
	if n, err := s.j.Discard(context.Background(), only(state, s.actors[key].id)); err == nil && n == 1 {
		s.is(key, absent)
	}
}

// close closes the journal.
func (s *scene) close() error {
	undone := s.undone
	err := s.j.Close()
	if err == nil {
		for _, key := range undone {
			s.is(key, s.over())
		}
	}
	return err
}

// kill kills the process and starts another one.
func (s *scene) kill() {
	s.process.kill()
	_ = s.j.Close()
	s.open()
}

// play does something that users do.
func (s *scene) play() {
	s.t.Helper()
	with := func(is fates, do func(key string)) {
		if key, found := s.any(is); found {
			do(key)
		}
	}
	switch n := s.r.IntN(100); {
	case n < 30:
		s.append(s.castSome(1)...)
	case n < 40:
		s.append(s.castSome(2 + s.r.IntN(12))...)
	case n < 50: // the oldest
		for range 8 {
			with(isPending, s.done)
		}
	case n < 62:
		with(isPending, s.done)
	case n < 70:
		with(isPending, s.done)
		_ = s.sync()
	case n < 80:
		with(isPending, s.park)
	case n < 86:
		with(isParked, s.putBack)
	case n < 88:
		with(isParked, func(key string) { s.discard(key, Parked) })
	case n < 90:
		with(isPending, func(key string) { s.discard(key, Pending) })
	case n < 94: // once more
		if len(s.names) > 0 {
			s.append(s.names[s.r.IntN(len(s.names))])
		}
	case n < 97:
		if err := s.close(); err != nil && !s.faulty {
			s.t.Fatal(err)
		}
		s.process.kill()
		s.open()
	default:
		s.kill()
	}
}

// expected is what must hold of a journal at some moment.
type expected struct {
	actors   map[string]actor
	lastID   uint64 // that anybody was told of
	maxBytes int64
}

// verify returns what is wrong with a journal, and what it says has become of each delivery.
func (want expected) verify(j *Journal) (found map[string]fates, wrong []string) {
	found = map[string]fates{}
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	meet := func(env sentry.Envelope, id uint64, is fates) {
		key := env.IdempotencyKey
		a, known := want.actors[key]
		switch {
		case !known:
			fail("%s comes to life, %v", key, is)
			return
		case found[key] != 0:
			fail("%s is there twice", key)
		case env.Body != a.env.Body || !maps.Equal(env.Headers, a.env.Headers) || env.EventType != a.env.EventType:
			fail("%s is changed", key)
		case a.id != 0 && a.id != id:
			fail("%s was %d and is %d", key, a.id, id)
		case a.can&is == 0:
			fail("%s is %v, and not %v", key, is, a.can)
		}
		found[key] = is
	}
	ids := map[uint64]bool{}
	pending := j.Entries(0, 1<<20)
	stats := j.Stats()
	if stats.Pending != len(pending) {
		fail("%d are pending, and %d entries", stats.Pending, len(pending))
	}
	position, place := uint64(0), 0
	size := int64(0)
	for _, e := range pending {
		if e.Position <= position {
			fail("position %d after %d", e.Position, position)
		}
		position = e.Position
		size += e.Size
		if ids[e.ID] {
			fail("ID %d is there twice", e.ID)
		}
		ids[e.ID] = true
		d, err := j.Read(e.ID)
		if err != nil {
			fail("read %d: %v", e.ID, err)
			continue
		}
		meet(d.Envelope, e.ID, isPending)
		if len(d.Operations) != 1 || d.Operations[0] != planOf(d.Envelope)[0] {
			fail("%s has the plan %+v", d.Envelope.IdempotencyKey, d.Operations)
		}
		if a := want.actors[d.Envelope.IdempotencyKey]; a.can == isPending && a.place > 0 {
			if a.place < place {
				fail("%s comes too late", d.Envelope.IdempotencyKey)
			}
			place = a.place
		}
	}
	if stats.PendingBytes != size {
		fail("%d bytes are pending, and %d of entries", stats.PendingBytes, size)
	}
	parked, err := j.List(Filter{State: Parked}, 0, 1<<20)
	if err != nil {
		fail("list: %v", err)
	}
	for _, item := range parked {
		if ids[item.ID] {
			fail("ID %d is there twice", item.ID)
		}
		ids[item.ID] = true
		if item.ReasonCode != Refused || item.Reason != reasonOf(item.Key) {
			fail("%s is parked for %s, %q", item.Key, item.ReasonCode, item.Reason)
		}
		env, err := j.Export(item.ID)
		if err != nil {
			fail("export %d: %v", item.ID, err)
			continue
		}
		meet(env, item.ID, isParked)
	}
	if stats.Parked != len(parked) {
		fail("%d are parked, and %d listed", stats.Parked, len(parked))
	}
	for key, a := range want.actors {
		known, _ := j.Look("sentry", key)
		is := map[State]fates{"": absent, Pending: isPending, Parked: isParked, Done: isDone}[known.State]
		switch {
		case found[key] != 0 && found[key] != is:
			fail("%s is %v and %v", key, found[key], is)
		case found[key] == 0 && is&(isPending|isParked) != 0:
			fail("%s is %v, and not listed", key, is)
		case found[key] == 0 && a.can&is == 0:
			fail("%s is %v, and not %v", key, is, a.can)
		case is == isDone && !slices.Equal(known.Runs, runsOf(key)):
			fail("%s has the runs %+v", key, known.Runs)
		}
		found[key] = is
	}
	return found, wrong
}

// recover opens what a power cut has left and returns what is wrong with it.
func (want expected) recover(image *ramDisk, further bool) (wrong []string) {
	var log bytes.Buffer
	o := Options{MaxBytes: want.maxBytes, disk: image, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))}
	j, err := Open("image", o)
	if err != nil {
		return []string{fmt.Sprintf("open: %v", err)}
	}
	found, wrong := want.verify(j)
	if log.Len() > 0 {
		wrong = append(wrong, "a power cut is taken for damage: "+log.String())
	}
	if further && len(wrong) == 0 {
		wrong = want.further(j, image, o, found)
	} else if err := j.Close(); err != nil {
		wrong = append(wrong, fmt.Sprintf("close: %v", err))
	}
	return wrong
}

// further goes on with a journal that was recovered: what it found it has for good.
func (want expected) further(j *Journal, image *ramDisk, o Options, found map[string]fates) (wrong []string) {
	was, after := want.actors, expected{actors: maps.Clone(want.actors)}
	for key, is := range found {
		a := after.actors[key]
		if a.can != is {
			a.can, a.place = is, 0
		}
		after.actors[key] = a
	}
	env := deliveryOf("after")
	after.actors["after"] = actor{env: env, can: isPending}
	receipt, err := j.Append(context.Background(), Arrival{Envelope: env, Plan: planOf})
	switch {
	case err != nil:
		wrong = append(wrong, fmt.Sprintf("append: %v", err))
	case receipt.ID <= want.lastID:
		wrong = append(wrong, fmt.Sprintf("ID %d is given again, the last one was %d", receipt.ID, want.lastID))
	}
	for i := range 2 { // a power cut, and then the end of the process
		var again *ramDisk
		if i == 0 {
			image.mu.Lock()
			unsure := image.unsure()
			again = image.image(unsure, make([]uint8, len(unsure)))
			image.mu.Unlock()
		} else {
			if err := j.Close(); err != nil {
				wrong = append(wrong, fmt.Sprintf("close: %v", err))
			}
			again = image
		}
		o.disk = again
		opened, err := Open("image", o)
		if err != nil {
			return append(wrong, fmt.Sprintf("open again: %v", err))
		}
		if _, bad := after.verify(opened); len(bad) > 0 {
			wrong = append(append(wrong, fmt.Sprintf("after another %d", i)), bad...)
			for key := range was {
				if strings.Contains(bad[0], key) {
					wrong = append(wrong, fmt.Sprintf("%s could be %v", key, was[key].can))
				}
			}
		}
		if err := opened.Close(); err != nil {
			wrong = append(wrong, fmt.Sprintf("close again: %v", err))
		}
	}
	return wrong
}

// cut is a power cut in a scene.
type cut struct {
	want    *expected
	image   *ramDisk
	after   string
	what    string
	further bool
	deep    bool // the power fails again, during recovery
}

// check cuts the power after each call of the disk that chosen does not leave out, and
// looks at what a new process makes of each thing that may leave.
func (s *scene) check(chosen func(call int) bool) (cuts int) {
	s.t.Helper()
	jobs := make(chan cut, 16)
	var mu sync.Mutex
	var wrong []string
	fail := func(c cut, all []string) {
		mu.Lock()
		defer mu.Unlock()
		if len(wrong) < 5 {
			wrong = append(wrong, fmt.Sprintf("%s, %s:\n\t%.2000s", c.after, c.what, strings.Join(all, "\n\t")))
		}
	}
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for c := range jobs {
				mu.Lock()
				enough := len(wrong) >= 5
				mu.Unlock()
				if enough {
					continue
				}
				before := c.image.contents()
				if all := c.want.recover(c.image, c.further); len(all) > 0 {
					fail(c, all)
				} else if c.deep {
					replay(before, c.image.calls, func(i int, d *ramDisk) {
						// What the first one found is for good only once it was open: the wider will do.
						d.powerCuts(rand.New(rand.NewPCG(uint64(i), 3)), func(what string, image *ramDisk) {
							if all := c.want.recover(image, false); len(all) > 0 {
								fail(c, append([]string{fmt.Sprintf("again after %v, %s", c.image.calls[i], what)}, all...))
							}
						})
					})
				}
			}
		})
	}
	now := map[string]actor{}
	lastID := uint64(0)
	next := 0
	r := rand.New(rand.NewPCG(s.r.Uint64(), 2))
	replay(nil, s.disk.calls, func(i int, d *ramDisk) {
		// The disk is as it is now until the next call, so all that holds until then holds now.
		want := &expected{actors: maps.Clone(now), maxBytes: s.options.MaxBytes}
		for ; next < len(s.marks) && s.marks[next].calls <= i+1; next++ {
			m := s.marks[next]
			now[m.key] = m.actor
			held, known := want.actors[m.key]
			if !known {
				held.can = absent
			}
			can := held.can & m.can
			if can == 0 && m.calls == i+1 {
				s.t.Fatalf("after %d calls %s cannot be anything", i+1, m.key)
			}
			held = m.actor
			held.can = can
			want.actors[m.key] = held
			lastID = max(lastID, m.id)
		}
		if !s.faulty { // else what has the last one may be gone before the next
			want.lastID = lastID
		}
		if !chosen(i) {
			return
		}
		d.powerCuts(r, func(what string, image *ramDisk) {
			cuts++
			jobs <- cut{want, image, fmt.Sprintf("call %d, %v", i, s.disk.calls[i]), what, cuts%7 == 0, cuts%61 == 0 && cuts%7 != 0}
		})
	})
	close(jobs)
	group.Wait()
	for _, text := range wrong {
		s.t.Error(text)
	}
	return cuts
}

// frameBytes are the salt, the checksum of all that follows, the size of the payload,
// and what was synced when the record was written.
const frameBytes = 8 + 4 + 4 + 4

// framed returns a record.
func framed(salt uint64, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, salt)
	rest := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	rest = append(binary.LittleEndian.AppendUint32(rest, 0), payload...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(rest, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, rest...)
}

// unframed returns the payload of the record that b begins with, if that is one.
func unframed(b []byte, salt uint64) (payload []byte, ok bool) {
	if len(b) < frameBytes || binary.LittleEndian.Uint64(b) != salt {
		return nil, false
	}
	end := frameBytes + int(binary.LittleEndian.Uint32(b[12:]))
	if end > len(b) || crc32.Checksum(b[12:end], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, false
	}
	return b[frameBytes:end], true
}

// sound is a record in a segment: where it is, and what it is.
type sound struct {
	from, to int
	payload  []byte
}

// walked is a segment, with the records from its beginning on.
type walked struct {
	name    string
	number  uint32
	salt    uint64
	records []sound
}

// walk returns the segments among files, in their order.
func walk(files map[string][]byte) (segments []walked) {
	for name, data := range files {
		w := walked{name: name}
		if n, err := fmt.Sscanf(name, "journal-%08x-%016x.log", &w.number, &w.salt); err != nil || n != 2 {
			continue
		}
		for at := 0; ; {
			payload, ok := unframed(data[at:], w.salt)
			if !ok {
				break
			}
			to := at + frameBytes + len(payload)
			w.records = append(w.records, sound{at, to, payload})
			at = to
		}
		segments = append(segments, w)
	}
	slices.SortFunc(segments, func(a, b walked) int { return int(a.number) - int(b.number) })
	return segments
}

// replay does calls on a disk with these files, and calls then after each.
func replay(files map[string][]byte, calls []ramCall, then func(i int, d *ramDisk)) {
	d := ramOf(files)
	for i, c := range calls {
		d.mu.Lock()
		d.do(c)
		d.mu.Unlock()
		then(i, d)
	}
}
