package starter

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"

	"sentry-temporal/internal/config"
)

// Environment is where the runs of an integration live.
type Environment struct {
	Connection string        // name of the profile; "" is the common connection
	Client     client.Client // of Connection and Namespace
	Namespace  string
	TaskQueue  string
	UIURL      string // base address of the Temporal UI; "" if it is not known
}

// Connections are the connections to Temporal, one for each connection and
// namespace of the integrations.
type Connections struct {
	places       map[place]*connected
	environments map[string]Environment // by integration
	log          *slog.Logger
}

// place is what a client is for.
type place struct{ connection, namespace string }

// connected is a client with its address.
type connected struct {
	client  client.Client
	address string
}

// Connect prepares connections for the integrations. It does not wait for
// Temporal to answer: see [Environment.Reach].
func Connect(temporal config.Temporal, integrations []config.Integration, log *slog.Logger) (*Connections, error) {
	c := &Connections{places: map[place]*connected{}, environments: map[string]Environment{}, log: log}
	for _, integration := range integrations {
		at := place{connection: integration.Profile, namespace: integration.Namespace}
		of := temporal
		if integration.Profile != "" {
			var ok bool
			if of, ok = temporal.Profiles[integration.Profile]; !ok {
				c.Close()
				return nil, fmt.Errorf("connect to Temporal for integration %s: profile %q is not configured", integration.Name, integration.Profile)
			}
		}
		if c.places[at] == nil {
			options := of.Client
			options.Namespace = integration.Namespace
			options.DataConverter = DataConverter()
			options.Logger = temporallog.NewStructuredLogger(log)
			// What watches the common connection watches all.
			options.MetricsHandler = temporal.Client.MetricsHandler
			options.Interceptors = temporal.Client.Interceptors
			options.ConnectionOptions.DialOptions = append(slices.Clip(options.ConnectionOptions.DialOptions), startOnce())
			lazy, err := client.NewLazyClient(withFiles(options, of, log))
			if err != nil {
				c.Close()
				return nil, fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
			}
			c.places[at] = &connected{client: lazy, address: options.HostPort}
		}
		c.environments[integration.Name] = Environment{
			Connection: integration.Profile,
			Client:     c.places[at].client,
			Namespace:  integration.Namespace,
			TaskQueue:  integration.TaskQueue,
			UIURL:      of.UIURL,
		}
	}
	return c, nil
}

// Environments returns where the runs of each integration live.
func (c *Connections) Environments() map[string]Environment { return c.environments }

// Client returns the client for a run of integration in namespace, which need
// not be the namespace that the integration has now. It returns false if the
// integration is not configured, or nothing that is configured has this
// namespace on the integration's connection.
func (c *Connections) Client(integration, namespace string) (client.Client, bool) {
	environment, ok := c.environments[integration]
	if !ok {
		return nil, false
	}
	at, ok := c.places[place{connection: environment.Connection, namespace: namespace}]
	if !ok {
		return nil, false
	}
	return at.client, true
}

func (c *Connections) sorted() []place {
	return slices.SortedFunc(maps.Keys(c.places), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.connection, b.connection), cmp.Compare(a.namespace, b.namespace))
	})
}

// Reach returns nil if Temporal answers for the environment's namespace.
func (e Environment) Reach(ctx context.Context) error {
	_, err := e.Client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: e.Namespace})
	return err
}

// Close closes all connections.
func (c *Connections) Close() {
	for _, at := range c.places {
		at.client.Close()
	}
}
