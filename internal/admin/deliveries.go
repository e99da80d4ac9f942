package admin

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// Outcomes of deliveries that were taken and are not to be started by themselves.
const (
	outcomeParked    = "parked"
	outcomeDiscarded = "discarded"
)

// outcomes are all that there are, in the order of the page.
var outcomes = []string{
	string(starter.Started), string(starter.Existing), string(starter.Accepted), outcomeParked, outcomeDiscarded, string(starter.Ignored), web.Refused, web.Failed,
}

// filter says which deliveries to show: those with this event and this outcome,
// where empty means any.
type filter struct{ Event, Outcome string }

func (f filter) lets(d DeliveryRecord) bool {
	return (f.Event == "" || f.Event == d.Event) && (f.Outcome == "" || f.Outcome == d.Outcome)
}

// DeliveryRecord is a delivery as GET /api/deliveries gives it:
//
//	{"deliveries": [DeliveryRecord, ...], "unverified": [DeliveryRecord, ...]}
//
// are the last 200 verified ones at most, the newest first, and the last 50
// others. The parameters event and outcome of the query leave only those of the
// verified ones that have that event and that outcome. Texts are cut at 256 bytes.
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
	Runs        []RunRecord   `json:"runs"`
}

// RunRecord is a run of a delivery, as far as it is known by now.
type RunRecord struct {
	starter.Run
	State *RunState `json:"state,omitempty"` // in Temporal; nil if nothing is known
}

// Issue is what the page calls the issue.
func (d DeliveryRecord) Issue() string {
	return cmp.Or(d.ShortID, d.IssueID)
}

// NotRun says, line by line, why no workflow runs for the delivery, or which do not
// for a condition.
func (d DeliveryRecord) NotRun() []string {
	if d.Outcome == string(starter.Ignored) && len(d.Skipped) == 0 {
		return []string{"no workflow wants the event"}
	}
	var lines []string
	for _, skip := range d.Skipped {
		switch {
		case skip.Why == routes.WhyCondition:
			lines = append(lines, skip.Workflow+": its condition says no")
		case len(d.Runs) == 0:
			lines = append(lines, skip.Workflow+": its routes are for others")
		}
	}
	return lines
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

// liven brings up to date what became of a delivery. again says that one with its
// key came before it.
func (s *statusPage) liven(d *DeliveryRecord, again bool) {
	if d.Answer != string(starter.Accepted) || s.Look == nil {
		return
	}
	known, ok := s.Look(d.Integration, d.Key)
	switch {
	case !ok:
		d.Outcome = outcomeDiscarded
	case known.State == journal.Parked:
		d.Outcome, d.DeliveryID, d.Reason = outcomeParked, known.ID, string(known.Code)
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

// records returns the verified deliveries that are remembered, what of them the
// filter of the request lets through, and the others.
func (s *statusPage) records(c *gin.Context) (all, shown, unverified []DeliveryRecord, f filter) {
	f = filter{Event: cut(c.Query("event")), Outcome: cut(c.Query("outcome"))}
	shown, unverified = []DeliveryRecord{}, []DeliveryRecord{}
	verified, others := s.Recent.deliveries()
	type delivery struct{ integration, key string }
	came := map[delivery]bool{}
	for _, d := range slices.Backward(verified) { // the oldest first
		record := recordOf(d)
		s.liven(&record, came[delivery{d.Integration, d.Key}])
		came[delivery{d.Integration, d.Key}] = true
		all = append(all, record)
	}
	slices.Reverse(all)
	s.askRuns(all)
	for _, record := range all {
		if f.lets(record) {
			shown = append(shown, record)
		}
	}
	for _, d := range others {
		unverified = append(unverified, recordOf(d))
	}
	return all, shown, unverified, f
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
			if state, ok := states[of(d, r)]; ok {
				d.Runs[i].State = &state
			}
		}
	}
}

// listDeliveries answers GET /api/deliveries, see [DeliveryRecord].
func (s *statusPage) listDeliveries(c *gin.Context) {
	_, shown, unverified, _ := s.records(c)
	c.PureJSON(http.StatusOK, gin.H{"deliveries": shown, "unverified": unverified})
}

// eventChoices returns the events to filter by: those that came, and that of the
// filter.
func eventChoices(all []DeliveryRecord, f filter) []string {
	var events []string
	if f.Event != "" {
		events = append(events, f.Event)
	}
	for _, d := range all {
		if d.Event != "" && !slices.Contains(events, d.Event) {
			events = append(events, d.Event)
		}
	}
	slices.Sort(events)
	return events
}

func outcomeRows(all []DeliveryRecord, f filter) []outcomeRow {
	rows := []outcomeRow{{Name: "", Checked: f.Outcome == ""}}
	for _, name := range outcomes {
		rows = append(rows, outcomeRow{Name: name, Checked: f.Outcome == name})
	}
	for i := range rows {
		for _, d := range all {
			if (filter{Event: f.Event, Outcome: rows[i].Name}).lets(d) {
				rows[i].Count++
			}
		}
	}
	return rows
}
