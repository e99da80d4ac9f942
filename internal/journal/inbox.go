package journal

import (
	"context"
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
// that came soon enough, and else as they are to be.
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
	if err := b.journal.Append(ctx, env); err != nil {
		return nil, err
	}
	if runs, err := started(); err == nil {
		return runs, nil
	}
	return planned, nil // kept all the same
}
