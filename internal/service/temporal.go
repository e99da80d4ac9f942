package service

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/api/serviceerror"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/text"
)

// Namespaces returns what Temporal is asked about: the namespaces of the
// integrations, in their order. One that answers and takes no starts, as failing
// says by the error of the last, is not all right. A worker starts none: nil.
func Namespaces(integrations []config.Integration, connections *starter.Connections, failing func(connection, namespace string) string) []admin.Namespace {
	var namespaces []admin.Namespace
	type place struct{ connection, namespace string }
	seen := map[place]bool{}
	for _, integration := range integrations {
		environment := connections.Environments()[integration.Name]
		at := place{environment.Connection, environment.Namespace}
		if seen[at] {
			continue
		}
		seen[at] = true
		namespaces = append(namespaces, namespaceOf(environment, failing))
	}
	return namespaces
}

// OpenedNamespace returns what Temporal is asked about a namespace that was opened
// on the connection of an integration; else like [Namespaces].
func OpenedNamespace(connections *starter.Connections, integration, namespace string, failing func(connection, namespace string) string) admin.Namespace {
	environment := connections.Environments()[integration]
	environment.Client, _ = connections.Client(integration, namespace)
	environment.Namespace = namespace
	return namespaceOf(environment, failing)
}

func namespaceOf(environment starter.Environment, failing func(connection, namespace string) string) admin.Namespace {
	return admin.Namespace{
		Connection: environment.Connection, Name: environment.Namespace,
		Ask: func(ctx context.Context) error {
			if err := environment.Reach(ctx); err != nil || failing == nil {
				return err
			}
			if why := failing(environment.Connection, environment.Namespace); why != "" {
				return serviceerror.NewFailedPrecondition(admin.StartsFail + text.Cut(why, maxError))
			}
			return nil
		},
	}
}

// maxError is what is told of an error, in bytes.
const maxError = 400

// MeasureTemporal measures, whenever the metrics are asked for, what is known
// of each namespace.
func MeasureTemporal(meter metric.Meter, states func() []admin.NamespaceState) error {
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
