package starter_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
)

// shared is a start of a run that others share.
func shared(id, namespace string) []routes.Operation {
	return []routes.Operation{{
		Kind: routes.Start, Workflow: "w", WorkflowID: id, Integration: "sentry", Namespace: namespace, TaskQueue: "nobody's", Shared: true,
	}}
}

// begin carries out a plan for a new delivery.
func begin(ctx context.Context, s *starter.Starter, plan []routes.Operation) (starter.Run, error) {
	start, err := s.Prepare(envelope("sentry.error.created", `{}`), plan)
	if err != nil {
		return starter.Run{}, err
	}
	runs, err := start(ctx)
	if err != nil {
		return starter.Run{}, err
	}
	return runs[0], nil
}

func starterAt(t *testing.T, address string) *starter.Starter {
	t.Helper()
	return starter.New(connect(t, address,
		config.Integration{Name: "sentry", Namespace: client.DefaultNamespace, TaskQueue: "q"},
		config.Integration{Name: "mobile", Namespace: "plain", TaskQueue: "q"},
	), slog.New(slog.DiscardHandler))
}

func (s *standIn) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

func TestOneOfManyDeliveriesAsksForTheRunThatTheyShare(t *testing.T) {
	in := serve(t, &standIn{}, nil)
	s := starterAt(t, in.address)
	var mu sync.Mutex
	statuses := map[starter.Status]int{}
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			run, err := begin(t.Context(), s, shared("a", client.DefaultNamespace))
			if err != nil || run.RunID != "run" || run.URL != "http://ui/namespaces/default/workflows/a/run" {
				t.Errorf("%+v, %v", run, err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[run.Status]++
		})
	}
	group.Wait()
	if statuses[starter.Started] != 1 || statuses[starter.Existing] != 63 || in.asked() != 1 {
		t.Errorf("%v, Temporal was asked %d times", statuses, in.asked())
	}
	if planned := s.Planned(shared("a", client.DefaultNamespace))[0]; planned.Status != starter.Existing || planned.RunID != "run" || !planned.Remembered {
		t.Errorf("what comes next is planned as %+v", planned)
	}
	// Just this run, in this namespace, and only if it is shared.
	other := shared("b", client.DefaultNamespace)
	elsewhere := shared("a", "plain")
	own := shared("a", client.DefaultNamespace)
	own[0].Shared = false
	for n, plan := range [][]routes.Operation{other, elsewhere, own} {
		if planned := s.Planned(plan)[0]; planned.Status != starter.Accepted {
			t.Errorf("another one is planned as %+v", planned)
		}
		if _, err := begin(t.Context(), s, plan); err != nil || in.asked() != n+2 {
			t.Errorf("another one: %v, Temporal was asked %d times", err, in.asked())
		}
	}
}

// How it goes for the one that asks is no matter of the others.
func TestAStartThatFailsFailsNobodyElse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asking, hold := make(chan struct{}, 100), make(chan struct{})
	n := 0
	var mu sync.Mutex
	in := serve(t, &standIn{start: func(*workflowservice.StartWorkflowExecutionRequest) error {
		mu.Lock()
		n++
		first := n
		mu.Unlock()
		asking <- struct{}{}
		switch first {
		case 1:
			<-hold
		case 2:
			return serviceerror.NewPermissionDenied("not now", "")
		}
		return nil
	}}, nil)
	defer close(hold)
	s := starterAt(t, in.address)
	first := make(chan error, 1)
	go func() {
		_, err := begin(ctx, s, shared("a", client.DefaultNamespace))
		first <- err
	}()
	<-asking
	runs, failures := make(chan starter.Run, 10), make(chan error, 10)
	for range cap(runs) {
		go func() {
			run, err := begin(t.Context(), s, shared("a", client.DefaultNamespace))
			runs <- run
			failures <- err
		}()
	}
	cancel()
	if err := <-first; err == nil {
		t.Error("who has hung up is told of a run")
	}
	failed, started := 0, 0
	for range cap(runs) {
		if run := <-runs; run.Status == starter.Started {
			started++
		}
		if <-failures != nil {
			failed++
		}
	}
	if failed != 1 || started != 1 || in.asked() != 3 {
		t.Errorf("%d failed and %d started, Temporal was asked %d times", failed, started, in.asked())
	}
}

func TestARunThatWasThereIsRemembered(t *testing.T) {
	address := devservertest.Server().Address
	plan := shared(fmt.Sprint("shared:", envelope("", "").IdempotencyKey), client.DefaultNamespace)
	before, err := begin(t.Context(), starterAt(t, address), plan)
	if err != nil || before.Status != starter.Started {
		t.Fatalf("%+v, %v", before, err)
	}
	s := starterAt(t, address) // after a restart
	for _, remembered := range []bool{false, true} {
		run, err := begin(t.Context(), s, plan)
		if err != nil || run.Status != starter.Existing || run.RunID != before.RunID || run.Remembered != remembered {
			t.Errorf("%+v, %v", run, err)
		}
	}
}
