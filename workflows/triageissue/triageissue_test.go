package triageissue_test

import (
	"reflect"
	"testing"

	"go.temporal.io/sdk/temporal"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows/act"
	"sentry-temporal/workflows/act/acttest"
	"sentry-temporal/workflows/triageissue"
)

const title = "CartTotalMismatch: cart total <119.90 €> & payment total <100.00 €> differ — order from Café Zürich 🧾"

func TestWithoutAnythingConfiguredAnIssueIsJustRead(t *testing.T) {
	got, err := triagetest.Run(t, triageissue.Workflow, "testdata/issue.created.json")
	if err != nil {
		t.Fatal(err)
	}
	want := triageissue.Result{
		IssueID: "6702149985", Title: title, Level: "error", EventType: "sentry.issue.created",
		Outcome: act.Outcome{Note: act.Unconfigured},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("result = %+v, want %+v", got, want)
	}
}

// by are who may have brought a delivery about, as bodies say it.
var by = map[string]string{
	"sentry":  `"actor":{"type":"application","id":"sentry","name":"Sentry"}`,
	"program": `"actor":{"type":"application","id":"0f3c2f44-1b1f-4b8f-a2ab-9f0a4f3f5c11","name":"Acme"}`,
	"person":  `"actor":{"type":"user","id":3120566,"name":"Jonas Br\u00e5ten"}`,
}

func TestWhatIsDoneAboutAnIssue(t *testing.T) {
	const regressed = `"substatus":"regressed"`
	for name, tt := range map[string]struct {
		payload string
		status  string
		does    string
	}{
		"a new issue":                                      {acttest.Payload(t, "issue.created"), triagetest.Started, "call link page post ticket"},
		"a new issue that a program has made":              {acttest.Payload(t, "issue.created", by["sentry"], by["program"]), triagetest.Started, "call link page post ticket"},
		"a regression":                                     {acttest.Payload(t, "issue.unresolved"), triagetest.Started, "call link page post"},
		"a regression, as a person says":                   {acttest.Payload(t, "issue.unresolved", by["sentry"], by["person"]), triagetest.Started, "call link page post"},
		"one that escalates":                               {acttest.Payload(t, "issue.unresolved", regressed, `"substatus":"escalating"`), triagetest.Started, "call link page post"},
		"one that is back, as Sentry says":                 {acttest.Payload(t, "issue.unresolved", regressed, `"substatus":"ongoing"`), triagetest.Started, "call link page post"},
		"one that a person has set to unresolved":          {acttest.Payload(t, "issue.unresolved", regressed, `"substatus":"ongoing"`, by["sentry"], by["person"]), triagetest.Started, ""},
		"one that a program has set to unresolved":         {acttest.Payload(t, "issue.unresolved", by["sentry"], by["program"]), triagetest.Skipped, ""},
		"one that a person has resolved":                   {acttest.Payload(t, "issue.resolved"), triagetest.Started, "resolve"},
		"one that Sentry has resolved":                     {acttest.Payload(t, "issue.resolved", by["person"], by["sentry"]), triagetest.Started, "resolve"},
		"one that a program has resolved, as this one may": {acttest.Payload(t, "issue.resolved", by["person"], by["program"]), triagetest.Skipped, ""},
		"one that is assigned":                             {acttest.Payload(t, "issue.assigned"), triagetest.Ignored, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &acttest.World{}
			got := triagetest.Deliver(t, triageissue.Workflow, []string{tt.payload}, w.Options(t, acttest.Everything())...)[0]
			if got.Status != tt.status || got.Err != nil {
				t.Fatalf("it is %s, %v", got.Status, got.Err)
			}
			if w.Acts() != tt.does {
				t.Errorf("it does %q, want %q", w.Acts(), tt.does)
			}
			if tt.status == triagetest.Started && tt.does == "" && got.Out.Note == "" {
				t.Error("it does not say why nothing is done")
			}
		})
	}
}

func TestTheRunLinksItselfWhereOnlySentryIsConfigured(t *testing.T) {
	o := config.NoOutside()
	o.Sentry = acttest.Everything().Sentry
	w := &acttest.World{Issue: activities.SentryIssue{Users: "7"}}
	got, err := triagetest.Run(t, triageissue.Workflow, acttest.Payload(t, "issue.created"), w.Options(t, o)...)
	if err != nil || w.Count("link") != 1 || len(w.Calls()) != 3 {
		t.Errorf("%+v, %v after %v", got, err, w.Calls())
	}
}

// What is resolved is resolved at once: Sentry has nothing to say that matters.
func TestAResolutionAsksSentryNothing(t *testing.T) {
	w := &acttest.World{}
	if _, err := triagetest.Run(t, triageissue.Workflow, acttest.Payload(t, "issue.resolved"), w.Options(t, acttest.Everything())...); err != nil {
		t.Fatal(err)
	}
	if w.Count("read") > 0 {
		t.Errorf("the calls are %v", w.Calls())
	}
}

func TestHistory(t *testing.T) {
	triagetest.History(t, triageissue.Workflow, "testdata/history.json", "testdata/issue.created.json")
	for file, payload := range map[string]string{
		"testdata/history.acted.json":    "testdata/issue.created.json",
		"testdata/history.resolved.json": "testdata/issue.resolved.json",
	} {
		w := &acttest.World{}
		triagetest.History(t, triageissue.Workflow, file, payload, w.Options(t, acttest.Everything())...)
	}
	w := &acttest.World{Fail: map[string]func(int) error{"read": acttest.Always(errAway), "post": acttest.Always(errRefused)}}
	triagetest.History(t, triageissue.Workflow, "testdata/history.failures.json", "testdata/issue.created.json", w.Options(t, acttest.Everything())...)
}

var (
	errAway    = temporal.NewApplicationError("it answers 503", activities.TypeUnclear)
	errRefused = temporal.NewNonRetryableApplicationError("it answers 401: look at THE_VARIABLE", activities.TypeRefused, nil)
)
