package starter

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

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
// namespace of the integrations, and for those that were opened beside.
type Connections struct {
	temporal     config.Temporal
	environments map[string]Environment // by integration; it never changes
	log          *slog.Logger

	mu     sync.RWMutex
	places map[place]*connected
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
	c := &Connections{temporal: temporal, places: map[place]*connected{}, environments: map[string]Environment{}, log: log}
	for _, integration := range integrations {
		of, err := c.settings(integration.Profile)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("connect to Temporal for integration %s: %w", integration.Name, err)
		}
		to, err := c.open(place{connection: integration.Profile, namespace: integration.Namespace})
		if err != nil {
			c.Close()
			return nil, err
		}
		c.environments[integration.Name] = Environment{
			Connection: integration.Profile,
			Client:     to.client,
			Namespace:  integration.Namespace,
			TaskQueue:  integration.TaskQueue,
			UIURL:      of.UIURL,
		}
	}
	return c, nil
}

// Open prepares the connection of integration for runs in another namespace than
// its own. It does not wait for Temporal to answer, and changes nothing if the
// connection is there.
func (c *Connections) Open(integration, namespace string) error {
	environment, ok := c.environments[integration]
	if !ok {
		return fmt.Errorf("integration %s: %w", integration, ErrNotConfigured)
	}
	_, err := c.open(place{connection: environment.Connection, namespace: namespace})
	return err
}

// settings returns those of a connection.
func (c *Connections) settings(connection string) (config.Temporal, error) {
	if connection == "" {
		return c.temporal, nil
	}
	of, ok := c.temporal.Profiles[connection]
	if !ok {
		return config.Temporal{}, fmt.Errorf("profile %q is not configured", connection)
	}
	return of, nil
}

func (c *Connections) open(at place) (*connected, error) {
	of, err := c.settings(at.connection)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if to := c.places[at]; to != nil {
		return to, nil
	}
	options := of.Client
	options.Namespace = at.namespace
	options.DataConverter = DataConverter()
	options.Logger = sdkLog{temporallog.NewStructuredLogger(c.log)}
	// What watches the common connection watches all.
	options.MetricsHandler = c.temporal.Client.MetricsHandler
	options.Interceptors = c.temporal.Client.Interceptors
	options.ConnectionOptions.DialOptions = append(slices.Clip(options.ConnectionOptions.DialOptions), startOnce())
	lazy, err := client.NewLazyClient(withFiles(options, of, c.log))
	if err != nil {
		return nil, fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
	}
	c.places[at] = &connected{client: lazy, address: options.HostPort}
	return c.places[at], nil
}

// sdkLog leaves out the SDK's own line about an attempt of an activity that fails: that of
// package triage says the same, and which event and issue it is about. To that about a
// workflow which is not registered it adds what to do.
type sdkLog struct{ temporallog.Logger }

// Error implements [temporallog.Logger].
func (l sdkLog) Error(message string, keyvals ...any) {
	if message != "Activity error." {
		l.Logger.Error(message, keyvals...)
	}
}

// noWorkflow is what the SDK says of a workflow that the worker does not have.
const noWorkflow = "unable to find workflow type"

// Warn implements [temporallog.Logger].
func (l sdkLog) Warn(message string, keyvals ...any) {
	for _, value := range keyvals {
		if err, ok := value.(error); ok && strings.Contains(err.Error(), noWorkflow) {
			keyvals = append(slices.Clip(keyvals), "remedy", "add it to the list that the worker is given, workflows.All in workflows/workflows.go, and restart the worker; "+
				"if another worker has it, route it to that one's task queue in ROUTES_FILE")
			break
		}
	}
	l.Logger.Warn(message, keyvals...)
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
	to, ok := c.at(place{connection: environment.Connection, namespace: namespace})
	if !ok {
		return nil, false
	}
	return to.client, true
}

func (c *Connections) at(at place) (*connected, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	to, ok := c.places[at]
	return to, ok
}

func (c *Connections) sorted() []place {
	c.mu.RLock()
	defer c.mu.RUnlock()
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
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, to := range c.places {
		to.client.Close()
	}
}
