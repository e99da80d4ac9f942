package starter_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver/devservertest"
	"sentry-temporal/internal/starter"
)

// written is a log that can be waited for.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

// Write implements [io.Writer].
func (w *written) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return w.text.Write(line)
}

func TestAWorkflowThatIsNotRegisteredIsToldWithWhatToDo(t *testing.T) {
	log := &written{more: make(chan struct{}, 1)}
	connections, err := starter.Connect(config.Temporal{Client: client.Options{HostPort: devservertest.Server().Address}},
		[]config.Integration{{Name: "sentry", Namespace: "default", TaskQueue: "bare"}}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer connections.Close()
	c, _ := connections.Client("sentry", "default")
	w := worker.New(c, "nothing-registered", worker.Options{})
	w.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "registered"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "not-registered", TaskQueue: "nothing-registered"}, "not_registered")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.TerminateWorkflow(t.Context(), run.GetID(), run.GetRunID(), "the test is over") }()
	for {
		log.mu.Lock()
		text := log.text.String()
		log.mu.Unlock()
		if strings.Contains(text, "WorkflowType=not_registered") {
			if !strings.Contains(text, "remedy=") || !strings.Contains(text, "workflows/workflows.go") || !strings.Contains(text, "ROUTES_FILE") {
				t.Errorf("logged is %s", text)
			}
			return
		}
		select {
		case <-log.more:
		case <-time.After(time.Minute):
			t.Fatalf("logged is %s", text)
		}
	}
}
