package process

import (
	"errors"
	"path/filepath"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/yamlfile"
	"sentry-temporal/workflows"
)

// routesFile is the variable with the path of the routes.
const routesFile = "ROUTES_FILE"

// Routes returns the table of the file at path, or without one if that is "". The
// error is a [config.ProblemsError].
func Routes(path string, integrations []config.Integration) (*routes.Table, error) {
	if path == "" {
		return routes.CompiledIn(workflows.All, integrations), nil
	}
	table, err := routes.Load(path, workflows.All, integrations)
	if err != nil {
		return nil, config.ProblemsError(yamlfile.ProblemsOf(routesFile, path, err))
	}
	return table, nil
}

// OpenPlaces opens the namespaces that routes name.
func OpenPlaces(connections *starter.Connections, table *routes.Table) error {
	for _, at := range table.Places() {
		if err := connections.Open(at.Integration, at.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// LoadIngress reads the configuration of the ingress from the environment, and the
// file of its routes. The error is a [config.ProblemsError], which tells all that is
// wrong with either. A file that is wrong is none where the ingress has the routes that
// it used last, see [routes.OpenPlanner].
func LoadIngress() (config.Ingress, error) {
	cfg, err := config.LoadIngress()
	problems, _ := errors.AsType[config.ProblemsError](err)
	_, err = Routes(cfg.RoutesFile, cfg.Integrations)
	if err != nil {
		if _, last := Routes(filepath.Join(cfg.JournalDir, routes.LastFile), cfg.Integrations); last == nil {
			err = nil
		}
	}
	wrong, _ := errors.AsType[config.ProblemsError](err)
	problems = append(problems, wrong...)
	if len(problems) > 0 {
		return cfg, problems
	}
	return cfg, nil
}
