package acttest

import (
	"testing"
	"time"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
)

// Stage has stand-ins for what activities reach, over HTTP, and how a worker reaches them.
type Stage struct {
	*standin.All

	Config config.Outside
}

// NewStage starts stand-ins until the test ends. Sentry knows the issue of the samples.
func NewStage(t testing.TB) *Stage {
	t.Helper()
	all, err := standin.StartAll()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Close)
	event := standin.Event{Environment: "production", Release: "backend@2026.3.17-2", File: "checkout/services/totals.py", Function: "assert_totals_match", Line: 23}
	if _, err := all.Sentry.Seed([]byte(Body(t, "issue.created")), event); err != nil {
		t.Fatal(err)
	}
	return &Stage{all, all.Outside("sentry")}
}

// Systems is how a worker reaches the stand-ins, each request of which may take so long; 0
// is as long as in production.
func (s *Stage) Systems(timeout time.Duration) *outside.Systems {
	if timeout == 0 {
		timeout = outside.Timeout
	}
	table := destinations.FromVariables(s.Config)
	return &outside.Systems{
		Outside: s.Config, Client: outside.NewClientWithin(timeout), Pages: map[string]string{"sentry": "https://temporal.example"},
		Destinations: func() (*destinations.Table, error) { return table, nil },
	}
}
