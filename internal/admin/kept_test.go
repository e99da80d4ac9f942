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
)

// keptIn is the status page of an ingress that has kept the items.
func keptIn(t *testing.T, items ...item) (*watched, *kept) {
	t.Helper()
	j := &kept{items: items}
	return newWatched(t, nil, func(o *admin.Options) { o.Journal, o.Status.Journal = j, j.stats }), j
}

// press sends the form of a page that has the button, as a browser does, and
// returns the page that it leads to.
func press(t *testing.T, at, page, button string) string {
	t.Helper()
	before, _, found := strings.Cut(page, `<button id="`+button+`"`)
	if !found {
		t.Fatalf("no button %s is in\n%s", button, mainOf(page))
	}
	form := before[strings.LastIndex(before, "<form "):]
	action := strings.ReplaceAll(regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(form)[1], "&amp;", "&")
	fields := url.Values{}
	for _, hidden := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(form, -1) {
		fields.Add(hidden[1], hidden[2])
	}
	origin, _, _ := strings.Cut(strings.TrimPrefix(at, "http://"), "/")
	status, text, _ := ask(t, http.MethodPost, "http://"+origin+action, strings.NewReader(fields.Encode()), browser, header("Sec-Fetch-Site", "same-origin"),
		header("Content-Type", "application/x-www-form-urlencoded"), header("Referer", at))
	if status != http.StatusOK {
		t.Fatalf("%s answered %d %s", action, status, text)
	}
	return string(text)
}

// keptRows are the numbers of the deliveries in the table of what is kept.
func keptRows(page string) (ids string) {
	for _, m := range regexp.MustCompile(`href="/journal/(\d+)"`).FindAllStringSubmatch(page, -1) {
		ids += m[1]
	}
	return ids
}

func toldOn(page string) string {
	_, told, _ := strings.Cut(page, `<p id="told"`)
	told, _, _ = strings.Cut(told, "</p>")
	_, told, _ = strings.Cut(told, ">")
	return told
}

func TestThePageOfWhatIsKeptFindsDeliveriesAndActsOnJustThese(t *testing.T) {
	for name, test := range map[string]struct {
		query, shows, button, told, parked, pending string
	}{
		"all parked ones put back":     {"", "123", "sure-retry", "3 put back.", "", "123456"},
		"all parked ones discarded":    {"?state=parked", "123", "sure-discard", "3 discarded for good.", "", "456"},
		"some by integration":          {"?integration=mobile&event=&project=&reason=&older_than=", "12", "sure-retry", "2 put back.", "3", "12456"},
		"some by reason":               {"?reason=too_large", "2", "sure-discard", "1 discarded for good.", "13", "456"},
		"some by age":                  {"?older_than=1h", "13", "sure-discard", "2 discarded for good.", "2", "456"},
		"pending ones by project":      {"?state=pending&project=web", "56", "sure-park", "2 parked.", "12356", "4"},
		"pending ones discarded":       {"?state=pending&event=sentry.error.created", "6", "sure-discard", "1 discarded for good.", "123", "45"},
		"one that is parked":           {"?project=app", "12", "retry-2", "1 put back.", "13", "2456"},
		"one that is parked discarded": {"?project=app", "12", "sure-2", "1 discarded for good.", "13", "456"},
		"one that is pending":          {"?state=pending", "456", "park-5", "1 parked.", "1235", "46"},
		"one pending one discarded":    {"?state=pending", "456", "sure-5", "1 discarded for good.", "123", "46"},
	} {
		t.Run(name, func(t *testing.T) {
			w, j := keptIn(t, some()...)
			page := w.page(t, "kept"+test.query)
			if got := keptRows(page); got != test.shows {
				t.Errorf("the page shows %s", got)
			}
			j.items = append(j.items, item{ID: 7, State: journal.Parked, Integration: "mobile", Project: "web", ReasonCode: "too_large"},
				item{ID: 8, State: journal.Pending, Project: "web", Event: "sentry.error.created"}) // nobody was asked about these
			after := press(t, w.admin+"/kept"+test.query, page, test.button)
			if got := toldOn(after); got != test.told {
				t.Errorf("it tells %q", got)
			}
			parked, _ := listKept(t, w.admin+"/journal")
			pending, _ := listKept(t, w.admin+"/journal?state=pending")
			if sorted(parked) != sorted(test.parked+"7") || sorted(pending) != sorted(test.pending+"8") {
				t.Errorf("parked are %s, pending %s", parked, pending)
			}
			back := w.page(t, "kept"+test.query)
			if keptRows(after) != keptRows(back) {
				t.Errorf("it leads to %s, and not to where it was: %s", keptRows(after), keptRows(back))
			}
		})
	}
}

func sorted(ids string) string {
	digits := strings.Split(ids, "")
	slices.Sort(digits)
	return strings.Join(digits, "")
}

func TestThePageOfWhatIsKeptCountsAndLeadsToAnExport(t *testing.T) {
	w, _ := keptIn(t, some()...)
	page := w.page(t, "kept?state=pending&project=web&older_than=1ns")
	has(t, page, "2 pending that are like this", "Park these 2", "Discard these 2 for good", `value="web"`, `value="1ns"`, "<option selected>pending</option>")
	_, address, _ := strings.Cut(page, `<a id="export" href="`)
	address, _, _ = strings.Cut(address, `"`)
	if _, text, header := ask(t, http.MethodGet, w.admin+strings.ReplaceAll(address, "&amp;", "&"), nil); strings.Count(string(text), "\n") != 2 {
		t.Errorf("%s gives %s, %v", address, text, header)
	}
	has(t, w.page(t, "kept"), "3 parked.", "Put back these 3")
	has(t, w.page(t, "kept?project=none"), "No parked delivery is like this")
	damaged := w.page(t, "kept?id=3")
	if strings.Contains(damaged, "Put back") || !strings.Contains(damaged, "Discard this one for good") {
		t.Errorf("of a damaged one it shows\n%s", mainOf(damaged))
	}
}

func TestTheForwarderTakesThoseThatNobodyParksFromUnderThePage(t *testing.T) {
	w, j := keptIn(t, some()...)
	page := w.page(t, "kept?state=pending&id=5")
	j.items = j.items[:3]
	after := press(t, w.admin+"/kept?state=pending&id=5", page, "park-5")
	if got := toldOn(after); got != "Nothing has changed: none was like this any more." || !strings.Contains(after, `class="told trouble"`) {
		t.Errorf("it tells %q", got)
	}
}

func TestManyDeliveriesAreActedOnAsFarAsTheyAreShown(t *testing.T) {
	var items []item
	for id := range uint64(450) {
		items = append(items, item{ID: id + 1, State: journal.Parked})
	}
	w, j := keptIn(t, items...)
	page := w.page(t, "kept")
	has(t, page, "the first 200", "triage parked")
	if got := toldOn(press(t, w.admin+"/kept", page, "sure-retry")); got != "200 put back." || j.count(journal.Parked) != 250 {
		t.Errorf("it tells %q, %d are parked", got, j.count(journal.Parked))
	}
}

func TestAWrongFilterOfWhatIsKeptIsCalledThat(t *testing.T) {
	w, _ := keptIn(t, some()...)
	for _, query := range []string{"?older_than=7d", "?state=done", "?sate=pending", "?state=pending&reason=refused", "?id=x"} {
		status, text, _ := ask(t, http.MethodGet, w.admin+"/kept"+query, nil)
		if status != http.StatusBadRequest || !strings.Contains(string(text), "This is no filter") || strings.Contains(string(text), "sure-") {
			t.Errorf("%s answered %d %s", query, status, mainOf(string(text)))
		}
	}
}

func TestWhatAPageTellsIsNoTextOfTheAddress(t *testing.T) {
	w, _ := keptIn(t, some()...)
	now := fmt.Sprint("&at=", time.Now().Unix())
	for query, want := range map[string]string{
		"?done=retried&n=3" + now:               "3 put back.",
		"?done=discarded&n=1&but=full" + now:    "1 discarded for good. There is no room for more of them in the journal.",
		"?done=parked&n=0&but=failed" + now:     "0 parked. Something failed then: the log of the ingress says what.",
		"?done=retried&n=0" + now:               "Nothing has changed: none was like this any more.",
		"?done=retried&n=3":                     "",
		"?done=retried&n=3&at=1":                "",
		"?done=retried&n=3&at=99999999999":      "",
		"?done=your+session+is+over&n=3" + now:  "",
		"?done=retried&n=call+0800" + now:       "",
		"?done=retried&n=3&but=call+0800" + now: "",
		"?done=retried&n=-1" + now:              "",
	} {
		for _, path := range []string{"", "kept"} {
			if got := toldOn(w.page(t, path+query)); got != want {
				t.Errorf("/%s%s tells %q, want %q", path, query, got, want)
			}
		}
	}
}

func TestAFormLeadsBackToThePageOfItsOwnThatItWasOn(t *testing.T) {
	for from, want := range map[string]string{
		"/":                                "/",
		"/kept":                            "/kept",
		"/kept?state=parked&project=a%26b": "/kept?project=a%26b&state=parked",
		"/?outcome=parked&done=retried&n=3&at=1&but=full": "/?outcome=parked",
		"/deliveries/sentry/a%2Fb":                        "/deliveries/sentry/a%2Fb",
		"/login":                                          "/",
		"//evil.example/kept":                             "/",
		"":                                                "/",
	} {
		at, _ := adminServer(t, some()...)
		from := strings.Replace(from, "/", at+"/", 1)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/journal/retry?id=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		browser(r)
		if from != "" {
			r.Header.Set("Referer", from)
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		to, err := url.Parse(answer.Header.Get("Location"))
		if err != nil || answer.StatusCode != http.StatusSeeOther || to.IsAbs() || to.Host != "" || to.Fragment != "told" {
			t.Fatalf("from %s it is answered %d, %v", from, answer.StatusCode, answer.Header)
		}
		query := to.Query()
		if query.Get("done") != "retried" || query.Get("n") != "1" {
			t.Errorf("from %s it leads to %s", from, to)
		}
		for _, name := range []string{"done", "n", "at"} {
			query.Del(name)
		}
		got := to.EscapedPath()
		if len(query) > 0 {
			got += "?" + query.Encode()
		}
		if got != want {
			t.Errorf("from %s it leads to %s, want %s", from, got, want)
		}
	}
}

func TestPendingDeliveriesAreOnTheStatusPage(t *testing.T) {
	items := some()
	for id := range uint64(30) {
		items = append(items, item{ID: id + 11, State: journal.Pending, Title: "waits"})
	}
	w, j := keptIn(t, items...)
	page := w.page(t, "")
	has(t, page, "33 pending: the oldest 20", `href="/kept?state=pending"`, `id="sure-4"`)
	if strings.Contains(page, `id="park-28"`) || !strings.Contains(page, `id="park-27"`) {
		t.Error("it is not the oldest 20 that are listed")
	}
	listed := j.listed
	for range 20 {
		w.page(t, "")
	}
	if j.listed-listed > 25 { // the parked ones each time, the others once or so
		t.Errorf("20 who look have the journal read %d times", j.listed-listed)
	}
	after := press(t, w.admin+"/", page, "park-4")
	has(t, after, "1 parked.", `id="retry-4"`)
	if strings.Contains(after, `id="park-4"`) {
		t.Error("one that is parked is still shown as pending")
	}
	j.items = nil
	if page := w.page(t, ""); strings.Contains(page, `id="waiting"`) {
		t.Errorf("without any the page shows\n%s", mainOf(page))
	}
}

// Whatever a page of another site makes a browser send, nothing is done.
func TestNoFormOfAnotherSiteDoesAnything(t *testing.T) {
	handler, j, _ := guardedAdmin("", some()...)
	posts := 0
	for _, route := range handler.Routes() {
		if route.Method != http.MethodPost {
			continue
		}
		posts++
		for name, change := range map[string]func(*http.Request){
			"another origin": header("Origin", "https://evil.example"), "a sandboxed page": header("Origin", "null"),
			"another site": header("Sec-Fetch-Site", "cross-site"), "a site of the same domain": header("Sec-Fetch-Site", "same-site"),
		} {
			answer := serve(handler, http.MethodPost, route.Path, "id=1&id=4&integration=sentry&sample=issue.created", browser, change,
				header("Content-Type", "application/x-www-form-urlencoded"), header("Referer", "http://localhost:8081/kept"))
			if answer.StatusCode != http.StatusForbidden && !strings.HasPrefix(route.Path, "/codec/") || len(j.asked) > 0 {
				t.Errorf("%s from %s is answered %d, done is %+v", route.Path, name, answer.StatusCode, j.asked)
			}
		}
	}
	if posts < 5 {
		t.Errorf("only %d are asked", posts)
	}
}
