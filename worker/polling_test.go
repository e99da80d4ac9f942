package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/starter"
)

// stoppable is a worker that a test has started.
type stoppable struct {
	fatal   func(error)
	stopped atomic.Bool
}

// supervised are workers of the namespaces good and bad, which polling starts.
type supervised struct {
	workers
	log  bytes.Buffer
	stop func() // ends all and returns when they have ended

	mu       sync.Mutex
	started  map[string][]*stoppable // by namespace
	refusals map[string]error        // by namespace: what starting a worker says
}

// of returns the workers of a namespace that were started.
func (s *supervised) of(namespace string) []*stoppable {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started[namespace]
}

// refuse has starting a worker of the namespaces say err from now on.
func (s *supervised) refuse(err error, namespaces ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, namespace := range namespaces {
		s.refusals[namespace] = err
	}
}

// breaks has the last worker of a namespace end with err.
func (s *supervised) breaks(namespace string, err error) {
	all := s.of(namespace)
	all[len(all)-1].fatal(err)
	synctest.Wait()
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func supervise(t *testing.T) *supervised {
	t.Helper()
	s := &supervised{started: map[string][]*stoppable{}, refusals: map[string]error{}}
	start := func(environment starter.Environment, fatal func(error)) (func(), error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.refusals[environment.Namespace]; err != nil {
			return nil, err
		}
		w := &stoppable{fatal: fatal}
		s.started[environment.Namespace] = append(s.started[environment.Namespace], w)
		return func() { w.stopped.Store(true) }, nil
	}
	s.workers = newWorkers([]config.Integration{{Name: "a"}, {Name: "b"}, {Name: "same"}}, map[string]starter.Environment{
		"a": {Namespace: "good", TaskQueue: "q"}, "b": {Namespace: "bad", TaskQueue: "q"}, "same": {Namespace: "good", TaskQueue: "q"},
	}, start, slog.New(slog.NewTextHandler(&s.log, nil)))
	for _, p := range s.workers {
		p.reach = func(context.Context) error { return nil }
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	s.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	synctest.Wait()
	return s
}

func TestAWorkerThatCannotGoOnStartsAgainBesideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t)
		if len(s.of("good")) != 1 || len(s.of("bad")) != 1 {
			t.Fatalf("started are %v", s.started)
		}
		gone := errors.New("the namespace is gone")
		s.refuse(gone, "bad")
		s.breaks("bad", gone)
		if !s.of("bad")[0].stopped.Load() {
			t.Error("the worker that cannot go on is not stopped")
		}
		if state := s.states()[1]; !errors.Is(state.err, gone) || state.namespace != "bad" {
			t.Errorf("the state is %+v", state)
		}
		pass(10 * time.Minute)
		if n := strings.Count(s.log.String(), gone.Error()); n < 9 || n > 11 { // one a minute
			t.Errorf("in ten minutes that was logged %d times:\n%s", n, s.log.String())
		}
		s.refuse(nil, "bad")
		pass(maxPause)
		if len(s.of("bad")) != 2 || s.states()[1].err != nil {
			t.Errorf("when it is back, %d were started, the state is %+v", len(s.of("bad")), s.states()[1])
		}
		if len(s.of("good")) != 1 || s.of("good")[0].stopped.Load() {
			t.Error("the other was not left alone")
		}
		s.stop()
		if !s.of("good")[0].stopped.Load() || !s.of("bad")[1].stopped.Load() {
			t.Error("not all are stopped at the end")
		}
	})
}

func TestAttemptsToPollAreSpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t)
		starts := func() int { return len(s.of("bad")) }
		for range 5 {
			s.breaks("bad", errors.New("again"))
			pass(maxPause)
		}
		n := starts()
		s.breaks("bad", errors.New("again"))
		if pass(maxPause - time.Second); starts() != n {
			t.Error("the sixth time it started again before its time")
		}
		if pass(time.Second); starts() != n+1 {
			t.Error("the sixth time it did not start again")
		}
		pass(time.Hour)
		s.breaks("bad", errors.New("again"))
		if pass(firstPause); starts() != n+2 {
			t.Error("after a good hour it does not start again at once")
		}
		s.stop()
	})
}

func TestAWorkerIsReadyWhileItPollsAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise(t)
		if err := s.ready(); err != nil {
			t.Error(err)
		}
		s.refuse(errors.New("no"), "good", "bad")
		s.breaks("bad", errors.New("no"))
		if err := s.ready(); err != nil {
			t.Errorf("with one that polls: %v", err)
		}
		s.breaks("good", errors.New("no"))
		if err := s.ready(); err == nil || !strings.Contains(err.Error(), "namespace good") || !strings.Contains(err.Error(), "namespace bad") {
			t.Errorf("with none that polls: %v", err)
		}
		s.stop()
		if err := s.ready(); err == nil {
			t.Error("it is ready when it has stopped")
		}
	})
}

// The one that cannot be reached does not take the time of the others.
func TestAnEnvironmentThatHangsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := make(chan string, 2)
		all := newWorkers([]config.Integration{{Name: "a"}, {Name: "b"}}, map[string]starter.Environment{
			"a": {Namespace: "hangs"}, "b": {Namespace: "good"},
		}, func(environment starter.Environment, _ func(error)) (func(), error) {
			started <- environment.Namespace
			return func() {}, nil
		}, slog.New(slog.DiscardHandler))
		all[0].reach = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		all[1].reach = func(context.Context) error { return nil }
		ctx, cancel := context.WithCancel(t.Context())
		go all.run(ctx)
		synctest.Wait()
		if len(started) != 1 || <-started != "good" {
			t.Error("the other has not started")
		}
		pass(time.Minute)
		if err := all.states()[0].err; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the state is %v", err)
		}
		cancel()
	})
}
