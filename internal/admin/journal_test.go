package admin_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sentry-temporal/internal/admin"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/starter"
)

type item = journal.Item

// kept is a journal in memory.
type kept struct {
	items  []item
	asked  []journal.Filter // by changes
	listed int              // how often
	broken error

	unreadable error // of exports
}

func means(f journal.Filter, i item) bool {
	return f.State == i.State && (len(f.IDs) == 0 || slices.Contains(f.IDs, i.ID)) &&
		(f.Integration == "" || f.Integration == i.Integration) && (f.Event == "" || f.Event == i.Event) && (f.Project == "" || f.Project == i.Project) &&
		(f.Reason == "" || f.Reason == string(i.ReasonCode) || strings.Contains(i.Reason, f.Reason)) &&
		(f.OlderThan == 0 || time.Since(i.Received) >= f.OlderThan)
}

func (k *kept) List(f journal.Filter, after uint64, limit int) ([]item, error) {
	k.listed++
	var list []item
	for _, i := range k.items {
		if means(f, i) && i.ID > after && len(list) < limit {
			list = append(list, i)
		}
	}
	return list, k.broken
}

func (k *kept) Export(id uint64) (sentry.Envelope, error) {
	for _, i := range k.items {
		if i.ID == id {
			return sentry.NewEnvelope(i.Integration, i.Event, http.Header{}, []byte(issueBody), i.Received), cmp.Or(k.broken, k.unreadable)
		}
	}
	return sentry.Envelope{}, fmt.Errorf("export delivery %d: %w", id, journal.ErrNotFound)
}

// change gives what f means the state, or with "" deletes it. A broken one
// changes one delivery.
func (k *kept) change(ctx context.Context, f journal.Filter, state journal.State) (n int, err error) {
	k.asked = append(k.asked, f)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	var left []item
	for _, i := range k.items {
		if means(f, i) && (k.broken == nil || n == 0) {
			n++
			if i.State = state; state == "" {
				continue
			}
		}
		left = append(left, i)
	}
	k.items = left
	return n, k.broken
}

func (k *kept) Park(ctx context.Context, f journal.Filter) (int, error) {
	return k.change(ctx, f, journal.Parked)
}

func (k *kept) PutBack(ctx context.Context, f journal.Filter) (int, error) {
	return k.change(ctx, f, journal.Pending)
}

func (k *kept) Look(integration, key string) (journal.Known, bool) {
	for _, i := range k.items {
		if i.Integration == integration && i.Key == key && key != "" {
			return journal.Known{State: i.State, ID: i.ID, Code: i.ReasonCode}, true
		}
	}
	return journal.Known{}, false
}

func (k *kept) Discard(ctx context.Context, f journal.Filter) (int, error) {
	return k.change(ctx, f, "")
}

func (k *kept) count(state journal.State) int {
	n := 0
	for _, i := range k.items {
		if i.State == state {
			n++
		}
	}
	return n
}

func (k *kept) stats() journal.Stats {
	return journal.Stats{Pending: k.count(journal.Pending), Parked: k.count(journal.Parked)}
}

// adminServer is the admin handler of an ingress that has kept the items.
func adminServer(t *testing.T, items ...item) (url string, j *kept) {
	t.Helper()
	j = &kept{items: items}
	s := httptest.NewServer(admin.New(admin.Options{
		Ready:    func() error { return nil },
		Temporal: func() []admin.NamespaceState { return nil },
		Journal:  j,
		Decode:   starter.DecodeWithin,
		UIURL:    "http://127.0.0.1:8233",
		Log:      slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(s.Close)
	return s.URL, j
}

// some are six deliveries, of which the first three are parked.
func some() []item {
	long := time.Now().Add(-2 * time.Hour)
	return []item{
		{ID: 1, State: journal.Parked, Integration: "mobile", Event: "sentry.issue.created", Project: "app", ReasonCode: "refused", Reason: "namespace not found", Received: long},
		{
			ID: 2, State: journal.Parked, Integration: "mobile", Event: "sentry.error.created", Project: "app", ReasonCode: "too_large", Reason: "too large for Temporal",
			Received: time.Now(), ParkedAt: time.Now(), Namespaces: []string{"default"}, IssueID: "4711", ShortID: "APP-1A", Title: "TypeError", RequestID: requestID,
			Key: requestID, WorkflowIDs: []string{"w:mobile:" + requestID}, Size: 77,
		},
		{ID: 3, State: journal.Parked, ReasonCode: "damaged", Reason: "cannot be read", ParkedAt: time.Now()},
		{ID: 4, State: journal.Pending, Integration: "mobile", Event: "sentry.issue.created", Project: "app", Received: long},
		{ID: 5, State: journal.Pending, Integration: "mobile", Event: "sentry.issue.created", Project: "web", Received: time.Now()},
		{ID: 6, State: journal.Pending, Integration: "backend", Event: "sentry.error.created", Project: "web", Received: time.Now()},
	}
}

type keptList struct {
	Deliveries []map[string]any
	Next       uint64
}

func listKept(t *testing.T, url string) (ids string, list keptList) {
	t.Helper()
	status, text, _ := ask(t, http.MethodGet, url, nil)
	if err := json.Unmarshal(text, &list); err != nil || status != http.StatusOK {
		t.Fatalf("%s answered %d %s: %v", url, status, text, err)
	}
	for _, d := range list.Deliveries {
		ids += fmt.Sprint(d["id"])
	}
	return ids, list
}

func TestTheJournalIsListedByWhatItsDeliveriesAre(t *testing.T) {
	at, _ := adminServer(t, some()...)
	for query, want := range map[string]string{
		"": "123", "?state=parked": "123", "?state=pending": "456",
		"?integration=mobile": "12", "?event=sentry.error.created": "2", "?state=pending&project=web": "56", "?older_than=1h": "13", "?id=3&id=1&id=4": "13",
		"?reason=too_large": "2", "?reason=namespace": "1", "?state=pending&integration=mobile&project=web": "5", "?project=none": "",
	} {
		if got, _ := listKept(t, at+"/journal"+query); got != want {
			t.Errorf("%s lists %s, want %s", query, got, want)
		}
	}
}

func TestADeliveryOfTheJournalIsDescribedWithoutItsBody(t *testing.T) {
	at, _ := adminServer(t, some()...)
	_, list := listKept(t, at+"/journal?id=2")
	for name, want := range map[string]string{
		"state": "parked", "integration": "mobile", "event": "sentry.error.created", "project": "app", "reason_code": "too_large", "reason": "too large for Temporal",
		"namespaces": "[default]", "issue_id": "4711", "short_id": "APP-1A", "title": "TypeError", "request_id": requestID, "idempotency_key": requestID,
		"workflow_ids": "[w:mobile:" + requestID + "]", "size": "77",
	} {
		if got := fmt.Sprint(list.Deliveries[0][name]); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	_, damaged := listKept(t, at+"/journal?id=3")
	if d := damaged.Deliveries[0]; d["received"] != nil || fmt.Sprint(d["workflow_ids"], d["namespaces"]) != "[] []" {
		t.Errorf("damaged is %v", d)
	}
}

func TestALongListComesInPages(t *testing.T) {
	var items []item
	for id := range uint64(250) {
		items = append(items, item{ID: id + 1, State: journal.Parked})
	}
	at, _ := adminServer(t, items...)
	seen, after := 0, uint64(0)
	for page := range 3 {
		_, list := listKept(t, fmt.Sprintf("%s/journal?after=%d", at, after))
		seen += len(list.Deliveries)
		after = list.Next
		if (after == 0) != (page == 2) {
			t.Errorf("page %d: next is %d", page, after)
		}
	}
	if seen != 250 {
		t.Errorf("%d were listed", seen)
	}
	if _, list := listKept(t, at+"/journal?limit=250"); len(list.Deliveries) != 250 || list.Next != 0 {
		t.Errorf("%d at once, next %d", len(list.Deliveries), list.Next)
	}
}

func TestADeliveryOfTheJournalIsExported(t *testing.T) {
	at, _ := adminServer(t, some()...)
	for _, id := range []string{"2", "5"} { // parked, pending
		status, text, _ := ask(t, http.MethodGet, at+"/journal/"+id, nil)
		var env sentry.Envelope
		if err := json.Unmarshal(text, &env); err != nil || status != http.StatusOK || string(env.Body) != issueBody {
			t.Errorf("%s answered %d %s", id, status, text)
		}
	}
	for _, id := range []string{"0", "999", "x", "-1"} {
		if status, _, _ := ask(t, http.MethodGet, at+"/journal/"+id, nil); status != http.StatusNotFound {
			t.Errorf("%s answered %d", id, status)
		}
	}
}

func TestEnvelopesAreExportedALineForEach(t *testing.T) {
	for query, want := range map[string]struct {
		events        string
		next, damaged string
	}{
		"":                                    {"issue.created error.created", "", "1"},
		"?state=pending":                      {"issue.created issue.created error.created", "", "0"},
		"?state=pending&limit=2":              {"issue.created issue.created", "5", "0"},
		"?state=pending&limit=2&after=5":      {"error.created", "", "0"},
		"?integration=mobile&reason=refused":  {"issue.created", "", "0"},
		"?id=3":                               {"", "", "1"},
		"?project=none":                       {"", "", "0"},
		"?event=sentry.error.created&limit=1": {"error.created", "", "0"},
	} {
		at, _ := adminServer(t, some()...)
		status, text, header := ask(t, http.MethodGet, at+"/journal/export"+query, nil)
		var events []string
		for line := range strings.Lines(string(text)) {
			var env sentry.Envelope
			if err := json.Unmarshal([]byte(line), &env); err != nil || string(env.Body) != issueBody {
				t.Errorf("%s: a line is %s: %v", query, line, err)
			}
			events = append(events, strings.TrimPrefix(env.EventType, "sentry."))
		}
		if got := strings.Join(events, " "); status != http.StatusOK || got != want.events ||
			header.Get(admin.HeaderNext) != want.next || header.Get(admin.HeaderDamaged) != want.damaged {
			t.Errorf("%s answered %d %s, %v", query, status, text, header)
		}
		if header.Get("Content-Type") != "application/x-ndjson" || !strings.HasPrefix(header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: the header is %v", query, header)
		}
	}
	at, _ := adminServer(t, some()...)
	for _, query := range []string{"?sate=pending", "?limit=1001", "?limit=0", "?state=done", "?older_than=7d", "?after=x", "?all=true"} {
		if status, text, _ := ask(t, http.MethodGet, at+"/journal/export"+query, nil); status != http.StatusBadRequest {
			t.Errorf("%s answered %d %s", query, status, text)
		}
	}
}

// going is a journal of which some deliveries are not to be had, with this error.
type going struct {
	*kept
	gone  map[uint64]bool
	error error
}

func (g going) Export(id uint64) (sentry.Envelope, error) {
	if g.gone[id] {
		return sentry.Envelope{}, g.error
	}
	return g.kept.Export(id)
}

func TestAnExportPassesOverWhatIsGoneByThenAndBreaksOffWhenItCannotGoOn(t *testing.T) {
	for name, test := range map[string]struct {
		error error
		whole bool
	}{
		"gone":   {fmt.Errorf("export: %w", journal.ErrNotFound), true},
		"broken": {errors.New("disk full of secrets"), false},
	} {
		t.Run(name, func(t *testing.T) {
			j := going{&kept{items: some()}, map[uint64]bool{5: true}, test.error}
			s := httptest.NewServer(admin.New(admin.Options{Journal: j, Log: slog.New(slog.DiscardHandler)}))
			defer s.Close()
			response, err := http.Get(s.URL + "/journal/export?state=pending")
			var text []byte
			if err == nil {
				defer response.Body.Close()
				text, err = io.ReadAll(response.Body)
			}
			if (err == nil) != test.whole || test.whole && strings.Count(string(text), "\n") != 2 || strings.Contains(string(text), "secrets") {
				t.Errorf("%v: %s", err, text)
			}
		})
	}
}

func TestWhatIsPutBackUnderAnotherNumberSaysWhich(t *testing.T) {
	for request, want := range map[string]string{
		"retry?all=true":                   `{"retried":3}`,
		"retry?reason=too_large":           `{"retried":1}`,
		"park?id=4":                        `{"parked":1}`,
		"discard?all=true":                 `{"discarded":3}`,
		"retry?id=1&integration=unlike-it": `{"error":"no parked delivery is like this"}`,
	} {
		at, _ := adminServer(t, some()...)
		if _, text, _ := ask(t, http.MethodPost, at+"/journal/"+request, nil); strings.TrimSpace(string(text)) != want {
			t.Errorf("%s answered %s", request, text)
		}
	}
}

func TestDeliveriesAreParkedPutBackAndDiscarded(t *testing.T) {
	for request, test := range map[string]struct{ answer, parked, pending string }{
		"park?id=4":                          {`{"parked":1}`, "1234", "56"},
		"park?integration=mobile":            {`{"parked":2}`, "12345", "6"},
		"park?all=true":                      {`{"parked":3}`, "123456", ""},
		"park?older_than=1h":                 {`{"parked":1}`, "1234", "56"},
		"park?integration=none":              {`{"parked":0}`, "123", "456"},
		"retry?id=1&id=2":                    {`{"retried":2}`, "3", "12456"},
		"retry?reason=too_large":             {`{"retried":1}`, "13", "2456"},
		"retry?all=true":                     {`{"retried":3}`, "", "123456"},
		"discard?id=1":                       {`{"discarded":1}`, "23", "456"},
		"discard?event=sentry.error.created": {`{"discarded":1}`, "13", "456"},
		"discard?all=true":                   {`{"discarded":3}`, "", "456"},
		"discard?all=true&state=pending":     {`{"discarded":3}`, "123", ""},
		"discard?state=pending&project=web&older_than=1ns": {`{"discarded":2}`, "123", "4"},
	} {
		t.Run(request, func(t *testing.T) {
			at, _ := adminServer(t, some()...)
			status, text, _ := ask(t, http.MethodPost, at+"/journal/"+request, nil)
			if status != http.StatusOK || strings.TrimSpace(string(text)) != test.answer {
				t.Errorf("answered %d %s", status, text)
			}
			parked, _ := listKept(t, at+"/journal")
			pending, _ := listKept(t, at+"/journal?state=pending")
			if parked != test.parked || pending != test.pending {
				t.Errorf("parked are %s, pending %s", parked, pending)
			}
		})
	}
}

// What is missing, misspelt or lost on the way must not reach more deliveries
// than were meant.
func TestAChangeThatDoesNotSayClearlyWhatItMeansIsRefused(t *testing.T) {
	for name, request := range map[string]string{
		"nothing said":             "discard",
		"only a state":             "discard?state=pending",
		"a parameter misspelt":     "discard?integration=mobile&evnet=sentry.error.created",
		"a parameter left empty":   "discard?integration=&event=sentry.error.created",
		"a parameter malformed":    "discard?integration=mobile&event=%zz",
		"a parameter twice":        "discard?integration=mobile&integration=backend",
		"all and a filter":         "discard?all=true&integration=mobile",
		"not quite all":            "discard?all=yes",
		"all denied":               "discard?all=false&integration=mobile",
		"another state":            "discard?state=all&id=1",
		"an id that is none":       "discard?id=1&id=x",
		"no duration":              "discard?older_than=7d",
		"a duration backwards":     "discard?older_than=-1h",
		"a page, as of a list":     "discard?integration=mobile&limit=1",
		"pending ones by a reason": "discard?state=pending&reason=refused",
		"parking by a reason":      "park?reason=refused",
		"parking what is parked":   "park?state=parked&id=1",
		"retrying what is pending": "retry?state=pending&id=4",
		"a list of anything":       "?sate=pending",
		"a list of too many":       "?limit=1001",
		"a list of none":           "?limit=0",
		"a list from nowhere":      "?after=x",
	} {
		t.Run(name, func(t *testing.T) {
			at, j := adminServer(t, some()...)
			method := http.MethodPost
			if strings.HasPrefix(request, "?") {
				method, request = http.MethodGet, "/journal"+request
			} else {
				request = "/journal/" + request
			}
			status, text, _ := ask(t, method, at+request, nil)
			if status != http.StatusBadRequest || !strings.Contains(string(text), "error") || len(j.asked) > 0 {
				t.Errorf("answered %d %s, done is %+v", status, text, j.asked)
			}
		})
	}
	t.Run("a filter in a body", func(t *testing.T) {
		for contentType, taken := range map[string]bool{"application/json": false, "multipart/form-data; boundary=x": false, "application/x-www-form-urlencoded": true} {
			at, j := adminServer(t, some()...)
			body := strings.NewReader(url.Values{"event": {"sentry.error.created"}}.Encode())
			status, text, _ := ask(t, http.MethodPost, at+"/journal/discard?integration=mobile", body, header("Content-Type", contentType))
			if (status == http.StatusOK) != taken || taken && j.count(journal.Parked) != 2 || !taken && len(j.asked) > 0 {
				t.Errorf("%s: answered %d %s, done is %+v", contentType, status, text, j.asked)
			}
		}
	})
}

func TestWhatIsNotInTheJournalCannotBeChanged(t *testing.T) {
	at, _ := adminServer(t, some()...)
	for _, request := range []string{"park?id=1", "retry?id=4", "discard?id=4", "discard?id=1&state=pending", "discard?id=999"} { // in the other state, or in none
		if status, text, _ := ask(t, http.MethodPost, at+"/journal/"+request, nil); status != http.StatusNotFound {
			t.Errorf("%s answered %d %s", request, status, text)
		}
	}
}

func TestAChangeThatFailsHalfWaySaysHowFarItCame(t *testing.T) {
	at, j := adminServer(t, some()...)
	j.broken = errors.New("disk full of secrets")
	status, text, _ := ask(t, http.MethodPost, at+"/journal/retry?all=true", nil)
	var answer struct {
		Error   string
		Retried int
	}
	if err := json.Unmarshal(text, &answer); err != nil || status != http.StatusInternalServerError || answer.Error == "" || answer.Retried != 1 || strings.Contains(string(text), "secrets") {
		t.Errorf("answered %d %s", status, text)
	}
	for _, path := range []string{"/journal", "/journal/1"} {
		if status, text, _ := ask(t, http.MethodGet, at+path, nil); status != http.StatusInternalServerError || strings.Contains(string(text), "secrets") {
			t.Errorf("%s answered %d %s", path, status, text)
		}
	}
}

func TestAChangeGoesOnWhenWhoAskedForItHasLeft(t *testing.T) {
	j := &kept{items: some()}
	handler := admin.New(admin.Options{Journal: j, Log: slog.New(slog.DiscardHandler)})
	left, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(left, http.MethodPost, "http://localhost/journal/discard?all=true", nil)
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if j.count(journal.Parked) != 0 {
		t.Error("it did not go on")
	}
}

// long is a journal whose changes take longer than its server has for answers.
type long struct{ *kept }

const answersWithin = 20 * time.Millisecond

func (l long) Discard(ctx context.Context, f journal.Filter) (int, error) {
	<-time.After(3 * answersWithin)
	return l.kept.Discard(ctx, f)
}

func (l long) Export(id uint64) (sentry.Envelope, error) {
	<-time.After(3 * answersWithin)
	return l.kept.Export(id)
}

func TestALongExportComesWhole(t *testing.T) {
	s := httptest.NewUnstartedServer(admin.New(admin.Options{Journal: long{&kept{items: some()}}, Log: slog.New(slog.DiscardHandler)}))
	s.Config.WriteTimeout = answersWithin
	s.Start()
	defer s.Close()
	if status, text, _ := ask(t, http.MethodGet, s.URL+"/journal/export?state=pending", nil); status != http.StatusOK || strings.Count(string(text), "\n") != 3 {
		t.Errorf("answered %d %s", status, text)
	}
}

func TestALongChangeIsAnswered(t *testing.T) {
	s := httptest.NewUnstartedServer(admin.New(admin.Options{Journal: long{&kept{items: some()}}, Log: slog.New(slog.DiscardHandler)}))
	s.Config.WriteTimeout = answersWithin
	s.Start()
	defer s.Close()
	if status, text, _ := ask(t, http.MethodPost, s.URL+"/journal/discard?all=true", nil); status != http.StatusOK || !strings.Contains(string(text), "3") {
		t.Errorf("answered %d %s", status, text)
	}
}
