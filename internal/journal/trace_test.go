package journal

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

type traceKey struct{}

// tracing keeps the text that a context has under traceKey.
var tracing = Options{
	Inject: func(ctx context.Context) string {
		trace, _ := ctx.Value(traceKey{}).(string)
		return trace
	},
	Extract: func(ctx context.Context, trace string) context.Context {
		return context.WithValue(ctx, traceKey{}, trace)
	},
}

// tracesOfStarts forwards what j holds and returns the trace of each start by
// idempotency key.
func tracesOfStarts(t *testing.T, j *Journal, o Options) map[string]string {
	t.Helper()
	traces := map[string]string{}
	forwarder := NewForwarder(j, func(ctx context.Context, env sentry.Envelope) ([]starter.Run, error) {
		traces[env.IdempotencyKey] = o.Inject(ctx)
		return nil, nil
	}, ForwarderOptions{Parallel: 1})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		forwarder.Run(ctx)
	}()
	synctest.Wait()
	stop()
	<-done
	return traces
}

func TestAStartBelongsToTheTraceOfItsDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, tracing)
		must(t, j.Append(context.WithValue(t.Context(), traceKey{}, "00-1-2-01"), deliveryOf("traced")))
		appendAll(t, j, "not traced")
		must(t, j.Close())

		j = openJournal(t, dir, tracing) // another process forwards them
		equal(t, tracesOfStarts(t, j, tracing), map[string]string{"traced": "00-1-2-01", "not traced": ""})
	})
}

func TestARecordWithoutATraceIsAsItWasBeforeThereWereAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openJournal(t, dir, Options{})
		appendAll(t, j, "old")
		must(t, j.view(func(b buckets) error {
			_, record := b.pending.Cursor().First()
			header, _, err := split(record)
			must(t, err)
			var fields map[string]json.RawMessage
			must(t, json.Unmarshal(header, &fields))
			equal(t, len(fields), 2) // received and envelope
			return nil
		}))
		must(t, j.Close())

		j = openJournal(t, dir, tracing)
		equal(t, tracesOfStarts(t, j, tracing), map[string]string{"old": ""})
	})
}
