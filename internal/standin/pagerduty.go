package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// PagerDuty stands in for its events API, version 2.
type PagerDuty struct {
	*Server

	mu     sync.Mutex
	keys   []string
	held   bool
	wait   []event // accepted, without an effect yet
	alerts []Alert
	number int
	rate   int // events a minute
	recent []time.Time
}

// Alert is an alert that was opened.
type Alert struct {
	Number    int
	Key       string
	Summary   string
	Source    string
	Severity  string
	Component string
	Class     string
	Client    string
	ClientURL string
	Links     []AlertLink
	Details   []AlertDetail // in order of their names
	Events    int           // triggers that it took
	Status    string        // triggered, acknowledged or resolved
	Log       []AlertEntry  // the oldest first
}

// AlertLink is a link that an alert shows.
type AlertLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// AlertDetail is one of an alert's custom details.
type AlertDetail struct{ Name, Value string }

// AlertEntry is what happened to an alert.
type AlertEntry struct {
	Time time.Time
	Text string
}

const (
	maxEvent   = 512 << 10 // bytes
	maxSummary = 1024      // characters
	maxKey     = 255       // characters
	maxAlerts  = 300       // that are remembered
	maxWaiting = 100       // events without an effect yet
	maxLog     = 100       // entries of an alert
)

var pagerDutyPage = page("pagerduty.html")

// StartPagerDuty starts one that takes events with one of the routing keys.
func StartPagerDuty(keys ...string) (*PagerDuty, error) {
	p := &PagerDuty{keys: keys}
	router := http.NewServeMux()
	router.HandleFunc("POST /v2/enqueue", p.enqueue)
	router.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		alerts := p.Alerts()
		slices.Reverse(alerts)
		p.show(w, pagerDutyPage, "PagerDuty", alerts)
	})
	var err error
	p.Server, err = start(router)
	return p, err
}

// Alerts returns all that were opened, the oldest first.
func (p *PagerDuty) Alerts() []Alert {
	p.mu.Lock()
	defer p.mu.Unlock()
	alerts := slices.Clone(p.alerts)
	for i := range alerts {
		alerts[i].Log = slices.Clone(alerts[i].Log)
	}
	return alerts
}

// Hold has events that are accepted take effect only when they are released.
func (p *PagerDuty) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
}

// Release has what was held take effect, in the order in which it came or, reversed, in
// the other: PagerDuty promises none.
func (p *PagerDuty) Release(reversed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reversed {
		slices.Reverse(p.wait)
	}
	for _, e := range p.wait {
		p.apply(e)
	}
	p.held, p.wait = false, nil
}

// Limit has all events of a minute beyond n refused with 429; 0 is no limit.
func (p *PagerDuty) Limit(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate, p.recent = n, nil
}

type event struct {
	RoutingKey string      `json:"routing_key"`
	Action     string      `json:"event_action"`
	Key        string      `json:"dedup_key"`
	Client     string      `json:"client"`
	ClientURL  string      `json:"client_url"`
	Links      []AlertLink `json:"links"`
	Images     []struct {
		Src string `json:"src"`
	} `json:"images"`
	Payload *struct {
		Summary   string         `json:"summary"`
		Source    string         `json:"source"`
		Severity  string         `json:"severity"`
		Timestamp string         `json:"timestamp"`
		Component string         `json:"component"`
		Class     string         `json:"class"`
		Details   map[string]any `json:"custom_details"`
	} `json:"payload"`
}

func (p *PagerDuty) enqueue(w http.ResponseWriter, r *http.Request) {
	var e event
	if r.ContentLength > maxEvent {
		refuseEvent(w, "Event is too large")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		refuseEvent(w, "JSON is invalid")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if errs := p.wrong(e); len(errs) > 0 {
		refuseEvent(w, errs...)
		return
	}
	if p.limited(time.Now()) {
		answerJSON(w, http.StatusTooManyRequests, map[string]any{"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly.  Please retry later."})
		return
	}
	if e.Key == "" {
		p.number++
		e.Key = fmt.Sprintf("made-for-you-%d", p.number)
	}
	switch {
	case p.held && len(p.wait) < maxWaiting:
		p.wait = append(p.wait, e)
	case !p.held:
		p.apply(e)
	}
	answerJSON(w, http.StatusAccepted, map[string]string{"status": "success", "message": "Event processed", "dedup_key": e.Key})
}

// wrong returns what PagerDuty would not take of an event.
func (p *PagerDuty) wrong(e event) []string {
	var errs []string
	add := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, text)
		}
	}
	add(e.RoutingKey == "", "'routing_key' is missing or blank")
	add(e.RoutingKey != "" && utf8.RuneCountInString(e.RoutingKey) != 32, "Length of 'routing_key' is incorrect (should be 32 characters)")
	add(len(errs) == 0 && !slices.Contains(p.keys, e.RoutingKey), "Invalid routing key")
	add(!slices.Contains([]string{"trigger", "acknowledge", "resolve"}, e.Action), "'event_action' is missing or blank, or not one of trigger, acknowledge, resolve")
	add(utf8.RuneCountInString(e.Key) > maxKey, "'dedup_key' is too long (maximum is 255 characters)")
	if e.Action != "trigger" {
		add(e.Key == "", "'dedup_key' is missing or blank")
		return errs
	}
	if e.Payload == nil {
		return append(errs, "'payload' is missing or blank")
	}
	add(strings.TrimSpace(e.Payload.Summary) == "", "'payload.summary' is missing or blank")
	add(utf8.RuneCountInString(e.Payload.Summary) > maxSummary, "'payload.summary' is too long (maximum is 1024 characters)")
	add(strings.TrimSpace(e.Payload.Source) == "", "'payload.source' is missing or blank")
	add(!slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity), "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')")
	for _, link := range e.Links {
		add(web(link.Href) == "", "'links.href' is invalid")
	}
	for _, image := range e.Images {
		add(!strings.HasPrefix(image.Src, "https://"), "'images.src' is invalid")
	}
	return errs
}

// limited reports whether there were too many events within the last minute.
func (p *PagerDuty) limited(now time.Time) bool {
	if p.rate == 0 {
		return false
	}
	p.recent = slices.DeleteFunc(p.recent, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(p.recent) >= p.rate {
		return true
	}
	p.recent = append(p.recent, now)
	return false
}

// apply has an event take effect: there is one open alert for a key.
func (p *PagerDuty) apply(e event) {
	open := slices.IndexFunc(p.alerts, func(a Alert) bool { return a.Key == e.Key && a.Status != "resolved" })
	switch {
	case e.Action == "trigger" && open < 0:
		p.open(e)
	case open < 0:
		// dropped, as PagerDuty does
	case e.Action == "trigger":
		p.alerts[open].Events++
		p.alerts[open].note("triggered again")
	case e.Action == "acknowledge":
		p.alerts[open].Status = "acknowledged"
		p.alerts[open].note("acknowledged")
	case e.Action == "resolve":
		p.alerts[open].Status = "resolved"
		p.alerts[open].note("resolved")
	}
}

func (p *PagerDuty) open(e event) {
	p.number++
	a := Alert{
		Number: p.number, Key: e.Key, Client: e.Client, ClientURL: e.ClientURL, Links: e.Links, Events: 1, Status: "triggered",
		Summary: e.Payload.Summary, Source: e.Payload.Source, Severity: e.Payload.Severity, Component: e.Payload.Component, Class: e.Payload.Class,
	}
	for name, value := range e.Payload.Details {
		a.Details = append(a.Details, AlertDetail{name, fmt.Sprint(value)})
	}
	slices.SortFunc(a.Details, func(a, b AlertDetail) int { return strings.Compare(a.Name, b.Name) })
	a.note("triggered")
	if p.alerts = append(p.alerts, a); len(p.alerts) > maxAlerts {
		p.alerts = p.alerts[1:]
	}
}

func (a *Alert) note(what string) {
	if len(a.Log) < maxLog {
		a.Log = append(a.Log, AlertEntry{time.Now(), what})
	}
}

func refuseEvent(w http.ResponseWriter, errs ...string) {
	answerJSON(w, http.StatusBadRequest, map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": errs})
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
