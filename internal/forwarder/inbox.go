package forwarder

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

const (
	// diskPatience is how long the disk has to keep a delivery. What is left of
	// Sentry's second then is for a start without the journal.
	diskPatience = 350 * time.Millisecond
	// maxDirect is how many deliveries of an integration at once are started in a
	// namespace without the journal.
	maxDirect = 8
)

// Inbox takes deliveries into a journal that is being forwarded.
type Inbox struct {
	journal   *journal.Journal
	forwarder *Forwarder
	starter   Starter
	plan      func(sentry.Delivery) routes.Plan

	mu     sync.Mutex
	direct map[slots]*semaphore.Weighted
}

// slots names what [maxDirect] is for.
type slots struct{ integration, namespace string }

// Starter is what an [Inbox] needs of a [starter.Starter].
type Starter interface {
	Prepare(env sentry.Envelope, plan []routes.Operation) (start func(context.Context) ([]starter.Run, error), err error)
	Planned(plan []routes.Operation) []starter.Run
	URL(integration, namespace, workflowID, runID string) string
}

// NewInbox returns an Inbox. plan tells what is to be done for a delivery; one
// for which that is nothing is not kept.
func NewInbox(f *Forwarder, s Starter, plan func(sentry.Delivery) routes.Plan) *Inbox {
	return &Inbox{journal: f.journal, forwarder: f, starter: s, plan: plan, direct: map[slots]*semaphore.Weighted{}}
}

// Deliver keeps env, whose typed view d is, and returns what became of it: with wait
// its runs as they were started, if that came soon enough, and else as they are to
// be. What falls into shared runs that were started lately, and nothing else, is not
// kept: those have it. What cannot be kept is started at once, as far as ctx lasts. Of
// several deliveries that wait for the same start, one has started the runs; to
// the others they are existing.
func (b *Inbox) Deliver(ctx context.Context, env sentry.Envelope, d sentry.Delivery, wait time.Duration) (starter.Taken, error) {
	plan := b.plan(d)
	taken := starter.Taken{Key: env.IdempotencyKey, Skipped: plan.Skipped}
	if plan.Empty() {
		return taken, nil
	}
	if taken.Runs = b.remembered(plan.For(env.IdempotencyKey)); taken.Runs != nil {
		return taken, nil
	}
	var err error
	taken.Key, taken.Runs, err = b.keep(ctx, env, d.Subject, plan, wait)
	return taken, err
}

// remembered returns the runs of a plan if all of them are shared and were started
// lately, and else nil. There is nothing to keep then.
func (b *Inbox) remembered(plan []routes.Operation) []starter.Run {
	if slices.ContainsFunc(plan, func(o routes.Operation) bool { return !o.Shared }) {
		return nil
	}
	runs := b.starter.Planned(plan)
	if slices.ContainsFunc(runs, func(r starter.Run) bool { return !r.Remembered }) {
		return nil
	}
	return runs
}

func (b *Inbox) keep(ctx context.Context, env sentry.Envelope, subject sentry.Subject, plan routes.Plan, wait time.Duration) (key string, runs []starter.Run, err error) {
	var entered chan outcome
	var direct []starter.Run
	a := journal.Arrival{
		Envelope: env,
		Subject:  subject,
		Plan:     func(env sentry.Envelope) []routes.Operation { return plan.For(env.IdempotencyKey) },
		Patience: diskPatience,
		Instead: func(ctx context.Context, env sentry.Envelope, plan []routes.Operation) (_ []journal.Ran, err error) {
			direct, err = b.startNow(ctx, env, plan)
			return ranOf(direct), err
		},
	}
	if wait > 0 {
		a.Entered = func(id uint64) { entered = b.forwarder.watch(id) }
	}
	receipt, err := b.journal.Append(ctx, a)
	switch {
	case err != nil:
		return "", nil, err
	case direct != nil:
		return receipt.Key, direct, nil
	case receipt.Runs != nil:
		return receipt.Key, b.existing(env.IntegrationID, receipt.Runs), nil
	}
	planned := b.starter.Planned(receipt.Operations)
	if wait <= 0 || receipt.ID == 0 {
		return receipt.Key, planned, nil
	}
	if !receipt.Entered {
		entered = b.forwarder.watch(receipt.ID)
		if runs, done := b.journal.Outcome(env.IntegrationID, receipt.Key); done {
			b.forwarder.unwatch(receipt.ID, entered)
			return receipt.Key, b.existing(env.IntegrationID, runs), nil
		}
	}
	defer b.forwarder.unwatch(receipt.ID, entered)
	waiting := time.NewTimer(wait)
	defer waiting.Stop()
	select {
	case o := <-entered:
		switch {
		case o.err != nil:
			return receipt.Key, planned, nil // it is kept all the same
		case !receipt.Entered:
			return receipt.Key, b.existing(env.IntegrationID, ranOf(o.runs)), nil
		}
		return receipt.Key, o.runs, nil
	case <-waiting.C:
	case <-ctx.Done():
	}
	return receipt.Key, planned, nil
}

// startNow starts a delivery that could not be kept. What is wrong with one of its
// namespaces keeps no run from another, though the delivery is not taken then.
func (b *Inbox) startNow(ctx context.Context, env sentry.Envelope, plan []routes.Operation) ([]starter.Run, error) {
	places := map[string][]int{} // in plan, by namespace
	for place, o := range plan {
		places[o.Namespace] = append(places[o.Namespace], place)
	}
	runs := make([]starter.Run, len(plan))
	var group errgroup.Group // one that fails does not end the others
	for namespace, places := range places {
		group.Go(func() error {
			var there []routes.Operation
			for _, place := range places {
				there = append(there, plan[place])
			}
			started, err := b.startIn(ctx, namespace, env, there)
			for n, run := range started {
				runs[places[n]] = run
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return runs, nil
}

// startIn starts what is planned in a namespace.
func (b *Inbox) startIn(ctx context.Context, namespace string, env sentry.Envelope, plan []routes.Operation) ([]starter.Run, error) {
	direct := b.directOf(slots{env.IntegrationID, namespace})
	if err := direct.Acquire(ctx, 1); err != nil {
		return nil, errors.Join(errors.New("start without the journal: too many of them"), err)
	}
	defer direct.Release(1)
	return recovered(ctx, b.forwarder.o.Log, func() ([]starter.Run, error) {
		start, err := b.forwarder.encode(ctx, int64(len(env.Body)), func() (func(context.Context) ([]starter.Run, error), error) {
			return b.starter.Prepare(env, plan)
		})
		if err != nil {
			return nil, err
		}
		runs, err := start(ctx)
		if err == nil {
			b.forwarder.o.counted(env.IntegrationID, namespace, runs)
		}
		return runs, err
	})
}

// directOf returns the slots of an integration in a namespace: one that hangs does not
// take those of others.
func (b *Inbox) directOf(at slots) *semaphore.Weighted {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.direct[at] == nil {
		b.direct[at] = semaphore.NewWeighted(maxDirect)
	}
	return b.direct[at]
}

// existing returns runs that others have started.
func (b *Inbox) existing(integration string, ran []journal.Ran) []starter.Run {
	runs := make([]starter.Run, len(ran))
	for i, r := range ran {
		runs[i] = starter.Run{
			Workflow: routes.WorkflowOf(r.WorkflowID), WorkflowID: r.WorkflowID, RunID: r.RunID, Namespace: r.Namespace, Status: starter.Existing,
			URL: b.starter.URL(integration, r.Namespace, r.WorkflowID, r.RunID),
		}
	}
	return runs
}
