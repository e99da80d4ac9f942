package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/singleflight"
)

const (
	// maxTracked is how many runs are remembered, some times what a page shows.
	maxTracked = 4096
	// maxDetails is how many are remembered as [Runs.Describe] found them.
	maxDetails = 256
	// lookedFor is how long after somebody has looked at a run Temporal is asked
	// about it.
	lookedFor = 2 * askEvery
	// maxIDs is how many workflow IDs a request asks for. Temporal puts no limit on
	// them: a server with SQLite was seen to answer for 20,000 of them in 0.4 s, and for
	// 1,000 in 30 ms. PostgreSQL has 65,535 parameters, Elasticsearch as many terms, and
	// gRPC 4 MiB. But what is found is at most one page, of 1,000 runs.
	maxIDs = 1000
	// describesIn5s is how often, in [askEvery], Temporal is asked about one run, over
	// all namespaces; a look into its history is such a question.
	describesIn5s = 10
	// soon is what a run has to be taken, and to be found, before anything is made of
	// it that it is not.
	soon = time.Second
	// describedFor is how long that holds which Temporal says of one open run. It is less
	// than a round, which is late at times.
	describedFor = askEvery - time.Second
	// closedFor is how long after its end a run is looked for again: one that has not
	// completed may have been reset, or started again.
	closedFor = time.Minute
	// maxPause is between two questions to a namespace that does not answer.
	maxPause = time.Minute
)

// Runs knows what Temporal says of runs, so that whoever wants to know need not
// wait, and Temporal is not asked more often, however many do.
//
// In five seconds, a namespace is asked once for all of its runs that somebody looks
// at and that may have changed: of those it tells whether they have ended, and how.
// Why they failed, and what they wait for, it tells only of one at a time: that takes
// turns over all namespaces, ten in five seconds.
type Runs struct {
	place func(integration, namespace string) (RunPlace, bool)
	wake  chan struct{} // has an element after somebody looked

	mu     sync.Mutex
	known  *simplelru.LRU[RunOf, *tracked]
	places map[placeKey]*runPlace
	turns  budget // for States

	details *simplelru.LRU[RunOf, RunDetail]
	pages   budget // for Describe and Input
	asking  singleflight.Group
	inputs  chan struct{} // has an element while one is read: it may be large
}

// RunPlace is where the runs of an integration in a namespace are.
type RunPlace struct {
	Connection string // "" is the common one
	Service    workflowservice.WorkflowServiceClient
}

// placeKey names a place.
type placeKey struct{ connection, namespace string }

// runPlace is a place that is asked.
type runPlace struct {
	placeKey
	service workflowservice.WorkflowServiceClient
	asked   bool    // at the moment
	lists   contact // of requests for all
	details contact // of those for one
}

// contact is how requests of a kind went lately.
type contact struct {
	failures int // one after the other
	next     time.Time
	problem  NamespaceState // of the last; zero if it went well
}

// note notes how a request went. Of several that fail at the same time the first one
// counts.
func (h *contact) note(now time.Time, at placeKey, err error) {
	if err == nil {
		*h = contact{}
		return
	}
	h.problem = namespaceStateOf(at.connection, at.namespace, err)
	if now.Before(h.next) {
		return
	}
	h.next = now.Add(min(describedFor<<min(h.failures, 10), maxPause))
	h.failures++
}

// tracked is what is known of a run.
type tracked struct {
	RunOf
	place  *runPlace
	looked time.Time // when somebody looked last
	state  RunState
	run    string    // ID of the run that it is by now; "" is the newest
	listed time.Time // when it was looked for last
	next   time.Time // when it is to be asked for by itself; zero: not at all
	asked  bool      // for by itself, at the moment
	unsaid bool      // the reason in state is not all of it
}

// mayChange reports whether to look for t again.
func (t *tracked) mayChange(now time.Time) bool {
	switch {
	case t.state.Status == RunCompleted:
		return false
	case isFinal(t.state.Status):
		return now.Sub(t.listed) >= closedFor
	}
	return true
}

// budget says when there was a question, and with that whether there may be another.
type budget []time.Time

// take takes one of the questions that there may be.
func (b *budget) take(now time.Time) bool {
	if len(*b) == describesIn5s {
		if now.Sub((*b)[0]) < askEvery {
			return false
		}
		*b = slices.Delete(*b, 0, 1)
	}
	*b = append(*b, now)
	return true
}

// NewRuns returns a Runs that knows nothing yet. place is asked where runs are; false
// says that nothing is configured for them.
func NewRuns(place func(integration, namespace string) (RunPlace, bool)) *Runs {
	known, err := simplelru.NewLRU[RunOf, *tracked](maxTracked, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	details, err := simplelru.NewLRU[RunOf, RunDetail](maxDetails, nil)
	if err != nil {
		panic(err)
	}
	return &Runs{
		place: place, wake: make(chan struct{}, 1), inputs: make(chan struct{}, 1),
		known: known, details: details, places: map[placeKey]*runPlace{},
	}
}

// States returns what is known of runs at once, and has Temporal asked about them
// for the next time. One of which nothing is known is not in it.
//
// What Temporal cannot be asked about stays as it was: see [RunState.Asked] and
// [Runs.Problems].
func (r *Runs) States(runs []RunOf) map[RunOf]RunState {
	now := time.Now()
	states := make(map[RunOf]RunState, len(runs))
	r.mu.Lock()
	for _, of := range runs {
		t, ok := r.known.Get(of)
		if !ok {
			place := r.placeOf(of)
			if place == nil || !isQuotable(of.WorkflowID) {
				continue
			}
			t = &tracked{RunOf: of, place: place, run: of.RunID}
			r.known.Add(of, t)
		}
		t.looked = now
		if t.state.Status != "" {
			states[of] = t.state
		}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return states
}

// placeOf returns where a run is, or nil if that is not configured.
func (r *Runs) placeOf(of RunOf) *runPlace {
	at, ok := r.place(of.Integration, of.Namespace)
	if !ok {
		return nil
	}
	key := placeKey{at.Connection, of.Namespace}
	if r.places[key] == nil {
		r.places[key] = &runPlace{placeKey: key, service: at.Service}
	}
	return r.places[key]
}

// Problems returns the namespaces that did not tell of their runs when they were
// asked last, and why. A namespace that does not let its runs be listed is
// [StatusRefused]: it starts them all the same.
func (r *Runs) Problems() []NamespaceState {
	r.mu.Lock()
	defer r.mu.Unlock()
	var problems []NamespaceState
	for _, p := range r.places {
		problem := cmp.Or(p.lists.problem, p.details.problem)
		if time.Since(problem.Asked) < maxPause+lookedFor { // else nobody looks at its runs any more
			problems = append(problems, problem)
		}
	}
	slices.SortFunc(problems, func(a, b NamespaceState) int {
		return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Namespace, b.Namespace))
	})
	return problems
}

// Run asks Temporal until ctx is done, at most every five seconds, and only while
// somebody looks. A namespace that hangs delays no other.
func (r *Runs) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.round(ctx, &group)
		select {
		case <-ctx.Done():
			return
		case <-time.After(askEvery):
		}
	}
}

// round begins a round of questions.
func (r *Runs) round(ctx context.Context, group *sync.WaitGroup) {
	now := time.Now()
	r.mu.Lock()
	wanted := map[*runPlace][]*tracked{}
	for _, t := range r.known.Values() {
		if now.Sub(t.looked) < lookedFor && t.mayChange(now) && !t.place.asked && !now.Before(t.place.lists.next) {
			wanted[t.place] = append(wanted[t.place], t)
		}
	}
	for place, all := range wanted {
		place.asked = true
		// With too many of them, those that were not looked for the longest.
		slices.SortStableFunc(all, func(a, b *tracked) int { return a.listed.Compare(b.listed) })
		group.Go(func() {
			r.list(ctx, place, all)
			r.describe(ctx, group)
		})
	}
	r.mu.Unlock()
	r.describe(ctx, group)
}

// list asks a namespace for all of its runs that are wanted.
func (r *Runs) list(ctx context.Context, place *runPlace, wanted []*tracked) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	query, asked := queryOf(wanted)
	answer, err := place.service.ListWorkflowExecutions(asking, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: place.namespace, PageSize: maxIDs, Query: query,
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	place.asked = false
	if ctx.Err() != nil {
		return // asked for nothing
	}
	now := time.Now()
	place.lists.note(now, place.placeKey, err)
	if err != nil {
		return
	}
	found := map[string][]foundRun{}
	for _, e := range answer.GetExecutions() {
		id := e.GetExecution().GetWorkflowId()
		found[id] = append(found[id], foundRun{e.GetExecution().GetRunId(), statusOf(e.GetStatus()), e.GetStartTime().AsTime()})
	}
	for _, t := range asked {
		t.listed = now
		if run, ok := newestOf(found[t.WorkflowID], t.RunID); ok {
			t.become(now, run)
		} else if !isFinal(t.state.Status) && t.next.IsZero() {
			t.next = now.Add(soon) // it may be too new to be found
		}
	}
}

// queryOf returns what asks for runs, and which of them it asks for.
func queryOf(wanted []*tracked) (query string, asked []*tracked) {
	seen := map[string]bool{}
	var ids []string
	for _, t := range wanted {
		if !seen[t.WorkflowID] {
			if len(ids) == maxIDs {
				break
			}
			seen[t.WorkflowID] = true
			ids = append(ids, `"`+t.WorkflowID+`"`)
		}
		asked = append(asked, t)
	}
	return "WorkflowId IN (" + strings.Join(ids, ", ") + ")", asked
}

// isQuotable reports whether a workflow ID can stand in a query. All of ours can.
func isQuotable(id string) bool { return utf8.ValidString(id) && !strings.ContainsAny(id, "\"\\\x00") }

// foundRun is a run as a list has it.
type foundRun struct {
	id      string
	status  string // "" has continued as new
	started time.Time
}

// newestOf returns what became of a run, out of all with its workflow ID: it may
// have continued as new, or been reset or started again after it failed.
func newestOf(all []foundRun, id string) (foundRun, bool) {
	at := slices.IndexFunc(all, func(f foundRun) bool { return f.id == id })
	if at < 0 {
		return foundRun{}, false
	}
	run := all[at]
	if run.status == RunCompleted || run.status == RunRunning {
		return run, true
	}
	for _, other := range all {
		if other.started.After(run.started) {
			run = other
		}
	}
	return run, run.status != "" // its next one is not in the list yet
}

// become takes over what a list says of t.
func (t *tracked) become(now time.Time, run foundRun) {
	if run.id == t.run && t.state.Status != "" {
		switch {
		case isFinal(t.state.Status): // for good, even if the list is behind
			t.state.Asked = now
			return
		case !isFinal(run.status): // by itself it told more
			if t.state.Status == RunRunning && t.state.Reason == "" {
				t.state.Asked = now
			}
			return
		}
	}
	t.run = run.id
	t.tell(now, RunState{Status: run.status})
	switch run.status {
	case RunRunning:
		t.next = latest(now, earliest(now, run.started).Add(soon)) // whatever the clocks are
	case RunFailed, RunTerminated:
		t.next = now
	default:
		t.next = time.Time{}
	}
}

// tell sets the state.
func (t *tracked) tell(now time.Time, state RunState) {
	t.state = state
	t.state.Asked = now
	if t.run != t.RunID {
		t.state.RunID = t.run
	}
}

// describe asks for runs by themselves, as many as may be asked for now, those
// first that have waited longest.
func (r *Runs) describe(ctx context.Context, group *sync.WaitGroup) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var wanted []*tracked
	for _, t := range r.known.Values() {
		if !t.asked && !t.next.IsZero() && !now.Before(t.next) && now.Sub(t.looked) < lookedFor &&
			t.place.lists.problem.Status == "" && !now.Before(t.place.details.next) {
			wanted = append(wanted, t)
		}
	}
	slices.SortStableFunc(wanted, func(a, b *tracked) int { return a.next.Compare(b.next) })
	for _, t := range wanted {
		if !r.turns.take(now) {
			return
		}
		t.asked = true
		before := *t
		group.Go(func() { r.describeOne(ctx, t, before) })
	}
}

// describeOne asks for t, which is as before.
func (r *Runs) describeOne(ctx context.Context, t *tracked, before tracked) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, err := r.lookAt(asking, &before)
	r.mu.Lock()
	defer r.mu.Unlock()
	t.asked = false
	if ctx.Err() != nil {
		return // asked for nothing
	}
	now := time.Now()
	t.place.details.note(now, t.place.placeKey, err)
	switch {
	case t.run != before.run || isFinal(t.state.Status) && !isFinal(found.state.Status):
		return // the list said more meanwhile
	case err != nil:
		t.next = now.Add(describedFor)
		return
	case found.more:
		t.next = now
	case isFinal(found.state.Status):
		t.next = time.Time{}
	default:
		t.next = now.Add(describedFor)
	}
	t.run, t.unsaid = found.run, found.more
	t.tell(now, found.state)
}

// lookedAt is what was found of a run.
type lookedAt struct {
	state RunState
	run   string // its ID; "" for the newest
	more  bool   // there is more to ask for
}

// lookAt asks for t, once, or twice if there may be another question.
func (r *Runs) lookAt(ctx context.Context, t *tracked) (lookedAt, error) {
	read := reader{t.place.service, t.Namespace, t.WorkflowID, t.run}
	if isFinal(t.state.Status) { // and it is not known why
		found := lookedAt{state: t.state, run: t.run}
		var err error
		found.state.Reason, err = read.reason(ctx)
		return found, err
	}
	d, err := read.describe(ctx)
	switch {
	case isMissing(err):
		return lookedAt{state: RunState{Status: RunMissing}, run: t.run}, nil
	case err != nil:
		return lookedAt{}, err
	case d.continued:
		return lookedAt{state: t.state, more: true}, nil
	}
	found := lookedAt{state: d.RunState, run: d.run}
	switch {
	case !d.unsaid():
	case found.state.Status == t.state.Status && t.state.Reason != "" && !t.unsaid:
		found.state.Reason = t.state.Reason
	case r.mayAsk(&r.turns):
		found.state.Reason, err = read.reason(ctx)
	default:
		found.more = true
	}
	return found, err
}

// mayAsk takes another question of b, if there may be one.
func (r *Runs) mayAsk(b *budget) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return b.take(time.Now())
}
