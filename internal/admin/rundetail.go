package admin

import (
	"cmp"
	"context"
	"fmt"
	"time"

	historypb "go.temporal.io/api/history/v1"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/text"
)

// Describe asks about one run, within 2 s, and follows one that went on as another one
// like [Runs.States]. What is a few seconds old is not asked again; with an error comes
// what is known from before, if anything. The error is [ErrAskedTooMuch] when pages have
// asked ten questions in the last five seconds, [starter.ErrNotConfigured] if it is not
// known where the run is.
func (r *Runs) Describe(ctx context.Context, of RunOf) (RunDetail, error) {
	r.mu.Lock()
	known, ok := r.details.Get(of)
	if t, listed := r.known.Peek(of); listed && t.run != cmp.Or(known.RunID, of.RunID) && t.state.Asked.After(known.Asked) {
		ok = false // it went on as another one
	}
	place := r.placeOf(of)
	r.mu.Unlock()
	if ok && time.Since(known.Asked) < holdsFor(known.Status) {
		return known, nil
	}
	if place == nil {
		return known, notConfigured(of)
	}
	// Whoever asks first may leave first.
	answer := r.asking.DoChan(fmt.Sprintf("%q", of), func() (any, error) {
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		return r.detail(asking, place, of)
	})
	select {
	case <-ctx.Done():
		return known, ctx.Err()
	case a := <-answer:
		if a.Err != nil {
			return known, a.Err
		}
		detail, _ := a.Val.(RunDetail)
		return detail, nil
	}
}

// holdsFor returns how long a detail of a run with this status holds.
func holdsFor(status string) time.Duration {
	switch {
	case status == RunCompleted:
		return time.Hour
	case isFinal(status):
		return closedFor
	}
	return describedFor
}

func notConfigured(of RunOf) error {
	return fmt.Errorf("integration %s with namespace %s: %w", of.Integration, of.Namespace, starter.ErrNotConfigured)
}

// detail asks for one run, and remembers the answer.
func (r *Runs) detail(ctx context.Context, place *runPlace, of RunOf) (RunDetail, error) {
	read := reader{place.service, of.Namespace, of.WorkflowID, of.RunID}
	r.mu.Lock()
	if t, ok := r.known.Peek(of); ok {
		read.runID = t.run
	}
	r.mu.Unlock()
	if !r.mayAsk(&r.pages) {
		return RunDetail{}, ErrAskedTooMuch
	}
	d, err := read.describe(ctx)
	if err == nil && d.continued {
		if !r.mayAsk(&r.pages) {
			return RunDetail{}, ErrAskedTooMuch
		}
		read.runID = ""
		d, err = read.describe(ctx)
		read.runID = d.run
	}
	switch {
	case isMissing(err):
		d, err = description{RunDetail: RunDetail{RunState: RunState{Status: RunMissing, Asked: time.Now()}}}, nil
	case err != nil:
	case d.unsaid(), d.Status == RunCompleted:
		if !r.mayAsk(&r.pages) {
			return RunDetail{}, ErrAskedTooMuch
		}
		var events []*historypb.HistoryEvent
		if events, err = read.history(ctx); err == nil {
			d.Result = resultOf(events)
			d.Failure = reasonOf(events, maxDetail)
			d.Reason = text.Shorten(cmp.Or(d.Failure, d.Reason), maxReason)
		}
	}
	if err != nil {
		return RunDetail{}, fmt.Errorf("ask about run %s: %w", of.WorkflowID, err)
	}
	if d.run != of.RunID && d.run != "" {
		d.RunID = d.run
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.details.Add(of, d.RunDetail)
	return d.RunDetail, nil
}

// Input asks for the delivery that a run began with, within 2 s, one at a time: it may
// be large. Its errors are those of [Runs.Describe], and that the run did not begin
// with a delivery.
func (r *Runs) Input(ctx context.Context, of RunOf) (sentry.Envelope, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r.mu.Lock()
	place := r.placeOf(of)
	r.mu.Unlock()
	if place == nil {
		return sentry.Envelope{}, notConfigured(of)
	}
	select {
	case <-ctx.Done():
		return sentry.Envelope{}, ErrAskedTooMuch
	case r.inputs <- struct{}{}:
		defer func() { <-r.inputs }()
	}
	if !r.mayAsk(&r.pages) {
		return sentry.Envelope{}, ErrAskedTooMuch
	}
	env, err := reader{place.service, of.Namespace, of.WorkflowID, of.RunID}.input(ctx)
	if err != nil {
		return sentry.Envelope{}, fmt.Errorf("read the input of run %s: %w", of.WorkflowID, err)
	}
	return env, nil
}
