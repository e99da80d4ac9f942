package worker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/triage"
)

// route is what the ROUTES_FILE of an ingress says of a workflow that it does not
// have compiled in.
type route struct {
	Workflow     string   `yaml:"workflow"`
	Events       []string `yaml:"events"`
	Integrations []string `yaml:"integrations,omitempty"`
	Namespace    string   `yaml:"namespace"`
	TaskQueue    string   `yaml:"task_queue"`
	PerIssue     string   `yaml:"per_issue,omitempty"`
}

// tellRoutes logs the route that leads to each workflow, for where it is needed.
func tellRoutes(ctx context.Context, workflows []triage.Workflow, integrations []config.Integration, log *slog.Logger) {
	for _, w := range workflows {
		for _, r := range routesTo(w, integrations) {
			log.InfoContext(ctx, "workflow runs here; an ingress that does not have it compiled in needs this route in its ROUTES_FILE",
				telemetry.KeyWorkflow, w.Name(), "route", r.String())
		}
	}
}

// routesTo returns a route to w for each namespace and task queue that is polled.
// It is for the integrations of that place, unless there is just one place.
func routesTo(w triage.Workflow, integrations []config.Integration) []route {
	var all []route
	for _, integration := range integrations {
		at := slices.IndexFunc(all, func(r route) bool {
			return r.Namespace == integration.Namespace && r.TaskQueue == integration.TaskQueue
		})
		if at < 0 {
			at = len(all)
			all = append(all, route{Workflow: w.Name(), Events: w.Events(), Namespace: integration.Namespace, TaskQueue: integration.TaskQueue})
			if window := w.Keying().Window(); window > 0 {
				all[at].PerIssue = inWords(window)
			}
		}
		all[at].Integrations = append(all[at].Integrations, integration.Name)
	}
	if len(all) == 1 {
		all[0].Integrations = nil // all that the ingress has
	}
	return all
}

// String returns the route as an item of the file's list, in one line.
func (r route) String() string {
	var node yaml.Node
	if err := node.Encode([]route{r}); err != nil {
		panic(err) // it is made of texts
	}
	node.Content[0].Style = yaml.FlowStyle
	text, err := yaml.Marshal(&node)
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(text))
}

// inWords returns d without the zeros that its String ends with: 30m, not 30m0s.
func inWords(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
