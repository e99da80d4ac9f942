package admin

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// DeliveryRecord is a delivery as GET /api/deliveries gives it:
//
//	{"instance": "...", "deliveries": [DeliveryRecord, ...], "unverified": [DeliveryRecord, ...]}
//
// are the last 200 verified ones at most, the newest first, and the last 50
// others, of the ingress that instance names. Of the verified ones the parameters of
// the query leave those that have all of: this project, integration, event and
// outcome, a run in the state run, and q, which is an ID (Request-ID, idempotency
// key, issue, short ID, workflow or run) or a part of the title, in any case. Of the others
// integration and q leave those that went there or have this Request-ID. Texts are
// cut at 256 bytes.
type DeliveryRecord struct {
	Number      uint64        `json:"number"` // 1 for the first of its list since the ingress started
	Time        time.Time     `json:"time"`   // of receipt
	DurationMS  float64       `json:"duration_ms"`
	RequestID   string        `json:"request_id"`
	Integration string        `json:"integration"` // as in the URL, whether there is such a one or not
	Event       string        `json:"event"`       // empty if it was refused before it had a name
	IssueID     string        `json:"issue_id"`    // this and the next five are empty where unknown
	ShortID     string        `json:"short_id"`
	Project     string        `json:"project"`
	Level       string        `json:"level"`
	Title       string        `json:"title"`
	IssueURL    string        `json:"issue_url"`             // the page in Sentry
	Key         string        `json:"idempotency_key"`       // empty if it was refused
	Size        int           `json:"size"`                  // of its body, in bytes
	Answer      string        `json:"answer"`                // started, existing, accepted, ignored, refused or failed, as it was answered
	Outcome     string        `json:"outcome"`               // what became of it by now: one of those, parked or discarded
	DeliveryID  uint64        `json:"delivery_id,omitempty"` // in the journal, while it is pending or parked
	Status      int           `json:"status"`                // of the HTTP answer
	Reason      string        `json:"reason,omitempty"`      // why it was refused or failed, as the sender was told
	Hint        string        `json:"hint,omitempty"`        // what may set that right
	Skipped     []routes.Skip `json:"skipped,omitempty"`     // workflows that want the event and do not run for it, and why
	Wanted      []Wanting     `json:"wanted,omitempty"`      // of one that is ignored: what workflows want of its resource now
	Runs        []RunRecord   `json:"runs"`
}

// Wanting is a workflow and the events of a resource that it wants.
type Wanting struct {
	Workflow string   `json:"workflow"`
	Events   []string `json:"events"`
}

// maxWanting is how many workflows are told of that want other events of a resource.
const maxWanting = 5

// RunRecord is a run of a delivery, as far as it is known by now.
type RunRecord struct {
	starter.Run
	State *RunState `json:"state,omitempty"` // in Temporal; nil if nothing is known
}

// Status is the state of the run for people and filters; "" while it has not been
// started.
func (r RunRecord) Status() string {
	switch {
	case r.RunID == "":
		return ""
	case r.State == nil || r.State.Status == "":
		return runUnknown
	}
	return r.State.Status
}

// Reason is why the run is in its state, as far as that is known.
func (r RunRecord) Reason() string {
	if r.State == nil {
		return ""
	}
	return r.State.Reason
}

// stateLife is how long the state of a run that is under way counts as today's.
const stateLife = 15 * time.Second

// Since is when Temporal said so, where that is so long ago that it may have
// changed; else the zero time.
func (r RunRecord) Since() time.Time {
	if r.State == nil || isFinal(r.State.Status) || time.Since(r.State.Asked) < stateLife {
		return time.Time{}
	}
	return r.State.Asked
}

// Page is the path of the page of the delivery; "" if it has none.
func (d DeliveryRecord) Page() string { return pageOf(d.Integration, d.Key) }

// Issue is what the page calls the issue.
func (d DeliveryRecord) Issue() string {
	return cmp.Or(d.ShortID, d.IssueID)
}

// NotRun says, line by line, why no workflow runs for the delivery, or which do not
// for a condition.
func (d DeliveryRecord) NotRun() []string {
	var lines []string
	if d.Outcome == string(starter.Ignored) && len(d.Skipped) == 0 {
		lines = append(lines, "no workflow wants the event")
		for _, w := range d.Wanted {
			lines = append(lines, w.Workflow+" wants "+strings.Join(w.Events, ", "))
		}
		return lines
	}
	for _, skip := range d.Skipped {
		switch {
		case skip.Why == routes.WhyCondition:
			lines = append(lines, skip.Workflow+": its condition says no")
		case len(d.Runs) == 0 && skip.Field != "":
			lines = append(lines, skip.Workflow+": its route is for other "+string(skip.Field))
		case len(d.Runs) == 0:
			lines = append(lines, skip.Workflow+": its routes are for others")
		}
	}
	return lines
}

// wantedBy returns what the first workflows want of the resource of an event, of
// which no one wants the event itself.
func wantedBy(event string, all []routes.Route) []Wanting {
	dot := strings.LastIndex(event, ".")
	if dot < 0 {
		return nil
	}
	var wanted []Wanting
	for _, route := range all {
		var events []string
		for _, e := range route.Events {
			if strings.HasPrefix(e, event[:dot+1]) {
				events = append(events, e)
			}
		}
		if len(events) == 0 || slices.ContainsFunc(wanted, func(w Wanting) bool { return w.Workflow == route.Workflow }) {
			continue
		}
		if wanted = append(wanted, Wanting{route.Workflow, events}); len(wanted) == maxWanting {
			break
		}
	}
	return wanted
}

// issueOf is what the page calls the issue of a delivery in the journal.
func issueOf(i journal.Item) string { return cmp.Or(i.ShortID, i.IssueID) }

// Duration is that of the answer.
func (d DeliveryRecord) Duration() time.Duration {
	return time.Duration(d.DurationMS * float64(time.Millisecond))
}

func recordOf(d remembered) DeliveryRecord {
	record := DeliveryRecord{
		Number: d.number, Time: d.Time.UTC().Round(0), DurationMS: float64(d.Duration.Microseconds()) / 1000,
		RequestID: d.RequestID, Integration: d.Integration, Event: d.Event,
		IssueID: d.Subject.IssueID, ShortID: d.Subject.ShortID, Project: d.Subject.Project, Level: d.Subject.Level, Title: d.Subject.Title,
		IssueURL: webAddress(d.Subject.URL),
		Key:      d.Key, Size: d.Size,
		Answer: d.Outcome, Outcome: d.Outcome, Status: d.Status, Reason: d.Reason, Hint: d.Hint, Skipped: d.Skipped,
		Runs: []RunRecord{}, // [] in JSON, not null
	}
	for _, run := range d.Runs {
		record.Runs = append(record.Runs, RunRecord{Run: run})
	}
	return record
}

// taken reports whether the delivery was to have runs when it came.
func (d DeliveryRecord) taken() bool {
	return slices.Contains([]string{string(starter.Started), string(starter.Existing), string(starter.Accepted)}, d.Answer)
}

// liven brings up to date what became of a delivery. again says that one with its
// key was taken before it.
func (s *statusPage) liven(d *DeliveryRecord, again bool) {
	if d.Answer != string(starter.Accepted) || s.Look == nil {
		return
	}
	known, ok := s.Look(d.Integration, d.Key)
	switch {
	case !ok:
		d.Outcome = outcomeDiscarded
	case known.State == journal.Parked:
		d.Outcome, d.DeliveryID, d.Reason = outcomeParked, known.ID, cmp.Or(parkedWords[known.Code], string(known.Code))
	case known.State == journal.Pending:
		d.DeliveryID = known.ID
	default:
		for i := range d.Runs {
			s.livenRun(&d.Runs[i].Run, d.Integration, known.Runs, again)
		}
		d.Outcome = string(overall(d.Runs))
	}
}

// livenRun makes run what is known of it among ran.
func (s *statusPage) livenRun(run *starter.Run, integration string, ran []journal.Ran, again bool) {
	at := slices.IndexFunc(ran, func(r journal.Ran) bool {
		return r.WorkflowID == run.WorkflowID && (run.Namespace == "" || r.Namespace == run.Namespace)
	})
	if at < 0 {
		return
	}
	run.Status, run.RunID, run.Namespace = starter.Started, ran[at].RunID, ran[at].Namespace
	if again || ran[at].Existing {
		run.Status = starter.Existing
	}
	if s.URL != nil {
		run.URL = s.URL(integration, run.Namespace, run.WorkflowID, run.RunID)
	}
}

func overall(records []RunRecord) starter.Status {
	runs := make([]starter.Run, len(records))
	for i, r := range records {
		runs[i] = r.Run
	}
	return starter.Overall(runs)
}

// webAddress returns address if a browser can open it without running it, and
// else "".
func webAddress(address string) string {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return address
}

// records returns the verified deliveries that are remembered and the others, as it
// is with them by now, the newest first.
func (s *statusPage) records() (all, unverified []DeliveryRecord) {
	all, unverified = []DeliveryRecord{}, []DeliveryRecord{}
	verified, others := s.Recent.deliveries()
	type delivery struct{ integration, key string }
	came := map[delivery]bool{}
	wanted := map[string][]Wanting{} // by event
	table := s.Routes().Routes
	for _, d := range slices.Backward(verified) { // the oldest first
		record := recordOf(d)
		s.liven(&record, came[delivery{d.Integration, d.Key}])
		if record.taken() {
			came[delivery{d.Integration, d.Key}] = true
		}
		if record.Outcome == string(starter.Ignored) && len(record.Skipped) == 0 {
			if _, known := wanted[d.Event]; !known {
				wanted[d.Event] = wantedBy(d.Event, table)
			}
			record.Wanted = wanted[d.Event]
		}
		all = append(all, record)
	}
	slices.Reverse(all)
	s.askRuns(all)
	for _, d := range others {
		unverified = append(unverified, recordOf(d))
	}
	return all, unverified
}

// found are the deliveries that a filter lets through.
type found struct {
	filter
	Deliveries []DeliveryRecord
	Unverified []DeliveryRecord
	Total      int // verified ones that are remembered
	Choices    [facetCount]choices
}

func (s *statusPage) find(f filter) found {
	all, unverified := s.records()
	shown, of := f.choose(all)
	return found{
		filter: f, Deliveries: shown, Total: len(all), Choices: of,
		Unverified: slices.DeleteFunc(unverified, func(d DeliveryRecord) bool { return !f.findsUnverified(d) }),
	}
}

// askRuns notes what is known of the runs in Temporal.
func (s *statusPage) askRuns(all []DeliveryRecord) {
	if s.Runs == nil {
		return
	}
	of := func(d DeliveryRecord, r RunRecord) RunOf {
		return RunOf{Integration: d.Integration, Namespace: r.Namespace, WorkflowID: r.WorkflowID, RunID: r.RunID}
	}
	var runs []RunOf
	for _, d := range all {
		for _, r := range d.Runs {
			if r.RunID != "" {
				runs = append(runs, of(d, r))
			}
		}
	}
	states := s.Runs(runs)
	for _, d := range all {
		for i, r := range d.Runs {
			state, ok := states[of(d, r)]
			if !ok {
				continue
			}
			d.Runs[i].State = &state
			if state.RunID != "" && s.URL != nil {
				d.Runs[i].URL = s.URL(d.Integration, r.Namespace, r.WorkflowID, state.RunID)
			}
		}
	}
}

// listDeliveries answers GET /api/deliveries, see [DeliveryRecord].
func (s *statusPage) listDeliveries(c *gin.Context) {
	given, err := checkFilter(c.Request.URL.RawQuery)
	if err != nil {
		web.Refuse(c, http.StatusBadRequest, err.Error())
		return
	}
	f := s.find(deliveryFilter(given))
	c.PureJSON(http.StatusOK, gin.H{"instance": s.Instance, "deliveries": f.Deliveries, "unverified": f.Unverified})
}
