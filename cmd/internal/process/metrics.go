package process

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/forwarder"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/workflows"
)

// expectedEvents returns the events that metrics have by name: those that
// Sentry sends and those that a workflow names.
func expectedEvents() []string {
	var events []string
	for _, name := range sentry.SampleNames() {
		events = append(events, "sentry."+name)
	}
	for _, w := range workflows.All {
		for _, event := range w.Events() {
			if !strings.Contains(event, "*") {
				events = append(events, event)
			}
		}
	}
	return events
}

// measureCommits returns what measures the commits of a journal, see
// [journal.Options].
func measureCommits(meter metric.Meter) (func(took time.Duration, added, deleted int), error) {
	duration, err := meter.Float64Histogram("sentry_temporal_journal_commit_duration",
		metric.WithUnit("s"),
		metric.WithDescription("Time that a commit to the journal took, with its fsyncs."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1))
	if err != nil {
		return nil, err
	}
	deliveries, err := meter.Int64Histogram("sentry_temporal_journal_commit_deliveries",
		metric.WithDescription("Deliveries that a commit added to the journal, of commits that added any."),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256))
	if err != nil {
		return nil, err
	}
	return func(took time.Duration, added, _ int) {
		duration.Record(context.Background(), took.Seconds())
		if added > 0 {
			deliveries.Record(context.Background(), int64(added))
		}
	}, nil
}

// measureStarts returns what counts what became of planned runs, see
// [forwarder.Options].
func measureStarts(meter metric.Meter, integrations []config.Integration) (func(integration, namespace, outcome string, n int), error) {
	starts, err := meter.Int64Counter("sentry_temporal_starts",
		metric.WithDescription("Planned runs that were started, were there already, or whose delivery was parked."))
	if err != nil {
		return nil, err
	}
	count := func(integration, namespace, outcome string, n int) {
		starts.Add(context.Background(), int64(n), metric.WithAttributeSet(attribute.NewSet(
			attribute.String("integration", integration),
			attribute.String("namespace", namespace),
			attribute.String("outcome", outcome))))
	}
	for _, integration := range integrations { // the first one is to be seen as an increase, too
		for _, outcome := range []string{string(starter.Started), string(starter.Existing), forwarder.Parked} {
			count(integration.Name, integration.Namespace, outcome, 0)
		}
	}
	return count, nil
}

// measureJournal measures kept whenever the metrics are asked for.
func measureJournal(meter metric.Meter, kept *journal.Journal) error {
	gauges := []struct {
		name, unit, description string
		value                   func(journal.Stats) float64
	}{
		{"pending", "", "Deliveries in the journal whose runs are not all started.", func(s journal.Stats) float64 { return float64(s.Pending) }},
		{"pending_bytes", "By", "Bytes that they take.", func(s journal.Stats) float64 { return float64(s.PendingBytes) }},
		{"oldest_age_seconds", "s", "Age of the oldest of them, 0 without any.", func(s journal.Stats) float64 { return s.OldestAge.Seconds() }},
		{"parked", "", "Deliveries that need a person's help.", func(s journal.Stats) float64 { return float64(s.Parked) }},
		{"parked_bytes", "By", "Bytes that they take.", func(s journal.Stats) float64 { return float64(s.ParkedBytes) }},
		{"max_bytes", "By", "Bytes that pending deliveries may take.", func(s journal.Stats) float64 { return float64(s.MaxBytes) }},
		{"parked_max_bytes", "By", "Bytes that parked deliveries may take.", func(s journal.Stats) float64 { return float64(s.MaxParkedBytes) }},
	}
	for _, g := range gauges {
		if _, err := meter.Float64ObservableGauge("sentry_temporal_journal_"+g.name,
			metric.WithUnit(g.unit), metric.WithDescription(g.description),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				o.Observe(g.value(kept.Stats()))
				return nil
			})); err != nil {
			return err
		}
	}
	counters := []struct {
		name, description string
		value             func(journal.Stats) uint64
	}{
		{"forwarded", "Deliveries whose runs were all started.", func(s journal.Stats) uint64 { return s.Forwarded }},
		{"retries", "Starts that failed and are repeated.", func(s journal.Stats) uint64 { return s.Retries }},
	}
	for _, c := range counters {
		if _, err := meter.Float64ObservableCounter("sentry_temporal_journal_"+c.name,
			metric.WithDescription(c.description),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				o.Observe(float64(c.value(kept.Stats())))
				return nil
			})); err != nil {
			return err
		}
	}
	return nil
}

// measureLanes measures how lanes are whenever the metrics are asked for.
func measureLanes(meter metric.Meter, lanes *forwarder.Forwarder) error {
	gauges := []struct {
		name, description string
		value             func(forwarder.LaneStats) int64
	}{
		{"waiting", "Deliveries of a connection and namespace whose runs are not all started.", func(s forwarder.LaneStats) int64 { return int64(s.Waiting) }},
		{"failing", "1 while starts in a namespace of a connection fail, else 0.", func(s forwarder.LaneStats) int64 {
			if s.Failing != "" {
				return 1
			}
			return 0
		}},
	}
	for _, g := range gauges {
		if _, err := meter.Int64ObservableGauge("sentry_temporal_lane_"+g.name, metric.WithDescription(g.description),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				for _, s := range lanes.Lanes() {
					o.Observe(g.value(s), metric.WithAttributes(
						attribute.String("connection", s.Connection), attribute.String("namespace", s.Namespace)))
				}
				return nil
			})); err != nil {
			return err
		}
	}
	return nil
}

// measureQueues measures, whenever the metrics are asked for, what is known of the
// task queues, and nothing of what is not.
func measureQueues(meter metric.Meter, states func() []admin.QueueState) error {
	gauges := []struct {
		name, unit, description string
		counted                 bool // not known of a server that does not count
		value                   func(admin.KindState) float64
	}{
		{"backlog", "", "Tasks that wait for a worker, about.", true, func(k admin.KindState) float64 { return float64(k.Backlog) }},
		{"backlog_age_seconds", "s", "Time that the first of them has waited for, 0 without any.", true, func(k admin.KindState) float64 { return k.BacklogAgeSeconds }},
		{"pollers", "", "Workers that have polled in the last 75 s.", false, func(k admin.KindState) float64 { return float64(k.Pollers) }},
	}
	for _, g := range gauges {
		if _, err := meter.Float64ObservableGauge("sentry_temporal_task_queue_"+g.name, metric.WithUnit(g.unit), metric.WithDescription(g.description),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				for _, q := range states() {
					for kind, k := range map[string]admin.KindState{"workflow": q.Workflow, "activity": q.Activity} {
						if q.Known() && (k.Counted || !g.counted) {
							o.Observe(g.value(k), metric.WithAttributes(
								attribute.String("connection", q.Connection), attribute.String("namespace", q.Namespace),
								attribute.String("task_queue", q.TaskQueue), attribute.String("kind", kind)))
						}
					}
				}
				return nil
			})); err != nil {
			return err
		}
	}
	return nil
}

// measureKeyring measures how it is with the secrets whenever the metrics are
// asked for.
func measureKeyring(meter metric.Meter, keys *keyring.Keyring) error {
	observe := func(value func(keyring.State) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for _, s := range keys.States() {
				o.Observe(value(s), metric.WithAttributes(attribute.String("integration", s.Integration)))
			}
			return nil
		}
	}
	var errs []error
	gauge := func(name, unit, description string, value func(keyring.State) int64) {
		_, err := meter.Int64ObservableGauge("sentry_temporal_"+name, metric.WithUnit(unit), metric.WithDescription(description),
			metric.WithInt64Callback(observe(value)))
		errs = append(errs, err)
	}
	counter := func(name, description string, value func(keyring.State) int64) {
		_, err := meter.Int64ObservableCounter("sentry_temporal_"+name, metric.WithDescription(description),
			metric.WithInt64Callback(observe(value)))
		errs = append(errs, err)
	}
	counter("known_installation_mismatches", "Deliveries of an installation that is known that match no Client Secret.", func(s keyring.State) int64 { return s.Mismatches })
	gauge("held_deliveries", "", "Deliveries that are held until a Client Secret comes that they match.", func(s keyring.State) int64 { return int64(s.Held) })
	gauge("held_bytes", "By", "Bytes that they take.", func(s keyring.State) int64 { return s.HeldBytes })
	counter("held_taken", "Deliveries that were held and are taken.", func(s keyring.State) int64 { return s.Taken })
	counter("held_dropped", "Deliveries that were to be held and are lost.", func(s keyring.State) int64 { return s.Dropped })
	gauge("client_secret_file_failing", "", "1 while the file of an integration's Client Secret cannot be used, else 0.", func(s keyring.State) int64 {
		if s.Problem != "" {
			return 1
		}
		return 0
	})
	return errors.Join(errs...)
}

// measureRoutes measures how it is with the routes whenever the metrics are asked
// for.
func measureRoutes(meter metric.Meter, planner *routes.Planner) error {
	_, err := meter.Int64ObservableGauge("sentry_temporal_routes", metric.WithDescription("Routes that deliveries are planned by."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(len(planner.State().Routes)))
			return nil
		}))
	if err != nil {
		return err
	}
	_, err = meter.Int64ObservableGauge("sentry_temporal_routes_file_failing",
		metric.WithDescription("1 while the file of the routes cannot be used and the routes from before are, else 0."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			failing := int64(0)
			if planner.State().Problem != "" {
				failing = 1
			}
			o.Observe(failing)
			return nil
		}))
	return err
}
