package process

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"sentry-temporal/activities"
	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/triage"
	"sentry-temporal/internal/web"
	"sentry-temporal/workflows"
)

// workerStopTimeout is what activities under way get to finish.
const workerStopTimeout = 20 * time.Second

// Worker runs workflows and activities, one worker for each distinct connection,
// namespace and task queue of the integrations, and serves the admin address on
// listener, until ctx is done, and for cfg.ShutdownDelay after that. Then it lets the
// activities under way finish, those of all workers at the same time, and lets go of
// the admin address last. A worker waits for a Temporal that does not
// answer, and starts again when it cannot go on; it does not keep the others
// from their work. It closes the listener.
func Worker(ctx context.Context, cfg config.Worker, listener net.Listener, log *slog.Logger) error {
	defer func() { _ = listener.Close() }() // mostly closed by then
	if err := guarded(listener, cfg.AdminToken); err != nil {
		return err
	}
	told, err := telemetry.Start(ctx, "sentry-temporal-worker", log)
	if err != nil {
		return err
	}
	defer told.Shutdown(ctx)
	warn(ctx, cfg.Warnings, log)
	if err := told.Instrument(&cfg.Temporal.Client); err != nil {
		return err
	}
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()
	all := newWorkers(cfg.Integrations, connections.Environments(), runWorker, log)
	watch := admin.NewWatch(namespacesOf(cfg.Integrations, connections, nil), log)
	if err := measureTemporal(told.Meter(), watch.States); err != nil {
		return err
	}
	handler := admin.New(admin.Options{
		Ready: func() error {
			if ctx.Err() != nil {
				return errors.New("the worker stops")
			}
			return all.ready()
		},
		Temporal: watch.States,
		Metrics:  told.Metrics(),
		Token:    cfg.AdminToken,
		Log:      log,
	})

	log.InfoContext(ctx, "worker listens", "admin_address", listener.Addr().String())
	context.AfterFunc(ctx, func() { log.InfoContext(ctx, "worker stops", "delay", cfg.ShutdownDelay.String()) })
	delayed, cancel := later(ctx, cfg.ShutdownDelay)
	defer cancel()
	group, working := errgroup.WithContext(delayed)
	// The admin address outlives the work.
	worked, closeAdmin := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer closeAdmin()
		var background sync.WaitGroup
		background.Go(func() { watch.Run(working) })
		all.run(working)
		background.Wait()
		return nil
	})
	group.Go(func() error { return web.Serve(worked, listener, handler, log) })
	err = group.Wait()
	log.InfoContext(ctx, "worker stopped")
	return err
}

// runWorker starts a worker of all workflows and activities.
func runWorker(environment starter.Environment, fatal func(error)) (stop func(), err error) {
	w := worker.New(environment.Client, environment.TaskQueue, worker.Options{
		WorkerStopTimeout:          workerStopTimeout,
		WorkflowTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
		ActivityTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
		Interceptors:               []interceptor.WorkerInterceptor{triage.Interceptor()},
		OnFatalError:               fatal,
	})
	triage.Register(w, workflows.All, activities.All...)
	if err := w.Start(); err != nil {
		return nil, err
	}
	return w.Stop, nil
}
