package act_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/internal/destinations"
	"sentry-temporal/internal/outside"
	"sentry-temporal/triage"
	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows/act"
	"sentry-temporal/workflows/act/acttest"
)

// acted is the result of a run that acts on all that it is given.
type acted struct {
	act.Outcome
	Took time.Duration
}

var acting = triage.New("acting", func(ctx workflow.Context, env triage.Envelope) (acted, error) {
	began := workflow.Now(ctx)
	c := act.Enrich(ctx, env, triage.DeliveryOf(env).IssueID)
	d, err := act.Decide(ctx, c)
	if err != nil {
		return acted{}, err
	}
	o, err := act.Carry(ctx, d)
	return acted{o, workflow.Now(ctx).Sub(began)}, err
}, triage.On("sentry.*"))

var (
	refused = temporal.NewNonRetryableApplicationError("it answers 401: look at THE_VARIABLE", activities.TypeRefused, nil)
	away    = temporal.NewApplicationError("it answers 503", activities.TypeUnclear)
)

// effectOf returns what has become of an effect.
func effectOf(t *testing.T, o acted, name string) act.Effect {
	t.Helper()
	i := slices.IndexFunc(o.Effects, func(e act.Effect) bool { return e.Effect == name })
	if i < 0 {
		t.Fatalf("there is no %s in %+v", name, o)
	}
	return o.Effects[i]
}

func TestAllThatIsConfiguredIsDoneThePageFirst(t *testing.T) {
	w := &acttest.World{}
	o, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), w.Options(t, acttest.Everything())...)
	if err != nil {
		t.Fatal(err)
	}
	key := activities.EffectKey("sentry", "issue:6702149985", "page", "1")
	want := []act.Effect{
		{Effect: "page", To: config.PagerDutyRoutingKey, Is: act.Done, Name: key},
		{Effect: "slack", To: "#sentry", Is: act.Done, URL: "https://slack.example/p1"},
		{Effect: "webhook", To: config.WebhookURL, Is: act.Done, Note: "delivered, at least once"},
		{Effect: "ticket", To: "acme/pay", Is: act.Done, Name: "#7", URL: "https://github.example/7"},
		{Effect: "link", To: "BACKEND-1A", Is: act.Done, URL: "https://temporal.example/run"},
	}
	if !slices.Equal(o.Effects, want) || o.Severity != "high" || o.Destination != "variables" || o.Why == "" || len(o.Unread) > 0 {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestWhatFailsStopsNothingElseAndIsInTheResult(t *testing.T) {
	for _, failing := range []string{"page", "post", "call", "ticket", "link"} {
		t.Run(failing, func(t *testing.T) {
			w := &acttest.World{Fail: map[string]func(int) error{failing: acttest.Always(refused)}}
			o, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), w.Options(t, acttest.Everything())...)
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, e := range o.Effects {
				if e.Is == act.Failed {
					failed++
					if !strings.Contains(e.Why, "THE_VARIABLE") || strings.Contains(e.Why, "activity error") {
						t.Errorf("the reason is %q", e.Why)
					}
				}
			}
			if failed != 1 {
				t.Errorf("%d have failed: %+v", failed, o.Effects)
			}
		})
	}
}

func TestARunFailsOnlyIfNothingCouldBeDone(t *testing.T) {
	fail := map[string]func(int) error{}
	for _, call := range []string{"page", "post", "call", "ticket", "link"} {
		fail[call] = acttest.Always(refused)
	}
	w := &acttest.World{Fail: fail}
	_, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), w.Options(t, acttest.Everything())...)
	failed, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok || !strings.Contains(err.Error(), "THE_VARIABLE") {
		t.Fatalf("the error is %v", err)
	}
	var o act.Outcome
	if err := failed.Details(&o); err != nil || len(o.Effects) != 5 {
		t.Errorf("the details are %+v, %v", o, err)
	}
	delete(fail, "link")
	if _, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), w.Options(t, acttest.Everything())...); err != nil {
		t.Errorf("with a link the error is %v", err)
	}
	// What is not to be done is no failure.
	pagerOnly := config.NoOutside()
	pagerOnly.PagerDutyVariable = config.PagerDutyRoutingKey
	warned, err := triagetest.Run(t, acting, acttest.Payload(t, "metric_alert.warning"), w.Options(t, pagerOnly)...)
	if page := effectOf(t, warned, "page"); err != nil || page.Is != act.Skipped || page.Why == "" {
		t.Errorf("the outcome is %+v, %v", warned, err)
	}
}

// A page does not wait for a Sentry that does not answer.
func TestASentryThatIsAwayHoldsNothingUpForLong(t *testing.T) {
	later := temporal.NewApplicationErrorWithOptions("it answers 429", activities.TypeNotSent, temporal.ApplicationErrorOptions{NextRetryDelay: time.Hour})
	for name, tt := range map[string]struct {
		issue, event error
	}{
		"it cannot be reached": {away, away},
		"it has one wait":      {later, away},
		"it refuses":           {refused, refused},
	} {
		t.Run(name, func(t *testing.T) {
			w := &acttest.World{Fail: map[string]func(int) error{"read": acttest.Always(tt.issue), "read event": acttest.Always(tt.event)}}
			o, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), w.Options(t, acttest.Everything())...)
			if err != nil || len(o.Unread) != 2 || !strings.HasPrefix(o.Unread[0], "issue: ") || !strings.HasPrefix(o.Unread[1], "latest event: ") || w.Count("page") != 1 {
				t.Fatalf("the outcome is %+v, %v", o, err)
			}
			if o.Took > 11*time.Second {
				t.Errorf("it took %s", o.Took)
			}
		})
	}
}

// Nobody can tell whether Slack is back but by asking; all else is long done by then.
func TestASlackThatIsDownForHoursGetsItsMessageAndDelaysNothing(t *testing.T) {
	const attempts = 45 // within 3 hours
	w := &acttest.World{Fail: map[string]func(int) error{"post": func(attempt int) error {
		if attempt < attempts {
			return away
		}
		return nil
	}}}
	o, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), w.Options(t, acttest.Everything())...)
	if err != nil || effectOf(t, o, "slack").Is != act.Done {
		t.Fatalf("the outcome is %+v, %v", o, err)
	}
	if o.Took < 3*time.Hour || o.Took > 4*time.Hour {
		t.Errorf("it took %s", o.Took)
	}
	first := slices.Index(w.Calls(), "post")
	second := slices.Index(w.Calls()[first+1:], "post") + first + 1
	for _, other := range []string{"page", "call", "ticket", "link"} {
		if at := slices.Index(w.Calls(), other); at < 0 || at > second {
			t.Errorf("%s waited: %v", other, w.Calls()[:min(20, len(w.Calls()))])
		}
	}
}

func TestARunWaitsForDestinationsThatAreMended(t *testing.T) {
	table := destinations.FromVariables(acttest.Everything())
	mended := false
	asked := 0
	w := &acttest.World{}
	options := append(w.Options(t, config.NoOutside()), triagetest.Replace(activities.Decide, func(ctx context.Context, c activities.Case) (activities.Decision, error) {
		asked++
		mended = asked > 20
		return activities.Decide(outside.With(ctx, &outside.Systems{Destinations: func() (*destinations.Table, error) {
			if !mended {
				return nil, errors.New("line 7: no such key")
			}
			return table, nil
		}}), c)
	}))
	o, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), options...)
	if err != nil || effectOf(t, o, "page").Is != act.Done || w.Count("page") != 1 {
		t.Errorf("the outcome is %+v, %v", o, err)
	}
}

func TestARunDoesNotWaitForDestinationsForEver(t *testing.T) {
	asked := 0
	options := append((&acttest.World{}).Options(t, config.NoOutside()), triagetest.Replace(activities.Decide, func(context.Context, activities.Case) (activities.Decision, error) {
		asked++
		return activities.Decision{Problem: "line 7: no such key"}, nil
	}))
	_, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"), options...)
	if err == nil || !strings.Contains(err.Error(), "line 7") {
		t.Errorf("the error is %v", err)
	}
	if least, most := 10+(24*60-10)/5, 12+(24*60-10)/5; asked < least || asked > most {
		t.Errorf("it was decided %d times", asked)
	}
}

func TestAResolutionThatIsFirstHasNobodyPaged(t *testing.T) {
	w := &acttest.World{}
	all := triagetest.Deliver(t, acting, []string{
		acttest.Payload(t, "metric_alert.resolved"), acttest.Payload(t, "metric_alert.critical"),
	}, w.Options(t, acttest.Everything())...)
	page := effectOf(t, all[1].Out, "page")
	if w.Count("page") != 0 || page.Is != act.Skipped || !strings.Contains(page.Why, "resolved") {
		t.Errorf("it paged %d times: %+v", w.Count("page"), page)
	}
	if w.Count("resolve") != 1 || w.Count("post") != 2 {
		t.Errorf("the calls are %v", w.Calls())
	}
}

func TestTheNextIncidentOfARulePagesAgain(t *testing.T) {
	w := &acttest.World{}
	later := []string{`"date_created":"2026-03-17T09:46`, `"date_created":"2026-03-17T12:46`}
	all := triagetest.Deliver(t, acting, []string{
		acttest.Payload(t, "metric_alert.critical"), acttest.Payload(t, "metric_alert.resolved"), acttest.Payload(t, "metric_alert.critical", later...),
	}, w.Options(t, acttest.Everything())...)
	if w.Count("page") != 2 || w.Count("resolve") != 1 {
		t.Errorf("the calls are %v", w.Calls())
	}
	if page := effectOf(t, all[2].Out, "page"); page.Is != act.Done {
		t.Errorf("the page is %+v", page)
	}
	// And the resolution of the first one comes once more, late: the second one stays.
	again := triagetest.Deliver(t, acting, []string{
		acttest.Payload(t, "metric_alert.critical", later...), acttest.Payload(t, "metric_alert.resolved"),
	}, w.Options(t, acttest.Everything())...)
	if resolve := effectOf(t, again[1].Out, "resolve"); resolve.Is != act.Skipped || w.Count("resolve") != 1 {
		t.Errorf("it is resolved: %+v", resolve)
	}
}

// Whoever has one delivery can send it again, with another time in its header.
func TestAResolutionFromTheFutureKeepsNobodyAsleep(t *testing.T) {
	w := &acttest.World{}
	key := activities.EffectKey("sentry", "issue:7", activities.EffectPage, "1")
	step := func(effect string) []activities.Step {
		return []activities.Step{{Effect: effect, To: config.PagerDutyRoutingKey, Key: key}}
	}
	future := triage.New("future", func(ctx workflow.Context, _ triage.Envelope) (time.Duration, error) {
		now := workflow.Now(ctx)
		if _, err := act.Carry(ctx, activities.Decision{At: now.Add(1000 * time.Hour), Steps: step(activities.EffectResolve)}); err != nil {
			return 0, err
		}
		newest, err := triage.Latest(ctx, key, triage.State{Name: "open", At: now})
		return newest.At.Sub(now), err
	}, triage.On("sentry.*"))
	ahead, err := triagetest.Run(t, future, acttest.Payload(t, "issue.resolved"), w.Options(t, acttest.Everything())...)
	if err != nil || ahead > 5*time.Minute {
		t.Errorf("it is resolved for %s from now on, %v", ahead, err)
	}
}
