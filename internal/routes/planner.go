package routes

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
)

// Planner plans deliveries by the table that there is at the moment. Its methods
// may be called concurrently.
type Planner struct {
	workflows    []triage.Workflow
	integrations []config.Integration
	log          *slog.Logger
	table        atomic.Pointer[Table]
	path         string          // of the file; "" is none
	last         string          // where what is used of it is kept, see LastFile
	opened       yamlfile.Digest // of what was in it at first
	text         []byte          // what the table at first was made of

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

// LastFile is the name of the file beside the journal that has a copy of the routes
// that were used last: a restart with a wrong file is no reason to lose deliveries.
const LastFile = "routes.last.yaml"

// OpenPlanner returns a Planner of the file at path, or without one if that is
// "". Where that cannot be used, the copy in the directory dir is, see
// [Planner.Keep]. The error is a [yamlfile.ProblemsError] if it is for what is in the file.
func OpenPlanner(path, dir string, workflows []triage.Workflow, integrations []config.Integration, log *slog.Logger) (*Planner, error) {
	p := NewPlanner(workflows, integrations, log)
	p.last = filepath.Join(dir, LastFile)
	if path == "" {
		return p, nil
	}
	text, err := yamlfile.Read(path)
	p.path, p.opened = path, yamlfile.DigestOf(text, err)
	var table *Table
	if err == nil {
		table, err = Parse(text, workflows, integrations)
	}
	if err != nil {
		last, kept := yamlfile.Read(p.last)
		if kept == nil {
			table, kept = Parse(last, workflows, integrations)
		}
		if kept != nil {
			return nil, err
		}
		text = last
		p.problem = err.Error()
		log.Error("the file of the routes cannot be used, the routes that were used last are", keyPath, path, telemetry.KeyError, err.Error())
	}
	p.text = text
	p.table.Store(table)
	return p, nil
}

// Keep keeps a copy of what is used of the file, now and whenever that changes, for
// the next Planner. Without a file there is none. The directory must belong to this
// process.
func (p *Planner) Keep() {
	if p.path == "" {
		_ = os.Remove(p.last) // mostly it is not there
		return
	}
	p.keep(p.text)
}

func (p *Planner) keep(text []byte) {
	if err := replaceFile(p.last, text); err != nil {
		p.log.Warn("the routes are not kept for the next start", telemetry.KeyError, err.Error())
	}
}

// replaceFile puts a new file in the place of the one that is there.
func replaceFile(path string, text []byte) error {
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
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
