package triageissue_test

import (
	"testing"

	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows/triageissue"
)

func TestNewIssue(t *testing.T) {
	got, err := triagetest.Run(t, triageissue.Workflow, "testdata/issue.created.json")
	if err != nil {
		t.Fatal(err)
	}
	want := triageissue.Result{
		IssueID:   "6702149985",
		Title:     "CartTotalMismatch: cart total <119.90 €> & payment total <100.00 €> differ — order from Café Zürich 🧾",
		Level:     "error",
		EventType: "sentry.issue.created",
	}
	if got != want {
		t.Errorf("result = %+v, want %+v", got, want)
	}
}

func TestHistory(t *testing.T) {
	triagetest.History(t, triageissue.Workflow, "testdata/history.json", "testdata/issue.created.json")
}
