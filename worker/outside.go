package worker

import (
	"context"

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
