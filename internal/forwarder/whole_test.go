package forwarder

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// Deliveries with runs in several namespaces. One of them is broken, never all.

// namespaces are a Temporal in which single ones can fail.
type namespaces struct {
	temporal // for what it says of plans
	mu       sync.Mutex
	ids      map[string]time.Time // when each run was started
	begun    int                  // runs that were started
	broken   map[string]func(ctx context.Context, key string) error
}

func newNamespaces() *namespaces {
	return &namespaces{ids: map[string]time.Time{}, broken: map[string]func(context.Context, string) error{}}
}

// in has the starts in a namespace fail, or not any more.
func (n *namespaces) in(namespace string, broken func(context.Context, string) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken[namespace] = broken
}

func (n *namespaces) Prepare(env sentry.Envelope, plan []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
	return func(ctx context.Context) ([]starter.Run, error) {
		runs := n.Planned(plan)
		for i, o := range plan {
			n.mu.Lock()
			broken := n.broken[o.Namespace]
			n.mu.Unlock()
			if broken != nil {
				if err := broken(ctx, env.IdempotencyKey); err != nil {
					return nil, err
				}
			}
			n.mu.Lock()
			if _, there := n.ids[o.WorkflowID]; !there {
				n.ids[o.WorkflowID] = time.Now()
				n.begun++
			}
			n.mu.Unlock()
			runs[i].Status, runs[i].RunID = starter.Started, "run of "+o.WorkflowID
		}
		return runs, nil
	}, nil
}

// started returns the runs that there are.
func (n *namespaces) started() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.ids))
}

func (n *namespaces) forward(t *testing.T, j *journal.Journal, o Options) (*Forwarder, func()) {
	t.Helper()
	f := newForwarder(j, nil, o)
	f.prepare = n.Prepare
	return f, run(t, f)
}

// spread plans a run in each of the namespaces, whose ID begins with its name.
func spread(namespaces ...string) func(sentry.Envelope) []routes.Operation {
	return func(env sentry.Envelope) []routes.Operation {
		var plan []routes.Operation
		for n, namespace := range namespaces {
			plan = append(plan, routes.Operation{
				Kind: routes.Start, Workflow: fmt.Sprint("w", n), WorkflowID: fmt.Sprintf("%s:%d:%s", namespace, n, env.IdempotencyKey),
				Integration: env.IntegrationID, Namespace: namespace, TaskQueue: "sentry",
			})
		}
		return plan
	}
}

func arrives(t *testing.T, j *journal.Journal, key string, plan func(sentry.Envelope) []routes.Operation) {
	t.Helper()
	_, err := j.Append(t.Context(), journal.Arrival{Envelope: deliveryOf(key), Plan: plan})
	must(t, err)
}

// brokenWays are how a namespace can be broken for a while.
var brokenWays = map[string]func(context.Context, string) error{
	"missing":       always(serviceerror.NewNamespaceNotFound("bad")),
	"denied":        always(serviceerror.NewPermissionDenied("no", "")),
	"hanging":       hang,
	"unavailable":   always(errDown),
	"failing oddly": always(errOdd),
}

func TestARunDoesNotWaitForTheNamespaceOfAnother(t *testing.T) {
	for name, broken := range brokenWays {
		for _, plan := range [][]string{{"bad", "good"}, {"good", "bad"}, {"good", "bad", "good"}} {
			t.Run(name+" "+strings.Join(plan, "-"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := openJournal(t, t.TempDir(), journal.Options{})
					n := newNamespaces()
					n.in("bad", broken)
					f, _ := n.forward(t, j, Options{})
					good := 0
					for i := range 40 {
						pass(time.Duration(i) * 31 * time.Millisecond)
						arrives(t, j, fmt.Sprint(i), spread(plan...))
						arrived := time.Now()
						synctest.Wait()
						for place, namespace := range plan {
							if id := fmt.Sprintf("%s:%d:%d", namespace, place, i); namespace == "good" {
								good++
								equal(t, n.ids[id], arrived)
							}
						}
					}
					equal(t, n.begun, good)
					equal(t, j.Stats().Pending, 40)
					lanes := f.Lanes()
					equal(t, lanes[0].Lane, Lane{"sentry", "bad"})
					equal(t, lanes[0].Waiting, 40)
					equal(t, lanes[1], LaneStats{Lane: Lane{"sentry", "good"}})

					n.in("bad", nil)
					pass(time.Minute)
					equal(t, j.Stats().Pending, 0)
					equal(t, j.Stats().Parked, 0)
					equal(t, n.begun, 40*len(plan))
					ran, done := j.Outcome("sentry", "7")
					equal(t, done, true)
					for place, namespace := range plan { // all runs, in the order of the plan
						id := fmt.Sprintf("%s:%d:7", namespace, place)
						equal(t, ran[place], journal.Ran{Namespace: namespace, WorkflowID: id, RunID: "run of " + id})
					}
				})
			})
		}
	}
}

// What a namespace will never take has its delivery parked, but not before the run
// in the other one is started.
func TestADeliveryIsParkedOnceEachRunIsStartedOrGivenUp(t *testing.T) {
	for _, plan := range [][]string{{"bad", "good"}, {"good", "bad"}} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			j := openJournal(t, dir, journal.Options{})
			n := newNamespaces()
			n.in("bad", always(errRefused))
			n.in("good", always(errDown))
			_, stop := n.forward(t, j, Options{})
			arrives(t, j, "a", spread(plan...))
			pass(time.Minute)
			equal(t, j.Stats().Pending, 1)
			equal(t, j.Stats().Parked, 0)
			n.in("good", nil)
			pass(time.Minute)
			equal(t, j.Stats().Pending, 0)
			parked := parkedItems(t, j)
			equal(t, len(parked), 1)
			equal(t, parked[0].ReasonCode, journal.Refused)
			contains(t, parked[0].Reason, "namespace bad: ")
			equal(t, strings.Contains(parked[0].Reason, "good"), false)
			equal(t, n.begun, 1)

			n.in("bad", nil) // and somebody puts it back
			_, err := j.PutBack(t.Context(), journal.Filter{})
			must(t, err)
			pass(time.Minute)
			equal(t, j.Stats().Pending, 0)
			equal(t, j.Stats().Parked, 0)
			equal(t, n.begun, 2)
			stop()
		})
	}
}

// A namespace that fails for one delivery again and again, while it takes others, has
// that one parked in the end, and names itself.
func TestADeliveryThatOneNamespaceGivesUpIsParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		n := newNamespaces()
		n.in("bad", onlyFor("poison", errOdd))
		n.forward(t, j, Options{})
		arrives(t, j, "poison", spread("bad", "good"))
		for i := range 60 {
			arrives(t, j, fmt.Sprint(i), spread("bad", "good"))
			pass(30 * time.Second)
		}
		equal(t, j.Stats().Pending, 0)
		parked := parkedItems(t, j)
		equal(t, len(parked), 1)
		equal(t, parked[0].Key, "poison")
		equal(t, parked[0].ReasonCode, journal.GaveUp)
		contains(t, parked[0].Reason, "namespace bad: ")
		equal(t, n.begun, 2*60+1)
	})
}

func TestWhatSeveralNamespacesGiveUpIsParkedForAllOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		n := newNamespaces()
		n.in("bad", always(errRefused))
		n.in("gone", func(context.Context, string) error { // after the long text of the other
			<-time.After(time.Second)
			return fmt.Errorf("payments: %w", starter.ErrNotConfigured)
		})
		n.forward(t, j, Options{})
		arrives(t, j, "a", spread("bad", "gone", "good"))
		pass(2 * time.Second)
		equal(t, n.begun, 1)
		parked := parkedItems(t, j)
		equal(t, len(parked), 1)
		equal(t, parked[0].ReasonCode, journal.NotConfigured) // comes back by itself
		contains(t, parked[0].Reason, "namespace gone: ")
		contains(t, parked[0].Reason, "namespace bad: ")
	})
}

func TestARestartInBetweenStartsNothingTwice(t *testing.T) {
	for name, broken := range brokenWays {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				j := openJournal(t, dir, journal.Options{})
				n := newNamespaces()
				n.in("bad", broken)
				_, stop := n.forward(t, j, Options{})
				for i := range 20 {
					arrives(t, j, fmt.Sprint(i), spread("bad", "good"))
				}
				pass(time.Second)
				equal(t, n.begun, 20)
				again := openJournal(t, copyJournal(t, dir), journal.Options{}) // killed
				stop()
				_, stop = n.forward(t, again, Options{})
				pass(time.Second)
				equal(t, again.Stats().Pending, 20)
				n.in("bad", nil)
				pass(time.Minute)
				equal(t, again.Stats().Pending, 0)
				equal(t, n.begun, 40)
				stop()
			})
		})
	}
}

func TestWhatIsTakenAwayWhileOneNamespaceWaitsStartsNothingThere(t *testing.T) {
	for name, take := range map[string]func(*journal.Journal) (int, error){
		"parked": func(j *journal.Journal) (int, error) { return j.Park(context.Background(), journal.Filter{}) },
		"discarded": func(j *journal.Journal) (int, error) {
			return j.Discard(context.Background(), journal.Filter{State: journal.Pending})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := openJournal(t, t.TempDir(), journal.Options{})
				n := newNamespaces()
				n.in("bad", always(errDown))
				f, _ := n.forward(t, j, Options{})
				for i := range 20 {
					arrives(t, j, fmt.Sprint(i), spread("bad", "good"))
				}
				pass(time.Second)
				taken, err := take(j)
				must(t, err)
				equal(t, taken, 20)
				n.in("bad", nil)
				pass(time.Minute)
				equal(t, n.begun, 20)
				equal(t, j.Stats().Pending, 0)
				for _, l := range f.Lanes() {
					equal(t, l.Waiting, 0)
				}
				if name == "parked" {
					_, err := j.PutBack(t.Context(), journal.Filter{})
					must(t, err)
					pass(time.Minute)
					equal(t, n.begun, 40)
					equal(t, j.Stats().Pending+j.Stats().Parked, 0)
				}
			})
		})
	}
}

// What cannot be parked for want of room is a burden of the lane that it failed in.
func TestNoRoomForWhatOneNamespaceRefusesIsNotNoticedInAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{MaxBytes: 64 << 10})
		n := newNamespaces()
		n.in("bad", always(errRefused))
		f, _ := n.forward(t, j, Options{})
		for i := range 50 {
			arrives(t, j, fmt.Sprint(i), spread("bad", "good"))
		}
		pass(time.Minute)
		parked := j.Stats().Parked
		within(t, parked, 1, 40)
		for i := range 20 {
			key := fmt.Sprint("later", i)
			arrives(t, j, key, spread("good"))
			arrived := time.Now()
			synctest.Wait()
			equal(t, n.ids["good:0:"+key], arrived)
			pass(time.Second)
		}
		equal(t, f.Failing("sentry", "good"), "")
		contains(t, f.Failing("sentry", "bad"), "full")
		n.in("bad", nil)
		pass(5 * time.Minute)
		equal(t, j.Stats().Pending, 0)
		equal(t, j.Stats().Parked, parked)
		equal(t, n.begun, 50+20+50-parked)
	})
}

// The cap of an integration is for all of its namespaces, and they take turns.
func TestNamespacesShareTheCapOfAnIntegration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		n := newNamespaces()
		for i := range 30 {
			arrives(t, j, fmt.Sprint("a", i), spread("first"))
			arrives(t, j, fmt.Sprint("b", i), spread("second"))
		}
		n.forward(t, j, Options{MaxStartsPerSecond: map[string]float64{"sentry": 2}})
		pass(10*time.Second - 1)
		first := 0
		for _, id := range n.started() {
			if strings.HasPrefix(id, "first") {
				first++
			}
		}
		equal(t, n.begun, 20)
		equal(t, first, 10)
	})
}

func TestWhoWaitsIsToldOfTheRunsInAllNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{})
		n := newNamespaces()
		n.in("late", slow(2*time.Second))
		f, _ := n.forward(t, j, Options{})
		b := NewInbox(f, n, func(sentry.Delivery) routes.Plan {
			return routes.Plan{Operations: spread("late", "good")(sentry.Envelope{IntegrationID: "sentry"})}
		})
		taken, err := b.Deliver(t.Context(), deliveryOf("a"), sentry.Delivery{Integration: "sentry"}, 10*time.Second)
		must(t, err)
		equal(t, len(taken.Runs), 2)
		equal(t, taken.Runs[0].WorkflowID, "late:0:a")
		equal(t, starter.Overall(taken.Runs), starter.Started)
		equal(t, watchers(f), 0)
	})
}

// With the journal full each run has to start at once, and one namespace hangs.
func TestWhatCannotBeKeptStartsInANamespaceWhateverAnotherDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir(), journal.Options{MaxBytes: 1})
		n := newNamespaces()
		n.in("bad", hang)
		f := newForwarder(j, nil, Options{})
		b := NewInbox(f, n, func(sentry.Delivery) routes.Plan {
			return routes.Plan{Operations: spread("good", "bad", "good")(sentry.Envelope{IntegrationID: "sentry"})}
		})
		deliver := func(key string) (starter.Taken, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return b.Deliver(ctx, deliveryOf(key), sentry.Delivery{Integration: "sentry"}, 0)
		}
		began := time.Now()
		var group sync.WaitGroup
		for i := range 3 * maxDirect {
			group.Go(func() {
				if _, err := deliver(fmt.Sprint(i)); err == nil {
					t.Error("a delivery is taken of which one run is not started")
				}
			})
		}
		group.Wait()
		equal(t, n.begun, 2*3*maxDirect)
		for _, at := range n.ids {
			equal(t, at, began)
		}
		n.in("bad", nil)
		taken, err := deliver("later")
		must(t, err)
		for place, id := range []string{"good:0:later", "bad:1:later", "good:2:later"} {
			equal(t, taken.Runs[place].WorkflowID, id)
			equal(t, taken.Runs[place].Status, starter.Started)
		}
	})
}
