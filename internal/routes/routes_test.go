package routes_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// conditioned runs for issues that are fatal, and does what nobody should for
// others.
func conditioned(t *testing.T, otherwise func() bool) (*routes.Planner, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	w := triage.New("page_on_fatal", idle, triage.On("sentry.issue.created"), triage.When(func(d triage.Delivery) bool {
		return d.Level == "fatal" || otherwise()
	}))
	return routes.NewPlanner([]triage.Workflow{w}, []config.Integration{{Name: "mobile"}}, slog.New(slog.NewTextHandler(log, nil))), log
}

func TestAWorkflowRunsWhereItsConditionHolds(t *testing.T) {
	planner, log := conditioned(t, func() bool { return false })
	fatal := delivery("sentry.issue.created")
	fatal.Level = "fatal"
	if got := planner.Plan(fatal); len(got.Operations) != 1 || len(got.Skipped) != 0 {
		t.Errorf("planned %+v", got)
	}
	if got := planner.Plan(delivery("sentry.issue.created")); !got.Empty() || !reflect.DeepEqual(got.Skipped, []routes.Skip{{Workflow: "page_on_fatal", Why: routes.WhyCondition}}) {
		t.Errorf("planned %+v", got)
	}
	if got := planner.Plan(delivery("sentry.comment.created")); !got.Empty() || len(got.Skipped) != 0 {
		t.Errorf("what it does not want is planned as %+v", got)
	}
	if log.Len() > 0 {
		t.Errorf("logged was %s", log)
	}
}

func TestAConditionThatBreaksStartsTheRunAndSaysSo(t *testing.T) {
	planner, log := conditioned(t, func() bool { panic("a bug of its author") })
	if got := planner.Plan(delivery("sentry.issue.created")); len(got.Operations) != 1 || len(got.Skipped) != 0 {
		t.Errorf("planned %+v", got)
	}
	if text := log.String(); !strings.Contains(text, "page_on_fatal") || !strings.Contains(text, "a bug of its author") {
		t.Errorf("logged was %q", text)
	}
}

// Sentry waits for an answer no longer than a second.
func TestWhatSlowConditionsTakeDoesNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []triage.Workflow
		var want []string
		for i := range 20 {
			name := fmt.Sprintf("w%d", i)
			all = append(all, triage.New(name, idle, triage.On("sentry.issue.created"), triage.When(func(triage.Delivery) bool {
				<-time.After(time.Duration(81+2*i) * time.Millisecond)
				return i%2 == 0
			})))
			if i%2 == 0 || i > 9 { // it is not known
				want = append(want, name)
			}
		}
		planner := routes.NewPlanner(all, []config.Integration{{Name: "mobile"}}, slog.New(slog.DiscardHandler))
		began := time.Now()
		plan := planner.Plan(delivery("sentry.issue.created"))
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("the plan took %s", took)
		}
		var got []string
		for _, o := range plan.Operations {
			got = append(got, o.Workflow)
		}
		if !slices.Equal(got, want) {
			t.Errorf("planned are %v, want %v", got, want)
		}
		<-time.After(time.Second) // all end
	})
}

func TestDeliveriesOfOneIssueShareTheirRun(t *testing.T) {
	w := triage.New("calm", idle, triage.On("sentry.issue.*"), triage.Key(triage.PerIssue(time.Hour)))
	planner := routes.NewPlanner([]triage.Workflow{w}, []config.Integration{{Name: "mobile"}}, slog.New(slog.DiscardHandler))
	d := delivery("sentry.issue.created")
	d.IssueID, d.Time = "42", time.Date(2026, 11, 25, 14, 59, 59, 0, time.UTC)
	plan := planner.Plan(d)
	for _, key := range []string{"one", "two"} {
		if got := plan.For(key)[0]; got.WorkflowID != "calm:mobile:issue~42~20261125T140000Z" || !got.Shared {
			t.Errorf("planned %+v", got)
		}
	}
	d.IssueID = ""
	if got := planner.Plan(d).For("one")[0]; got.WorkflowID != "calm:mobile:one" || got.Shared {
		t.Errorf("without an issue: %+v", got)
	}
}

const hour = time.Hour
