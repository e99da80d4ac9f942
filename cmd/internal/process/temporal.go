package process

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/api/serviceerror"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/forwarder"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/text"
)

// namespacesOf returns what Temporal is asked about: the namespaces of the
// integrations, in their order. One that answers and takes no starts, as lanes
// say, is not all right. A worker has no lanes: nil.
func namespacesOf(integrations []config.Integration, connections *starter.Connections, lanes func() []forwarder.LaneStats) []admin.Namespace {
	var namespaces []admin.Namespace
	seen := map[forwarder.Lane]bool{}
	for _, integration := range integrations {
		environment := connections.Environments()[integration.Name]
		at := forwarder.Lane{Connection: environment.Connection, Namespace: environment.Namespace}
		if seen[at] {
			continue
		}
		seen[at] = true
		namespaces = append(namespaces, admin.Namespace{
			Connection: environment.Connection, Name: environment.Namespace,
			Ask: func(ctx context.Context) error {
				if err := environment.Reach(ctx); err != nil || lanes == nil {
					return err
				}
				return failing(at, lanes())
			},
		})
	}
	return namespaces
}

// failing returns an error while starts of a lane fail.
func failing(at forwarder.Lane, lanes []forwarder.LaneStats) error {
	const most = 400 // bytes of an error
	for _, l := range lanes {
		if l.Lane == at && l.Failing != "" {
			return serviceerror.NewFailedPrecondition("starts fail: " + text.Cut(l.Failing, most))
		}
	}
	return nil
}

// measureTemporal measures, whenever the metrics are asked for, what is known
// of each namespace.
func measureTemporal(meter metric.Meter, states func() []admin.NamespaceState) error {
	_, err := meter.Int64ObservableGauge("sentry_temporal_namespace_answers",
		metric.WithDescription("1 while Temporal answers for a namespace of a connection and takes starts, else 0."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, state := range states() {
				answers := int64(0)
				if state.Status == admin.StatusOK {
					answers = 1
				}
				o.Observe(answers, metric.WithAttributes(
					attribute.String("connection", state.Connection), attribute.String("namespace", state.Namespace)))
			}
			return nil
		}))
	return err
}
