package forwarder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// One of two lanes is broken in every way that there is: the other one starts
// each delivery at the moment that it arrives.
func TestABrokenLaneIsNotNoticedByAnother(t *testing.T) {
	for name, broken := range map[string]func(context.Context, string) error{
		"namespace missing": always(serviceerror.NewNamespaceNotFound("bad")),
		"denied":            always(serviceerror.NewPermissionDenied("no", "")),
		"exhausted":         always(&serviceerror.ResourceExhausted{Message: "slow down"}),
		"unavailable":       always(errDown),
		"hanging":           hang,
		"hanging, stubborn": func(context.Context, string) error { <-time.After(time.Minute); return errDown },
		"refusing each":     always(errRefused),
		"failing oddly":     always(errOdd),
		"failing in between": func() func(context.Context, string) error {
			n := 0
			var mu sync.Mutex
			return func(context.Context, string) error {
				mu.Lock()
				defer mu.Unlock()
				n++
				if n%2 == 0 {
					return errDown
				}
				return nil
			}
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := openJournal(t, t.TempDir(), journal.Options{})
				f := newTemporal()
				f.fail = func(ctx context.Context, key string) error {
					if strings.HasPrefix(key, "bad") {
						return broken(ctx, key)
					}
					return nil
				}
				appendFrom(t, j, "bad", "shop", 100)
				stop := runForwarder(t, j, f, Options{})
				for i := range 50 {
					pass(time.Duration(i) * 37 * time.Millisecond)
					env := deliveryOf(fmt.Sprintf("good-%d", i))
					env.IntegrationID = "good"
					must(t, appendTo(t.Context(), j, env, "shop"))
					arrived := time.Now()
					synctest.Wait()
					tried := f.tried()
					started := false
					for _, a := range tried {
						started = started || a == attempt{env.IdempotencyKey, arrived}
					}
					equal(t, started, true)
				}
				stop()
				pass(2 * time.Minute) // those who do not listen to their context
				good := 0
				for _, key := range f.runs() {
					if strings.HasPrefix(key, "good") {
						good++
					}
				}
				equal(t, good, 50)
			})
		})
	}
}

func TestLanesSayHowTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = onlyFor("bad", errDown)
		forwarder := newForwarder(j, f, Options{
			Connection: func(string) (string, bool) { return "cloud", true },
			Log:        slog.New(slog.NewTextHandler(&log, nil)),
		})
		began := time.Now()
		appendFrom(t, j, "bad", "shop", 30)
		appendFrom(t, j, "good", "shop", 3)
		run(t, forwarder)
		pass(90 * time.Second)
		lanes := forwarder.Lanes()
		equal(t, len(lanes), 2)
		equal(t, lanes[0].Lane, Lane{"cloud", "bad"})
		equal(t, lanes[0].Waiting, 30)
		contains(t, lanes[0].Failing, "temporal is down")
		within(t, lanes[0].Since.Sub(began), 0, time.Second)
		equal(t, lanes[1], LaneStats{Lane: Lane{"cloud", "good"}})
		equal(t, strings.Count(log.String(), "cannot forward"), 2) // once a minute
		contains(t, log.String(), "namespace=bad")

		f.mend()
		pass(11 * time.Second)
		equal(t, forwarder.Lanes()[0], LaneStats{Lane: Lane{"cloud", "bad"}})
		equal(t, strings.Count(log.String(), "forwarding again"), 1)
	})
}

func TestAStormOfOneProjectDelaysItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = slow(100 * time.Millisecond)
		appendFrom(t, j, "sentry", "storm", 1000)
		runForwarder(t, j, f, Options{})
		pass(time.Second)
		for _, other := range []string{"calm", "quiet"} {
			appendFrom(t, j, "sentry", other, 1)
			arrived := time.Now()
			pass(200 * time.Millisecond)
			for _, a := range f.tried() {
				if strings.HasPrefix(a.key, "sentry-"+other) {
					within(t, a.at.Sub(arrived), 0, 100*time.Millisecond) // a slot, as soon as one is free
				}
			}
			equal(t, strings.Contains(strings.Join(f.runs(), " "), other), true)
		}
		within(t, j.Stats().Pending, 700, 900)
	})
}

func TestProjectsThatStormShareEvenlyAndEachInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = slow(10 * time.Millisecond)
		for p := range 10 {
			for i := range 100 - p { // one after the other: in order
				env := deliveryOf(fmt.Sprintf("%d-%03d", p, i))
				must(t, appendTo(t.Context(), j, env, fmt.Sprint("project-", p)))
			}
		}
		runForwarder(t, j, f, Options{Parallel: 1})
		pass(5 * time.Second) // half of all
		count, last := map[string]int{}, map[string]string{}
		for _, key := range f.runs() {
			project, _, _ := strings.Cut(key, "-")
			count[project]++
			if last[project] > key {
				t.Errorf("%s came after %s", key, last[project])
			}
			last[project] = key
		}
		for project, n := range count {
			within(t, n, 49, 51)
			_ = project
		}
		equal(t, len(count), 10)
	})
}

func TestIntegrationsTakeTurnsHoweverManyProjectsTheyHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = slow(10 * time.Millisecond)
		oneLane := func(env sentry.Envelope) []routes.Operation {
			p := plan(env)
			p[0].Namespace = "default"
			return p
		}
		for i := range 200 {
			many, one := deliveryOf(fmt.Sprint("many-", i)), deliveryOf(fmt.Sprint("one-", i))
			many.IntegrationID, one.IntegrationID = "many", "one"
			_, err := j.Append(t.Context(), journal.Arrival{Envelope: many, Subject: sentry.Subject{Project: fmt.Sprint(i)}, Plan: oneLane})
			must(t, err)
			_, err = j.Append(t.Context(), journal.Arrival{Envelope: one, Subject: sentry.Subject{Project: "shop"}, Plan: oneLane})
			must(t, err)
		}
		runForwarder(t, j, f, Options{Parallel: 1, Connection: func(string) (string, bool) { return "", true }})
		pass(time.Second)
		one := strings.Count(strings.Join(f.runs(), " "), "one-")
		within(t, one, len(f.runs())/2-1, len(f.runs())/2+1)
	})
}

func TestStartsOfAnIntegrationAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = func(_ context.Context, key string) error {
			if strings.HasSuffix(key, "7") && len(f.tried()) < 50 {
				return errOdd // repeated starts count, too
			}
			return nil
		}
		appendFrom(t, j, "capped", "shop", 200)
		appendFrom(t, j, "free", "shop", 200)
		runForwarder(t, j, f, Options{
			Connection:         func(string) (string, bool) { return "", true },
			MaxStartsPerSecond: map[string]float64{"capped": 20},
		})
		synctest.Wait()
		within(t, strings.Count(strings.Join(f.runs(), " "), "free-"), 170, 200)
		pass(5*time.Second + time.Millisecond)
		capped := 0
		for _, a := range f.tried() {
			if strings.HasPrefix(a.key, "capped") {
				capped++
			}
		}
		within(t, capped, 95, 101)
		pass(10 * time.Second)
		equal(t, len(f.runs()), 400)
	})
}

func TestAPlanOfSeveralStartsCountsAsSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		for _, key := range keys(100) {
			_, err := j.Append(t.Context(), journal.Arrival{Envelope: deliveryOf(key), Plan: func(env sentry.Envelope) []routes.Operation {
				one := plan(env)
				return append(one, one...)
			}})
			must(t, err)
		}
		runForwarder(t, j, f, Options{MaxStartsPerSecond: map[string]float64{"sentry": 10}})
		pass(4*time.Second + time.Millisecond)
		within(t, len(f.runs()), 19, 21)
	})
}

// However many have failed once when the lane begins to wait, it probes with
// another one soon.
func TestDeliveriesThatHaveFailedOnceDoNotKeepALaneFromProbingWithOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = onlyFor("bad", errOdd)
		appendFrom(t, j, "bad", "", 60)
		runForwarder(t, j, f, Options{Parallel: 60})
		synctest.Wait() // at once
		equal(t, len(f.tried()), 60)
		pass(time.Second) // all of them are due
		env := deliveryOf("good")
		env.IntegrationID = "bad"
		must(t, appendTo(t.Context(), j, env, "shop"))
		pass(5 * time.Second)
		equal(t, f.runs(), []string{"good"})
	})
}

func TestMoreBadDeliveriesThanSlotsDoNotHoldUpTheRest(t *testing.T) {
	for name, err := range map[string]error{"alone": errOdd, "like an outage": errDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := openJournal(t, t.TempDir(), journal.Options{})
				f := newTemporal()
				f.fail = onlyFor("sentry-bad", err)
				appendFrom(t, j, "sentry", "bad", 60)
				runForwarder(t, j, f, Options{Parallel: 4})
				pass(10 * time.Minute) // all of them have failed, again and again
				appendFrom(t, j, "sentry", "good", 100)
				pass(time.Minute)
				equal(t, len(f.runs()), 100)
				within(t, len(f.tried()), 100, 10_000)
			})
		})
	}
}

func TestADeliveryThatAlwaysFailsWhileOthersDoNotIsParkedInTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		park  bool
		quiet bool // no other succeeds
	}{
		"an odd error":                      {err: errOdd, park: true},
		"it never answers":                  {err: context.DeadlineExceeded, park: true},
		"an odd error, and nobody succeeds": {err: errOdd, quiet: true},
		"Unavailable":                       {err: errDown},
		"ResourceExhausted":                 {err: &serviceerror.ResourceExhausted{Message: "busy"}},
		"Aborted":                           {err: serviceerror.NewAborted("again")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := openJournal(t, t.TempDir(), journal.Options{})
				f := newTemporal()
				f.fail = onlyFor("bad", c.err)
				appendAll(t, j, "bad")
				runForwarder(t, j, f, Options{})
				for i := range 59 {
					pass(15 * time.Second)
					if !c.quiet {
						appendAll(t, j, fmt.Sprint("good-", i))
					}
				}
				equal(t, j.Stats().Parked, 0) // not before its time
				for i := range 60 {
					pass(15 * time.Second)
					if !c.quiet {
						appendAll(t, j, fmt.Sprint("later-", i))
					}
				}
				parked := parkedItems(t, j)
				if equal(t, len(parked) == 1, c.park); c.park {
					equal(t, parked[0].ReasonCode, journal.GaveUp)
					contains(t, parked[0].Reason, c.err.Error())
				}
			})
		})
	}
}

func TestWhatIsNotConfiguredIsParkedAndInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		appendFrom(t, j, "gone", "shop", 50)
		appendFrom(t, j, "sentry", "shop", 5)
		runForwarder(t, j, f, Options{Connection: func(integration string) (string, bool) { return "", integration == "sentry" }})
		pass(time.Second)
		equal(t, len(f.runs()), 5)
		parked := parkedItems(t, j)
		equal(t, len(parked), 50)
		equal(t, parked[0].ReasonCode, journal.NotConfigured)
	})
}

func TestParkedDeliveriesThatDoNotFitWaitAndAreInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{MaxBytes: 120_000})
		f := newTemporal()
		f.fail = onlyFor("sentry-bad", errRefused)
		appendFrom(t, j, "sentry", "bad", 60)
		runForwarder(t, j, f, Options{Parallel: 4})
		pass(time.Minute)
		stats := j.Stats()
		within(t, stats.ParkedBytes, 20_000, 30_000)
		within(t, stats.Pending, 20, 55)
		appendFrom(t, j, "sentry", "good", 20)
		pass(time.Minute)
		equal(t, len(f.runs()), 20)

		_, err := j.Discard(t.Context(), journal.Filter{State: journal.Parked})
		must(t, err)
		pass(time.Minute)
		within(t, j.Stats().ParkedBytes, 15_000, 30_000)
	})
}

func TestDeliveriesThatAPersonHasTakenAwayAreNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendFrom(t, j, "sentry", "shop", 40)
		runForwarder(t, j, f, Options{Parallel: 4})
		pass(time.Minute)
		n, err := j.Discard(t.Context(), journal.Filter{State: journal.Pending, IDs: []uint64{1, 2, 3, 20, 21}})
		must(t, err)
		equal(t, n, 5)
		n, err = j.Park(t.Context(), journal.Filter{IDs: []uint64{30, 31}})
		must(t, err)
		equal(t, n, 2)
		f.mend()
		retries := j.Stats().Retries
		pass(time.Minute)
		equal(t, len(f.runs()), 33)
		equal(t, j.Stats().Pending, 0)
		equal(t, j.Stats().Retries, retries)
	})
}

// Bytes are held while a delivery is on its way, a share for each lane.
func TestBytesOnTheWayAreBoundedForEachLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = hang
		for i := range 20 {
			for _, integration := range []string{"one", "two"} {
				env := deliveryOf(fmt.Sprint(integration, i))
				env.IntegrationID = integration
				env.Body = sentry.Body(strings.Repeat("x", 3<<20))
				must(t, appendTo(t.Context(), j, env, ""))
			}
		}
		runForwarder(t, j, f, Options{MaxBytes: 16 << 20})
		pass(time.Second)
		count := map[string]int{}
		for _, a := range f.tried() {
			count[a.key[:3]]++
		}
		equal(t, count, map[string]int{"one": 4, "two": 4}) // 2 MiB each at most
	})
}

// What takes memory, reading and encoding, waits for nobody outside.
func TestOneLargeDeliveryIsPreparedAtATime(t *testing.T) {
	j := openJournal(t, t.TempDir(), journal.Options{})
	for _, key := range keys(6) {
		env := deliveryOf(key)
		env.Body = sentry.Body(strings.Repeat("x", 5<<20))
		must(t, appendTo(t.Context(), j, env, ""))
	}
	var mu sync.Mutex
	preparing, most, started := 0, 0, 0
	all := make(chan struct{})
	run(t, New(j, func(sentry.Envelope, []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
		mu.Lock()
		preparing++
		most = max(most, preparing)
		mu.Unlock()
		<-time.After(10 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		preparing--
		return func(context.Context) ([]starter.Run, error) {
			mu.Lock()
			defer mu.Unlock()
			if started++; started == 6 {
				close(all)
			}
			return nil, nil
		}, nil
	}, Options{Log: slog.New(slog.DiscardHandler)}))
	<-all
	equal(t, most, 1)
}

// However long large ones take and wait for each other.
func TestASmallDeliveryWaitsForNoLargeOne(t *testing.T) {
	j := openJournal(t, t.TempDir(), journal.Options{})
	appendOf := func(integration string, n, size int) {
		for i := range n {
			env := deliveryOf(fmt.Sprint(integration, i))
			env.IntegrationID = integration
			env.Body = sentry.Body(strings.Repeat("x", size))
			must(t, appendTo(t.Context(), j, env, ""))
		}
	}
	appendOf("large", 3, 5<<20)
	release, small := make(chan struct{}), make(chan struct{})
	stop := run(t, New(j, func(env sentry.Envelope, _ []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
		if env.IntegrationID == "large" {
			<-release
		} else {
			close(small)
		}
		return func(context.Context) ([]starter.Run, error) { return nil, nil }, nil
	}, Options{Log: slog.New(slog.DiscardHandler)}))
	appendOf("small", 1, 100)
	select {
	case <-small:
	case <-time.After(10 * time.Second):
		t.Error("it waits for them")
	}
	close(release)
	stop()
	equal(t, j.Stats().Pending, 0)
}

func TestBackOffGrowsAndIsSpread(t *testing.T) {
	l := &lane{o: newForwarder(nil, newTemporal(), Options{}).o}
	for n, longest := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 5: 1600 * time.Millisecond, 8: 10 * time.Second, 1000: 10 * time.Second,
	} {
		shortest, highest := time.Hour, time.Duration(0)
		for range 1000 {
			d := l.backoff(n)
			within(t, d, longest/2, longest)
			shortest, highest = min(shortest, d), max(highest, d)
		}
		within(t, highest-shortest, longest/3, longest/2)
	}
}

func TestALoopThatDoesNotTurnIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		forwarder := newForwarder(j, newTemporal(), Options{})
		must(t, forwarder.Alive())
		stop := run(t, forwarder)
		pass(time.Hour)
		must(t, forwarder.Alive()) // idle is fine
		forwarder.turned.Store(time.Now().Add(-time.Minute).UnixNano())
		if forwarder.Alive() == nil {
			t.Error("nothing is said of a loop that has not turned for a minute")
		}
		stop()
		must(t, forwarder.Alive())
	})
}

func TestADeliveryThatFailedIsRepeatedWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errOdd)
		appendAll(t, j, "a")
		runForwarder(t, j, f, Options{})
		pass(time.Second)
		tried := f.tried()
		within(t, tried[1].at.Sub(tried[0].at), 50*time.Millisecond, 100*time.Millisecond)
		within(t, tried[2].at.Sub(tried[1].at), 100*time.Millisecond, 200*time.Millisecond)
	})
}

func TestADeliveryThatFailedDoesNotWaitForAllThatCameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		failed := 0 // of the first delivery
		f.fail = func(ctx context.Context, key string) error {
			if key == "key-000000" {
				if failed++; failed <= 3 {
					return errOdd
				}
			}
			return slow(10*time.Millisecond)(ctx, key)
		}
		appendAll(t, j, keys(1000)...)
		runForwarder(t, j, f, Options{Parallel: 2})
		pass(2 * time.Second)
		equal(t, strings.Contains(strings.Join(f.runs(), " "), "key-000000"), true)
		within(t, len(f.runs()), 300, 500)
	})
}

func TestWhatIsNotSaidIsAsDocumented(t *testing.T) {
	o := newForwarder(nil, newTemporal(), Options{}).o
	equal(t, []time.Duration{o.AttemptTimeout, o.StopTimeout, o.MinBackoff, o.MaxBackoff, o.GiveUpAfter},
		[]time.Duration{10 * time.Second, 200 * time.Millisecond, 100 * time.Millisecond, 10 * time.Second, 15 * time.Minute})
	equal(t, []int64{int64(o.GiveUpAttempts), int64(o.Parallel), o.MaxBytes}, []int64{20, 16, 32 << 20})
}

func TestADeliveryIsNotGivenUpForTimeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = onlyFor("bad", errOdd)
		appendAll(t, j, "bad")
		runForwarder(t, j, f, Options{GiveUpAfter: time.Minute, GiveUpAttempts: 200})
		for i := range 60 {
			pass(10 * time.Second)
			appendAll(t, j, fmt.Sprint("good-", i))
		}
		synctest.Wait()
		within(t, len(f.tried())-60, 60, 150)
		equal(t, j.Stats().Parked, 0)
	})
}

func TestRepetitionsAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errOdd)
		appendAll(t, j, keys(20)...)
		runForwarder(t, j, f, Options{Parallel: 1000, MaxStartsPerSecond: map[string]float64{"sentry": 1}})
		pass(2 * time.Minute) // each is to be repeated every 5 s to 10 s
		within(t, len(f.tried()), 100, 121)
	})
}

// It is not asked as fast as it refuses, and yet soon finds what succeeds.
func TestALaneInWhichNothingSucceedsIsSlowWhateverTheErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errOdd)
		appendAll(t, j, keys(100)...)
		forwarder := newForwarder(j, f, Options{Parallel: 4})
		run(t, forwarder)
		pass(time.Minute)
		within(t, len(f.tried()), 500, 610) // ten a second
		contains(t, forwarder.Lanes()[0].Failing, errOdd.Error())
	})
}

func TestAGoodDeliverySoonStartsBesideHoweverManyBadOnes(t *testing.T) {
	for _, n := range []int{17, 40, 1000} {
		t.Run(fmt.Sprint(n, " bad ones"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := openJournal(t, t.TempDir(), journal.Options{})
				f := newTemporal()
				f.fail = onlyFor("sentry-bad", errOdd)
				appendFrom(t, j, "sentry", "bad", n)
				runForwarder(t, j, f, Options{})
				pass(3 * time.Second)
				appendFrom(t, j, "sentry", "good", 1)
				pass(time.Second)
				equal(t, len(f.runs()), 1)
			})
		})
	}
}

func TestACappedIntegrationThatFailsHoldsUpNoOtherOfItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		once := true
		f.fail = func(ctx context.Context, key string) error {
			if key == "free-0" && once {
				once = false
				return errOdd
			}
			return onlyFor("capped", errOdd)(ctx, key)
		}
		oneLane := func(env sentry.Envelope) []routes.Operation {
			p := plan(env)
			p[0].Namespace = "default"
			return p
		}
		appendOne := func(integration, key string) {
			env := deliveryOf(key)
			env.IntegrationID = integration
			_, err := j.Append(t.Context(), journal.Arrival{Envelope: env, Plan: oneLane})
			must(t, err)
		}
		appendOne("capped", "capped-1")
		runForwarder(t, j, f, Options{
			Connection:         func(string) (string, bool) { return "", true },
			MaxStartsPerSecond: map[string]float64{"capped": 0.1},
		})
		pass(time.Second)
		for i := range 10 {
			appendOne("free", fmt.Sprint("free-", i))
		}
		synctest.Wait()
		equal(t, len(f.runs()), 9)
		pass(time.Second) // nor their repetitions
		equal(t, len(f.runs()), 10)
		pass(time.Minute)
		within(t, len(f.tried()), 11+5, 11+8) // and is repeated as its cap lets it
	})
}

func TestLargeBadDeliveriesLeaveHalfOfTheBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = func(ctx context.Context, key string) error {
			if strings.HasPrefix(key, "bad") {
				return oddly(ctx, 2*time.Second)
			}
			return nil
		}
		for i := range 20 {
			env := deliveryOf(fmt.Sprint("bad-", i))
			env.Body = sentry.Body(strings.Repeat("x", 2<<20))
			must(t, appendTo(t.Context(), j, env, "bad"))
		}
		runForwarder(t, j, f, Options{MaxBytes: 4 << 20})
		pass(time.Minute)
		appendFrom(t, j, "sentry", "good", 100)
		pass(30 * time.Second)
		equal(t, len(f.runs()), 100)
	})
}

func TestWhatFailedTwiceIsRepeatedHoweverMuchFailsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		flaky := 0
		f.fail = func(ctx context.Context, key string) error {
			if strings.HasPrefix(key, "sentry-bad") {
				return oddly(ctx, 2*time.Second)
			}
			if flaky++; flaky < 3 {
				return errOdd
			}
			return nil
		}
		appendFrom(t, j, "sentry", "bad", 1000)
		appendFrom(t, j, "sentry", "flaky", 1)
		runForwarder(t, j, f, Options{})
		pass(20 * time.Second)
		equal(t, f.runs(), []string{"sentry-flaky-000000"})
	})
}

// What failed while nobody succeeded says nothing about a delivery.
func TestAnOutageIsNoReasonToGiveADeliveryUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendAll(t, j, keys(3)...)
		runForwarder(t, j, f, Options{})
		pass(30 * time.Minute)
		once := true
		f.failWith(func(_ context.Context, key string) error {
			if key == "key-000001" && once {
				once = false
				return errOdd
			}
			return nil
		})
		pass(time.Minute)
		equal(t, j.Stats().Parked, 0)
		equal(t, len(f.runs()), 3)
	})
}

func TestWhatIsDiscardedDoesNotUseUpTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		appendFrom(t, j, "sentry", "shop", 200)
		runForwarder(t, j, f, Options{MaxStartsPerSecond: map[string]float64{"sentry": 1}})
		pass(2 * time.Second)
		_, err := j.Discard(t.Context(), journal.Filter{State: journal.Pending})
		must(t, err)
		before := len(f.runs())
		must(t, appendTo(t.Context(), j, deliveryOf("behind them"), "shop"))
		pass(2 * time.Second)
		equal(t, len(f.runs()), before+1)
	})
}

func TestTheReasonOfWhatIsGivenUpIsTheErrorHoweverLongThereIsNoRoomForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{MaxBytes: 40_000})
		f := newTemporal()
		f.fail = onlyFor("odd", errOdd)
		appendAll(t, j, keys(20)...)
		for n := 1; n > 0; { // until there is no room for one more
			n, _ = j.Park(t.Context(), journal.Filter{})
		}
		within(t, j.Stats().Parked, 5, 19)
		appendAll(t, j, "odd")
		runForwarder(t, j, f, Options{})
		for i := range 200 {
			appendAll(t, j, fmt.Sprint("good-", i))
			pass(15 * time.Second)
		}
		_, err := j.Discard(t.Context(), journal.Filter{State: journal.Parked})
		must(t, err)
		pass(time.Minute)
		parked := parkedItems(t, j)
		equal(t, len(parked), 1)
		contains(t, parked[0].Reason, errOdd.Error())
		equal(t, strings.Count(parked[0].Reason, "while others succeeded"), 1)
	})
}

func TestDeliveriesThatHangAgainAndAgainLeaveHalfOfTheSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		var hanging atomic.Int64
		f.fail = func(ctx context.Context, key string) error {
			if strings.HasPrefix(key, "sentry-bad") {
				hanging.Add(1)
				defer hanging.Add(-1)
				return oddly(ctx, 10*time.Second)
			}
			return nil
		}
		appendFrom(t, j, "sentry", "bad", 10)
		runForwarder(t, j, f, Options{Parallel: 4})
		pass(time.Minute) // each has failed
		appendAll(t, j, "first")
		pass(time.Minute)
		late := 0
		for i := range 100 {
			pass(time.Second)
			appendAll(t, j, fmt.Sprint("good-", i))
			synctest.Wait()
			within(t, hanging.Load(), 0, 2)
			if len(f.runs()) < 2+i {
				late++
			}
		}
		within(t, late, 0, 40)
	})
}

func TestADamagedRecordIsParkedAndInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, journal.Options{})
		appendAll(t, j, keys(3)...)
		files, err := filepath.Glob(filepath.Join(dir, "journal-*.log"))
		must(t, err)
		for _, path := range files {
			data, err := os.ReadFile(path)
			must(t, err)
			if at := bytes.Index(data, []byte(`"key":"key-000001"`)); at >= 0 {
				file, err := os.OpenFile(path, os.O_WRONLY, 0)
				must(t, err)
				_, err = file.WriteAt([]byte("K"), int64(at)+1)
				must(t, err)
				must(t, file.Close())
			}
		}
		f := newTemporal()
		runForwarder(t, j, f, Options{})
		pass(time.Minute)
		equal(t, sorted(f.runs()), []string{"key-000000", "key-000002"})
		parked := parkedItems(t, j)
		equal(t, len(parked), 1)
		equal(t, parked[0].ReasonCode, journal.Damaged)
	})
}

// stuck is a log that blocks, until release is closed.
type stuck struct {
	slog.Handler
	release chan struct{}
}

func (stuck) Enabled(context.Context, slog.Level) bool { return true }

func (s stuck) Handle(context.Context, slog.Record) error {
	<-s.release
	return nil
}

func TestALoopThatHangsIsNoticedAndOneThatGoesOnIsFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errDown) // which the loop logs
		release := make(chan struct{})
		forwarder := newForwarder(j, f, Options{Log: slog.New(stuck{slog.DiscardHandler, release})})
		run(t, forwarder)
		appendAll(t, j, "a")
		pass(deadAfter)
		must(t, forwarder.Alive())
		pass(1)
		if forwarder.Alive() == nil {
			t.Error("nothing is said of a loop that hangs")
		}
		close(release)
		synctest.Wait()
		must(t, forwarder.Alive())
	})
}

func TestDispositions(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want disposition
		code journal.Code
	}{
		"damaged":                  {journal.ErrDamaged, parked, journal.Damaged},
		"panic":                    {&starter.PanicError{Value: "x"}, parked, journal.Bug},
		"too large":                {starter.ErrTooLarge, parked, journal.TooLarge},
		"not configured":           {starter.ErrNotConfigured, parked, journal.NotConfigured},
		"unknown plan":             {starter.ErrUnknownPlan, parked, journal.Refused},
		"InvalidArgument":          {serviceerror.NewInvalidArgument("x"), parked, journal.Refused},
		"busy run":                 {&serviceerror.ResourceExhausted{Cause: 5}, alone, ""},
		"ResourceExhausted":        {&serviceerror.ResourceExhausted{Cause: 1}, withLane, ""},
		"Unavailable":              {serviceerror.NewUnavailable("x"), withLane, ""},
		"Aborted":                  {serviceerror.NewAborted("x"), withLane, ""},
		"DeadlineExceeded":         {serviceerror.NewDeadlineExceeded("x"), withLane, ""},
		"Canceled":                 {serviceerror.NewCanceled("x"), withLane, ""},
		"context's deadline":       {context.DeadlineExceeded, withLane, ""},
		"context's end":            {context.Canceled, withLane, ""},
		"namespace not found":      {serviceerror.NewNamespaceNotFound("x"), withLane, ""},
		"namespace not active":     {serviceerror.NewNamespaceNotActive("x", "a", "b"), withLane, ""},
		"namespace wrong state":    {&serviceerror.NamespaceInvalidState{}, withLane, ""},
		"namespace unavailable":    {serviceerror.NewNamespaceUnavailable("x"), withLane, ""},
		"not found":                {serviceerror.NewNotFound("x"), withLane, ""},
		"PermissionDenied":         {serviceerror.NewPermissionDenied("x", ""), withLane, ""},
		"Unauthenticated":          {status.Error(codes.Unauthenticated, "x"), withLane, ""},
		"Unimplemented":            {serviceerror.NewUnimplemented("x"), withLane, ""},
		"server too old":           {serviceerror.NewServerVersionNotSupported("1", "2"), withLane, ""},
		"client too old":           {serviceerror.NewClientVersionNotSupported("1", "2", "3"), withLane, ""},
		"Internal":                 {serviceerror.NewInternal("x"), alone, ""},
		"DataLoss":                 {serviceerror.NewDataLoss("x"), alone, ""},
		"anything else":            {errors.New("x"), alone, ""},
		"one that may end":         {starter.StartErrors{starter.ErrTooLarge, errOdd, starter.ErrNotConfigured}, alone, ""},
		"one that lanes wait for":  {starter.StartErrors{starter.ErrTooLarge, errOdd, errDown}, withLane, ""},
		"several that never end":   {starter.StartErrors{starter.ErrTooLarge, starter.ErrNotConfigured}, parked, journal.TooLarge},
		"no room among the parked": {fmt.Errorf("%w (%s)", journal.ErrFull, errRefused.Error()), alone, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, code := dispose(fmt.Errorf("start: %w", c.err))
			equal(t, d, c.want)
			equal(t, code, c.code)
		})
	}
}
