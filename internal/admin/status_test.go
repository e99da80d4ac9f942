package admin_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/ingress"
	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/keyring"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
	"sentry-temporal/internal/web"
	"sentry-temporal/triage"
)

const (
	secret    = "3b9f0c62d4a8e71f5c20b6d9a4e8f7315b0c92d6e4a8f7013c5b9d2e6f8a1c47"
	oldSecret = "an-older-secret"
	requestID = "0123456789abcdef0123456789abcdef"
	issueBody = `{"action":"created","installation":{"uuid":"u"},"data":{"issue":{"id":"4711"}},"actor":{"type":"application","id":"sentry","name":"Sentry"}}`
)

// starts is an Inbox that starts a run for each delivery, or does what it is.
type starts func(context.Context, sentry.Envelope) ([]starter.Run, error)

func (s starts) Deliver(ctx context.Context, env sentry.Envelope, _ sentry.Delivery, _ time.Duration) (starter.Taken, error) {
	if s == nil {
		return starter.Taken{Key: env.IdempotencyKey, Runs: []starter.Run{{Workflow: "w", WorkflowID: "w:sentry:" + env.IdempotencyKey, RunID: "run", Status: starter.Started}}}, nil
	}
	runs, err := s(ctx, env)
	return starter.Taken{Key: env.IdempotencyKey, Runs: runs}, err
}

// watched is an ingress and the admin handler with the status page on it.
type watched struct {
	public string // address of the ingress
	admin  string // address of the admin handler
	recent *admin.Recent
	states []admin.NamespaceState
}

func newWatched(t *testing.T, s starts, change ...func(*admin.Options)) *watched {
	t.Helper()
	integrations := []config.Integration{
		{Name: "sentry", Secrets: []config.Secret{secret, oldSecret}, Namespace: "default", TaskQueue: "urgent"},
		{Name: "mobile", Secrets: []config.Secret{"the-secret-of-mobile"}, Namespace: "default", TaskQueue: "sentry"},
	}
	w := &watched{recent: admin.NewRecent(integrations), states: []admin.NamespaceState{{Namespace: "default", Status: admin.StatusOK, Asked: time.Now()}}}
	keys := keyring.New(integrations, "", slog.New(slog.DiscardHandler))
	public := httptest.NewServer(ingress.New(ingress.Options{
		Keyring:      keys,
		MaxBodyBytes: 64 << 10,
		Inbox:        s,
		Log:          slog.New(slog.DiscardHandler),
		Observers:    []func(context.Context, web.Delivery){w.recent.Observe},
	}))
	t.Cleanup(public.Close)
	w.public = public.URL
	run := func(workflow.Context, sentry.Envelope) (string, error) { return "", nil }
	planner := routes.NewPlanner([]triage.Workflow{triage.New("page_on_call", run, triage.On("sentry.issue.*", "sentry.error.created"))}, integrations, slog.New(slog.DiscardHandler))
	options := admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return w.states },
		UIURL:    "http://temporal.example:8233",
		Log:      slog.New(slog.DiscardHandler),
		Status: &admin.Status{
			Integrations: integrations,
			Routes:       planner.State,
			Recent:       w.recent,
			Journal:      func() journal.Stats { return journal.Stats{} },
			Secrets:      keys.States,
			WebhookURL:   "https://hooks.example.com/in",
		},
	}
	for _, f := range change {
		f(&options)
	}
	private := httptest.NewServer(admin.New(options))
	t.Cleanup(private.Close)
	w.admin = private.URL
	return w
}

// signed returns a request as Sentry sends it.
func (w *watched) signed(t *testing.T, integration, body string, change ...func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.public+"/webhooks/"+integration, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(sentry.HeaderRequestID, requestID)
	r.Header.Set(sentry.HeaderResource, "issue")
	r.Header.Set(sentry.HeaderSignature, sentry.Sign(secret, []byte(body)))
	for _, f := range change {
		f(r)
	}
	return r
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// deliver sends one delivery and waits until it can be seen.
func (w *watched) deliver(t *testing.T, r *http.Request) {
	t.Helper()
	seen := func() int {
		verified, unverified := w.remembered(t, "")
		return len(verified) + len(unverified)
	}
	before := seen()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	for seen() == before { // observers are told after the answer
		if t.Context().Err() != nil {
			t.Fatal("the delivery is not to be seen")
		}
	}
}

// records are those of verified deliveries.
func (w *watched) records(t *testing.T, query string) []admin.DeliveryRecord {
	t.Helper()
	verified, _ := w.remembered(t, query)
	return verified
}

func (w *watched) remembered(t *testing.T, query string) (verified, unverified []admin.DeliveryRecord) {
	t.Helper()
	status, text, _ := ask(t, http.MethodGet, w.admin+"/api/deliveries"+query, nil)
	var list struct{ Deliveries, Unverified []admin.DeliveryRecord }
	if err := json.Unmarshal(text, &list); err != nil || status != http.StatusOK {
		t.Fatalf("answered %d %s: %v", status, text, err)
	}
	return list.Deliveries, list.Unverified
}

func (w *watched) page(t *testing.T, query string) string {
	t.Helper()
	status, text, _ := ask(t, http.MethodGet, w.admin+"/"+query, nil)
	if status != http.StatusOK {
		t.Fatalf("answered %d %s", status, text)
	}
	return string(text)
}

// rows are the rows of the deliveries on a page.
func rows(page string) []string {
	_, table, _ := strings.Cut(page, `<tbody id="deliveries"`)
	table, _, _ = strings.Cut(table, "</tbody>")
	return regexp.MustCompile(`(?s)<tr id=.*?</tr>`).FindAllString(table, -1)
}

// mainOf leaves style and script out.
func mainOf(page string) string {
	if _, inside, ok := strings.Cut(page, "<main>"); ok {
		page, _, _ = strings.Cut(inside, "</main>")
	}
	return page
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, mainOf(text))
		}
	}
}

func runWith(status starter.Status) func(context.Context, sentry.Envelope) ([]starter.Run, error) {
	return func(_ context.Context, env sentry.Envelope) ([]starter.Run, error) {
		run := starter.Run{Workflow: "page_on_call", WorkflowID: "page_on_call:sentry:" + env.IdempotencyKey, Status: status}
		run.URL = "http://temporal.example:8233/namespaces/default/workflows/" + url.PathEscape(run.WorkflowID)
		return []starter.Run{run}, nil
	}
}

func TestThePageShowsWhatBecameOfEachDelivery(t *testing.T) {
	nothing := func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, nil }
	broken := func(context.Context, sentry.Envelope) ([]starter.Run, error) { return nil, errors.New("disk full") }
	link := `href="http://temporal.example:8233/namespaces/default/workflows/page_on_call:sentry:` + requestID + `"`
	for name, test := range map[string]struct {
		start func(context.Context, sentry.Envelope) ([]starter.Run, error)
		body  string
		shows []string
	}{
		"started":  {runWith(starter.Started), issueBody, []string{"started", "sentry.<wbr>issue.<wbr>created", "4711", requestID, link, "page_on_call"}},
		"existing": {runWith(starter.Existing), issueBody, []string{"existing", link}},
		"accepted": {runWith(starter.Accepted), issueBody, []string{"accepted", link}},
		"ignored":  {nothing, issueBody, []string{"ignored", "sentry.<wbr>issue.<wbr>created"}},
		"refused":  {nothing, "{}", []string{"refused", "400", "who else has the secret"}},
		"failed":   {broken, issueBody, []string{"failed", "500", "could not be kept", "see their state"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, test.start)
			w.deliver(t, w.signed(t, "sentry", test.body))
			shown := rows(w.page(t, ""))
			if len(shown) != 1 {
				t.Fatalf("%d rows", len(shown))
			}
			has(t, shown[0], test.shows...)
			record := w.records(t, "")[0]
			if record.Outcome != name || record.RequestID != requestID || record.Integration != "sentry" || record.Number != 1 ||
				time.Since(record.Time) > time.Minute || record.DurationMS <= 0 || record.Runs == nil {
				t.Errorf("the record is %+v", record)
			}
		})
	}
}

func TestDeliveriesAreFilteredByEventAndOutcome(t *testing.T) {
	w := newWatched(t, nil)
	comment := `{"action":"created","data":{"comment_id":1,"comment":"x","issue_id":2}}`
	w.deliver(t, w.signed(t, "sentry", issueBody))
	w.deliver(t, w.signed(t, "sentry", comment, header(sentry.HeaderResource, "comment")))
	w.deliver(t, w.signed(t, "sentry", "{}"))
	for query, want := range map[string]int{
		"": 3, "?event=&outcome=": 3, "?event=sentry.issue.created": 1, "?outcome=started": 2, "?outcome=refused": 1,
		"?event=sentry.issue.created&outcome=refused": 0, "?event=nothing": 0, "?outcome=nothing": 0,
	} {
		if got := len(rows(w.page(t, query))); got != want {
			t.Errorf("%s shows %d rows, want %d", query, got, want)
		}
		if got := len(w.records(t, query)); got != want {
			t.Errorf("%s gives %d records, want %d", query, got, want)
		}
	}
	page := w.page(t, "?event=sentry.comment.created&outcome=refused")
	has(t, page, `<option value="sentry.comment.created" selected>sentry.comment.created (0)</option>`, `value="refused" checked`, "None of the last 3 deliveries")
}

func TestOnlyTheLast200DeliveriesAreKept(t *testing.T) {
	w := newWatched(t, nil)
	for i := range 450 {
		w.recent.Observe(t.Context(), web.Delivery{Time: time.Now(), Verified: true, RequestID: fmt.Sprint(i), Integration: "sentry", Outcome: "started"})
	}
	records := w.records(t, "")
	if len(records) != 200 || records[0].RequestID != "449" || records[199].RequestID != "250" || records[0].Number != 450 {
		t.Errorf("%d are kept, from %+v to %+v", len(records), records[0], records[len(records)-1])
	}
}

func TestAFloodOfStrangersPushesNoDeliveryOut(t *testing.T) {
	w := newWatched(t, nil)
	w.deliver(t, w.signed(t, "sentry", issueBody))
	w.deliver(t, w.signed(t, "sentry", issueBody, header(sentry.HeaderSignature, "")))
	has(t, w.page(t, ""), "Not verified", "401", "Sentry-Hook-Signature is missing", "legacy WebHooks plugin")
	for i := range 450 {
		w.recent.Observe(t.Context(), web.Delivery{Time: time.Now(), RequestID: fmt.Sprint(i), Integration: "stranger", Outcome: web.Refused, Status: 404})
	}
	verified, unverified := w.remembered(t, "?outcome=started")
	if len(verified) != 1 || verified[0].Number != 1 || len(unverified) != 50 || unverified[0].RequestID != "449" {
		t.Errorf("%d are kept that are verified and %d others", len(verified), len(unverified))
	}
	if shown := rows(w.page(t, "")); len(shown) != 1 {
		t.Errorf("%d rows of verified deliveries", len(shown))
	}
}

func TestWhatIsKeptOfDeliveriesIsBounded(t *testing.T) {
	recent := admin.NewRecent([]config.Integration{{Name: "sentry"}})
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	for i := range 20_000 {
		d := web.Delivery{Integration: fmt.Sprint("unknown-", i), Outcome: web.Refused, Verified: i%100 == 0}
		if i%50 == 0 { // texts that are part of a large body
			body := strings.Repeat("x", 1<<20)
			d.Subject = sentry.Subject{IssueID: body[:5], ShortID: body, Project: body, Level: body, Title: body, Culprit: body, URL: body[:9], FirstSeen: body}
			d.RequestID, d.Event, d.Reason = body[:7], body, body
		}
		recent.Observe(t.Context(), d)
	}
	if grown := int64(used()) - int64(before); grown > 2<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	runtime.KeepAlive(recent)
}

func TestAnObserverTakesNoTime(t *testing.T) {
	recent := admin.NewRecent([]config.Integration{{Name: "sentry"}})
	d := web.Delivery{RequestID: requestID, Integration: "sentry", Event: "sentry.issue.created", Subject: sentry.Subject{IssueID: "1", Title: "t"}}
	if allocated := testing.AllocsPerRun(1000, func() { recent.Observe(t.Context(), d) }); allocated > 12 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestThePageShowsTheConfiguration(t *testing.T) {
	w := newWatched(t, nil)
	page := w.page(t, "")
	has(t, page,
		"https://hooks.example.com/in/webhooks/sentry", "https://hooks.example.com/in/webhooks/mobile", "urgent", "2 valid", "1 valid",
		`href="http://temporal.example:8233/namespaces/default/workflows"`, "page_<wbr>on_<wbr>call", "sentry.<wbr>issue.<wbr>*", "Answers", "none since the start",
		"No verified delivery has come since the start", "nothing waits for Temporal", "None")
	if strings.Contains(page, "PUBLIC_URL") {
		t.Error("the page asks for PUBLIC_URL, which is set")
	}
	w.deliver(t, w.signed(t, "mobile", issueBody, header(sentry.HeaderSignature, sentry.Sign("the-secret-of-mobile", []byte(issueBody)))))
	w.deliver(t, w.signed(t, "sentry", issueBody, header(sentry.HeaderSignature, "")))
	last := func(integration string) string {
		_, cell, _ := strings.Cut(w.page(t, ""), `<dd id="last-`+integration+`"`)
		cell, _, _ = strings.Cut(cell, "</dd>")
		return cell
	}
	if !strings.Contains(last("mobile"), "<time ") || strings.Contains(last("sentry"), "<time ") {
		t.Errorf("last deliveries: mobile %s, sentry (refused) %s", last("mobile"), last("sentry"))
	}
}

func TestThePageShowsThatSignaturesDoNotMatchAnyMore(t *testing.T) {
	w := newWatched(t, nil)
	w.deliver(t, w.signed(t, "sentry", issueBody))
	if page := w.page(t, ""); strings.Contains(page, "rotated in Sentry") {
		t.Error("the page speaks of a rotation when there is none")
	}
	w.deliver(t, w.signed(t, "sentry", issueBody, header(sentry.HeaderSignature, sentry.Sign("another", []byte(issueBody)))))
	has(t, w.page(t, ""), "Client Secret of sentry", "restart the ingress", "1 refused, 0 held")

	state := keyring.State{Integration: "sentry", Secrets: 2, FromFile: true, Mismatches: 40, Held: 30, Taken: 7, Dropped: 3, Problem: "open the file: no such file"}
	w = newWatched(t, nil, func(o *admin.Options) {
		o.Status.Secrets = func() []keyring.State { return []keyring.State{state, {Integration: "mobile"}} }
	})
	has(t, w.page(t, ""), "is taken then", "40 refused, 30 held, 7 taken, 3 dropped", "7 held deliveries taken", "open the file: no such file")
}

func TestWhatMayBeWrongIsOnThePage(t *testing.T) {
	w := newWatched(t, nil, func(o *admin.Options) {
		o.Status.Warnings = []config.Problem{{Variable: "SENTRY_CLIENT_SECRETS", Text: "is not read <b>"}}
	})
	has(t, w.page(t, ""), "<code>SENTRY_CLIENT_SECRETS</code> is not read &lt;b&gt;")
}

func TestAGuessedWebhookURLIsCalledThat(t *testing.T) {
	w := newWatched(t, nil, func(o *admin.Options) { o.Status.Guessed = true })
	has(t, w.page(t, ""), "PUBLIC_URL")
}

func TestThePageShowsTheStateOfTemporalForEachNamespace(t *testing.T) {
	w := newWatched(t, nil)
	has(t, w.page(t, ""), "Answers")
	now := time.Now()
	ok := admin.NamespaceState{Namespace: "default", Status: admin.StatusOK, Asked: now}
	for name, tt := range map[string]struct {
		states []admin.NamespaceState
		says   []string
	}{
		"before the first answer": {[]admin.NamespaceState{{Namespace: "default", Status: admin.StatusUnknown}}, []string{`class="tile unknown"`, "Is being asked"}},
		"one that is away": {
			[]admin.NamespaceState{ok, {Connection: "eu", Namespace: "mobile", Status: admin.StatusUnreachable, Problem: "connection refused", Asked: now}},
			[]string{`class="tile bad"`, "Well for 1 of 2 namespaces", "eu, mobile: does not answer", "connection refused"},
		},
		"the only one that is away": {[]admin.NamespaceState{{Namespace: "default", Status: admin.StatusUnreachable, Problem: "connection refused", Asked: now}}, []string{"Does not answer"}},
		"one that there is not": {
			[]admin.NamespaceState{{Namespace: "default", Status: admin.StatusRefused, Problem: "namespace is not found", Asked: now}},
			[]string{`class="tile bad"`, "<strong>Refuses</strong>", "namespace is not found"},
		},
		"an answer of long ago": {
			[]admin.NamespaceState{{Namespace: "default", Status: admin.StatusOK, Asked: now.Add(-time.Minute)}}, []string{`class="tile unknown"`, "Not known", "asked 1 min ago"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.states = tt.states
			_, tiles, _ := strings.Cut(w.page(t, ""), `<dl id="state"`)
			tiles, _, _ = strings.Cut(tiles, "</dl>")
			has(t, tiles, tt.says...)
		})
	}
}

// All that can be red is: the page says what GET /api/state does.
func TestEachTileSaysHowItIs(t *testing.T) {
	now := time.Now()
	w := newWatched(t, nil, func(o *admin.Options) {
		o.Status.Queues = func() []admin.QueueState {
			return []admin.QueueState{{
				Namespace: "default", TaskQueue: "urgent", Asked: now,
				Workflow: admin.KindState{Counted: true, Backlog: 3, BacklogAgeSeconds: 9, LastPoll: now.Add(-3 * time.Minute), Since: now.Add(-time.Hour)},
			}}
		}
		o.Status.JournalReady = func() error { return journal.ErrFull }
		o.Status.Journal = func() journal.Stats { return journal.Stats{Pending: 7, Parked: 2, OldestAge: time.Minute} }
	})
	page := w.page(t, "")
	for _, tile := range [][]string{
		{"Workers", "bad", "3 runs wait and no worker polls", "default, urgent: the last one did 3 min ago"},
		{"Journal", "bad", "Full", "7 pending", `href="#h-pending"`},
		{"Parked", "bad", "2", `href="#h-parked"`},
		{"Last delivery", "unknown", "None since the start", "sentry: none since the start", "mobile: none since the start"},
	} {
		before, after, ok := strings.Cut(page, "<dt>"+tile[0]+"</dt>")
		if !ok || !strings.HasSuffix(strings.TrimSpace(before), `<div class="tile `+tile[1]+`">`) {
			t.Errorf("there is no tile %s that is %s", tile[0], tile[1])
		}
		after, _, _ = strings.Cut(after, "</div>")
		has(t, after, tile[2:]...)
	}
	w.deliver(t, w.signed(t, "sentry", issueBody))
	has(t, w.page(t, ""), " s ago", "mobile: none since the start")
}

func TestThePageShowsWhatIsParkedAndPutsItBackOrDiscardsIt(t *testing.T) {
	kept := &kept{items: []item{
		{ID: 7, State: journal.Parked, Integration: "mobile", Event: "sentry.error.created", ReasonCode: "too_large", Reason: "too large for Temporal",
			ShortID: "MOBILE-1A", Title: "TypeError: x is undefined", RequestID: requestID},
		{ID: 8, State: journal.Parked, ReasonCode: "damaged", Reason: "cannot be read"},
		{ID: 9, State: journal.Parked, Event: "sentry.issue.created", IssueID: "4711"},
		{ID: 10, State: journal.Pending},
	}}
	w := newWatched(t, nil, func(o *admin.Options) { o.Journal, o.Status.Journal = kept, kept.stats })
	page := w.page(t, "")
	has(t, page, "<strong>3</strong>", "1 pending", "too large for Temporal", "too_large", "MOBILE-1A", "TypeError: x is undefined", requestID, "4711", `href="/journal/7"`)
	if strings.Contains(page, `id="retry-8"`) {
		t.Error("what is damaged is offered to be put back")
	}
	for _, form := range []struct{ button, says string }{
		{"retry-9", "2 pending"}, {"sure-7", "<strong>1</strong>"}, {"sure-8", "<strong>None</strong>"},
	} {
		before, _, _ := strings.Cut(page, `<button id="`+form.button+`"`)
		action, _, _ := strings.Cut(before[strings.LastIndex(before, `action="`)+len(`action="`):], `"`)
		status, text, _ := ask(t, http.MethodPost, w.admin+html.UnescapeString(action), nil, browser, header("Sec-Fetch-Site", "same-origin"))
		if status != http.StatusOK || !strings.Contains(string(text), "<!doctype html>") { // where the redirect leads
			t.Fatalf("%s answered %d %s", action, status, text)
		}
		has(t, string(text), form.says)
	}
	kept.items = []item{{ID: 1, State: journal.Parked}, {ID: 2, State: journal.Parked}}
	has(t, w.page(t, ""), `action="/journal/retry?all=true"`)
	ask(t, http.MethodPost, w.admin+"/journal/retry?all=true", nil, browser)
	has(t, w.page(t, ""), "2 pending", "<strong>None</strong>")
}

func browser(r *http.Request) { r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8") }

func TestWhatSendersSayIsNoMarkup(t *testing.T) {
	w := newWatched(t, nil)
	evil := `</style></script></title><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "`{{.}}"
	for _, verified := range []bool{true, false} {
		w.recent.Observe(t.Context(), web.Delivery{
			Time: time.Now(), Verified: verified, RequestID: evil, Integration: evil, Event: evil, Reason: evil, Hint: evil, Outcome: "refused", Status: 400,
			Subject: sentry.Subject{IssueID: evil, ShortID: evil, Title: evil, URL: "javascript:alert(1)"},
			Runs:    []starter.Run{{Workflow: evil, WorkflowID: evil, URL: "javascript:alert(1)//" + evil}},
		})
	}
	for _, query := range []string{"", "?event=" + url.QueryEscape(evil) + "&outcome=" + url.QueryEscape(evil)} {
		page := w.page(t, query)
		for _, bad := range []string{"<script>alert", "<img", "javascript:", `"'` + "`"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: %q is on the page", query, bad)
			}
		}
		if scripts := strings.Count(page, "<script"); scripts != 1 {
			t.Errorf("%d scripts", scripts)
		}
	}
}

func TestThePageMayLoadAndRunNothingElse(t *testing.T) {
	w := newWatched(t, nil)
	status, text, header := ask(t, http.MethodGet, w.admin+"/", nil)
	if status != http.StatusOK || header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("answered %d %s", status, header.Get("Content-Type"))
	}
	policy := header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "connect-src 'self'"} {
		if !slices.Contains(strings.Split(policy, "; "), part) {
			t.Errorf("%s is not in %s", part, policy)
		}
	}
	for _, element := range []string{"style", "script"} {
		_, inside, _ := strings.Cut(string(text), "<"+element+">")
		inside, _, _ = strings.Cut(inside, "</"+element+">")
		sum := sha256.Sum256([]byte(inside))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want+";") || inside == "" {
			t.Errorf("%s is not in %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || regexp.MustCompile(`\s(on\w+|style)=`).Match(text) {
		t.Error("something inline is on the page, or allowed")
	}
	for _, path := range []string{"/", "/api/deliveries", "/api/state"} {
		_, _, header := ask(t, http.MethodGet, w.admin+path, nil)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
}

func TestThePageAnswersOnlyToItsOwnNames(t *testing.T) {
	w := newWatched(t, nil)
	for _, path := range []string{"/", "/api/deliveries", "/api/state"} {
		status, text, _ := ask(t, http.MethodGet, w.admin+path, nil, func(r *http.Request) { r.Host = "rebound.evil.example" })
		if status != http.StatusForbidden {
			t.Errorf("%s answered %d %s", path, status, text)
		}
		if status, _, _ := ask(t, http.MethodPost, w.admin+path, nil, header("Origin", "https://evil.example")); status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s answered %d", path, status)
		}
	}
}

func TestNoSecretSignatureOrBodyIsOnThePage(t *testing.T) {
	w := newWatched(t, nil)
	body := strings.Replace(issueBody, "4711", `4711","culprit":"in-the-body-only","x":"y`, 1)
	wrong := sentry.Sign("another", []byte(body))
	w.deliver(t, w.signed(t, "sentry", body))
	w.deliver(t, w.signed(t, "sentry", body, header(sentry.HeaderSignature, wrong)))
	for _, path := range []string{"/", "/api/deliveries", "/api/state"} {
		_, text, _ := ask(t, http.MethodGet, w.admin+path, nil)
		for _, hidden := range []string{secret, oldSecret, "the-secret-of-mobile", sentry.Sign(secret, []byte(body)), wrong, "in-the-body-only", "installation"} {
			if strings.Contains(string(text), hidden) {
				t.Errorf("%s has %q", path, hidden)
			}
		}
	}
}

func TestTheAdminHandlerHasNoPageUnlessItIsGivenOne(t *testing.T) {
	url, _ := adminServer(t)
	if status, _, _ := ask(t, http.MethodGet, url+"/", io.NopCloser(strings.NewReader(""))); status != http.StatusNotFound {
		t.Errorf("answered %d", status)
	}
}
