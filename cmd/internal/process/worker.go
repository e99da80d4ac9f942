package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

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

// Worker runs workflows and activities, one worker for each distinct namespace
// and task queue of the integrations, and serves the admin address on listener,
// until ctx is done. Then it lets the activities under way finish. It waits for
// a Temporal that does not answer yet. It closes the listener.
func Worker(ctx context.Context, cfg config.Worker, listener net.Listener, log *slog.Logger) error {
	defer func() { _ = listener.Close() }() // mostly closed by then
	told, err := telemetry.Start(ctx, "sentry-temporal-worker", log)
	if err != nil {
		return err
	}
	defer told.Shutdown(ctx)
	if err := told.Instrument(&cfg.Temporal.Client); err != nil {
		return err
	}
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()

	// A worker that cannot go on ends all of them: whatever restarts the
	// process starts all again.
	ctx, fatal := context.WithCancelCause(ctx)
	defer fatal(nil)

	watch := admin.NewWatch(namespacesOf(cfg.Integrations, connections), log)
	if err := measureTemporal(told.Meter(), watch.States); err != nil {
		return err
	}
	var polling atomic.Bool // at least one worker
	served := make(chan struct{})
	go func() {
		defer close(served)
		handler := admin.New(admin.Options{
			Ready: func() error {
				if !polling.Load() {
					return errors.New("no task queue is polled")
				}
				return nil
			},
			Temporal: watch.States,
			Metrics:  told.Metrics(),
			Log:      log,
		})
		if err := web.Serve(ctx, listener, handler, log); err != nil {
			fatal(err)
		}
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch.Run(ctx)
	}()
	defer func() {
		<-served
		<-watched
	}()
	log.InfoContext(ctx, "worker listens", "admin_address", listener.Addr().String())

	started := map[starter.Environment]bool{}
	for _, integration := range cfg.Integrations {
		environment := connections.Environments()[integration.Name]
		if started[environment] {
			continue
		}
		started[environment] = true
		w, err := startWorker(ctx, connections, environment, fatal, log)
		if err != nil {
			break // ctx is done
		}
		defer w.Stop()
		polling.Store(true)
		log.InfoContext(ctx, "worker polls", telemetry.KeyNamespace, environment.Namespace, telemetry.KeyTaskQueue, environment.TaskQueue)
	}
	<-ctx.Done()
	log.InfoContext(ctx, "worker stops")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// startWorker returns a running worker, or an error when ctx is done before
// there is one.
func startWorker(ctx context.Context, connections *starter.Connections, environment starter.Environment, fatal func(error), log *slog.Logger) (worker.Worker, error) {
	for {
		if err := connections.Await(ctx); err != nil {
			return nil, err
		}
		w := worker.New(environment.Client, environment.TaskQueue, worker.Options{
			WorkerStopTimeout:          workerStopTimeout,
			WorkflowTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
			ActivityTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
			Interceptors:               []interceptor.WorkerInterceptor{triage.Interceptor()},
			OnFatalError: func(err error) {
				fatal(fmt.Errorf("worker of namespace %s, task queue %s: %w", environment.Namespace, environment.TaskQueue, err))
			},
		})
		triage.Register(w, workflows.All, activities.All...)
		err := w.Start()
		if err == nil {
			return w, nil
		}
		log.WarnContext(ctx, "worker does not start, trying again",
			telemetry.KeyNamespace, environment.Namespace, telemetry.KeyTaskQueue, environment.TaskQueue, telemetry.KeyError, err.Error())
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
