package admin

import (
	"bytes"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/telemetry"
)

const (
	// waitingShown is how many pending deliveries the status page lists, and
	// waitingGlance how long that list is shown to all who look: an ingress that
	// catches up has a million of them.
	waitingShown  = 20
	waitingGlance = 2 * time.Second
	// keptShown is how many deliveries the page of those that are kept lists, and
	// acts on at once.
	keptShown = 200
	// toldFor is how long a page tells of a change.
	toldFor = time.Minute
)

// Changes, as answers and pages name them.
const (
	doneParked    = "parked"
	doneRetried   = "retried"
	doneDiscarded = "discarded"
)

// What was in the way of a change.
const (
	butFull   = "full"
	butFailed = "failed"
)

// told is what a page tells of a change that was made from it. It travels in the
// address, and so has no text in it: a link must not have a page say anything else.
type told struct {
	Done string
	N    int
	But  string
}

// doneWords are what pages call changes.
var doneWords = map[string]string{doneParked: "parked", doneRetried: "put back", doneDiscarded: "discarded for good"}

// butWords are how pages tell what was in the way.
var butWords = map[string]string{
	butFull:   "There is no room for more of them in the journal.",
	butFailed: "Something failed then: the log of the ingress says what.",
}

// Words are all of it, for people.
func (t told) Words() string {
	words := fmt.Sprintf("%d %s", t.N, doneWords[t.Done])
	if t.N == 0 && t.But == "" {
		return "Nothing has changed: none was like this any more."
	}
	return strings.TrimSpace(words + ". " + butWords[t.But])
}

// Wrong reports whether not all of it came about.
func (t told) Wrong() bool { return t.But != "" || t.N == 0 }

// addTo adds it to the query of a page.
func (t told) addTo(query url.Values) {
	query.Set("done", t.Done)
	query.Set("n", strconv.Itoa(t.N))
	query.Set("at", strconv.FormatInt(time.Now().Unix(), 10))
	if t.But != "" {
		query.Set("but", t.But)
	}
}

// toldParameters are those that addTo sets.
var toldParameters = []string{"done", "n", "at", "but"}

// toldOf reads what addTo has added; nil if it is nothing or was long ago.
func toldOf(query url.Values) *told {
	t := told{Done: query.Get("done"), But: query.Get("but")}
	n, err := strconv.ParseUint(query.Get("n"), 10, 31)
	at, _ := strconv.ParseInt(query.Get("at"), 10, 64)
	age := time.Since(time.Unix(at, 0))
	if err != nil || doneWords[t.Done] == "" || t.But != "" && butWords[t.But] == "" || age < -toldFor || age > toldFor {
		return nil
	}
	t.N = int(n)
	return &t
}

// goBack leads to the page of ours that a form was sent from, which then tells of
// it.
func goBack(c *gin.Context, t told) {
	back := url.URL{Path: "/", Fragment: "told"}
	query := url.Values{}
	from, err := url.Parse(c.GetHeader("Referer"))
	if err == nil && (from.Path == "/" || from.Path == "/kept" || strings.HasPrefix(from.Path, "/deliveries/")) {
		back.Path, back.RawPath, query = from.Path, from.RawPath, from.Query()
	}
	for _, name := range toldParameters {
		query.Del(name)
	}
	t.addTo(query)
	back.RawQuery = query.Encode()
	c.Redirect(http.StatusSeeOther, back.String())
}

// glance is a list that is read once for all who look at about the same time.
type glance struct {
	mu      sync.Mutex
	read    time.Time
	changes int64 // that there were by then
	items   []journal.Item
}

// waiting returns the oldest deliveries that are pending.
func (s *statusPage) waiting() []journal.Item {
	s.wait.mu.Lock()
	defer s.wait.mu.Unlock()
	changes := s.admin.changes.Load()
	if s.wait.changes == changes && time.Since(s.wait.read) < waitingGlance {
		return s.wait.items
	}
	items, err := s.admin.Journal.List(journal.Filter{State: journal.Pending}, 0, waitingShown)
	if err != nil {
		s.admin.Log.Error("pending deliveries cannot be listed", telemetry.KeyError, err.Error())
	}
	s.wait.items, s.wait.read, s.wait.changes = items, time.Now(), changes
	return items
}

// keptPage is what the template of the page of those that are kept is filled with.
type keptPage struct {
	Style        template.CSS
	Now          time.Time
	State        journal.State
	Given        url.Values // the filter
	Problem      string     // of the filter
	Told         *told
	Items        []journal.Item
	More         bool   // there are more like this
	Export       string // address
	Integrations []config.Integration
	Codes        []journal.Code
}

// showKept answers GET /kept: which deliveries are kept that a filter means, and
// forms that act on just these.
func (a *admin) showKept(c *gin.Context) {
	query := c.Request.URL.Query()
	p := keptPage{
		Style: template.CSS(styleText), //nolint:gosec // our own
		Now:   time.Now().UTC(), Told: toldOf(query), Integrations: a.Status.Integrations,
		Codes: []journal.Code{
			journal.Refused, journal.TooLarge, journal.NotConfigured, journal.Damaged, journal.Bug, journal.GaveUp, journal.ByHand,
		},
	}
	for _, name := range toldParameters {
		query.Del(name)
	}
	for name, values := range query {
		if len(values) == 1 && values[0] == "" { // a field that was left empty
			query.Del(name)
		}
	}
	c.Request.URL.RawQuery = query.Encode()
	status := http.StatusOK
	given, err := parameters(c, append([]string{"state"}, ofFilter...))
	var f journal.Filter
	if err == nil {
		f, err = filterOf(given)
	}
	p.State, p.Given = f.State, given
	switch {
	case err != nil:
		status, p.Problem, p.State, p.Given = http.StatusBadRequest, err.Error(), journal.Parked, query
	default:
		if p.Items, err = a.Journal.List(f, 0, keptShown+1); err != nil {
			a.fail(c, err)
			return
		}
		if p.More = len(p.Items) > keptShown; p.More {
			p.Items = p.Items[:keptShown]
		}
		export := maps.Clone(given)
		export.Set("state", string(f.State))
		export.Set("limit", strconv.Itoa(maxListed))
		p.Export = "/journal/export?" + export.Encode()
	}
	var text bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&text, "keptpage.html", p); err != nil {
		a.fail(c, fmt.Errorf("fill the page of what is kept: %w", err))
		return
	}
	c.Data(status, "text/html; charset=utf-8", text.Bytes())
}

// Filtered reports whether not all in the state are meant.
func (p keptPage) Filtered() bool { return slices.ContainsFunc(ofFilter, p.Given.Has) }

// PutBack reports whether a delivery of the list can be put back.
func (p keptPage) PutBack() bool {
	return slices.ContainsFunc(p.Items, func(i journal.Item) bool { return i.ReasonCode != journal.Damaged })
}

// bulk is a form that does something to all deliveries of a list.
type bulk struct {
	keptPage
	Do   string // the last part of its address
	Verb string
	For  string
}

// Bulk returns the form that retries, parks or discards.
func (p keptPage) Bulk(do string) bulk {
	b := bulk{keptPage: p, Do: do}
	switch do {
	case "retry":
		b.Verb = "Put back"
	case "park":
		b.Verb = "Park"
	case "discard":
		b.Verb, b.For = "Discard", " for good"
	}
	return b
}

// Which are those that it does it to.
func (b bulk) Which() string {
	if len(b.Items) == 1 {
		return "this one"
	}
	return fmt.Sprintf("these %d", len(b.Items))
}
