package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
)

const (
	// firstPause and maxPause are between two attempts to poll.
	firstPause = time.Second
	maxPause   = 15 * time.Second
	// askTimeout bounds the question whether Temporal answers.
	askTimeout = 5 * time.Second
	// logPause is the shortest time between two lines about one environment that
	// is not polled.
	logPause = time.Minute
)

// startWorker starts the worker of an environment. It is told of no more than
// one error that the worker cannot go on with; stop has to be called then, too.
type startWorker func(environment starter.Environment, fatal func(error)) (stop func(), err error)

// workers are the workers of all environments, each of which starts, fails and
// stops on its own.
type workers []*polling

// newWorkers returns one worker for each distinct connection, namespace and task
// queue of the integrations.
func newWorkers(integrations []config.Integration, environments map[string]starter.Environment, start startWorker, log *slog.Logger) workers {
	var all workers
	seen := map[starter.Environment]bool{}
	for _, integration := range integrations {
		environment := environments[integration.Name]
		if seen[environment] {
			continue
		}
		seen[environment] = true
		log := log.With(telemetry.KeyNamespace, environment.Namespace, telemetry.KeyTaskQueue, environment.TaskQueue)
		if environment.Connection != "" {
			log = log.With(telemetry.KeyConnection, environment.Connection)
		}
		all = append(all, &polling{
			environment: environment,
			reach:       environment.Reach,
			start:       start,
			log:         log,
			reason:      errors.New("it is not started yet"),
		})
	}
	return all
}

// run returns once ctx is done and all have stopped.
func (w workers) run(ctx context.Context) {
	var group sync.WaitGroup
	for _, p := range w {
		group.Go(func() { p.run(ctx) })
	}
	group.Wait()
}

// pollState is whether the task queue of an environment is polled.
type pollState struct {
	connection, namespace, taskQueue string
	err                              error // why not; nil while it is
}

// states returns what is the case now, in the order of the integrations.
func (w workers) states() []pollState {
	var all []pollState
	for _, p := range w {
		at := p.environment
		all = append(all, pollState{connection: at.Connection, namespace: at.Namespace, taskQueue: at.TaskQueue, err: p.whyNot()})
	}
	return all
}

// queues returns the states for the page.
func (w workers) queues() []admin.Queue {
	var all []admin.Queue
	for _, s := range w.states() {
		q := admin.Queue{Connection: s.connection, Namespace: s.namespace, TaskQueue: s.taskQueue}
		if s.err != nil {
			q.Problem = s.err.Error()
		}
		all = append(all, q)
	}
	return all
}

// ready returns nil while at least one task queue is polled, and else why none
// is.
func (w workers) ready() error {
	var reasons []error
	for _, s := range w.states() {
		if s.err == nil {
			return nil
		}
		reasons = append(reasons, fmt.Errorf("task queue %s of namespace %s is not polled: %w", s.taskQueue, s.namespace, s.err))
	}
	return errors.Join(reasons...)
}

// polling is the worker of one environment. It starts when Temporal answers, and
// again when it has failed.
type polling struct {
	environment starter.Environment
	reach       func(context.Context) error
	start       startWorker
	log         *slog.Logger
	logged      time.Time // when there was a line that it does not poll

	mu     sync.Mutex
	reason error // why it does not poll; nil while it does
}

func (p *polling) whyNot() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}

func (p *polling) set(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reason = reason
}

func (p *polling) run(ctx context.Context) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		began := time.Now()
		started, err := p.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		if started && time.Since(began) > logPause {
			pause = firstPause
		}
		if p.logged.IsZero() || time.Since(p.logged) >= logPause {
			p.logged = time.Now()
			if started {
				p.log.ErrorContext(ctx, "worker cannot go on, starting it again", telemetry.KeyError, err.Error())
			} else {
				p.log.WarnContext(ctx, "worker does not start, trying again", telemetry.KeyError, err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// poll polls until ctx is done or the worker cannot go on, and returns once it
// has stopped.
func (p *polling) poll(ctx context.Context) (started bool, err error) {
	defer func() { p.set(err) }()
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	err = p.reach(asking)
	cancel()
	if err != nil {
		return false, err
	}
	failed := make(chan error, 1)
	stop, err := p.start(p.environment, func(err error) { failed <- err })
	if err != nil {
		return false, err
	}
	defer stop()
	p.set(nil)
	p.log.InfoContext(ctx, "worker polls")
	select {
	case <-ctx.Done():
		err = errors.New("it stops")
	case err = <-failed:
	}
	p.set(err)
	return true, err
}
