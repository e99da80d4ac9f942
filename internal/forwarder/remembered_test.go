package forwarder

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// remembering is a Temporal of which it is remembered what shared runs it has: all
// that were started.
type remembering struct{ *namespaces }

func (r remembering) Planned(plan []routes.Operation) []starter.Run {
	runs := r.namespaces.Planned(plan)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range plan {
		if _, there := r.ids[o.WorkflowID]; there && o.Shared {
			runs[i].Status, runs[i].RunID, runs[i].Remembered = starter.Existing, "run of "+o.WorkflowID, true
		}
	}
	return runs
}

func (r remembering) Prepare(env sentry.Envelope, plan []routes.Operation) (func(context.Context) ([]starter.Run, error), error) {
	return func(ctx context.Context) ([]starter.Run, error) {
		runs := r.Planned(plan)
		for i, o := range plan {
			if runs[i].Remembered {
				continue
			}
			start, err := r.namespaces.Prepare(env, []routes.Operation{o})
			if err != nil {
				return nil, err
			}
			started, err := start(ctx)
			if err != nil {
				return nil, err
			}
			runs[i] = started[0]
		}
		return runs, nil
	}, nil
}

// issue plans a run that all deliveries share, and with own one of each delivery.
func issue(own bool) routes.Plan {
	plan := routes.Plan{Operations: []routes.Operation{{
		Kind: routes.Start, Workflow: "w", WorkflowID: "w:sentry:issue~1~", Integration: "sentry", Namespace: "default", Shared: true,
	}}}
	if own {
		plan.Operations = append(plan.Operations, routes.Operation{
			Kind: routes.Start, Workflow: "v", WorkflowID: "v:sentry:", Integration: "sentry", Namespace: "default",
		})
	}
	return plan
}

// rememberingInbox is an Inbox of such deliveries.
func rememberingInbox(t *testing.T, own bool, o Options) (*Inbox, remembering, *journal.Journal) {
	t.Helper()
	j, r := openJournal(t, t.TempDir(), journal.Options{}), remembering{newNamespaces()}
	f := newForwarder(j, nil, o)
	f.prepare = r.Prepare
	run(t, f)
	return NewInbox(f, r, func(sentry.Delivery) routes.Plan { return issue(own) }), r, j
}

func take(t *testing.T, b *Inbox, key string) []starter.Run {
	t.Helper()
	taken, err := b.Deliver(t.Context(), deliveryOf(key), sentry.Delivery{Integration: "sentry"}, 0)
	must(t, err)
	equal(t, taken.Key, key)
	return taken.Runs
}

func TestWhatFallsIntoARunThatWasStartedLatelyIsAnsweredWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r, j := rememberingInbox(t, false, Options{})
		take(t, b, "first")
		synctest.Wait()
		r.in("default", always(errDown)) // and it need not be there any more
		for n := range 10 {
			runs := take(t, b, fmt.Sprint(n))
			equal(t, runs[0].Status, starter.Existing)
			equal(t, runs[0].WorkflowID, "w:sentry:issue~1~")
			equal(t, runs[0].RunID, "run of w:sentry:issue~1~")
		}
		equal(t, take(t, b, "first")[0].RunID, "run of w:sentry:issue~1~") // a repetition
		equal(t, j.Stats().Forwarded, 1)
		equal(t, j.Stats().Pending, 0)
	})
}

func TestWhatFallsIntoOneRunAndNeedsAnotherIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r, j := rememberingInbox(t, true, Options{})
		take(t, b, "first")
		synctest.Wait()
		r.in("default", always(errDown))
		runs := take(t, b, "second")
		equal(t, runs[0].Status, starter.Existing)
		equal(t, runs[1].Status, starter.Accepted)
		equal(t, starter.Overall(runs), starter.Accepted)
		pass(time.Second)
		equal(t, j.Stats().Pending, 1)
		r.in("default", nil)
		pass(time.Minute)
		equal(t, j.Stats().Pending, 0)
		equal(t, r.started(), []string{"v:sentry:first", "v:sentry:second", "w:sentry:issue~1~"})
	})
}

// What Temporal is not asked for is not capped.
func TestWhatFallsIntoARunDoesNotUseUpTheCap(t *testing.T) {
	for name, test := range map[string]struct {
		own     bool
		seconds int
	}{"all of it": {false, 0}, "half of it": {true, 100}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, r, j := rememberingInbox(t, test.own, Options{MaxStartsPerSecond: map[string]float64{"sentry": 1}})
				r.in("default", always(errDown))
				for n := range 100 {
					equal(t, starter.Overall(take(t, b, fmt.Sprint(n))), starter.Accepted)
				}
				pass(time.Minute)
				equal(t, j.Stats().Pending, 100)
				r.in("default", nil)
				pass(20*time.Second + time.Duration(test.seconds)*time.Second)
				equal(t, j.Stats().Pending, 0)
			})
		})
	}
}

// That something needs no request does not say that Temporal is back.
func TestWhatFallsIntoARunDoesNotMakeItsLaneWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, r := openJournal(t, t.TempDir(), journal.Options{}), remembering{newNamespaces()}
		f := newForwarder(j, nil, Options{})
		f.prepare = r.Prepare
		run(t, f)
		r.in("default", always(errDown))
		arrives(t, j, "own", spread("default"))
		pass(time.Minute)
		before := f.Lanes()[0]
		contains(t, before.Failing, "down")
		for n := range 10 {
			arrives(t, j, fmt.Sprint(n), func(sentry.Envelope) []routes.Operation { return issue(false).Operations })
		}
		r.mu.Lock()
		r.ids[issue(false).Operations[0].WorkflowID] = time.Now() // started by somebody else
		r.mu.Unlock()
		pass(10 * time.Minute)
		equal(t, j.Stats().Pending, 1)
		after := f.Lanes()[0]
		contains(t, after.Failing, "down")
		equal(t, after.Since, before.Since)
	})
}
