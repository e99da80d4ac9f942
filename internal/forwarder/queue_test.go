package forwarder

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"

	"sentry-temporal/internal/journal"
)

// The bounds of a lane, to the delivery, byte and nanosecond: what is let through
// at a bound and not beyond it. The tests of lanes show what they are good for.

// epoch is when these tests begin.
var epoch = time.Unix(1_800_000_000, 0)

// bounded is a queue of one lane with 4 slots and 1,000 bytes for it; beside it
// there is an empty one.
func bounded(change func(*Options)) (*queue, *lane) {
	o := newForwarder(nil, newTemporal(), Options{
		Parallel: 4, MaxBytes: 2 * maxWeight, GiveUpAttempts: 3, GiveUpAfter: time.Minute, Log: slog.New(slog.DiscardHandler),
	}).o
	if change != nil {
		change(&o)
	}
	q := newQueue(o)
	return q, q.lane(q.o.laneOf("sentry", "default"))
}

// arrive adds n deliveries of size bytes, each of a project of its own.
func arrive(q *queue, n int, size int64) {
	for range n {
		q.add(journal.Entry{ID: uint64(q.lanes[0].fresh) + 1, Size: size, Group: journal.Group{Integration: "sentry"}, Namespaces: []string{"default"}})
	}
}

// started takes n deliveries out, all that there are to be.
func started(t *testing.T, q *queue, now time.Time, n int) []*item {
	t.Helper()
	var items []*item
	for {
		i, _ := q.next(now)
		if i == nil {
			break
		}
		items = append(items, i)
	}
	if len(items) != n {
		t.Fatalf("%d are started, want %d", len(items), n)
	}
	return items
}

// until wants nothing to be started before the moment at, and something then.
func until(t *testing.T, q *queue, now, at time.Time) *item {
	t.Helper()
	i, wait := q.next(now)
	if i != nil || wait != at.Sub(now) {
		t.Fatalf("at first: %v, and to wait for %s instead of %s", i, wait, at.Sub(now))
	}
	if i, wait := q.next(at.Add(-1)); i != nil || wait != 1 {
		t.Fatalf("a moment before: %v, and to wait for %s", i, wait)
	}
	i, _ = q.next(at)
	if i == nil {
		t.Fatal("nothing is started at that moment")
	}
	return i
}

var errSlow = &serviceerror.Unavailable{Message: "busy"}

func TestSlotsOfALane(t *testing.T) {
	q, _ := bounded(nil)
	arrive(q, 6, 1)
	items := started(t, q, epoch, 4)
	q.succeeded(items[0])
	started(t, q, epoch, 1)
}

func TestBytesOfALane(t *testing.T) {
	for name, test := range map[string]struct {
		size    int64
		started int
	}{
		"two that fill it":            {maxWeight / 2, 2},
		"two that do not quite":       {maxWeight/2 - 1, 3},
		"one however large":           {100 * maxWeight, 1},
		"as many as there are slots":  {maxWeight / 8, 4},
		"one that leaves a byte more": {maxWeight - 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			q, _ := bounded(func(o *Options) { o.MaxBytes = maxWeight })
			arrive(q, 5, test.size)
			started(t, q, epoch, test.started)
		})
	}
}

func TestLanesShareTheBytes(t *testing.T) {
	q, _ := bounded(func(o *Options) { o.MaxBytes = 4 * maxWeight })
	arrive(q, 5, maxWeight)
	q.lane(q.o.laneOf("other", "default"))
	started(t, q, epoch, 2)
}

func TestALaneThatWaitsProbesWithOneWhenItsTimeHasCome(t *testing.T) {
	q, l := bounded(nil)
	arrive(q, 3, 1)
	first, _ := q.next(epoch)
	q.failed(first, errSlow, epoch)
	if l.level != 1 {
		t.Fatalf("the level is %d", l.level)
	}
	probe := until(t, q, epoch, l.resume)
	if i, wait := q.next(l.resume.Add(time.Hour)); i != nil || wait != 0 {
		t.Fatalf("beside the probe: %v, and to wait for %s", i, wait)
	}
	q.failed(probe, errSlow, l.resume)
	if l.level != 2 {
		t.Fatalf("the level is %d after a probe that failed", l.level)
	}
	now := l.resume
	q.succeeded(until(t, q, now.Add(-1), now))
	started(t, q, now.Add(time.Hour), 2)
}

func TestOneOutageIsOneStepOfTheBackOff(t *testing.T) {
	q, l := bounded(nil)
	arrive(q, 4, 1)
	for _, i := range started(t, q, epoch, 4) {
		q.failed(i, errSlow, epoch)
	}
	if l.level != 1 || l.waiting() != 4 {
		t.Fatalf("the level is %d, and %d wait", l.level, l.waiting())
	}
}

func TestAsManyFailuresAsSlotsMakeALaneCareful(t *testing.T) {
	for name, test := range map[string]struct {
		failures int
		problem  bool
		started  int
	}{
		"one less": {failures: 3, started: 4},
		"as many":  {failures: 4, problem: true, started: 1},
	} {
		t.Run(name, func(t *testing.T) {
			q, l := bounded(nil)
			arrive(q, 20, 1)
			for _, i := range started(t, q, epoch, 4)[:test.failures] {
				q.failed(i, errOdd, epoch)
			}
			if (l.problem != nil) != test.problem {
				t.Errorf("the problem is %v", l.problem)
			}
			if test.problem {
				started(t, q, epoch, 1)
				until(t, q, epoch, epoch.Add(l.o.MinBackoff)) // and then one for each such time
				return
			}
			started(t, q, epoch, 3) // beside the one that is under way
		})
	}
}

func TestAFailureIsRepeatedWhenItIsDueAndOtherwiseNothingIs(t *testing.T) {
	q, l := bounded(nil)
	arrive(q, 1, 1)
	i, _ := q.next(epoch)
	q.failed(i, errOdd, epoch)
	within(t, i.due.Sub(epoch), l.o.MinBackoff/2, l.o.MinBackoff)
	until(t, q, epoch, i.due)
}

func TestThoseThatFailedHaveHalfOfTheSlots(t *testing.T) {
	for parallel, half := range map[int]int{3: 2, 4: 2, 5: 3} {
		q, l := bounded(func(o *Options) { o.Parallel = parallel })
		arrive(q, parallel+half+1, 1)
		for _, i := range started(t, q, epoch, parallel)[:half+1] {
			q.failed(i, errOdd, epoch)
		}
		l.failures = 0 // as others have succeeded
		arrive(q, 10, 1)
		again := 0
		now := epoch.Add(time.Hour)
		for _, i := range started(t, q, now, half+1) {
			again += min(i.attempts, 1)
		}
		if again != half {
			t.Errorf("of %d slots %d are for those that failed", parallel, again)
		}
		if l.repeating != half {
			t.Errorf("%d are counted", l.repeating)
		}
	}
}

func TestThoseThatFailedHaveHalfOfTheBytes(t *testing.T) {
	for name, test := range map[string]struct {
		size  int64
		again int
	}{
		"a half each":         {maxWeight / 2, 1},
		"a byte less":         {maxWeight/2 - 1, 2},
		"a quarter each":      {maxWeight / 4, 2},
		"a byte less of that": {maxWeight/4 - 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			q, l := bounded(func(o *Options) { o.Parallel, o.MaxBytes = 100, maxWeight })
			for range 3 {
				arrive(q, 1, test.size)
				i, _ := q.next(epoch)
				q.failed(i, errOdd, epoch)
			}
			arrive(q, 10, 1)
			again := 0
			for range 4 {
				i, _ := q.next(epoch.Add(time.Hour))
				if i.attempts > 0 {
					again++
				}
			}
			if again != test.again {
				t.Errorf("%d of those that failed are under way", again)
			}
			if l.repeatingBytes != int64(again)*test.size {
				t.Errorf("%d bytes of them are counted", l.repeatingBytes)
			}
		})
	}
}

func TestWhatIsUnderWayIsCounted(t *testing.T) {
	q, l := bounded(nil)
	arrive(q, 3, 10)
	items := started(t, q, epoch, 3)
	if l.running != 3 || l.bytes != 30 || q.running != 3 || l.repeating != 0 || l.fresh != 0 || l.waiting() != 3 {
		t.Fatalf("under way: %+v", l)
	}
	q.failed(items[0], errOdd, epoch)
	q.succeeded(items[1])
	q.ended(items[2])
	if l.running != 0 || l.bytes != 0 || q.running != 0 || l.repeating != 0 || l.repeatingBytes != 0 || l.waiting() != 1 {
		t.Fatalf("afterwards: %+v", l)
	}
	i, _ := q.next(epoch.Add(time.Hour))
	if l.repeating != 1 || l.repeatingBytes != 10 {
		t.Fatalf("repeating: %+v", l)
	}
	q.failed(i, errOdd, epoch)
	if l.repeating != 0 || l.repeatingBytes != 0 || l.running != 0 {
		t.Fatalf("after that: %+v", l)
	}
}

func TestACapIsATimeBetweenStarts(t *testing.T) {
	q, _ := bounded(func(o *Options) { o.MaxStartsPerSecond = map[string]float64{"sentry": 4} })
	arrive(q, 2, 1)
	started(t, q, epoch, 1)
	i := until(t, q, epoch, epoch.Add(time.Second/4))
	now := epoch.Add(time.Second / 4)
	q.failed(i, errOdd, now)
	if i, _ := q.next(now.Add(time.Second/4 - 1)); i != nil {
		t.Fatal("a repetition comes before its time")
	}
	again, _ := q.next(now.Add(time.Second / 4))
	if again == nil {
		t.Fatal("a repetition does not come at its time")
	}
}

func TestADeliveryIsGivenUpAtTheLastAttemptOfTheTime(t *testing.T) {
	for name, test := range map[string]struct {
		lone  int
		after time.Duration
		err   error
		want  bool
	}{
		"often and long enough": {3, time.Minute, errOdd, true},
		"not often enough":      {2, time.Hour, errOdd, false},
		"not long enough":       {3, time.Minute - 1, errOdd, false},
		"Temporal is busy":      {3, time.Hour, errSlow, false},
	} {
		t.Run(name, func(t *testing.T) {
			q, l := bounded(nil)
			arrive(q, 1, 1)
			i, _ := q.next(epoch)
			enough := q.failed(i, test.err, epoch)
			for n := 1; n <= test.lone; n++ {
				if enough {
					t.Fatalf("given up after %d", n-1)
				}
				l.successes, l.level = l.successes+1, 0 // another has succeeded
				now := epoch.Add(time.Hour)
				if n == test.lone {
					now = now.Add(test.after)
				}
				l.resume = now
				if i, _ = q.next(now.Add(time.Hour)); i == nil {
					t.Fatal("it is not repeated")
				}
				enough = q.failed(i, test.err, now)
			}
			if enough != test.want {
				t.Errorf("given up: %t", enough)
			}
		})
	}
}

func TestFailuresWhileNothingElseSucceedsDoNotCount(t *testing.T) {
	q, _ := bounded(nil)
	arrive(q, 1, 1)
	for n := range 10 {
		now := epoch.Add(time.Duration(n) * time.Hour)
		i, _ := q.next(now)
		if q.failed(i, errOdd, now); i.lone != 0 {
			t.Fatalf("%d count", i.lone)
		}
	}
}

func TestALaneThatFailsIsLoggedOnceAMinute(t *testing.T) {
	lines := 0
	q, l := bounded(func(o *Options) { o.Log = slog.New(counting{slog.DiscardHandler, &lines}) })
	for _, test := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {1, 1}, {logInterval - 1, 1}, {logInterval, 2}, {2*logInterval - 1, 2}, {2 * logInterval, 3}} {
		l.notice(errors.New("down"), epoch.Add(test.at))
		if lines != test.want {
			t.Errorf("%d lines after %s", lines, test.at)
		}
		if !l.since.Equal(epoch) {
			t.Errorf("it began at %s", l.since)
		}
	}
	_ = q
}

// counting counts lines.
type counting struct {
	slog.Handler
	lines *int
}

func (counting) Enabled(context.Context, slog.Level) bool { return true }

func (c counting) Handle(context.Context, slog.Record) error { *c.lines++; return nil }

func TestTheShortestBackOff(t *testing.T) {
	_, l := bounded(func(o *Options) { o.MinBackoff = 2 })
	seen := map[time.Duration]bool{}
	for range 1000 {
		seen[l.backoff(1)] = true
	}
	if len(seen) != 2 || !seen[1] || !seen[2] {
		t.Errorf("of 1 to 2 ns come %v", seen)
	}
}

func TestTheLaneWhoseTimeComesFirstIsWaitedFor(t *testing.T) {
	for name, order := range map[string][]string{"the first": {"a", "b"}, "the second": {"b", "a"}} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(newForwarder(nil, newTemporal(), Options{Log: slog.New(slog.DiscardHandler)}).o)
			for n, namespace := range order {
				q.add(journal.Entry{ID: uint64(n) + 1, Size: 1, Group: journal.Group{Integration: "sentry"}, Namespaces: []string{namespace}})
				i, _ := q.next(epoch)
				q.failed(i, errSlow, epoch)
				i.lane.resume = epoch.Add(time.Duration(n+1) * time.Second)
			}
			until(t, q, epoch, epoch.Add(time.Second))
		})
	}
}

// With every integration of it capped there is nothing to try, and to look for
// something must end.
func TestALaneThatWaitsWaitsForACapToo(t *testing.T) {
	q, l := bounded(func(o *Options) { o.MaxStartsPerSecond = map[string]float64{"sentry": 0.01} })
	arrive(q, 2, 1)
	first, _ := q.next(epoch)
	q.failed(first, errSlow, epoch)
	second, _ := q.next(epoch.Add(100 * time.Second))
	if second == nil {
		t.Fatal("the next one does not come at its time")
	}
	q.failed(second, errSlow, epoch.Add(100*time.Second))
	l.resume = epoch.Add(101 * time.Second) // the back-off is over before the cap
	if i, wait := q.next(l.resume); i != nil || wait != 99*time.Second {
		t.Errorf("%v comes, or there are %s to wait", i, wait)
	}
}

func TestTurnsGoRound(t *testing.T) {
	q, l := bounded(func(o *Options) { o.Connection = func(string) (string, bool) { return "", true } })
	add := func(integration string) {
		q.add(journal.Entry{ID: uint64(l.fresh) + 1, Size: 1, Group: journal.Group{Integration: integration}, Namespaces: []string{"default"}})
	}
	for _, integration := range []string{"a", "b", "c", "a", "c", "a"} {
		add(integration)
	}
	var order string
	for range 6 {
		i, _ := q.next(epoch)
		order += i.source.name
		q.succeeded(i)
	}
	if order != "abcaca" {
		t.Errorf("the order is %s", order)
	}
	add("a")
	add("c")
	for _, want := range []string{"c", "a"} { // b, whose turn it would be, has nothing
		l.turn = 1
		if i, _ := q.next(epoch); i == nil || i.source.name != want {
			t.Errorf("%v comes instead of one of %s", i, want)
		}
	}
}
