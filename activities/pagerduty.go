package activities

import (
	"context"
	"encoding/json"
	"net/http"

	"sentry-temporal/internal/outside"
)

// PagerDuty opens and resolves alerts. Its zero value is ready.
type PagerDuty struct{}

// Page is an alert that wakes somebody.
type Page struct {
	Variable string `json:"variable"` // that has the routing key
	Key      string `json:"key"`      // the alert's dedup_key, see EffectKey
	Severity string `json:"severity"` // of PagerDuty: critical, error, warning, info
	Card     Card   `json:"card"`
}

// PageRef names an alert.
type PageRef struct {
	Variable string `json:"variable"`
	Key      string `json:"key"`
}

// Paged is what PagerDuty said.
type Paged struct {
	Key  string `json:"key"`
	Note string `json:"note,omitempty"`
}

// TriggerPage opens an alert, or adds to the one that is open under the key.
func (*PagerDuty) TriggerPage(ctx context.Context, page Page) (Paged, error) {
	return enqueue(ctx, page.Variable, map[string]any{
		"event_action": "trigger", "dedup_key": page.Key,
		"payload": map[string]any{"summary": page.Card.Title, "source": page.Card.Project, "severity": page.Severity},
	})
}

func enqueue(ctx context.Context, variable string, event map[string]any) (Paged, error) {
	systems := outside.From(ctx)
	key, err := systems.Secret(variable)
	if err != nil {
		return Paged{}, notConfigured(variable, err)
	}
	event["routing_key"] = key.Reveal()
	body, err := json.Marshal(event)
	if err != nil {
		return Paged{}, err
	}
	answer, err := systems.Client.Do(ctx, outside.Request{
		System: "PagerDuty", Variable: variable, Method: http.MethodPost, URL: systems.PagerDutyURL,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: body,
	})
	if err != nil {
		return Paged{}, failure(err, true)
	}
	var said struct {
		Key string `json:"dedup_key"`
	}
	if err := json.Unmarshal(answer.Body, &said); err != nil || said.Key == "" {
		return Paged{}, failure(&outside.Error{Kind: outside.Maybe, System: "PagerDuty", Status: answer.Status, Reason: "it answers something else than its API does"}, true)
	}
	return Paged{Key: said.Key}, nil
}

// AcknowledgePage acknowledges the alert under a key, if one is open.
func (*PagerDuty) AcknowledgePage(ctx context.Context, ref PageRef) (Paged, error) {
	return Paged{}, errMissing
}

// ResolvePage resolves the alert under a key, if one is open.
func (*PagerDuty) ResolvePage(ctx context.Context, ref PageRef) (Paged, error) {
	return Paged{}, errMissing
}
