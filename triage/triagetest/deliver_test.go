package triagetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/triage"
	"sentry-temporal/triage/triagetest"
)

// storm posts what is fatal, once an issue and hour.
var storm = triage.New("storm", func(ctx workflow.Context, env triage.Envelope) (string, error) {
	var c *chat
	return triage.Do(ctx, c.Post, triage.DeliveryOf(env).Title)
}, triage.On("sentry.error.created"), triage.Key(triage.PerIssue(time.Hour)),
	triage.When(func(d triage.Delivery) bool { return d.Level == "fatal" }))

func TestDeliverTellsWhatBecomesOfEach(t *testing.T) {
	at := func(name, datetime, level string) string {
		return file(t, "error.created."+name+".json", fmt.Appendf(nil,
			`{"action":"created","data":{"error":{"issue_id":"1","title":%q,"datetime":%q,"level":%q}}}`, name, datetime, level))
	}
	var c *chat
	got := triagetest.Deliver(t, storm, []string{
		at("first", "2026-11-25T12:00:00Z", "fatal"),
		at("harmless", "2026-11-25T12:10:00Z", "error"),
		at("again", "2026-11-25T12:59:59Z", "fatal"),
		at("later", "2026-11-25T13:00:00Z", "fatal"),
		payload(t, "issue.created.json"),
	}, triagetest.Replace(c.Post, fake), triagetest.Calls(triagetest.Call(c.Post, "first"), triagetest.Call(c.Post, "later")))
	want := []triagetest.Delivered[string]{
		{Status: triagetest.Started, Run: 1, Out: "fake first"},
		{Status: triagetest.Skipped},
		{Status: triagetest.Existing, Run: 1, Out: "fake first"},
		{Status: triagetest.Started, Run: 2, Out: "fake later"},
		{Status: triagetest.Ignored},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestByDefaultEachDeliveryIsARunOfItsOwn(t *testing.T) {
	path := payload(t, "issue.created.json")
	var keys []string
	notes := define(func(ctx workflow.Context, env triage.Envelope) (string, error) {
		keys = append(keys, env.IdempotencyKey)
		return workflow.GetInfo(ctx).WorkflowExecution.ID, nil
	})
	got := triagetest.Deliver(t, notes, []string{path, path})
	for i, d := range got {
		if want := "some_workflow:sentry:" + keys[i]; d.Status != triagetest.Started || d.Run != i+1 || d.Out != want {
			t.Errorf("delivery %d: %+v, want %s", i, d, want)
		}
	}
	if keys[0] == keys[1] {
		t.Error("they share a Request-ID")
	}
}

func TestDeliverReturnsTheErrorsOfRuns(t *testing.T) {
	broken := errors.New("broken")
	got := triagetest.Deliver(t, define(func(workflow.Context, triage.Envelope) (string, error) { return "", broken }),
		[]string{payload(t, "issue.created.json")})
	if len(got) != 1 || got[0].Err == nil || got[0].Status != triagetest.Started {
		t.Errorf("got %+v", got)
	}
}

func TestARunWhoseConditionDoesNotHoldFailsTheTest(t *testing.T) {
	path := payload(t, "error.created.json") // is no fatal one
	failures := record(t, func(t testing.TB) { _, _ = triagetest.Run(t, storm, path) })
	if len(failures) != 1 || !strings.Contains(failures[0], "condition") {
		t.Errorf("the failures are %q", failures)
	}
}

func TestAConditionThatPanicsFailsTheTest(t *testing.T) {
	panics := triage.New("some_workflow", func(workflow.Context, triage.Envelope) (string, error) { return "ran", nil },
		triage.On("sentry.*"), triage.When(func(triage.Delivery) bool { panic("no level") }))
	path := payload(t, "issue.created.json")
	failures := record(t, func(t testing.TB) {
		if got, err := triagetest.Run(t, panics, path); got != "ran" || err != nil {
			t.Errorf("as in production it runs; here: %q, %v", got, err)
		}
	})
	if len(failures) != 1 || !strings.Contains(failures[0], "no level") {
		t.Errorf("the failures are %q", failures)
	}
}

func TestCallsAreComparedInOrder(t *testing.T) {
	var c *chat
	both := define(func(ctx workflow.Context, env triage.Envelope) (string, error) {
		if _, err := triage.Local(ctx, eventType, env); err != nil { // is none
			return "", err
		}
		if _, err := triage.Do(ctx, lookup, "a"); err != nil {
			return "", err
		}
		return triage.Do(ctx, c.Post, "b")
	})
	path := payload(t, "issue.created.json")
	failing := 2
	failsAtFirst := func(ctx context.Context, in string) (string, error) {
		if failing--; failing >= 0 {
			return "", errors.New("again")
		}
		return fake(ctx, in)
	}
	looks, posts := triagetest.Call(lookup, "a"), triagetest.Call(c.Post, "b")
	for name, tt := range map[string]struct {
		want   []triagetest.Called
		naming string // of the failure; "": there is none
	}{
		"as they are":        {[]triagetest.Called{looks, posts}, ""},
		"the other way":      {[]triagetest.Called{posts, looks}, `lookup "a"`},
		"one is missing":     {[]triagetest.Called{looks}, `Post "b"`},
		"one too many":       {[]triagetest.Called{looks, posts, posts}, `Post "b"`},
		"none":               {nil, "none"},
		"with another input": {[]triagetest.Called{looks, triagetest.Call(c.Post, "c")}, `Post "c"`},
	} {
		t.Run(name, func(t *testing.T) {
			failing = 2
			failures := record(t, func(t testing.TB) {
				_, err := triagetest.Run(t, both, path, triagetest.Replace(lookup, failsAtFirst), triagetest.Replace(c.Post, fake), triagetest.Calls(tt.want...))
				if err != nil {
					t.Error(err)
				}
			})
			switch {
			case tt.naming == "" && len(failures) != 0, tt.naming != "" && (len(failures) != 1 || !strings.Contains(failures[0], tt.naming)):
				t.Errorf("the failures are %q", failures)
			}
		})
	}
}

// The test environment itself would end after 10 attempts what has no end.
func TestActivitiesAreRepeatedAsTheirPolicySays(t *testing.T) {
	attempts := 0
	failing := func(context.Context, string) (string, error) {
		attempts++
		return "", errors.New("connection refused")
	}
	path := payload(t, "issue.created.json")
	if _, err := triagetest.Run(t, looksUp, path, triagetest.Replace(lookup, failing)); err == nil || attempts != 300 {
		t.Errorf("Do: %d attempts, then %v", attempts, err)
	}

	attempts = 0
	heals := func(ctx context.Context, in string) (string, error) {
		if attempts < 1000 {
			return failing(ctx, in)
		}
		return "healed", nil
	}
	unending := define(func(ctx workflow.Context, _ triage.Envelope) (string, error) {
		var out string
		start := workflow.Now(ctx)
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Minute, BackoffCoefficient: 1}})
		err := workflow.ExecuteActivity(ctx, lookup, "in").Get(ctx, &out)
		return out + " after " + workflow.Now(ctx).Sub(start).String(), err
	})
	if got, err := triagetest.Run(t, unending, path, triagetest.Replace(lookup, heals)); err != nil || got != "healed after 16h40m0s" {
		t.Errorf("with no end: %q after %d attempts, %v", got, attempts, err)
	}
}

// That of the test environment stays at the first one.
func TestPausesWithoutALimitAreThoseOfAServer(t *testing.T) {
	attempts := 0
	heals := func(context.Context, string) (string, error) {
		if attempts++; attempts <= 10 {
			return "", errors.New("connection refused")
		}
		return "healed", nil
	}
	plain := define(func(ctx workflow.Context, _ triage.Envelope) (string, error) {
		start := workflow.Now(ctx)
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Second})
		err := workflow.ExecuteActivity(ctx, lookup, "in").Get(ctx, nil)
		return workflow.Now(ctx).Sub(start).String(), err
	})
	// 1+2+4+8+16+32+64+100+100+100 seconds.
	if got, err := triagetest.Run(t, plain, payload(t, "issue.created.json"), triagetest.Replace(lookup, heals)); err != nil || got != "7m7s" {
		t.Errorf("it took %s: %v", got, err)
	}
}
