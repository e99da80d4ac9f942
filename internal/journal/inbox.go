package journal

import (
	"context"
	"slices"
	"time"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

// Inbox takes deliveries into a journal that is being forwarded.
type Inbox struct {
	journal   *Journal
	forwarder *Forwarder
	plan      func(sentry.Envelope) []starter.Run
}

// NewInbox returns an Inbox. plan tells the runs that a delivery is to have;
// one that is to have none is not kept.
func NewInbox(j *Journal, f *Forwarder, plan func(sentry.Envelope) []starter.Run) *Inbox {
	return &Inbox{journal: j, forwarder: f, plan: plan}
}

// Deliver keeps env and returns its runs: with wait as they were started, if
// that came soon enough, and else as they are to be. Of several deliveries of one
// key that wait for the same start, one has started the runs; to the others they
// are existing.
func (b *Inbox) Deliver(ctx context.Context, env sentry.Envelope, wait time.Duration) ([]starter.Run, error) {
	planned := b.plan(env)
	if len(planned) == 0 {
		return nil, nil
	}
	if wait <= 0 {
		return planned, b.journal.Append(ctx, env)
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	started := b.forwarder.Watch(waiting, env)
	entered, err := b.journal.enter(ctx, env)
	if err != nil {
		return nil, err
	}
	runs, err := started()
	if err != nil {
		return planned, nil // kept all the same
	}
	if !entered {
		runs = slices.Clone(runs) // they are others', too
		for i := range runs {
			if runs[i].Status == starter.Started {
				runs[i].Status = starter.Existing
			}
		}
	}
	return runs, nil
}
