// Package outside reaches the systems that workflows act on: Sentry's API, Slack,
// PagerDuty, GitHub and webhooks of others. It sends requests, and says of each that
// failed whether it can have had an effect.
package outside

import (
	"context"
	"net/url"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
)

// Systems are the outside systems as a worker is configured for them. Its methods may
// be called concurrently.
type Systems struct {
	config.Outside
	Client *Client
	// Destinations is who is told at the moment; the error says why that is not known:
	// the file cannot be used, and no earlier one could.
	Destinations func() (*destinations.Table, error)
	// Pages are where the runs of an integration are shown, by its name; "" or missing:
	// that is not known.
	Pages map[string]string
}

type key struct{}

// With returns a context in which activities reach s. A worker's activities are all
// called in one, see the BackgroundActivityContext of its options.
func With(ctx context.Context, s *Systems) context.Context { return context.WithValue(ctx, key{}, s) }

// none is what nothing is configured in.
var none = &Systems{
	Outside:      config.NoOutside(),
	Client:       NewClient(),
	Destinations: func() (*destinations.Table, error) { return destinations.None(), nil },
}

// From returns the systems of a context. Without any nothing is configured.
func From(ctx context.Context) *Systems {
	if s, ok := ctx.Value(key{}).(*Systems); ok {
		return s
	}
	return none
}

// RunURL is the page of a run in the Temporal UI, without runID that of the workflow
// ID's latest run, or "" if it is not known where the UI is.
func (s *Systems) RunURL(integration, namespace, workflowID, runID string) string {
	ui := s.Pages[integration]
	if ui == "" {
		return ""
	}
	page := ui + "/namespaces/" + url.PathEscape(namespace) + "/workflows/" + url.PathEscape(workflowID)
	if runID != "" {
		page += "/" + runID
	}
	return page
}
