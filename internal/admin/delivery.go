package admin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/text"
	"sentry-temporal/internal/web"
)

const (
	// describedRuns is about how many runs of a delivery Temporal is asked when
	// somebody looks at it, and inputRuns how many are asked for its body.
	describedRuns = 5
	inputRuns     = 3
)

// DeliveryDetail is all that is known of a delivery, as GET
// /api/deliveries/{integration}/{key} gives it.
type DeliveryDetail struct {
	Instance    string            `json:"instance"` // of the ingress that knows it
	Integration string            `json:"integration"`
	Key         string            `json:"idempotency_key"`
	Outcome     string            `json:"outcome"`        // what became of it by now
	Arrivals    []ArrivalRecord   `json:"arrivals"`       // each time that it came, as far as that is remembered, the last one first
	Kept        *journal.Item     `json:"kept,omitempty"` // while it is pending or parked
	Runs        []RunDetailRecord `json:"runs"`
	Body        string            `json:"body,omitempty"` // where its envelope can be read; "" if it is not kept anywhere
}

// ArrivalRecord is a delivery as it came once.
type ArrivalRecord struct {
	DeliveryRecord
	Headers map[string]string `json:"headers"` // that its envelope has
}

// RunDetailRecord is a run of a delivery, with what Temporal says of it.
type RunDetailRecord struct {
	RunRecord
	Namespace string     `json:"namespace"`
	Detail    *RunDetail `json:"detail,omitempty"`  // nil if it is not known
	Problem   string     `json:"problem,omitempty"` // why it is not
}

// Last is the last arrival; nil if none is remembered.
func (d DeliveryDetail) Last() *ArrivalRecord {
	if len(d.Arrivals) == 0 {
		return nil
	}
	return &d.Arrivals[0]
}

// Meaning is what the outcome means.
func (d DeliveryDetail) Meaning() string { return meaningOf(Outcomes, d.Outcome) }

// Meaning is what the state of the run means.
func (r RunDetailRecord) Meaning() string { return meaningOf(RunStates, r.Status()) }

// pageOf is the path of the page of a delivery; "" if it has none.
func pageOf(integration, key string) string {
	if integration == "" || key == "" {
		return ""
	}
	return "/deliveries/" + url.PathEscape(integration) + "/" + url.PathEscape(key)
}

// delivery returns what is known of a delivery without asking Temporal; false if
// that is nothing.
func (s *statusPage) delivery(integration, key string) (DeliveryDetail, bool) {
	d := DeliveryDetail{Instance: s.Instance, Integration: integration, Key: key, Arrivals: []ArrivalRecord{}, Runs: []RunDetailRecord{}}
	verified, _ := s.Recent.deliveries()
	for _, r := range verified {
		if r.Integration == integration && r.Key == key {
			d.Arrivals = append(d.Arrivals, ArrivalRecord{DeliveryRecord: recordOf(r), Headers: r.Headers})
		}
	}
	for i := range d.Arrivals {
		arrival := &d.Arrivals[i].DeliveryRecord
		s.liven(arrival, slices.ContainsFunc(d.Arrivals[i+1:], func(a ArrivalRecord) bool { return a.taken() }))
		if arrival.Outcome == string(starter.Ignored) && len(arrival.Skipped) == 0 {
			arrival.Wanted = wantedBy(arrival.Event, s.Routes().Routes)
		}
		d.Outcome = cmp.Or(d.Outcome, arrival.Outcome)
	}
	known, ok := journal.Known{}, false
	if s.Look != nil {
		known, ok = s.Look(integration, key)
	}
	if !ok && len(d.Arrivals) == 0 {
		return DeliveryDetail{}, false
	}
	s.addRuns(&d, known)
	switch {
	case !ok:
	case known.State == journal.Done:
		runs := make([]RunRecord, len(d.Runs))
		for i, r := range d.Runs {
			runs[i] = r.RunRecord
		}
		d.Outcome = string(overall(runs))
	default:
		d.Outcome = string(starter.Accepted)
		if known.State == journal.Parked {
			d.Outcome = outcomeParked
		}
		d.Kept = s.kept(known)
	}
	if d.Kept != nil {
		s.addPlanned(&d)
	}
	if d.Kept != nil || slices.ContainsFunc(d.Runs, func(r RunDetailRecord) bool { return r.RunID != "" }) {
		d.Body = pageOf(integration, key) + "/body"
	}
	return d, true
}

// addRuns adds the runs that are known of a delivery: those that it was answered
// with, and those that it has by now.
func (s *statusPage) addRuns(d *DeliveryDetail, known journal.Known) {
	add := func(run starter.Run) {
		record := RunDetailRecord{RunRecord: RunRecord{Run: run}, Namespace: run.Namespace}
		at := slices.IndexFunc(d.Runs, func(r RunDetailRecord) bool { return r.WorkflowID == run.WorkflowID && r.Namespace == run.Namespace })
		switch {
		case at < 0:
			d.Runs = append(d.Runs, record)
		case d.Runs[at].RunID == "":
			d.Runs[at] = record
		}
	}
	for _, ran := range known.Runs {
		run := starter.Run{Workflow: routes.WorkflowOf(ran.WorkflowID), WorkflowID: ran.WorkflowID, Namespace: ran.Namespace}
		s.livenRun(&run, d.Integration, known.Runs, false)
		add(run)
	}
	for _, arrival := range d.Arrivals {
		for _, run := range arrival.Runs {
			add(run.Run)
		}
	}
}

// addPlanned adds the runs that a delivery is to have which is kept.
func (*statusPage) addPlanned(d *DeliveryDetail) {
	for _, id := range d.Kept.WorkflowIDs {
		if !slices.ContainsFunc(d.Runs, func(r RunDetailRecord) bool { return r.WorkflowID == id }) {
			run := starter.Run{Workflow: routes.WorkflowOf(id), WorkflowID: id, Status: starter.Accepted}
			d.Runs = append(d.Runs, RunDetailRecord{RunRecord: RunRecord{Run: run}})
		}
	}
}

// kept returns the delivery in the journal; nil if it has just gone, or cannot be
// read.
func (s *statusPage) kept(known journal.Known) *journal.Item {
	if s.admin.Journal == nil {
		return nil
	}
	items, err := s.admin.Journal.List(journal.Filter{State: known.State, IDs: []uint64{known.ID}}, 0, 1)
	if err != nil || len(items) == 0 {
		return nil
	}
	items[0].WorkflowIDs = append([]string{}, items[0].WorkflowIDs...) // [] in JSON, not null
	items[0].Namespaces = append([]string{}, items[0].Namespaces...)
	return &items[0]
}

// of names a run in Temporal.
func (d DeliveryDetail) of(r RunDetailRecord) RunOf {
	return RunOf{Integration: d.Integration, Namespace: r.Namespace, WorkflowID: r.WorkflowID, RunID: r.RunID}
}

// describe adds what Temporal says of the runs: all that it is asked about it is
// asked at the same time.
func (s *statusPage) describe(ctx context.Context, d *DeliveryDetail) {
	var all []RunOf
	for _, r := range d.Runs {
		if r.RunID != "" {
			all = append(all, d.of(r))
		}
	}
	if s.Runs != nil {
		states := s.Runs(all)
		for i, r := range d.Runs {
			if state, ok := states[d.of(r)]; ok {
				d.Runs[i].State = &state
			}
		}
	}
	if s.Describe == nil {
		return
	}
	var asking sync.WaitGroup
	asked := 0
	for i := range d.Runs {
		r := &d.Runs[i]
		if r.RunID == "" || asked == describedRuns {
			continue
		}
		asked++
		asking.Go(func() {
			detail, err := s.Describe(ctx, d.of(*r))
			if err != nil {
				r.Problem = text.Shorten(text.Line(err.Error()), maxProblem)
			}
			// With an error it is from before: then what is newer is more.
			if err == nil || !detail.Asked.IsZero() && (r.State == nil || !detail.Asked.Before(r.State.Asked)) {
				r.Detail, r.State = &detail, &detail.RunState
			}
		})
	}
	asking.Wait()
	for i, r := range d.Runs {
		if r.State != nil && r.State.RunID != "" && s.URL != nil {
			d.Runs[i].URL = s.URL(d.Integration, r.Namespace, r.WorkflowID, r.State.RunID)
		}
	}
}

// unknownDelivery is said of a delivery of which nothing is known.
const unknownDelivery = "no delivery of this integration and key is remembered here"

// tellDelivery answers GET /api/deliveries/{integration}/{key}, see
// [DeliveryDetail].
func (s *statusPage) tellDelivery(c *gin.Context) {
	d, ok := s.delivery(c.Param("integration"), c.Param("key"))
	if !ok {
		web.Refuse(c, http.StatusNotFound, unknownDelivery)
		return
	}
	s.describe(c.Request.Context(), &d)
	c.PureJSON(http.StatusOK, d)
}

// deliveryPage is what the template of a delivery is filled with.
type deliveryPage struct {
	DeliveryDetail
	Style     template.CSS
	Script    template.JS
	Now       time.Time
	Known     bool
	Told      *told
	Outcomes  []Meaning // the legend
	RunStates []Meaning
}

// showDelivery answers GET /deliveries/{integration}/{key}.
func (s *statusPage) showDelivery(c *gin.Context) {
	p := deliveryPage{
		Style: template.CSS(styleText), Script: template.JS(scriptText), //nolint:gosec // our own
		Now: time.Now().UTC(), Told: toldOf(c.Request.URL.Query()), Outcomes: Outcomes, RunStates: RunStates,
	}
	status := http.StatusOK
	p.DeliveryDetail, p.Known = s.delivery(c.Param("integration"), c.Param("key"))
	if p.Known {
		s.describe(c.Request.Context(), &p.DeliveryDetail)
	} else {
		status, p.Instance = http.StatusNotFound, s.Instance
	}
	var text bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&text, "delivery.html", p); err != nil {
		s.admin.fail(c, fmt.Errorf("fill the page of a delivery: %w", err))
		return
	}
	c.Data(status, "text/html; charset=utf-8", text.Bytes())
}

var (
	// errNoBody says that the body of a delivery is not kept.
	errNoBody = errors.New("the body of this delivery is kept neither here nor in Temporal")
	// errUnreadable says that the journal has it and cannot read it.
	errUnreadable = errors.New("the journal does not read a delivery")
)

// showBody answers GET /deliveries/{integration}/{key}/body with the envelope.
func (s *statusPage) showBody(c *gin.Context) {
	d, ok := s.delivery(c.Param("integration"), c.Param("key"))
	if !ok {
		web.Refuse(c, http.StatusNotFound, unknownDelivery)
		return
	}
	env, err := s.envelope(c.Request.Context(), d)
	switch {
	case errors.Is(err, errNoBody):
		web.Refuse(c, http.StatusNotFound, err.Error())
	case errors.Is(err, errUnreadable):
		s.admin.fail(c, err)
	case err != nil:
		s.admin.Log.WarnContext(c.Request.Context(), "envelope not read", telemetry.KeyIntegration, d.Integration, keyKey, d.Key, telemetry.KeyError, err.Error())
		web.Refuse(c, http.StatusBadGateway, "Temporal has the body and does not tell: "+text.Shorten(text.Line(err.Error()), maxProblem))
	default:
		s.admin.who(c).InfoContext(c.Request.Context(), "envelope read", telemetry.KeyIntegration, d.Integration, keyKey, d.Key)
		c.PureJSON(http.StatusOK, env)
	}
}

// keyKey is a key of log attributes: the idempotency key of a delivery.
const keyKey = "idempotency_key"

// envelope returns that of a delivery, from the journal or from a run that began
// with it: one that several deliveries share began with the first of them.
func (s *statusPage) envelope(ctx context.Context, d DeliveryDetail) (sentry.Envelope, error) {
	if d.Kept != nil {
		env, err := s.admin.Journal.Export(d.Kept.ID)
		switch {
		case err == nil:
			return env, nil
		case !errors.Is(err, journal.ErrNotFound):
			return env, fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	var problem error
	asked := 0
	for _, r := range d.Runs {
		if r.RunID == "" || s.Input == nil || asked == inputRuns {
			continue
		}
		asked++
		env, err := s.Input(ctx, d.of(r))
		if err == nil && env.IntegrationID == d.Integration && env.IdempotencyKey == d.Key {
			return env, nil
		}
		problem = cmp.Or(problem, err)
	}
	return sentry.Envelope{}, cmp.Or(problem, errNoBody)
}
