package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"sentry-temporal/internal/journal"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/telemetry"
	"sentry-temporal/internal/text"
	"sentry-temporal/internal/web"
)

// Journal is what the ingress has kept and not handed to Temporal yet.
type Journal interface {
	// List returns up to limit deliveries with an ID above after, in the order
	// of their IDs.
	List(f journal.Filter, after uint64, limit int) ([]journal.Item, error)
	Export(id uint64) (sentry.Envelope, error)
	// Look says what became of a delivery by its key, see [journal.Journal.Look].
	Look(integration, key string) (journal.Known, bool)
	// Park keeps pending deliveries from being started, PutBack makes parked
	// ones pending, and Discard deletes those of f.State for good. They return
	// how many that were, also along with an error.
	Park(ctx context.Context, f journal.Filter) (int, error)
	PutBack(ctx context.Context, f journal.Filter) (int, error)
	Discard(ctx context.Context, f journal.Filter) (int, error)
}

const (
	// listed is how many deliveries are listed at once unless the request says
	// otherwise, and maxListed how many at most.
	listed    = 100
	maxListed = 1000
	// changeTimeout bounds a change to the journal. It goes on when who asked
	// for it has left: half a change helps nobody.
	changeTimeout = 5 * time.Minute
	// maxQuestion bounds the parameters that come in a form, and maxParameters
	// those that are logged, in bytes.
	maxQuestion   = 64 << 10
	maxParameters = 2 << 10
	// exportTimeout is how long who exports has for each delivery.
	exportTimeout = time.Minute
)

// Headers of the answer to an export.
const (
	// HeaderNext is where to go on: the value of after for the next request. It is
	// missing if there is no more.
	HeaderNext = "Journal-Next"
	// HeaderDamaged is how many were left out because they cannot be read any more.
	HeaderDamaged = "Journal-Damaged"
)

// Keys of log attributes.
const (
	keyChange     = "change"
	keyDeliveries = "deliveries" // how many
	keyDelivery   = "delivery_id"
	keyParameters = "parameters"
)

// Parameters of requests on the journal.
var (
	ofFilter  = []string{"id", "integration", "event", "project", "reason", "older_than"}
	ofList    = append([]string{"state", "after", "limit"}, ofFilter...)
	ofChange  = append([]string{"all"}, ofFilter...)
	ofDiscard = append([]string{"state"}, ofChange...)
)

// parameters returns those of a request, if all of them are allowed: one that is
// misspelt, empty or lost would make a change reach more deliveries than it
// should.
func parameters(c *gin.Context, allowed []string) (url.Values, error) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxQuestion)
	if err := c.Request.ParseForm(); err != nil {
		return nil, errors.New("the parameters are malformed")
	}
	if n, _ := c.Request.Body.Read(make([]byte, 1)); n > 0 {
		return nil, errors.New("parameters belong into the query, not into a body of this type")
	}
	given := c.Request.Form
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case !slices.Contains(allowed, name):
			return nil, fmt.Errorf("there is no parameter %q here, there are %s", name, strings.Join(allowed, ", "))
		case slices.Contains(given[name], ""):
			return nil, fmt.Errorf("%s is empty", name)
		case len(given[name]) > 1 && name != "id":
			return nil, fmt.Errorf("%s is there twice", name)
		}
	}
	return given, nil
}

// filterOf reads a filter. The state is that of the parameter, or else parked.
func filterOf(given url.Values) (journal.Filter, error) {
	f := journal.Filter{
		State:       journal.Parked,
		Integration: given.Get("integration"), Event: given.Get("event"), Project: given.Get("project"), Reason: given.Get("reason"),
	}
	if given.Has("state") {
		f.State = journal.State(given.Get("state"))
	}
	if f.State != journal.Parked && f.State != journal.Pending {
		return journal.Filter{}, fmt.Errorf("state is %s or %s", journal.Parked, journal.Pending)
	}
	for _, text := range given["id"] {
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return journal.Filter{}, errors.New("id is not the number of a delivery")
		}
		f.IDs = append(f.IDs, id)
	}
	if given.Has("older_than") {
		var err error
		if f.OlderThan, err = time.ParseDuration(given.Get("older_than")); err != nil || f.OlderThan <= 0 {
			return journal.Filter{}, errors.New("older_than is not a duration like 90s, 30m or 72h")
		}
	}
	if f.State == journal.Pending && f.Reason != "" {
		return journal.Filter{}, errors.New("only parked deliveries have a reason")
	}
	return f, nil
}

// pageOf returns what a request means of the deliveries that are kept, and the ID
// after which there are more, 0 for none. It is false if it has answered that it
// cannot.
func (a *admin) pageOf(c *gin.Context) (items []journal.Item, next uint64, ok bool) {
	given, err := parameters(c, ofList)
	if err != nil {
		web.Refuse(c, http.StatusBadRequest, err.Error())
		return nil, 0, false
	}
	f, err := filterOf(given)
	if err != nil {
		web.Refuse(c, http.StatusBadRequest, err.Error())
		return nil, 0, false
	}
	after, limit := uint64(0), listed
	if given.Has("after") {
		if after, err = strconv.ParseUint(given.Get("after"), 10, 64); err != nil {
			web.Refuse(c, http.StatusBadRequest, "after is not the number of a delivery")
			return nil, 0, false
		}
	}
	if given.Has("limit") {
		if limit, err = strconv.Atoi(given.Get("limit")); err != nil || limit < 1 || limit > maxListed {
			web.Refuse(c, http.StatusBadRequest, fmt.Sprintf("limit is not from 1 to %d", maxListed))
			return nil, 0, false
		}
	}
	if items, err = a.Journal.List(f, after, limit+1); err != nil {
		a.fail(c, err)
		return nil, 0, false
	}
	if len(items) > limit {
		items = items[:limit]
		next = items[limit-1].ID
	}
	return items, next, true
}

// listKept answers GET /journal.
func (a *admin) listKept(c *gin.Context) {
	items, next, ok := a.pageOf(c)
	if !ok {
		return
	}
	answer := gin.H{}
	if next > 0 {
		answer["next"] = next
	}
	for i := range items {
		items[i].WorkflowIDs = append([]string{}, items[i].WorkflowIDs...) // [] in JSON, not null
		items[i].Namespaces = append([]string{}, items[i].Namespaces...)
	}
	answer["deliveries"] = append([]journal.Item{}, items...)
	c.PureJSON(http.StatusOK, answer)
}

// exportAll answers GET /journal/export with a line for each delivery that GET
// /journal would list: its envelope, in JSON. Those that cannot be read, or are
// gone by their turn, are left out.
func (a *admin) exportAll(c *gin.Context) {
	items, next, ok := a.pageOf(c)
	if !ok {
		return
	}
	readable := slices.DeleteFunc(slices.Clone(items), func(i journal.Item) bool { return i.ReasonCode == journal.Damaged })
	c.Header("Content-Type", "application/x-ndjson")
	c.Header("Content-Disposition", `attachment; filename="deliveries.jsonl"`)
	c.Header(HeaderDamaged, strconv.Itoa(len(items)-len(readable)))
	if next > 0 {
		c.Header(HeaderNext, strconv.FormatUint(next, 10))
	}
	c.Status(http.StatusOK)
	n := 0
	defer func() {
		a.who(c).InfoContext(c.Request.Context(), "envelopes read", keyDeliveries, n, keyParameters, text.Cut(c.Request.Form.Encode(), maxParameters))
	}()
	lines := json.NewEncoder(c.Writer)
	lines.SetEscapeHTML(false)
	for _, item := range readable {
		env, err := a.Journal.Export(item.ID)
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		if err != nil {
			a.Log.ErrorContext(c.Request.Context(), "export breaks off", telemetry.KeyError, err.Error())
			panic(http.ErrAbortHandler) // so that nobody takes it for all
		}
		_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(exportTimeout)) // else that of the server holds
		if lines.Encode(env) != nil {
			return // who asked has left
		}
		n++
	}
}

// exportKept answers GET /journal/{id}.
func (a *admin) exportKept(c *gin.Context) {
	id, err := strconv.ParseUint(c.Param("id"), 10, 64)
	if err != nil {
		web.Refuse(c, http.StatusNotFound, journal.ErrNotFound.Error())
		return
	}
	env, err := a.Journal.Export(id)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		web.Refuse(c, http.StatusNotFound, journal.ErrNotFound.Error())
	case err != nil:
		a.fail(c, err)
	default:
		a.who(c).InfoContext(c.Request.Context(), "envelope read", keyDelivery, id)
		c.PureJSON(http.StatusOK, env)
	}
}

func (a *admin) park(c *gin.Context) {
	a.change(c, doneParked, journal.Pending, ofChange, a.Journal.Park)
}
func (a *admin) putBack(c *gin.Context) {
	a.change(c, doneRetried, journal.Parked, ofChange, a.Journal.PutBack)
}
func (a *admin) discard(c *gin.Context) {
	a.change(c, doneDiscarded, "", ofDiscard, a.Journal.Discard)
}

// change does something to the deliveries that a request means, and answers how
// many they were under the name done. They are those in state, or where it is ""
// in that of the request.
func (a *admin) change(c *gin.Context, done string, state journal.State, allowed []string, do func(context.Context, journal.Filter) (int, error)) {
	given, err := parameters(c, allowed)
	if err != nil {
		web.Refuse(c, http.StatusBadRequest, err.Error())
		return
	}
	if state != "" {
		given.Set("state", string(state))
	}
	f, err := filterOf(given)
	if err != nil {
		web.Refuse(c, http.StatusBadRequest, err.Error())
		return
	}
	filtered := slices.ContainsFunc(ofFilter, given.Has)
	switch {
	case given.Has("all") && given.Get("all") != "true":
		web.Refuse(c, http.StatusBadRequest, "all is true or is not there")
		return
	case filtered == given.Has("all"):
		web.Refuse(c, http.StatusBadRequest, "say which deliveries: either by "+strings.Join(ofFilter, ", ")+", or all=true")
		return
	}

	// The limits of the server are for those who ask, not for the work.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), changeTimeout)
	defer cancel()
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(changeTimeout + time.Minute)) // at worst the answer is lost
	n, err := do(ctx, f)
	a.changes.Add(1)
	answer := gin.H{done: n}
	told := told{Done: done, N: n}
	log := a.who(c).With(keyChange, done, keyDeliveries, n, keyParameters, text.Cut(given.Encode(), maxParameters))
	status := http.StatusOK
	switch {
	case errors.Is(err, journal.ErrFull):
		log.WarnContext(ctx, "journal changed in part", telemetry.KeyError, err.Error())
		status, answer["error"], told.But = http.StatusInsufficientStorage, "there is no room for more of them in the journal", butFull
	case err != nil:
		log.ErrorContext(ctx, "journal not changed as asked", telemetry.KeyError, err.Error())
		status, answer["error"], told.But = http.StatusInternalServerError, web.InternalError, butFailed
	default:
		log.InfoContext(ctx, "journal changed as asked")
		if n == 0 && len(f.IDs) > 0 {
			status, answer = http.StatusNotFound, gin.H{"error": fmt.Sprintf("no %s delivery is like this", f.State)}
		}
	}
	if forPeople(c) { // a form of a page
		goBack(c, told)
		return
	}
	c.PureJSON(status, answer)
}
