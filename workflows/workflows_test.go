package workflows_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"sentry-temporal/activities"
	"sentry-temporal/triage"
	"sentry-temporal/triage/triagetest"
	"sentry-temporal/workflows"
)

// Every workflow has a stored history at least, which its own test replays: see
// triagetest.History. Here all are replayed, whatever that test does.
func TestHistories(t *testing.T) {
	files, err := filepath.Glob("*/testdata/history*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			seen[workflowOf(t, file)] = true
			triagetest.Replay(t, file, workflows.All...)
		})
	}
	for _, w := range workflows.All {
		if !seen[w.Name()] {
			t.Errorf("%s has no stored history: call triagetest.History in its test, then `make histories`", w.Name())
		}
	}
}

// What replaying is for: the same workflow with its activities in another
// order.
func TestAStoredHistoryRejectsActivitiesInAnotherOrder(t *testing.T) {
	reordered := triage.New("triage_sentry_issue", func(ctx workflow.Context, env triage.Envelope) (string, error) {
		comment, err := triage.Local(ctx, activities.ParseComment, env)
		if err != nil {
			return "", err
		}
		issue, err := triage.Local(ctx, activities.ParseIssue, env)
		return issue.ID + comment.ID, err
	}, triage.On("sentry.issue.created"))
	failing := &failed{TB: t}
	if triagetest.Replay(failing, "triageissue/testdata/history.json", reordered); failing.text == "" {
		t.Error("the history of triage_sentry_issue replays on other code")
	}
}

// failed is a test that notes its failure.
type failed struct {
	testing.TB
	text string
}

func (f *failed) Errorf(format string, args ...any) { f.text = fmt.Sprintf(format, args...) }

// workflowOf returns the name of the workflow whose run file tells of.
func workflowOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	history, err := client.HistoryFromJSON(text, client.HistoryJSONOptions{})
	if err != nil || len(history.GetEvents()) == 0 {
		t.Fatalf("%s is no history: %v", file, err)
	}
	return history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()
}
