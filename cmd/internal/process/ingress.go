// Package process is what the programs run, so that cmd/dev can run all of it
// in one process.
package process

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
	"sentry-temporal/workflows"
)

// drainTimeout is what the forwarder gets to start what is kept when the
// ingress stops. What is left is for the next start.
const drainTimeout = 5 * time.Second

// roomForOne is what the journal must have left for the ingress to be ready:
// more than most deliveries take.
const roomForOne = 64 << 10

// Ingress serves webhooks on public and the admin address on private until ctx is
// done, then lets the deliveries under way finish. It closes the listeners.
func Ingress(ctx context.Context, cfg config.Ingress, public, private net.Listener, log *slog.Logger) error {
	defer func() { _ = errors.Join(public.Close(), private.Close()) }() // mostly closed by then
	told, err := telemetry.Start(ctx, "sentry-temporal-ingress", log)
	if err != nil {
		return err
	}
	defer told.Shutdown(ctx)
	if err := told.Instrument(&cfg.Temporal.Client); err != nil {
		return err
	}
	count, err := ingress.Count(told.Meter(), cfg.Integrations, expectedEvents())
	if err != nil {
		return err
	}
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()
	starts := starter.New(workflows.All, connections.Environments(), cfg.Temporal.UIURL, log)

	webhooks := ingress.Options{
		Integrations: cfg.Integrations,
		MaxBodyBytes: cfg.MaxBodyBytes,
		Log:          log,
		Observers:    []func(context.Context, web.Delivery){count, ingress.Describe},
	}
	watch := admin.NewWatch(namespacesOf(cfg.Integrations, connections), log)
	if err := measureTemporal(told.Meter(), watch.States); err != nil {
		return err
	}
	admins := admin.Options{
		Temporal: watch.States,
		Metrics:  told.Metrics(),
		Codec:    starter.Codec(),
		UIURL:    cfg.Temporal.UIURL,
		Log:      log,
	}
	recent := admin.NewRecent(cfg.Integrations)
	webhooks.Observers = append(webhooks.Observers, recent.Observe)
	admins.Status = &admin.Status{
		Integrations: cfg.Integrations,
		Workflows:    workflows.All,
		Recent:       recent,
		WebhookURL:   cmp.Or(cfg.PublicURL, localURL(public.Addr())),
		Guessed:      cfg.PublicURL == "",
	}
	commits, err := measureCommits(told.Meter())
	if err != nil {
		return err
	}
	kept, err := journal.Open(cfg.JournalDir, journal.Options{
		MaxBytes: cfg.JournalMaxBytes,
		OnCommit: commits,
		Inject:   telemetry.TraceParent,
		Extract:  telemetry.WithTraceParent,
		Log:      log,
	})
	if err != nil {
		return err
	}
	forwarder := journal.NewForwarder(kept, starts.Start, journal.ForwarderOptions{
		DrainTimeout: drainTimeout,
		Permanent:    starter.Permanent,
		Log:          log,
	})
	// The forwarder outlives the servers, to start what they took last.
	forwarding, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		forwarder.Run(forwarding)
	}()
	defer func() {
		stop()
		<-done
		if err := kept.Close(); err != nil {
			log.ErrorContext(ctx, "journal does not close", telemetry.KeyError, err.Error())
		}
	}()
	if err := measureJournal(told.Meter(), kept); err != nil {
		return err
	}
	webhooks.Inbox = journal.NewInbox(kept, forwarder, starts.Plan)
	admins.Ready = func() error { return canKeep(ctx, kept.Stats()) }
	admins.Status.Journal = kept.Stats

	log.InfoContext(ctx, "ingress listens", telemetry.KeyAddress, public.Addr().String(), "admin_address", private.Addr().String())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return web.Serve(ctx, public, traced(told, ingress.New(webhooks)), log) })
	group.Go(func() error { return web.Serve(ctx, private, admin.New(admins), log) })
	group.Go(func() error {
		watch.Run(ctx)
		return nil
	})
	err = group.Wait()
	log.InfoContext(ctx, "ingress stopped")
	return err
}

// canKeep returns nil if the ingress can keep a delivery, and else why not.
func canKeep(ctx context.Context, stats journal.Stats) error {
	switch {
	case ctx.Err() != nil:
		return errors.New("the ingress stops")
	case stats.PendingBytes+stats.ParkedBytes+roomForOne > stats.MaxBytes:
		return journal.ErrFull
	}
	return nil
}

// localURL is the base address of a listener as this machine reaches it.
func localURL(listener net.Addr) string {
	host, port, err := net.SplitHostPort(listener.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// traced makes each delivery a trace, and what else is asked for none.
func traced(told *telemetry.Telemetry, webhooks http.Handler) http.Handler {
	return told.TraceRequests(webhooks, "POST /webhooks/{integration}", func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/webhooks/")
	})
}
