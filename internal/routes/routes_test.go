package routes_test

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.temporal.io/sdk/workflow"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/routes"
	"sentry-temporal/internal/sentry"
	"sentry-temporal/triage"
)

func idle(workflow.Context, sentry.Envelope) (string, error) { return "", nil }

var (
	issues   = triage.New("triage_issue", idle, triage.On("sentry.issue.created"))
	comments = triage.New("log_comment", idle, triage.On("sentry.comment.*"))
	every    = triage.New("count", idle, triage.On("sentry.*"))
	planner  = routes.NewPlanner([]triage.Workflow{issues, comments, every}, []config.Integration{
		{Name: "backend", Namespace: "default", TaskQueue: "sentry"},
		{Name: "mobile", Namespace: "apps", TaskQueue: "triage"},
	}, slog.New(slog.DiscardHandler))
)

func delivery(event string) sentry.Delivery {
	return sentry.Delivery{Integration: "mobile", Event: event}
}

// plan plans an event that one workflow wants.
func plan(t *testing.T, integration string, subject sentry.Subject) routes.Operation {
	t.Helper()
	d := delivery("sentry.error.created")
	d.Integration, d.Subject = integration, subject
	operations := planner.Plan(d).For("key")
	if len(operations) != 1 {
		t.Fatalf("planned %+v", operations)
	}
	return operations[0]
}

func TestEachWorkflowThatWantsAnEventIsStartedWhereItsIntegrationSays(t *testing.T) {
	want := []routes.Operation{
		{
			Kind: routes.Start, Workflow: "triage_issue", WorkflowID: "triage_issue:mobile:key", Integration: "mobile",
			Namespace: "apps", TaskQueue: "triage", Priority: 2, FairnessKey: "mobile/shop",
		},
		{
			Kind: routes.Start, Workflow: "count", WorkflowID: "count:mobile:key", Integration: "mobile",
			Namespace: "apps", TaskQueue: "triage", Priority: 2, FairnessKey: "mobile/shop",
		},
	}
	d := delivery("sentry.issue.created")
	d.Project, d.Level = "shop", "error"
	got := planner.Plan(d).For("key")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("planned\n%+v, want\n%+v", got, want)
	}
	for _, operation := range got {
		if workflow := routes.WorkflowOf(operation.WorkflowID); workflow != operation.Workflow {
			t.Errorf("%s is of %s", operation.WorkflowID, workflow)
		}
	}
	nobody := routes.NewPlanner([]triage.Workflow{issues}, nil, slog.New(slog.DiscardHandler))
	if got := nobody.Plan(delivery("sentry.comment.created")); !got.Empty() || len(got.Skipped) != 0 {
		t.Errorf("what nobody wants is planned as %+v", got)
	}
}

func TestWhatIsSevereIsUrgent(t *testing.T) {
	for level, want := range map[string]int{"fatal": 1, "error": 2, "warning": 3, "": 3, "of another build": 3, "info": 4, "debug": 5} {
		if got := plan(t, "mobile", sentry.Subject{Level: level}).Priority; got != want {
			t.Errorf("%q has the priority %d", level, got)
		}
	}
}

// Temporal refuses a start whose key is longer than 64 bytes.
func TestFairnessKeysFitAndTellProjectsApart(t *testing.T) {
	const room = 64 - len("mobile/")
	longest := strings.Repeat("p", room)
	seen := map[string]string{}
	for _, project := range []string{
		"", "shop", longest, longest + "q", longest + "r", longest + strings.Repeat("q", 1000),
		strings.Repeat("é", room), strings.Repeat("é", room) + "a",
	} {
		key := plan(t, "mobile", sentry.Subject{Project: project}).FairnessKey
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q share the key %q", project, other, key)
		}
		seen[key] = project
		if len(key) > 64 || !utf8.ValidString(key) || !strings.HasPrefix(key, "mobile/") {
			t.Errorf("the key of %q is %q, of %d bytes", project, key, len(key))
		}
		if len(project) <= room && key != "mobile/"+project {
			t.Errorf("the key of %q is %q", project, key)
		}
		if len(project) > room && len(key) < 63 {
			t.Errorf("the key of %q is cut to %d bytes", project, len(key))
		}
	}
	if a, b := plan(t, "mobile", sentry.Subject{Project: "shop"}), plan(t, "backend", sentry.Subject{Project: "shop"}); a.FairnessKey == b.FairnessKey {
		t.Errorf("two integrations share the key %q", a.FairnessKey)
	}
	for _, r := range plan(t, "mobile", sentry.Subject{Project: "a\x00\n\xff\u202eb"}).FairnessKey {
		if !unicode.IsPrint(r) {
			t.Errorf("there is %U in a key", r)
		}
	}
}
