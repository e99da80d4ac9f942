package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
)

// lookAt has the journal know of one delivery, with the key k.
func lookAt(known journal.Known) func(*admin.Options) {
	return func(o *admin.Options) {
		o.Status.Look = func(integration, key string) (journal.Known, bool) {
			return known, integration == "sentry" && key == "k"
		}
	}
}

func arrival(change ...func(*web.Delivery)) web.Delivery {
	d := web.Delivery{
		Time: time.Now(), Verified: true, RequestID: "k", Key: "k", Integration: "sentry", Event: "sentry.issue.created", Outcome: "accepted", Status: 202,
		Duration: 3 * time.Millisecond, Size: 4321, Headers: map[string]string{"request-id": "k", "user-agent": "sentry/1"},
		Subject: sentry.Subject{IssueID: "4711", ShortID: "SHOP-1A", Project: "shop", Level: "fatal", Title: "TypeError: x", URL: "https://sentry.example/issues/4711/"},
		Runs:    []starter.Run{{Workflow: "page_on_call", WorkflowID: "page_on_call:sentry:k", Status: starter.Accepted, Namespace: "default"}},
	}
	for _, f := range change {
		f(&d)
	}
	return d
}

func started(runs ...string) journal.Known {
	known := journal.Known{State: journal.Done}
	for _, id := range runs {
		known.Runs = append(known.Runs, journal.Ran{Namespace: "default", WorkflowID: "page_on_call:sentry:k", RunID: id})
	}
	return known
}

// detail is the answer of GET /api/deliveries/sentry/k.
func (w *watched) detail(t *testing.T) admin.DeliveryDetail {
	t.Helper()
	status, text, _ := ask(t, http.MethodGet, w.admin+"/api/deliveries/sentry/k", nil)
	var d admin.DeliveryDetail
	if err := json.Unmarshal(text, &d); err != nil || status != http.StatusOK {
		t.Fatalf("answered %d %s: %v", status, text, err)
	}
	return d
}

func TestADeliveryHasAPageOfItsOwn(t *testing.T) {
	closed := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	w := newWatched(t, nil, lookAt(started("run-k")), func(o *admin.Options) {
		o.Status.Instance = "ingress-7"
		o.Status.URL = func(_, _, _, runID string) string { return "http://ui/" + runID }
		o.Status.Describe = func(_ context.Context, of admin.RunOf) (admin.RunDetail, error) {
			if of != (admin.RunOf{Integration: "sentry", Namespace: "default", WorkflowID: "page_on_call:sentry:k", RunID: "run-k"}) {
				t.Errorf("asked about %+v", of)
			}
			return admin.RunDetail{
				RunState: admin.RunState{Status: admin.RunFailed, Reason: "boom", Asked: time.Now()}, TaskQueue: "urgent", Closed: closed, Result: `{"x":"<b>"}`,
				Failure: "PageOnCall: boom, at length", Events: 42,
				Pending: []admin.PendingActivity{{Activity: "PageOnCall", Attempt: 7, LastFailure: "no <route>"}},
			}, nil
		}
	})
	w.recent.Observe(t.Context(), arrival())
	w.recent.Observe(t.Context(), arrival(func(d *web.Delivery) { d.Headers = map[string]string{"user-agent": "proxy/2"} }))
	has(t, rows(w.page(t, ""))[0], `href="/deliveries/sentry/k"`)

	page := w.page(t, "deliveries/sentry/k")
	has(t, page,
		"Speaks for <b>ingress-7</b>", `<span class="badge started">started</span>`, "sentry.<wbr>issue.<wbr>created", "SHOP-1A", "4711", "TypeError: x", "shop", "fatal",
		`href="https://sentry.example/issues/4711/"`,
		`href="http://ui/run-k"`, "run-failed", "PageOnCall: boom, at length", "{&#34;x&#34;:&#34;&lt;b&gt;&#34;}", "urgent", "42", closed.Format("2006-01-02 15:04:05"),
		"PageOnCall, attempt 7", "no &lt;route&gt;", "page_on_call:sentry:k",
		"user-agent: sentry/1", "user-agent: proxy/2", "4.2 KiB", "3.0 ms", `href="/deliveries/sentry/k/body"`)
	d := w.detail(t)
	if d.Outcome != "started" || len(d.Arrivals) != 2 || d.Arrivals[0].Outcome != "existing" || d.Arrivals[1].Outcome != "started" ||
		d.Arrivals[1].Headers["user-agent"] != "sentry/1" || d.Kept != nil || d.Body != "/deliveries/sentry/k/body" || d.Instance != "ingress-7" {
		t.Errorf("it is told as %+v", d)
	}
	if len(d.Runs) != 1 || d.Runs[0].RunID != "run-k" || d.Runs[0].Namespace != "default" || d.Runs[0].Detail == nil || d.Runs[0].State.Status != admin.RunFailed {
		t.Errorf("its runs are %+v", d.Runs)
	}
}

// The ring forgets a delivery that the journal still knows.
func TestADeliveryThatIsForgottenHasAPageWhileTheJournalKnowsIt(t *testing.T) {
	parked := item{
		ID: 7, State: journal.Parked, Integration: "sentry", Event: "sentry.issue.created", Key: "k", ReasonCode: "too_large", Reason: "too large for Temporal",
		ShortID: "SHOP-1A", Title: "TypeError: x", Project: "shop", WorkflowIDs: []string{"page_on_call:sentry:k"},
	}
	pending := parked
	pending.State, pending.Reason, pending.ReasonCode = journal.Pending, "", ""
	for name, tt := range map[string]struct {
		known   journal.Known
		item    item
		outcome string
		says    []string
	}{
		"parked":  {journal.Known{State: journal.Parked, ID: 7}, parked, "parked", []string{"too large for Temporal", "SHOP-1A", "TypeError: x", `id="retry-7"`, `id="sure-7"`, "not started", "/body"}},
		"pending": {journal.Known{State: journal.Pending, ID: 7}, pending, "accepted", []string{"waits for Temporal", `id="park-7"`, "page_on_call", "not started", "/body"}},
		"started": {started("run-k"), item{}, "started", []string{"page_<wbr>on_<wbr>call", "run-k", "only its runs are remembered", "/body"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, nil, lookAt(tt.known), func(o *admin.Options) { o.Journal = &kept{items: []item{tt.item}} })
			has(t, w.page(t, "deliveries/sentry/k"), append(tt.says, `<span class="badge `+tt.outcome+`">`)...)
			d := w.detail(t)
			if d.Outcome != tt.outcome || len(d.Arrivals) != 0 || len(d.Runs) != 1 || (d.Kept != nil) != (tt.item.ID != 0) {
				t.Errorf("it is told as %+v", d)
			}
		})
	}
}

func TestADeliveryThatIsIgnoredHasAPageThatSaysWhy(t *testing.T) {
	w := newWatched(t, nil, withRoutes(&routes.State{Routes: []routes.Route{{Workflow: "page", Events: []string{"sentry.issue.resolved"}}}}))
	w.recent.Observe(t.Context(), arrival(func(d *web.Delivery) { d.Outcome, d.Runs = "ignored", nil }))
	has(t, w.page(t, "deliveries/sentry/k"), "ignored", "no workflow wants the event", "page wants sentry.issue.resolved", "It is not kept")
}

func TestADeliveryOfWhichNothingIsKnownIsSaidToBe(t *testing.T) {
	w := newWatched(t, nil, lookAt(started("run-k")))
	w.recent.Observe(t.Context(), arrival(func(d *web.Delivery) { d.Verified = false }))
	for _, path := range []string{"/deliveries/sentry/x", "/deliveries/mobile/k", "/deliveries/sentry/%3Cscript%3E"} {
		status, text, header := ask(t, http.MethodGet, w.admin+path, nil, browser)
		if status != http.StatusNotFound || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			t.Errorf("%s is answered %d %s", path, status, header.Get("Content-Type"))
		}
		has(t, string(text), "No such delivery", `href="/"`)
		if strings.Contains(string(text), "<script>alert") {
			t.Error("the key is markup")
		}
		for _, path := range []string{"/api" + path, path + "/body"} {
			if status, text, _ := ask(t, http.MethodGet, w.admin+path, nil); status != http.StatusNotFound || !json.Valid(text) {
				t.Errorf("%s is answered %d %s", path, status, text)
			}
		}
	}
}

func TestTheBodyOfADeliveryIsReadWhereItIs(t *testing.T) {
	envelope := func(key string) sentry.Envelope {
		return sentry.Envelope{IntegrationID: "sentry", IdempotencyKey: key, Body: `{"in":"temporal"}`}
	}
	inTemporal := func(env sentry.Envelope, err error) func(*admin.Options) {
		return func(o *admin.Options) {
			o.Status.Input = func(context.Context, admin.RunOf) (sentry.Envelope, error) { return env, err }
		}
	}
	for name, tt := range map[string]struct {
		known  journal.Known
		items  []item
		input  func(*admin.Options)
		status int
		says   string
		logged string
	}{
		"in the journal": {journal.Known{State: journal.Parked, ID: 7}, []item{{ID: 7, State: journal.Parked, Integration: "sentry"}}, nil, 200, "4711", "envelope read"},
		"in Temporal":    {started("run-k"), nil, inTemporal(envelope("k"), nil), 200, `{\"in\":\"temporal\"}`, "envelope read"},
		"in the journal a moment ago, and in Temporal by now": {
			journal.Known{State: journal.Pending, ID: 7}, nil, nil, 404, "neither here nor in Temporal", "",
		},
		"in a run that began with another delivery": {started("run-k"), nil, inTemporal(envelope("another"), nil), 404, "neither here nor in Temporal", ""},
		"in Temporal, which does not answer":        {started("run-k"), nil, inTemporal(envelope(""), errors.New("no answer\nwithin 2s")), 502, "no answer within 2s", "envelope not read"},
		"where nobody can ask":                      {started("run-k"), nil, nil, 404, "neither here nor in Temporal", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			changes := []func(*admin.Options){lookAt(tt.known), func(o *admin.Options) {
				o.Journal, o.Log = &kept{items: tt.items}, slog.New(slog.NewJSONHandler(&log, nil))
			}}
			if tt.input != nil {
				changes = append(changes, tt.input)
			}
			w := newWatched(t, nil, changes...)
			status, text, header := ask(t, http.MethodGet, w.admin+"/deliveries/sentry/k/body", nil)
			if status != tt.status || !strings.Contains(string(text), tt.says) {
				t.Errorf("answered %d %s", status, text)
			}
			if !strings.HasPrefix(header.Get("Content-Type"), "application/json") || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store" {
				t.Errorf("the headers are %v", header)
			}
			if tt.logged != "" {
				if found := lines(t, &log, tt.logged); len(found) != 1 || found[0]["integration"] != "sentry" || found[0]["idempotency_key"] != "k" {
					t.Errorf("the log has %s", &log)
				}
			}
			if strings.Contains(log.String(), "4711") || strings.Contains(log.String(), "in\\\":") {
				t.Error("the body is in the log")
			}
			if page := w.page(t, "deliveries/sentry/k"); strings.Contains(page, "installation") || strings.Contains(page, "temporal}") {
				t.Error("the body is on the page")
			}
		})
	}
}

func TestABodyThatTheJournalDoesNotReadIsNotSaidToBeInTemporal(t *testing.T) {
	var log bytes.Buffer
	w := newWatched(t, nil, lookAt(journal.Known{State: journal.Parked, ID: 7}), func(o *admin.Options) {
		o.Journal = &kept{items: []item{{ID: 7, State: journal.Parked, Integration: "sentry"}}, unreadable: errors.New("record is damaged")}
		o.Log = slog.New(slog.NewJSONHandler(&log, nil))
	})
	status, text, _ := ask(t, http.MethodGet, w.admin+"/deliveries/sentry/k/body", nil)
	if status != http.StatusInternalServerError || strings.Contains(string(text), "Temporal") || !strings.Contains(log.String(), "record is damaged") {
		t.Errorf("answered %d %s, and the log has %s", status, text, &log)
	}
}

// What was known a moment ago is shown with why it is not known now.
func TestALookAtADeliveryThatCannotBeAskedAboutShowsWhatIsKnownFromBefore(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		asked time.Time // of the description
		shows bool
	}{
		"a description":                         {now, true},
		"a description that is older than that": {now.Add(-time.Minute), false},
		"nothing":                               {time.Time{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, nil, lookAt(started("run-k")), func(o *admin.Options) {
				o.Status.Describe = func(context.Context, admin.RunOf) (admin.RunDetail, error) {
					return admin.RunDetail{RunState: admin.RunState{Status: admin.RunStuck, Asked: tt.asked}, TaskQueue: "urgent"}, admin.ErrAskedTooMuch
				}
				o.Status.Runs = func(of []admin.RunOf) map[admin.RunOf]admin.RunState {
					return map[admin.RunOf]admin.RunState{of[0]: {Status: admin.RunRunning, Asked: now.Add(-time.Second)}}
				}
			})
			want := map[bool]string{true: admin.RunStuck, false: admin.RunRunning}[tt.shows]
			d := w.detail(t)
			if d.Runs[0].Problem == "" || (d.Runs[0].Detail != nil) != tt.shows || d.Runs[0].State.Status != want {
				t.Errorf("its run is %+v", d.Runs[0])
			}
			has(t, w.page(t, "deliveries/sentry/k"), "try again in a few seconds", "run-"+want)
		})
	}
}

// One that is discarded on its page, and of which nothing is remembered, is said to be.
func TestADeliveryThatIsGoneSaysWhatWasDoneToIt(t *testing.T) {
	j := &kept{items: []item{{ID: 7, State: journal.Parked, Integration: "sentry", Key: "k", Reason: "because"}}}
	w := newWatched(t, nil, func(o *admin.Options) { o.Journal, o.Status.Journal, o.Status.Look = j, j.stats, j.Look })
	address := w.admin + "/deliveries/sentry/k"
	status, text, _ := ask(t, http.MethodPost, w.admin+"/journal/discard?id=7&state=parked", nil, browser, header("Sec-Fetch-Site", "same-origin"), header("Referer", address))
	if status != http.StatusNotFound || !strings.Contains(toldOn(string(text)), "1 discarded for good") {
		t.Errorf("answered %d %s", status, mainOf(string(text)))
	}
}

// What is parked is acted on where one looks at it.
func TestADeliveryIsActedOnFromItsPage(t *testing.T) {
	j := &kept{items: []item{{ID: 7, State: journal.Parked, Integration: "sentry", Key: "k", Reason: "because"}}}
	known := journal.Known{State: journal.Parked, ID: 7}
	w := newWatched(t, nil, func(o *admin.Options) {
		o.Journal, o.Status.Journal = j, j.stats
		o.Status.Look = func(string, string) (journal.Known, bool) { return known, true }
	})
	address := w.admin + "/deliveries/sentry/k"
	page := press(t, address, w.page(t, "deliveries/sentry/k"), "retry-7")
	if j.count(journal.Pending) != 1 || !strings.Contains(page, `<h2 id="h-delivery">Delivery</h2>`) {
		t.Errorf("kept is %+v, and the page\n%s", j.items, mainOf(page))
	}
	has(t, toldOn(page), "1 put back")
}

// However many runs a delivery has, a look at it asks about few.
func TestALookAtADeliveryAsksAboutFewRuns(t *testing.T) {
	var asked atomic.Int32
	known := journal.Known{State: journal.Done}
	for i := range 40 {
		known.Runs = append(known.Runs, journal.Ran{Namespace: "default", WorkflowID: fmt.Sprint("w", i, ":sentry:k"), RunID: fmt.Sprint("run-", i)})
	}
	all := make(chan struct{})
	w := newWatched(t, nil, lookAt(known), func(o *admin.Options) {
		o.Status.Describe = func(ctx context.Context, _ admin.RunOf) (admin.RunDetail, error) {
			if asked.Add(1) == 5 {
				close(all) // they are asked at the same time
			}
			select {
			case <-all:
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
				t.Error("one waits for another")
			}
			return admin.RunDetail{}, admin.ErrAskedTooMuch
		}
		o.Status.Runs = func(of []admin.RunOf) map[admin.RunOf]admin.RunState {
			return map[admin.RunOf]admin.RunState{of[39]: {Status: admin.RunStuck, Reason: "what is known anyhow", Asked: time.Now()}}
		}
	})
	page := w.page(t, "deliveries/sentry/k")
	if asked.Load() != 5 {
		t.Errorf("asked about %d", asked.Load())
	}
	has(t, page, "try again in a few seconds", "run-39", "what is known anyhow", "run-stuck")
}

func TestWhatSendersSayIsNoMarkupOnThePageOfADelivery(t *testing.T) {
	evil := `</style></script><script>alert(1)</script><img src=x onerror=alert(1)>"'`
	w := newWatched(t, nil, func(o *admin.Options) {
		o.Status.Look = func(string, string) (journal.Known, bool) { return started("run-k"), true }
		o.Status.Describe = func(context.Context, admin.RunOf) (admin.RunDetail, error) {
			return admin.RunDetail{
				RunState: admin.RunState{Status: evil, Reason: evil}, TaskQueue: evil, Result: evil, Failure: evil,
				Pending: []admin.PendingActivity{{Activity: evil, LastFailure: evil}},
			}, nil
		}
	})
	w.recent.Observe(t.Context(), arrival(func(d *web.Delivery) {
		d.Event, d.Reason, d.Hint, d.Headers, d.RequestID = evil, evil, evil, map[string]string{evil: evil}, evil
		d.Subject = sentry.Subject{IssueID: evil, ShortID: evil, Title: evil, URL: "javascript:alert(1)", Project: evil, Level: evil}
		d.Runs = []starter.Run{{Workflow: evil, WorkflowID: evil, URL: "javascript:alert(1)"}}
	}))
	page := w.page(t, "deliveries/sentry/k")
	for _, bad := range []string{"<script>alert", "<img", "javascript:"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is on the page", bad)
		}
	}
	if scripts := strings.Count(page, "<script"); scripts != 1 {
		t.Errorf("%d scripts", scripts)
	}
}
