// Package worker is all of a worker in one call: the environment, the connections
// to Temporal, probes and metrics, and how to stop. It runs the workflows of this
// repository, and those of a team's own.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	sdk "go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/service"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/web"
	"sentry-temporal/triage"
)

// Run runs workflows and activities, which are functions or pointers to structs
// whose exported methods are activities, until ctx is done and those under way
// have had their time to finish. Its configuration is the environment: that of
// the ingress, without what only the ingress needs, and WORKER_ADMIN_ADDR. The
// error tells everything that is wrong with it.
//
// It panics when two workflows or two activities share a name.
func Run(ctx context.Context, workflows []triage.Workflow, activities ...any) error {
	cfg, err := config.LoadWorker()
	if err != nil {
		return err
	}
	admin, err := net.Listen("tcp", cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("WORKER_ADMIN_ADDR: %w", err)
	}
	return Serve(ctx, cfg, admin, telemetry.NewLogger(os.Stderr, cfg.Log.JSON, cfg.Log.Level), workflows, activities...)
}

// Main is the main function of a program that is a worker: it carries out [Run]
// until SIGTERM or Ctrl-C, a second of which ends the process at once, and exits
// with 1 and the error if it could not run. The program has the flags -health,
// which asks the one that runs whether it lives, as a container's health check
// does, and -version. Main does not return.
func Main(workflows []triage.Workflow, activities ...any) {
	run := func(ctx context.Context) error { return Run(ctx, workflows, activities...) }
	os.Exit(service.Main("worker", os.Args[1:], config.WorkerAdminAddr, run, os.Stdout, os.Stderr))
}

// stopTimeout is what activities under way get to finish.
const stopTimeout = 20 * time.Second

// Serve is [Run] for programs of this repository, whose configuration is read already: one worker for each
// distinct connection, namespace and task queue of the integrations, and the admin
// address on listener, until ctx is done, and for cfg.ShutdownDelay after that.
// Then it lets the activities under way finish, those of all workers at the same
// time, and lets go of the admin address last. A worker waits for a Temporal that
// does not answer, and starts again when it cannot go on; it does not keep the
// others from their work. It closes the listener.
func Serve(ctx context.Context, cfg config.Worker, listener net.Listener, log *slog.Logger, workflows []triage.Workflow, activities ...any) error {
	defer func() { _ = listener.Close() }() // mostly closed by then
	if err := service.Guarded(listener, cfg.AdminToken); err != nil {
		return err
	}
	told, err := telemetry.Start(ctx, "sentry-temporal-worker", log)
	if err != nil {
		return err
	}
	defer told.Shutdown(ctx)
	service.Warn(ctx, cfg.Warnings, log)
	warnings := slices.Concat(cfg.Warnings, service.WarnEvents(ctx, workflows, log))
	tellRoutes(ctx, workflows, cfg.Integrations, log)
	if err := told.Instrument(&cfg.Temporal.Client); err != nil {
		return err
	}
	connections, err := starter.Connect(cfg.Temporal, cfg.Integrations, log)
	if err != nil {
		return err
	}
	defer connections.Close()
	if cfg.Outside.Secret == nil {
		cfg.Outside.Secret = config.NoOutside().Secret
	}
	destined := destinations.Open(cfg.Outside, log)
	if err := measureDestinations(told.Meter(), destined); err != nil {
		return err
	}
	systems := systemsOf(cfg.Outside, destined, connections.Environments())
	tellOutside(ctx, systems, log)
	start := func(environment starter.Environment, fatal func(error)) (stop func(), err error) {
		countFromZero(cfg.Temporal.Client.MetricsHandler, environment, workflows)
		return poll(outside.With(context.WithoutCancel(ctx), systems), environment, fatal, workflows, activities)
	}
	all := newWorkers(cfg.Integrations, connections.Environments(), start, log)
	watch := admin.NewWatch(service.Namespaces(cfg.Integrations, connections, nil), log)
	if err := service.MeasureTemporal(told.Meter(), watch.States); err != nil {
		return err
	}
	reached := outside.NewWatch(systems, cfg.Integrations, log)
	if err := measureOutside(told.Meter(), reached.States); err != nil {
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
		UIURL:    cfg.Temporal.UIURL,
		Worker: &admin.WorkerStatus{
			Queues: all.queues, Workflows: workflows, Outside: reached.States, Destinations: destined.State, Warnings: warnings,
		},
		Token: cfg.AdminToken,
		Hosts: cfg.AdminHosts,
		Log:   log,
	})

	log.InfoContext(ctx, "worker listens", "admin_address", listener.Addr().String())
	context.AfterFunc(ctx, func() { log.InfoContext(ctx, "worker stops", "delay", cfg.ShutdownDelay.String()) })
	delayed, cancel := service.Later(ctx, cfg.ShutdownDelay)
	defer cancel()
	group, working := errgroup.WithContext(delayed)
	// The admin address outlives the work.
	worked, closeAdmin := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer closeAdmin()
		var background sync.WaitGroup
		background.Go(func() { watch.Run(working) })
		background.Go(func() { destined.Follow(working) })
		background.Go(func() { reached.Run(working) })
		all.run(working)
		background.Wait()
		return nil
	})
	group.Go(func() error { return web.Serve(worked, listener, handler, log) })
	err = group.Wait()
	log.InfoContext(ctx, "worker stopped")
	return err
}

// countFromZero has what is counted of the runs of an environment begin at zero, so that
// the first one that fails is seen as more. The tags are those that the SDK measures a
// run with: with others these would be other series.
func countFromZero(metrics client.MetricsHandler, environment starter.Environment, workflows []triage.Workflow) {
	for _, w := range workflows {
		of := metrics.WithTags(map[string]string{
			"namespace": environment.Namespace, "task_queue": environment.TaskQueue, "workflow_type": w.Name(),
			"client_name": "temporal_go", "activity_type": "none", "worker_type": "none",
		})
		of.Counter("temporal_workflow_failed").Inc(0)
		outside.CountFromZero(of)
	}
}

// poll starts a worker of the workflows and activities, which are called in background.
func poll(background context.Context, environment starter.Environment, fatal func(error), workflows []triage.Workflow, activities []any) (stop func(), err error) {
	w := sdk.New(environment.Client, environment.TaskQueue, sdk.Options{
		WorkerStopTimeout:          stopTimeout,
		WorkflowTaskPollerBehavior: sdk.NewPollerBehaviorAutoscaling(sdk.PollerBehaviorAutoscalingOptions{}),
		ActivityTaskPollerBehavior: sdk.NewPollerBehaviorAutoscaling(sdk.PollerBehaviorAutoscalingOptions{}),
		BackgroundActivityContext:  background,
		Interceptors:               []interceptor.WorkerInterceptor{triage.Interceptor(activities...)},
		OnFatalError:               fatal,
	})
	triage.Register(w, workflows, activities...)
	if err := w.Start(); err != nil {
		return nil, err
	}
	return w.Stop, nil
}
