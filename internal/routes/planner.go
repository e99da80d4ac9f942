package routes

import (
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/triage"
)

// Planner plans deliveries by the table that there is at the moment. Its methods
// may be called concurrently.
type Planner struct {
	workflows    []triage.Workflow
	integrations []config.Integration
	log          *slog.Logger
	table        atomic.Pointer[Table]
	path         string            // of the file; "" is none
	opened       [sha256.Size]byte // what was in it at first, see digest

	mu      sync.Mutex
	unsure  map[string]time.Time // when the log was last told of a workflow
	problem string               // with the file; "" is none
}

// unsureEvery is how often the log is told at most of a workflow's condition.
const unsureEvery = time.Minute

// NewPlanner returns a Planner without a file: each of the workflows runs for
// every integration.
func NewPlanner(workflows []triage.Workflow, integrations []config.Integration, log *slog.Logger) *Planner {
	p := &Planner{workflows: workflows, integrations: integrations, log: log, unsure: map[string]time.Time{}}
	p.table.Store(CompiledIn(workflows, integrations))
	return p
}

// OpenPlanner returns a Planner of the file at path, or without one if that is
// "". The error is a [ProblemsError] if it is for what is in the file.
func OpenPlanner(path string, workflows []triage.Workflow, integrations []config.Integration, log *slog.Logger) (*Planner, error) {
	p := NewPlanner(workflows, integrations, log)
	if path == "" {
		return p, nil
	}
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	table, err := Parse(text, workflows, integrations)
	if err != nil {
		return nil, err
	}
	p.path, p.opened = path, digest(text, nil)
	p.table.Store(table)
	return p, nil
}

// Table returns the table that there is at the moment.
func (p *Planner) Table() *Table { return p.table.Load() }

// Plan plans d by one table, see [Table.Plan].
func (p *Planner) Plan(d sentry.Delivery) Plan { return p.Table().Plan(d, p.complain) }

// complain says that it is not known whether a condition holds, not too often.
func (p *Planner) complain(workflow string, err error) {
	p.mu.Lock()
	now := time.Now()
	told, before := p.unsure[workflow]
	again := !before || now.Sub(told) >= unsureEvery
	if again {
		p.unsure[workflow] = now
	}
	p.mu.Unlock()
	if again {
		p.log.Warn("the condition of a workflow is not known, so it runs", telemetry.KeyWorkflow, workflow, telemetry.KeyError, err.Error())
	}
}
