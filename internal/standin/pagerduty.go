package standin

import (
	"encoding/json"
	"net/http"
	"sync"
)

// PagerDuty stands in for its events API.
type PagerDuty struct {
	*Server

	mu     sync.Mutex
	keys   map[string]bool
	alerts []Alert
}

// Alert is an alert that was opened.
type Alert struct {
	Key      string
	Summary  string
	Severity string
	Events   int    // triggers that it took
	Status   string // triggered, acknowledged or resolved
}

// StartPagerDuty starts one that takes events with one of the routing keys.
func StartPagerDuty(keys ...string) (*PagerDuty, error) {
	p := &PagerDuty{keys: map[string]bool{}}
	for _, key := range keys {
		p.keys[key] = true
	}
	router := http.NewServeMux()
	router.HandleFunc("POST /v2/enqueue", p.enqueue)
	var err error
	p.Server, err = start(router)
	return p, err
}

// Alerts returns all that were opened, the oldest first.
func (p *PagerDuty) Alerts() []Alert {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Alert(nil), p.alerts...)
}

func (p *PagerDuty) enqueue(w http.ResponseWriter, r *http.Request) {
	var event struct {
		RoutingKey string `json:"routing_key"`
		Action     string `json:"event_action"`
		Key        string `json:"dedup_key"`
		Payload    struct {
			Summary  string `json:"summary"`
			Severity string `json:"severity"`
		} `json:"payload"`
	}
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil || !p.keys[event.RoutingKey] {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	open := -1
	for i, a := range p.alerts {
		if a.Key == event.Key && a.Status != "resolved" {
			open = i
		}
	}
	switch {
	case event.Action == "trigger" && open < 0:
		p.alerts = append(p.alerts, Alert{Key: event.Key, Summary: event.Payload.Summary, Severity: event.Payload.Severity, Events: 1, Status: "triggered"})
	case event.Action == "trigger":
		p.alerts[open].Events++
	case event.Action == "resolve" && open >= 0:
		p.alerts[open].Status = "resolved"
	}
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "success", "message": "Event processed", "dedup_key": event.Key})
}
