package forwarder

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/telemetry"
)

// queue decides what to start next. Only [Forwarder.Run] uses it.
type queue struct {
	o       Options
	lanes   []*lane
	running int
}

func newQueue(o Options) *queue { return &queue{o: o} }

// lane is the deliveries of one connection and namespace. Nothing that happens to
// it touches another.
type lane struct {
	name    Lane
	o       Options
	sources []*source // by turns
	turn    int       // whose is next
	fresh   int       // deliveries in sources
	repeat  []*item   // that failed, not running

	running   int
	repeating int   // of running: that failed before
	bytes     int64 // of running

	level     int       // 0 while starts succeed, and one more with each probe that fails
	probing   bool      // a probe is running
	resume    time.Time // when to probe next
	failures  int       // of single deliveries since the last success
	successes uint64    // ever
	problem   error     // of the lane; nil while level is 0
	since     time.Time // of problem
	reported  bool      // problem is in the log
	logged    time.Time // when a failure was last in the log
}

// source is the deliveries of one integration in a lane.
type source struct {
	name     string
	pause    time.Duration // between two starts; 0 for none
	next     time.Time     // not before then
	projects []*project    // with something to start, by turns: the first is next
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
	starts int
}

// item is a delivery that is being started, or has failed.
type item struct {
	journal.Entry
	lane   *lane
	source *source

	attempts  int       // that failed
	first     time.Time // when the first of them did
	successes uint64    // of the lane by then
	due       time.Time // when to repeat it, while others succeed
	level     int       // of the lane when it was last started
	cause     error     // for which it is to be parked; nil if it is to be started
}

func compareLanes(a, b Lane) int {
	return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Namespace, b.Namespace))
}

// laneOf returns the lane of a group. What is not configured has one of its own,
// so that it is in nobody's way.
func (q *queue) laneOf(g journal.Group) *lane {
	name := Lane{Namespace: g.Namespace}
	connection, ok := q.o.Connection(g.Integration)
	if !ok {
		name = Lane{Connection: "(not configured)"}
	} else {
		name.Connection = connection
	}
	at, there := slices.BinarySearchFunc(q.lanes, name, func(l *lane, name Lane) int { return compareLanes(l.name, name) })
	if !there {
		q.lanes = slices.Insert(q.lanes, at, &lane{name: name, o: q.o})
	}
	return q.lanes[at]
}

// add adds an entry that has arrived.
func (q *queue) add(e journal.Entry) {
	l := q.laneOf(e.Group)
	s := l.source(e.Group.Integration)
	p := s.byName[e.Group.Project]
	if p == nil {
		p = &project{name: e.Group.Project}
		s.byName[p.name] = p
		s.projects = append(s.projects, p)
	}
	p.queue = append(p.queue, waiting{e.ID, e.Size, e.Starts})
	l.fresh++
}

func (l *lane) source(integration string) *source {
	for _, s := range l.sources {
		if s.name == integration {
			return s
		}
	}
	s := &source{name: integration, byName: map[string]*project{}}
	if most := l.o.MaxStartsPerSecond[integration]; most > 0 {
		s.pause = time.Duration(float64(time.Second) / most)
	}
	l.sources = append(l.sources, s)
	return s
}

// next returns a delivery to start now, or nil. Then wait is how long until
// there may be one, even if nothing happens; 0 means that something must.
func (q *queue) next(now time.Time) (i *item, wait time.Duration) {
	share := max(q.o.MaxBytes/int64(max(len(q.lanes), 1)), maxWeight)
	for _, l := range q.lanes {
		i, left := l.next(now, share)
		if i != nil {
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

// maxAgain is how often a lane that waits probes with those that have failed once.
const maxAgain = 4

// maxWeight is the most that one delivery is on its way to Temporal.
const maxWeight = 2 << 20

func (i *item) weight() int64 { return min(i.Size, maxWeight) }

func (l *lane) next(now time.Time, share int64) (i *item, wait time.Duration) {
	if l.level > 0 {
		if l.probing {
			return nil, 0
		}
		if wait := l.resume.Sub(now); wait > 0 {
			return nil, wait
		}
	}
	if l.running >= l.o.Parallel || l.running > 0 && l.bytes >= share {
		return nil, 0
	}
	again, left := l.again(now)
	wait = left
	// Those that failed come first, but only in half of the slots: they must not
	// keep the others waiting. And when it is only for them that nothing
	// succeeds, another one must show it, soon and however many they are.
	if again == nil || l.repeating >= (l.o.Parallel+1)/2 || l.level > 0 && (again.attempts > 1 || l.level > maxAgain) {
		i, left := l.take(now)
		if i != nil {
			return i, 0
		}
		wait = sooner(wait, left)
	}
	if again == nil || l.repeating >= (l.o.Parallel+1)/2 {
		return nil, wait
	}
	if left := again.source.next.Sub(now); left > 0 {
		return nil, sooner(wait, left)
	}
	l.repeat = slices.DeleteFunc(l.repeat, func(i *item) bool { return i == again })
	l.repeating++
	l.start(again, now)
	return again, 0
}

// again returns the delivery to repeat next, if one is due, and else how long
// until one is. A lane that waits repeats without regard to that.
func (l *lane) again(now time.Time) (best *item, wait time.Duration) {
	for _, i := range l.repeat {
		if left := i.due.Sub(now); l.level == 0 && left > 0 {
			wait = sooner(wait, left)
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(i.attempts, best.attempts), cmp.Compare(i.ID, best.ID)) < 0 {
			best = i
		}
	}
	return best, wait
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
		i.Group.Namespace = l.name.Namespace
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
	group := journal.Group{Integration: s.name, Project: p.name}
	return &item{Entry: journal.Entry{ID: w.id, Group: group, Size: w.size, Starts: w.starts}}
}

// start notes that i is started now.
func (l *lane) start(i *item, now time.Time) {
	l.running++
	l.bytes += i.weight()
	l.probing = l.level > 0
	i.level = l.level
	if i.source.pause > 0 {
		i.source.next = now.Add(i.source.pause * time.Duration(max(i.Starts, 1)))
	}
}

// ended notes that i is not running any more.
func (q *queue) ended(i *item) {
	q.running--
	l := i.lane
	l.running--
	l.bytes -= i.weight()
	if i.attempts > 0 {
		l.repeating--
	}
	if i.level > 0 {
		l.probing = false
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
	l.level, l.probing, l.reported, l.problem = 0, false, false, nil
}

// failed notes that i must be repeated, and reports whether that should end.
func (q *queue) failed(i *item, err error, now time.Time) (enough bool) {
	q.ended(i)
	l := i.lane
	if i.attempts == 0 {
		i.first, i.successes = now, l.successes
	}
	i.attempts++
	i.due = now.Add(l.backoff(i.attempts))
	l.repeat = append(l.repeat, i)
	d, _ := dispose(err)
	if d == alone {
		l.failures++
	}
	// A lane in which nothing succeeds waits, too, whatever the errors. One that
	// was under way with another that failed first says nothing more.
	if i.level == l.level && (d == withLane || l.failures >= l.o.Parallel) {
		l.backOff(err, now)
	}
	return !keepsTrying(err) && i.attempts >= l.o.GiveUpAttempts && now.Sub(i.first) >= l.o.GiveUpAfter && l.successes > i.successes
}

// backOff makes the lane wait.
func (l *lane) backOff(err error, now time.Time) {
	if l.level == 0 {
		l.since = now
	}
	l.level++
	l.problem = err
	l.resume = now.Add(l.backoff(l.level))
	if now.Sub(l.logged) >= logInterval {
		l.logged, l.reported = now, true
		l.o.Log.Warn("cannot forward deliveries, will go on trying", keyConnection, l.name.Connection,
			telemetry.KeyNamespace, l.name.Namespace, keyPending, l.waiting(), telemetry.KeyError, err.Error())
	}
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
func (q *queue) giveUp(i *item, err error) {
	i.cause = fmt.Errorf("failed %d times in %s while others succeeded: %w", i.attempts, time.Since(i.first).Round(time.Second), err)
}

func (l *lane) waiting() int { return l.fresh + len(l.repeat) + l.running }

func (l *lane) stats() LaneStats {
	s := LaneStats{Lane: l.name, Waiting: l.waiting(), Running: l.running}
	if l.problem != nil {
		s.Failing, s.Since = l.problem.Error(), l.since
	}
	return s
}
