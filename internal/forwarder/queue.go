package forwarder

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/text"
)

// queue decides what to start next. Only [Forwarder.Run] uses it.
type queue struct {
	o       Options
	lanes   []*lane
	turn    int              // whose is next
	caps    map[string]*pace // by integration
	running int
}

func newQueue(o Options) *queue { return &queue{o: o, caps: map[string]*pace{}} }

// pace is how fast an integration may start, in all lanes together.
type pace struct {
	pause time.Duration // between two starts; 0 for none
	next  time.Time     // not before then
}

// paceOf returns the pace of an integration.
func (q *queue) paceOf(integration string) *pace {
	p := q.caps[integration]
	if p == nil {
		p = &pace{}
		if most := q.o.MaxStartsPerSecond[integration]; most > 0 {
			p.pause = time.Duration(min(float64(time.Second)/most, float64(time.Hour)))
		}
		q.caps[integration] = p
	}
	return p
}

// spend notes that n runs are being started.
func (p *pace) spend(n int, now time.Time) {
	if p.pause > 0 {
		p.next = now.Add(p.pause * time.Duration(n))
	}
}

// giveBack notes that n runs were not started after all.
func (p *pace) giveBack(n int) { p.next = p.next.Add(-p.pause * time.Duration(n)) }

// lane is the deliveries of one connection and namespace. Nothing that happens to
// it touches another.
type lane struct {
	name    Lane
	o       Options
	sources []*source // by turns
	turn    int       // whose is next
	fresh   int       // deliveries in sources
	repeat  repeats   // that failed, not running

	running        int
	bytes          int64 // of running
	repeating      int   // of running: that failed before
	repeatingBytes int64
	freshNext      bool // where only one at a time is tried: not again one that failed

	level     int       // 0 while starts succeed, and one more with each probe that fails
	probe     *item     // that is running
	resume    time.Time // when to probe next, or while nothing succeeds to start one more
	failures  int       // of single deliveries since the last success
	successes uint64    // ever
	problem   error     // of the lane; nil while level is 0
	since     time.Time // of problem
	reported  bool      // problem is in the log
	logged    time.Time // when a failure was last in the log
}

// source is the deliveries of one integration in a lane.
type source struct {
	name string
	*pace
	projects []*project // with something to start, by turns: the first is next
	byName   map[string]*project
}

// project is the deliveries of one project of a source, the oldest first.
type project struct {
	name  string
	queue []waiting
}

// waiting is an entry without what its project knows: there may be very many.
type waiting struct {
	id     uint64
	size   int64
	starts int    // in this lane
	whole  *whole // nil if all are in this lane
}

// item is what a delivery has in one lane, and is being started, or has failed.
type item struct {
	waiting
	project string
	lane    *lane
	source  *source
	places  []int // of its runs in the plan, once that is read

	attempts  int       // that failed
	due       time.Time // when to repeat it, while others succeed
	level     int       // of the lane when it was last started
	successes uint64    // of the lane when it failed last
	lone      int       // failures since before which others have succeeded
	first     time.Time // when the first of those was
	cause     error     // for which it is to be parked; nil if it is to be started
}

// repeats is a heap of deliveries that failed, the first due on top.
type repeats []*item

func (r repeats) Len() int { return len(r) }
func (r repeats) Less(a, b int) bool {
	return cmp.Or(r[a].due.Compare(r[b].due), cmp.Compare(r[a].id, r[b].id)) < 0
}
func (r repeats) Swap(a, b int) { r[a], r[b] = r[b], r[a] }

// Push implements [heap.Interface].
func (r *repeats) Push(i any) { *r = append(*r, i.(*item)) } //nolint:forcetypeassert // nothing else is in it

// Pop implements [heap.Interface].
func (r *repeats) Pop() any {
	last := len(*r) - 1
	i := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	return i
}

func compareLanes(a, b Lane) int {
	return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Namespace, b.Namespace))
}

// laneOf names the lane of an integration's runs in a namespace. What is not
// configured has one of its own, so that it is in nobody's way.
func (o Options) laneOf(integration, namespace string) Lane {
	connection, ok := o.Connection(integration)
	if !ok {
		return Lane{Connection: "(not configured)"}
	}
	return Lane{Connection: connection, Namespace: namespace}
}

func (q *queue) lane(name Lane) *lane {
	at, there := slices.BinarySearchFunc(q.lanes, name, func(l *lane, name Lane) int { return compareLanes(l.name, name) })
	if !there {
		q.lanes = slices.Insert(q.lanes, at, &lane{name: name, o: q.o})
	}
	return q.lanes[at]
}

// add adds an entry that has arrived to each lane that it has runs in.
func (q *queue) add(e journal.Entry) {
	var names []Lane
	var starts []int
	for _, namespace := range e.Namespaces {
		name := q.o.laneOf(e.Group.Integration, namespace)
		at := slices.Index(names, name)
		if at < 0 {
			at, names, starts = len(names), append(names, name), append(starts, 0)
		}
		starts[at]++
	}
	var w *whole
	if len(names) > 1 {
		w = newWhole(len(names))
	}
	for at, name := range names {
		q.lane(name).add(q.paceOf(e.Group.Integration), e.Group, waiting{e.ID, e.Size, starts[at], w})
	}
}

func (l *lane) add(p *pace, g journal.Group, w waiting) {
	l.source(g.Integration, p).add(g.Project, w)
	l.fresh++
}

func (s *source) add(name string, w waiting) {
	p := s.byName[name]
	if p == nil {
		p = &project{name: name}
		s.byName[p.name] = p
		s.projects = append(s.projects, p)
	}
	p.queue = append(p.queue, w)
}

func (l *lane) source(integration string, p *pace) *source {
	for _, s := range l.sources {
		if s.name == integration {
			return s
		}
	}
	s := &source{name: integration, pace: p, byName: map[string]*project{}}
	l.sources = append(l.sources, s)
	return s
}

// next returns a delivery to start now, or nil. Then wait is how long until
// there may be one, even if nothing happens; 0 means that something must.
func (q *queue) next(now time.Time) (i *item, wait time.Duration) {
	share := max(q.o.MaxBytes/int64(max(len(q.lanes), 1)), maxWeight)
	for n := range q.lanes {
		at := (q.turn + n) % len(q.lanes) // else the first would use up what several have in common
		i, left := q.lanes[at].next(now, share)
		if i != nil {
			q.turn = at + 1
			q.running++
			return i, 0
		}
		wait = sooner(wait, left)
	}
	return nil, wait
}

// sooner returns the shorter wait, where 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// maxWeight is the most that one delivery is on its way to Temporal.
const maxWeight = 2 << 20

func (i *item) weight() int64 { return min(i.size, maxWeight) }

func (l *lane) next(now time.Time, share int64) (i *item, wait time.Duration) {
	careful := l.level > 0 || l.failures >= l.o.Parallel
	if careful {
		if l.probe != nil {
			return nil, 0
		}
		if wait := l.resume.Sub(now); wait > 0 {
			return nil, wait
		}
	}
	if l.running >= l.o.Parallel || l.running > 0 && l.bytes >= share {
		return nil, 0
	}
	// Those that failed come first, but with half of the slots and bytes: they
	// must not keep the others waiting. And when it is only for them that nothing
	// succeeds, every second one that is tried must show it.
	enough := l.repeating >= (l.o.Parallel+1)/2 || l.repeating > 0 && l.repeatingBytes >= share/2
	if enough || careful && l.freshNext {
		if i, wait = l.take(now); i != nil {
			return i, 0
		}
	}
	if !enough {
		i, left := l.again(now)
		if i != nil {
			return i, 0
		}
		wait = sooner(wait, left)
	}
	if i, left := l.take(now); i != nil {
		return i, 0
	} else {
		return nil, sooner(wait, left)
	}
}

// again returns a delivery that failed and is due, or else how long until one is.
// A lane that waits repeats without regard to that.
func (l *lane) again(now time.Time) (i *item, wait time.Duration) {
	for len(l.repeat) > 0 {
		first := l.repeat[0]
		if left := first.due.Sub(now); left > 0 && l.level == 0 {
			return nil, left
		}
		if left := first.source.next.Sub(now); left > 0 { // its integration is capped: the others need not wait
			if l.level > 0 && first.due.Equal(first.source.next) {
				return nil, left // as all that are left
			}
			first.due = first.source.next
			heap.Fix(&l.repeat, 0)
			continue
		}
		heap.Pop(&l.repeat)
		l.repeating++
		l.repeatingBytes += first.weight()
		l.start(first, now)
		l.freshNext = true
		return first, 0
	}
	return nil, 0
}

// take returns the oldest delivery of the project whose turn it is, of the
// integration whose turn it is.
func (l *lane) take(now time.Time) (i *item, wait time.Duration) {
	for n := range l.sources {
		at := (l.turn + n) % len(l.sources)
		s := l.sources[at]
		if len(s.projects) == 0 {
			continue
		}
		if left := s.next.Sub(now); left > 0 {
			wait = sooner(wait, left)
			continue
		}
		l.turn = at + 1
		l.fresh--
		i := s.take()
		i.lane, i.source = l, s
		l.freshNext = false
		l.start(i, now)
		return i, 0
	}
	return nil, wait
}

func (s *source) take() *item {
	p := s.projects[0]
	s.projects = s.projects[1:]
	w := p.queue[0]
	if p.queue = p.queue[1:]; len(p.queue) > 0 {
		s.projects = append(s.projects, p)
	} else {
		delete(s.byName, p.name)
	}
	if w.whole == nil {
		w.whole = newWhole(1)
	}
	return &item{waiting: w, project: p.name}
}

// start notes that i is started now.
func (l *lane) start(i *item, now time.Time) {
	l.running++
	l.bytes += i.weight()
	i.level = l.level
	switch {
	case l.level > 0:
		l.probe = i
	case l.failures >= l.o.Parallel:
		l.resume = now.Add(l.o.MinBackoff)
	}
	i.source.spend(i.starts, now)
}

// ended notes that i is not running any more.
func (q *queue) ended(i *item) {
	q.running--
	l := i.lane
	l.running--
	l.bytes -= i.weight()
	if i.attempts > 0 {
		l.repeating--
		l.repeatingBytes -= i.weight()
	}
	if l.probe == i {
		l.probe = nil
	}
}

// succeeded notes that i is started.
func (q *queue) succeeded(i *item) {
	q.ended(i)
	l := i.lane
	if l.reported {
		l.o.Log.Info("forwarding again", keyConnection, l.name.Connection, telemetry.KeyNamespace, l.name.Namespace, keyPending, l.waiting())
	}
	l.successes++
	l.failures = 0
	l.level, l.probe, l.reported, l.problem = 0, nil, false, nil
}

// failed notes that i must be repeated, and reports whether that should end.
func (q *queue) failed(i *item, err error, now time.Time) (enough bool) {
	q.ended(i)
	l := i.lane
	switch {
	case i.attempts == 0:
	case l.successes > i.successes && !keepsTrying(err):
		if i.lone++; i.lone == 1 {
			i.first = now
		}
	}
	i.attempts++
	i.successes = l.successes
	i.due = now.Add(l.backoff(i.attempts))
	heap.Push(&l.repeat, i)
	switch d, _ := dispose(err); {
	case d != withLane:
		if l.failures++; l.failures >= l.o.Parallel {
			l.notice(err, now)
		}
	case i.level == l.level: // else it was under way with another that failed first
		l.backOff(err, now)
	}
	return i.lone >= l.o.GiveUpAttempts && now.Sub(i.first) >= l.o.GiveUpAfter
}

// withdrawn notes that i ends without a start, which says nothing about the rest.
func (q *queue) withdrawn(i *item) {
	q.ended(i)
	i.source.giveBack(i.starts)
}

// comeBack has an item that was given up tried once more.
func (i *item) comeBack(now time.Time) {
	i.attempts++
	i.due = now
	heap.Push(&i.lane.repeat, i)
}

// backOff makes the lane wait.
func (l *lane) backOff(err error, now time.Time) {
	l.level++
	l.resume = now.Add(l.backoff(l.level))
	l.notice(err, now)
}

// notice takes note of a problem of the lane.
func (l *lane) notice(err error, now time.Time) {
	if l.problem == nil {
		l.since = now
	}
	l.problem = err
	if now.Sub(l.logged) >= logInterval {
		l.logged, l.reported = now, true
		l.o.Log.Warn("cannot forward deliveries, will go on trying", keyConnection, l.name.Connection,
			telemetry.KeyNamespace, l.name.Namespace, keyPending, l.waiting(), telemetry.KeyError, brief(err))
	}
}

// brief returns err's text, cut to what a line or a page shows.
func brief(err error) string {
	const most = 500 // bytes
	return text.Cut(text.Line(err.Error()), most)
}

// logInterval is how often a lane that fails is in the log.
const logInterval = time.Minute

// backoff is how long to wait after n failures: doubling, between half of it
// and all of it at random.
func (l *lane) backoff(n int) time.Duration {
	d := l.o.MinBackoff
	for i := 1; i < n && d < l.o.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, l.o.MaxBackoff)
	return d/2 + rand.N(d/2+1)
}

// giveUp has i parked with the next attempt.
func (i *item) giveUp(err error, now time.Time) {
	i.cause = fmt.Errorf("failed %d times in %s while others succeeded: %w", i.lone, now.Sub(i.first).Round(time.Second), err)
}

func (l *lane) waiting() int { return l.fresh + len(l.repeat) + l.running }

func (l *lane) stats() LaneStats {
	s := LaneStats{Lane: l.name, Waiting: l.waiting(), Running: l.running}
	if l.problem != nil && s.Waiting > 0 { // else nothing would ever say that it is over
		s.Failing, s.Since = brief(l.problem), l.since
	}
	return s
}
