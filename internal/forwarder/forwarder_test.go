package forwarder

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

func TestForwardsEveryDeliveryOnceOldestFirstAndDeletesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, journal.Options{})
		want := keys(200) // several windows
		appendAll(t, j, want...)
		f := newTemporal()
		stop := runForwarder(t, j, f, Options{Parallel: 1})
		synctest.Wait()
		equal(t, f.runs(), want)
		equal(t, len(f.tried()), len(want))
		equal(t, j.Stats().Pending, 0)
		equal(t, j.Stats().Forwarded, uint64(200))
		stop()
		must(t, j.Close())
		equal(t, len(pendingKeys(t, openJournal(t, dir, journal.Options{}))), 0)
	})
}

func TestForwardsWhatIsAppendedWithoutDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		runForwarder(t, j, f, Options{})
		for _, key := range keys(5) {
			pass(time.Hour)
			appended := time.Now()
			appendAll(t, j, key)
			synctest.Wait()
			tried := f.tried()
			equal(t, tried[len(tried)-1], attempt{key, appended})
		}
	})
}

func TestSlowStartDoesNotIdleTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		appendAll(t, j, keys(100)...)
		f := newTemporal()
		release := make(chan struct{})
		f.fail = func(_ context.Context, key string) error {
			if key == "key-000000" {
				<-release
			}
			return nil
		}
		runForwarder(t, j, f, Options{Parallel: 4})
		synctest.Wait()
		equal(t, len(f.runs()), 99)
		equal(t, j.Stats().Pending, 1)
		close(release)
		synctest.Wait()
		equal(t, len(f.runs()), 100)
	})
}

func TestStartsAsManyAtOnceAsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		appendAll(t, j, keys(50)...)
		f := newTemporal()
		f.fail = slow(time.Second)
		runForwarder(t, j, f, Options{Parallel: 10})
		pass(5*time.Second + time.Millisecond)
		equal(t, len(f.runs()), 50)
		equal(t, f.atOnce(), 10)
	})
}

func TestOutageMakesTheQueueWaitAndProbeUntilItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendAll(t, j, keys(100)...)
		runForwarder(t, j, f, Options{Parallel: 4, Log: slog.New(slog.NewTextHandler(&log, nil))})
		pass(10 * time.Minute)

		tried := f.tried()
		order := make([]string, len(tried))
		for i, a := range tried {
			order[i] = a.key
		}
		equal(t, sorted(order[:4]), keys(4))
		repeated := 0 // every second one; the others are new
		for _, key := range order[4:12] {
			if slices.Contains(keys(4), key) {
				repeated++
			}
		}
		equal(t, repeated, 4)
		longest := time.Duration(0)
		for i := 4; i < len(tried); i++ {
			wait := tried[i].at.Sub(tried[i-1].at)
			within(t, wait, 50*time.Millisecond, 10*time.Second)
			longest = max(longest, wait)
		}
		within(t, longest, 5*time.Second, 10*time.Second)
		equal(t, j.Stats().Pending, 100)
		equal(t, j.Stats().Retries, uint64(len(tried)))
		within(t, strings.Count(log.String(), "cannot forward"), 9, 10)
		equal(t, strings.Count(log.String(), "forwarding again"), 0)

		f.mend()
		pass(10 * time.Second)
		equal(t, len(f.runs()), 100)
		equal(t, j.Stats().Pending, 0)
		equal(t, strings.Count(log.String(), "forwarding again"), 1)
	})
}

func TestDeliveryThatAlwaysFailsDoesNotHoldUpTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = func(_ context.Context, key string) error {
			if key <= "key-000002" {
				return errDown
			}
			return nil
		}
		appendAll(t, j, keys(200)...)
		runForwarder(t, j, f, Options{Parallel: 4})
		pass(time.Minute)
		equal(t, len(f.runs()), 197)
		equal(t, j.Stats().Pending, 3)
		within(t, j.Stats().Retries, 3, 100) // and those are not tried all the time
		f.mend()
		pass(10 * time.Second)
		equal(t, len(f.runs()), 200)
	})
}

func TestProbeDoesNotWaitForAStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = func(ctx context.Context, key string) error {
			switch key {
			case "key-000000":
				<-ctx.Done()
				return ctx.Err()
			case "key-000001":
				return errDown
			}
			return nil
		}
		appendAll(t, j, keys(20)...)
		runForwarder(t, j, f, Options{Parallel: 2})
		pass(time.Second)
		equal(t, len(f.runs()), 18)
	})
}

func TestStartThatHangsIsCutOffAndRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = hang
		appendAll(t, j, "a")
		runForwarder(t, j, f, Options{})
		pass(time.Minute)
		tried := f.tried()
		within(t, tried[1].at.Sub(tried[0].at), 10*time.Second, 10*time.Second+100*time.Millisecond)
	})
}

func TestStopLetsStartsUnderWayEndAndLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, journal.Options{})
		f := newTemporal()
		f.fail = slow(150 * time.Millisecond)
		appendAll(t, j, keys(10)...)
		stop := runForwarder(t, j, f, Options{Parallel: 4})
		pass(100 * time.Millisecond)
		began := time.Now()
		stop() // while the first four are under way
		equal(t, time.Since(began), 50*time.Millisecond)
		equal(t, sorted(f.runs()), keys(4))

		// Killed now: the deletions are on disk already.
		j2 := openJournal(t, copyJournal(t, dir), journal.Options{})
		equal(t, pendingKeys(t, j2), keys(10)[4:])
		runForwarder(t, j2, f, Options{})
		pass(10 * time.Second)
		equal(t, sorted(f.runs()), keys(10))
	})
}

func TestStopDuringAnOutageDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendAll(t, j, keys(3)...)
		stop := runForwarder(t, j, f, Options{})
		pass(time.Minute)
		began := time.Now()
		stop()
		equal(t, time.Since(began), 0)
		equal(t, j.Stats().Pending, 3)
	})
}

func TestStopDoesNotWaitForAStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		release := make(chan struct{})
		f.fail = func(context.Context, string) error { <-release; return nil } // does not even look at its context
		appendAll(t, j, "a")
		stop := runForwarder(t, j, f, Options{})
		synctest.Wait()
		began := time.Now()
		stop()
		equal(t, time.Since(began), 200*time.Millisecond)
		equal(t, j.Stats().Pending, 1)
		close(release)
	})
}

func TestRunGoesOnAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		f := newTemporal()
		f.fail = always(errDown)
		appendAll(t, j, keys(10)...)
		forwarder := newForwarder(j, f, Options{})
		stop := run(t, forwarder)
		pass(time.Second)
		stop()
		f.mend()
		run(t, forwarder)
		synctest.Wait()
		equal(t, sorted(f.runs()), keys(10))
	})
}

// At each point where the process can be killed, what it leaves is what the
// next one needs: nothing is lost, and nothing runs twice.
func TestKilledAtAnyStepNothingIsLostAndNothingRunsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTemporal() // outlives the processes
		dir := t.TempDir()
		var before, written, started string // dir as it was then
		j := openJournal(t, dir, journal.Options{OnCommit: func(_ time.Duration, added, _ int) {
			if added > 0 {
				written = copyJournal(t, dir) // durable, and not answered yet
			}
		}})
		before = copyJournal(t, dir)
		appendAll(t, j, "a")
		f.fail = func(context.Context, string) error {
			if started == "" {
				started = copyJournal(t, dir) // Temporal has it, and we do not know
			}
			return nil
		}
		stop := runForwarder(t, j, f, Options{})
		synctest.Wait()
		stop()
		must(t, j.Close())

		resume := func(dir string) (found []string) {
			j := openJournal(t, dir, journal.Options{})
			found = pendingKeys(t, j)
			runForwarder(t, j, f, Options{})
			synctest.Wait()
			equal(t, j.Stats().Pending, 0)
			return found
		}
		equal(t, len(resume(before)), 0) // nothing was promised
		equal(t, resume(written), []string{"a"})
		equal(t, resume(started), []string{"a"})
		equal(t, len(resume(dir)), 0) // it is deleted
		equal(t, f.runs(), []string{"a"})
		equal(t, len(f.tried()), 3)
	})
}

func TestPermanentFailureParksTheDeliveryOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		j := openJournal(t, dir, journal.Options{})
		f := newTemporal()
		f.fail = onlyFor("key-000001", errRefused)
		appendAll(t, j, keys(3)...)
		stop := runForwarder(t, j, f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		synctest.Wait()
		equal(t, sorted(f.runs()), []string{"key-000000", "key-000002"})
		equal(t, j.Stats().Pending, 0)
		equal(t, j.Stats().Retries, 0)
		stop()
		contains(t, log.String(), "delivery parked")
		contains(t, log.String(), "delivery_id=2")
		must(t, j.Close())

		j = openJournal(t, dir, journal.Options{})
		parked := parkedItems(t, j)
		equal(t, len(parked), 1)
		equal(t, parked[0].Key, "key-000001")
		equal(t, parked[0].ReasonCode, journal.Refused)
		contains(t, parked[0].Reason, "start: refused: xxx")
		env, err := j.Export(parked[0].ID)
		must(t, err)
		equal(t, env, deliveryOf("key-000001"))

		f.mend()
		runForwarder(t, j, f, Options{})
		n, err := j.PutBack(t.Context(), journal.Filter{})
		must(t, err)
		equal(t, n, 1)
		pass(time.Second)
		equal(t, len(f.runs()), 3)
		equal(t, j.Stats().Parked, 0)
	})
}

func TestPanicParksTheDelivery(t *testing.T) {
	for name, wrap := range map[string]func(Prepare) Prepare{
		"while it is prepared": func(next Prepare) Prepare {
			return func(env sentry.Envelope, plan []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
				if env.IdempotencyKey == "key-000000" {
					panic("a bug")
				}
				return next(env, plan)
			}
		},
		"while it starts": func(next Prepare) Prepare {
			return func(env sentry.Envelope, plan []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
				start, err := next(env, plan)
				return func(ctx context.Context) ([]starter.Run, error) {
					if env.IdempotencyKey == "key-000000" {
						panic("a bug")
					}
					return start(ctx)
				}, err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				j := openJournal(t, t.TempDir(), journal.Options{})
				f := newTemporal()
				appendAll(t, j, keys(2)...)
				run(t, New(j, wrap(f.Prepare), Options{Log: slog.New(slog.NewTextHandler(&log, nil))}))
				synctest.Wait()
				equal(t, f.runs(), []string{"key-000001"})
				parked := parkedItems(t, j)
				equal(t, parked[0].Reason, "panic: a bug")
				equal(t, parked[0].ReasonCode, journal.Bug)
				contains(t, log.String(), "forwarder_test.go")
			})
		})
	}
}

func TestDeliveryIsNotForwardedBeforeItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{OnCommit: func(_ time.Duration, added, _ int) {
			if added > 0 { // it is in the file, and Append has not returned
				<-time.After(time.Second)
			}
		}})
		f := newTemporal()
		runForwarder(t, j, f, Options{})
		for _, key := range []string{"a", "b"} {
			appendAll(t, j, key)
			acknowledged := time.Now()
			synctest.Wait()
			tried := f.tried()
			equal(t, tried[len(tried)-1], attempt{key, acknowledged})
		}
	})
}

func TestAStartBelongsToTheTraceOfItsDelivery(t *testing.T) {
	type traceKey struct{}
	traceOf := func(ctx context.Context) string {
		trace, _ := ctx.Value(traceKey{}).(string)
		return trace
	}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, journal.Options{Inject: traceOf})
		must(t, appendTo(context.WithValue(t.Context(), traceKey{}, "00-1-2-01"), j, deliveryOf("traced"), ""))
		appendAll(t, j, "not traced")
		must(t, j.Close())

		j = openJournal(t, dir, journal.Options{}) // another process forwards them
		f := newTemporal()
		var mu sync.Mutex
		traces := map[string]string{}
		f.fail = func(ctx context.Context, key string) error {
			mu.Lock()
			defer mu.Unlock()
			traces[key] = traceOf(ctx)
			return nil
		}
		runForwarder(t, j, f, Options{Extract: func(ctx context.Context, trace string) context.Context {
			return context.WithValue(ctx, traceKey{}, trace)
		}})
		synctest.Wait()
		equal(t, traces, map[string]string{"traced": "00-1-2-01", "not traced": ""})
	})
}

func TestWhatBecameOfPlannedRunsIsCounted(t *testing.T) {
	var mu sync.Mutex
	counts := map[string]int{}
	o := Options{OnStarts: func(integration, namespace, outcome string, n int) {
		mu.Lock()
		defer mu.Unlock()
		counts[strings.Join([]string{integration, namespace, outcome}, " ")] += n
	}}
	counted := func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(counts)
	}
	synctest.Test(t, func(t *testing.T) {
		j, f := openJournal(t, t.TempDir(), journal.Options{}), newTemporal()
		forwarder := newForwarder(j, f, o)
		run(t, forwarder)
		f.failWith(onlyFor("bad", errRefused))
		appendAll(t, j, "a", "b", "bad")
		synctest.Wait()
		equal(t, counted(), map[string]int{"sentry sentry started": 2, "sentry sentry parked": 1})

		// What is repeated without the journal's memory is there already.
		f.mend()
		_, err := j.PutBack(t.Context(), journal.Filter{})
		must(t, err)
		synctest.Wait()
		equal(t, counted(), map[string]int{"sentry sentry started": 3, "sentry sentry parked": 1})

		// So is what is started without the journal, as when it does not keep anything.
		full := newForwarder(openJournal(t, t.TempDir(), journal.Options{MaxBytes: 1}), f, o)
		taken, err := NewInbox(full, f, planOf).Deliver(t.Context(), deliveryOf("a"), sentry.Delivery{Integration: "sentry"}, 0)
		must(t, err)
		equal(t, taken.Runs[0].Status, starter.Existing)
		equal(t, counted()["sentry sentry existing"], 1)
	})
}

func TestTheJournalKnowsWhichRunsWereThereAlready(t *testing.T) {
	j, f := openJournal(t, t.TempDir(), journal.Options{}), newTemporal()
	_, err := f.start(t.Context(), deliveryOf("a"), plan(deliveryOf("a"))) // by another process, which was killed
	must(t, err)
	appendAll(t, j, "a", "b")
	runForwarder(t, j, f, Options{})
	for key, existing := range map[string]bool{"a": true, "b": false} {
		var known journal.Known
		for known.State != journal.Done {
			known, _ = j.Look("sentry", key)
			runtime.Gosched()
		}
		equal(t, known.Runs[0].Existing, existing)
	}
}
