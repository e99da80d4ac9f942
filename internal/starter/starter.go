// Package starter turns deliveries into Temporal workflow runs, each exactly
// once.
package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
)

// Status says what became of a delivery, or of one of its runs.
type Status string

// From the strongest to the weakest.
const (
	Started  Status = "started"  // a new run
	Existing Status = "existing" // the run that was there, open or closed
	Accepted Status = "accepted" // kept, not started yet
	Ignored  Status = "ignored"  // no workflow wants the event
)

// Run is one workflow run of a delivery.
type Run struct {
	Workflow   string `json:"workflow"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id,omitempty"` // empty while accepted
	Status     Status `json:"status"`
	URL        string `json:"url,omitempty"` // in the Temporal UI; empty if that is unknown
	Namespace  string `json:"-"`
	// Remembered says that it is existing without Temporal having been asked.
	Remembered bool `json:"-"`
}

// Taken is what became of a delivery that was taken.
type Taken struct {
	Key     string        // the idempotency key that it has
	Runs    []Run         // one for each workflow that runs for it
	Skipped []routes.Skip // the workflows that want its event and do not
}

// Overall returns the status of a delivery with runs: the weakest of theirs.
func Overall(runs []Run) Status {
	rank := map[Status]int{Started: 0, Existing: 1, Accepted: 2, Ignored: 3}
	if len(runs) == 0 {
		return Ignored
	}
	overall := Started
	for _, r := range runs {
		if rank[r.Status] > rank[overall] {
			overall = r.Status
		}
	}
	return overall
}

// Starter carries out what is planned for deliveries.
type Starter struct {
	connections *Connections
	lately      *lately
	log         *slog.Logger
	more        chan struct{} // has an element after a registered was added

	mu         sync.Mutex
	registered map[client.Client]*registered
}

// New returns a Starter. Its [Starter.Run] keeps it up to date.
func New(connections *Connections, log *slog.Logger) *Starter {
	s := &Starter{connections: connections, lately: newLately(), log: log, more: make(chan struct{}, 1), registered: map[client.Client]*registered{}}
	for _, at := range connections.sorted() {
		if to, ok := connections.at(at); ok {
			s.registeredOf(to.client, at.namespace)
		}
	}
	return s
}

// registeredOf returns what is known of a namespace, of which so far that may be
// nothing.
func (s *Starter) registeredOf(c client.Client, namespace string) *registered {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.registered[c] == nil {
		s.registered[c] = &registered{namespace: namespace, client: c, log: s.log, first: make(chan struct{})}
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
	return s.registered[c]
}

// Open has the connection of integration start runs in another namespace than its
// own, too, see [Connections.Open].
func (s *Starter) Open(integration, namespace string) error {
	if err := s.connections.Open(integration, namespace); err != nil {
		return err
	}
	if c, ok := s.connections.Client(integration, namespace); ok {
		s.registeredOf(c, namespace)
	}
	return nil
}

// Run asks every namespace, again and again until ctx is done, which search
// attributes it takes. Starts do not wait for that.
func (s *Starter) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	asked := map[*registered]bool{}
	for {
		s.mu.Lock()
		for _, r := range s.registered {
			if !asked[r] {
				asked[r] = true
				group.Go(func() { r.run(ctx) })
			}
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-s.more:
		}
	}
}

// Planned returns the runs of a plan before it is carried out, as [Accepted]: their
// IDs do not depend on Temporal. One that others share and that was started lately is
// [Existing]: it has what falls into it.
func (s *Starter) Planned(plan []routes.Operation) []Run {
	runs := make([]Run, len(plan))
	for i, o := range plan {
		runs[i] = Run{Workflow: o.Workflow, WorkflowID: o.WorkflowID, Namespace: o.Namespace, Status: Accepted, URL: s.URL(o.Integration, o.Namespace, o.WorkflowID, "")}
		if c, ok := s.connections.Client(o.Integration, o.Namespace); ok && o.Shared {
			s.remember(c, o, &runs[i])
		}
	}
	return runs
}

// remember makes run that of o, if it is a shared one that was started lately.
func (s *Starter) remember(c client.Client, o routes.Operation, run *Run) bool {
	runID, known := s.lately.runID(sharedRun{c, o.WorkflowID})
	if known {
		run.Status, run.RunID, run.Remembered = Existing, runID, true
		run.URL = s.URL(o.Integration, o.Namespace, o.WorkflowID, runID)
	}
	return known
}

var (
	// ErrTooLarge says that Temporal does not take a delivery for its size.
	ErrTooLarge = errors.New("the delivery is too large for Temporal")
	// ErrNotConfigured says that an integration is not configured, or no
	// integration with its connection has the namespace.
	ErrNotConfigured = errors.New("not configured")
	// ErrUnknownPlan says that this build cannot carry out what is planned.
	ErrUnknownPlan = errors.New("this build cannot carry out what is planned")
)

// maxPayload is what a Temporal server takes unless it is told otherwise.
const maxPayload = 2 << 20

// Prepare makes everything ready to carry out plan for a delivery of env, which
// takes memory and time, and returns what does it, which takes little memory and
// Temporal's time. Its error says that nothing of plan can be done; each cause is one
// of the above.
//
// start carries out every operation of plan and returns one run for each,
// [Started] or [Existing]. What is remembered of a shared one, see
// [Starter.Planned], is not asked again. Repeating it starts nothing twice, as long as the
// namespace retains the closed run. One that fails, or cannot be done, stops no
// other: the error is then that, or [StartErrors] of several, and repeating all of
// them repairs what can be. It obeys ctx's deadline, whatever Temporal does, and
// may be called again.
func (s *Starter) Prepare(env sentry.Envelope, plan []routes.Operation) (start func(context.Context) ([]Run, error), err error) {
	if len(plan) == 0 {
		return nil, fmt.Errorf("%w: nothing is planned", ErrUnknownPlan)
	}
	if runs := s.Planned(plan); !slices.ContainsFunc(runs, func(r Run) bool { return !r.Remembered }) {
		return func(context.Context) ([]Run, error) { return runs, nil }, nil
	}
	clients := make([]client.Client, len(plan))
	inputs := inputs{env: env}
	impossible := make([]error, len(plan))
	for i, o := range plan {
		if clients[i], impossible[i] = s.clientOf(o); impossible[i] == nil {
			impossible[i] = inputs.add(o)
		}
	}
	if !slices.Contains(impossible, nil) {
		return nil, joined(impossible)
	}
	subject := sentry.SubjectOf(env.Body)
	about := about{
		inputs:     inputs.encoded,
		attributes: attributesOf(env, subject),
		summary:    summaryOf(env, subject),
		details:    detailsOf(env, subject),
	}
	for name, value := range about.attributes {
		about.attributes[name] = strings.Clone(value) // a part of the body would keep all of it
	}
	return func(ctx context.Context) ([]Run, error) {
		runs, failed := s.Planned(plan), slices.Clone(impossible)
		var group sync.WaitGroup
		for i, o := range plan {
			if impossible[i] != nil || runs[i].Remembered {
				continue
			}
			group.Go(func() {
				failed[i] = Recovered(func() error { return s.start(ctx, clients[i], o, &about, &runs[i]) })
			})
		}
		group.Wait()
		if err := joined(failed); err != nil {
			return nil, err
		}
		return runs, nil
	}, nil
}

// clientOf returns the client for an operation that this build can carry out.
func (s *Starter) clientOf(o routes.Operation) (client.Client, error) {
	if o.Kind != routes.Start {
		return nil, fmt.Errorf("%w: a %q of %s", ErrUnknownPlan, o.Kind, o.WorkflowID)
	}
	c, ok := s.connections.Client(o.Integration, o.Namespace)
	if !ok {
		return nil, fmt.Errorf("integration %s with namespace %s: %w", o.Integration, o.Namespace, ErrNotConfigured)
	}
	return c, nil
}

// StartErrors are why several of a delivery's runs are not started.
type StartErrors []error

func (e StartErrors) Error() string { return errors.Join(e...).Error() }

// Unwrap is for [errors.Is] and [errors.As].
func (e StartErrors) Unwrap() []error { return e }

// joined returns nil if nothing has failed, what has, or [StartErrors] of several.
func joined(failed []error) error {
	failed = slices.DeleteFunc(slices.Clone(failed), func(err error) bool { return err == nil })
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return failed[0]
	}
	return StartErrors(failed)
}

// inputs are an envelope in each of the ways that its runs need.
type inputs struct {
	env     sentry.Envelope
	encoded map[bool]converter.RawValue // by [routes.Operation.Uncompressed]
	failed  map[bool]error
}

// add encodes the envelope for o, once for all that take the same. The error says
// that there is no way.
func (n *inputs) add(o routes.Operation) error {
	if n.encoded == nil {
		n.encoded, n.failed = map[bool]converter.RawValue{}, map[bool]error{}
	}
	if _, done := n.encoded[o.Uncompressed]; !done && n.failed[o.Uncompressed] == nil {
		n.encoded[o.Uncompressed], n.failed[o.Uncompressed] = encode(n.env, o)
	}
	return n.failed[o.Uncompressed]
}

// encode returns env as the run of o takes it.
func encode(env sentry.Envelope, o routes.Operation) (converter.RawValue, error) {
	to, as := DataConverter().ToPayload, "compressed"
	if o.Uncompressed {
		to, as = plain, "not compressed, as the route of "+o.Workflow+" says"
	}
	payload, err := to(env)
	if err != nil {
		return converter.RawValue{}, fmt.Errorf("encode delivery %s: %w", env.IdempotencyKey, err)
	}
	// Temporal's answers to what is too large differ with the size, and one of
	// them is that of a busy server: so it is measured, not asked.
	if size := len(payload.GetData()); size > maxPayload {
		return converter.RawValue{}, fmt.Errorf("%w: %d bytes of at most %d, from a body of %d, %s", ErrTooLarge, size, maxPayload, len(env.Body), as)
	}
	return converter.NewRawValue(payload), nil
}

// PanicError is a panic while runs were started: a bug, which repeating does not
// mend.
type PanicError struct {
	Value any
	Stack string
}

func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Recovered calls do and makes a [PanicError] of a panic in it, which would end
// the process.
func Recovered(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: string(debug.Stack())}
		}
	}()
	return do()
}

// about is what all runs of a delivery share.
type about struct {
	inputs           map[bool]converter.RawValue // the envelope, by Uncompressed
	attributes       map[string]string
	summary, details string
}

func (s *Starter) start(ctx context.Context, c client.Client, o routes.Operation, a *about, run *Run) error {
	if o.Shared {
		leave, err := s.lately.take(ctx, sharedRun{c, o.WorkflowID})
		if err != nil {
			return fmt.Errorf("start %s, which another delivery does, too: %w", o.WorkflowID, err)
		}
		defer leave()
		if s.remember(c, o, run) {
			return nil
		}
	}
	registered := s.registeredOf(c, o.Namespace)
	usable := registered.await(ctx)
	attributes := map[string]string{}
	for name, value := range a.attributes {
		if usable[name] {
			attributes[name] = value
		}
	}
	err := execute(ctx, c, o, a, attributes, run)
	var refusal error
	for len(attributes) > 0 && isInvalid(err) {
		// Perhaps for an attribute, which must not fail a start: it goes
		// without those that Temporal names, or else without any.
		if refusal == nil {
			refusal = err
		}
		attributes = without(attributes, err)
		err = execute(ctx, c, o, a, attributes, run)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", o.WorkflowID, err)
	}
	if refusal != nil {
		registered.refused(refusal)
	}
	run.URL = s.URL(o.Integration, o.Namespace, o.WorkflowID, run.RunID)
	if o.Shared {
		s.lately.know(sharedRun{c, o.WorkflowID}, run.RunID)
	}
	return nil
}

func isInvalid(err error) bool {
	_, invalid := errors.AsType[*serviceerror.InvalidArgument](err)
	return invalid
}

// without returns the attributes that err does not name, and none if it names
// none.
func without(attributes map[string]string, err error) map[string]string {
	left := map[string]string{}
	for name, value := range attributes {
		if !strings.Contains(err.Error(), name) {
			left[name] = value
		}
	}
	if len(left) == len(attributes) {
		return nil
	}
	return left
}

// execute uses the only combination of options with which the SDK tells a new
// run from one that was there, open or closed.
func execute(ctx context.Context, c client.Client, o routes.Operation, a *about, attributes map[string]string, run *Run) error {
	updates := make([]temporal.SearchAttributeUpdate, 0, len(attributes))
	for name, value := range attributes {
		updates = append(updates, temporal.NewSearchAttributeKeyKeyword(name).ValueSet(value))
	}
	var memo map[string]any
	if o.Condition {
		memo = map[string]any{triage.MemoCondition: "asked by the run"}
	}
	started, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       o.WorkflowID,
		TaskQueue:                                o.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes:                    temporal.NewSearchAttributes(updates...),
		StaticSummary:                            a.summary,
		StaticDetails:                            a.details,
		Memo:                                     memo,
		Priority:                                 temporal.Priority{PriorityKey: o.Priority, FairnessKey: o.FairnessKey},
	}, o.Workflow, a.inputs[o.Uncompressed])
	if already, there := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); there {
		run.Status, run.RunID = Existing, already.RunId
		return nil
	}
	if err != nil {
		return err
	}
	run.Status, run.RunID = Started, started.GetRunID()
	return nil
}

// URL is the page of a run in the Temporal UI, without runID that of the workflow
// ID's latest run, or "" if it is not known where the UI is.
func (s *Starter) URL(integration, namespace, workflowID, runID string) string {
	ui := s.connections.environments[integration].UIURL
	if ui == "" {
		return ""
	}
	page := ui + "/namespaces/" + url.PathEscape(namespace) + "/workflows/" + url.PathEscape(workflowID)
	if runID != "" {
		page += "/" + runID
	}
	return page
}
