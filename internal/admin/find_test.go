package admin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// runOf is a run as the ingress answers it.
func runOf(key, runID string, status starter.Status) starter.Run {
	return starter.Run{
		Workflow: "page_on_call", WorkflowID: "page_on_call:sentry:" + key, RunID: runID, Status: status, Namespace: "default",
		URL: "http://temporal.example:8233/run/" + runID,
	}
}

// found are deliveries of which each has something that the others lack.
func found(t *testing.T, w *watched) {
	t.Helper()
	for i, d := range []web.Delivery{
		{
			RequestID: "aaaa1111", Key: "aaaa1111-0123456789abcdef", Integration: "sentry", Event: "sentry.issue.created", Outcome: "started", Status: 202,
			Subject: sentry.Subject{IssueID: "4711", ShortID: "SHOP-1A", Project: "shop", Title: "TypeError: Basket is Null"},
			Runs:    []starter.Run{runOf("aaaa1111", "run-a", starter.Started)},
		},
		{
			RequestID: "bbbb2222", Key: "bbbb2222", Integration: "mobile", Event: "sentry.issue.resolved", Outcome: "existing", Status: 202,
			Subject: sentry.Subject{IssueID: "47", ShortID: "APP-2", Project: "app", Title: "Basket overflows"},
			Runs:    []starter.Run{runOf("bbbb2222", "run-b", starter.Existing)},
		},
		{RequestID: "cccc3333", Integration: "sentry", Outcome: web.Refused, Status: 400, Reason: "no JSON"},
	} {
		d.Verified, d.Time = true, time.Now().Add(time.Duration(i)*time.Second)
		w.recent.Observe(t.Context(), d)
	}
	for _, d := range []web.Delivery{{RequestID: "dddd4444", Integration: "sentry"}, {RequestID: "eeee5555", Integration: "nobody"}} {
		d.Time, d.Outcome, d.Status = time.Now(), web.Refused, 401
		w.recent.Observe(t.Context(), d)
	}
}

func withRuns(states map[string]admin.RunState) func(*admin.Options) {
	return func(o *admin.Options) {
		o.Status.Runs = func(of []admin.RunOf) map[admin.RunOf]admin.RunState {
			known := map[admin.RunOf]admin.RunState{}
			for _, run := range of {
				if state, ok := states[run.RunID]; ok {
					known[run] = state
				}
			}
			return known
		}
	}
}

func TestDeliveriesAreFound(t *testing.T) {
	w := newWatched(t, nil, withRuns(map[string]admin.RunState{"run-a": {Status: admin.RunFailed, Reason: "boom", Asked: time.Now()}}))
	found(t, w)
	for name, tt := range map[string]struct {
		query string
		want  string // Request-IDs
		other string // of those that are not verified
	}{
		"all of them without a filter":          {"", "cccc3333 bbbb2222 aaaa1111", "eeee5555 dddd4444"},
		"all of them by an empty filter":        {"?q=&project=&integration=&event=&outcome=&run=", "cccc3333 bbbb2222 aaaa1111", "eeee5555 dddd4444"},
		"by the Request-ID":                     {"?q=bbbb2222", "bbbb2222", ""},
		"by the Request-ID in capitals":         {"?q=BBBB2222", "bbbb2222", ""},
		"by what is around it":                  {"?q=%20%20bbbb2222%20", "bbbb2222", ""},
		"by the Request-ID of a stranger":       {"?q=DDDD4444", "", "dddd4444"},
		"by the name that a stranger has asked": {"?q=nobody", "", "eeee5555"},
		"not by a part of the Request-ID":       {"?q=bbbb", "", ""},
		"by the key":                            {"?q=aaaa1111-0123456789ABCDEF", "aaaa1111", ""},
		"by the issue, whole":                   {"?q=47", "bbbb2222", ""},
		"by the short ID":                       {"?q=shop-1a", "aaaa1111", ""},
		"by the workflow ID":                    {"?q=page_on_call:sentry:aaaa1111", "aaaa1111", ""},
		"by the run ID":                         {"?q=run-b", "bbbb2222", ""},
		"by a part of the title":                {"?q=baskeT", "bbbb2222 aaaa1111", ""},
		"by words of the title":                 {"?q=basket+is", "aaaa1111", ""},
		"by the project":                        {"?project=shop", "aaaa1111", "eeee5555 dddd4444"},
		"by the integration":                    {"?integration=sentry", "cccc3333 aaaa1111", "dddd4444"},
		"by the event":                          {"?event=sentry.issue.resolved", "bbbb2222", "eeee5555 dddd4444"},
		"by the outcome":                        {"?outcome=refused", "cccc3333", "eeee5555 dddd4444"},
		"by the state of a run":                 {"?run=failed", "aaaa1111", "eeee5555 dddd4444"},
		"by the state that is not known":        {"?run=unknown", "bbbb2222", "eeee5555 dddd4444"},
		"by all of it":                          {"?q=basket&project=app&integration=mobile&event=sentry.issue.resolved&outcome=existing&run=unknown", "bbbb2222", ""},
		"none by what excludes the other":       {"?q=basket&project=app&outcome=started", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			verified, unverified := w.remembered(t, tt.query)
			if got := requestIDs(verified); got != tt.want {
				t.Errorf("found %s", got)
			}
			if got := requestIDs(unverified); got != tt.other {
				t.Errorf("found of others %s", got)
			}
			page := w.page(t, tt.query)
			shown := rows(page)
			if len(shown) != len(strings.Fields(tt.want)) {
				t.Fatalf("%d rows", len(shown))
			}
			for i, id := range strings.Fields(tt.want) {
				has(t, shown[i], id)
			}
			_, others, _ := strings.Cut(page, `<div id="unverified"`)
			if got := strings.Count(others, `<tr id="u-`); got != len(strings.Fields(tt.other)) {
				t.Errorf("%d rows of strangers", got)
			}
			if filtered := regexp.MustCompile("=[^&]").MatchString(tt.query); strings.Contains(page, `id="clear"`) != filtered {
				t.Error("all of them can be shown again:", !filtered)
			}
		})
	}
}

func requestIDs(records []admin.DeliveryRecord) string {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.RequestID
	}
	return strings.Join(ids, " ")
}

func TestTheFilterIsOnThePageWithWhatItWouldLetThrough(t *testing.T) {
	w := newWatched(t, nil)
	found(t, w)
	page := w.page(t, "?q=basket&outcome=started&project=shop")
	has(t, page,
		`value="basket"`, "1 of the last 3 deliveries", `name="outcome" value="started" checked`,
		`<b id="n-all" data-live>1</b>`, `<b id="n-existing" data-live>0</b>`, // of those in the project
		`<option value="">all (1)</option>`, `<option value="shop" selected>shop (1)</option>`, `<option value="app">app (0)</option>`)
	has(t, w.page(t, "?event=none.of&project=of.none"), `<option value="none.of" selected>none.of (0)</option>`, "None of the last 3 deliveries")
}

func TestAParameterThatThereIsNotIsRefused(t *testing.T) {
	w := newWatched(t, nil)
	for _, query := range []string{"?outcom=failed", "?Event=x", "?q=1&limit=3", "?event=a&event=b", "?q=%zz", "?q=1;event=2"} {
		status, text, _ := ask(t, http.MethodGet, w.admin+"/api/deliveries"+query, nil)
		if status != http.StatusBadRequest {
			t.Errorf("%s is answered %d", query, status)
		}
		if query == "?outcom=failed" {
			has(t, string(text), "q, project, integration, event, outcome, run")
		}
	}
	if status, _, _ := ask(t, http.MethodGet, w.admin+"/?done=1", nil); status != http.StatusOK {
		t.Errorf("the page is answered %d", status)
	}
}

func TestTheListNamesTheInstance(t *testing.T) {
	w := newWatched(t, nil, func(o *admin.Options) { o.Status.Instance = "ingress-7" })
	_, text, _ := ask(t, http.MethodGet, w.admin+"/api/deliveries", nil)
	has(t, string(text), `"instance":"ingress-7"`)
	has(t, w.page(t, ""), "Speaks for <b>ingress-7</b>")
}

// From accepted a row goes on.
func TestARowGoesOnToWhatBecameOfItsDelivery(t *testing.T) {
	ran := func(existing bool) journal.Known {
		return journal.Known{State: journal.Done, Runs: []journal.Ran{{Namespace: "default", WorkflowID: "page_on_call:sentry:k", RunID: "run-k", Existing: existing}}}
	}
	for name, tt := range map[string]struct {
		known   *journal.Known
		came    int // times
		outcome string
		says    []string
	}{
		"it is kept":                     {&journal.Known{State: journal.Pending, ID: 7}, 1, "accepted", nil},
		"its runs are started":           {new(ran(false)), 1, "started", []string{`href="http://ui/run-k"`}},
		"its runs were there":            {new(ran(true)), 1, "existing", []string{`href="http://ui/run-k"`}},
		"it has come again":              {new(ran(false)), 2, "existing", []string{`href="http://ui/run-k"`}},
		"it is parked":                   {&journal.Known{State: journal.Parked, ID: 7, Code: journal.TooLarge}, 1, "parked", []string{"too large for Temporal"}},
		"it is not there any more":       {nil, 1, "discarded", nil},
		"it has runs that are not there": {&journal.Known{State: journal.Done}, 1, "accepted", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, nil, func(o *admin.Options) {
				o.Status.Look = func(integration, key string) (journal.Known, bool) {
					if integration != "sentry" || key != "k" {
						t.Errorf("looked for %s of %s", key, integration)
					}
					if tt.known == nil {
						return journal.Known{}, false
					}
					return *tt.known, true
				}
				o.Status.URL = func(_, _, _, runID string) string { return "http://ui/" + runID }
			})
			for range tt.came {
				w.recent.Observe(t.Context(), web.Delivery{
					Time: time.Now(), Verified: true, RequestID: "k", Key: "k", Integration: "sentry", Event: "sentry.issue.created", Outcome: "accepted", Status: 202,
					Runs: []starter.Run{{Workflow: "page_on_call", WorkflowID: "page_on_call:sentry:k", Status: starter.Accepted, Namespace: "default"}},
				})
			}
			record := w.records(t, "")[0]
			if record.Outcome != tt.outcome || record.Answer != "accepted" {
				t.Errorf("the record is %+v", record)
			}
			if waits := tt.known != nil && tt.known.ID == record.DeliveryID; tt.known != nil && !waits {
				t.Errorf("in the journal it is %d", record.DeliveryID)
			}
			row := rows(w.page(t, ""))[0]
			has(t, row, append(tt.says, `<span class="badge `+tt.outcome+`">`)...)
			if tt.came == 2 {
				if first := w.records(t, "")[1]; first.Outcome != "started" {
					t.Errorf("the first one is %s", first.Outcome)
				}
			}
		})
	}
}

// One that could not be kept, or that nothing ran for then, does not make it the second.
func TestOneThatComesAgainAfterNothingCameOfItStartsItsRuns(t *testing.T) {
	for _, outcome := range []string{web.Failed, "ignored"} {
		w := newWatched(t, nil, lookAt(started("run-k")))
		w.recent.Observe(t.Context(), arrival(func(d *web.Delivery) { d.Outcome, d.Runs = outcome, nil }))
		w.recent.Observe(t.Context(), arrival())
		if got := w.records(t, ""); got[0].Outcome != "started" || got[1].Outcome != outcome {
			t.Errorf("the records are %+v", got)
		}
		if d := w.detail(t); d.Arrivals[0].Outcome != "started" || d.Outcome != "started" {
			t.Errorf("it is told as %+v", d)
		}
	}
}

// What was answered otherwise than accepted is final, and the journal is not asked.
func TestARowThatIsFinalStays(t *testing.T) {
	w := newWatched(t, nil, func(o *admin.Options) {
		o.Status.Look = func(string, string) (journal.Known, bool) {
			t.Error("the journal is asked")
			return journal.Known{}, false
		}
	})
	found(t, w)
	if got := w.records(t, ""); got[0].Outcome != web.Refused || got[1].Outcome != "existing" || got[2].Outcome != "started" {
		t.Errorf("the records are %+v", got)
	}
}

func TestARowShowsTheStateOfEachRun(t *testing.T) {
	now, old := time.Now(), time.Now().Add(-time.Minute)
	for name, tt := range map[string]struct {
		state  *admin.RunState
		says   []string
		status string
		aged   bool
	}{
		"running":                            {&admin.RunState{Status: admin.RunRunning, Asked: now}, []string{"run-running"}, admin.RunRunning, false},
		"not taken":                          {&admin.RunState{Status: admin.RunUntaken, Asked: now}, []string{"run-untaken"}, admin.RunUntaken, false},
		"stuck":                              {&admin.RunState{Status: admin.RunStuck, Reason: "no worker has PageOnCall <b>", Asked: now}, []string{"run-stuck", "no worker has PageOnCall &lt;b&gt;"}, admin.RunStuck, false},
		"completed":                          {&admin.RunState{Status: admin.RunCompleted, Asked: now}, []string{"run-completed"}, admin.RunCompleted, false},
		"completed, which stays":             {&admin.RunState{Status: admin.RunCompleted, Asked: old}, []string{"run-completed"}, admin.RunCompleted, false},
		"failed":                             {&admin.RunState{Status: admin.RunFailed, Reason: "ParseIssue: boom", Asked: now}, []string{"run-failed", "ParseIssue: boom"}, admin.RunFailed, false},
		"timed out":                          {&admin.RunState{Status: admin.RunTimedOut, Asked: now}, []string{">timed out<"}, admin.RunTimedOut, false},
		"running when it was asked long ago": {&admin.RunState{Status: admin.RunRunning, Asked: old}, []string{"run-running"}, admin.RunRunning, true},
		"not known":                          {nil, []string{"run-unknown"}, "unknown", false},
		"not known, and why":                 {&admin.RunState{Reason: "Temporal does not answer"}, []string{"run-unknown", "Temporal does not answer"}, "unknown", false},
		"one that has gone on as another": {
			&admin.RunState{Status: admin.RunRunning, RunID: "run-next", Asked: now}, []string{`href="http://ui/run-next"`}, admin.RunRunning, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			states := map[string]admin.RunState{}
			if tt.state != nil {
				states["run-a"] = *tt.state
			}
			w := newWatched(t, nil, withRuns(states), func(o *admin.Options) {
				o.Status.URL = func(_, _, _, runID string) string { return "http://ui/" + runID }
			})
			found(t, w)
			row := rows(w.page(t, "?q=aaaa1111"))[0]
			has(t, row, tt.says...)
			if strings.Contains(row, "as of") != tt.aged {
				t.Errorf("the age is there: %t, in %s", !tt.aged, row)
			}
			if got := w.records(t, "?run="+tt.status); !slices.ContainsFunc(got, func(d admin.DeliveryRecord) bool { return d.RequestID == "aaaa1111" }) {
				t.Errorf("it is not found by %s", tt.status)
			}
		})
	}
}

// A row is made once for all who look, until something changes.
func TestARowFollowsWhatChanges(t *testing.T) {
	states := map[string]admin.RunState{"run-a": {Status: admin.RunRunning, Asked: time.Now()}}
	known := journal.Known{State: journal.Pending, ID: 7}
	w := newWatched(t, nil, withRuns(states), func(o *admin.Options) {
		o.Status.Look = func(string, string) (journal.Known, bool) { return known, true }
		o.Status.RunProblems = func() []admin.NamespaceState {
			return []admin.NamespaceState{{Namespace: "default", Problem: "may not <list>"}}
		}
	})
	found(t, w)
	w.recent.Observe(t.Context(), web.Delivery{Time: time.Now(), Verified: true, RequestID: "k", Key: "k", Integration: "sentry", Event: "sentry.issue.created", Outcome: "accepted", Status: 202})
	shows := func(words ...string) {
		t.Helper()
		has(t, strings.Join(rows(w.page(t, "")), ""), words...)
	}
	shows("run-running", ">accepted<")
	known = journal.Known{State: journal.Parked, ID: 7, Code: journal.TooLarge}
	states["run-a"] = admin.RunState{Status: admin.RunFailed, Reason: "boom", Asked: time.Now()}
	shows("run-failed", "boom", ">parked<")
	states["run-a"] = admin.RunState{Status: admin.RunRunning, Asked: time.Now().Add(-time.Hour)}
	shows("as of")
	for i := range 450 { // those that are forgotten
		w.recent.Observe(t.Context(), web.Delivery{Time: time.Now(), Verified: true, RequestID: fmt.Sprint("later-", i), Integration: "sentry", Outcome: "refused"})
		if i%100 == 0 {
			shows(fmt.Sprint("later-", i))
		}
	}
	shows("later-449", "later-250")
	has(t, w.page(t, ""), "The state of runs in default is not known: may not &lt;list&gt;")
}

// Which workflows want something of the resource, of a delivery that none wants.
func TestARowThatIsIgnoredTellsWhatIsWanted(t *testing.T) {
	state := &routes.State{Routes: []routes.Route{
		{Workflow: "triage_issue", Events: []string{"sentry.issue.created", "sentry.issue.unresolved", "sentry.comment.created"}},
		{Workflow: "triage_issue", Events: []string{"sentry.issue.created"}, Projects: []string{"shop"}},
		{Workflow: "log_comment", Events: []string{"sentry.comment.created"}},
		{Workflow: "page", Events: []string{"sentry.issue.resolved"}},
	}}
	w := newWatched(t, nil, withRoutes(state))
	ignored := func(event string) (page string, record admin.DeliveryRecord) {
		w.recent.Observe(t.Context(), web.Delivery{Verified: true, Integration: "sentry", Event: event, Outcome: "ignored", Status: 202})
		return rows(w.page(t, ""))[0], w.records(t, "")[0]
	}
	page, record := ignored("sentry.issue.assigned")
	has(t, page, "no workflow wants the event", "triage_issue wants sentry.issue.created, sentry.issue.unresolved<", "page wants sentry.issue.resolved")
	if strings.Contains(page, "comment") || len(record.Wanted) != 2 || len(record.Wanted[0].Events) != 2 {
		t.Errorf("it wants %+v", record.Wanted)
	}
	if page, record := ignored("sentry.metric_alert.critical"); strings.Contains(page, " wants sentry") || record.Wanted != nil {
		t.Errorf("it wants %+v", record.Wanted)
	}
	for i := range 100 {
		state.Routes = append(state.Routes, routes.Route{Workflow: fmt.Sprint("w", i), Events: []string{"sentry.issue.created"}})
	}
	if _, record := ignored("sentry.issue.assigned"); len(record.Wanted) != 5 {
		t.Errorf("%d are told of", len(record.Wanted))
	}
}

func TestThePageSaysWhatItsWordsMean(t *testing.T) {
	page := newWatched(t, nil).page(t, "")
	_, legend, _ := strings.Cut(page, `<details class="legend"`)
	for _, word := range slices.Concat(admin.Outcomes, admin.RunStates) {
		has(t, legend, ">"+strings.ReplaceAll(word.Name, "_", " ")+"<", word.Text)
	}
}

func TestWhatIsSearchedForIsNoMarkup(t *testing.T) {
	w := newWatched(t, nil)
	evil := `"><script>alert(1)</script>`
	for _, name := range []string{"q", "project", "integration", "event", "outcome", "run"} {
		if page := w.page(t, "?"+name+"="+url.QueryEscape(evil)); strings.Contains(page, "<script>alert") {
			t.Errorf("%s is markup", name)
		}
	}
}
