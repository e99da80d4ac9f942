package pageonalert_test

import (
	"reflect"
	"strings"
	"testing"

	"sentry-temporal/activities"
	"sentry-temporal/internal/config"
	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows/act"
	"sentry-temporal/workflows/act/acttest"
	"sentry-temporal/workflows/pageonalert"
)

func TestWithoutAnybodyToTellAnAlertIsJustRead(t *testing.T) {
	got, err := triagetest.Run(t, pageonalert.Workflow, "testdata/metric_alert.critical.json")
	if err != nil {
		t.Fatal(err)
	}
	want := pageonalert.Result{
		Rule: "Payment page failures", Title: "Critical: Payment page failures", State: "critical", EventType: "sentry.metric_alert.critical",
		Outcome: act.Outcome{Note: act.Unconfigured},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("result = %+v, want %+v", got, want)
	}
}

func TestWhatIsDoneAboutAnAlert(t *testing.T) {
	const error, fatal = `"level":"error"`, `"level":"fatal"`
	old := activities.SentryIssue{Issue: activities.Issue{ID: "6702149985", FirstSeen: "2024-03-01T00:00:00Z"}, Substatus: "ongoing"}
	regressed := old
	regressed.Substatus = "regressed"
	for name, tt := range map[string]struct {
		payload string
		issue   activities.SentryIssue
		does    string
	}{
		"critical":                           {acttest.Payload(t, "metric_alert.critical"), old, "call page post"},
		"warning":                            {acttest.Payload(t, "metric_alert.warning"), old, "call post"},
		"resolved":                           {acttest.Payload(t, "metric_alert.resolved"), old, "call post resolve"},
		"of an issue that is there for long": {acttest.Payload(t, "event_alert.triggered", error, fatal), old, "call page post"},
		"of an issue that is back":           {acttest.Payload(t, "event_alert.triggered", error, fatal), regressed, "call post"},
		"of an issue that is not known":      {acttest.Payload(t, "event_alert.triggered", error, fatal), activities.SentryIssue{}, "call post"},
		"a test":                             {acttest.Payload(t, "event_alert.triggered", error, fatal, `"issue_alert":{"id":1650933`, `"issue_alert":{"id":-1`), old, "post"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &acttest.World{Issue: tt.issue}
			got, err := triagetest.Run(t, pageonalert.Workflow, tt.payload, w.Options(t, acttest.Everything())...)
			if err != nil {
				t.Fatal(err)
			}
			if w.Acts() != tt.does {
				t.Errorf("it does %q, want %q: %+v", w.Acts(), tt.does, got)
			}
		})
	}
}

func TestWithoutSentrysAPIAnIssueAlertIsToldAndSaysWhoPages(t *testing.T) {
	o := acttest.Everything()
	o.Sentry = nil
	w := &acttest.World{}
	got, err := triagetest.Run(t, pageonalert.Workflow, acttest.Payload(t, "event_alert.triggered", `"level":"error"`, `"level":"fatal"`), w.Options(t, o)...)
	if err != nil || w.Acts() != "call post" || !strings.Contains(got.Effects[0].Why, "triage_sentry_issue") {
		t.Errorf("%+v, %v after %v", got, err, w.Calls())
	}
}

func TestATokenForSentryAloneTellsNobody(t *testing.T) {
	o := config.NoOutside()
	o.Sentry = acttest.Everything().Sentry
	w := &acttest.World{}
	got, err := triagetest.Run(t, pageonalert.Workflow, "testdata/event_alert.triggered.json", w.Options(t, o)...)
	if err != nil || len(w.Calls()) > 0 || got.Note != act.Unconfigured {
		t.Errorf("%+v, %v after %v", got, err, w.Calls())
	}
}

func TestHistory(t *testing.T) {
	triagetest.History(t, pageonalert.Workflow, "testdata/history.json", "testdata/metric_alert.critical.json")
	for file, payload := range map[string]string{
		"testdata/history.paged.json":    "testdata/metric_alert.critical.json",
		"testdata/history.resolved.json": "testdata/metric_alert.resolved.json",
		"testdata/history.issue.json":    "testdata/event_alert.triggered.json",
	} {
		w := &acttest.World{}
		triagetest.History(t, pageonalert.Workflow, file, payload, w.Options(t, acttest.Everything())...)
	}
}
