package routes

import (
	"context"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/triage"
)

// Load returns the table of the file at path, see [Parse].
func Load(path string, workflows []triage.Workflow, integrations []config.Integration) (*Table, error) {
	text, err := yamlfile.Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(text, workflows, integrations)
}

// Follow reads the file again until ctx is done, see [yamlfile.Follow], and plans by
// what is in it once open has taken the new table: one that it has an error for, or that
// is wrong, is refused as a whole, and the one from before stays.
func (p *Planner) Follow(ctx context.Context, open func(*Table) error) {
	if p.path == "" {
		return
	}
	yamlfile.Follow(ctx, p.path, p.opened, func(text []byte, err error) { p.replace(ctx, text, err, open) })
}

// replace takes what was read of the file.
func (p *Planner) replace(ctx context.Context, text []byte, err error, open func(*Table) error) {
	var table *Table
	if err == nil {
		table, err = Parse(text, p.workflows, p.integrations)
	}
	if err == nil {
		err = open(table)
	}
	if err != nil {
		p.log.ErrorContext(ctx, "the file of the routes cannot be used, the routes from before are", keyPath, p.path, telemetry.KeyError, err.Error())
		p.note(err.Error())
		return
	}
	same := table.same(p.Table())
	p.table.Store(table)
	p.keep(text)
	switch again := p.note(""); {
	case !same:
		p.log.InfoContext(ctx, "the routes have changed", keyRoutes, len(table.Routes()))
		p.Warn(ctx)
	case again:
		p.log.InfoContext(ctx, "the file of the routes can be used again")
	}
}

// Keys of log attributes.
const (
	keyRoutes = "routes"
	keyPath   = "path"
)

// note takes what is wrong with the file, and reports whether something was.
func (p *Planner) note(problem string) (before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before = p.problem != ""
	p.problem = problem
	return before
}

// Warn logs what may be wrong with the file.
func (p *Planner) Warn(ctx context.Context) {
	for _, w := range p.Table().Warnings() {
		p.log.WarnContext(ctx, "the file of the routes may be wrong", keyPath, p.path, telemetry.KeyReason, w.String())
	}
}

// State is how it is with the routes.
type State struct {
	File     string // "" without one
	Problem  string // with what is in the file by now; "" is none
	Routes   []Route
	Unlisted []string           // workflows that are compiled in and have no route
	Warnings []yamlfile.Problem // of what is used
}

// State returns how it is with the routes.
func (p *Planner) State() State {
	table := p.Table()
	p.mu.Lock()
	defer p.mu.Unlock()
	return State{File: p.path, Problem: p.problem, Routes: table.Routes(), Unlisted: table.Unlisted(), Warnings: table.Warnings()}
}
