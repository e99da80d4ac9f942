// Package act is what workflows share that act on the outside: they ask Sentry what it
// knows, have it decided what is to be done, and do it.
package act

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
)

const (
	// reading bounds how long a run waits for what Sentry's API says: a page waits for it.
	reading = 10 * time.Second
	tries   = 3
)

// Enrich returns env with what Sentry's API says of the issue. Within 10 seconds it has
// read it, or goes on without: the case says what could not be read.
func Enrich(ctx workflow.Context, env triage.Envelope, issueID string) activities.Case {
	c := activities.Case{Envelope: env}
	if issueID == "" {
		c.Unread = []string{"issue: the delivery does not say which it is"}
		return c
	}
	var sentry *activities.Sentry
	ref := activities.IssueRef{Integration: env.IntegrationID, IssueID: issueID}
	var issueErr, eventErr error
	both := workflow.NewWaitGroup(ctx)
	both.Add(2)
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer both.Done()
		var issue activities.SentryIssue
		if issue, issueErr = triage.Do(ctx, sentry.ReadIssue, ref, triage.Within(reading), triage.Attempts(tries)); issueErr == nil {
			c.Issue = &issue
		}
	})
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer both.Done()
		var event activities.SentryEvent
		if event, eventErr = triage.Do(ctx, sentry.ReadLatestEvent, ref, triage.Within(reading), triage.Attempts(tries)); eventErr == nil {
			c.Event = &event
		}
	})
	both.Wait(ctx)
	if issueErr != nil {
		c.Unread = append(c.Unread, "issue: "+reason(issueErr))
	}
	if eventErr != nil {
		c.Unread = append(c.Unread, "latest event: "+reason(eventErr))
	}
	return c
}

// What a run waits, and how long in all, for destinations that are not known.
const (
	soon     = time.Minute
	soonFor  = 10 * time.Minute
	late     = 5 * time.Minute
	giveUpIn = 24 * time.Hour
)

// Decide returns the decision on a case. While the destinations are not known it waits,
// for a day at most: somebody mends them, and nothing is lost.
func Decide(ctx workflow.Context, c activities.Case) (activities.Decision, error) {
	began := workflow.Now(ctx)
	for {
		decision, err := triage.Local(ctx, activities.Decide, c)
		if err != nil || decision.Problem == "" {
			return decision, err
		}
		waited := workflow.Now(ctx).Sub(began)
		if waited >= giveUpIn {
			return decision, temporal.NewNonRetryableApplicationError(decision.Problem, "NoDestinations", nil)
		}
		workflow.GetLogger(ctx).Error("nobody is told yet", "reason", decision.Problem)
		pause := soon
		if waited >= soonFor {
			pause = late
		}
		if err := workflow.NewTimerWithOptions(ctx, pause, workflow.TimerOptions{Summary: decision.Problem}).Get(ctx, nil); err != nil {
			return decision, err
		}
	}
}

// Outcome is what a run has done, in the order of the decision.
type Outcome struct {
	Severity    string   `json:"severity,omitempty"`
	Why         string   `json:"why,omitempty"`
	Destination string   `json:"destination,omitempty"` // name of the rule that matched
	Effects     []Effect `json:"effects,omitempty"`
	Missing     []string `json:"not_configured,omitempty"` // effects that there would be
	Unread      []string `json:"unread,omitempty"`         // what Sentry did not say, and why
	Note        string   `json:"note,omitempty"`           // why there is nothing else
}

// Unconfigured is the note of a run that can act on nothing.
const Unconfigured = "nothing is configured that could be acted on"

// What has become of an [Effect].
const (
	Done    = "done"
	Skipped = "skipped"
	Failed  = "failed"
)

// Effect is what has become of one effect.
type Effect struct {
	Effect string `json:"effect"`
	To     string `json:"to,omitempty"`
	Is     string `json:"is"`             // Done, Skipped or Failed
	Why    string `json:"why,omitempty"`  // of what is not done
	Name   string `json:"name,omitempty"` // of what is there now
	URL    string `json:"url,omitempty"`  // of what is there now
	Note   string `json:"note,omitempty"` // what else is to be known
}

// Carry carries a decision out: all of it at once, so that nothing waits for what is
// slow or away. It returns when the last effect is there or has failed, which may take a
// day. It fails if nothing could be done of what was to be done.
func Carry(ctx workflow.Context, d activities.Decision) (Outcome, error) {
	o := Outcome{Severity: d.Severity, Why: d.Why, Destination: d.Destination, Missing: d.Missing, Unread: d.Unread, Effects: make([]Effect, len(d.Steps))}
	if d.Untold {
		workflow.GetLogger(ctx).Warn("it is urgent, and nobody is told: no destination matches", "severity", d.Severity, "project", d.Card.Project)
		workflow.GetMetricsHandler(ctx).Counter(activities.MetricNobodyTold).Inc(1)
	}
	at := when(ctx, d)
	resolved := noteResolved(ctx, d, at)
	all := workflow.NewWaitGroup(ctx)
	for i, step := range d.Steps {
		effect := &o.Effects[i]
		*effect = Effect{Effect: step.Effect, To: step.To, Is: Done}
		if step.Skipped != "" {
			effect.skip(step.Skipped)
			continue
		}
		all.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer all.Done()
			if err := effect.have(ctx, d, step, at, resolved); err != nil {
				effect.fail(ctx, err)
			}
		})
	}
	all.Wait(ctx)
	return o, failure(o)
}

// skew is how far another clock may be ahead.
const skew = 5 * time.Minute

// when returns when it became what it is: no later than now, since Sentry signs no time
// that it sends at. With one of next year nobody would be woken until then.
func when(ctx workflow.Context, d activities.Decision) time.Time {
	started := workflow.GetInfo(ctx).WorkflowStartTime
	switch {
	case d.At.IsZero():
		return started
	case d.At.After(started.Add(skew)):
		return started.Add(skew)
	}
	return d.At
}

// have has the effect of a step.
func (e *Effect) have(ctx workflow.Context, d activities.Decision, step activities.Step, at time.Time, resolved workflow.Future) error {
	var (
		slack  *activities.Slack
		github *activities.GitHub
		hook   *activities.Webhook
		sentry *activities.Sentry
	)
	switch step.Effect {
	case activities.EffectPage:
		return e.page(ctx, d, step, at)
	case activities.EffectResolve:
		return e.resolve(ctx, step, resolved)
	case activities.EffectSlack:
		posted, err := triage.Do(ctx, slack.PostMessage, activities.SlackPost{Channel: step.To, Key: step.Key, Card: d.Card})
		e.URL, e.Note = posted.URL, posted.Note
		return err
	case activities.EffectSlackHook:
		posted, err := triage.Do(ctx, slack.PostToIncomingWebhook, activities.SlackHookPost{Variable: step.To, Card: d.Card})
		e.Note = posted.Note
		return err
	case activities.EffectWebhook:
		called, err := triage.Do(ctx, hook.CallWebhook, activities.WebhookCall{Variable: step.To, Key: step.Key, Card: d.Card})
		e.Note = called.Note
		return err
	case activities.EffectTicket:
		ticket, err := triage.Do(ctx, github.CreateTicket, activities.Ticket{Repo: step.To, Key: step.Key, Card: d.Card})
		if err == nil {
			e.Name = "#" + digits(ticket.Number)
		}
		e.URL, e.Note = ticket.URL, ticket.Note
		return err
	case activities.EffectLink:
		linked, err := triage.Do(ctx, sentry.LinkRun, activities.RunLink{IssueRef: d.Issue, Installation: d.Installation, Identifier: step.To})
		e.URL = linked.URL
		if err == nil && linked.Skipped != "" {
			e.skip(linked.Skipped)
		}
		return err
	}
	// Of a later release, which another worker decided by.
	e.skip("this worker does not know it")
	return nil
}

func (e *Effect) skip(why string) { e.Is, e.Why = Skipped, why }

func (e *Effect) fail(ctx workflow.Context, err error) {
	e.Is, e.Why = Failed, reason(err)
	workflow.GetLogger(ctx).Error("an effect failed", "effect", e.Effect, "to", e.To, "reason", e.Why)
	workflow.GetMetricsHandler(ctx).WithTags(map[string]string{activities.LabelEffect: e.Effect}).Counter(activities.MetricEffectsFailed).Inc(1)
}

// failure is the error of a run of which nothing is done, and something has failed.
func failure(o Outcome) error {
	var failed *Effect
	for i, e := range o.Effects {
		switch {
		case e.Is == Done:
			return nil
		case e.Is == Failed && failed == nil:
			failed = &o.Effects[i]
		}
	}
	if failed == nil {
		return nil
	}
	return temporal.NewNonRetryableApplicationError("nothing could be done: "+failed.Effect+": "+failed.Why, "NothingDone", nil, o)
}

// reason is what of an error of an activity says what was wrong.
func reason(err error) string {
	if timeout, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		last := errors.Unwrap(timeout)
		if last == nil {
			return "no answer in time"
		}
		err = last
	}
	if failed, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return failed.Message()
	}
	return err.Error()
}
