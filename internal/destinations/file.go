package destinations

import (
	"context"
	"log/slog"
	"sync"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/yamlfile"
)

// Variable names the file.
const Variable = "DESTINATIONS_FILE"

// Follower has the table that there is at the moment. Its methods may be called
// concurrently.
type Follower struct {
	outside config.Outside
	log     *slog.Logger
	opened  yamlfile.Digest // of what was in the file at first

	mu      sync.Mutex
	table   *Table // nil: there was never one that could be used
	problem error  // with what is in the file by now
}

// Open returns a Follower of the file that is configured, or of what the variables say if
// none is. A file that cannot be used, or is not there, is in the log, and keeps nobody
// from starting: there is no table until it is mended.
func Open(outside config.Outside, log *slog.Logger) *Follower {
	f := &Follower{outside: outside, log: log.With(telemetry.KeyVariable, Variable, keyPath, outside.DestinationsFile)}
	if outside.DestinationsFile == "" {
		f.table = FromVariables(outside)
		return f
	}
	text, err := yamlfile.Read(outside.DestinationsFile)
	f.opened = yamlfile.DigestOf(text, err)
	f.replace(context.Background(), text, err)
	return f
}

// Table returns the table that there is at the moment. The error says why there is none.
func (f *Follower) Table() (*Table, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table == nil {
		return nil, &unusableError{f.problem}
	}
	return f.table, nil
}

// unusableError says that the file cannot be used, and that no earlier one could.
type unusableError struct{ cause error }

func (e *unusableError) Error() string {
	return Variable + " cannot be used, so it is not known who is told: " + e.cause.Error()
}

func (e *unusableError) Unwrap() error { return e.cause }

// Follow reads the file again until ctx is done, see [yamlfile.Follow]. One that is wrong
// is refused as a whole, and the table from before stays.
func (f *Follower) Follow(ctx context.Context) {
	if f.outside.DestinationsFile == "" {
		return
	}
	yamlfile.Follow(ctx, f.outside.DestinationsFile, f.opened, func(text []byte, err error) { f.replace(ctx, text, err) })
}

// replace takes what was read of the file.
func (f *Follower) replace(ctx context.Context, text []byte, err error) {
	var table *Table
	if err == nil {
		table, err = Parse(text, f.outside)
	}
	f.mu.Lock()
	before, problem := f.table, f.problem
	f.problem = err
	if err == nil {
		f.table = table
	}
	f.mu.Unlock()
	switch {
	case err != nil && before == nil:
		f.log.ErrorContext(ctx, "the file of the destinations cannot be used, and runs that would tell somebody wait until it is mended", telemetry.KeyError, err.Error())
	case err != nil:
		f.log.ErrorContext(ctx, "the file of the destinations cannot be used, the destinations from before are", telemetry.KeyError, err.Error())
	case before == nil || !table.same(before):
		f.log.InfoContext(ctx, "the destinations are read", keyDestinations, len(table.rules))
		for _, w := range table.warnings {
			f.log.WarnContext(ctx, "the file of the destinations may be wrong", telemetry.KeyReason, w.String())
		}
	case problem != nil:
		f.log.InfoContext(ctx, "the file of the destinations can be used again")
	}
}

// Keys of log attributes.
const (
	keyDestinations = "destinations"
	keyPath         = "path"
)

// State is how it is with the destinations.
type State struct {
	File     string // "" without one
	Problem  string // with what is in the file by now; "" is none
	Unknown  bool   // there is no table: runs that would tell somebody wait
	Rules    []Rule
	Warnings []yamlfile.Problem // of what is used
}

// State returns how it is with the destinations.
func (f *Follower) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := State{File: f.outside.DestinationsFile, Unknown: f.table == nil}
	if f.problem != nil {
		s.Problem = f.problem.Error()
	}
	if f.table != nil {
		s.Rules, s.Warnings = f.table.rules, f.table.warnings
	}
	return s
}
