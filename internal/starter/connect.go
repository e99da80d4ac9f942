package starter

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
)

// Connections are the connections to Temporal, one for each namespace of the
// integrations.
type Connections struct {
	address      string
	clients      map[string]client.Client // by namespace
	environments map[string]Environment   // by integration
	log          *slog.Logger
}

// Connect prepares connections for the integrations. It does not wait for
// Temporal to answer: see [Connections.Await].
func Connect(temporal config.Temporal, integrations []config.Integration, log *slog.Logger) (*Connections, error) {
	c := &Connections{
		address:      temporal.Client.HostPort,
		clients:      map[string]client.Client{},
		environments: map[string]Environment{},
		log:          log,
	}
	for _, integration := range integrations {
		if c.clients[integration.Namespace] == nil {
			options := temporal.Client
			options.Namespace = integration.Namespace
			options.DataConverter = DataConverter()
			options.Logger = temporallog.NewStructuredLogger(log)
			lazy, err := client.NewLazyClient(options)
			if err != nil {
				c.Close()
				return nil, fmt.Errorf("connect to Temporal at %s: %w", c.address, err)
			}
			c.clients[integration.Namespace] = lazy
		}
		c.environments[integration.Name] = Environment{
			Client:    c.clients[integration.Namespace],
			Namespace: integration.Namespace,
			TaskQueue: integration.TaskQueue,
		}
	}
	return c, nil
}

// Environments returns where the runs of each integration live.
func (c *Connections) Environments() map[string]Environment { return c.environments }

// Ready returns nil if Temporal answers for every namespace, and else what is
// wrong.
func (c *Connections) Ready(ctx context.Context) error {
	for namespace, cl := range c.clients {
		_, err := cl.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		if err != nil {
			return fmt.Errorf("ask Temporal at %s for namespace %s: %w", c.address, namespace, err)
		}
	}
	return nil
}

const (
	firstPause = time.Second
	maxPause   = 15 * time.Second
	askTimeout = 5 * time.Second
)

// Await returns nil once [Connections.Ready] does, asking again and again and
// saying so in the log, or ctx's error when that is done first.
func (c *Connections) Await(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		err := c.Ready(asking)
		cancel()
		switch {
		case err == nil:
			c.log.InfoContext(ctx, "Temporal answers", telemetry.KeyAddress, c.address)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		c.log.WarnContext(ctx, "Temporal does not answer, trying again",
			telemetry.KeyAddress, c.address, telemetry.KeyError, err.Error(), "again_in", pause.String())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Close closes all connections.
func (c *Connections) Close() {
	for _, cl := range c.clients {
		cl.Close()
	}
}
