package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"sentry-temporal/internal/telemetry"
)

const (
	// attributesMissing and attributesThere are how long a namespace is not asked
	// again, by what it said last.
	attributesMissing = time.Minute
	attributesThere   = 10 * time.Minute
	// attributesPause is the shortest time between two questions, and askTimeout
	// bounds one.
	attributesPause = time.Second
	askTimeout      = 5 * time.Second
	// firstPatience is how long the first starts wait for an answer: PostgreSQL
	// hides a run for ever that has a value of another type than its attribute.
	firstPatience = time.Second
)

// registered knows which of [Attributes] a namespace takes: a start with any
// other is refused. The zero value but for its first three fields is ready: it
// takes all to be there until [registered.run] has asked.
type registered struct {
	namespace string
	client    client.Client
	log       *slog.Logger

	first    chan struct{} // closed after the first answer, or without one after firstPatience
	patience sync.Once     // begins with the first start

	mu      sync.Mutex
	usable  map[string]bool // never changed, only replaced; nil before the first answer
	refusal error           // the last that has not led to a question yet
	asked   time.Time       // when the last question began
	next    *time.Timer     // to the next question, while run runs
	warned  string          // the warning that was logged last
}

// everyAttribute is what is assumed of a namespace that has not answered.
var everyAttribute = func() map[string]bool {
	all := map[string]bool{}
	for _, name := range Attributes {
		all[name] = true
	}
	return all
}()

// snapshot returns which attributes can be used, as far as is known: all of
// them, before Temporal has answered. It never waits for Temporal. The map must
// not be changed.
func (r *registered) snapshot() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.usable == nil {
		return everyAttribute
	}
	return r.usable
}

// await returns the snapshot: after the first answer, but never later than
// firstPatience after it was called first.
func (r *registered) await(ctx context.Context) map[string]bool {
	r.patience.Do(func() { time.AfterFunc(firstPatience, r.enough) })
	select {
	case <-r.first:
	case <-ctx.Done():
	}
	return r.snapshot()
}

// enough has nobody wait for an answer any more.
func (r *registered) enough() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enoughLocked()
}

func (r *registered) enoughLocked() {
	select {
	case <-r.first:
	default:
		close(r.first)
	}
}

// refused says that a start with attributes of the snapshot was refused, for
// reason: Temporal is asked again soon.
func (r *registered) refused(reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == nil && r.next != nil {
		r.next.Reset(time.Until(r.asked.Add(attributesPause)))
	}
	r.refusal = reason
}

// run asks Temporal at once and then again and again, until ctx is done.
func (r *registered) run(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	r.mu.Lock()
	r.next = next
	r.mu.Unlock()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		r.mu.Lock()
		refusal := r.refusal
		r.asked, r.refusal = time.Now(), nil
		r.mu.Unlock()
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		lacks, err := lackingAttributes(asking, r.client, r.namespace)
		cancel()
		if ctx.Err() != nil {
			return
		}
		failures++
		if err == nil {
			failures = 0
		}
		r.mu.Lock()
		r.answered(ctx, lacks, err, refusal)
		if r.usable != nil {
			r.enoughLocked()
		}
		pause := attributesThere
		switch {
		case r.refusal != nil:
			pause = attributesPause
		case err != nil:
			pause = min(attributesPause<<min(failures, 6), attributesMissing)
		case len(r.usable) < len(Attributes):
			pause = attributesMissing
		}
		next.Reset(jitter(pause))
		r.mu.Unlock()
	}
}

// answered takes what Temporal said, after a refusal if that is not nil. Without
// an answer what was known stays.
func (r *registered) answered(ctx context.Context, lacks lacking, err, refusal error) {
	if unreachable(err) {
		return // whoever starts runs says so
	}
	var reason string // that runs go without attributes
	switch {
	case err != nil: // Temporal does not tell, for example because we may not ask
		reason = err.Error()
	case lacks.String() != "":
		reason = lacks.String()
	case refusal != nil:
		reason = "a start with all of them was refused"
	}
	if err == nil {
		r.usable = map[string]bool{}
		for _, name := range Attributes {
			if !slices.Contains(lacks.absent, name) && !slices.Contains(lacks.otherType, name) {
				r.usable[name] = true
			}
		}
	}
	if reason != "" && reason != r.warned {
		warning := []any{telemetry.KeyNamespace, r.namespace, telemetry.KeyReason, reason, "command", AttributesCommand(r.namespace)}
		if refusal != nil {
			warning = append(warning, telemetry.KeyError, refusal.Error())
		}
		r.log.WarnContext(ctx, "runs cannot be found by some search attributes: the setup command adds them", warning...)
	}
	r.warned = reason
}

// jitter returns d, give or take a tenth, so that many do not ask in step.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// unreachable reports whether err says that Temporal may answer later.
func unreachable(err error) bool {
	if err == nil {
		return false
	}
	_, unavailable := errors.AsType[*serviceerror.Unavailable](err)
	_, deadline := errors.AsType[*serviceerror.DeadlineExceeded](err)
	_, exhausted := errors.AsType[*serviceerror.ResourceExhausted](err)
	_, canceled := errors.AsType[*serviceerror.Canceled](err)
	_, namespace := errors.AsType[*serviceerror.NamespaceNotFound](err)
	return unavailable || deadline || exhausted || canceled || namespace ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// lacking is which of [Attributes] a namespace cannot take, and why.
type lacking struct{ absent, otherType []string }

// String says what is lacking; it is empty when nothing is.
func (l lacking) String() string {
	var parts []string
	if len(l.absent) > 0 {
		parts = append(parts, "missing: "+strings.Join(l.absent, ", "))
	}
	if len(l.otherType) > 0 {
		parts = append(parts, "of another type than Keyword: "+strings.Join(l.otherType, ", "))
	}
	return strings.Join(parts, "; ")
}

func lackingAttributes(ctx context.Context, c client.Client, namespace string) (lacking, error) {
	var l lacking
	list, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return l, err
	}
	for _, name := range Attributes {
		switch kind, there := list.GetCustomAttributes()[name]; {
		case !there:
			l.absent = append(l.absent, name)
		case kind != enumspb.INDEXED_VALUE_TYPE_KEYWORD:
			l.otherType = append(l.otherType, name)
		}
	}
	return l, nil
}

// AttributesCommand returns the Temporal CLI's command that adds [Attributes] to
// a namespace of an own cluster.
func AttributesCommand(namespace string) string {
	var b strings.Builder
	b.WriteString("temporal operator search-attribute create --namespace " + namespace)
	for _, name := range Attributes {
		b.WriteString(" --name " + name + " --type Keyword")
	}
	return b.String()
}

// Added are the search attributes that a namespace did not have before.
type Added struct {
	Connection string // name of the profile; "" is the common connection
	Namespace  string
	Names      []string
}

// AddAttributes adds those of [Attributes] that are missing to the namespace of
// each integration, waits until they can be used and returns what it added. It
// does not change one that is there with another type: that is an error, which
// does not keep it from the other namespaces.
func (c *Connections) AddAttributes(ctx context.Context) ([]Added, error) {
	var added []Added
	var problems []error
	for _, at := range c.sorted() {
		to, _ := c.at(at)
		names, err := addAttributes(ctx, to.client, at.namespace)
		if err != nil {
			problems = append(problems, fmt.Errorf("add search attributes to namespace %s at %s: %w", at.namespace, to.address, err))
			continue
		}
		added = append(added, Added{Connection: at.connection, Namespace: at.namespace, Names: names})
	}
	return added, errors.Join(problems...)
}

func addAttributes(ctx context.Context, c client.Client, namespace string) (added []string, err error) {
	lacks, err := lackingAttributes(ctx, c, namespace)
	switch {
	case err != nil:
		return nil, err
	case len(lacks.otherType) > 0:
		return nil, errors.New(lacks.String())
	case len(lacks.absent) == 0:
		return nil, nil
	}
	request := &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: map[string]enumspb.IndexedValueType{}}
	for _, name := range lacks.absent {
		request.SearchAttributes[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	}
	if _, err := c.OperatorService().AddSearchAttributes(ctx, request); err != nil {
		return nil, err
	}
	query := make([]string, len(Attributes))
	for i, name := range Attributes {
		query[i] = name + " = 'none'"
	}
	for { // the servers take some seconds to know, and list what they cannot use yet
		_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: namespace, PageSize: 1, Query: strings.Join(query, " AND "),
		})
		if _, unknown := errors.AsType[*serviceerror.InvalidArgument](err); err != nil && !unknown {
			return nil, err
		}
		if err == nil {
			return lacks.absent, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
