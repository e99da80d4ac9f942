package triage_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"sentry-temporal/triage"
)

// about is a delivery about an issue at a time of its body.
func about(issue, lastSeen string) triage.Delivery {
	env := triage.Envelope{EventType: "sentry.issue.created"}
	if err := env.Body.UnmarshalJSON(fmt.Appendf(nil, `{"data":{"issue":{"id":%q,"lastSeen":%q}}}`, issue, lastSeen)); err != nil {
		panic(err)
	}
	return triage.DeliveryOf(env)
}

func TestAnIssueIsOneRunAWindow(t *testing.T) {
	hour := triage.PerIssue(time.Hour)
	for name, tt := range map[string]struct {
		keying triage.Keying
		d      triage.Delivery
		want   string // "": the Request-ID
	}{
		"within a window":           {hour, about("6702149985", "2026-11-25T12:34:56Z"), "issue~6702149985~20261125T120000Z"},
		"at its start":              {hour, about("6702149985", "2026-11-25T12:00:00Z"), "issue~6702149985~20261125T120000Z"},
		"at its very end":           {hour, about("6702149985", "2026-11-25T12:59:59.999999Z"), "issue~6702149985~20261125T120000Z"},
		"at the start of the next":  {hour, about("6702149985", "2026-11-25T13:00:00Z"), "issue~6702149985~20261125T130000Z"},
		"by the clock of elsewhere": {hour, about("6702149985", "2026-11-25T18:04:56+05:30"), "issue~6702149985~20261125T120000Z"},
		"of another issue":          {hour, about("1", "2026-11-25T12:34:56Z"), "issue~1~20261125T120000Z"},
		"of a day":                  {triage.PerIssue(24 * time.Hour), about("1", "2026-11-25T23:59:59Z"), "issue~1~20261125T000000Z"},
		"of seconds":                {triage.PerIssue(90 * time.Second), about("1", "2026-11-25T00:02:59Z"), "issue~1~20261125T000130Z"},
		"without an issue":          {hour, about("", "2026-11-25T12:34:56Z"), ""},
		"without a time":            {hour, about("1", ""), ""},
		"with an id of any bytes":   {hour, about("1/2", "2026-11-25T12:34:56Z"), ""},
		"with the sign of a key":    {hour, about("1~20261125T110000Z", "2026-11-25T12:34:56Z"), ""},
		"with an id that is long":   {hour, about(strings.Repeat("1", 65), "2026-11-25T12:34:56Z"), ""},
		"with the longest id":       {hour, about(strings.Repeat("1", 64), "2026-11-25T12:34:56Z"), "issue~" + strings.Repeat("1", 64) + "~20261125T120000Z"},
		"by the Request-ID":         {triage.Keying{}, about("1", "2026-11-25T12:34:56Z"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := tt.keying.Of(tt.d); got != tt.want || ok != (tt.want != "") {
				t.Errorf("the key is %q, %t; want %q", got, ok, tt.want)
			}
		})
	}
}

// A repetition may come at any time and with any header.
func TestARepetitionHasTheSameKeyWheneverItComes(t *testing.T) {
	env := triage.Envelope{Timestamp: 1793966400, IdempotencyKey: "a", Body: `{"data":{"issue":{"id":"1","lastSeen":"2026-11-25T12:34:56Z"}}}`}
	again := env
	again.Timestamp, again.IdempotencyKey, again.Headers = 1993966400, "b", map[string]string{"sentry-hook-timestamp": "1993966400"}
	k := triage.PerIssue(time.Minute)
	one, _ := k.Of(triage.DeliveryOf(env))
	two, _ := k.Of(triage.DeliveryOf(again))
	if one == "" || one != two {
		t.Errorf("the keys are %q and %q", one, two)
	}
}

// No Request-ID can be taken for the key of an issue.
func TestAKeyHasASignThatNoRequestIDHolds(t *testing.T) {
	key, _ := triage.PerIssue(time.Hour).Of(about("1", "2026-11-25T12:34:56Z"))
	if regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(key) {
		t.Errorf("%q may be a Request-ID", key)
	}
}

func TestAWindowHasBounds(t *testing.T) {
	for _, window := range []time.Duration{triage.MinWindow, time.Hour, triage.MaxWindow} {
		if err := triage.CheckWindow(window); err != nil || triage.PerIssue(window).Window() != window {
			t.Errorf("%s: %v", window, err)
		}
	}
	for _, window := range []time.Duration{-time.Hour, 0, triage.MinWindow - 1, triage.MaxWindow + 1} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			if triage.CheckWindow(window) == nil {
				t.Error("it is taken")
			}
			panics(t, func() { triage.PerIssue(window) })
		})
	}
}

func TestAWorkflowSaysHowItIsKeyed(t *testing.T) {
	on := triage.On("sentry.issue.created")
	if k := triage.New("some_workflow", idle, on).Keying(); k.Window() != 0 {
		t.Errorf("by default the window is %s", k.Window())
	}
	if k := triage.New("some_workflow", idle, on, triage.Key(triage.PerIssue(time.Hour))).Keying(); k.Window() != time.Hour {
		t.Errorf("the window is %s", k.Window())
	}
}
