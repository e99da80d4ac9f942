package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"sentry-temporal/cmd/internal/load"
	"sentry-temporal/cmd/internal/proc"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/workflows"
)

// runs prints how fast deliveries become completed runs, beside a raw loop of the same
// starts with a worker that does nothing but one local activity. The two take turns.
func (b *bench) runs(ctx context.Context) error {
	const deliveries, turns = 3000, 2
	var raw, ours []float64
	for range turns {
		for _, way := range []struct {
			rates *[]float64
			do    func(context.Context, *devserver.Server, int) (began time.Time, _ error)
		}{{&raw, b.rawRuns}, {&ours, b.ourRuns}} {
			rate, err := b.completed(ctx, deliveries, way.do)
			if err != nil {
				return err
			}
			*way.rates = append(*way.rates, rate)
		}
	}
	fmt.Fprintf(b.out, "\n%d completed runs: raw loop, %d callers %.0f/s (turns: %.0f); ingress and worker %.0f/s (turns: %.0f), %.2f of the raw loop\n",
		deliveries, parallel, mean(raw), raw, mean(ours), ours, mean(ours)/mean(raw))
	return nil
}

// completed has do start n runs on a new Temporal server, and returns how many completed
// in a second, from the time that do says until the last.
func (b *bench) completed(ctx context.Context, n int, do func(context.Context, *devserver.Server, int) (time.Time, error)) (float64, error) {
	temporal, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		return 0, err
	}
	defer temporal.Kill()
	ctx, stop := context.WithTimeout(ctx, 10*time.Minute)
	defer stop()
	defer func() {
		for _, end := range b.after {
			end()
		}
		b.after = nil
	}()
	began, err := do(ctx, temporal, n)
	if err != nil {
		return 0, err
	}
	c, err := client.DialContext(ctx, client.Options{HostPort: temporal.Address, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for {
		counted, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "ExecutionStatus = 'Completed'"})
		if err != nil {
			return 0, err
		}
		if counted.GetCount() >= int64(n) {
			return float64(n) / time.Since(began).Seconds(), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d runs are completed: %w", counted.GetCount(), n, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// rawRuns prepares starts as the ingress does, and then only starts.
func (b *bench) rawRuns(ctx context.Context, temporal *devserver.Server, n int) (time.Time, error) {
	self, err := os.Executable()
	if err != nil {
		return time.Time{}, err
	}
	p := &proc.Program{Binary: self, Args: []string{"-serve-worker", temporal.Address}, Log: filepath.Join(b.dir, "raw-worker.log")}
	if err := p.Start(); err != nil {
		return time.Time{}, err
	}
	b.after = append(b.after, p.Kill)
	connections, err := starter.Connect(config.Temporal{Client: client.Options{HostPort: temporal.Address}}, polled, slog.New(slog.DiscardHandler))
	if err != nil {
		return time.Time{}, err
	}
	b.after = append(b.after, connections.Close)
	starts := starter.New(connections, slog.New(slog.DiscardHandler))
	go starts.Run(ctx) // knows what the namespace takes, as in the ingress
	envelopes, err := envelopesOf(n)
	if err != nil {
		return time.Time{}, err
	}
	planner := routes.NewPlanner(workflows.All, polled, slog.New(slog.DiscardHandler))
	prepared := make([]func(context.Context) ([]starter.Run, error), n)
	for i, env := range envelopes {
		if prepared[i], err = starts.Prepare(env, planner.Plan(sentry.DeliveryOf(env)).For(env.IdempotencyKey)); err != nil {
			return time.Time{}, err
		}
	}
	if err := awaitPoller(ctx, connections.Environments()["sentry"].Client); err != nil {
		return time.Time{}, err
	}
	began := time.Now()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range parallel {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if _, err := prepared[i](ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return began, group.Wait()
}

// ourRuns sends deliveries to an ingress, beside a worker.
func (b *bench) ourRuns(ctx context.Context, temporal *devserver.Server, n int) (time.Time, error) {
	w := &proc.Program{Binary: filepath.Join(b.binaries, "worker"), Log: filepath.Join(b.dir, "worker.log"), Environ: []string{
		"TEMPORAL_ADDRESS=" + temporal.Address, "WORKER_ADMIN_ADDR=127.0.0.1:0", "LOG_LEVEL=warn",
	}}
	if err := w.Start(); err != nil {
		return time.Time{}, err
	}
	b.after = append(b.after, w.Kill)
	url, ingress, err := b.startIngress(ctx, temporal.Address)
	if err != nil {
		return time.Time{}, err
	}
	b.after = append(b.after, ingress.Kill)
	c, err := client.DialContext(ctx, client.Options{HostPort: temporal.Address, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	if err := awaitPoller(ctx, c); err != nil {
		return time.Time{}, err
	}
	body, err := bodyOf(2 << 10)
	if err != nil {
		return time.Time{}, err
	}
	next := targets(url, body)
	var sent, taken atomic.Int64
	began := time.Now()
	load.Load{Connections: parallel}.Run(ctx, func(t *vegeta.Target) error {
		if sent.Add(1) > int64(n) {
			return vegeta.ErrNoTargets
		}
		return next(t)
	}, func(r *vegeta.Result) {
		if r.Code == 202 {
			taken.Add(1)
		}
	})
	if taken.Load() != int64(n) {
		return began, fmt.Errorf("%d of %d deliveries were taken", taken.Load(), n)
	}
	return began, nil
}

// polled is what the worker polls for.
var polled = []config.Integration{{Name: "sentry", Namespace: client.DefaultNamespace, TaskQueue: "sentry"}}

// awaitPoller returns once a worker polls.
func awaitPoller(ctx context.Context, c client.Client) error {
	for {
		queue, err := c.DescribeTaskQueue(ctx, "sentry", 1) // for workflow tasks
		if err != nil {
			return err
		}
		if len(queue.GetPollers()) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no worker polls: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// serveWorker is a worker whose workflow has one local activity.
func serveWorker(ctx context.Context, temporal string) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: temporal, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer c.Close()
	type issue struct{ ID, Title string }
	parse := func(_ context.Context, env sentry.Envelope) (i issue, err error) {
		var body struct {
			Data struct{ Issue issue }
		}
		err = json.Unmarshal([]byte(env.Body), &body)
		return body.Data.Issue, err
	}
	w := worker.New(c, "sentry", worker.Options{})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, env sentry.Envelope) (i issue, err error) {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
		return i, workflow.ExecuteLocalActivity(ctx, parse, env).Get(ctx, &i)
	}, workflow.RegisterOptions{Name: "triage_sentry_issue"})
	stop := make(chan any)
	defer context.AfterFunc(ctx, func() { close(stop) })()
	return w.Run(stop)
}
