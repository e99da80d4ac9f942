package main

import (
	"context"
	"log/slog"
	"strings"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
)

// checkOutside asks the outside systems that are configured whether they can be used, by
// calls that change nothing.
func checkOutside(ctx context.Context, cfg config.Worker) []finding {
	log := slog.New(slog.DiscardHandler)
	systems := &outside.Systems{Outside: cfg.Outside, Client: outside.NewClient(), Destinations: destinations.Open(cfg.Outside, log).Table}
	var findings []finding
	for _, state := range outside.NewWatch(systems, cfg.Integrations, log).Once(ctx) {
		f := finding{statusOK, "worker", strings.TrimSpace(state.System + " " + state.Integration), string(state.Status)}
		switch state.Status {
		case outside.NotConfigured:
			continue
		case outside.NotReady:
			for _, line := range state.Missing {
				findings = append(findings, finding{statusError, "worker", f.About, line})
			}
			continue
		case outside.WellFormed:
			f.Says += ": it cannot be asked for more without an effect"
		case outside.Ready, outside.Unchecked:
		}
		findings = append(findings, f)
	}
	return findings
}
