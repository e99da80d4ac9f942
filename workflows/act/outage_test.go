package act_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"sentry-temporal/activities"
	"sentry-temporal/internal/outside"
	"sentry-temporal/internal/standin"
	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows/act"
	"sentry-temporal/workflows/act/acttest"
)

// Whatever is away, and however it says so, the run asks it for a day, and is done with
// all else at once. What is asked for a day outlasts an outage of a night.
func TestWhatIsAwayIsAskedForADayAndDelaysNothingElse(t *testing.T) {
	for effect, of := range map[string]func(*acttest.Stage) *standin.Server{
		activities.EffectPage:    func(s *acttest.Stage) *standin.Server { return s.PagerDuty.Server },
		activities.EffectSlack:   func(s *acttest.Stage) *standin.Server { return s.Slack.Server },
		activities.EffectWebhook: func(s *acttest.Stage) *standin.Server { return s.Webhook.Server },
		activities.EffectTicket:  func(s *acttest.Stage) *standin.Server { return s.GitHub.Server },
		activities.EffectLink:    func(s *acttest.Stage) *standin.Server { return s.Sentry.Server },
	} {
		for name, fault := range map[string]standin.Fault{
			"503":                    {Status: http.StatusServiceUnavailable},
			"429, again in a second": {Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}},
		} {
			t.Run(effect+": "+name, func(t *testing.T) {
				stage := acttest.NewStage(t)
				fault.Times = -1
				of(stage).Fail(fault)
				o, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"),
					triagetest.Activities(outside.With(t.Context(), stage.Systems(0)), activities.All...))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range o.Effects {
					want := act.Done
					if e.Effect == effect {
						want = act.Failed
					}
					if e.Is != want {
						t.Errorf("%s is %s: %s", e.Effect, e.Is, e.Why)
					}
				}
				if o.Took < 20*time.Hour {
					t.Errorf("it is asked for %s", o.Took)
				}
			})
		}
	}
}

func TestASlackThatIsBackAfterHoursHasItsMessageOnce(t *testing.T) {
	stage := acttest.NewStage(t)
	stage.Slack.Fail(
		standin.Fault{Path: "/api/chat.postMessage", Hang: true},
		standin.Fault{Times: 2, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}},
		standin.Fault{Times: 20, Status: http.StatusServiceUnavailable},
	)
	o, err := triagetest.Run(t, acting, acttest.Payload(t, "issue.created"),
		triagetest.Activities(outside.With(t.Context(), stage.Systems(300*time.Millisecond)), activities.All...))
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(o.Effects, func(e act.Effect) bool { return e.Is != act.Done }); i >= 0 {
		t.Errorf("it has not come to %+v", o.Effects[i])
	}
	if posts := len(stage.Slack.Messages("sentry")); posts != 1 || o.Took < 3*time.Hour {
		t.Errorf("after %s there are %d messages", o.Took, posts)
	}
}
