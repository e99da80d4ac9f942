package worker

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/starter"
)

// systemsOf returns what activities reach outside, and tell those that told knows.
func systemsOf(cfg config.Outside, told *destinations.Follower, environments map[string]starter.Environment) *outside.Systems {
	systems := &outside.Systems{
		Outside:      cfg,
		Client:       outside.NewClient(),
		Destinations: told.Table,
		Pages:        map[string]string{},
	}
	for name, environment := range environments {
		systems.Pages[name] = environment.UIURL
	}
	return systems
}

// tellOutside logs that workflows can act on nothing, if that is so: whoever has set the
// variables of other programs would wait for messages that never come.
func tellOutside(ctx context.Context, systems *outside.Systems, log *slog.Logger) {
	table, err := systems.Destinations()
	if err == nil && table.Empty() && len(systems.Sentry) == 0 {
		log.InfoContext(ctx, "no outside system is configured, so workflows only look at what comes",
			"variables", "TRIAGE_*, DESTINATIONS_FILE and, by integration, *_API_TOKEN")
	}
}

// measureDestinations measures how it is with the destinations whenever the metrics are
// asked for.
func measureDestinations(meter metric.Meter, told *destinations.Follower) error {
	_, err := meter.Int64ObservableGauge("sentry_temporal_destinations_file_failing",
		metric.WithDescription("1 while the file of the destinations cannot be used, else 0."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			failing := int64(0)
			if told.State().Problem != "" {
				failing = 1
			}
			o.Observe(failing)
			return nil
		}))
	return err
}

// measureOutside measures, whenever the metrics are asked for, what is known of each
// outside system that is configured.
func measureOutside(meter metric.Meter, states func() []outside.State) error {
	_, err := meter.Int64ObservableGauge("sentry_temporal_outside_ready",
		metric.WithDescription("1 while nothing is known to keep an outside system from being used, else 0; of those that are configured and were checked."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, state := range states() {
				var ready int64
				switch state.Status {
				case outside.NotConfigured, outside.Unchecked:
					continue
				case outside.Ready, outside.WellFormed:
					ready = 1
				case outside.NotReady:
				}
				o.Observe(ready, metric.WithAttributes(
					attribute.String("system", state.System), attribute.String("integration", state.Integration)))
			}
			return nil
		}))
	return err
}
