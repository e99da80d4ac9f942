package process

import (
	"errors"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/workflows"
)

// routesFile is the variable with the path of the routes.
const routesFile = "ROUTES_FILE"

// LoadIngress reads the configuration of the ingress from the environment, and the
// file of its routes. The error is a [config.ProblemsError], which tells all that is
// wrong with either.
func LoadIngress() (config.Ingress, error) {
	cfg, err := config.LoadIngress()
	problems, _ := errors.AsType[config.ProblemsError](err)
	if cfg.RoutesFile != "" {
		if _, err := routes.Load(cfg.RoutesFile, workflows.All, cfg.Integrations); err != nil {
			problems = append(problems, routes.ProblemsOf(routesFile, err)...)
		}
	}
	if len(problems) > 0 {
		return cfg, problems
	}
	return cfg, nil
}
