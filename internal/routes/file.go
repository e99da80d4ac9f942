package routes

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/triage"
)

// pollEvery is how often the file is read again.
const pollEvery = time.Second

// Load returns the table of the file at path, see [Parse].
func Load(path string, workflows []triage.Workflow, integrations []config.Integration) (*Table, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(text, workflows, integrations)
}

// read reads a little more of a file than [Parse] takes.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path) // to open a pipe waits for ever
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, MaxFile+1))
}

// Follow reads the file again until ctx is done, and plans by what is in it once
// open has taken the new table: one that it has an error for, or that is wrong, is
// refused as a whole, and the one from before stays. It is the content that
// counts: however a file is put in the place of another, and whatever its time is.
//
// What is new counts when it was read twice, so that a file which is being written
// is not taken for whole.
func (p *Planner) Follow(ctx context.Context, open func(*Table) error) {
	if p.path == "" {
		return
	}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	now, last := p.opened, p.opened // of what was read, and of what was looked at
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text, err := read(p.path)
		before := now
		if now = digest(text, err); now != before || now == last {
			continue
		}
		last = now
		p.replace(ctx, text, err, open)
	}
}

// digest tells what was read from anything else.
func digest(text []byte, err error) [sha256.Size]byte {
	if err != nil {
		text = append([]byte("\x00"), err.Error()...) // no YAML
	}
	return sha256.Sum256(text)
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
		p.log.ErrorContext(ctx, "the file of the routes cannot be used, the routes from before are", telemetry.KeyError, err.Error())
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

// keyRoutes is a key of log attributes.
const keyRoutes = "routes"

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
		p.log.WarnContext(ctx, "the file of the routes may be wrong", telemetry.KeyReason, w.String())
	}
}

// State is how it is with the routes.
type State struct {
	File     string // "" without one
	Problem  string // with what is in the file by now; "" is none
	Routes   []Route
	Unlisted []string  // workflows that are compiled in and have no route
	Warnings []Problem // of what is used
}

// State returns how it is with the routes.
func (p *Planner) State() State {
	table := p.Table()
	p.mu.Lock()
	defer p.mu.Unlock()
	return State{File: p.path, Problem: p.problem, Routes: table.Routes(), Unlisted: table.Unlisted(), Warnings: table.Warnings()}
}

// ProblemsOf returns err as problems of the variable that names the file.
func ProblemsOf(variable string, err error) []config.Problem {
	problems, ok := errors.AsType[ProblemsError](err)
	if !ok {
		return []config.Problem{{Variable: variable, Text: err.Error()}}
	}
	var all []config.Problem
	for _, p := range problems {
		all = append(all, config.Problem{Variable: variable, Text: p.String()})
	}
	return all
}
