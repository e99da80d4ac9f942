// Package process is what the programs run, so that cmd/dev can run all of it
// in one process.
package process

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/workflows"
)

// Ingress serves webhooks on public and health on admin until ctx is done,
// then lets the deliveries under way finish. It closes the listeners.
func Ingress(ctx context.Context, cfg config.Ingress, public, admin net.Listener, log *slog.Logger) error {
	defer func() { _ = errors.Join(public.Close(), admin.Close()) }() // mostly closed by then
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()

	log.InfoContext(ctx, "ingress listens", telemetry.KeyAddress, public.Addr().String(), "admin_address", admin.Addr().String())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return ingress.Serve(ctx, public, ingress.New(ingress.Options{
			Integrations: cfg.Integrations,
			MaxBodyBytes: cfg.MaxBodyBytes,
			Starter:      starter.New(workflows.All, connections.Environments(), cfg.Temporal.UIURL),
			Log:          log,
		}), log)
	})
	group.Go(func() error { return ingress.Serve(ctx, admin, ingress.Admin(connections.Ready, log), log) })
	group.Go(func() error {
		_ = connections.Await(ctx) // only ctx ends it, and that is no error
		return nil
	})
	err = group.Wait()
	log.InfoContext(ctx, "ingress stopped")
	return err
}
