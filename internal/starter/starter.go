// Package starter turns deliveries into Temporal workflow runs, each exactly
// once.
package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"sentry-temporal/internal/sentry"
	"sentry-temporal/internal/triage"
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

// Starter starts the workflows that want a delivery.
type Starter struct {
	workflows    []triage.Workflow
	environments map[string]Environment
	registered   map[string]*registered // by namespace
	uiURL        string
}

// New returns a Starter of all workflows. environments is by integration.
// uiURL is the base address of the Temporal UI; with "" runs have no URL.
func New(all []triage.Workflow, environments map[string]Environment, uiURL string, log *slog.Logger) *Starter {
	s := &Starter{workflows: all, environments: environments, registered: map[string]*registered{}, uiURL: uiURL}
	for _, e := range environments {
		if s.registered[e.Namespace] == nil {
			s.registered[e.Namespace] = &registered{namespace: e.Namespace, client: e.Client, log: log}
		}
	}
	return s
}

// Plan returns the runs that a delivery of env has or is to have, as
// [Accepted]: their IDs do not depend on Temporal. It is empty when no workflow
// wants the event.
func (s *Starter) Plan(env sentry.Envelope) []Run {
	var runs []Run
	for _, w := range triage.Wanting(s.workflows, env.EventType) {
		id := w.Name() + ":" + env.IntegrationID + ":" + env.IdempotencyKey
		runs = append(runs, Run{Workflow: w.Name(), WorkflowID: id, Status: Accepted, URL: s.url(env.IntegrationID, id, "")})
	}
	return runs
}

// Start starts every workflow that wants env and returns one run for each,
// [Started] or [Existing]. Repeating it starts nothing twice, as long as the
// namespace retains the closed run. When some starts fail the error is that of
// the first to fail, and repeating all of them repairs it. Start obeys ctx's
// deadline, whatever Temporal does.
func (s *Starter) Start(ctx context.Context, env sentry.Envelope) ([]Run, error) {
	runs := s.Plan(env)
	if len(runs) == 0 {
		return nil, nil
	}
	switch large, err := tooLarge(env); {
	case err != nil:
		return nil, fmt.Errorf("encode delivery %s: %w", env.IdempotencyKey, err)
	case large:
		return nil, ErrTooLarge
	}
	subject := sentry.SubjectOf(env.Body)
	var group errgroup.Group // one failure does not stop the other starts
	for i := range runs {
		group.Go(func() error { return s.start(ctx, &runs[i], env, subject) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return runs, nil
}

// Deliver is [Starter.Start] for an ingress without a journal: what Temporal has
// stored is kept, and nothing else is.
func (s *Starter) Deliver(ctx context.Context, env sentry.Envelope, _ time.Duration) ([]Run, error) {
	return s.Start(ctx, env)
}

func (s *Starter) start(ctx context.Context, run *Run, env sentry.Envelope, subject sentry.Subject) error {
	environment, ok := s.environments[env.IntegrationID]
	if !ok {
		return fmt.Errorf("start %s: integration %q is not configured", run.WorkflowID, env.IntegrationID)
	}
	registered := s.registered[environment.Namespace]
	usable, err := registered.get(ctx)
	if err != nil {
		return fmt.Errorf("start %s: %w", run.WorkflowID, err)
	}
	var attributes []temporal.SearchAttributeUpdate
	for name, value := range attributesOf(env, subject) {
		if usable[name] {
			attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(name).ValueSet(value))
		}
	}
	err = execute(ctx, environment, run, env, subject, attributes)
	if Permanent(err) && len(attributes) > 0 {
		// Perhaps an attribute is gone by now: that must not fail a start.
		registered.forget()
		err = execute(ctx, environment, run, env, subject, nil)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", run.WorkflowID, err)
	}
	run.URL = s.url(env.IntegrationID, run.WorkflowID, run.RunID)
	return nil
}

// execute uses the only combination of options with which the SDK tells a new
// run from one that was there, open or closed.
func execute(ctx context.Context, environment Environment, run *Run, env sentry.Envelope, subject sentry.Subject, attributes []temporal.SearchAttributeUpdate) error {
	started, err := environment.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       run.WorkflowID,
		TaskQueue:                                environment.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes:                    temporal.NewSearchAttributes(attributes...),
		StaticSummary:                            summaryOf(env, subject),
		StaticDetails:                            detailsOf(env, subject),
	}, run.Workflow, env)
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

// ErrTooLarge says that Temporal does not take a delivery for its size.
var ErrTooLarge = errors.New("the delivery is over Temporal's 2 MiB, even compressed")

const (
	// maxPayload is what a Temporal server takes unless it is told otherwise.
	maxPayload = 2 << 20
	// surelyFits is a body, in bytes, that is never over maxPayload once it is
	// compressed.
	surelyFits = 1 << 20
)

// tooLarge measures instead of asking: Temporal's answers differ with the size,
// and one of them is that of a busy server, which the SDK keeps asking.
func tooLarge(env sentry.Envelope) (bool, error) {
	if len(env.Body) <= surelyFits {
		return false, nil
	}
	payload, err := DataConverter().ToPayload(env)
	return len(payload.GetData()) > maxPayload, err
}

// Permanent reports whether a start that failed with err would fail for ever.
func Permanent(err error) bool {
	_, invalid := errors.AsType[*serviceerror.InvalidArgument](err)
	return invalid || errors.Is(err, ErrTooLarge)
}

// url is the page of a run in the Temporal UI; without runID the page of the
// workflow ID's latest run.
func (s *Starter) url(integration, workflowID, runID string) string {
	if s.uiURL == "" {
		return ""
	}
	page := s.uiURL + "/namespaces/" + url.PathEscape(s.environments[integration].Namespace) + "/workflows/" + url.PathEscape(workflowID)
	if runID != "" {
		page += "/" + runID
	}
	return page
}
