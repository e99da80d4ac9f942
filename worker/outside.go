package worker

import (
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/starter"
)

// systemsOf returns what activities reach outside.
func systemsOf(cfg config.Outside, environments map[string]starter.Environment) *outside.Systems {
	if cfg.Secret == nil {
		cfg = config.NoOutside()
	}
	table := destinations.FromVariables(cfg)
	systems := &outside.Systems{
		Outside:      cfg,
		Client:       outside.NewClient(),
		Destinations: func() (*destinations.Table, error) { return table, nil },
		Pages:        map[string]string{},
	}
	for name, environment := range environments {
		systems.Pages[name] = environment.UIURL
	}
	return systems
}
